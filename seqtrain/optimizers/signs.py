"""PowerSign and AddSign: gradients weighted by whether their sign agrees with that of their average."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from seqtrain.optimizers.rates import Rates, require_fraction, require_least
from seqtrain.optimizers.rule import Group, Groups, RuleOptimizer

Decay = Literal["none", "linear", "cosine", "restart"]


@dataclass(frozen=True, kw_only=True)
class SignAgreement(Rates):
    """What the two rules share: the average, and how the weight of agreement decays over the training."""

    smoothing: float = 0.9
    """Share of the average gradient that is kept at each step; schedules that cycle momentum cycle it."""
    decay: Decay = "none"
    """How the weight f(t) of agreement falls from 1 over T steps: linear 1 - t / T, cosine (1 + cos(pi t / T)) / 2,
    restart (1 + cos(pi (n t mod T) / T)) / 2."""
    num_steps: int | None = None
    """T; needed with a decay."""
    num_periods: int = 10
    """n, falls of the restart decay."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_fraction(("smoothing", self.smoothing))
        if self.decay != "none" and (self.num_steps is None or self.num_steps < 1):
            raise ValueError(f"decay={self.decay} needs num_steps, the steps of the training, and has {self.num_steps}")
        require_least("num_periods", self.num_periods, 1)

    def weight(self, step: int) -> float:
        """f at step 0, 1, …, num_steps - 1; 0 from num_steps on."""
        if self.decay == "none" or self.num_steps is None:
            return 1.0
        if step >= self.num_steps:
            return 0.0
        if self.decay == "linear":
            return 1 - step / self.num_steps
        falls = self.num_periods if self.decay == "restart" else 1
        return (1 + math.cos(math.pi * (falls * step % self.num_steps) / self.num_steps)) / 2

    def _agreement(self, group: Group, gradients: list[Tensor]) -> list[Tensor]:
        """f(t) sign(g) sign(m) of each parameter, m being the average with g in it."""
        averages = group.tensors("average")
        torch._foreach_lerp_(averages, gradients, 1 - group.momentum)
        agreement = list(torch._foreach_mul(torch._foreach_sign(gradients), torch._foreach_sign(averages)))
        torch._foreach_mul_(agreement, [self.weight(step - 1) for step in group.next_steps()])
        return agreement


@dataclass(frozen=True, kw_only=True)
class PowerSign(SignAgreement):
    """The gradient times base^(f sign(g) sign(m)) (Bello et al. 2017); L2 decay."""

    base: float = math.e

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 < self.base < math.inf:
            raise ValueError(f"base is {self.base}; give a number above 1, such as 2.718")

    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        return RuleOptimizer(self.groups(model), self, momentum=self.smoothing)

    def update(self, groups: Groups) -> None:
        """One step: w = w - rate base^(f sign(g) sign(m)) g."""
        for group in groups:
            gradients = group.decayed_gradients()
            factors = self._agreement(group, gradients)
            torch._foreach_mul_(factors, math.log(self.base))
            torch._foreach_exp_(factors)
            torch._foreach_mul_(factors, gradients)
            torch._foreach_add_(group.parameters, factors, alpha=-group.rate)


@dataclass(frozen=True, kw_only=True)
class AddSign(SignAgreement):
    """The gradient times (alpha + f sign(g) sign(m)) (Bello et al. 2017); L2 decay."""

    alpha: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_least("alpha", self.alpha, 0)

    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        return RuleOptimizer(self.groups(model), self, momentum=self.smoothing)

    def update(self, groups: Groups) -> None:
        """One step: w = w - rate (alpha + f sign(g) sign(m)) g."""
        for group in groups:
            gradients = group.decayed_gradients()
            factors = self._agreement(group, gradients)
            torch._foreach_add_(factors, self.alpha)
            torch._foreach_mul_(factors, gradients)
            torch._foreach_add_(group.parameters, factors, alpha=-group.rate)
