"""Light attention (Stärk et al. 2021): a softmax over residues, learned for each number of the hidden states."""

from __future__ import annotations

from dataclasses import dataclass
from sys import maxsize

import torch
from torch import Tensor, nn
from torch.nn import functional

from seqtrain.errors import InputError
from seqtrain.models.checks import require_fraction, require_whole
from seqtrain.models.convolution import PackedConvolution, Spacing
from seqtrain.models.pooling import accumulating, maxima, weighted_means
from seqtrain.models.starting import start_answer


@dataclass(frozen=True, kw_only=True)
class LightAttentionHeadConfig:
    """K numbers per sequence, from the residues that matter to each feature."""

    outputs: int
    kernel_size: int = 9
    """Residues that a feature and its weight are computed from; odd."""
    dropout: float = 0.1
    """Of the features, and again of what is made of them."""

    def __post_init__(self) -> None:
        owner = type(self).__name__
        require_whole(owner, "outputs", self.outputs, 1)
        require_whole(owner, "kernel_size", self.kernel_size, 1)
        if self.kernel_size % 2 == 0:
            raise InputError(f"{owner}: kernel_size {self.kernel_size} has no centre; make it odd")
        require_fraction(owner, "dropout", self.dropout)

    def build(self, width: int) -> LightAttentionHead:
        """A head with fresh weights over hidden states of this width."""
        return LightAttentionHead(width, self)


class LightAttentionHead(nn.Module):
    """Two convolutions, one for features and one for their weights; then two linear layers.

    What the linear layers see is the weighted mean of the features over the residues of a sequence, and their maximum.
    Special tokens are left out, and the convolutions see zeros in their places. Where the paper has batch norm, there
    is layer norm, so that no output depends on its batch. The weights start equal, as in a plain mean.
    """

    def __init__(self, width: int, config: LightAttentionHeadConfig) -> None:
        super().__init__()
        self.config = config
        self.features = PackedConvolution(width, config.kernel_size, 1)
        self.scores = PackedConvolution(width, config.kernel_size, 1)
        self.norm = nn.LayerNorm(2 * width)
        self.dense = nn.Linear(2 * width, width)
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(width, config.outputs)
        start_answer(self.dense, self.output)
        for parameter in self.scores.parameters():
            nn.init.zeros_(parameter)

    def forward(self, hidden: Tensor, segments: Tensor, residues: Tensor, num_sequences: int) -> Tensor:
        """hidden (T, D), segments (T,) int64 sequence of each position, residues (T,) bool -> logits (B, K)"""
        hidden = hidden * residues[:, None]
        # The longest sequence would save a little space between short ones, and cost a GPU a wait for its length.
        spacing = Spacing(segments, torch.arange(hidden.shape[0], device=hidden.device), num_sequences, maxsize, None)
        chosen = residues.nonzero().squeeze(1)
        segments = segments[chosen]
        features = accumulating(self.dropout(self.features(hidden, spacing).index_select(0, chosen)))
        scores = accumulating(self.scores(hidden, spacing).index_select(0, chosen))
        pooled = torch.cat(
            (weighted_means(features, scores, segments, num_sequences), maxima(features, segments, num_sequences)),
            dim=1,
        )
        logits: Tensor = self.output(self.dropout(functional.gelu(self.dense(self.norm(pooled.to(hidden.dtype))))))
        return logits
