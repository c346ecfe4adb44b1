"""RMSprop, with heavy-ball momentum (torch's) or Nesterov's (ours: torch has none)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from seqtrain.optimizers.rates import Rates, require_fraction, require_least
from seqtrain.optimizers.rule import Groups, RuleOptimizer


@dataclass(frozen=True, kw_only=True)
class Rmsprop(Rates):
    """Gradients divided by the root of their mean square (Tieleman & Hinton 2012, lecture 6e); L2 decay."""

    smoothing: float = 0.99
    """Share of the mean square that is kept at each step."""
    momentum: float = 0.0
    nesterov: bool = False
    """Look ahead along the momentum (lecture 6e; Dozat 2016)."""
    centered: bool = False
    """Divide by the deviation instead of the root mean square (Graves 2013)."""
    eps: float = 1e-8

    def __post_init__(self) -> None:
        super().__post_init__()
        require_fraction(("smoothing", self.smoothing), ("momentum", self.momentum))
        require_least("eps", self.eps, 0)
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs momentum above 0; set momentum=0.9, or leave nesterov out")

    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        groups = self.groups(model)
        if self.nesterov:
            return RuleOptimizer(groups, self, momentum=self.momentum)
        return torch.optim.RMSprop(
            groups,
            lr=self.learning_rate,
            alpha=self.smoothing,
            eps=self.eps,
            momentum=self.momentum,
            centered=self.centered,
        )

    def update(self, groups: Groups) -> None:
        """One step with Nesterov's momentum.

        s = a s + (1 - a) g^2, d = g / (sqrt(s) + eps), b = m b + d, w = w - rate (d + m b).
        """
        for group in groups:
            gradients = group.decayed_gradients()
            squares, buffers = group.tensors("square"), group.tensors("momentum")
            torch._foreach_mul_(squares, self.smoothing)
            torch._foreach_addcmul_(squares, gradients, gradients, 1 - self.smoothing)
            variances = squares
            if self.centered:
                means = group.tensors("mean")
                torch._foreach_lerp_(means, gradients, 1 - self.smoothing)
                variances = list(torch._foreach_addcmul(squares, means, means, -1))
            deviations = torch._foreach_sqrt(variances)
            torch._foreach_add_(deviations, self.eps)
            directions = torch._foreach_div(gradients, deviations)
            torch._foreach_mul_(buffers, group.momentum)
            torch._foreach_add_(buffers, directions)
            torch._foreach_add_(directions, buffers, alpha=group.momentum)
            torch._foreach_add_(group.parameters, directions, alpha=-group.rate)
