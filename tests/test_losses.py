"""Losses agree with torch and scikit-learn in float64, skip what is not scored, and add up over any cut."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from seqtrain.losses import BinaryCrossEntropy, CrossEntropy, Loss, MeanSquaredError

LOSSES: list[Loss] = [CrossEntropy(), BinaryCrossEntropy(), MeanSquaredError()]
N, K = 40, 5


def case(loss: Loss, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """(N, K) logits, targets with some not to be scored, (N,) weights; all in float64."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(N, K, generator=generator, dtype=torch.float64)
    weights = torch.rand(N, generator=generator, dtype=torch.float64)
    if isinstance(loss, CrossEntropy):
        targets = torch.randint(0, K, (N,), generator=generator)
        targets[::7] = -100
        return logits, targets, weights
    targets = torch.randn(N, K, generator=generator, dtype=torch.float64)
    if isinstance(loss, BinaryCrossEntropy):
        targets = (targets > 0).double()
    targets[torch.rand(N, K, generator=generator) < 0.2] = torch.nan
    return logits, targets, weights


def by_hand(loss: Loss, logits: Tensor, targets: Tensor, weights: Tensor) -> tuple[float, float]:
    """One element after the other."""
    total = count = 0.0
    for row in range(len(logits)):
        for column in range(1 if targets.ndim == 1 else logits.shape[1]):
            if isinstance(loss, CrossEntropy):
                if targets[row] == -100:
                    continue
                value = float(torch.logsumexp(logits[row], 0) - logits[row, targets[row]])
            else:
                z, y = float(logits[row, column]), float(targets[row, column])
                if np.isnan(y):
                    continue
                value = (z - y) ** 2 if isinstance(loss, MeanSquaredError) else np.log1p(np.exp(z)) - y * z
            total += float(weights[row]) * value
            count += float(weights[row])
    return total, count


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
@pytest.mark.parametrize("weighted", [False, True])
def test_agrees_with_a_sum_by_hand(loss: Loss, weighted: bool) -> None:
    logits, targets, weights = case(loss)
    value, count = loss(logits, targets, weights if weighted else None)
    expected = by_hand(loss, logits, targets, weights if weighted else torch.ones(N))
    assert value.dtype == torch.float64
    assert (float(value), float(count)) == pytest.approx(expected, rel=1e-12)


def test_agrees_with_torch() -> None:
    logits, targets, _ = case(CrossEntropy())
    value, count = CrossEntropy()(logits, targets)
    assert float(value / count) == pytest.approx(float(F.cross_entropy(logits, targets)), rel=1e-12)
    logits, targets, _ = case(BinaryCrossEntropy())
    value, count = BinaryCrossEntropy()(logits, targets)
    known = ~targets.isnan()
    expected = F.binary_cross_entropy(logits[known].sigmoid(), targets[known])
    assert float(value / count) == pytest.approx(float(expected), rel=1e-10)


def test_agrees_with_scikit_learn() -> None:
    from sklearn.metrics import log_loss, mean_squared_error

    logits, targets, weights = case(CrossEntropy())
    value, count = CrossEntropy()(logits, targets, weights)
    known = targets != -100
    expected = log_loss(targets[known], logits[known].softmax(1), sample_weight=weights[known], labels=list(range(K)))
    assert float(value / count) == pytest.approx(expected, rel=1e-10)
    logits, targets, weights = case(MeanSquaredError())
    targets = targets.nan_to_num(0.5)
    value, count = MeanSquaredError()(logits, targets, weights)
    assert float(value / count) == pytest.approx(mean_squared_error(targets, logits, sample_weight=weights), rel=1e-12)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_what_is_not_scored_adds_nothing_and_gets_no_gradient(loss: Loss) -> None:
    logits, targets, weights = case(loss)
    ignored = targets == -100 if targets.ndim == 1 else targets.isnan()
    value, count = loss(logits, targets, weights)
    elsewhere = torch.where(ignored.reshape(N, -1), logits + 100, logits)
    same, same_count = loss(elsewhere, targets, weights)
    assert (float(value), float(count)) == (float(same), float(same_count))
    leaf = logits.clone().requires_grad_()
    loss(leaf, targets, weights)[0].backward()
    assert leaf.grad is not None and leaf.grad.isfinite().all()
    assert (leaf.grad[ignored] == 0).all() and (leaf.grad[~ignored] != 0).all()


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_nothing_to_score_is_zero_of_zero(loss: Loss) -> None:
    logits, targets, weights = case(loss)
    nothing = torch.full_like(targets, -100 if targets.ndim == 1 else torch.nan)
    value, count = loss(logits.requires_grad_(), nothing, weights)
    value.backward()
    assert value.item() == 0 and count.item() == 0
    assert logits.grad is not None and (logits.grad == 0).all()


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_sums_over_any_cut_add_up(loss: Loss) -> None:
    logits, targets, weights = case(loss)
    whole = loss(logits, targets, weights)
    cuts = [slice(0, 1), slice(1, 13), slice(13, 13), slice(13, N)]
    parts = [loss(logits[cut], targets[cut], weights[cut]) for cut in cuts]
    for i in range(2):
        assert float(sum(part[i] for part in parts)) == pytest.approx(float(whole[i]), rel=1e-12)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_gradients_agree_with_finite_differences(loss: Loss) -> None:
    logits, targets, weights = case(loss)
    assert torch.autograd.gradcheck(lambda z: loss(z, targets[:8], weights[:8])[0], logits[:8].requires_grad_())


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_sixteen_bit_logits_are_summed_in_thirty_two(loss: Loss) -> None:
    logits, targets, _ = case(loss)
    short = logits.bfloat16()
    value, _ = loss(short, targets.float() if targets.is_floating_point() else targets)
    exact, _ = loss(short.double(), targets)
    assert value.dtype == torch.float32
    assert float(value) == pytest.approx(float(exact), rel=1e-5)


def test_extreme_logits_stay_finite() -> None:
    extreme = torch.tensor([[1e4, -1e4]])
    assert float(CrossEntropy()(extreme, torch.tensor([1]))[0]) == pytest.approx(2e4)
    assert float(BinaryCrossEntropy()(extreme, torch.tensor([[0.0, 1.0]]))[0]) == pytest.approx(2e4)
