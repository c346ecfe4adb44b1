"""Losses: pure functions of logits and targets that return a sum and a count, so that batches can be cut anywhere.

Targets that are not to be scored (nan, or -100 for classes) add nothing to either.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORED_CLASS = -100


@dataclass(frozen=True)
class CrossEntropy:
    """Softmax cross-entropy in nats, for classes that exclude each other."""

    def __call__(self, logits: Tensor, targets: Tensor, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """logits (N, C), targets (N,) int64 with -100 ignored, weights (N,) -> weighted sum (), sum of weights ()."""
        weights = _weights(targets != IGNORED_CLASS, weights)
        losses = F.cross_entropy(_wide(logits), targets, ignore_index=IGNORED_CLASS, reduction="none")
        return (losses * weights).sum(), weights.sum()


@dataclass(frozen=True)
class BinaryCrossEntropy:
    """Sigmoid cross-entropy in nats, for labels that do not exclude each other."""

    def __call__(self, logits: Tensor, targets: Tensor, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """logits (N, K), targets (N, K) in [0, 1], nan ignored, weights (N,) -> weighted sum (), sum of weights ()."""
        scored = ~targets.isnan()
        weights = _weights(scored, weights)
        losses = F.binary_cross_entropy_with_logits(_wide(logits), targets.nan_to_num(0.0), reduction="none")
        return (losses * weights).sum(), weights.sum()


@dataclass(frozen=True)
class MeanSquaredError:
    """Squared error of standardised targets."""

    def __call__(self, logits: Tensor, targets: Tensor, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """logits (N, K), targets (N, K) with nan ignored, weights (N,) -> weighted sum (), sum of weights ()."""
        scored = ~targets.isnan()
        weights = _weights(scored, weights)
        errors = (_wide(logits) - targets.nan_to_num(0.0)) ** 2
        return (errors * weights).sum(), weights.sum()


Loss = CrossEntropy | BinaryCrossEntropy | MeanSquaredError


def _wide(logits: Tensor) -> Tensor:
    """16-bit logits in float32, in which sums of many losses stay exact enough; wider ones as they are."""
    return logits if logits.dtype == torch.float64 else logits.float()


def _weights(scored: Tensor, weights: Tensor | None) -> Tensor:
    """Weight of each element: that of its sequence, and 0 where it is not scored."""
    if weights is None:
        return scored.to(torch.float32)
    return scored * weights.reshape(-1, *[1] * (scored.ndim - 1))
