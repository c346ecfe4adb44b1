"""Optimisers and their parameter groups: no decay on biases, norms and embeddings; a rate of its own for the head."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True, kw_only=True)
class AdamW:
    """Adam with decoupled weight decay (Loshchilov & Hutter 2017)."""

    learning_rate: float
    head_learning_rate: float | None = None
    """Peak rate of the parameters under ``head.``; None for the same rate."""
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.98)
    """As for ESM-2 (Lin et al. 2023)."""
    eps: float = 1e-8

    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        """An optimiser whose groups hold their peak rate under "peak"."""
        groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                in_head = name.startswith("head.") and self.head_learning_rate is not None
                decays = parameter.ndim > 1 and "embedding" not in name
                groups.setdefault((in_head, decays), []).append(parameter)
        settings = []
        for (in_head, decays), parameters in sorted(groups.items(), key=lambda item: item[0]):
            peak = self.head_learning_rate if in_head else self.learning_rate
            decay = self.weight_decay if decays else 0.0
            settings.append({"params": parameters, "lr": peak, "peak": peak, "weight_decay": decay})
        return torch.optim.AdamW(settings, lr=self.learning_rate, betas=self.betas, eps=self.eps, fused=True)
