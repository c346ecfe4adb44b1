"""Token embeddings, of ids and of mixtures of ids."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional


class TokenEmbedding(nn.Embedding):
    """Rows by id (T,), or weighted means of rows by shares (T, V): an embedding is linear in one-hot vectors."""

    def forward(self, inputs: Tensor) -> Tensor:
        """inputs (T,) int64 ids, or (T, V) shares that sum to 1 -> (T, D)"""
        if inputs.ndim == 1:
            return super().forward(inputs)
        # Looking rows up is no product either that autocast would round to 8 bits.
        with torch.autocast(inputs.device.type, enabled=False):
            return functional.linear(inputs.to(self.weight.dtype), self.weight.T)


@contextmanager
def shifted(layer: nn.Module, shift: Tensor) -> Iterator[None]:
    """Let a layer add ``shift`` to what it gives."""
    handle = layer.register_forward_hook(lambda _layer, _inputs, rows: rows + shift)
    try:
        yield
    finally:
        handle.remove()


def mixture(inputs: Tensor, others: Tensor, shares: Tensor, vocabulary_size: int) -> Tensor:
    """(T, V) float32: at each position the share (T,) of the id in inputs (T,), the rest of the one in others (T,)."""
    rows = torch.zeros(len(inputs), vocabulary_size, device=inputs.device)
    rows.scatter_(1, inputs[:, None], shares[:, None])
    return rows.scatter_add_(1, others[:, None], (1 - shares)[:, None])
