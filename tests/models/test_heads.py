"""Heads and pooling against a loop over sequences."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from seqtrain.errors import InputError
from seqtrain.models.aligned_head import AlignedHeadConfig
from seqtrain.models.heads import (
    LanguageModelHeadConfig,
    PooledHeadConfig,
    Pooling,
    PositionHeadConfig,
    SequenceHeadConfig,
)
from seqtrain.models.imprinted_head import ImprintedHeadConfig
from seqtrain.models.light_attention import LightAttentionHeadConfig
from tests.models.packs import LENGTHS, directional_error, draw_sequences, pack, shake

BATCH = pack(draw_sequences())


def _hidden(rows: int = sum(LENGTHS)) -> Tensor:
    return torch.randn(rows, 12, generator=torch.Generator().manual_seed(0))


SEQUENCE_HEADS: list[SequenceHeadConfig] = [
    *(PooledHeadConfig(outputs=3, pooling=pooling, dropout=0.0) for pooling in get_args(Pooling)),
    LightAttentionHeadConfig(outputs=3, kernel_size=5, dropout=0.0),
    AlignedHeadConfig(outputs=3, length=max(LENGTHS), dropout=0.0),
    ImprintedHeadConfig(outputs=3),
]


def _pieces(rows: Tensor) -> list[Tensor]:
    """The residues of each sequence, without the special token at either end."""
    return [piece[1:-1] for piece in torch.split(rows, LENGTHS)]


@torch.no_grad()
@pytest.mark.parametrize("pooling", get_args(Pooling))
def test_pooling_is_that_of_a_loop_over_the_residues(pooling: Pooling) -> None:
    torch.manual_seed(0)
    head = shake(PooledHeadConfig(outputs=3, pooling=pooling).build(12))
    hidden = _hidden() - 3  # negative: a maximum that includes zeros would show
    if head.attention is not None:
        head.attention.weight.mul_(100)  # a softmax that is nearly a choice, with scores in the hundreds
    pooled = head.pool(hidden, BATCH.segments, BATCH.residues, len(BATCH))
    for row, piece in zip(pooled, _pieces(hidden), strict=True):
        parts = {"mean": piece.mean(0), "max": piece.amax(0)}
        if head.attention is not None:
            parts["attention"] = (head.attention(piece).softmax(0) * piece).sum(0)
        names = ["mean", "attention", "max"] if pooling == "all" else [pooling]
        torch.testing.assert_close(row, torch.cat([parts[name] for name in names]), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_light_attention_is_that_of_a_loop_over_sequences() -> None:
    torch.manual_seed(0)
    head, hidden = shake(LightAttentionHeadConfig(outputs=3, kernel_size=7).build(12)), _hidden()
    logits = head(hidden, BATCH.segments, BATCH.residues, len(BATCH))
    for row, piece in zip(logits, _pieces(hidden), strict=True):
        features, scores = (
            functional.conv1d(piece.T[None], side.convolution.weight, side.convolution.bias, padding=3)[0].T
            for side in (head.features, head.scores)
        )
        pooled = torch.cat(((scores.softmax(0) * features).sum(0), features.amax(0)))
        expected = head.output(functional.gelu(head.dense(head.norm(pooled))))
        torch.testing.assert_close(row, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("config", SEQUENCE_HEADS, ids=str)
def test_no_residues_give_finite_numbers_and_gradients(config: SequenceHeadConfig) -> None:
    head, hidden = shake(config.build(12)), _hidden(4).requires_grad_()
    segments, residues = torch.tensor([0, 0, 1, 1]), torch.tensor([False, False, True, True])
    logits = head(hidden, segments, residues, 2)
    assert logits.isfinite().all()
    torch.autograd.backward(logits.sum())
    assert hidden.grad is not None and hidden.grad.isfinite().all()
    assert not hidden.grad[:2].any() and hidden.grad[2:].any()
    assert head(hidden, segments, torch.zeros_like(residues), 2).isfinite().all()


def test_pooling_sums_in_float32() -> None:
    rows = torch.tensor([1.0, 1.0, 2.0], dtype=torch.bfloat16).repeat(1001)[:, None].expand(-1, 2)
    segments, residues = torch.zeros(3003, dtype=torch.int64), torch.ones(3003, dtype=torch.bool)
    pooled = PooledHeadConfig(outputs=1).build(2).bfloat16().pool(rows, segments, residues, 1)
    torch.testing.assert_close(pooled, torch.tensor([[4 / 3, 4 / 3, 4 / 3, 4 / 3, 2.0, 2.0]]), atol=1e-6, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("config", SEQUENCE_HEADS, ids=str)
def test_sequence_head_sees_each_sequence_alone(config: SequenceHeadConfig) -> None:
    torch.manual_seed(0)
    head, hidden = shake(config.build(12)), _hidden()
    together = head(hidden, BATCH.segments, BATCH.residues, len(BATCH))
    assert together.shape == (len(LENGTHS), 3)
    for index, piece in enumerate(torch.split(hidden, LENGTHS)):
        residues = torch.tensor([False, *[True] * (len(piece) - 2), False])
        alone = head(piece, torch.zeros(len(piece), dtype=torch.int64), residues, 1)
        torch.testing.assert_close(alone[0], together[index], atol=2e-6, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("config", SEQUENCE_HEADS, ids=str)
def test_sequence_head_leaves_special_tokens_out(config: SequenceHeadConfig) -> None:
    torch.manual_seed(0)
    head, hidden = shake(config.build(12)), _hidden()
    expected = head(hidden, BATCH.segments, BATCH.residues, len(BATCH))
    hidden[~BATCH.residues] = 1e4
    assert torch.equal(head(hidden, BATCH.segments, BATCH.residues, len(BATCH)), expected)


@torch.no_grad()
@pytest.mark.parametrize("pooling", ["all", "attention"])
def test_learned_average_starts_as_the_plain_one(pooling: Pooling) -> None:
    head = PooledHeadConfig(outputs=2, pooling=pooling).build(12)
    pooled = head.pool(_hidden(), BATCH.segments, BATCH.residues, len(BATCH))
    plain = torch.stack([piece.mean(0) for piece in _pieces(_hidden())])
    torch.testing.assert_close(pooled[:, 12:24] if pooling == "all" else pooled, plain)


@pytest.mark.parametrize("config", SEQUENCE_HEADS, ids=str)
def test_sequence_head_gradient_is_that_of_a_finite_difference(config: SequenceHeadConfig) -> None:
    torch.manual_seed(0)
    head, hidden = shake(config.build(12).double()), _hidden().double()
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


@torch.no_grad()
def test_the_aligned_head_is_one_linear_layer_over_a_padded_rectangle() -> None:
    torch.manual_seed(0)
    config = AlignedHeadConfig(outputs=3, length=max(LENGTHS) + 4, channels=5, dropout=0.0)
    head, hidden = shake(config.build(12)), _hidden()
    logits = head(hidden, BATCH.segments, BATCH.residues, len(BATCH))
    for row, piece in zip(logits, _pieces(hidden), strict=True):
        channels = head.channels(head.norm(piece)).flatten()
        padded = torch.cat([channels, torch.zeros(config.length * 5 - len(channels))])
        expected = head.output(torch.nn.functional.gelu(head.dense(padded)))
        torch.testing.assert_close(row, expected, atol=1e-5, rtol=1e-5)


def test_the_aligned_head_knows_where_a_letter_stands() -> None:
    torch.manual_seed(0)
    head, hidden = shake(AlignedHeadConfig(outputs=3, length=max(LENGTHS)).build(12)).eval(), _hidden()
    swapped, first = hidden.clone(), int(BATCH.boundaries[1]) + 1
    swapped[[first, first + 1]] = hidden[[first + 1, first]]
    one, other = (head(rows, BATCH.segments, BATCH.residues, len(BATCH)) for rows in (hidden, swapped))
    assert (one[1] - other[1]).abs().max() > 1e-3
    torch.testing.assert_close(one[[0, *range(2, len(BATCH))]], other[[0, *range(2, len(BATCH))]])


def test_the_aligned_head_refuses_longer_sequences() -> None:
    head = AlignedHeadConfig(outputs=1, length=max(LENGTHS) - 3).build(12)
    with pytest.raises(InputError, match=f"has weights for {max(LENGTHS) - 3} positions"):
        head(_hidden(), BATCH.segments, BATCH.residues, len(BATCH))


@pytest.mark.parametrize("kind", [PooledHeadConfig, LightAttentionHeadConfig, PositionHeadConfig])
def test_impossible_configs_are_refused(kind: type[PooledHeadConfig]) -> None:
    with pytest.raises(InputError, match="outputs is 0"):
        kind(outputs=0)
    with pytest.raises(InputError, match="dropout is 2"):
        kind(outputs=1, dropout=2)
    with pytest.raises(InputError, match="vocabulary_size is 0"):
        LanguageModelHeadConfig(vocabulary_size=0)
    with pytest.raises(InputError, match="pooling is 'sum'; choose one of all, mean, max, attention"):
        PooledHeadConfig(outputs=1, pooling="sum")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="kernel_size 4 has no centre; make it odd"):
        LightAttentionHeadConfig(outputs=1, kernel_size=4)
