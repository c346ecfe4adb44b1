"""Fresh weights against the variances, orthogonality and zeros of the rules they are drawn by."""

from __future__ import annotations

import math
from typing import get_args, get_type_hints

import pytest
import torch
from torch import Tensor, nn

from seqtrain.config import RunConfig
from seqtrain.errors import InputError
from seqtrain.models.cnn import CNNConfig
from seqtrain.models.heads import LanguageModelHeadConfig, PooledHeadConfig, PositionHeadConfig
from seqtrain.models.initialisation import Initialisation, initialise
from seqtrain.models.network import BodyConfig, HeadConfig, Network, build
from seqtrain.models.residual_cnn import ResidualBlock, ResidualBranch, ResidualCNN, ResidualCNNConfig
from seqtrain.models.transformer import TransformerConfig
from tests.models.packs import draw_sequences, pack

BODIES: list[BodyConfig] = [
    CNNConfig(width=96, depth=2),
    ResidualCNNConfig(width=64, depth=3),
    TransformerConfig(width=64, depth=2, num_heads=4),
]


def _network(config: BodyConfig, head: HeadConfig | None = None) -> Network:
    torch.manual_seed(0)
    return build(config, head or PooledHeadConfig(outputs=2))


def _fans(layer: nn.Linear | nn.Conv1d) -> tuple[int, int]:
    outputs, inputs, *taps = layer.weight.shape
    return inputs * math.prod(taps), outputs * math.prod(taps)


@pytest.mark.parametrize("config", BODIES, ids=lambda config: type(config).__name__)
@pytest.mark.parametrize("name", ["glorot", "he", "lecun"])
def test_variances_are_those_of_the_papers(config: BodyConfig, name: Initialisation) -> None:
    network = _network(config)
    initialise(network, name)
    for module in network.body.requires_grad_(False).modules():
        if isinstance(module, nn.Linear | nn.Conv1d):
            fan_in, fan_out = _fans(module)
            variance = {"glorot": 2 / (fan_in + fan_out), "he": 2 / fan_in, "lecun": 1 / fan_in}[name]
            assert float(module.weight.var()) == pytest.approx(variance, rel=6 * math.sqrt(2 / module.weight.numel()))
            assert abs(float(module.weight.mean())) < 5 * math.sqrt(variance / module.weight.numel())
            assert module.bias is not None and not module.bias.any()
            if name == "glorot":
                assert float(module.weight.abs().max()) <= math.sqrt(3 * variance)


def test_orthogonal_matrices_have_orthonormal_rows_or_columns() -> None:
    network = _network(BODIES[1])
    initialise(network, "orthogonal")
    count = 0
    for module in network.body.modules():
        if isinstance(module, nn.Linear | nn.Conv1d):
            matrix = module.weight.flatten(1)
            small = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
            torch.testing.assert_close(small, torch.eye(len(small)), atol=1e-5, rtol=0)
            count += 1
    assert count == 9


@pytest.mark.parametrize("name", ["glorot", "he", "lecun", "orthogonal"])
def test_embeddings_norms_and_heads_keep_their_own_start(name: Initialisation) -> None:
    before, after = _network(BODIES[0]), _network(BODIES[0])
    initialise(after, name)
    changed = {key for key, tensor in after.state_dict().items() if not torch.equal(tensor, before.state_dict()[key])}
    assert changed
    assert all(key.startswith("body.blocks.") and ".norm" not in key for key in changed)


@pytest.mark.parametrize(
    "head",
    [PooledHeadConfig(outputs=2), PositionHeadConfig(outputs=2), LanguageModelHeadConfig(tied=False)],
    ids=lambda head: type(head).__name__,
)
def test_fixup_starts_every_branch_and_the_head_at_0(head: HeadConfig) -> None:
    network = _network(ResidualCNNConfig(width=64, depth=6, norm="none"), head)
    initialise(network, "fixup")
    body = network.body.requires_grad_(False)
    assert isinstance(body, ResidualCNN)
    for block in body.blocks:
        assert isinstance(block, ResidualBlock)
        first, second = block.convolve_first.convolution, block.convolve_second.convolution
        assert not second.weight.any()
        # L^(-1 / (2m - 2)) with L = 6 blocks of m = 2 layers
        assert float(first.weight.std()) == pytest.approx(6**-0.5 * math.sqrt(2 / _fans(first)[0]), rel=0.05)
        assert block.scale is not None and block.shifts is not None
        assert block.scale.tolist() == [1.0] and block.shifts.tolist() == [0.0, 0.0]
        if block.projection is not None:
            assert float(block.projection.weight.std()) == pytest.approx(
                math.sqrt(2 / block.projection.in_features), rel=0.1
            )
    logits: Tensor = network(pack(draw_sequences()))
    torch.testing.assert_close(logits, torch.zeros_like(logits))


def test_fixup_starts_both_of_two_branches() -> None:
    network = _network(ResidualCNNConfig(width=64, depth=6, norm="none", shake_shake=True), PooledHeadConfig(outputs=2))
    initialise(network, "fixup")
    branches = [module for module in network.body.modules() if isinstance(module, ResidualBranch)]
    assert len(branches) == 12
    for branch in branches:
        first, second = branch.convolve_first.convolution, branch.convolve_second.convolution
        assert not second.weight.any() and not second.bias.any()
        assert float(first.weight.std()) == pytest.approx(6**-0.5 * math.sqrt(2 / _fans(first)[0]), rel=0.05)


def test_the_signal_keeps_its_size_through_many_blocks_with_fixup_and_grows_without() -> None:
    batch = pack(draw_sequences())

    def growth(network: Network) -> float:
        with torch.no_grad():
            states = network.body.hidden_states(batch.inputs, batch.boundaries)
        return float(states[-1].square().mean() / states[0].square().mean())

    config = ResidualCNNConfig(width=32, depth=24, stages=1, kernel_size=3, norm="none")
    plain, fixed = _network(config), _network(config)
    initialise(fixed, "fixup")
    assert growth(fixed) == pytest.approx(1.0)
    assert growth(plain) > 1e4


@pytest.mark.parametrize("config", BODIES, ids=lambda config: type(config).__name__)
def test_fixup_is_refused_where_it_has_no_meaning(config: BodyConfig) -> None:
    with pytest.raises(InputError, match="--initialise fixup: is for residual networks without norms"):
        initialise(_network(config), "fixup")


def test_configurations_name_the_same_rules() -> None:
    (words,) = (hint for hint in get_args(get_type_hints(RunConfig)["initialise"]) if hint is not type(None))
    assert get_args(words) == get_args(Initialisation)
