"""Each activation against its closed form in numpy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import erf

from seqtrain.models.activations import Activation, Maxout, NoisyReLU, activation

Rows = NDArray[np.float64]


def _sigmoid(x: Rows) -> Rows:
    return np.asarray(1 / (1 + np.exp(-x)))


def _selu(x: Rows) -> Rows:
    """With the two constants of Klambauer et al. 2017."""
    alpha, scale = 1.6732632423543772, 1.0507009873554805
    return np.asarray(scale * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0))))


def _noisy_in_evaluation(x: Rows) -> Rows:
    below = np.minimum(x, 0)
    noise = 0.5 * (_sigmoid(-below) - 0.5) ** 2 * math.sqrt(2 / math.pi)
    return np.asarray(np.where(x > 0, x, -0.15 * x - noise))


CLOSED_FORMS: dict[str, Callable[[Rows], Any]] = {
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "leaky-relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "prelu": lambda x: np.where(x > 0, x, 0.25 * x),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "selu": _selu,
    "softplus": lambda x: np.logaddexp(0, x),
    "gelu": lambda x: x * 0.5 * (1 + erf(x / math.sqrt(2))),
    "silu": lambda x: x * _sigmoid(x),
    "noisy-relu": _noisy_in_evaluation,
}


def _rows() -> torch.Tensor:
    return torch.linspace(-4, 4, 60, dtype=torch.float64).view(12, 5)


@torch.no_grad()
@pytest.mark.parametrize("name", sorted(set(get_args(Activation)) - {"maxout"}))
def test_values_are_those_of_the_closed_form(name: Activation) -> None:
    module = activation(name, 5).double().eval()
    np.testing.assert_allclose(module(_rows()).numpy(), CLOSED_FORMS[name](_rows().numpy()), rtol=1e-12, atol=1e-12)


@torch.no_grad()
def test_maxout_is_the_larger_of_two_affine_maps() -> None:
    torch.manual_seed(0)
    module = activation("maxout", 5).double()
    assert isinstance(module, Maxout)
    weight, bias = module.pieces.weight.numpy(), module.pieces.bias.numpy()
    rows = _rows().numpy()
    expected = np.maximum(rows @ weight[:5].T + bias[:5], rows @ weight[5:].T + bias[5:])
    np.testing.assert_allclose(module(_rows()).numpy(), expected, rtol=1e-12)


def test_noisy_relu_is_exact_above_0_and_as_noisy_below_as_the_paper_says() -> None:
    torch.manual_seed(0)
    module = NoisyReLU(1)
    x = -1.5
    draws = module(torch.full((200_000, 1), x)).detach()
    deviation = 0.5 * (1 / (1 + math.exp(x)) - 0.5) ** 2
    assert float(draws.mean()) == pytest.approx(0.15 * 1.5 - deviation * math.sqrt(2 / math.pi), abs=1e-3)
    assert float(draws.std()) == pytest.approx(deviation * math.sqrt(1 - 2 / math.pi), rel=0.02)
    above = torch.rand(50, 1)
    torch.testing.assert_close(module(above), above, atol=0, rtol=1e-6)


def test_noisy_relu_learns_how_noisy_it_is_and_lets_gradients_through_below_0() -> None:
    torch.manual_seed(0)
    module = NoisyReLU(3)
    rows = torch.full((4, 3), -1.0, requires_grad=True)
    module(rows).sum().backward()
    assert rows.grad is not None and module.steepness.grad is not None
    assert (rows.grad != 0).all()
    assert (module.steepness.grad != 0).all()
