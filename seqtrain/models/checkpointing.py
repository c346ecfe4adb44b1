"""Activation checkpointing: memory for time, by computing every layer a second time (Chen et al. 2016)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from seqtrain.buffers import copied_buffers, restore_buffers


def checkpoint_layers(body: nn.Module) -> None:
    """Keep only what goes into each layer (block) of a body, and compute the rest again in the backward pass.

    The gradient is the same, bit for bit: dropout draws the same numbers again, and running statistics are those of
    before. Where no gradient is wanted nothing changes. Parameters and modules keep their names.
    """
    for layer in _layers(body):
        layer.forward = _CheckpointedForward(layer)


def _layers(body: nn.Module) -> nn.ModuleList:
    """The list of layers: the first list of modules in any of the bodies."""
    return next(module for module in body.modules() if isinstance(module, nn.ModuleList))


class _CheckpointedForward:
    """Stands in for the forward method of a layer; a copy of the layer gets one that stands in for its own."""

    def __init__(self, layer: nn.Module) -> None:
        self.layer = layer
        self.plain: Callable[..., Any] = type(layer).forward

    def __call__(self, *values: Any, **named: Any) -> Any:
        if not torch.is_grad_enabled():
            return self.plain(self.layer, *values, **named)
        before = copied_buffers(self.layer)

        def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
            return nullcontext(), _with_buffers(self.layer, before)

        return checkpoint(self.plain, self.layer, *values, use_reentrant=False, context_fn=contexts, **named)


@contextmanager
def _with_buffers(layer: nn.Module, values: list[Tensor]) -> Iterator[None]:
    """Inside, the layer's running statistics are these; afterwards its own again."""
    own = copied_buffers(layer)
    restore_buffers(layer, values)
    try:
        yield
    finally:
        restore_buffers(layer, own)
