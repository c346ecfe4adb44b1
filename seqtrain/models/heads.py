"""From hidden states to logits: one token, one sequence or one position at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from seqtrain.models.aligned_head import AlignedHead, AlignedHeadConfig
from seqtrain.models.checks import require_choice, require_fraction, require_positive, require_whole
from seqtrain.models.compared_head import ComparedHead
from seqtrain.models.imprinted_head import ImprintedHead, ImprintedHeadConfig
from seqtrain.models.light_attention import LightAttentionHead, LightAttentionHeadConfig
from seqtrain.models.pooling import accumulating, maxima, means, weighted_means
from seqtrain.models.starting import start_answer, start_as_esm

Pooling = Literal["all", "mean", "max", "attention"]


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
class PooledHeadConfig:
    """K numbers per sequence, from a summary of its residues."""

    outputs: int
    pooling: Pooling = "all"
    """The mean, the maximum, an average whose weights are learned (attention), or all three side by side."""
    dropout: float = 0.1

    def __post_init__(self) -> None:
        require_whole(type(self).__name__, "outputs", self.outputs, 1)
        require_fraction(type(self).__name__, "dropout", self.dropout)
        require_choice(type(self).__name__, "pooling", self.pooling, get_args(Pooling))

    def build(self, width: int) -> PooledHead:
        """A head with fresh weights over hidden states of this width."""
        return PooledHead(width, self)


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
        self.apply(start_as_esm)

    def forward(self, hidden: Tensor, token_embedding: Tensor | None) -> Tensor:
        """hidden (M, D), token_embedding (V, D) for a tied head -> logits (M, V)"""
        features = self.layer_norm(functional.gelu(self.dense(hidden)))
        weight = token_embedding if self.decoder is None else self.decoder.weight
        assert weight is not None, "build_head ties no head to a body without an embedding of its width"
        return functional.linear(features, weight, self.bias)


class PooledHead(nn.Module):
    """Mean, maximum and a learned average over the residues of each sequence, or one of them; then two linear layers.

    The learned average starts as the plain one. Special tokens are left out: what a body keeps in them depends on how
    it was trained.
    """

    def __init__(self, width: int, config: PooledHeadConfig) -> None:
        super().__init__()
        self.config = config
        pooled = 3 * width if config.pooling == "all" else width
        learned = config.pooling in ("all", "attention")
        self.attention = nn.Linear(width, 1, bias=False) if learned else None  # a bias would cancel in the softmax
        self.norm = nn.LayerNorm(pooled)
        self.dense = nn.Linear(pooled, width)
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(width, config.outputs)
        start_answer(self.dense, self.output)
        if self.attention is not None:
            nn.init.zeros_(self.attention.weight)

    def forward(self, hidden: Tensor, segments: Tensor, residues: Tensor, num_sequences: int) -> Tensor:
        """hidden (T, D), segments (T,) int64 sequence of each position, residues (T,) bool -> logits (B, K)"""
        return self.answer(self.pool(hidden, segments, residues, num_sequences).to(hidden.dtype))

    def answer(self, features: Tensor) -> Tensor:
        """What :meth:`pool` gave of each sequence, (B, D) or (B, 3 * D) -> logits (B, K)"""
        logits: Tensor = self.output(self.dropout(functional.gelu(self.dense(self.norm(features)))))
        return logits

    def pool(self, hidden: Tensor, segments: Tensor, residues: Tensor, num_sequences: int) -> Tensor:
        """What the linear layers see of each sequence: (B, 3 * D) of mean, learned average and maximum, or (B, D)."""
        chosen = residues.nonzero().squeeze(1)
        segments = segments[chosen]
        hidden = hidden.index_select(0, chosen)
        rows, parts = accumulating(hidden), []
        if self.config.pooling in ("all", "mean"):
            parts.append(means(rows, segments, num_sequences))
        if self.attention is not None:
            scores = accumulating(self.attention(hidden))
            parts.append(weighted_means(rows, scores, segments, num_sequences))
        if self.config.pooling in ("all", "max"):
            parts.append(maxima(rows, segments, num_sequences))
        return torch.cat(parts, dim=1)


class PositionHead(nn.Module):
    """Layer norm and two linear layers at each position."""

    def __init__(self, width: int, config: PositionHeadConfig) -> None:
        super().__init__()
        self.config = config
        self.norm = nn.LayerNorm(width)
        self.dense = nn.Linear(width, width)
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(width, config.outputs)
        start_answer(self.dense, self.output)

    def forward(self, hidden: Tensor) -> Tensor:
        """hidden (T, D) -> logits (T, K)"""
        logits: Tensor = self.output(self.dropout(functional.gelu(self.dense(self.norm(hidden)))))
        return logits


SequenceHeadConfig = PooledHeadConfig | LightAttentionHeadConfig | AlignedHeadConfig | ImprintedHeadConfig
"""The heads of one answer per sequence."""
SequenceHead = PooledHead | LightAttentionHead | AlignedHead | ImprintedHead | ComparedHead
