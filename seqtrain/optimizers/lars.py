"""LARS: a rate per layer, for large batches."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from seqtrain.optimizers.rates import Rates, require_fraction, require_least
from seqtrain.optimizers.rule import Groups, RuleOptimizer, trust_ratios


@dataclass(frozen=True, kw_only=True)
class LARS(Rates):
    """SGD with momentum whose rate is scaled, layer by layer, to the size of the weights (You et al. 2017); L2 decay.

    Biases and norms are not scaled.
    """

    weight_decay: float = 1e-4
    momentum: float = 0.9
    trust: float = 0.001
    """What part of its own norm a layer may move by, at a rate of 1: the eta of the paper."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_fraction(("momentum", self.momentum))
        require_least("trust", self.trust, 0)
        if not self.trust:
            raise ValueError("trust is 0; give a number above 0, such as 0.001")

    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        return RuleOptimizer(self.groups(model), self, momentum=self.momentum)

    def update(self, groups: Groups) -> None:
        """One step of algorithm 1: v = m v + rate trust |w| / (|g| + decay |w|) (g + decay w), w = w - v."""
        for group in groups:
            sizes = torch.stack(torch._foreach_norm(group.gradients))
            if group.weight_decay:
                # The sum of the norms, as in the paper; several implementations take the norm of the sum.
                sizes = sizes + group.weight_decay * torch.stack(torch._foreach_norm(group.parameters))
            steps = torch._foreach_mul(group.decayed_gradients(), trust_ratios(group.parameters, sizes / self.trust))
            velocities = group.tensors("velocity")
            torch._foreach_mul_(velocities, group.momentum)
            torch._foreach_add_(velocities, steps, alpha=group.rate)
            torch._foreach_sub_(group.parameters, velocities)
