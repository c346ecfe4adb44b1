"""What a model is asked to do with a batch: prepare it, and score what came out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from torch import Tensor

from seqtrain.batch import Batch
from seqtrain.draws import Draws


@dataclass(frozen=True)
class Score:
    """Sums over what was scored, so that microbatches add up exactly."""

    loss: Tensor
    """() sum of losses; carries the gradient."""
    count: Tensor
    """() sum of weights that the loss is to be divided by."""
    sums: dict[str, Tensor] = field(default_factory=dict)
    """() each: sums of other measures, to be divided by the same count."""


class Objective(Protocol):
    """An objective that is a sum over records or positions is separable: a step may be cut into microbatches."""

    @property
    def separable(self) -> bool: ...

    def prepare(self, batch: Batch, draws: Draws) -> Batch:
        """Hide, add or choose what the model is to be asked for."""
        ...

    def score(self, outputs: Tensor, batch: Batch) -> Score:
        """Score the outputs for a prepared batch."""
        ...


@runtime_checkable
class Changing(Protocol):
    """An objective that is not the same at every step, such as one that hides more letters as training goes on."""

    def at_step(self, step: int) -> Objective:
        """The objective of the update that follows ``step`` updates."""
        ...


@runtime_checkable
class Judged(Protocol):
    """An objective that is judged by another, so that the scores of several trainings compare."""

    def at_evaluation(self) -> Objective:
        """What is asked of held-out sequences."""
        ...
