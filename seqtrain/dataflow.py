"""Which part of a network feeds which: read off a forward pass, not off the classes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_JOINS = {
    "add": "+", "__add__": "+", "__radd__": "+", "__iadd__": "+", "add_": "+", "sub": "−", "addcmul": "+", "lerp": "+",
    "mul": "×", "__mul__": "×", "__rmul__": "×", "__imul__": "×", "mul_": "×",
    "cat": "concat", "concat": "concat", "concatenate": "concat", "stack": "stack",
    "scaled_dot_product_attention": "attention", "matmul": "attention", "__matmul__": "attention", "bmm": "attention",
    "baddbmm": "attention", "einsum": "attention", "flex_attention": "attention", "varlen_attn": "attention",
}  # fmt: skip
"""What a function that brings two streams together is called; products of two streams are those of attention."""
_STEPS = (
    "gelu", "relu", "silu", "sigmoid", "tanh", "leaky_relu", "elu", "mish", "glu", "softplus",
    "max_pool1d", "avg_pool1d", "adaptive_avg_pool1d", "adaptive_max_pool1d", "interpolate",
)  # fmt: skip
"""Functions without weights that are shown."""


@dataclass(frozen=True)
class Node:
    """A module of a flow, or a function on the way."""

    name: str
    label: str | None = None
    """Of a function: +, ×, gelu …; of what comes in: its name; None for a module."""
    detail: str = ""
    """Of a module: what it is."""


@dataclass
class Flow:
    """Nodes in the order in which they were computed, and what feeds what."""

    nodes: list[Node] = field(default_factory=list)
    edges: list[tuple[str, str]] = field(default_factory=list)
    """From name, to name; each once."""

    def into(self, name: str) -> list[str]:
        """What feeds a node."""
        return [start for start, end in self.edges if end == name]

    def out_of(self, name: str) -> list[str]:
        """What a node feeds."""
        return [end for start, end in self.edges if start == name]


class _Watch(TorchFunctionMode):
    """Knows for every tensor the node that it came from."""

    def __init__(self, *, watching: bool) -> None:
        super().__init__()
        self.flow = Flow()
        self.watching = watching
        # The tensors are kept, so that no id is given out twice.
        self._sources: dict[int, tuple[Tensor, str]] = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if self.watching:
            found = self.sources_of((args, kwargs))
            results = list(_tensors(result))
            if found and results:
                self.comes_from(results, self._passed(getattr(func, "__name__", "function"), found))
        return result

    def sources_of(self, values: Any) -> list[str]:
        """The nodes that some values came from, each once; what has no elements brings nothing."""
        found = [self._sources[id(tensor)][1] for tensor in _tensors(values) if id(tensor) in self._sources]
        return list(dict.fromkeys(found))

    def comes_from(self, tensors: Iterable[Tensor], node: str) -> None:
        """Note where tensors came from."""
        for tensor in tensors:
            self._sources[id(tensor)] = (tensor, node)

    def add(self, node: Node, feeding: Iterable[str]) -> None:
        """Put a node behind those that feed it."""
        if node not in self.flow.nodes:
            self.flow.nodes.append(node)
        self.flow.edges += [edge for start in feeding if (edge := (start, node.name)) not in self.flow.edges]

    def _passed(self, function: str, found: list[str]) -> str:
        """The node that a function's result comes from."""
        label = _JOINS.get(function, function) if len(found) > 1 else function
        if len(found) == 1 and function not in _STEPS:
            return found[0]
        if label == "attention":
            # Scores, then their product with the values: one attention, whatever kernels it is made of.
            for node in self.flow.nodes:
                if node.label == label and node.name in found:
                    self.add(node, [name for name in found if name != node.name])
                    return node.name
        name = f"{label} {len(self.flow.nodes)}"
        self.add(Node(name, label), found)
        return name


def trace(run: Callable[[], Any], names: Mapping[nn.Module, str], within: nn.Module | None = None) -> Flow:
    """The flow between some modules in a forward pass.

    Args:
        run: computes the pass and returns its result.
        names: the modules that are nodes, each with its name; what happens inside of them is left out.
        within: look only into the first call of this module, where what it is given becomes nodes of their own.

    Returns:
        Its last node is "output", unless nothing that was watched reaches the result.
    """
    watch = _Watch(watching=within is None)
    with ExitStack() as stack:
        for module, name in names.items():
            for handle in _as_node(watch, module, name):
                stack.callback(handle.remove)
        if within is not None:
            for handle in _as_scope(watch, within):
                stack.callback(handle.remove)
        with torch.no_grad(), watch:
            result = run()
    if within is None and (found := watch.sources_of(result)):
        watch.add(Node("output", "output"), found)
    return watch.flow


def _as_node(watch: _Watch, module: nn.Module, name: str) -> Iterator[Any]:
    """Hooks that show a module as one node."""
    was: list[bool] = []

    def enter(_: nn.Module, args: Any, kwargs: Any) -> None:
        was.append(watch.watching)
        if watch.watching:
            watch.add(Node(name), watch.sources_of((args, kwargs)))
        watch.watching = False

    def leave(_: nn.Module, args: Any, kwargs: Any, result: Any) -> None:
        watch.watching = was.pop()
        if watch.watching:
            watch.comes_from(_tensors(result), name)

    yield module.register_forward_pre_hook(enter, with_kwargs=True)
    yield module.register_forward_hook(leave, with_kwargs=True)


def _as_scope(watch: _Watch, module: nn.Module) -> Iterator[Any]:
    """Hooks that watch the first call of a module from what it is given to what it returns."""
    calls: list[None] = []

    def enter(_: nn.Module, args: Any, kwargs: Any) -> None:
        if not calls:
            given = inspect.signature(module.forward).bind(*args, **kwargs).arguments
            for name, value in given.items():
                # Streams are tensors of their own; what comes in tuples, such as rotary angles, only shapes them.
                if isinstance(value, Tensor) and value.is_floating_point() and value.dim() > 1:
                    watch.add(Node(name, name), ())
                    watch.comes_from([value], name)
            watch.watching = True

    def leave(_: nn.Module, args: Any, kwargs: Any, result: Any) -> None:
        if not calls:
            if found := watch.sources_of(result):
                watch.add(Node("output", "output"), found)
            watch.watching = False
            calls.append(None)

    yield module.register_forward_pre_hook(enter, with_kwargs=True)
    yield module.register_forward_hook(leave, with_kwargs=True)


def _tensors(values: Any) -> Iterator[Tensor]:
    """Tensors with elements, in tuples, lists and dicts too."""
    if isinstance(values, Tensor):
        if values.numel():
            yield values
    elif isinstance(values, Mapping):
        for value in values.values():
            yield from _tensors(value)
    elif isinstance(values, list | tuple):
        for value in values:
            yield from _tensors(value)
