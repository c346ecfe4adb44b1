"""Packed sequences at lower and lower resolution: each level has half the rows, rounded up for each sequence."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from seqtrain.models.convolution import Spacing


@dataclass(frozen=True)
class Halving:
    """How the rows of one level are paired in those of the next; a pair never has rows of two sequences."""

    firsts: Tensor
    """(C,) int64 the first row of each pair."""
    seconds: Tensor
    """(C,) int64 the second; the first again where a sequence ends with it."""
    parents: Tensor
    """(R,) int64 the pair of each row."""
    sides: Tensor
    """(R,) int64 0 for the first row of a pair, 1 for the second."""

    @classmethod
    def of(cls, boundaries: Tensor, coarse: Tensor, segments: Tensor) -> Halving:
        """From the boundaries (B + 1,) of this level and of the next, and the sequence of each row (R,)."""
        positions = torch.arange(len(segments), device=segments.device) - boundaries[:-1][segments]
        sides = positions % 2
        firsts = (sides == 0).nonzero().squeeze(1)
        seconds = torch.minimum(firsts + 1, boundaries[1:][segments[firsts]] - 1)
        return cls(firsts, seconds, coarse[:-1][segments] + positions // 2, sides)

    @classmethod
    def of_rectangle(cls, real: Tensor) -> Halving:
        """From the places of a padded rectangle, real (B, L) bool: rows of a pair are neighbours in it."""
        length = real.shape[1]
        columns = torch.arange(length, device=real.device)
        firsts = columns[::2]
        seconds = (firsts + 1).clamp(max=length - 1)
        # No row of a sequence is paired with padding; what padding is paired with does not matter.
        seconds = torch.where(real[:, seconds], seconds, firsts)
        starts = torch.arange(real.shape[0], device=real.device)[:, None]
        parents = starts * firsts.shape[0] + columns // 2
        sides = (columns % 2).expand_as(parents)
        return cls(
            (starts * length + firsts).flatten(),
            (starts * length + seconds).flatten(),
            parents.flatten(),
            sides.flatten(),
        )

    def larger(self, rows: Tensor) -> Tensor:
        """The larger number of each pair: max pooling with kernel 2 and stride 2, (R, D) -> (C, D)."""
        return torch.maximum(rows.index_select(0, self.firsts), rows.index_select(0, self.seconds))

    def spread(self, pairs: Tensor) -> Tensor:
        """What each pair has for its two rows, side by side: (C, 2 D) -> (R, D)"""
        return pairs.view(2 * pairs.shape[0], -1).index_select(0, 2 * self.parents + self.sides)


@dataclass(frozen=True)
class Pyramid:
    """Where packed sequences lie at each level."""

    spacings: tuple[Spacing, ...]
    """Of each level, from full resolution to the bottom."""
    halvings: tuple[Halving, ...]
    """From each level to the next; one fewer."""
    decode: Tensor | None
    """(M,) the positions that are wanted, increasing; None means all."""

    @classmethod
    def of(cls, boundaries: Tensor, levels: int, decode: Tensor | None = None) -> Pyramid:
        """From boundaries (B + 1,) int64, the number of halvings, and decode (M,) int64."""
        spacings, halvings = [Spacing.of(boundaries)], []
        for _ in range(levels):
            coarse = functional.pad(((boundaries.diff() + 1) // 2).cumsum(0), (1, 0))
            halvings.append(Halving.of(boundaries, coarse, spacings[-1].segments))
            spacings.append(Spacing.of(coarse))
            boundaries = coarse
        return cls(tuple(spacings), tuple(halvings), decode)

    @classmethod
    def of_rectangle(cls, real: Tensor, levels: int) -> Pyramid:
        """From the places of a padded rectangle, real (B, L) bool, False at padded places, which come last."""
        spacings, halvings = [Spacing.of_rectangle(real)], []
        for _ in range(levels):
            halvings.append(Halving.of_rectangle(real))
            real = real[:, ::2]
            spacings.append(Spacing.of_rectangle(real))
        return cls(tuple(spacings), tuple(halvings), None)

    def rows_of_positions(self) -> list[Tensor]:
        """For each level (T,) int64, the row that stands for each position."""
        rows = [self.spacings[0].steps]
        for halving in self.halvings:
            rows.append(halving.parents.index_select(0, rows[-1]))
        return rows
