"""Where the weights of a new network start, by the name of a published rule."""

from __future__ import annotations

from typing import Literal

from torch import nn

from seqtrain.errors import InputError
from seqtrain.models.aligned_head import AlignedHead
from seqtrain.models.compared_head import ComparedHead
from seqtrain.models.decoder_head import DecoderHead
from seqtrain.models.heads import LanguageModelHead, PooledHead, PositionHead
from seqtrain.models.imprinted_head import ImprintedHead
from seqtrain.models.light_attention import LightAttentionHead
from seqtrain.models.network import Network
from seqtrain.models.projection import ProjectionHead
from seqtrain.models.residual_cnn import ResidualBlock, ResidualBranch, ResidualCNN
from seqtrain.words import name_of

Initialisation = Literal["glorot", "he", "lecun", "orthogonal", "fixup"]


def initialise(network: Network, name: Initialisation) -> None:
    """Draw the weights of a body's linear layers and convolutions anew, from torch's global generator; biases are 0.

    glorot: uniform with variance 2 / (fan-in + fan-out) (Glorot & Bengio 2010). he: normal with variance 2 / fan-in
    (He et al. 2015). lecun: normal with variance 1 / fan-in (LeCun et al. 1998). orthogonal: a kernel's matrix
    (outputs, inputs * positions) has orthonormal rows or columns (Saxe et al. 2013). fixup: as :func:`_fixup` says.
    Embeddings, norms and the head keep where they start by themselves, but for fixup's part of the head.

    Raises:
        InputError: fixup for anything but a residual CNN without norms.
    """
    if name == "fixup":
        _fixup(network)
        return
    for module in network.body.modules():
        if isinstance(module, (nn.Linear, nn.Conv1d)):
            _draw(module, name)


def _draw(layer: nn.Linear | nn.Conv1d, name: Initialisation) -> None:
    if name == "glorot":
        nn.init.xavier_uniform_(layer.weight)
    elif name == "he":
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    elif name == "lecun":
        nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
    else:
        nn.init.orthogonal_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def _fixup(network: Network) -> None:
    """Fixup (Zhang et al. 2019), by which residual networks train without norms.

    Its rules: the last layer of each branch and that of the head start at 0; the others by He, those inside a branch
    times L^(-1 / (2m - 2)), with L blocks of m = 2 layers. The scalars of its third rule are part of the blocks.
    """
    body = network.body
    if not isinstance(body, ResidualCNN) or body.config.norm != "none":
        raise InputError(
            f"--initialise fixup: is for residual networks without norms, and this is a {name_of(type(body.config))} "
            f"with norm {getattr(body.config, 'norm', 'layer')}; take --model residual-cnn:norm=none"
        )
    _draw(body.convolve.convolution, "he")
    for branch in (module for module in body.modules() if isinstance(module, ResidualBranch)):
        _draw(branch.convolve_first.convolution, "he")
        branch.convolve_first.convolution.weight.data.mul_(len(body.blocks) ** -0.5)
        nn.init.zeros_(branch.convolve_second.convolution.weight)
        nn.init.zeros_(branch.convolve_second.convolution.bias)  # type: ignore[arg-type]  # it has one
        if isinstance(branch, ResidualBlock) and branch.projection is not None:
            _draw(branch.projection, "he")
    # Zeros have no direction to compare, and no residual network has a decoder.
    if not isinstance(network.head, ProjectionHead | ImprintedHead | DecoderHead | ComparedHead):
        nn.init.zeros_(_last_layer(network.head).weight)


def _last_layer(
    head: LanguageModelHead | PooledHead | LightAttentionHead | AlignedHead | PositionHead,
) -> nn.Linear:
    """The layer whose outputs are the logits."""
    if isinstance(head, LanguageModelHead):
        assert head.decoder is not None, "a residual CNN ties no head"
        return head.decoder
    return head.output
