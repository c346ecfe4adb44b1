"""A head for variants of one protein: every position has weights of its own, as in a regression on one-hot letters."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from seqtrain.errors import InputError
from seqtrain.models.checks import require_fraction, require_whole
from seqtrain.models.starting import keep_variance, start_answer

_NOWHERE = 2**40
"""More rows than any table has."""


@dataclass(frozen=True, kw_only=True)
class AlignedHeadConfig:
    """K numbers per sequence, for sequences in which position i means the same in all of them."""

    outputs: int
    length: int
    """Positions that have weights: letters of the longest sequence, which needs no padding to it."""
    channels: int = 16
    """Numbers of each position that are kept of its hidden state."""
    dropout: float = 0.1

    def __post_init__(self) -> None:
        owner = type(self).__name__
        require_whole(owner, "outputs", self.outputs, 1)
        require_whole(owner, "length", self.length, 1)
        require_whole(owner, "channels", self.channels, 1)
        require_fraction(owner, "dropout", self.dropout)

    def build(self, width: int) -> AlignedHead:
        """A head with fresh weights over hidden states of this width."""
        return AlignedHead(width, self)


class AlignedHead(nn.Module):
    """A few channels per position, a linear layer over all positions at once, and one more.

    Pooling would ask which letters a sequence has and forget where, which is all that tells variants of one protein
    apart. Positions that a shorter sequence lacks add nothing.
    """

    def __init__(self, width: int, config: AlignedHeadConfig) -> None:
        super().__init__()
        self.config = config
        self.norm = nn.LayerNorm(width)
        self.channels = nn.Linear(width, config.channels)
        self.dense = nn.Linear(config.length * config.channels, width)
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(width, config.outputs)
        keep_variance(self.channels)
        start_answer(self.dense, self.output)

    def forward(self, hidden: Tensor, segments: Tensor, residues: Tensor, num_sequences: int) -> Tensor:
        """hidden (T, D), segments (T,) int64 sequence of each position, residues (T,) bool -> logits (B, K)

        Raises:
            InputError: a sequence is longer than the positions that have weights.
        """
        chosen = residues.nonzero().squeeze(1)
        segments = segments[chosen]
        # Exporters know bincount for numbers of sequences that never change only.
        counts = segments.new_zeros(num_sequences).index_add(0, segments, torch.ones_like(segments))
        places = torch.arange(len(chosen), device=hidden.device) - (counts.cumsum(0) - counts)[segments]
        length = self.config.length
        if not torch.compiler.is_exporting() and int(counts.max()) > length:
            raise InputError(
                f"a sequence of {int(counts.max())} letters: the aligned head of this run has weights for {length} "
                "positions; give variants of the protein that it was trained on"
            )
        rows = self.channels(self.norm(hidden.index_select(0, chosen)))
        table = rows.new_zeros(num_sequences * length, self.config.channels)
        # In an export, which cannot raise, a place beyond the last one is out of the table and fails there.
        beyond = (places >= length) * _NOWHERE
        table = table.index_copy(0, segments * length + places + beyond, rows)
        features = functional.gelu(self.dense(table.view(num_sequences, -1)))
        logits: Tensor = self.output(self.dropout(features))
        return logits
