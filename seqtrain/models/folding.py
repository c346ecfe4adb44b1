"""Batch norms folded away: in evaluation each is a scale and a shift, which the layer before it can carry."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import Tensor

from seqtrain.models.cnn import CNN
from seqtrain.models.network import Network
from seqtrain.models.normalization import BatchNorm, BatchRenorm
from seqtrain.models.residual_cnn import ResidualCNN
from seqtrain.models.unet import UNet


def folded(network: Network) -> Network:
    """A network without batch norms that gives the same outputs in evaluation; without any, the network itself.

    In a residual CNN every batch norm follows a layer and goes into its weights: ``norm`` becomes "none". In other
    bodies some act on a sum, so each becomes a scale and a shift of its own: ``norm`` becomes "affine". The config and
    the weights of the result agree, so it is saved and loaded like any other, and can be trained on.
    """
    if not any(isinstance(module, BatchNorm | BatchRenorm) for module in network.body.modules()):
        return network
    assert isinstance(network.body, ResidualCNN | CNN | UNet), "other bodies have no batch norms"
    body = _into_layers(network.body) if isinstance(network.body, ResidualCNN) else _into_affine(network.body)
    like = next(network.body.parameters())
    return Network(body.to(device=like.device, dtype=like.dtype), copy.deepcopy(network.head)).eval()


@torch.no_grad()
def _into_layers(body: ResidualCNN) -> ResidualCNN:
    body = copy.deepcopy(body)
    for layer, norm in body.norms_after_layers():
        assert isinstance(norm, BatchNorm | BatchRenorm)
        assert layer.bias is not None
        scale, shift = norm.double().scale_and_shift()
        layer.weight.copy_(layer.weight * scale.view(-1, *[1] * (layer.weight.ndim - 1)))
        layer.bias.copy_(layer.bias * scale + shift)
    # What a block without norms has in their place starts as doing nothing, and stays so.
    plain = replace(body.config, norm="none").build()
    kept = plain.state_dict()
    plain.load_state_dict(kept | {name: tensor for name, tensor in body.state_dict().items() if name in kept})
    return plain


@torch.no_grad()
def _into_affine(body: CNN | UNet) -> CNN | UNet:
    plain = replace(body.config, norm="affine").build()
    kept = plain.state_dict()
    state: dict[str, Tensor] = {name: tensor for name, tensor in body.state_dict().items() if name in kept}
    for name, module in body.named_modules():
        if isinstance(module, BatchNorm | BatchRenorm):
            state[f"{name}.weight"], state[f"{name}.bias"] = copy.deepcopy(module).double().scale_and_shift()
    plain.load_state_dict(state)
    return plain
