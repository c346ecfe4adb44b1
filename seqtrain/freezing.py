"""Freezing: which parts of a trained network stay as they are, and until which step.

A frozen parameter gets no gradient, and so no update, no decay and no momentum; what is frozen for good has no state in
the optimiser. Modules of which nothing is trained run in evaluation mode: no dropout, and running statistics as they
were. Where nothing of the body is trained, no gradient is computed within it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import nn

from seqtrain.optimizers.rates import distances_from_head, is_head, layer_numbers


class Freeze(Protocol):
    """From which step on each part of a network is trained."""

    def first_step(self, distance: int, num_layers: int, num_steps: int) -> int | None:
        """The first step, counted from 0, that trains the parameters at a distance from the head; None: none does.

        Args:
            distance: 0 in the head, 1 in the last layer and in what follows it, ``num_layers`` in the first, and one
                more in the embeddings and whatever else comes before the layers.
            num_layers: of the body.
            num_steps: of the training.

        Raises:
            ValueError: it does not fit a body of so many layers.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Body:
    """The whole body: only the head is trained (Yosinski et al. 2014), as in linear probing."""

    def first_step(self, distance: int, num_layers: int, num_steps: int) -> int | None:
        return 0 if distance == 0 else None


@dataclass(frozen=True, kw_only=True)
class Embeddings:
    """What comes before the first layer, such as the vectors of the letters."""

    def first_step(self, distance: int, num_layers: int, num_steps: int) -> int | None:
        return 0 if distance <= num_layers else None


@dataclass(frozen=True, kw_only=True)
class Lowest:
    """The lowest layers, and what comes before them (Yosinski et al. 2014)."""

    layers: int
    """That are frozen, counted from the embeddings."""

    def __post_init__(self) -> None:
        if self.layers < 1:
            raise ValueError(f"layers is {self.layers}; give a whole number above 0, or freeze the embeddings only")

    def first_step(self, distance: int, num_layers: int, num_steps: int) -> int | None:
        if self.layers > num_layers:
            raise ValueError(f"layers is {self.layers}, and the body has {num_layers}; give at most as many")
        return 0 if distance <= num_layers - self.layers else None


@dataclass(frozen=True, kw_only=True)
class Gradual:
    """Nothing for good: the head is trained first, then one layer more at a time from the top (Howard & Ruder 2018).

    They thaw a layer per epoch; here n layers and the embeddings thaw at even distances, so that it does not depend on
    the number of records.
    """

    until: float = 0.5
    """Fraction of the steps after which everything is trained."""

    def __post_init__(self) -> None:
        if not 0 < self.until <= 1:
            raise ValueError(f"until is {self.until}; give a fraction above 0 and at most 1, such as 0.5")

    def first_step(self, distance: int, num_layers: int, num_steps: int) -> int | None:
        # Rounded up: the head alone has the first step however short the training is.
        return math.ceil(self.until * num_steps * distance / (num_layers + 1) - 1e-9)


Freezing = Body | Embeddings | Lowest | Gradual


@dataclass(frozen=True, kw_only=True)
class Thawing:
    """From which step on each parameter of a network is trained: what the training loop goes by."""

    first_steps: Mapping[str, int | None]
    """By the name of the parameter, of all that would be trained without freezing; None: never."""

    def __call__(self, model: nn.Module, step: int) -> None:
        """Let what the update after ``step`` updates is to change require gradients, and put the rest to rest."""
        for name, parameter in model.named_parameters():
            if name in self.first_steps:
                first = self.first_steps[name]
                parameter.requires_grad_(first is not None and first <= step)
        known = {id(parameter) for name, parameter in model.named_parameters() if name in self.first_steps}
        _rest(model, known)

    @property
    def words(self) -> str:
        """What is frozen and until when, in half a sentence."""
        later = sorted({first for first in self.first_steps.values() if first})
        if not later:
            return "what is frozen stays so, in evaluation mode"
        return (
            f"the head alone is trained for {later[0]:,} {'step' if later[0] == 1 else 'steps'}, everything after "
            f"{later[-1]:,}, and one layer more at a time in between"
        )


def freeze(model: nn.Module, freezing: Freezing, num_steps: int) -> Thawing:
    """Freeze what is never to be trained, before an optimiser is built, and plan the rest of a training.

    Only what requires gradients takes part: beside adapters, the weights that they adapt stay frozen.

    Raises:
        ValueError: the model has no layers, or not as many as are to be frozen; or nothing would be frozen at all.
    """
    distances = distances_from_head(model)
    num_layers = 1 + max(layer_numbers(model).values())
    first_steps: dict[str, int | None] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            # What follows the last layer, such as a final norm, is trained with it.
            distance = 0 if is_head(name) else max(1, distances.get(name, 0))
            first_steps[name] = freezing.first_step(distance, num_layers, num_steps)
    if not any(first is None or first > 0 for first in first_steps.values()):
        raise ValueError("nothing that would be trained is frozen by it; leave it out")
    for name, parameter in model.named_parameters():
        if name in first_steps and first_steps[name] is None:
            parameter.requires_grad_(False)
    return Thawing(first_steps=first_steps)


def _rest(module: nn.Module, known: set[int]) -> None:
    """Put modules in evaluation mode that have parameters of a plan and of which nothing is trained at this step."""
    parameters = list(module.parameters())
    if any(id(parameter) in known for parameter in parameters):
        if not any(parameter.requires_grad for parameter in parameters):
            module.eval()
            return
        for child in module.children():
            _rest(child, known)
