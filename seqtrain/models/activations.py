"""Activation functions by name, each a module on rows (T, D)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

Activation = Literal[
    "sigmoid",
    "tanh",
    "relu",
    "leaky-relu",
    "prelu",
    "elu",
    "selu",
    "softplus",
    "maxout",
    "gelu",
    "silu",
    "noisy-relu",
]


def activation(name: Activation, width: int) -> nn.Module:
    """The activation of this name for rows (T, width) -> (T, width).

    Slopes and constants are those of torch: 0.01 below 0 for leaky-relu, a learned slope per feature that starts at
    0.25 for prelu (He et al. 2015), alpha 1 for elu (Clevert et al. 2015), erf for gelu. maxout and noisy-relu have
    parameters of their own.
    """
    return _ACTIVATIONS[name](width)


class Maxout(nn.Module):
    """The larger of two learned affine maps, feature by feature (Goodfellow et al. 2013, with k = 2)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.pieces = nn.Linear(width, 2 * width)

    def forward(self, rows: Tensor) -> Tensor:
        """rows (T, D) -> (T, D)"""
        first, second = self.pieces(rows).chunk(2, dim=-1)
        return torch.maximum(first, second)


class NoisyReLU(nn.Module):
    """ReLU with noise where it is flat, so that a gradient flows there too (Gulcehre et al. 2016, half-normal noise).

    alpha h(x) + (1 - alpha) x + sgn(x) c (sigmoid(p (h(x) - x)) - 1/2)^2 |e| with h the ReLU, its linear part x, e
    normal, and p learned per feature. In evaluation |e| is its mean, sqrt(2 / pi). Above 0 all of it is x.
    """

    ALPHA = 1.15
    """As in the authors' code; above 1, which is why the sign of the noise is that of x."""
    C = 0.5
    """As in the authors' code."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.steepness = nn.Parameter(torch.ones(width))

    def forward(self, rows: Tensor) -> Tensor:
        """rows (T, D) -> (T, D)"""
        difference = torch.relu(rows) - rows
        deviation = self.C * (torch.sigmoid(self.steepness.to(rows.dtype) * difference) - 0.5).square()
        size = torch.randn_like(rows).abs() if self.training else math.sqrt(2 / math.pi)
        return rows + self.ALPHA * difference + rows.sign() * deviation * size


_ACTIVATIONS: dict[Activation, Callable[[int], nn.Module]] = {
    "sigmoid": lambda _: nn.Sigmoid(),
    "tanh": lambda _: nn.Tanh(),
    "relu": lambda _: nn.ReLU(),
    "leaky-relu": lambda _: nn.LeakyReLU(),
    "prelu": nn.PReLU,
    "elu": lambda _: nn.ELU(),
    "selu": lambda _: nn.SELU(),
    "softplus": lambda _: nn.Softplus(),
    "maxout": Maxout,
    "gelu": lambda _: nn.GELU(),
    "silu": lambda _: nn.SiLU(),
    "noisy-relu": NoisyReLU,
}
