"""Spectral normalisation of layers: each weight matrix divided by its largest singular value (Miyato et al. 2018)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from seqtrain.errors import InputError
from seqtrain.models.network import Network

_GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))
_TOLERANCE = 0.05
"""Relative: how far the norm of a loaded layer may be from the one that is asked for."""


class SpectrallyNormalised(nn.Module):
    """A weight -> norm * weight / sigma(weight), sigma being its largest singular value as a matrix (outputs, inputs).

    Not torch's own parametrisation of this name: it goes one power iteration further in every forward pass, so that a
    step would depend on how it is cut into microbatches and evaluation on what came before it. Here sigma is a function
    of the weight alone: some iterations from the same start each time, whose vectors are constants to the gradient, as
    in the paper. There is nothing to save beside the weight.
    """

    def __init__(self, norm: float = 1.0, num_iterations: int = 20) -> None:
        """norm: what sigma becomes, 1 in the paper; num_iterations: of the power method.

        The iterations come from below: on random matrices 20 end 1 % below sigma on average, and seldom more than 5 %.
        """
        super().__init__()
        self.norm = norm
        self.num_iterations = num_iterations

    def forward(self, weight: Tensor) -> Tensor:
        """weight (outputs, …) -> the same shape"""
        return weight * (self.norm / self.sigma(weight))

    def sigma(self, weight: Tensor) -> Tensor:
        """() the largest singular value of a weight (outputs, …), flattened to a matrix as kernels are in the paper."""
        # In full precision also under autocast: bf16 knows two digits of it.
        with torch.autocast(weight.device.type, enabled=False):
            matrix = weight.flatten(1)
            with torch.no_grad():
                left, right = self._vectors(matrix)
            return (left @ matrix @ right).clamp(min=torch.finfo(matrix.dtype).tiny)

    def _vectors(self, matrix: Tensor) -> tuple[Tensor, Tensor]:
        """Singular vectors (outputs,) and (inputs,) of the largest singular value of a matrix."""
        # A start without pattern and without a generator, which compilers cannot look into.
        right = torch.cos(_GOLDEN_ANGLE * torch.arange(1, matrix.shape[1] + 1, device=matrix.device)).to(matrix)
        left = matrix.new_zeros(matrix.shape[0])
        for _ in range(self.num_iterations):
            left = nn.functional.normalize(matrix @ right, dim=0)
            right = nn.functional.normalize(matrix.T @ left, dim=0)
        return left, right

    def extra_repr(self) -> str:
        """What print shows of it."""
        return f"norm={self.norm:g}, num_iterations={self.num_iterations}"


def normalise_layers(network: Network, norm: float, *, trained: bool = False) -> list[str]:
    """Let the linear layers and convolutions of a body have this spectral norm from now on; returns their names.

    Embeddings, norms and the head stay free. The weights that are trained lie under ``…parametrizations.weight``;
    ``torch.nn.utils.parametrize.remove_parametrizations`` folds them into plain ones.

    Args:
        trained: the body has been trained already, so that its layers must have the norm.

    Raises:
        InputError: a layer that starts at 0, or a trained one of another norm, whose function would be another.
    """
    maker = SpectrallyNormalised(norm)
    # Exactly these classes: inside of adapters, a layer is one of two terms.
    layers = {
        name: module
        for name, module in network.body.named_modules()
        if isinstance(module, nn.Linear | nn.Conv1d) and not parametrize.is_parametrized(module)
    }
    if not layers:
        raise InputError(f"--spectral-norm {norm:g}: this body has no linear layers or convolutions; leave it out")
    with torch.no_grad():
        sigmas = {name: float(maker.sigma(module.weight)) for name, module in layers.items()}
    largest = max(sigmas.values(), key=lambda sigma: abs(sigma / norm - 1))
    if trained and abs(largest / norm - 1) > _TOLERANCE:
        raise InputError(
            f"--spectral-norm {norm:g}: a layer of the weights to start from has the norm {largest:.3g}, and dividing "
            "by it would change what they compute; train from scratch, or start from a run that had the same option"
        )
    zero = [name for name, module in layers.items() if not bool(module.weight.any())]
    if zero:
        raise InputError(f"--spectral-norm {norm:g}: the layer {zero[0]} starts at 0; leave --initialise fixup out")
    for module in layers.values():
        parametrize.register_parametrization(module, "weight", SpectrallyNormalised(norm))
    return list(layers)
