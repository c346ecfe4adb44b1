"""What feeds what is read off small networks whose wiring is known."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from seqtrain.dataflow import Flow, trace


class Wired(nn.Module):
    """A skip, a gate, an attention and a concatenation, over parts with weights and some without."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.gate = nn.Linear(4, 4), nn.Linear(4, 4)
        self.query, self.key, self.value = (nn.Linear(4, 4) for _ in range(3))
        self.drop, self.last = nn.Dropout(0.5), nn.Linear(8, 2)

    def forward(self, hidden: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
        first = functional.gelu(self.first(hidden))
        summed = self.drop(first * self.gate(hidden)) + hidden
        turned = self.query(summed) * angles[0]
        scores = turned @ self.key(summed).mT
        attended = scores.softmax(-1) @ self.value(summed)
        return self.last(torch.cat((attended, summed, summed[:, :0]), dim=-1))


class Outer(nn.Module):
    """Two of them, with a skip around the second."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)])

    def forward(self, hidden: Tensor) -> Tensor:
        first = self.parts[0](hidden)
        return self.parts[2](torch.add(first, self.parts[1](first)))


def _names(flow: Flow) -> dict[str, str]:
    """Labels in place of numbered names, where each occurs once."""
    return {node.name: node.label or node.name for node in flow.nodes}


def _edges(flow: Flow) -> set[tuple[str, str]]:
    names = _names(flow)
    return {(names[start], names[end]) for start, end in flow.edges}


def test_inside_of_a_module() -> None:
    network, inputs, angle = Wired().eval(), torch.randn(3, 4), torch.randn(3, 4)
    names = {module: name for name, module in network.named_children() if name != "drop"}
    flow = trace(lambda: network(inputs, (angle, angle)), names, network)
    assert _edges(flow) == {
        ("hidden", "first"), ("first", "gelu"), ("hidden", "gate"), ("gelu", "×"), ("gate", "×"), ("×", "+"),
        ("hidden", "+"), ("+", "query"), ("+", "key"), ("+", "value"), ("query", "attention"), ("key", "attention"),
        ("value", "attention"), ("attention", "concat"), ("+", "concat"), ("concat", "last"), ("last", "output"),
    }  # fmt: skip
    assert len(_names(flow)) == len(set(_names(flow).values()))


def test_between_modules_and_only_the_first_call() -> None:
    network, inputs = Outer(), torch.randn(3, 4)
    names = {part: str(number) for number, part in enumerate(network.parts)}
    flow = trace(lambda: network(inputs), names)
    assert _edges(flow) == {("0", "1"), ("0", "+"), ("1", "+"), ("+", "2"), ("2", "output")}
    again = trace(lambda: (network(inputs), network(2 * inputs))[1], names, network)
    assert _edges(again) == {("hidden", "0"), *_edges(flow)}


def test_leaves_no_hooks_and_no_gradients() -> None:
    network, inputs = Outer(), torch.randn(3, 4)
    trace(lambda: network(inputs), dict.fromkeys(network.parts, "same"), network)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
    assert network(inputs).requires_grad


def test_same_on_meta_tensors() -> None:
    network, inputs = Outer(), torch.randn(3, 4)
    names = {part: str(number) for number, part in enumerate(network.parts)}
    real = trace(lambda: network(inputs), names)
    network.to("meta")
    assert trace(lambda: network(inputs.to("meta")), names).edges == real.edges
