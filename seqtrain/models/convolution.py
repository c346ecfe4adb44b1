"""Convolutions over sequences that are packed end to end."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from seqtrain.models.padding import segments_of_rectangle


@dataclass(frozen=True)
class Spacing:
    """Where the positions of packed sequences go when gaps are laid between the sequences."""

    segments: Tensor
    """(T,) index of the sequence at each position."""
    steps: Tensor
    """(T,) 0, 1, 2, ..."""
    num_sequences: int
    longest: int
    """Positions of the longest sequence."""
    decode: Tensor | None
    """(M,) the positions that the last block is wanted at, increasing; None means all."""

    @classmethod
    def of(cls, boundaries: Tensor, decode: Tensor | None = None) -> Spacing:
        """From boundaries (B + 1,) int64, and decode (M,) int64."""
        lengths = boundaries.diff()
        sequences = torch.arange(len(lengths), device=boundaries.device)
        segments = torch.repeat_interleave(sequences, lengths)
        steps = torch.arange(len(segments), device=boundaries.device)
        return cls(segments, steps, len(lengths), int(lengths.max()), decode)

    @classmethod
    def of_rectangle(cls, real: Tensor) -> Spacing:
        """From the places of a padded rectangle, real (B, L) bool, as 2 B sequences: see :mod:`padding`."""
        segments = segments_of_rectangle(real)
        steps = torch.arange(real.numel(), device=real.device)
        return cls(segments, steps, 2 * real.shape[0], sys.maxsize, None)


class PackedConvolution(nn.Module):
    """A dilated convolution in which no sequence sees its neighbours: gaps of zeros as wide as its reach part them."""

    def __init__(self, width: int, kernel_size: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.convolution = nn.Conv1d(width, width, kernel_size, dilation=dilation)

    def forward(self, hidden: Tensor, spacing: Spacing) -> Tensor:
        """hidden (T, D) -> (T, D)"""
        weight = self.convolution.weight
        centre = weight.shape[2] // 2
        # Taps that reach beyond the longest sequence only meet zeros: left out, they keep the gaps of peptides short.
        taps = min(centre, (spacing.longest - 1) // self.dilation)
        gap = taps * self.dilation
        places = spacing.steps + gap * spacing.segments
        total = hidden.shape[0] + gap * (spacing.num_sequences - 1)
        spaced = hidden.new_zeros(total, hidden.shape[1]).index_copy(0, places, hidden)
        convolved = functional.conv1d(
            spaced.T[None],
            weight[:, :, centre - taps : centre + taps + 1],
            self.convolution.bias,
            padding=gap,
            dilation=self.dilation,
        )
        return convolved[0].T.index_select(0, places)
