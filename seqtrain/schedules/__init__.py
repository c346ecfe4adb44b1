"""Learning-rate schedules: the factor on the peak rate as a pure function, so that nothing needs saving.

``schedule(step, history)`` is the factor for update number ``step``, from 0; ``history`` holds the evaluations done
before it and only :class:`Plateau` looks at it. Some members cycle momentum, one grows the batch:
:func:`momentum_at` and :func:`batch_factor_at` answer for every member. A schedule joins by standing in the union.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from seqtrain.schedules.batch_growth import BatchGrowth
from seqtrain.schedules.cosine import LinearCosine, NoisyLinearCosine, WarmRestarts, WarmupCosine
from seqtrain.schedules.cyclical import ExpRange, Triangular, Triangular2
from seqtrain.schedules.decays import Constant, Exponential, InverseSquareRoot, Linear, Polynomial, StepDecay
from seqtrain.schedules.history import Evaluation, History, history_of
from seqtrain.schedules.one_cycle import OneCycle
from seqtrain.schedules.plateau import Plateau
from seqtrain.schedules.stable import WarmupStableDecay

Schedule = (
    Constant
    | StepDecay
    | Exponential
    | Linear
    | Polynomial
    | InverseSquareRoot
    | WarmupCosine
    | WarmRestarts
    | WarmupStableDecay
    | Triangular
    | Triangular2
    | ExpRange
    | OneCycle
    | LinearCosine
    | NoisyLinearCosine
    | Plateau
    | BatchGrowth
)


def momentum_at(schedule: Schedule, step: int) -> float | None:
    """The momentum (beta 1 of Adam and its kin) that a schedule wants at a step; None where it leaves it alone."""
    if isinstance(schedule, Triangular | Triangular2 | ExpRange | OneCycle):
        return schedule.momentum(step)
    return None


def batch_factor_at(schedule: Schedule, step: int) -> float:
    """What the tokens per step are multiplied by at a step, at least 1."""
    return schedule.batch_factor(step) if isinstance(schedule, BatchGrowth) else 1.0


def shortened(schedule: Schedule) -> Schedule:
    """The schedule whose steps see as many tokens as ``num_steps`` steps of the first size; most stay as they are."""
    return schedule.shortened() if isinstance(schedule, BatchGrowth) else schedule


def set_momentum(groups: Iterable[dict[str, Any]], momentum: float) -> None:
    """Give the parameter groups of an optimiser a momentum; groups that have none, or one of 0, stay without."""
    for group in groups:
        if group.get("momentum"):
            group["momentum"] = momentum
        elif has_momentum([group]):
            group["betas"] = (momentum, *group["betas"][1:])


def has_momentum(groups: Iterable[dict[str, Any]]) -> bool:
    """Whether any group has a momentum, or a first beta, above 0, which a schedule can cycle."""
    return any(group.get("momentum") or (group.get("betas") or (0,))[0] for group in groups)


__all__ = [
    "BatchGrowth",
    "Constant",
    "Evaluation",
    "ExpRange",
    "Exponential",
    "History",
    "InverseSquareRoot",
    "Linear",
    "LinearCosine",
    "NoisyLinearCosine",
    "OneCycle",
    "Plateau",
    "Polynomial",
    "Schedule",
    "StepDecay",
    "Triangular",
    "Triangular2",
    "WarmRestarts",
    "WarmupCosine",
    "WarmupStableDecay",
    "batch_factor_at",
    "has_momentum",
    "history_of",
    "momentum_at",
    "set_momentum",
    "shortened",
]
