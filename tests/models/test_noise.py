"""Noise against what its papers say: expectations over many draws, runs position by position, gradients by factor."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from seqtrain.errors import InputError
from seqtrain.models.noise import (
    BranchNoise,
    DropConnectLinear,
    FeatureNoise,
    Noise,
    ShakeShake,
    drop_block,
    linear,
    shake_factors,
)

LENGTHS = [3, 40, 1, 7, 25, 60]
SEGMENTS = torch.repeat_interleave(torch.arange(len(LENGTHS)), torch.tensor(LENGTHS))


@dataclass(frozen=True, kw_only=True)
class _Config(Noise):
    """What configs with noise are: a class with these fields."""


def _mean_of_draws(noise: BranchNoise, rows: Tensor, draws: int = 2000) -> Tensor:
    torch.manual_seed(0)
    return sum((noise(rows, SEGMENTS, len(LENGTHS)) for _ in range(draws)), torch.zeros(())) / draws


@pytest.mark.parametrize("kind", ["dropout", "stochastic_depth", "shake_drop"])
def test_the_expectation_is_what_it_would_be_without(kind: str) -> None:
    rows = 1 + torch.rand(len(SEGMENTS), 3)
    mean = _mean_of_draws(BranchNoise(_Config(**{kind: 0.4}), 2, 3), rows)
    torch.testing.assert_close(mean, rows, atol=0.2, rtol=0)
    assert float((mean - rows).mean().abs()) < 0.03


def test_drop_block_keeps_the_mean_of_each_sequence_and_drops_its_share() -> None:
    torch.manual_seed(0)
    lengths = torch.tensor([200, 500])
    segments = torch.repeat_interleave(torch.arange(2), lengths)
    factors = drop_block(segments, 2, 400, share=0.1, block_size=7)
    means = torch.stack([piece.mean() for piece in torch.split(factors, [200, 500])])
    torch.testing.assert_close(means, torch.ones(2), atol=1e-5, rtol=0)
    # Runs overlap, so that slightly less than the share is dropped: 1 - (1 - gamma)^7 of the positions inside.
    for piece, length in zip(torch.split(factors, [200, 500]), (200, 500), strict=True):
        gamma = 0.1 / 7 * length / (length - 6)
        inside = (piece[6:-6] == 0).float().mean()
        assert float(inside) == pytest.approx(1 - (1 - gamma) ** 7, rel=0.05)


def test_drop_block_drops_whole_runs_and_never_across_sequences() -> None:
    torch.manual_seed(0)
    factors = drop_block(SEGMENTS, len(LENGTHS), 300, share=0.3, block_size=7)
    runs: dict[int, set[int]] = {length: set() for length in LENGTHS}
    for piece, length in zip(torch.split(factors, LENGTHS), LENGTHS, strict=True):
        for feature in piece.T.tolist():
            marks = "".join("x" if value == 0 else " " for value in feature)
            runs[length] |= {len(run) for run in marks.split()}
    for length, found in runs.items():
        assert found and min(found) == min(length, 7), "a run is whole, or a shorter sequence is dropped whole"


def test_stochastic_depth_drops_whole_sequences_more_often_the_deeper_the_block() -> None:
    torch.manual_seed(0)
    config, rows = _Config(stochastic_depth=0.6), torch.ones(len(SEGMENTS), 2)
    for index in range(3):
        noise = BranchNoise(config, index, 3)
        dropped = 0
        kept = 1 - 0.6 * (index + 1) / 3
        for _ in range(400):
            for piece in torch.split(noise(rows, SEGMENTS, len(LENGTHS)), LENGTHS):
                assert (piece == piece[0, 0]).all()
                value = float(piece[0, 0])
                assert value == 0 or value == pytest.approx(1 / kept)
                dropped += value == 0
        assert dropped / (400 * len(LENGTHS)) == pytest.approx(1 - kept, abs=0.04)


def test_shake_drop_has_the_coefficients_of_the_paper() -> None:
    torch.manual_seed(0)
    front, back = shake_factors(100_000, 0.5, torch.zeros((), dtype=torch.float64))
    front, back = front * 0.5, back * 0.5  # what the paper multiplies by in evaluation, we divide by in training
    whole = back == 1
    assert float(whole.double().mean()) == pytest.approx(0.5, abs=0.01)
    assert (front[whole] == 1).all()
    alpha, beta = front[~whole], back[~whole]
    assert -1 <= float(alpha.min()) < -0.99 < 0.99 < float(alpha.max()) <= 1
    assert 0 <= float(beta.min()) < 0.01 < 0.99 < float(beta.max()) <= 1
    assert abs(float(torch.corrcoef(torch.stack((alpha, beta)))[0, 1])) < 0.02


def test_shake_drop_multiplies_values_and_gradients_by_different_factors() -> None:
    rows = torch.rand(len(SEGMENTS), 2, dtype=torch.float64).requires_grad_()
    torch.manual_seed(5)
    noisy = BranchNoise(_Config(shake_drop=0.9), 0, 1)(rows, SEGMENTS, len(LENGTHS))
    noisy.sum().backward()
    torch.manual_seed(5)
    front, back = shake_factors(len(LENGTHS), 0.9, rows)
    torch.testing.assert_close(noisy, rows * front[SEGMENTS])
    torch.testing.assert_close(rows.grad, back[SEGMENTS].expand(-1, 2))
    assert not torch.allclose(front, back)


def test_shake_shake_mixes_values_and_gradients_by_different_shares_of_each_sequence() -> None:
    torch.manual_seed(0)
    count = 20_000
    segments = torch.arange(count).repeat_interleave(2)
    first = torch.ones(2 * count, 1, dtype=torch.float64, requires_grad=True)
    second = torch.zeros(2 * count, 1, dtype=torch.float64, requires_grad=True)
    value = ShakeShake()(first, second, segments, count)
    value.sum().backward()
    # What is left of a branch of ones, the other one being 0, is its share; so is the gradient of the sum.
    assert first.grad is not None and second.grad is not None
    front, back = value.detach()[:, 0], first.grad[:, 0]
    torch.testing.assert_close(second.grad[:, 0], 1 - back)
    for share in (front, back):
        assert torch.equal(share[::2], share[1::2])
        deciles = torch.histc(share[::2].float(), bins=10, min=0, max=1) / count
        torch.testing.assert_close(deciles, torch.full((10,), 0.1), atol=0.01, rtol=0)
    assert abs(float(torch.corrcoef(torch.stack((front, back)))[0, 1])) < 0.03
    assert torch.equal(ShakeShake().eval()(first, second, segments, count), (first + second) / 2)


def test_shake_shake_takes_the_same_draws_at_decoded_positions() -> None:
    first, second, decode = torch.rand(len(SEGMENTS), 4), torch.rand(len(SEGMENTS), 4), torch.arange(0, 99, 3)
    torch.manual_seed(1)
    whole = ShakeShake()(first, second, SEGMENTS, len(LENGTHS))
    torch.manual_seed(1)
    chosen = ShakeShake()(first[decode], second[decode], SEGMENTS, len(LENGTHS), decode)
    torch.testing.assert_close(chosen, whole[decode])


def test_with_decode_the_same_draws_are_taken_at_these_positions() -> None:
    config = _Config(drop_block=0.2, stochastic_depth=0.3, shake_drop=0.3)
    rows, decode = torch.rand(len(SEGMENTS), 4), torch.arange(0, len(SEGMENTS), 3)
    noise = BranchNoise(config, 0, 2)
    torch.manual_seed(1)
    whole = noise(rows, SEGMENTS, len(LENGTHS))
    torch.manual_seed(1)
    torch.testing.assert_close(noise(rows[decode], SEGMENTS, len(LENGTHS), decode), whole[decode])


def test_drop_connect_drops_weights_and_keeps_their_expectation() -> None:
    torch.manual_seed(0)
    layer = linear(30, 40, 0.25)
    assert isinstance(layer, DropConnectLinear)
    weights = [layer(torch.eye(30)) - layer.bias for _ in range(500)]
    shares = torch.stack([(weight == 0).float().mean() for weight in weights])
    assert float(shares.mean()) == pytest.approx(0.25, abs=0.01)
    torch.testing.assert_close(torch.stack(weights).mean(0), layer.weight.T, atol=0.03, rtol=0)
    assert type(linear(30, 40, 0.0)) is torch.nn.Linear


def test_feature_noise_is_relative_to_each_position() -> None:
    torch.manual_seed(0)
    rows = torch.randn(4, 50_000) * torch.tensor([[0.0], [0.02], [1.0], [30.0]])
    added = FeatureNoise(0.1)(rows) - rows
    torch.testing.assert_close(added.std(dim=1), 0.1 * rows.square().mean(dim=1).sqrt(), rtol=0.02, atol=0)


def test_nothing_happens_in_evaluation() -> None:
    everything = _Config(dropout=0.5, drop_block=0.5, stochastic_depth=0.5, shake_drop=0.5)
    rows = torch.rand(len(SEGMENTS), 4)
    assert torch.equal(BranchNoise(everything, 0, 1).eval()(rows, SEGMENTS, len(LENGTHS)), rows)
    assert torch.equal(FeatureNoise(0.5).eval()(rows), rows)
    layer = linear(4, 4, 0.5).eval()
    assert torch.equal(layer(rows), torch.nn.functional.linear(rows, layer.weight, layer.bias))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"drop_block": 1.0}, "drop_block is 1.0"),
        ({"block_size": 0}, "block_size is 0"),
        ({"shake_drop": -0.5}, "shake_drop is -0.5"),
        ({"feature_noise": -1.0}, "feature_noise is -1.0; give a number of at least 0"),
    ],
)
def test_impossible_noise_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(_Config(), **changes).require_noise()
