"""The loop sets rates and momenta, regularises around each update, and heeds evaluations that its caller adds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from seqtrain.batch import Batch
from seqtrain.batching import microbatches, steps_from
from seqtrain.draws import Draws
from seqtrain.losses import MeanSquaredError
from seqtrain.models.heads import PooledHeadConfig
from seqtrain.models.network import build
from seqtrain.models.transformer import TransformerConfig
from seqtrain.objectives import Score, Supervised
from seqtrain.optimizers import SGD, AdamW, Optimizer
from seqtrain.regularization import ClipNorm, LearningRates, Regularizer
from seqtrain.schedules import Evaluation, OneCycle, Plateau, Schedule, Triangular
from seqtrain.training import LoopConfig, NotFinite, StepReport, train_steps
from tests.corpora import examples_of, proteins

STEPS = 6
TARGETS = np.random.default_rng(1).normal(size=(24, 1)).astype(np.float32)
EXAMPLES = examples_of(proteins([10] * 24), targets=TARGETS)
CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class Noted(Regularizer):
    """Notes the gradient's norm before each update, and how far the head's weights went after it."""

    before: list[tuple[int, float]] = field(default_factory=list)
    weights: list[tuple[int, torch.Tensor]] = field(default_factory=list)

    def before_update(self, model: nn.Module, step: int) -> None:
        norm = torch.nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])
        self.before.append((step, float(norm)))

    def after_update(self, model: nn.Module, step: int, rates: LearningRates) -> None:
        self.weights.append((step, next(model.parameters()).detach().clone()))


@dataclass(frozen=True)
class Sometimes:
    """Squared error that is not finite at some steps; an infinite factor leaves the loss finite, not its gradient."""

    spoil: dict[int, str]
    calls: list[int] = field(default_factory=list)
    separable = True

    def prepare(self, batch: Batch, draws: Draws) -> Batch:
        return batch

    def score(self, outputs: torch.Tensor, batch: Batch) -> Score:
        how = self.spoil.get(len(self.calls), "")
        self.calls.append(0)
        score = Supervised(MeanSquaredError()).score(outputs, batch)
        if how == "gradient":  # the slope of a root at 0
            return Score(score.loss + (outputs - outputs).sqrt().sum(), score.count)
        return Score(score.loss * float(how), score.count) if how else score


def run(optimizer: Optimizer, schedule: Schedule, objective: Any = None, **loop: Any) -> Any:
    """The optimiser, and reports one after the other."""
    torch.manual_seed(0)
    network = build(TransformerConfig(width=16, depth=1, num_heads=2), PooledHeadConfig(outputs=1, dropout=0.0))
    built = optimizer.build(network)
    steps = steps_from(EXAMPLES, 48, 0, seed=0)
    data = [list(microbatches(next(steps), EXAMPLES, 10**6)) for _ in range(STEPS)]
    history: list[Evaluation] = []
    config = LoopConfig(device=CPU, **loop)
    reports = train_steps(
        network, objective or Supervised(MeanSquaredError()), data, built, schedule, config, history=history
    )
    return built, reports, history, network


@pytest.mark.parametrize("schedule", [OneCycle(num_steps=STEPS), Triangular(num_steps=STEPS, cycle_momentum=True)])
@pytest.mark.parametrize("optimizer", [AdamW(learning_rate=0.01), SGD(learning_rate=0.01, head_learning_rate=0.02)])
def test_rates_and_momenta_follow_the_schedule(schedule: Any, optimizer: Optimizer) -> None:
    built, reports, _, _ = run(optimizer, schedule)
    seen = []
    for step, report in enumerate(reports):
        assert report.learning_rate == pytest.approx(0.01 * schedule(step), rel=1e-12)
        for group in built.param_groups:
            assert group["lr"] == pytest.approx(group["peak"] * schedule(step), rel=1e-12)
            momentum = group["betas"][0] if "betas" in group else group["momentum"]
            assert momentum == schedule.momentum(step)
            seen.append(momentum)
    assert len(set(seen)) > 2


def test_a_schedule_sees_what_its_caller_adds_to_the_history() -> None:
    _, reports, history, _ = run(SGD(learning_rate=0.01), Plateau(num_steps=STEPS, patience=1, factor=0.5))
    rates = []
    for report in reports:
        rates.append(report.learning_rate)
        history.append(Evaluation(report.step, 1.0 if report.step < 3 else 0.5))
    assert rates == pytest.approx([0.01, 0.01, 0.005, 0.005, 0.0025, 0.00125])


def test_regularisers_come_in_turn_and_around_the_update() -> None:
    noted = Noted()
    _, reports, _, network = run(
        SGD(learning_rate=0.1), OneCycle(num_steps=STEPS), regularizers=(ClipNorm(limit=0.01), noted)
    )
    norms = []
    for report in reports:
        norms.append(report.gradient_norm)
        step, weights = noted.weights[-1]
        assert step == report.step - 1 and torch.equal(weights, next(network.parameters()))
    assert [step for step, _ in noted.before] == list(range(STEPS))
    assert min(norms) > 0.01 and [norm for _, norm in noted.before] == pytest.approx([0.01] * STEPS, rel=1e-3)
    first, last = noted.weights[0][1], noted.weights[-1][1]
    assert not torch.equal(first, last)


@pytest.mark.parametrize("how", ["nan", "inf", "gradient"])
def test_what_is_not_finite_is_found_before_the_update(how: str) -> None:
    noted, told = Noted(), list[str]()
    _, reports, _, network = run(
        AdamW(learning_rate=0.01), OneCycle(num_steps=STEPS), Sometimes({2: how}),
        regularizers=(noted,), on_nan="skip", warn=told.append,
    )  # fmt: skip
    done: list[StepReport] = list(reports)
    assert [report.skipped for report in done] == [False, False, True, False, False, False]
    assert [step for step, _ in noted.before] == [step for step, _ in noted.weights] == [0, 1, 3, 4, 5]
    (line,) = told
    assert line.startswith("step 3: loss ") and line.endswith("; the update was not made")
    assert np.isfinite(done[2].loss) == (how == "gradient")
    assert all(bool(parameter.isfinite().all()) for parameter in network.parameters())
    for policy in ("stop", "rollback"):
        _, reports, _, _ = run(AdamW(learning_rate=0.01), OneCycle(num_steps=STEPS), Sometimes({2: how}), on_nan=policy)
        assert next(reports).step == 1 and next(reports).step == 2
        with pytest.raises(NotFinite, match=r"^step 3: .*lower --learning-rate, or look at these records$"):
            next(reports)
