"""Steps of an automated curriculum come from one group each, chosen by what was learnt, and can be continued."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from seqtrain.bandit import BanditState, Exp3S
from seqtrain.batch import Batch
from seqtrain.batching import MicrobatchBudget, Microbatches, steps_from
from seqtrain.checkpoint import Progress
from seqtrain.draws import Draws
from seqtrain.fitting import Silent, Training, fit
from seqtrain.learning_progress import loss_now
from seqtrain.losses import CrossEntropy, Dice, MeanSquaredError
from seqtrain.metrics_log import read_metrics
from seqtrain.models.cnn import CNNConfig
from seqtrain.models.heads import PooledHeadConfig
from seqtrain.models.network import build
from seqtrain.objectives import Objective, Score, Supervised
from seqtrain.optimizers import SGD, AdamW
from seqtrain.orders import ByProgress, Shuffled
from seqtrain.progress_steps import progress_steps
from seqtrain.schedules import Constant
from seqtrain.training import LoopConfig, train_steps
from tests.corpora import examples_of, proteins

CPU = torch.device("cpu")


def order_of(groups: np.ndarray, seed: int = 0, **fields: float) -> ByProgress:
    names = tuple(f"group {number}" for number in range(groups.max() + 1))
    return ByProgress(groups, names, Exp3S(seed=seed, **fields), seed)


def test_a_group_comes_whole_before_any_of_it_comes_again() -> None:
    groups = np.arange(50) % 3
    order = order_of(groups)
    seen: dict[int, list[int]] = {0: [], 1: [], 2: []}
    start = {0: 0, 1: 0, 2: 0}
    for turn in range(60):
        group = turn % 3
        units, rounds = order.members(group, start[group], 7)
        assert 1 <= len(units) <= 7 and len(set(units.tolist())) == len(units) and set(groups[units]) == {group}
        size = order.sizes[group]
        assert rounds.tolist() == [(start[group] + i) // size for i in range(len(units))]
        seen[group] += units.tolist()
        start[group] += len(units)
    for group, units in seen.items():
        size = order.sizes[group]
        rounds_of = [units[i : i + size] for i in range(0, len(units) - size, size)]
        assert len(rounds_of) > 5 and all(len(set(each)) == size for each in rounds_of)
        assert len({tuple(each) for each in rounds_of}) == len(rounds_of), "a new order each time"


def test_for_whoever_only_counts_it_is_shuffled() -> None:
    order = order_of(np.arange(40) % 4, seed=9)
    for one, other in zip(order(np.arange(90)), Shuffled(40, 9)(np.arange(90)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_steps_hold_one_group_within_the_budget_and_depend_on_the_progress_alone() -> None:
    lengths = [10] * 20 + [30] * 20
    groups = np.array([0] * 20 + [1] * 20)
    examples = examples_of(proteins(lengths), order=order_of(groups))
    order = examples.order
    assert isinstance(order, ByProgress)
    progress = Progress(step=0, position=0)
    made = progress_steps(examples, order, 100, lambda: progress)
    seen = []
    for number in range(40):
        each = next(made)
        assert each.bandit is not None and each.group is not None
        assert set(groups[each.step.units]) == {each.group} == {order.bandit.chosen(each.bandit, number)}
        ends_a_round = len(set(each.step.epochs.tolist())) > 1
        assert 100 - 32 < examples.num_tokens[each.step.units].sum() <= 100 or ends_a_round
        assert each.probe is not None and set(groups[each.probe.units]) == {each.group}
        assert examples.num_tokens[each.probe.units].sum() <= 50
        behind = order.members(each.group, each.bandit.consumed[each.group], 1)[0]
        assert each.probe.units[0] == behind[0]
        again = next(progress_steps(examples, order, 100, partial(_same, progress)))
        assert np.array_equal(again.step.units, each.step.units) and again.bandit == each.bandit
        assert sum(each.bandit.consumed) == each.step.next_position
        rewarded = order.bandit.rewarded(each.bandit, each.group, float(number % 5))
        progress = replace(progress, step=number + 1, position=each.step.next_position, bandit=rewarded)
        seen.append(each.group)
    assert set(seen) == {0, 1}
    grown = next(progress_steps(examples, order, 100, lambda: progress, lambda step: 3.0))
    assert examples.num_tokens[grown.step.units].sum() > 100
    small = examples_of(proteins([10] * 6), order=order_of(np.array([0, 0, 0, 0, 0, 1])))
    assert isinstance(small.order, ByProgress)
    everything = [
        next(progress_steps(small, small.order, 10**6, partial(_same, Progress(step=step, position=0))))
        for step in range(20)
    ]
    assert {len(each.step.units) for each in everything} == {1, 5}, "no example twice in a step"


def _same(progress: Progress) -> Progress:
    return progress


class Noisy:
    """Squared error of the outputs to the targets, times a draw of each record's own."""

    def __init__(self, separable: bool) -> None:
        self.separable = separable

    def prepare(self, batch: Batch, draws: Draws) -> Batch:
        return batch

    def score(self, outputs: torch.Tensor, batch: Batch) -> Score:
        weights = (Draws(batch.keys).per_sequence("noise") % 7 + 8).float()[:, None]
        assert batch.targets is not None
        return Score(((outputs - batch.targets) ** 2 * weights).sum(), weights.sum())


@pytest.mark.parametrize("separable", [True, False])
def test_the_loss_now_is_that_of_the_same_step_with_the_same_noise(separable: bool) -> None:
    targets = np.random.default_rng(0).normal(size=(30, 1)).astype(np.float32)
    examples = examples_of(proteins([12] * 30), targets=targets)
    torch.manual_seed(0)
    network = build(CNNConfig(width=8, depth=1, dropout=0.3, norm="batch"), PooledHeadConfig(outputs=1, dropout=0.4))
    objective: Objective = Noisy(separable)
    batches = Microbatches(next(steps_from(examples, 300, 0, 0)), examples, MicrobatchBudget(100))
    loop = LoopConfig(device=CPU, regularizers=())
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    still = SGD(learning_rate=0.0, momentum=0).build(network)
    report = next(train_steps(network, objective, [batches], still, Constant(num_steps=9), loop, first_step=4))
    network.load_state_dict(before)
    network.train()
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    assert loss_now(network, objective, batches, loop, 4) == pytest.approx(report.loss, rel=1e-5)
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())
    assert loss_now(network, objective, batches, loop, 5) != pytest.approx(report.loss, rel=1e-5), "other dropout"
    network.body.eval()
    modes = {name: module.training for name, module in network.named_modules()}
    resting = replace(loop, freezing=lambda model, step: model.body.eval() and None)
    loss_now(network, objective, batches, resting, 4)
    assert {name: module.training for name, module in network.named_modules()} == modes
    still_report = next(train_steps(network, objective, [batches], still, Constant(num_steps=9), resting, first_step=4))
    assert loss_now(network, objective, batches, resting, 4) == pytest.approx(still_report.loss, rel=1e-5)
    network.train()
    # Against the derivative: the loss falls by rate * |gradient|^2, to first order.
    rate = 1e-4
    moving = SGD(learning_rate=rate, momentum=0).build(network)
    report = next(train_steps(network, objective, [batches], moving, Constant(num_steps=9), loop, first_step=4))
    fall = report.loss - loss_now(network, objective, batches, loop, 4)
    assert fall == pytest.approx(rate * report.gradient_norm**2, rel=0.1)


def learnable_and_noise(seed: int) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Proteins whose class can be read off their composition, and as many whose class is a coin; their groups."""
    generator = np.random.default_rng(seed)
    classes = generator.integers(0, 2, 240)
    groups = np.arange(240) % 2
    letters = np.array(list("ACDEFGHIKLMNPQRSTVWY"))
    texts = []
    for label, group in zip(classes, groups, strict=True):
        weights = np.ones(20)
        if group == 0:
            weights[:10] += 6 * label
        texts.append("".join(generator.choice(letters, size=20, p=weights / weights.sum())))
    return texts, classes, groups


def training_of(seed: int, num_steps: int, **changes: Any) -> Training:
    texts, classes, groups = learnable_and_noise(seed)
    torch.manual_seed(seed)
    training = Training(
        network=build(CNNConfig(width=16, depth=1), PooledHeadConfig(outputs=2, dropout=0.1)),
        objective=Supervised(CrossEntropy()),
        examples=examples_of(texts, targets=classes, order=order_of(groups, seed=seed, rate=0.05)),
        optimizer=AdamW(learning_rate=1e-3),
        schedule=Constant(num_steps=num_steps),
        loop=LoopConfig(device=CPU, seed=seed),
        num_steps=num_steps,
        tokens_per_step=8 * 22,
        tokens_per_microbatch=4 * 22,
        num_evaluations=4,
        evaluate=lambda: {"loss": 1.0},
        judged_by="loss",
    )
    return replace(training, **changes)


@pytest.fixture(autouse=True)
def unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqtrain.io.run_directory.os.fsync", lambda descriptor: None)


def test_what_can_be_learnt_is_preferred_to_noise(tmp_path: Path) -> None:
    """While the loss of the first group still falls, it is shown more often; coins teach only by rote."""
    shown = np.zeros(2)
    for seed in range(3):
        (tmp_path / str(seed)).mkdir()
        training = training_of(seed, 80)
        order = order_of(learnable_and_noise(seed)[2], seed=seed, rate=0.15)
        training = replace(training, examples=replace(training.examples, order=order))
        progress = fit(training, tmp_path / str(seed), Silent())
        assert progress.bandit is not None and sum(progress.bandit.consumed) == progress.position
        shown += progress.bandit.consumed
        rows = [row for row in read_metrics(tmp_path / str(seed)) if row["event"] == "curriculum"]
        assert [row["step"] for row in rows] == [20, 40, 60, 80]
        assert rows[-1]["group 0"] + rows[-1]["group 1"] == pytest.approx(1) and rows[-1]["group 0"] > 0.5
    assert shown[0] > 1.2 * shown[1]


class Killed(BaseException):
    """Ends a training without a chance to save."""


class Kills(Silent):
    """A listener that kills a training after a step."""

    def step_done(self, report: Any, num_steps: int) -> None:
        if report.step == 13:
            raise Killed


def weights_of(network: nn.Module) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in network.parameters()]


def test_a_killed_training_goes_on_bit_for_bit(tmp_path: Path) -> None:
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    whole = training_of(5, 24)
    end = fit(whole, tmp_path / "whole", Silent())
    with pytest.raises(Killed):
        fit(training_of(5, 24), tmp_path / "killed", Kills())
    resumed = training_of(5, 24)
    assert fit(resumed, tmp_path / "killed", Silent()) == end
    for one, other in zip(weights_of(whole.network), weights_of(resumed.network), strict=True):
        assert torch.equal(one, other)
    assert [row["step"] for row in read_metrics(tmp_path / "killed")] == [
        row["step"] for row in read_metrics(tmp_path / "whole")
    ]


def test_microbatches_change_neither_the_choices_nor_what_is_learnt(tmp_path: Path) -> None:
    ends = []
    for tokens in (10**6, 22):
        (tmp_path / str(tokens)).mkdir()
        training = training_of(2, 16, tokens_per_microbatch=tokens)
        torch.manual_seed(2)
        network = build(CNNConfig(width=16, depth=1), PooledHeadConfig(outputs=2, dropout=0.0))
        training = replace(training, network=network)
        ends.append((fit(training, tmp_path / str(tokens), Silent()), weights_of(network)))
    (one, weights), (other, others) = ends
    assert one.bandit is not None and other.bandit is not None
    assert one.bandit.consumed == other.bandit.consumed
    np.testing.assert_allclose(one.bandit.rewards, other.bandit.rewards, rtol=1e-2, atol=1e-5)
    for a, b in zip(weights, others, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


class Poisoned(Supervised):
    """Nan on one record."""

    def score(self, outputs: torch.Tensor, batch: Batch) -> Score:
        score = super().score(outputs, batch)
        return Score(score.loss * float("nan"), score.count) if 17 in batch.records.tolist() else score


@pytest.mark.parametrize("on_nan", ["skip", "rollback"])
def test_a_step_that_was_not_made_teaches_the_bandit_nothing(on_nan: Any, tmp_path: Path) -> None:
    training = training_of(1, 40, objective=Poisoned(CrossEntropy()))
    training = replace(training, loop=replace(training.loop, on_nan=on_nan))
    progress = fit(training, tmp_path, Silent())
    assert progress.step == 40 and progress.bandit is not None
    assert all(np.isfinite(progress.bandit.rewards)) and sum(progress.bandit.consumed) == progress.position
    # A record comes once or twice in so many steps; what is skipped stays unknown.
    assert progress.bandit.num_rewards in ((38, 39) if on_nan == "skip" else (40,))
    steps = [row["step"] for row in read_metrics(tmp_path) if row["event"] == "train"]
    assert len(steps) == len(set(steps))


def test_dice_and_squared_error_train_with_it(tmp_path: Path) -> None:
    for number, objective in enumerate((Supervised(Dice()), Supervised(MeanSquaredError()))):
        (tmp_path / str(number)).mkdir()
        training = training_of(0, 6, objective=objective)
        if number:
            targets = np.random.default_rng(0).normal(size=(240, 1)).astype(np.float32)
            network = build(CNNConfig(width=16, depth=1), PooledHeadConfig(outputs=1, dropout=0.0))
            training = replace(training, examples=replace(training.examples, targets=targets), network=network)
        assert fit(training, tmp_path / str(number), Silent()).bandit != BanditState.start(2)
