"""A forward pass in which only shapes count: what each module returns, and how much work it is."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from seqtrain.batch import Batch
from seqtrain.models.heads import LanguageModelHead
from seqtrain.models.network import Body, Network

NUM_SPECIAL = 2
"""Positions that stand before and behind the residues of a sequence."""


@dataclass(frozen=True)
class Measured:
    """What a forward pass showed of each module."""

    shapes: dict[nn.Module, tuple[int, ...]]
    flops: dict[nn.Module, int]
    total: int
    """FLOPs, also those outside of any module."""
    attends: bool
    """Whether there are products of two streams, which are those of attention."""


class _Planned(nn.Module):
    """A body on a plan that is made already, computed in shapes only."""

    def __init__(self, body: Body, boundaries: Tensor, *, real: bool) -> None:
        super().__init__()
        self.plan = _to_meta(body.plan(boundaries))
        self.body = body.to("meta")
        self.config = body.config
        self.real = real

    @property
    def token_embedding(self) -> Tensor | None:
        return self.body.token_embedding

    def forward(self, inputs: Tensor, boundaries: Tensor, decode: Tensor | None = None) -> Tensor:
        """inputs (T,) -> (T, D) zeros if they are to be real"""
        hidden: Tensor = self.body.compute(inputs.to("meta"), self.plan)
        return torch.zeros(hidden.shape) if self.real else hidden


@dataclass(frozen=True)
class Probe:
    """A copy of a network without weights, and how to run it on one sequence."""

    body: nn.Module
    head: nn.Module
    run: Callable[[], Tensor]


def probe_network(network: Network, length: int) -> Probe:
    """Shapes alone decide what is counted, and tensors on the meta device cost nothing.

    What looks at values, as heads of whole sequences do, is computed with weights of zero.
    """
    total = length + NUM_SPECIAL
    boundaries, one = torch.tensor([0, total]), torch.zeros(1, dtype=torch.int64)
    letters = torch.full((total,), ord("A"), dtype=torch.uint8)
    letters[[0, -1]] = 0
    inputs = torch.zeros(total, dtype=torch.int64)
    batch = Batch(inputs=inputs, boundaries=boundaries, letters=letters, records=one, keys=one)
    whole, light = _without_weights(network), _without_weights(network)
    body, head = light.body, light.head
    try:
        in_shapes = isinstance(head, LanguageModelHead)
        planned = Network(
            cast(Body, _Planned(body, boundaries, real=not in_shapes)), head.to("meta" if in_shapes else "cpu")
        )
        with torch.no_grad():
            planned(batch)
    except RuntimeError:
        return Probe(whole.body, whole.head, lambda: whole(batch))
    return Probe(body, head, lambda: planned(batch))


def _without_weights(network: Network) -> Network:
    """A copy, in evaluation mode, whose tensors are one zero each, expanded to their shape."""
    memo: dict[int, Any] = {}
    for tensor in [*network.parameters(), *network.buffers()]:
        zeros = torch.zeros((), dtype=tensor.dtype).expand(tensor.shape)
        memo[id(tensor)] = nn.Parameter(zeros, requires_grad=False) if isinstance(tensor, nn.Parameter) else zeros
    return copy.deepcopy(network, memo).eval()


def _to_meta(value: Any) -> Any:
    """A plan with its tensors on the meta device."""
    if isinstance(value, Tensor):
        return value.to("meta")
    if isinstance(value, tuple | list):
        return type(value)(map(_to_meta, value))
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{each.name: _to_meta(getattr(value, each.name)) for each in fields(value) if each.init})
    return value


def measure_probe(probe: Probe) -> Measured:
    shapes: dict[nn.Module, tuple[int, ...]] = {}
    flops: dict[nn.Module, int] = {}
    begun: list[int] = []
    with ExitStack() as stack:
        # Fused attention kernels of the CPU are not counted; the products that they stand for are.
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        stack.enter_context(torch.no_grad())
        counter = stack.enter_context(FlopCounterMode(display=False))

        def enter(module: nn.Module, args: Any) -> None:
            begun.append(counter.get_total_flops())

        def leave(module: nn.Module, args: Any, result: Any) -> None:
            flops[module] = flops.get(module, 0) + counter.get_total_flops() - begun.pop()
            first = result[0] if isinstance(result, tuple | list) and result else result
            if isinstance(first, Tensor):
                shapes[module] = tuple(first.shape)

        for module in [*probe.body.modules(), *probe.head.modules()]:
            stack.callback(module.register_forward_pre_hook(enter).remove)
            stack.callback(module.register_forward_hook(leave).remove)
        probe.run()
    operations = counter.get_flop_counts()["Global"]
    return Measured(shapes, flops, counter.get_total_flops(), torch.ops.aten.bmm in operations)
