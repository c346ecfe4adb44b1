"""Averages of the weights along the training, which are evaluated and kept in the place of the last ones.

A frozen config, :class:`EMA` or :class:`SWA`, builds the :class:`AveragedWeights` of a model. The contract with the
training loop: ``update(model, step)`` after each optimiser step (and after whatever else changes weights), step being
the updates done, from 1; evaluation and saving of what is to be kept inside ``with averaged.swapped(model)``;
``state_dict`` and ``load_state_dict`` beside the optimiser's in the checkpoint; ``averaged.copy_to(model)`` at the end.

Only trainable parameters are averaged, as frozen ones never change, and with them the running statistics of batch
norms: those that belong to the last weights do not fit averaged ones. Izmailov et al. 2018 (section 3.2) compute them
anew by a pass over the training records instead, which every evaluation would have to wait for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class EMA:
    """An exponential moving average of the weights after every step (Polyak & Juditsky 1992)."""

    decay: float = 0.999
    """Share of the average that is kept at each step: about 1 / (1 - decay) steps are averaged."""
    correction: Literal["bias", "warm-up", "none"] = "bias"
    """What is done about the first steps. bias: weights of decay^age that sum to 1, as in Adam (Kingma & Ba 2014);
    warm-up: a decay of at most (1 + t) / (10 + t) at the t-th update; none: the average starts from the weights that
    the training started from."""

    def __post_init__(self) -> None:
        if not 0 <= self.decay < 1:
            raise ValueError(f"decay is {self.decay}; give a number from 0 up to, but not including, 1, such as 0.999")

    def build(self, model: nn.Module) -> AveragedWeights:
        """The average, which before the first update is the model's weights."""
        return AveragedWeights(model, self)

    def share(self, step: int, count: int) -> float:
        """What part of the count-th average, from 1, the weights after a step are; 0 to leave them out."""
        if self.correction == "warm-up":
            return 1 - min(self.decay, (1 + count) / (10 + count))
        if self.correction == "bias" and self.decay:
            return (1 - self.decay) / -math.expm1(count * math.log(self.decay))
        return 1 - self.decay


@dataclass(frozen=True, kw_only=True)
class SWA:
    """The plain mean of the weights after every few steps towards the end (Izmailov et al. 2018).

    With start_fraction=0 and every=1, the average of Polyak & Juditsky (1992). Its gain comes with a rate that stays
    high while weights are gathered: constant or cyclical, not one that falls to 0.
    """

    num_steps: int
    """Of the whole training."""
    start_fraction: float = 0.75
    """Of the training that is left out."""
    every: int = 1
    """Steps between the weights that are gathered, such as the cycle of a cyclical rate."""

    def __post_init__(self) -> None:
        if not 0 <= self.start_fraction < 1:
            raise ValueError(
                f"start_fraction is {self.start_fraction}; give a number from 0 up to, but not including, 1"
            )
        if self.every < 1:
            raise ValueError(f"every is {self.every}; give a whole number above 0")
        if self.start + self.every > self.num_steps:
            raise ValueError(
                f"every {self.every} steps after step {self.start} of {self.num_steps} gathers nothing; "
                "lower every or start_fraction"
            )

    @property
    def start(self) -> int:
        """The step after which gathering begins."""
        return math.floor(self.start_fraction * self.num_steps)

    def build(self, model: nn.Module) -> AveragedWeights:
        """The average, which before the first update is the model's weights."""
        return AveragedWeights(model, self)

    def share(self, step: int, count: int) -> float:
        """What part of the count-th average, from 1, the weights after a step are; 0 to leave them out."""
        since = step - self.start
        return 1 / count if since > 0 and since % self.every == 0 else 0.0


Averaging = EMA | SWA


class Share(Protocol):
    """How much of an average new weights become."""

    def share(self, step: int, count: int) -> float:
        """What part of the count-th average, from 1, the weights after a step are; 0 to leave them out."""
        ...


class AveragedWeights:
    """The average of a model's trainable parameters and of its buffers of real numbers, in float32 or better."""

    def __init__(self, model: nn.Module, config: Share) -> None:
        self._config = config
        self._count = 0
        self._averages = {
            name: tensor.detach().to(torch.promote_types(tensor.dtype, torch.float32), copy=True)
            for name, tensor in _tensors(model).items()
            if tensor.requires_grad or (not isinstance(tensor, nn.Parameter) and tensor.is_floating_point())
        }

    @property
    def count(self) -> int:
        """Weights that have gone into the average."""
        return self._count

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take in the weights after a step, counted from 1."""
        share = self._config.share(step, self._count + 1)
        if not share:
            return
        averages = list(self._averages.values())
        weights = [tensor.to(average.dtype) for tensor, average in self._pairs(model)]
        torch._foreach_lerp_(averages, weights, share)
        self._count += 1

    @contextmanager
    def swapped(self, model: nn.Module) -> Iterator[None]:
        """Inside, the model has the averaged weights; afterwards its own again, bit for bit.

        Before the first weights have gone into the average, the model keeps its own inside as well.
        """
        own = [tensor.detach().clone() for tensor, _ in self._pairs(model)]
        self.copy_to(model)
        try:
            yield
        finally:
            with torch.no_grad():
                for (tensor, _), weights in zip(self._pairs(model), own, strict=True):
                    tensor.copy_(weights)

    @torch.no_grad()
    def copy_to(self, model: nn.Module) -> None:
        """Give the model the averaged weights for good, if any have gone into the average."""
        if self._count:
            for tensor, average in self._pairs(model):
                tensor.copy_(average)

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that a checkpoint has to hold: "count" () int64, and "average//name" for each tensor."""
        averages = {f"average//{name}": average for name, average in self._averages.items()}
        return {"count": torch.tensor(self._count), **averages}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a saved state.

        Raises:
            ValueError: it is of another model.
        """
        mine = self.state_dict()
        other = sorted(
            name
            for name in {*mine, *state}
            if name not in mine or name not in state or mine[name].shape != state[name].shape
        )
        if other:
            raise ValueError(f"the averaged weights are of another model: {other[0]} and {len(other) - 1} more differ")
        self._count = int(state["count"])
        for name, average in self._averages.items():
            average.copy_(state[f"average//{name}"])

    def _pairs(self, model: nn.Module) -> Iterator[tuple[Tensor, Tensor]]:
        tensors = _tensors(model)
        return ((tensors[name], average) for name, average in self._averages.items())


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name, tied ones once."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}
