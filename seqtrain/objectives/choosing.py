"""Choosing an exact number of places in every sequence of a batch, by keyed draws."""

from __future__ import annotations

import torch
from torch import Tensor


def chosen_among(bits: Tensor, owners: Tensor, counts: Tensor) -> Tensor:
    """Which places are chosen: in each sequence so many, every choice as likely as any other.

    Args:
        bits: (n,) int64 random bits of each place.
        owners: (n,) int64 the sequence of each place, increasing.
        counts: (B,) int64 places to choose in each, at most as many as it has.

    Returns:
        (n,) bool.
    """
    by_bits = bits.argsort(stable=True)
    ranking = by_bits[owners[by_bits].argsort(stable=True)]
    sizes = torch.bincount(owners, minlength=len(counts))
    ranks = torch.arange(len(owners), device=owners.device) - (sizes.cumsum(0) - sizes)[owners]
    chosen = torch.zeros(len(owners), dtype=torch.bool, device=owners.device)
    chosen[ranking] = ranks < counts[owners]
    return chosen


def uniform(bits: Tensor) -> Tensor:
    """int64 random bits -> float64 in [0, 1), exact multiples of 2^-53 and so alike on every device; where there is no
    float64, multiples of 2^-24.
    """
    if widest_float(bits.device) == torch.float32:
        return ((bits >> 40) & ((1 << 24) - 1)).float() * 2.0**-24
    return ((bits >> 11) & ((1 << 53) - 1)).double() * 2.0**-53


def widest_float(device: torch.device) -> torch.dtype:
    """float64, which Apple's GPUs do not have, or float32."""
    return torch.float32 if device.type == "mps" else torch.float64
