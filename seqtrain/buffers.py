"""What a network remembers of batches beside its weights, such as the running statistics of batch norms."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def copied_buffers(model: nn.Module) -> list[Tensor]:
    """Copies of all buffers, for :func:`restore_buffers`; a few numbers per feature where there are any."""
    return [buffer.clone() for buffer in model.buffers()]


@torch.no_grad()
def restore_buffers(model: nn.Module, copies: Sequence[Tensor]) -> None:
    """Give the buffers of a model the values of before."""
    for buffer, before in zip(model.buffers(), copies, strict=True):
        buffer.copy_(before)
