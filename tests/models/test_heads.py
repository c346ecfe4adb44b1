"""Heads and pooling against a loop over sequences."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from seqtrain.errors import InputError
from seqtrain.models.heads import LanguageModelHeadConfig, PositionHeadConfig, SequenceHeadConfig, pool
from tests.models.packs import LENGTHS, directional_error, draw_sequences, pack, shake

BATCH = pack(draw_sequences())


def _hidden(rows: int = sum(LENGTHS)) -> Tensor:
    return torch.randn(rows, 12, generator=torch.Generator().manual_seed(0))


def test_pool_is_mean_weighted_mean_and_maximum_of_the_residues() -> None:
    hidden = _hidden() - 3  # negative: a maximum that includes zeros would show
    scores = 100 * torch.randn(len(hidden), 1, generator=torch.Generator().manual_seed(1))
    pooled = pool(hidden, scores, BATCH.segments, BATCH.residues, len(LENGTHS))
    start = 0
    for row, length in zip(pooled, LENGTHS, strict=True):
        piece, weight = hidden[start + 1 : start + length - 1], scores[start + 1 : start + length - 1]
        expected = (piece.mean(0), (weight.softmax(0) * piece).sum(0), piece.amax(0))
        torch.testing.assert_close(row, torch.cat(expected), atol=1e-5, rtol=1e-5)
        start += length


def test_pool_of_no_residues_is_zero_with_finite_gradients() -> None:
    hidden, scores = _hidden(4).requires_grad_(), torch.zeros(4, 1, requires_grad=True)
    pooled = pool(hidden, scores, torch.tensor([0, 0, 1, 1]), torch.tensor([False, False, True, True]), 2)
    assert not pooled[0].any()
    assert pooled[1].any()
    torch.autograd.backward(pooled.sum())
    assert hidden.grad is not None and hidden.grad.isfinite().all()
    assert not hidden.grad[:2].any()


def test_pool_sums_in_float32() -> None:
    hidden = torch.full((4096, 1), 1.0, dtype=torch.bfloat16)
    segments, residues = torch.zeros(4096, dtype=torch.int64), torch.ones(4096, dtype=torch.bool)
    assert pool(hidden, hidden, segments, residues, 1).tolist() == [[1.0, 1.0, 1.0]]


@torch.no_grad()
def test_sequence_head_sees_each_sequence_alone() -> None:
    torch.manual_seed(0)
    head, hidden = shake(SequenceHeadConfig(outputs=3).build(12)), _hidden()
    together = head(hidden, BATCH.segments, BATCH.residues, len(BATCH))
    assert together.shape == (len(LENGTHS), 3)
    for index, piece in enumerate(torch.split(hidden, LENGTHS)):
        residues = torch.tensor([False, *[True] * (len(piece) - 2), False])
        alone = head(piece, torch.zeros(len(piece), dtype=torch.int64), residues, 1)
        torch.testing.assert_close(alone[0], together[index], atol=1e-6, rtol=1e-6)


@torch.no_grad()
def test_sequence_head_leaves_special_tokens_out() -> None:
    torch.manual_seed(0)
    head, hidden = shake(SequenceHeadConfig(outputs=2).build(12)), _hidden()
    expected = head(hidden, BATCH.segments, BATCH.residues, len(BATCH))
    hidden[~BATCH.residues] = 1e4
    assert torch.equal(head(hidden, BATCH.segments, BATCH.residues, len(BATCH)), expected)


@torch.no_grad()
def test_learned_average_starts_as_the_plain_one() -> None:
    head = SequenceHeadConfig(outputs=2).build(12)
    pooled = pool(_hidden(), head.attention(_hidden()), BATCH.segments, BATCH.residues, len(BATCH))
    torch.testing.assert_close(pooled[:, :12], pooled[:, 12:24])


def test_sequence_head_gradient_is_that_of_a_finite_difference() -> None:
    torch.manual_seed(0)
    head, hidden = shake(SequenceHeadConfig(outputs=2).build(12).double()), _hidden().double()
    assert directional_error(head, lambda: head(hidden, BATCH.segments, BATCH.residues, len(BATCH)).pow(3).sum()) < 1e-6


@torch.no_grad()
def test_position_head_works_row_by_row() -> None:
    torch.manual_seed(0)
    head, hidden = shake(PositionHeadConfig(outputs=8).build(12)), _hidden()
    logits = head(hidden)
    assert logits.shape == (sum(LENGTHS), 8)
    torch.testing.assert_close(head(hidden[7:9]), logits[7:9], atol=1e-6, rtol=1e-6)


def test_language_model_head_lends_the_embedding() -> None:
    torch.manual_seed(0)
    head = shake(LanguageModelHeadConfig(vocabulary_size=20).build(12))
    assert "bias" in dict(head.named_parameters())
    embedding = torch.randn(20, 12, requires_grad=True)
    logits = head(_hidden(5), embedding)
    assert logits.shape == (5, 20)
    torch.autograd.backward(logits.sum())
    assert embedding.grad is not None and embedding.grad.any()


@pytest.mark.parametrize("kind", [SequenceHeadConfig, PositionHeadConfig])
def test_impossible_configs_are_refused(kind: type[SequenceHeadConfig]) -> None:
    with pytest.raises(InputError, match="outputs is 0"):
        kind(outputs=0)
    with pytest.raises(InputError, match="dropout is 2"):
        kind(outputs=1, dropout=2)
    with pytest.raises(InputError, match="vocabulary_size is 0"):
        LanguageModelHeadConfig(vocabulary_size=0)
