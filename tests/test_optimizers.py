"""Biases, norms and embeddings do not decay, and the head has a rate of its own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from seqtrain.models.cnn import CNNConfig
from seqtrain.models.heads import LanguageModelHeadConfig, SequenceHeadConfig
from seqtrain.models.network import BodyConfig, HeadConfig, Network, build
from seqtrain.models.transformer import TransformerConfig
from seqtrain.optimizers import AdamW

TRANSFORMER = TransformerConfig(width=16, depth=1, num_heads=2)
BODIES: list[BodyConfig] = [TRANSFORMER, CNNConfig(width=16, depth=2)]


def groups_of(network: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, dict[str, Any]]:
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    found = [(names[id(p)], group) for group in optimizer.param_groups for p in group["params"]]
    assert len(found) == len(names), "each parameter in one group"
    return dict(found)


@pytest.mark.parametrize("body", BODIES, ids=lambda body: type(body).__name__)
@pytest.mark.parametrize("head", [SequenceHeadConfig(outputs=3), LanguageModelHeadConfig()])
def test_matrices_alone_decay(body: BodyConfig, head: HeadConfig) -> None:
    network = build(body, head)
    found = groups_of(network, AdamW(learning_rate=1e-3, weight_decay=0.05).build(network))
    for name, module in network.named_modules():
        for part, _ in module.named_parameters(recurse=False):
            full = f"{name}.{part}"
            if full not in found:
                continue
            decays = part == "weight" and isinstance(module, nn.Linear | nn.Conv1d)
            assert found[full]["weight_decay"] == (0.05 if decays else 0.0), full
    assert {group["weight_decay"] for group in found.values()} == {0.0, 0.05}


def test_the_head_has_its_own_rate() -> None:
    network = build(TRANSFORMER, SequenceHeadConfig(outputs=2))
    found = groups_of(network, AdamW(learning_rate=1e-4, head_learning_rate=1e-3).build(network))
    for name, group in found.items():
        assert group["peak"] == group["lr"] == (1e-3 if name.startswith("head.") else 1e-4)
    same = groups_of(network, AdamW(learning_rate=1e-4).build(network))
    assert {group["peak"] for group in same.values()} == {1e-4}


def test_frozen_parameters_are_left_out() -> None:
    network = build(TRANSFORMER, SequenceHeadConfig(outputs=2))
    assert isinstance(network, Network)
    network.body.requires_grad_(False)
    optimizer = AdamW(learning_rate=1e-3).build(network)
    count = sum(len(group["params"]) for group in optimizer.param_groups)
    assert count == len(list(network.head.parameters()))


def test_one_update_is_that_of_the_paper() -> None:
    layer = nn.Linear(3, 2)
    before = {name: parameter.detach().clone() for name, parameter in layer.named_parameters()}
    optimizer = AdamW(learning_rate=0.1, weight_decay=0.5).build(layer)
    layer(torch.tensor([[1.0, -2.0, 3.0]])).sum().backward()
    optimizer.step()
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None
        decay = 0.1 * 0.5 if name == "weight" else 0.0
        # After one step the bias-corrected moments are g and g², so the update is the sign of g.
        expected = before[name] * (1 - decay) - 0.1 * parameter.grad.sign()
        assert torch.allclose(parameter, expected, atol=1e-6)
