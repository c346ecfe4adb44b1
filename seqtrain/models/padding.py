"""Padded rectangles as packed rows: what a network computes on when it runs outside of seqtrain."""

from __future__ import annotations

import torch
from torch import Tensor


def segments_of_rectangle(real: Tensor) -> Tensor:
    """The sequence that each place of a rectangle belongs to, its padding being a sequence of its own.

    So whatever keeps packed sequences apart keeps padding apart too, and no shape depends on how much of it there is,
    which exporters need.

    Args:
        real: (B, L) bool, False at padded places, which follow the real ones.

    Returns:
        (B * L,) int64, never decreasing: 2 b in sequence b, 2 b + 1 in the padding behind it.
    """
    first = 2 * torch.arange(real.shape[0], device=real.device)
    return (first[:, None] + (~real).long()).flatten()


def lengths_of_rectangle(real: Tensor) -> Tensor:
    """(2 B,) int64 places of each sequence and of the padding behind it, in turn; real is (B, L) bool."""
    places = real.sum(dim=1)
    return torch.stack((places, real.shape[1] - places), dim=1).flatten()
