"""Hypergradient descent: the learning rate goes down its own gradient while the weights go down theirs.

With w_t = w_{t-1} - a_t d_t, the loss after a step falls with the rate as the next gradient agrees with the direction
taken: a_{t+1} = a_t + rate_of_rate * g_{t+1} . d_t (Baydin et al. 2017, algorithms 4 to 6). There is one rate a for the
whole model, which starts as the learning rate. Where groups have rates of their own, and under a schedule, each step of
a group is multiplied by (its rate) / (the learning rate), and so is its part of the sum: the exact derivative.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from seqtrain.optimizers.adam import Moments
from seqtrain.optimizers.adam_direction import adam_directions
from seqtrain.optimizers.rates import Rates, require_fraction, require_least
from seqtrain.optimizers.rule import Group, Groups, RuleOptimizer


@dataclass(frozen=True, kw_only=True)
class HypergradientSGD(Rates):
    """SGD, with momentum if wished, whose rate is adapted as it goes (Baydin et al. 2017); L2 decay."""

    rate_of_rate: float = 1e-6
    """Step of the rate along its own gradient, in units of rate per squared gradient; 0 for plain SGD."""
    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require_adaptable(self)
        require_least("rate_of_rate", self.rate_of_rate, 0)
        require_fraction(("momentum", self.momentum))
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs momentum above 0; set momentum=0.9, or leave nesterov out")

    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        return RuleOptimizer(self.groups(model), self, momentum=self.momentum)

    def update(self, groups: Groups) -> None:
        """One step of algorithm 4 or, with Nesterov's momentum, 5."""
        gradients = [group.decayed_gradients() for group in groups]
        rate = adapted_rate(groups, gradients, self.learning_rate, self.rate_of_rate)
        for group, each in zip(groups, gradients, strict=True):
            move(group, self._directions(group, each), rate, self.learning_rate)

    def _directions(self, group: Group, gradients: list[Tensor]) -> list[Tensor]:
        if not self.momentum:
            return gradients
        buffers = group.tensors("momentum")
        torch._foreach_mul_(buffers, group.momentum)
        torch._foreach_add_(buffers, gradients)
        return list(torch._foreach_add(gradients, buffers, alpha=group.momentum)) if self.nesterov else buffers


@dataclass(frozen=True, kw_only=True)
class HypergradientAdam(Moments):
    """Adam whose rate is adapted as it goes (Baydin et al. 2017); L2 decay."""

    rate_of_rate: float = 1e-8
    """Step of the rate along its own gradient, in units of rate per gradient; 0 for plain Adam."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_adaptable(self)
        require_least("rate_of_rate", self.rate_of_rate, 0)

    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        return RuleOptimizer(self.groups(model), self, betas=self.betas)

    def update(self, groups: Groups) -> None:
        """One step of algorithm 6."""
        gradients = [group.decayed_gradients() for group in groups]
        rate = adapted_rate(groups, gradients, self.learning_rate, self.rate_of_rate)
        for group, each in zip(groups, gradients, strict=True):
            move(group, adam_directions(self, group, each), rate, self.learning_rate)


def require_adaptable(rates: Rates) -> None:
    """Refuse a rate that nothing can be in proportion to."""
    if not rates.learning_rate:
        raise ValueError("learning_rate is 0; give the rate to start from, above 0")


def adapted_rate(groups: Groups, gradients: list[list[Tensor]], start: float, rate_of_rate: float) -> float:
    """The rate a after one more step along its gradient; start at the first step. Kept as the model's "rate"."""
    agreements = [
        (gradient * direction).sum()
        for group, each in zip(groups, gradients, strict=True)
        for gradient, direction in zip(each, group.tensors("direction"), strict=True)
    ]
    hypergradient = float(torch.stack(agreements).sum())
    rate: float = groups.shared.get("rate", start) + rate_of_rate * hypergradient
    groups.shared["rate"] = rate
    return rate


def move(group: Group, directions: list[Tensor], rate: float, reference: float) -> None:
    """Go along the directions at the adapted rate, times what the group and the schedule make of the reference rate."""
    taken = group.tensors("direction")
    torch._foreach_copy_(taken, directions)
    torch._foreach_mul_(taken, group.rate / reference)
    torch._foreach_add_(group.parameters, taken, alpha=-rate)
