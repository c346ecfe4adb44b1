"""LAMB: Adam with a rate per layer, for large batches."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from seqtrain.optimizers.adam import Moments
from seqtrain.optimizers.adam_direction import adam_directions
from seqtrain.optimizers.rule import Groups, RuleOptimizer, trust_ratios


@dataclass(frozen=True, kw_only=True)
class LAMB(Moments):
    """Adam whose update is scaled, layer by layer, to the size of the weights (You et al. 2019); decoupled decay.

    Biases and norms are not scaled. The paper's bounds on the size of the weights are left out, as in its experiments.
    """

    weight_decay: float = 0.01
    eps: float = 1e-6

    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        return RuleOptimizer(self.groups(model), self, betas=self.betas)

    def update(self, groups: Groups) -> None:
        """One step of algorithm 2: r = m' / (sqrt(v') + eps) + decay w, w = w - rate |w| / |r| r."""
        for group in groups:
            updates = adam_directions(self, group, group.gradients)
            if group.weight_decay:
                torch._foreach_add_(updates, group.parameters, alpha=group.weight_decay)
            ratios = trust_ratios(group.parameters, torch.stack(torch._foreach_norm(updates)))
            torch._foreach_mul_(updates, ratios)
            torch._foreach_add_(group.parameters, updates, alpha=-group.rate)
