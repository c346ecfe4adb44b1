"""The most tokens that fit are found by trying, the network is left as it was, and a run finds them once."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from seqtrain import microbatch_search
from seqtrain.batch import Batch
from seqtrain.draws import Draws
from seqtrain.errors import RunError
from seqtrain.fitting import Training, fit
from seqtrain.losses import MeanSquaredError
from seqtrain.microbatch_search import FILE_NAME, found_microbatch
from seqtrain.models.cnn import CNNConfig
from seqtrain.models.heads import PooledHeadConfig
from seqtrain.models.network import build
from seqtrain.objectives import Score, Supervised
from seqtrain.optimizers import AdamW
from seqtrain.schedules import BatchGrowth, WarmupCosine
from seqtrain.training import LoopConfig
from tests.corpora import examples_of, proteins

LENGTHS = [10 + i % 30 for i in range(400)]


class Cramped:
    """Squared error on a machine that holds so many tokens at once; notes the tokens and the longest of each batch."""

    separable = True

    def __init__(self, largest: int = 10**9) -> None:
        self.largest = largest
        self.seen: list[tuple[int, int]] = []

    def prepare(self, batch: Batch, draws: Draws) -> Batch:
        return batch

    def score(self, outputs: Tensor, batch: Batch) -> Score:
        self.seen.append((len(batch.inputs), int(batch.boundaries.diff().max())))
        if len(batch.inputs) > self.largest:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return Supervised(MeanSquaredError()).score(outputs, batch)


@pytest.fixture(autouse=True)
def roomy(monkeypatch: pytest.MonkeyPatch) -> None:
    """No bound by the memory of this machine, no flushing to disk, and a first size that suits small steps."""
    monkeypatch.setattr("seqtrain.io.run_directory.os.fsync", lambda descriptor: None)
    monkeypatch.setattr(microbatch_search, "free_bytes", lambda device: None)
    monkeypatch.setattr(microbatch_search, "FIRST_TOKENS", 100)


def training_of(objective: Cramped, **changes: Any) -> Training:
    torch.manual_seed(0)
    targets = np.random.default_rng(1).normal(size=(len(LENGTHS), 1)).astype(np.float32)
    training = Training(
        network=build(CNNConfig(width=8, depth=1, norm="batch"), PooledHeadConfig(outputs=1, dropout=0.0)),
        objective=objective,
        examples=examples_of(proteins(LENGTHS), targets=targets),
        optimizer=AdamW(learning_rate=1e-3),
        schedule=WarmupCosine(num_steps=4),
        loop=LoopConfig(device=torch.device("cpu")),
        num_steps=4,
        tokens_per_step=1600,
        tokens_per_microbatch="auto",
        num_evaluations=1,
        evaluate=dict,
    )
    return replace(training, **changes)


def test_the_most_that_fit_to_within_a_sixteenth_of_a_step() -> None:
    for largest in (150, 400, 777, 1500):
        found = found_microbatch(training_of(Cramped(largest)))
        assert largest - 100 - 41 < found.tokens <= largest + 41, "a batch may end a sequence below its size"
        assert found.how == "the most that were found to fit"


def test_a_step_that_fits_whole_ends_the_search() -> None:
    objective = Cramped()
    found = found_microbatch(training_of(objective))
    assert (found.tokens, found.how) == (1600, "the largest step whole")
    assert max(tokens for tokens, _ in objective.seen) <= 1600
    growth = BatchGrowth(num_steps=8, milestones=(0.5,), growth=2.0).shortened()
    grown = found_microbatch(training_of(Cramped(), schedule=growth, num_steps=growth.num_steps))
    assert grown.tokens == 3200


def test_trials_are_of_the_longest_sequences() -> None:
    objective = Cramped()
    found_microbatch(training_of(objective))
    assert {longest for _, longest in objective.seen} == {max(LENGTHS) + 2}


def test_the_network_is_left_as_it_was_bit_for_bit() -> None:
    training = training_of(Cramped(400))
    training.network.body.embedding.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in training.network.state_dict().items()}
    found_microbatch(training)
    after = training.network.state_dict()
    assert any("running" in name for name in after)
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert all(parameter.grad is None for parameter in training.network.parameters())
    assert not training.network.body.embedding.weight.requires_grad


def test_no_sequence_fits() -> None:
    with pytest.raises(RunError, match=r"not even a batch of 1 fits into memory|out of memory with a single"):
        found_microbatch(training_of(Cramped(5)))


class Measured:
    """A machine on which a step takes 1,000 bytes per token of its largest batch."""

    def __init__(self, objective: Cramped, since_start: bool = False) -> None:
        self.objective = objective
        self.since_start, self.before = since_start, 0

    def __call__(self, device: torch.device) -> Measured:
        self.objective.seen.clear()
        return self

    def peak(self) -> int:
        return 1000 * max(tokens for tokens, _ in self.objective.seen)


def test_on_a_cpu_half_of_the_free_memory_is_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    objective = Cramped()
    monkeypatch.setattr(microbatch_search, "free_bytes", lambda device: 1_400_000)
    monkeypatch.setattr(microbatch_search, "PeakMemory", Measured(objective))
    largest = 0
    wrapped = objective.score

    def score(outputs: Tensor, batch: Batch) -> Score:
        nonlocal largest
        largest = max(largest, len(batch.inputs))
        return wrapped(outputs, batch)

    monkeypatch.setattr(objective, "score", score)
    found = found_microbatch(training_of(objective))
    # 700 tokens would be the bound; with a margin of a fifth, none larger than 583 is tried after the first.
    assert 450 < found.tokens <= 583 + 41 and largest <= 700
    assert found.how == "the most that were found to fit within half of the free memory, 0.00 GB"


def test_where_memory_cannot_be_measured_the_first_size_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(microbatch_search, "free_bytes", lambda device: 10**9)
    monkeypatch.setattr(microbatch_search, "PeakMemory", Measured(Cramped(), since_start=True))
    found = found_microbatch(training_of(Cramped()))
    assert (found.tokens, found.how) == (100, "as this system does not say how much memory a step takes")


class Notes:
    """A listener that keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def step_done(self, report: object, num_steps: int) -> None: ...
    def evaluated(self, step: int, num_steps: int, measures: dict[str, float]) -> None: ...


def test_a_run_looks_once_and_says_what_it_found(tmp_path: Path) -> None:
    first, again = Notes(), Notes()
    progress = fit(training_of(Cramped(400)), tmp_path, first)
    kept = json.loads((tmp_path / FILE_NAME).read_text())
    assert progress.tokens_per_microbatch == kept["tokens"]
    assert first.said[0] == "looking for the most tokens that fit at once"
    assert first.said[1].startswith(f"tokens at once: {kept['tokens']:,}, the most that were found to fit; kept in ")
    # Before the first checkpoint of another start the file is what is known; behind one, the checkpoint.
    (tmp_path / FILE_NAME).write_text(json.dumps({"tokens": 123, "how": "as it was"}))
    assert fit(training_of(Cramped(400)), tmp_path, again).tokens_per_microbatch == kept["tokens"]
    assert not any("looking" in line for line in again.said)
    for path in (tmp_path / "checkpoints").iterdir():
        path.rename(tmp_path / path.name)
    assert fit(training_of(Cramped(400)), tmp_path, again).tokens_per_microbatch == 123


def test_the_found_number_changes_no_weight(tmp_path: Path) -> None:
    weights = []
    for name, tokens in (("auto", "auto"), ("given", 1600)):
        (tmp_path / name).mkdir()
        network = build(CNNConfig(width=8, depth=1), PooledHeadConfig(outputs=1, dropout=0.0))
        torch.manual_seed(3)
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
        objective = Cramped(500 if tokens == "auto" else 10**9)
        training = training_of(objective, tokens_per_microbatch=tokens, network=network)
        fit(training, tmp_path / name, Notes())
        weights.append([parameter.detach() for parameter in network.parameters()])
    for one, other in zip(*weights, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
