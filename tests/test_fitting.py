"""Around the loop: early stopping, averaged weights, and what happens when a loss is not finite."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from seqtrain.averaging import EMA, SWA, Averaging
from seqtrain.batch import Batch
from seqtrain.batching import microbatches, steps_from
from seqtrain.checkpoint import Progress
from seqtrain.draws import Draws
from seqtrain.fitting import Training, fit
from seqtrain.losses import MeanSquaredError
from seqtrain.models.heads import PooledHeadConfig
from seqtrain.models.network import build
from seqtrain.models.transformer import TransformerConfig
from seqtrain.objectives import Score, Supervised
from seqtrain.optimizers import SGD, AdamW
from seqtrain.schedules import BatchGrowth, Constant, Evaluation, OneCycle, Plateau, WarmupCosine
from seqtrain.stopping import GL, PQ, UP, Patience, Stopping
from seqtrain.training import LoopConfig, NotFinite, StepReport, train_steps
from tests.corpora import examples_of, proteins

STEPS, RECORDS, PER_STEP = 12, 100, 4
TOKENS_PER_STEP = PER_STEP * 12  # ten residues and two special tokens each
Weights = dict[str, Tensor]


@pytest.fixture(autouse=True)
def unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody pulls the plug here, and flushing every checkpoint to disk would take most of the time."""
    monkeypatch.setattr("seqtrain.io.run_directory.os.fsync", lambda descriptor: None)


class Killed(BaseException):
    """Ends a training without a chance to save."""


@dataclass
class Watcher:
    """Notes what is said, and the weights after each step; may kill the training after one."""

    kill_after: int | None = None
    network: nn.Module | None = None
    said: list[str] = field(default_factory=list)
    reports: list[StepReport] = field(default_factory=list)
    weights: dict[int, Weights] = field(default_factory=dict)

    def say(self, text: str) -> None:
        self.said.append(text)

    def step_done(self, report: StepReport, num_steps: int) -> None:
        assert self.network is not None
        self.reports.append(report)
        self.weights[report.step] = weights_of(self.network)
        if report.step == self.kill_after:
            raise Killed

    def evaluated(self, step: int, num_steps: int, measures: dict[str, float]) -> None: ...

    @property
    def step(self) -> int:
        """Updates done."""
        return self.reports[-1].step if self.reports else 0


@dataclass
class Poisoned:
    """Squared error that is nan for some records, and notes those of each step."""

    records: frozenset[int] = frozenset()
    seen: list[list[int]] = field(default_factory=list)
    separable = True

    def prepare(self, batch: Batch, draws: Draws) -> Batch:
        self.seen.append(batch.records.tolist())
        return batch

    def score(self, outputs: Tensor, batch: Batch) -> Score:
        score = Supervised(MeanSquaredError()).score(outputs, batch)
        bad = self.records & set(batch.records.tolist())
        return Score(score.loss * math.nan, score.count) if bad else score


def weights_of(network: nn.Module) -> Weights:
    return {name: parameter.detach().clone() for name, parameter in network.named_parameters()}


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    """Whether all weights are equal, bit for bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def training_of(
    watcher: Watcher,
    losses: Callable[[int], float] = lambda step: 1 / (1 + step),
    captured: dict[int, Weights] | None = None,
    **changes: Any,
) -> Training:
    """A training of a tiny network whose evaluation after some step is given, and notes the weights it sees."""
    torch.manual_seed(0)
    network = build(TransformerConfig(width=16, depth=1, num_heads=2), PooledHeadConfig(outputs=1, dropout=0.2))
    watcher.network = network
    targets = np.random.default_rng(1).normal(size=(RECORDS, 1)).astype(np.float32)

    def evaluate() -> dict[str, float]:
        if captured is not None:
            captured[watcher.step] = weights_of(network)
        return {"loss": losses(watcher.step)}

    training = Training(
        network=network,
        objective=Poisoned(),
        examples=examples_of(proteins([10] * RECORDS), targets=targets),
        optimizer=AdamW(learning_rate=1e-3),
        schedule=WarmupCosine(num_steps=STEPS, final_fraction=0.1),
        loop=LoopConfig(device=torch.device("cpu"), name_of=lambda record: f"p{record}"),
        num_steps=STEPS,
        tokens_per_step=TOKENS_PER_STEP,
        tokens_per_microbatch=TOKENS_PER_STEP,
        num_evaluations=STEPS,
        evaluate=evaluate,
        judged_by="loss",
    )
    return replace(training, **changes)


def fitted(folder: Path, watcher: Watcher | None = None, **settings: Any) -> tuple[Watcher, Weights, Progress]:
    """Train, or go on; the weights are those that the network ends up with."""
    watcher = watcher or Watcher()
    folder.mkdir(exist_ok=True)
    training = training_of(watcher, **settings)
    progress = fit(training, folder, watcher)
    return watcher, weights_of(training.network), progress


def records_of(step: int) -> list[int]:
    """Records of the step-th step from the start of the data, from 1, where nothing goes wrong."""
    steps = steps_from(training_of(Watcher()).examples, TOKENS_PER_STEP, 0, seed=0)
    return next(each for number, each in enumerate(steps, start=1) if number == step).units.tolist()


SCRIPT = (3.0, 2.0, 1.5, 1.6, 1.7, 1.45, 1.9, 2.5, 2.6, 2.7, 2.8, 2.9)
CRITERIA: dict[str, Stopping] = {
    "patience": Patience(evaluations=3),
    "delta": Patience(evaluations=2, min_delta=0.7),
    "gl": GL(alpha=20),
    "up": UP(strips=2),
    "pq": PQ(alpha=0.001, strip=4),
}


@pytest.mark.parametrize("name", CRITERIA)
@pytest.mark.parametrize("num_evaluations", [STEPS, STEPS // 2])
def test_stops_where_the_criterion_says_and_gives_the_best_weights_back(
    name: str, num_evaluations: int, tmp_path: Path
) -> None:
    criterion, every = CRITERIA[name], STEPS // num_evaluations

    def losses(step: int) -> float:
        return SCRIPT[step - 1] if step else 9.0

    settings = {"losses": losses, "num_evaluations": num_evaluations}
    whole, _, _ = fitted(tmp_path / "whole", **settings)
    history, expected = [], STEPS
    for step in range(every, STEPS + 1, every):
        mean = float(np.mean([report.loss for report in whole.reports[step - every : step]]))
        history.append(Evaluation(step, losses(step), mean))
        if criterion(history) is not None:
            expected = step
            break
    best = min(history, key=lambda row: row.loss).step
    watcher, weights, progress = fitted(tmp_path / "stopped", stopping=criterion, **settings)
    assert watcher.step == progress.step == expected
    assert np.array(progress.history) == pytest.approx(np.array(history[: len(progress.history)]), rel=1e-12)
    assert progress.stopped == criterion(history)
    assert (progress.stopped is not None) == any("stopped after step" in line for line in watcher.said)
    assert same(weights, whole.weights[best])
    if num_evaluations == STEPS:
        assert 3 < expected < STEPS and best < expected


def test_a_stop_outlives_a_kill_before_the_run_is_finished(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"losses": lambda step: abs(step - 3.0), "stopping": Patience(evaluations=2)}
    _, weights, progress = fitted(tmp_path, **settings)
    assert (progress.step, progress.best_step) == (5, 3)
    again, others, after = fitted(tmp_path, **settings)
    assert not again.reports and after == progress
    assert same(others, weights)


def test_a_loss_that_is_never_finite_is_no_best_one(tmp_path: Path) -> None:
    watcher, weights, progress = fitted(
        tmp_path, losses=lambda step: math.nan, keep_best=True, stopping=Patience(evaluations=4)
    )
    assert (progress.step, progress.best_step) == (4, None)
    assert progress.stopped == "none of 4 evaluations gave a finite loss"
    assert same(weights, watcher.weights[4])


def by_hand(averaging: Averaging, raw: Mapping[int, Weights], step: int) -> Weights | None:
    """The average after a step, in float64 from the weights after each step; None before there is one."""
    if isinstance(averaging, SWA):
        chosen = {each: 1.0 for each in range(averaging.start + 1, step + 1) if not (each - averaging.start) % 2}
    else:
        chosen = {each: averaging.decay ** (step - each) for each in range(1, step + 1)}
    total = sum(chosen.values())
    if not total:
        return None
    names = raw[1]
    return {
        name: torch.stack([share / total * raw[each][name].double() for each, share in chosen.items()]).sum(dim=0)
        for name in names
    }


@pytest.mark.parametrize("averaging", [EMA(decay=0.8), SWA(num_steps=STEPS, start_fraction=0.4, every=2)], ids=repr)
@pytest.mark.parametrize("best", [STEPS, 9])
def test_averaged_weights_are_evaluated_and_kept_and_training_goes_on_from_its_own(
    averaging: Averaging, best: int, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"losses": lambda step: abs(step - best), "num_evaluations": 4, "keep_best": True}
    plain, _, _ = fitted(tmp_path / "plain", **settings)
    evaluated: dict[int, Weights] = {}
    watcher, weights, _ = fitted(tmp_path / "run", averaging=averaging, captured=evaluated, **settings)
    assert all(same(watcher.weights[step], plain.weights[step]) for step in range(1, STEPS + 1))
    assert sorted(evaluated) == [0, 3, 6, 9, 12]
    for step in (3, 6, 9, 12):
        expected = by_hand(averaging, plain.weights, step) or plain.weights[step]
        for name, found in evaluated[step].items():
            torch.testing.assert_close(found.double(), expected[name].double(), rtol=1e-5, atol=1e-7)
    assert same(weights, evaluated[best])
    assert not same(weights, plain.weights[best])
    saved = load_file(tmp_path / f"run/checkpoints/step-{STEPS:08d}/model.safetensors")
    assert same({name: saved[name] for name in plain.weights[STEPS]}, plain.weights[STEPS])


def rows_of(folder: Path) -> list[tuple[str, int]]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [(row["event"], row["step"]) for row in map(json.loads, lines)]


def test_a_loss_that_is_not_finite_stops_before_the_update(tmp_path: Path) -> None:
    bad = records_of(5)
    watcher = Watcher()
    training = training_of(watcher, objective=Poisoned(frozenset(bad[:1])))
    with pytest.raises(NotFinite) as stopped:
        fit(training, tmp_path, watcher)
    rate = 1e-3 * training.schedule(4)
    names = ", ".join(f"p{record}" for record in bad)
    assert str(stopped.value) == (
        f"step 5: loss nan, gradient norm nan at learning rate {rate:.3g}, records {names}; the update was not made; "
        "lower --learning-rate, or look at these records"
    )
    assert watcher.step == 4 and same(weights_of(training.network), watcher.weights[4])
    again = Watcher()
    with pytest.raises(NotFinite, match=r"^step 5: "):
        fit(training_of(again, objective=Poisoned(frozenset(bad[:1]))), tmp_path, again)
    assert not again.reports


def loop(on_nan: str) -> LoopConfig:
    return replace(training_of(Watcher()).loop, on_nan=on_nan)  # type: ignore[arg-type]


def test_skipping_makes_no_update_and_goes_on(tmp_path: Path) -> None:
    bad = frozenset({records_of(3)[0], records_of(8)[2], records_of(9)[1]})
    objective = Poisoned(bad)
    averaging = EMA(decay=0.5)
    settings = {"loop": loop("skip"), "averaging": averaging, "num_evaluations": 3}
    watcher, weights, progress = fitted(tmp_path / "run", objective=objective, **settings)
    assert [report.skipped for report in watcher.reports] == [step in (3, 8, 9) for step in range(1, STEPS + 1)]
    assert objective.seen == [records_of(step) for step in range(1, STEPS + 1)]
    for step in range(2, STEPS + 1):
        assert same(watcher.weights[step], watcher.weights[step - 1]) == (step in (3, 8, 9))
    told = [line.split(":")[0] for line in watcher.said if "the update was not made" in line]
    assert told == ["step 3", "step 8", "step 9"]
    assert ("train", 3) not in rows_of(tmp_path / "run") and ("train", 4) in rows_of(tmp_path / "run")
    assert all(math.isfinite(row.training_loss or 0) for row in progress.history)
    # Steps that were skipped are no part of the average.
    raw = dict(enumerate((watcher.weights[step] for step in range(1, STEPS + 1) if step not in (3, 8, 9)), start=1))
    expected = by_hand(averaging, raw, len(raw))
    assert expected is not None
    for name, found in weights.items():
        torch.testing.assert_close(found.double(), expected[name], rtol=1e-5, atol=1e-7)
    with pytest.raises(Killed):
        fitted(tmp_path / "killed", Watcher(kill_after=10), objective=Poisoned(bad), **settings)
    _, resumed, _ = fitted(tmp_path / "killed", objective=Poisoned(bad), **settings)
    assert same(resumed, weights)


def test_more_than_ten_skipped_in_a_row_stop(tmp_path: Path) -> None:
    every = frozenset(record for step in range(2, 13) for record in records_of(step))
    watcher = Watcher()
    with pytest.raises(NotFinite, match=r"^step 12: loss nan"):
        fit(training_of(watcher, objective=Poisoned(every), loop=loop("skip")), tmp_path, watcher)
    assert watcher.step == 11
    fewer = every - set(records_of(7))
    watcher, _, _ = fitted(tmp_path / "ten", objective=Poisoned(fewer), loop=loop("skip"))
    assert watcher.step == STEPS and sum(report.skipped for report in watcher.reports) == 10


def steps_by_hand(steps: list[int]) -> list[Weights]:
    """Weights after each of some steps of the data, one after the other, without checkpoints."""
    training = training_of(Watcher())
    all_steps = steps_from(training.examples, TOKENS_PER_STEP, 0, seed=0)
    data = [list(microbatches(next(all_steps), training.examples, 10**6)) for _ in range(max(steps))]
    reports = train_steps(
        training.network, training.objective, [data[step - 1] for step in steps],
        training.optimizer.build(training.network), training.schedule, training.loop,
    )  # fmt: skip
    return [weights_of(training.network) for _ in reports]


@pytest.mark.parametrize(
    ("bad", "learnt"),
    [
        ([2], [*range(3, 15)]),  # to the start: what step 1 read is not read again
        ([5], [1, 2, 3, 4, *range(6, 14)]),
        ([6], [1, 2, 3, 4, *range(7, 15)]),
        ([6, 7], [1, 2, 3, 4, *range(8, 16)]),
        ([3, 8, 12], [4, 5, 6, 7, *range(13, 21)]),
    ],
    ids=str,
)
def test_rolling_back_goes_on_behind_the_bad_step(bad: list[int], learnt: list[int], tmp_path: Path) -> None:
    poisoned = frozenset(records_of(step)[0] for step in bad)
    settings = {"loop": loop("rollback"), "num_evaluations": 3}
    objective = Poisoned(poisoned)
    watcher, weights, _ = fitted(tmp_path / "run", objective=objective, **settings)
    assert objective.seen[-1] == records_of(learnt[-1])
    assert same(weights, steps_by_hand(learnt)[-1])
    assert sum("back to the last checkpoint, to go on behind this step" in line for line in watcher.said) == len(bad)
    rows = rows_of(tmp_path / "run")
    assert [row for row in rows if row[0] == "train"] == [("train", step) for step in range(1, STEPS + 1)]
    assert [row for row in rows if row[0] == "valid"] == [("valid", step) for step in (0, 4, 8, 12)]
    for killed in (3, 10):
        with pytest.raises(Killed):
            fitted(tmp_path / f"{killed}", Watcher(kill_after=killed), objective=Poisoned(poisoned), **settings)
        _, resumed, _ = fitted(tmp_path / f"{killed}", objective=Poisoned(poisoned), **settings)
        assert same(resumed, weights)


def test_a_fourth_rollback_stops(tmp_path: Path) -> None:
    bad = frozenset(records_of(step)[0] for step in (5, 7, 9, 11))
    watcher = Watcher()
    with pytest.raises(NotFinite, match=r"^step 6: loss nan.*; the update was not made; lower --learning-rate"):
        fit(training_of(watcher, objective=Poisoned(bad), loop=loop("rollback"), num_evaluations=3), tmp_path, watcher)
    assert sum("back to the last checkpoint" in line for line in watcher.said) == 3


def test_a_plateau_lowers_the_rate_by_what_was_evaluated(tmp_path: Path) -> None:
    schedule = Plateau(num_steps=STEPS, patience=2, factor=0.1)
    watcher, _, _ = fitted(tmp_path, losses=lambda step: 1.0, schedule=schedule, num_evaluations=4)
    rates = [report.learning_rate for report in watcher.reports]
    assert rates == pytest.approx([1e-3] * 9 + [1e-4] * 3)


def test_growing_steps_read_more_records(tmp_path: Path) -> None:
    growth = BatchGrowth(num_steps=STEPS, milestones=(0.5,), growth=2.0)
    whole = growth.shortened()
    objective = Poisoned()
    _, weights, _ = fitted(
        tmp_path, schedule=whole, num_steps=whole.num_steps, tokens_per_microbatch=10**6, objective=objective
    )
    sizes = list(map(len, objective.seen))
    assert sizes == [round(PER_STEP * whole.batch_factor(step)) for step in range(whole.num_steps)]
    assert set(sizes) == {PER_STEP, 2 * PER_STEP} and sum(sizes) == PER_STEP * STEPS
    assert not same(weights, fitted(tmp_path / "constant", schedule=Constant(num_steps=STEPS))[1])


@dataclass
class Cramped(Poisoned):
    """A machine on which so many tokens at once do not fit from some batch on; notes the tokens of each batch."""

    largest: int = 10**9
    cramped_after: int = 0
    tokens: list[int] = field(default_factory=list)

    def score(self, outputs: Tensor, batch: Batch) -> Score:
        self.tokens.append(len(batch.inputs))
        if len(self.tokens) > self.cramped_after and len(batch.inputs) > self.largest:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return super().score(outputs, batch)


def test_a_budget_that_was_halved_stays_so_after_a_resume(tmp_path: Path) -> None:
    settings = {"num_evaluations": 6}
    whole, weights, progress = fitted(tmp_path / "whole", objective=Cramped(largest=30, cramped_after=5), **settings)
    assert progress.tokens_per_microbatch == TOKENS_PER_STEP // 2
    assert sum("out of memory; computed again" in line for line in whole.said) == 1
    with pytest.raises(Killed):
        objective = Cramped(largest=30, cramped_after=5)
        fitted(tmp_path / "killed", Watcher(kill_after=9), objective=objective, **settings)
    # The memory that was short is there again: the run stays at what it had found.
    roomy = Cramped()
    watcher, resumed, after = fitted(tmp_path / "killed", objective=roomy, **settings)
    assert max(roomy.tokens) <= TOKENS_PER_STEP // 2 and not any("out of memory" in line for line in watcher.said)
    assert after == progress and same(resumed, weights)


def test_a_checkpoint_from_before_there_were_budgets_in_it(tmp_path: Path) -> None:
    fitted(tmp_path)
    path = tmp_path / f"checkpoints/step-{STEPS:08d}"
    state = json.loads((path / "state.json").read_text())
    del state["progress"]["tokens_per_microbatch"], state["progress"]["bandit"]
    (path / "state.json").write_text(json.dumps(state))
    (path / "manifest.json").write_text("{}")
    _, _, progress = fitted(tmp_path)
    assert progress.step == STEPS and progress.tokens_per_microbatch == TOKENS_PER_STEP


def test_it_is_said_where_there_is_no_momentum_to_cycle(tmp_path: Path) -> None:
    line = "the schedule cycles momentum, and this optimiser has none: only the rate is cycled"
    cycle = OneCycle(num_steps=STEPS)
    cases = {
        "plain": (SGD(learning_rate=1e-3, momentum=0), cycle),
        "momentum": (SGD(learning_rate=1e-3), cycle),
        "rate only": (SGD(learning_rate=1e-3, momentum=0), OneCycle(num_steps=STEPS, cycle_momentum=False)),
    }
    said = {}
    for name, (optimizer, schedule) in cases.items():
        (tmp_path / name).mkdir()
        watcher, _, _ = fitted(tmp_path / name, optimizer=optimizer, schedule=schedule)
        said[name] = line in watcher.said
    assert said == {"plain": True, "momentum": False, "rate only": False}
