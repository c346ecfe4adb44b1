"""From hidden states to logits: one token, one sequence or one position at a time."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from seqtrain.models.checks import require_fraction, require_positive, require_whole
from seqtrain.models.transformer import initialise


@dataclass(frozen=True, kw_only=True)
class LanguageModelHeadConfig:
    """Which token stands here: the head of ESM-2."""

    vocabulary_size: int = 33
    layer_norm_eps: float = 1e-5
    tied: bool = True
    """Score tokens by the body's own embeddings of them; else by weights of the head's own."""

    def __post_init__(self) -> None:
        require_whole(type(self).__name__, "vocabulary_size", self.vocabulary_size, 1)
        require_positive(type(self).__name__, "layer_norm_eps", self.layer_norm_eps)

    def build(self, width: int) -> LanguageModelHead:
        """A head with fresh weights over hidden states of this width."""
        return LanguageModelHead(width, self)


@dataclass(frozen=True, kw_only=True)
class SequenceHeadConfig:
    """K numbers per sequence."""

    outputs: int
    dropout: float = 0.1

    def __post_init__(self) -> None:
        require_whole(type(self).__name__, "outputs", self.outputs, 1)
        require_fraction(type(self).__name__, "dropout", self.dropout)

    def build(self, width: int) -> SequenceHead:
        """A head with fresh weights over hidden states of this width."""
        return SequenceHead(width, self)


@dataclass(frozen=True, kw_only=True)
class PositionHeadConfig:
    """K numbers per position."""

    outputs: int
    dropout: float = 0.1

    def __post_init__(self) -> None:
        require_whole(type(self).__name__, "outputs", self.outputs, 1)
        require_fraction(type(self).__name__, "dropout", self.dropout)

    def build(self, width: int) -> PositionHead:
        """A head with fresh weights over hidden states of this width."""
        return PositionHead(width, self)


class LanguageModelHead(nn.Module):
    """Dense, GELU, layer norm, and one score per token.

    A tied head scores by the transposed token embedding, which the body owns and lends.
    """

    def __init__(self, width: int, config: LanguageModelHeadConfig) -> None:
        super().__init__()
        self.config = config
        self.dense = nn.Linear(width, width)
        self.layer_norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.decoder = None if config.tied else nn.Linear(width, config.vocabulary_size, bias=False)
        self.bias = nn.Parameter(torch.zeros(config.vocabulary_size))
        self.apply(initialise)

    def forward(self, hidden: Tensor, token_embedding: Tensor | None) -> Tensor:
        """hidden (M, D), token_embedding (V, D) for a tied head -> logits (M, V)"""
        features = self.layer_norm(functional.gelu(self.dense(hidden)))
        weight = token_embedding if self.decoder is None else self.decoder.weight
        assert weight is not None, "build_head ties no head to a body without an embedding of its width"
        return functional.linear(features, weight, self.bias)


class SequenceHead(nn.Module):
    """Mean, maximum and a learned average over the residues of each sequence, then two linear layers.

    The learned average starts as the plain one. Special tokens are left out: what a body keeps in them depends on how
    it was trained.
    """

    def __init__(self, width: int, config: SequenceHeadConfig) -> None:
        super().__init__()
        self.config = config
        self.attention = nn.Linear(width, 1, bias=False)  # a bias would cancel in the softmax
        self.norm = nn.LayerNorm(3 * width)
        self.dense = nn.Linear(3 * width, width)
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(width, config.outputs)
        self.apply(initialise)
        nn.init.zeros_(self.attention.weight)

    def forward(self, hidden: Tensor, segments: Tensor, residues: Tensor, num_sequences: int) -> Tensor:
        """hidden (T, D), segments (T,) int64 sequence of each position, residues (T,) bool -> logits (B, K)"""
        features = pool(hidden, self.attention(hidden), segments, residues, num_sequences)
        features = self.dropout(functional.gelu(self.dense(self.norm(features))))
        logits: Tensor = self.output(features)
        return logits


class PositionHead(nn.Module):
    """Layer norm and two linear layers at each position."""

    def __init__(self, width: int, config: PositionHeadConfig) -> None:
        super().__init__()
        self.config = config
        self.norm = nn.LayerNorm(width)
        self.dense = nn.Linear(width, width)
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(width, config.outputs)
        self.apply(initialise)

    def forward(self, hidden: Tensor) -> Tensor:
        """hidden (T, D) -> logits (T, K)"""
        logits: Tensor = self.output(self.dropout(functional.gelu(self.dense(self.norm(hidden)))))
        return logits


def pool(hidden: Tensor, scores: Tensor, segments: Tensor, residues: Tensor, num_sequences: int) -> Tensor:
    """Mean, softmax-weighted mean and maximum over the residues of each sequence, summed in float32 or better.

    Args:
        hidden: (T, D)
        scores: (T, 1) logits of the weights.
        segments: (T,) int64 index of the sequence at each position.
        residues: (T,) bool, the positions that count.
        num_sequences: B; a sequence without a residue gives zeros.

    Returns:
        (B, 3 * D)
    """
    chosen = residues.nonzero().squeeze(1)
    segments = segments[chosen]
    precision = torch.promote_types(hidden.dtype, torch.float32)
    hidden = hidden.index_select(0, chosen).to(precision)
    scores = scores.index_select(0, chosen).to(precision)
    # Any constant per sequence leaves the softmax as it is; its largest score keeps the exponentials finite.
    largest = _maxima(scores.detach(), segments, num_sequences)
    weights = (scores - largest[segments]).exp()
    rows = torch.cat((hidden, hidden * weights, torch.ones_like(weights), weights), dim=1)
    sums = rows.new_zeros(num_sequences, rows.shape[1]).index_add(0, segments, rows)
    width = hidden.shape[1]
    plain, weighted, counts, totals = torch.split(sums, [width, width, 1, 1], dim=1)
    empty = counts == 0
    means = torch.cat((plain / counts.masked_fill(empty, 1), weighted / totals.masked_fill(empty, 1)), dim=1)
    return torch.cat((means, _maxima(hidden, segments, num_sequences)), dim=1)


def _maxima(rows: Tensor, segments: Tensor, num_sequences: int) -> Tensor:
    """rows (R, D), segments (R,) -> (B, D); zeros for a sequence without rows."""
    index = segments[:, None].expand_as(rows)
    start = rows.new_zeros(num_sequences, rows.shape[1])
    return start.scatter_reduce(0, index, rows, "amax", include_self=False)
