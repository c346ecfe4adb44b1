"""Biases, norms and embeddings do not decay; the head and each layer have rates of their own: for every optimiser."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from seqtrain.alphabet import PROTEIN
from seqtrain.models.backbone import Family
from seqtrain.models.cnn import CNNConfig
from seqtrain.models.heads import LanguageModelHeadConfig, PooledHeadConfig
from seqtrain.models.network import BodyConfig, HeadConfig, Network, build
from seqtrain.models.residual_cnn import ResidualCNNConfig
from seqtrain.models.transformer import TransformerConfig
from seqtrain.optimizers import AdamW, Muon
from seqtrain.optimizers.rates import is_decaying
from tests.models.backbones import small_config
from tests.optimizers.members import MEMBERS

TRANSFORMER = TransformerConfig(width=16, depth=2, num_heads=2)
BODIES: list[BodyConfig] = [TRANSFORMER, CNNConfig(width=16, depth=2)]
LAYERS = {"TransformerConfig": "body.layers", "CNNConfig": "body.blocks"}


def groups_of(network: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, dict[str, Any]]:
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    found = [(names[id(p)], group) for group in optimizer.param_groups for p in group["params"]]
    assert len(found) == len(names), "each parameter in one group"
    return dict(found)


@pytest.mark.parametrize("body", BODIES, ids=lambda body: type(body).__name__)
@pytest.mark.parametrize("head", [PooledHeadConfig(outputs=3), LanguageModelHeadConfig()])
@pytest.mark.parametrize("name", MEMBERS)
def test_matrices_alone_decay(name: str, body: BodyConfig, head: HeadConfig) -> None:
    network = build(body, head)
    found = groups_of(network, replace(MEMBERS[name], weight_decay=0.05).build(network))
    for place, module in network.named_modules():
        for part, _ in module.named_parameters(recurse=False):
            full = f"{place}.{part}"
            if full not in found:
                continue
            decays = part == "weight" and isinstance(module, nn.Linear | nn.Conv1d)
            assert found[full]["weight_decay"] == (0.05 if decays else 0.0), full
    assert {group["weight_decay"] for group in found.values()} == {0.0, 0.05}


@pytest.mark.parametrize("family", ["bert", "t5"])
def test_embeddings_of_other_models_do_not_decay(family: Family) -> None:
    network = build(small_config(family, PROTEIN.tokens), PooledHeadConfig(outputs=2))
    modules = dict(network.named_modules())
    assert family == "bert" or any("relative_attention_bias" in name for name in modules)
    for name, parameter in network.named_parameters():
        is_embedding = isinstance(modules[name.rpartition(".")[0]], nn.Embedding)
        assert is_decaying(name, parameter) == (parameter.ndim > 1 and not is_embedding), name


@pytest.mark.parametrize("name", MEMBERS)
def test_the_head_has_its_own_rate(name: str) -> None:
    network = build(TRANSFORMER, PooledHeadConfig(outputs=2))
    member = replace(MEMBERS[name], learning_rate=1e-4)
    found = groups_of(network, replace(member, head_learning_rate=1e-3).build(network))
    for each, group in found.items():
        assert group["peak"] == group["lr"] == (1e-3 if each.startswith("head.") else 1e-4)
    same = groups_of(network, member.build(network))
    assert {group["peak"] for group in same.values()} == {1e-4}


@pytest.mark.parametrize("body", BODIES, ids=lambda body: type(body).__name__)
@pytest.mark.parametrize("name", MEMBERS)
def test_rates_fall_with_the_distance_from_the_head(name: str, body: BodyConfig) -> None:
    network = build(body, PooledHeadConfig(outputs=2))
    layers = LAYERS[type(body).__name__]
    distances = {"body.embedding.": 3, f"{layers}.0.": 2, f"{layers}.1.": 1, "body.final_norm.": 0}
    member = replace(MEMBERS[name], learning_rate=1e-2, head_learning_rate=0.5, layer_decay=0.8)
    optimizer = member.build(network)
    for each, group in groups_of(network, optimizer).items():
        place = next((start for start in distances if each.startswith(start)), None)
        expected = 0.5 if place is None else 1e-2 * 0.8 ** distances[place]
        assert (place is None) == each.startswith("head.")
        assert group["peak"] == group["lr"] == pytest.approx(expected, rel=1e-12), each
    # The report of a step shows the rate of the first group as that of the body.
    assert optimizer.param_groups[0]["peak"] == 1e-2


def test_what_comes_before_the_layers_is_farthest_from_the_head() -> None:
    network = build(ResidualCNNConfig(width=16, depth=3, stages=2), PooledHeadConfig(outputs=3))
    peaks = {name: group["peak"] for name, group in groups_of(
        network, AdamW(learning_rate=1.0, layer_decay=0.5).build(network)).items()}  # fmt: skip
    for name, peak in peaks.items():
        number = next((int(part) for part in name.split(".") if part.isdigit()), None)
        # The first convolution and its norm, beside the embeddings, come before block 0 of 3.
        expected = 1.0 if name.startswith("head.") else 0.5**4 if number is None else 0.5 ** (3 - number)
        assert peak == expected, name


def test_rates_by_depth_need_layers() -> None:
    with pytest.raises(ValueError, match=r"layer_decay needs layers, named layers\.0"):
        AdamW(learning_rate=1e-3, layer_decay=0.9).build(nn.Linear(2, 2))
    AdamW(learning_rate=1e-3, layer_decay=1.0).build(nn.Linear(2, 2))


def test_layers_within_a_head_are_none_of_the_body() -> None:
    class Layered(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
            self.head = nn.ModuleDict({"layers": nn.ModuleList(nn.Linear(2, 2) for _ in range(9))})

    model = Layered()
    peaks = {name: group["peak"] for name, group in groups_of(
        model, AdamW(learning_rate=1.0, layer_decay=0.5).build(model)).items()}  # fmt: skip
    assert {peak for name, peak in peaks.items() if name.startswith("head.")} == {1.0}
    assert (peaks["layers.0.weight"], peaks["layers.1.bias"]) == (0.25, 0.5)


@pytest.mark.parametrize("name", [name for name, member in MEMBERS.items() if not isinstance(member, Muon)])
def test_frozen_parameters_are_left_out(name: str) -> None:
    network = build(TRANSFORMER, PooledHeadConfig(outputs=2))
    assert isinstance(network, Network)
    network.body.requires_grad_(False)
    optimizer = MEMBERS[name].build(network)
    count = sum(len(group["params"]) for group in optimizer.param_groups)
    assert count == len(list(network.head.parameters()))
