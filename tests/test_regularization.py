"""Each regulariser does to gradients and weights what its formula says, and to nothing else."""

from __future__ import annotations

from typing import Any, NamedTuple, get_args

import numpy as np
import pytest
import torch
from torch import nn

from seqtrain.errors import InputError
from seqtrain.models.cnn import CNNConfig
from seqtrain.models.heads import PooledHeadConfig
from seqtrain.models.network import build
from seqtrain.optimizers import SGD
from seqtrain.regularization import (
    L1,
    L2,
    ClipNorm,
    ClipValue,
    GradientNoise,
    MaxNorm,
    ProximalL1,
    Regularization,
    Regularizer,
    SpectralNorm,
)
from seqtrain.training import LoopConfig, _update
from seqtrain.words import names_of, read_words

ALL: list[Regularizer] = [
    L2(strength=0.3), L1(strength=0.3), ProximalL1(strength=0.3), MaxNorm(limit=0.5),
    SpectralNorm(strength=0.3, num_iterations=200), GradientNoise(eta=0.3), ClipNorm(limit=0.5), ClipValue(limit=0.05),
]  # fmt: skip


def network(seed: int = 0) -> nn.Module:
    """A network with matrices, kernels, norms and an embedding, and a gradient on each parameter but those frozen."""
    torch.manual_seed(seed)
    made = build(CNNConfig(width=8, depth=2), PooledHeadConfig(outputs=3)).double()
    made.body.blocks[0].down.requires_grad_(False)
    for parameter in made.parameters():
        if parameter.requires_grad:
            parameter.data = torch.randn_like(parameter)
            parameter.grad = torch.randn_like(parameter)
    return made


def values(model: nn.Module) -> tuple[dict[str, Any], dict[str, Any]]:
    """Weights and gradients, as copies."""
    weights = {name: parameter.detach().numpy().copy() for name, parameter in model.named_parameters()}
    gradients = {
        name: parameter.grad.numpy().copy()
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }
    return weights, gradients


def decaying(model: nn.Module) -> set[str]:
    """Names of the weights of linear layers and convolutions that are trained."""
    return {
        f"{place}.weight"
        for place, module in model.named_modules()
        if isinstance(module, nn.Linear | nn.Conv1d) and module.weight.requires_grad
    }


class Done(NamedTuple):
    """What a regulariser made of a network."""

    weights: dict[str, Any]
    gradients: dict[str, Any]
    changed: dict[str, Any]
    """Gradients after before_update."""
    moved: dict[str, Any]
    """Weights after after_update."""
    names: set[str]
    """Of what decays."""


def after(regularizer: Regularizer) -> Done:
    """Both of its moments on a fresh network."""
    model = network()
    weights, gradients = values(model)
    regularizer.before_update(model, 0)
    unchanged, changed = values(model)
    assert all(np.array_equal(unchanged[name], weights[name]) for name in weights), "weights wait for the update"
    regularizer.after_update(model, 0, dict.fromkeys(model.parameters(), 0.1))
    moved, still = values(model)
    assert all(np.array_equal(still[name], changed[name]) for name in changed)
    return Done(weights, gradients, changed, moved, decaying(model))


def test_all_are_tested() -> None:
    assert {type(regularizer) for regularizer in ALL} == set(get_args(Regularization))


@pytest.mark.parametrize("power", [1, 2])
def test_penalties_add_the_gradient_of_their_formula(power: int) -> None:
    strength = 0.3
    weights, gradients, changed, moved, names = after(L2(strength=strength) if power == 2 else L1(strength=strength))
    for name, gradient in gradients.items():
        # Central differences of strength / power * sum |w|^power.
        w, h = weights[name], 1e-6
        slope = strength / power * (np.abs(w + h) ** power - np.abs(w - h) ** power) / (2 * h)
        expected = gradient + slope if name in names else gradient
        np.testing.assert_allclose(changed[name], expected, atol=1e-8)
        assert np.array_equal(moved[name], w)
    assert len(names) > 5


def test_l2_with_sgd_is_its_weight_decay() -> None:
    penalised, decayed = network(), network()
    L2(strength=0.2).before_update(penalised, 0)
    SGD(learning_rate=0.1).build(penalised).step()
    SGD(learning_rate=0.1, weight_decay=0.2).build(decayed).step()
    for one, other in zip(penalised.parameters(), decayed.parameters(), strict=True):
        assert torch.allclose(one, other, rtol=1e-14)


def test_l1_leaves_zeros_alone() -> None:
    model = nn.Linear(3, 2)
    nn.init.zeros_(model.weight)
    model.weight.grad = torch.zeros(2, 3)
    L1(strength=1).before_update(model, 0)
    assert (model.weight.grad == 0).all()


def test_a_proximal_step_is_soft_thresholding_at_the_rate_of_each_parameter() -> None:
    model = network()
    before, _ = values(model)
    rates = {each: 0.01 * (number + 1) for number, each in enumerate(model.parameters())}
    named = {name: rates[each] for name, each in model.named_parameters()}
    ProximalL1(strength=5.0).after_update(model, 0, rates)
    after_it, _ = values(model)
    names = decaying(model)
    for name, w in before.items():
        threshold = 5.0 * named[name]
        expected = np.sign(w) * np.maximum(np.abs(w) - threshold, 0) if name in names else w
        np.testing.assert_allclose(after_it[name], expected, atol=1e-15)
    zeros = sum((after_it[name] == 0).sum() for name in names)
    assert 0 < zeros < sum(after_it[name].size for name in names)
    ProximalL1(strength=1e9).after_update(model, 0, {})
    for name, w in values(model)[0].items():
        assert np.array_equal(w, after_it[name]), "what was not updated is left alone"


@pytest.mark.parametrize("strength", [0.02, 0.2, 0.7])
def test_proximal_steps_behind_gradient_descent_end_at_the_lasso(strength: float) -> None:
    from sklearn.linear_model import Lasso

    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(60, 12))
    targets = inputs[:, :3] @ np.array([2.0, -1.0, 0.5]) + 0.1 * generator.normal(size=60)
    model = nn.Linear(12, 1, bias=False).double()
    config = LoopConfig(device=torch.device("cpu"), regularizers=(ProximalL1(strength=strength),))
    optimizer = SGD(learning_rate=0.2, momentum=0).build(model)
    for step in range(400):
        optimizer.zero_grad()
        errors = model(torch.tensor(inputs))[:, 0] - torch.tensor(targets)
        (errors.square().mean() / 2).backward()
        _update(model, optimizer, config, step)
    expected = Lasso(alpha=strength, fit_intercept=False, tol=1e-12, max_iter=10**5).fit(inputs, targets).coef_
    found = model.weight.detach().numpy()[0]
    np.testing.assert_allclose(found, expected, atol=1e-8)
    assert np.array_equal(found == 0, expected == 0) and (expected == 0).any() and (expected != 0).any()


def test_no_unit_is_longer_than_the_limit() -> None:
    weights, _, _, moved, names = after(MaxNorm(limit=2.5))
    kinds = set()
    for name, w in weights.items():
        lengths = np.sqrt((w.reshape(len(w), -1) ** 2).sum(axis=1))
        if name not in names:
            assert np.array_equal(moved[name], w)
            continue
        kinds |= {bool(length > 2.5) for length in lengths}
        for row, before, length in zip(moved[name], w, lengths, strict=True):
            expected = before * 2.5 / length if length > 2.5 else before
            np.testing.assert_allclose(row, expected, rtol=1e-14)
    assert kinds == {True, False}
    zero = nn.Linear(2, 2)
    nn.init.zeros_(zero.weight)
    MaxNorm(limit=1).after_update(zero, 0, {})
    assert (zero.weight == 0).all()


def test_the_spectral_penalty_is_that_of_the_largest_singular_value() -> None:
    weights, gradients, changed, _, names = after(SpectralNorm(strength=0.3, num_iterations=2000))
    for name, gradient in gradients.items():
        expected = gradient
        if name in names:
            matrix = weights[name].reshape(len(weights[name]), -1)
            left, singular, right = np.linalg.svd(matrix, full_matrices=False)
            expected = gradient + 0.3 * (singular[0] * np.outer(left[:, 0], right[0])).reshape(gradient.shape)
        np.testing.assert_allclose(changed[name], expected, atol=1e-6)


def test_ten_iterations_are_near_the_largest_singular_value() -> None:
    torch.manual_seed(0)
    model = nn.Linear(200, 300, bias=False)
    model.weight.grad = torch.zeros_like(model.weight)
    penalty = SpectralNorm(strength=1.0)
    penalty.before_update(model, 0)
    # The added matrix is s u v^T, so its norm is the s of the iteration: never above the true one.
    largest = torch.linalg.svdvals(model.weight.detach())[0].item()
    assert 0.95 * largest < float(model.weight.grad.norm()) <= largest * (1 + 1e-5)


def test_a_spectral_penalty_shrinks_the_largest_value_alone() -> None:
    model = nn.Linear(4, 4, bias=False).double()
    nn.init.zeros_(model.weight)
    model.weight.data += torch.diag(torch.tensor([3.0, 2.0, 1.0, 0.5]).double())
    optimizer = SGD(learning_rate=0.1, momentum=0).build(model)
    model.weight.grad = torch.zeros_like(model.weight)
    SpectralNorm(strength=1.0, num_iterations=100).before_update(model, 0)
    optimizer.step()
    assert torch.allclose(model.weight.diag(), torch.tensor([2.7, 2.0, 1.0, 0.5]).double())


def test_noise_has_the_variance_of_the_paper_and_fades() -> None:
    model = nn.Linear(500, 400)
    for step in (0, 9, 999):
        model.weight.grad, model.bias.grad = torch.zeros(400, 500), torch.zeros(400)
        GradientNoise(eta=0.3).before_update(model, step)
        expected = (0.3 / (1 + step) ** 0.55) ** 0.5
        # 200,000 draws: the deviation of their deviation is 0.0016 of it, that of their mean 0.0022.
        assert float(model.weight.grad.std()) == pytest.approx(expected, rel=0.01)
        assert abs(float(model.weight.grad.mean())) < 0.012 * expected
        assert float(model.bias.grad.std()) == pytest.approx(expected, rel=0.2)


def test_noise_is_a_function_of_seed_step_and_name() -> None:
    def noise(seed: int, step: int, others: bool = True) -> torch.Tensor:
        model = nn.ModuleDict({"first": nn.Linear(3, 3), "second": nn.Linear(3, 3)})
        for name, parameter in model.named_parameters():
            if others or name == "second.weight":
                parameter.grad = torch.zeros_like(parameter)
        GradientNoise(seed=seed).before_update(model, step)
        gradient = model["second"].weight.grad
        assert gradient is not None
        return gradient

    first = noise(0, 5)
    assert torch.equal(first, noise(0, 5)) and torch.equal(first, noise(0, 5, others=False))
    assert not torch.equal(first, noise(1, 5))
    assert not torch.allclose(first / first.norm(), noise(0, 6) / noise(0, 6).norm())


def test_noise_does_not_disturb_other_draws() -> None:
    model = network()
    before = torch.get_rng_state()
    GradientNoise().before_update(model, 0)
    SpectralNorm().before_update(model, 0)
    assert torch.equal(torch.get_rng_state(), before)


def test_clipping_by_norm_keeps_the_direction() -> None:
    _, gradients, changed, _, _ = after(ClipNorm(limit=0.5))
    norm = np.sqrt(sum((g**2).sum() for g in gradients.values()))
    for name, gradient in gradients.items():
        np.testing.assert_allclose(changed[name], gradient * 0.5 / norm, rtol=1e-5)
    _, gradients, changed, _, _ = after(ClipNorm(limit=1e6))
    assert all(np.array_equal(changed[name], gradients[name]) for name in gradients)


def test_clipping_by_value_cuts_each_number() -> None:
    _, gradients, changed, _, _ = after(ClipValue(limit=0.5))
    for name, gradient in gradients.items():
        assert np.array_equal(changed[name], np.clip(gradient, -0.5, 0.5))


@pytest.mark.parametrize("regularizer", ALL, ids=lambda each: type(each).__name__)
def test_parameters_without_a_gradient_get_none(regularizer: Regularizer) -> None:
    model = network()
    for parameter in model.parameters():
        parameter.grad = None
    regularizer.before_update(model, 0)
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("regularizer", ALL, ids=lambda each: type(each).__name__)
def test_the_same_step_does_the_same(regularizer: Regularizer) -> None:
    first, second = (values(model) for model in _trained(regularizer))
    for one, other in zip(first, second, strict=True):
        assert all(np.array_equal(one[name], other[name]) for name in one)


def _trained(regularizer: Regularizer) -> list[nn.Module]:
    models = [network(), network()]
    for model in models:
        optimizer = SGD(learning_rate=0.1).build(model)
        for step in range(3):
            regularizer.before_update(model, step)
            optimizer.step()
            regularizer.after_update(model, step, dict.fromkeys(model.parameters(), 0.1))
    return models


def test_in_words() -> None:
    assert list(names_of(Regularization)) == [
        "l2", "l1", "proximal-l1", "max-norm", "spectral-norm", "gradient-noise", "clip-norm", "clip-value",
    ]  # fmt: skip
    made, _ = read_words("gradient-noise:eta=0.3", Regularization, "regularizer", given={"seed": 7})
    assert made == GradientNoise(eta=0.3, seed=7)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("l2", "l2 needs strength: write l2:strength="),
        ("l1:strength=-1", "l1: strength is -1.0; give a number above 0"),
        ("proximal-l1:strength=0", "proximal-l1: strength is 0.0; give a number above 0"),
        ("max-norm:limit=0", "max-norm: limit is 0.0; give a number above 0"),
        ("spectral-norm:num_iterations=0", "spectral-norm: num_iterations is 0; give a whole number above 0"),
        ("gradient-noise:decay=-1", "gradient-noise: decay is -1.0; give a number of at least 0"),
        ("clip-norm:limit=inf", "clip-norm: limit is inf; give a number above 0"),
        ("clip-value:limit=nan", "clip-value: limit is nan; give a number above 0"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(words: str, message: str) -> None:
    with pytest.raises(InputError) as refused:
        read_words(words, Regularization, "regularizer")
    assert message in str(refused.value) and "\n" not in str(refused.value)
