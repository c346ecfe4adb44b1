"""Each normalisation against torch's own, sequence by sequence where it works on sequences, or against a loop."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from seqtrain.models.normalization import BatchNorm, BatchRenorm, GroupNorm, Norm, normalization
from tests.models.packs import LENGTHS, shake

WIDTH, EPS = 48, 1e-3
SEGMENTS = torch.repeat_interleave(torch.arange(len(LENGTHS)), torch.tensor(LENGTHS))


def _rows(seed: int = 0, scale: float = 2.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(sum(LENGTHS), WIDTH, generator=generator, dtype=torch.float64) * scale + 0.7


@pytest.mark.parametrize("name", ["layer", "rms"])
def test_norms_of_rows_are_those_of_torch(name: Norm) -> None:
    norm = shake(normalization(name, WIDTH, EPS).double())
    peer = (nn.LayerNorm if name == "layer" else nn.RMSNorm)(WIDTH, eps=EPS).double()
    peer.load_state_dict(norm.state_dict())
    torch.testing.assert_close(norm(_rows(), SEGMENTS, len(LENGTHS)), peer(_rows()))


def test_batch_norm_is_that_of_torch_in_training_and_evaluation() -> None:
    norm, peer = shake(BatchNorm(WIDTH, EPS).double()).train(), nn.BatchNorm1d(WIDTH, eps=EPS).double()
    with torch.no_grad():
        peer.weight.copy_(norm.weight)
        peer.bias.copy_(norm.bias)
    for seed in range(5):
        rows = _rows(seed, 1 + seed)
        torch.testing.assert_close(norm(rows, SEGMENTS, len(LENGTHS)), peer(rows))
    norm.eval(), peer.eval()
    torch.testing.assert_close(norm(_rows(9), SEGMENTS, len(LENGTHS)), peer(_rows(9)))


def test_group_norm_is_that_of_torch_on_each_sequence_alone() -> None:
    norm = shake(GroupNorm(WIDTH, EPS).double())
    peer = nn.GroupNorm(2, WIDTH, eps=EPS).double()
    peer.load_state_dict(norm.state_dict())
    assert norm.num_groups == 2
    alone = [peer(piece.T[None])[0].T for piece in torch.split(_rows(), LENGTHS)]
    torch.testing.assert_close(norm(_rows(), SEGMENTS, len(LENGTHS)), torch.cat(alone))
    assert [GroupNorm(width, EPS).num_groups for width in (1024, 512, 160, 40, 15)] == [32, 32, 8, 2, 1]


def _renorm_by_hand(batches: list[Tensor], norm: BatchRenorm, first_step: int) -> np.ndarray:
    """Algorithm 1 of Ioffe 2017, feature by feature."""
    result = np.zeros((len(batches), *batches[0].shape))
    for feature in range(WIDTH):
        mu, sigma = 0.0, 1.0
        for step, batch in enumerate(batches, start=first_step):
            x = batch[:, feature].numpy()
            r_max = 1 + 2 * min(max((step - 5000) / 35_000, 0), 1)
            d_max = 5 * min(max((step - 5000) / 20_000, 0), 1)
            mean, deviation = x.mean(), np.sqrt(x.var() + EPS)
            r = np.clip(deviation / sigma, 1 / r_max, r_max)
            d = np.clip((mean - mu) / sigma, -d_max, d_max)
            normed = (x - mean) / deviation * r + d
            result[step - first_step, :, feature] = normed * float(norm.weight[feature]) + float(norm.bias[feature])
            mu, sigma = mu + 0.01 * (mean - mu), sigma + 0.01 * (deviation - sigma)
    return result


@torch.no_grad()
@pytest.mark.parametrize("first_step", [0, 4999, 12_345, 60_000])
def test_batch_renorm_is_the_algorithm_of_the_paper(first_step: int) -> None:
    norm = shake(BatchRenorm(WIDTH, EPS).double()).train()
    norm.num_steps.fill_(first_step)
    batches = [_rows(seed, scale) for seed, scale in enumerate((0.6, 2, 9, 0.1))]
    outputs = [norm(batch, SEGMENTS, len(LENGTHS)) for batch in batches]
    np.testing.assert_allclose(torch.stack(outputs).numpy(), _renorm_by_hand(batches, norm, first_step), rtol=1e-8)
    assert int(norm.num_steps) == first_step + 4


def test_batch_renorm_starts_as_batch_norm_and_its_corrections_have_no_gradient() -> None:
    renorm, batch = BatchRenorm(WIDTH, EPS).double(), BatchNorm(WIDTH, EPS).double()
    rows = _rows().requires_grad_()
    torch.testing.assert_close(renorm(rows, SEGMENTS, 10), batch(rows, SEGMENTS, 10))
    renorm.num_steps.fill_(100_000)
    renorm(rows, SEGMENTS, 10).pow(3).sum().backward()
    assert rows.grad is not None
    # Both the mean and the deviation are subtracted within the batch, so nothing is left along either direction.
    torch.testing.assert_close(rows.grad.sum(0), torch.zeros(WIDTH, dtype=torch.float64), atol=1e-9, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("name", get_args(Norm))
def test_in_evaluation_no_sequence_sees_another(name: Norm) -> None:
    norm = normalization(name, WIDTH, EPS).double()
    norm(_rows(1), SEGMENTS, len(LENGTHS))  # so that running statistics are not where they started
    shake(norm)
    before = {key: tensor.clone() for key, tensor in norm.state_dict().items()}
    together = torch.split(norm(_rows(), SEGMENTS, len(LENGTHS)), LENGTHS)
    for piece, expected in zip(torch.split(_rows(), LENGTHS), together, strict=True):
        alone = norm(piece, torch.zeros(len(piece), dtype=torch.int64), 1)
        torch.testing.assert_close(alone, expected)
    assert all(torch.equal(tensor, before[key]) for key, tensor in norm.state_dict().items())


@pytest.mark.parametrize("name", get_args(Norm))
def test_by_row_says_whether_other_rows_matter_in_training(name: Norm) -> None:
    norm = normalization(name, WIDTH, EPS).double()
    whole = norm(_rows(), SEGMENTS, len(LENGTHS))
    half = norm(_rows()[::2], SEGMENTS[::2], len(LENGTHS))
    assert torch.allclose(whole[::2], half) == norm.by_row


@pytest.mark.parametrize("name", ["batch", "batch-renorm", "group", "rms"])
@pytest.mark.filterwarnings("error")
def test_statistics_are_exact_in_bfloat16(name: Norm) -> None:
    norm = normalization(name, WIDTH, EPS)
    rows = (_rows() + 10).bfloat16()
    normed = norm(rows, SEGMENTS, len(LENGTHS))
    assert normed.dtype == torch.bfloat16
    expected = normalization(name, WIDTH, EPS)(rows.float(), SEGMENTS, len(LENGTHS))
    torch.testing.assert_close(normed.float(), expected, atol=0.02, rtol=0.01)


@pytest.mark.parametrize("kind", [BatchNorm, BatchRenorm])
def test_a_single_row_has_no_variance_and_takes_the_running_one(kind: type[BatchNorm | BatchRenorm]) -> None:
    norm = kind(WIDTH, EPS).double()
    one = _rows()[:1]
    torch.testing.assert_close(norm(one, SEGMENTS[:1], 1), norm.eval()(one, SEGMENTS[:1], 1))
