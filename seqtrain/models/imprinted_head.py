"""Classes as directions among the embeddings, which start as the means of their members (Qi, Brown & Lowe 2018)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from seqtrain.models.checks import require_positive, require_whole
from seqtrain.models.pooling import accumulating, means


@dataclass(frozen=True, kw_only=True)
class ImprintedHeadConfig:
    """One of K classes per sequence: the one whose direction is nearest to that of the sequence's embedding."""

    outputs: int
    scale: float = 10.0
    """What cosines are multiplied by at the start, before the softmax; learned with the directions."""

    def __post_init__(self) -> None:
        require_whole(type(self).__name__, "outputs", self.outputs, 1)
        require_positive(type(self).__name__, "scale", self.scale)

    def build(self, width: int) -> ImprintedHead:
        """A head over hidden states of this width, with directions at random until they are imprinted."""
        return ImprintedHead(width, self)


class ImprintedHead(nn.Module):
    """Scale times the cosine between the mean hidden state of a sequence and one vector per class.

    Of each vector only the direction counts. Special tokens are left out of the mean. The scale is kept as its
    logarithm, so that it stays above 0; the paper learns it as it is.
    """

    def __init__(self, width: int, config: ImprintedHeadConfig) -> None:
        super().__init__()
        self.config = config
        self.directions = nn.Parameter(functional.normalize(torch.randn(config.outputs, width), dim=1))
        self.log_scale = nn.Parameter(torch.tensor([math.log(config.scale)]))

    def forward(self, hidden: Tensor, segments: Tensor, residues: Tensor, num_sequences: int) -> Tensor:
        """hidden (T, D), segments (T,) int64 sequence of each position, residues (T,) bool -> logits (B, K)"""
        return self.answer(self.pool(hidden, segments, residues, num_sequences).to(hidden.dtype))

    def pool(self, hidden: Tensor, segments: Tensor, residues: Tensor, num_sequences: int) -> Tensor:
        """The embedding of each sequence, (B, D): the mean over its residues."""
        chosen = residues.nonzero().squeeze(1)
        return means(accumulating(hidden.index_select(0, chosen)), segments[chosen], num_sequences)

    def answer(self, features: Tensor) -> Tensor:
        """What :meth:`pool` gave of each sequence, (B, D) -> logits (B, K)"""
        directions = functional.normalize(self.directions, dim=1)
        return functional.linear(functional.normalize(features, dim=1), directions) * self.log_scale.exp()

    @torch.no_grad()
    def imprint(self, embeddings: Tensor, classes: Tensor, weights: Tensor) -> None:
        """Make each direction that of the mean of the normalised embeddings of the class.

        Args:
            embeddings: (N, D) of the training records, of any length.
            classes: (N,) int64, every class at least once.
            weights: (N,) how much each counts in the mean; above 0.
        """
        sums = torch.zeros(self.config.outputs, embeddings.shape[1], dtype=torch.float64)
        rows = functional.normalize(embeddings.cpu().double(), dim=1) * weights.cpu().double()[:, None]
        self.directions.copy_(functional.normalize(sums.index_add_(0, classes, rows), dim=1))
