"""From the rows of each sequence to one: mean, weighted mean and maximum, summed in float32 or better."""

from __future__ import annotations

import torch
from torch import Tensor


def accumulating(rows: Tensor) -> Tensor:
    """The rows in float32 or better: sums over a long protein in 16 bits lose most of what they add."""
    return rows.to(torch.promote_types(rows.dtype, torch.float32))


def means(rows: Tensor, segments: Tensor, num_sequences: int) -> Tensor:
    """rows (R, D) of the sequences segments (R,) -> (B, D); zeros for a sequence without rows."""
    ones = torch.ones_like(rows[:, :1])
    sums = _sums(torch.cat((rows, ones), dim=1), segments, num_sequences)
    return sums[:, :-1] / _divisor(sums[:, -1:])


def weighted_means(rows: Tensor, scores: Tensor, segments: Tensor, num_sequences: int) -> Tensor:
    """Means with the softmax of the scores, over the rows of each sequence, as weights.

    Args:
        rows: (R, D)
        scores: (R, 1) for one weight per row, or (R, D) for one per number.
        segments: (R,) int64 index of the sequence of each row.
        num_sequences: B; a sequence without rows gives zeros.

    Returns:
        (B, D)
    """
    # Any constant per sequence leaves the softmax as it is; its largest score keeps the exponentials finite.
    largest = maxima(scores.detach(), segments, num_sequences)
    weights = (scores - largest.index_select(0, segments)).exp()
    sums = _sums(torch.cat((rows * weights, weights), dim=1), segments, num_sequences)
    width = rows.shape[1]
    return sums[:, :width] / _divisor(sums[:, width:])


def maxima(rows: Tensor, segments: Tensor, num_sequences: int) -> Tensor:
    """rows (R, D) of the sequences segments (R,) -> (B, D); zeros for a sequence without rows."""
    index = segments[:, None].expand_as(rows)
    start = rows.new_zeros(num_sequences, rows.shape[1])
    return start.scatter_reduce(0, index, rows, "amax", include_self=False)


def _sums(rows: Tensor, segments: Tensor, num_sequences: int) -> Tensor:
    return rows.new_zeros(num_sequences, rows.shape[1]).index_add(0, segments, rows)


def _divisor(totals: Tensor) -> Tensor:
    return totals.masked_fill(totals == 0, 1)
