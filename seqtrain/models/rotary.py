"""Rotary position embeddings."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


class Rotary(nn.Module):
    """Rotary position embedding (Su et al. 2021), in the half-and-half layout of ESM-2."""

    inv_freq: Tensor

    def __init__(self, head_size: int) -> None:
        super().__init__()
        # A buffer that is saved, not recomputed: published checkpoints hold values rounded to 16 bits, as trained with.
        # On the CPU first: on the device "meta" arange would import 800 modules.
        steps = torch.arange(0, head_size, 2, dtype=torch.float32, device="cpu")
        self.register_buffer("inv_freq", (1.0 / 10000.0 ** (steps / head_size)).to(torch.get_default_device()))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Rotary:
        frequencies = self.inv_freq
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        # model.to(bfloat16) must not round the frequencies: at position 1000 the angles would be off by radians.
        if not frequencies.is_meta:
            self.inv_freq = frequencies.to(self.inv_freq.device)
        return self

    def forward(self, positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Positions (T,) -> cosines and signed sines, each (T, 1, head_size), in float32 or, with dtype, float64."""
        angles = (positions[:, None].float() * self.inv_freq)[:, None]
        precision = torch.promote_types(dtype, torch.float32)
        cosines, sines = angles.cos().to(precision), angles.sin().to(precision)
        return torch.cat((cosines, cosines), dim=-1), torch.cat((-sines, sines), dim=-1)


def rotate(heads: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Turn queries or keys (T, H, d) by the angles of their positions, cosines and sines (T, 1, d).

    The sines of the first half are negative. Forward and backward together take a quarter less time than turning each
    half by itself.
    """
    first, second = heads.chunk(2, dim=-1)
    turned = torch.addcmul(heads * cosines, torch.cat((second, first), dim=-1), sines)
    return turned.to(heads.dtype)
