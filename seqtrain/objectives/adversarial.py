"""Adversarial training: each batch as it is, and once more with its embeddings moved to where the loss is larger."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor, nn

from seqtrain.batch import Batch, joined
from seqtrain.buffers import copied_buffers, restore_buffers
from seqtrain.draws import Draws
from seqtrain.errors import InputError
from seqtrain.objectives.objective import Objective, Score

_STEPS_OVER_REACH = 2.5
"""How far the steps would lead together, as a multiple of what is allowed (Madry et al. 2018, appendix)."""


@dataclass(frozen=True, kw_only=True)
class GradientSign:
    """One step by the sign of the gradient (Goodfellow et al. 2015, arXiv:1412.6572)."""

    size: float = 0.01
    """Added to each number or taken from it; a multiple of the root mean square of its position's embedding."""

    def __post_init__(self) -> None:
        _check_size("gradient-sign", self.size)

    def start(self, limits: Tensor, like: Tensor) -> Tensor:
        """limits (T, 1) -> where the search begins, (T, D) as the embeddings are."""
        return torch.zeros_like(like)

    def lengths(self) -> tuple[float, ...]:
        """Of each step, as multiples of the limits."""
        return (1.0,)


@dataclass(frozen=True, kw_only=True)
class ProjectedGradient:
    """Several smaller steps from a random start, never further than a limit (Madry et al. 2018, arXiv:1706.06083).

    The start is drawn as dropout is. Each step costs as much as a step of training without it.
    """

    size: float = 0.01
    """As of :class:`GradientSign`."""
    steps: int = 3

    def __post_init__(self) -> None:
        _check_size("projected-gradient", self.size)
        if self.steps < 1:
            raise InputError(f"projected-gradient: steps is {self.steps}; give a whole number of at least 1")

    def start(self, limits: Tensor, like: Tensor) -> Tensor:
        """limits (T, 1) -> where the search begins, (T, D) as the embeddings are."""
        return (2 * torch.rand_like(like) - 1) * limits

    def lengths(self) -> tuple[float, ...]:
        """Of each step, as multiples of the limits."""
        return (_STEPS_OVER_REACH / self.steps,) * self.steps


Attack = GradientSign | ProjectedGradient


class Movable(Protocol):
    """A network whose embeddings can be moved: it adds ``batch.shift`` to them."""

    def __call__(self, batch: Batch) -> Tensor: ...

    def embedded(self, batch: Batch) -> Tensor:
        """(T, D) what the shift is added to."""
        ...


@dataclass(frozen=True, kw_only=True)
class Adversarial:
    """An objective on every batch twice: as it is, and with its embeddings moved against it; both count alike.

    Where no gradients are computed, as in evaluations, it is the objective alone.
    """

    objective: Objective
    network: nn.Module
    """That is trained; :class:`Movable`."""
    attack: Attack
    precision: torch.dtype | None = None
    """Of the search under autocast; None for none."""

    @property
    def separable(self) -> bool:
        """As the objective is."""
        return self.objective.separable

    def prepare(self, batch: Batch, draws: Draws) -> Batch:
        """The prepared batch and its moved copy, one behind the other."""
        prepared = self.objective.prepare(batch, draws)
        if not torch.is_grad_enabled():
            return prepared
        shift = worst_shift(self.network, self.objective, prepared, self.attack, self.precision)
        return joined([replace(prepared, shift=torch.zeros_like(shift)), replace(prepared, shift=shift)])

    def score(self, outputs: Tensor, batch: Batch) -> Score:
        """The objective's, over both copies."""
        return self.objective.score(outputs, batch)


def worst_shift(
    network: nn.Module, objective: Objective, batch: Batch, attack: Attack, precision: torch.dtype | None = None
) -> Tensor:
    """What, added to the embeddings of a prepared batch, makes its loss large: (T, D), each number within the limit.

    The network's mode, its running statistics and the gradients of its parameters stay as they are.
    """
    movable: Movable = network  # type: ignore[assignment]
    buffers = copied_buffers(network)
    with torch.no_grad():
        rows = movable.embedded(batch).float()
    limits = attack.size * rows.square().mean(dim=1, keepdim=True).sqrt()
    shift = attack.start(limits, rows)
    for length in attack.lengths():
        shift.requires_grad_()
        with torch.autocast(rows.device.type, dtype=precision, enabled=precision is not None):
            outputs = movable(replace(batch, shift=shift))
        loss = objective.score(outputs, batch).loss
        if not loss.requires_grad:
            break
        (gradient,) = torch.autograd.grad(loss, shift, allow_unused=True)
        if gradient is None:
            break
        shift = torch.clamp(shift.detach() + length * limits * gradient.sign(), -limits, limits)
    restore_buffers(network, buffers)
    return shift.detach()


def unattacked(objective: Objective) -> Objective:
    """The objective itself, without its adversary."""
    return objective.objective if isinstance(objective, Adversarial) else objective


def _check_size(name: str, size: float) -> None:
    if not 0 < size < float("inf"):
        raise InputError(f"{name}: size is {size:g}; give a number above 0, such as 0.01")
