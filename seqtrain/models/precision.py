"""What mixed precision means for a part of a network."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def activation_dtype(weight: Tensor) -> torch.dtype:
    """The dtype in which linear layers answer: autocast's where that is on, otherwise that of their weights."""
    kind = weight.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """No autocast inside: bf16 would round predictions to 8 bits, and rank most of them equal."""
    # Shapes that are computed without numbers have no autocast to turn off.
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)
