"""Running statistics of batch norms under all that computes twice, averages, skips or freezes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from seqtrain.averaging import EMA
from seqtrain.batch import Batch
from seqtrain.batching import microbatches, steps_from
from seqtrain.config import FinetuneConfig, PretrainConfig
from seqtrain.draws import Draws
from seqtrain.fitting import Silent
from seqtrain.inference import InferenceConfig
from seqtrain.losses import MeanSquaredError
from seqtrain.models.cnn import CNNConfig
from seqtrain.models.heads import PooledHeadConfig
from seqtrain.models.network import Network, build
from seqtrain.models.normalization import BatchRenorm, Norm
from seqtrain.objectives import Score, Supervised
from seqtrain.optimizers import SGD
from seqtrain.predict import Predictor
from seqtrain.recipes.finetune import finetune
from seqtrain.recipes.pretrain import pretrain
from seqtrain.run import load_run
from seqtrain.schedules import Constant
from seqtrain.training import LoopConfig, train_steps
from tests.corpora import examples_of, proteins, record_of

CPU = torch.device("cpu")
TARGETS = np.random.default_rng(1).normal(size=(24, 1)).astype(np.float32)
EXAMPLES = examples_of(proteins([10] * 24), targets=TARGETS)
NORMS: tuple[Norm, ...] = ("batch", "batch-renorm")


@dataclass(frozen=True)
class Spoilt:
    """Squared error, over the whole step if asked for; infinite at the first scoring if asked for."""

    separable: bool = True
    is_infinite: bool = False

    def prepare(self, batch: Batch, draws: Draws) -> Batch:
        return batch

    def score(self, outputs: Tensor, batch: Batch) -> Score:
        score = Supervised(MeanSquaredError()).score(outputs, batch)
        return Score(score.loss * torch.inf, score.count) if self.is_infinite else score


def network_with(norm: Norm) -> Network:
    torch.manual_seed(0)
    network = build(CNNConfig(width=16, depth=1, norm=norm), PooledHeadConfig(outputs=1, dropout=0.0))
    for module in network.modules():
        if isinstance(module, BatchRenorm):
            module.num_steps.fill_(30_000)  # where its corrections count
    return network


def step_of(network: Network, objective: Spoilt, **loop: str) -> None:
    optimizer = SGD(learning_rate=0.1).build(network)
    data = [list(microbatches(next(steps_from(EXAMPLES, 100, 0, seed=0)), EXAMPLES, 10**6))]
    config = LoopConfig(device=CPU, warn=lambda text: None, regularizers=(), **loop)  # type: ignore[arg-type]
    list(train_steps(network, objective, data, optimizer, Constant(num_steps=10), config))


def buffers_of(network: nn.Module) -> dict[str, Tensor]:
    return {name: buffer.clone() for name, buffer in network.named_buffers()}


@pytest.mark.parametrize("norm", NORMS)
def test_a_loss_over_the_whole_step_takes_each_batch_in_once(norm: Norm) -> None:
    whole, parts = network_with(norm), network_with(norm)
    step_of(parts, Spoilt())
    step_of(whole, Spoilt(separable=False))
    # Of a single microbatch both objectives are the same sum, so the update must be the same, too.
    expected = parts.state_dict()
    for name, tensor in whole.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], msg=name)


@pytest.mark.parametrize("norm", NORMS)
def test_a_skipped_update_leaves_them_alone(norm: Norm) -> None:
    network = network_with(norm)
    before = buffers_of(network)
    step_of(network, Spoilt(is_infinite=True), on_nan="skip")
    assert before and all(torch.equal(buffer, before[name]) for name, buffer in network.named_buffers())
    step_of(network, Spoilt())
    assert not all(torch.equal(buffer, before[name]) for name, buffer in network.named_buffers())


def test_they_are_averaged_with_the_weights() -> None:
    network = nn.BatchNorm1d(3)
    average = EMA(decay=0.5).build(network)
    expected = torch.zeros(3)
    for step, share in ((1, 1.0), (2, 0.5 / 0.75)):
        network.running_mean.fill_(step)  # type: ignore[operator]
        average.update(network, step)
        expected.lerp_(torch.full((3,), float(step)), share)
    with average.swapped(network):
        torch.testing.assert_close(network.running_mean, expected)
    assert network.running_mean.tolist() == [2, 2, 2]  # type: ignore[union-attr]


def _letters() -> Iterator[str]:
    rows = zip(TEXTS, islice("ab" * 20, 40), strict=True)
    return (f"{text},{label},{'valid' if index % 4 == 0 else 'train'}\n" for index, (text, label) in enumerate(rows))


TEXTS = proteins([20] * 40, seed=9)


@pytest.mark.parametrize("norm", NORMS)
def test_kept_adapters_predict_what_was_trained(norm: Norm, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("sequence,kind,set\n" + "".join(_letters()))
    (tmp_path / "p.fasta").write_text("".join(f">{index}\n{text}\n" for index, text in enumerate(TEXTS)))
    base, run = tmp_path / "base", tmp_path / "run"
    size = {"size": "100K", "device": "cpu", "steps": 3, "num_evaluations": 1}
    source = PretrainConfig(
        inputs=(str(tmp_path / "p.fasta"),), output=str(base), model=f"cnn:norm={norm}", **size,  # type: ignore[arg-type]
    )  # fmt: skip
    pretrain(source, Silent())
    config = FinetuneConfig(
        table=str(tmp_path / "t.csv"), target=("kind",), split_column="set", init_from=str(base), output=str(run),
        lora="rank=2,saved=adapter", learning_rate=0.01, **size | {"size": None},  # type: ignore[arg-type]
    )  # fmt: skip
    finetune(config, Silent())
    predictor = Predictor.of_run(load_run(run), InferenceConfig(device=CPU))
    found = [cells for _, cells in predictor.predict(map(record_of, TEXTS[::4]))]
    lines = (run / "predictions.csv").read_text().splitlines()[1:]
    for cells, line in zip(found, lines, strict=True):
        *_, first, second = line.split(",")
        assert [float(first), float(second)] == pytest.approx(cells[-2:], abs=1e-5)
