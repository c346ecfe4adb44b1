"""Convolutions over sequences that are packed end to end."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from seqtrain.models.noise import dropped
from seqtrain.models.padding import segments_of_rectangle
from seqtrain.models.precision import activation_dtype


@dataclass(frozen=True)
class Spacing:
    """Which sequence each position of a packed batch belongs to, and so which positions a convolution may see."""

    segments: Tensor
    """(T,) index of the sequence at each position."""
    steps: Tensor
    """(T,) 0, 1, 2, ..."""
    num_sequences: int
    longest: int
    """Positions of the longest sequence."""
    decode: Tensor | None
    """(M,) the positions that the last block is wanted at, increasing; None means all."""
    tables: dict[tuple[int, int], Tensor] = field(default_factory=dict, repr=False, compare=False)
    """What :meth:`neighbours` has given, which layers ask for again."""

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

    def neighbours(self, kernel_size: int, dilation: int) -> Tensor:
        """(T, kernel_size) int64: the positions that a convolution sees at each one, T for those in no or in another
        sequence."""
        key = (kernel_size, dilation)
        if key not in self.tables:
            num_positions = self.steps.shape[0]
            offsets = (torch.arange(kernel_size, device=self.steps.device) - kernel_size // 2) * dilation
            places = self.steps[:, None] + offsets
            clamped = places.clamp(0, num_positions - 1)
            inside = (places == clamped) & (self.segments[clamped] == self.segments[:, None])
            self.tables[key] = torch.where(inside, clamped, num_positions)
        return self.tables[key]


class PackedConvolution(nn.Module):
    """A dilated convolution in which no sequence sees its neighbours, as a product of matrices.

    What each position sees is gathered into a row, zeros for what lies beyond the ends of its sequence. torch's own
    convolution would need gaps of zeros between sequences, as wide as its reach, and compute at these too.
    """

    def __init__(
        self, width: int, kernel_size: int, dilation: int, *, outputs: int | None = None, drop_connect: float = 0.0
    ) -> None:
        """From width features to as many, or to ``outputs``; kernel_size is odd."""
        super().__init__()
        self.dilation = dilation
        self.drop_connect = drop_connect
        self.convolution = nn.Conv1d(width, outputs or width, kernel_size, dilation=dilation)

    def forward(self, hidden: Tensor, spacing: Spacing, decode: Tensor | None = None) -> Tensor:
        """hidden (T, D) -> (T, outputs), or (M, outputs) at the positions in decode (M,)."""
        weight, bias = dropped(self.convolution.weight, self.drop_connect, self.training), self.convolution.bias
        assert bias is not None
        centre = weight.shape[2] // 2
        # Taps that reach beyond the longest sequence only meet zeros: left out, they make peptides cheap.
        taps = min(centre, (spacing.longest - 1) // self.dilation)
        weight = weight[:, :, centre - taps : centre + taps + 1]
        neighbours = spacing.neighbours(weight.shape[2], self.dilation)
        hidden = hidden.to(dtype := activation_dtype(weight))
        if decode is not None or not torch.is_grad_enabled():
            chosen = neighbours if decode is None else neighbours.index_select(0, decode)
            return functional.linear(_gathered(hidden, chosen), _as_matrix(weight), bias)
        # Cast by hand, as autocast does not reach into an autograd.Function.
        product: Tensor = _Convolve.apply(  # type: ignore[no-untyped-call]
            hidden, weight.to(dtype), bias.to(dtype), neighbours
        )
        return product


class _Convolve(torch.autograd.Function):
    """The convolution by gathering, whose gradient gathers too.

    autograd's own would keep the gathered rows, kernel_size times the memory of the layer, and add gradients to
    positions in an order that a GPU leaves to chance.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, neighbours: Tensor) -> Tensor:
        """hidden (T, D), weight (outputs, D, K), bias (outputs,), neighbours (T, K) -> (T, outputs)"""
        ctx.save_for_backward(hidden, weight, neighbours)
        return functional.linear(_gathered(hidden, neighbours), _as_matrix(weight), bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None]:
        """gradient (T, outputs) -> those of hidden, weight and bias"""
        hidden, weight, neighbours = ctx.saved_tensors
        outputs, width, num_taps = weight.shape
        of_weight = (gradient.T @ _gathered(hidden, neighbours)).view(outputs, num_taps, width).transpose(1, 2)
        if not ctx.needs_input_grad[0]:
            return None, of_weight, gradient.sum(0), None
        # A position is seen by those that it would see itself through the mirrored kernel.
        mirrored = weight.flip(2).transpose(0, 1)
        of_hidden = functional.linear(_gathered(gradient, neighbours), _as_matrix(mirrored))
        return of_hidden, of_weight, gradient.sum(0), None


def _gathered(rows: Tensor, neighbours: Tensor) -> Tensor:
    """rows (T, D), neighbours (M, K) with T for nothing -> (M, K * D), zeros for nothing"""
    padded = functional.pad(rows, (0, 0, 0, 1))
    return padded.index_select(0, neighbours.flatten()).view(neighbours.shape[0], neighbours.shape[1] * rows.shape[1])


def _as_matrix(weight: Tensor) -> Tensor:
    """(outputs, D, K) -> (outputs, K * D), for :func:`_gathered` rows"""
    return weight.transpose(1, 2).reshape(weight.shape[0], -1)
