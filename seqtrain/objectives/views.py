"""Two views of every sequence, which contrastive objectives compare: what makes them differ, and which are of one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from seqtrain.alphabet import Alphabet
from seqtrain.batch import Batch
from seqtrain.draws import Draws, below, chance

_LEAST_VARIANCE = 1e-5
"""Added to a variance, as torch's batch norm does: numbers that are the same in all views become 0."""


@dataclass(frozen=True, kw_only=True)
class TwoViews:
    """What all objectives of two views share: a batch holds them one behind the other, and each is cropped and masked.

    Beside that, views differ by the augmenters of the examples.
    """

    alphabet: Alphabet
    masked_fraction: float = 0.15
    """Chance of each letter to be replaced by ``<mask>``."""
    crop_fraction: float = 0.5
    """A view is one stretch of its sequence, of a length drawn evenly from this fraction of it to the whole."""
    projections: int = 128
    """K, the numbers that views are compared by."""

    num_views: ClassVar[int] = 2
    predicts_letters: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 0 <= self.masked_fraction < 1:
            raise ValueError(f"masked_fraction is {self.masked_fraction:g}; give a number from 0 up to, but not, 1")
        if not 0 < self.crop_fraction <= 1:
            raise ValueError(f"crop_fraction is {self.crop_fraction:g}; give a number above 0, up to 1 for no crop")
        if self.projections < 2:
            raise ValueError(f"projections is {self.projections}; give a whole number of at least 2")

    @property
    def makes_views_differ(self) -> bool:
        """Whether views of a sequence would differ without any augmenter."""
        return self.masked_fraction > 0 or self.crop_fraction < 1

    def prepare(self, batch: Batch, draws: Draws) -> Batch:
        """Crop each view, and mask some of what is left."""
        batch = cropped(batch, draws, self.crop_fraction)
        bits = draws.per_position("mask a view", batch.segments, batch.positions)
        hidden = batch.residues & chance(bits, self.masked_fraction)
        return replace(batch, inputs=batch.inputs.masked_fill(hidden, self.alphabet.vocabulary.id("<mask>")))


def cropped(batch: Batch, draws: Draws, least_fraction: float) -> Batch:
    """One stretch of the letters of each sequence, with the special tokens around it.

    Its length is drawn evenly from ``least_fraction`` of the sequence, rounded up, to the whole, and then its place.
    """
    if least_fraction == 1:
        return batch
    residues, segments = batch.residues, batch.segments
    lengths = torch.bincount(segments[residues], minlength=len(batch))
    least = (lengths * least_fraction).ceil().long().clamp(min=1).minimum(lengths)
    kept = least + below(draws.per_sequence("letters of a view"), lengths - least + 1)
    starts = below(draws.per_sequence("place of a view"), lengths - kept + 1)
    before = lengths.cumsum(0) - lengths
    places = residues.cumsum(0) - 1 - before[segments]
    inside = (places >= starts[segments]) & (places < (starts + kept)[segments])
    chosen = (inside | ~residues).nonzero().squeeze(1)
    sizes = torch.bincount(segments[chosen], minlength=len(batch))
    boundaries = torch.cat((sizes.new_zeros(1), sizes.cumsum(0)))
    return replace(batch, inputs=batch.inputs[chosen], letters=batch.letters[chosen], boundaries=boundaries)


def weights_of(batch: Batch, rows: Tensor) -> Tensor:
    """(B,) weight of each view in the loss, as the rows are."""
    return rows.new_ones(len(batch)) if batch.weights is None else batch.weights.to(rows.dtype)


def others_of_record(batch: Batch) -> Tensor:
    """(B, B) bool, True for pairs of views of one record that are not the two of one example.

    Windows of a long protein are such: they are no pair that was made to agree, and none to be told apart either.
    """
    same = batch.records[:, None] == batch.records
    example = torch.arange(len(batch), device=same.device) // 2
    return same & (example[:, None] != example)


def partners(num_views: int, device: torch.device) -> Tensor:
    """(B,) index of the other view of each: 1, 0, 3, 2 …"""
    return torch.arange(num_views, device=device) ^ 1


def standardised(rows: Tensor) -> Tensor:
    """rows (B, K) -> (B, K) with mean 0 and variance 1 in each column, or 0 where all are the same."""
    centred = rows - rows.mean(0)
    return centred / (centred.square().mean(0) + _LEAST_VARIANCE).sqrt()
