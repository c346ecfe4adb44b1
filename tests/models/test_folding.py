"""Networks with batch norm against what is left of them when these are folded away."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn.utils.fusion import fuse_conv_bn_weights

from seqtrain.alphabet import PROTEIN
from seqtrain.models.cnn import CNNConfig
from seqtrain.models.folding import folded
from seqtrain.models.heads import LanguageModelHeadConfig, PooledHeadConfig
from seqtrain.models.network import BodyConfig, Network, build
from seqtrain.models.normalization import BatchNorm, BatchRenorm
from seqtrain.models.pretrained import load_network, save_network
from seqtrain.models.residual_cnn import ResidualCNN, ResidualCNNConfig
from seqtrain.models.unet import UNetConfig
from tests.models.packs import draw_sequences, pack, shake

BODIES: dict[str, BodyConfig] = {
    "residual": ResidualCNNConfig(width=16, depth=3, norm="batch"),
    "renorm": ResidualCNNConfig(width=16, depth=3, norm="batch-renorm", drop_connect=0.1),
    "two branches": ResidualCNNConfig(width=16, depth=3, norm="batch", shake_shake=True),
    "dilated": CNNConfig(width=16, depth=2, norm="batch"),
    "u-net": UNetConfig(width=8, levels=2, norm="batch-renorm"),
}


def _trained(config: BodyConfig) -> Network:
    """A network whose running statistics and parameters are none that it started with."""
    torch.manual_seed(0)
    network = build(config, PooledHeadConfig(outputs=3))
    for seed in range(3):
        network(pack(draw_sequences(seed=seed)))
    shake(network)
    for module in network.modules():
        if isinstance(module, BatchNorm):
            module.running_mean.add_(torch.randn(module.width))
            module.running_var.mul_(1 + torch.rand(module.width))
        if isinstance(module, BatchRenorm):
            module.running_mean.add_(torch.randn(module.width))
            module.running_deviation.mul_(1 + torch.rand(module.width))
    return network


@torch.no_grad()
@pytest.mark.parametrize("name", BODIES)
def test_outputs_stay_and_batch_norms_are_gone(name: str, tmp_path: Path) -> None:
    network = _trained(BODIES[name])
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    batch = pack(draw_sequences(seed=9))
    expected = network(batch)
    plain = folded(network)
    assert not any(isinstance(module, BatchNorm | BatchRenorm) for module in plain.modules())
    torch.testing.assert_close(plain(batch), expected, atol=1e-5, rtol=1e-5)
    assert all(torch.equal(tensor, before[key]) for key, tensor in network.state_dict().items()), "it was changed"
    save_network(plain, tmp_path, PROTEIN.tokens)
    loaded, _ = load_network(tmp_path)
    assert loaded.body.config == plain.body.config
    torch.testing.assert_close(loaded(batch), plain(batch), atol=0, rtol=0)


@torch.no_grad()
def test_weights_are_those_that_torch_fuses() -> None:
    network = _trained(BODIES["residual"])
    plain = folded(network)
    assert isinstance(network.body, ResidualCNN) and isinstance(plain.body, ResidualCNN)
    assert plain.body.config.norm == "none"
    norm, layer = network.body.norm, network.body.convolve.convolution
    assert isinstance(norm, BatchNorm)
    weight, bias = fuse_conv_bn_weights(
        layer.weight, layer.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )
    torch.testing.assert_close(plain.body.convolve.convolution.weight, weight)
    torch.testing.assert_close(plain.body.convolve.convolution.bias, bias)


def test_what_has_no_batch_norm_stays_itself() -> None:
    network = build(CNNConfig(width=16, depth=1), LanguageModelHeadConfig())
    assert folded(network) is network
