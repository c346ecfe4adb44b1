"""Normalised layers have the spectral norm that is asked for, as a function of their weights alone."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

from seqtrain.errors import InputError
from seqtrain.models.cnn import CNNConfig
from seqtrain.models.gated_transformer import GatedTransformerConfig
from seqtrain.models.heads import PooledHeadConfig, PositionHeadConfig
from seqtrain.models.initialisation import initialise
from seqtrain.models.network import BodyConfig, Network, build
from seqtrain.models.residual_cnn import ResidualCNNConfig
from seqtrain.models.spectral import SpectrallyNormalised, normalise_layers
from seqtrain.models.transformer import TransformerConfig
from seqtrain.models.unet import UNetConfig
from seqtrain.optimizers import AdamW, Muon

BODIES: list[BodyConfig] = [
    TransformerConfig(width=32, depth=2, num_heads=4),
    GatedTransformerConfig(width=32, depth=2, num_heads=4),
    CNNConfig(width=32, depth=2),
    ResidualCNNConfig(width=32, depth=2, stages=2, activation="maxout"),
    UNetConfig(width=32),
]
INPUTS, BOUNDARIES = torch.arange(4, 24), torch.tensor([0, 8, 20])


def made(config: BodyConfig, norm: float = 1.0, seed: int = 0) -> tuple[Network, list[str]]:
    torch.manual_seed(seed)
    network = build(config, PositionHeadConfig(outputs=3))
    return network, normalise_layers(network, norm)


def plain(network: Network) -> Network:
    """A copy whose normalised weights are folded into plain ones."""
    folded = copy.deepcopy(network)
    for module in folded.modules():
        if parametrize.is_parametrized(module):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
    return folded


@pytest.mark.parametrize("shape", [(20, 30), (30, 20), (7, 6, 5), (1, 9)], ids=str)
def test_the_weight_is_divided_by_its_largest_singular_value(shape: tuple[int, ...]) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(1)).double()
    largest = torch.linalg.svdvals(weight.flatten(1))[0]
    found = SpectrallyNormalised(norm=0.7, num_iterations=800)(weight)
    torch.testing.assert_close(found, 0.7 * weight / largest)


def test_twenty_iterations_are_a_few_percent_below() -> None:
    for seed in range(5):
        weight = torch.randn(200, 300, generator=torch.Generator().manual_seed(seed))
        share = float(SpectrallyNormalised().sigma(weight) / torch.linalg.svdvals(weight)[0])
        assert 0.94 < share <= 1 + 1e-5


def test_values_and_gradients_are_those_of_torch_once_the_iterations_agree() -> None:
    torch.manual_seed(0)
    theirs = nn.Linear(12, 9, bias=False).double()
    ours = copy.deepcopy(theirs)
    parametrizations.spectral_norm(theirs, n_power_iterations=800)
    parametrize.register_parametrization(ours, "weight", SpectrallyNormalised(num_iterations=800))
    rows = torch.randn(5, 12).double()
    for layer in (theirs, ours):
        layer(rows).tanh().sum().backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(ours(rows), theirs(rows))
    gradients = [layer.parametrizations.weight.original.grad for layer in (ours, theirs)]  # type: ignore[union-attr]
    torch.testing.assert_close(*gradients)
    assert float(gradients[0].abs().max()) > 1e-3


@pytest.mark.parametrize("config", BODIES, ids=lambda config: type(config).__name__)
def test_every_layer_of_a_body_and_nothing_else(config: BodyConfig) -> None:
    network, names = made(config, norm=1.5)
    modules = dict(network.body.named_modules())
    kinds = (nn.Linear, nn.Conv1d)
    own = {name for name, module in modules.items() if isinstance(module, kinds) and ".parametrizations" not in name}
    assert set(names) == own and len(names) > 4
    for name in names:
        weight = modules[name].weight
        assert 1.49 < float(torch.linalg.svdvals(weight.detach().flatten(1))[0]) < 1.7
    assert not any(parametrize.is_parametrized(module) for module in network.head.modules())
    optimizer = AdamW(learning_rate=1e-3, weight_decay=0.1).build(network)
    decaying = {id(each) for group in optimizer.param_groups if group["weight_decay"] for each in group["params"]}
    trained = {name: id(each) for name, each in network.named_parameters() if name.endswith("weight.original")}
    assert len(trained) == len(names) and set(trained.values()) <= decaying


@pytest.mark.parametrize("config", BODIES, ids=lambda config: type(config).__name__)
def test_folding_changes_no_output_by_a_bit_and_leaves_the_usual_names(config: BodyConfig) -> None:
    network, _ = made(config)
    network.eval()
    outputs = network.body(INPUTS, BOUNDARIES)
    folded = plain(network)
    assert torch.equal(folded.body(INPUTS, BOUNDARIES), outputs)
    torch.manual_seed(0)
    usual = build(config, PositionHeadConfig(outputs=3))
    assert {name: each.shape for name, each in folded.state_dict().items()} == {
        name: each.shape for name, each in usual.state_dict().items()
    }
    assert [type(module) for module in folded.modules()] == [type(module) for module in usual.modules()]


@pytest.mark.parametrize("config", BODIES, ids=lambda config: type(config).__name__)
def test_forward_passes_leave_nothing_behind(config: BodyConfig) -> None:
    """So a step does not depend on how it is cut, and evaluation not on what was computed before."""
    network, _ = made(config)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.train()
    one = network.body(INPUTS, BOUNDARIES)
    state = torch.get_rng_state()
    other = network.body(INPUTS, BOUNDARIES)
    assert torch.equal(one, other) and torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    alone = network.body(INPUTS[8:], torch.tensor([0, 12]))
    torch.testing.assert_close(alone, one[8:], rtol=1e-4, atol=1e-5)


def test_a_trained_layer_keeps_its_norm() -> None:
    network, names = made(CNNConfig(width=16, depth=2))
    optimizer = Muon(learning_rate=0.05).build(network)
    for _ in range(5):
        optimizer.zero_grad()
        network.body(INPUTS, BOUNDARIES).square().sum().backward()
        for group in optimizer.param_groups:
            group["lr"] = group["peak"]
        optimizer.step()
    layers = dict(network.body.named_modules())
    for name in names:
        assert 0.99 < float(torch.linalg.svdvals(layers[name].weight.detach().flatten(1))[0]) < 1.1


def test_in_bfloat16_the_norm_is_found_in_full() -> None:
    layer = SpectrallyNormalised()
    weight = torch.randn(40, 30, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = layer.sigma(weight)
    assert inside.dtype == torch.float32 and torch.equal(inside, layer.sigma(weight))


def test_weights_to_start_from_must_have_the_norm() -> None:
    config = BODIES[0]
    torch.manual_seed(0)
    free = build(config, PooledHeadConfig(outputs=1))
    with pytest.raises(InputError, match=r"^--spectral-norm 1: a layer of the weights to start from has the norm \d"):
        normalise_layers(free, 1.0, trained=True)
    again = plain(made(config)[0])
    outputs = again.eval().body(INPUTS, BOUNDARIES)
    normalise_layers(again, 1.0, trained=True)
    torch.testing.assert_close(again.body(INPUTS, BOUNDARIES), outputs, rtol=1e-5, atol=1e-6)


def test_a_layer_of_zeros_cannot_be_normalised() -> None:
    network = build(ResidualCNNConfig(width=16, depth=2, stages=1, norm="none"), PooledHeadConfig(outputs=1))
    initialise(network, "fixup")
    with pytest.raises(InputError, match=r"starts at 0; leave --initialise fixup out"):
        normalise_layers(network, 1.0)
