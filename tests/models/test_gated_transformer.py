"""The gated transformer against its formula, and against itself alone, together, padded and at some positions only."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from seqtrain.errors import InputError
from seqtrain.models import attention
from seqtrain.models.attention import PaddedAttention, Rectangle
from seqtrain.models.gated_transformer import GATED_SIZES, GatedTransformer, GatedTransformerConfig
from tests.models.packs import LENGTHS, directional_error, draw_sequences, pack, shake

CONFIG = GatedTransformerConfig(width=48, depth=3, num_heads=4)


@pytest.fixture(scope="module")
def body() -> GatedTransformer:
    torch.manual_seed(0)
    return shake(CONFIG.build())


def _rotated(heads: Tensor) -> Tensor:
    """heads (L, H, d), pairs (i, i + d / 2) as complex numbers that turn by position / 10000^(2 i / d)."""
    half = heads.shape[2] // 2
    angles = torch.arange(len(heads))[:, None] / 10000 ** (torch.arange(half) / half)
    turned = torch.complex(heads[..., :half], heads[..., half:]) * torch.polar(torch.ones(()), angles)[:, None]
    return torch.cat((turned.real, turned.imag), dim=-1)


def _layer_of_formula(state: dict[str, Tensor], hidden: Tensor, divisor: float, num_heads: int) -> Tensor:
    """One layer on one sequence (L, D), written out position by position of the formula."""

    def normed(rows: Tensor, name: str) -> Tensor:
        centred = rows - rows.mean(-1, keepdim=True)
        scaled = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        return scaled * state[f"{name}.weight"] + state.get(f"{name}.bias", torch.zeros(()))

    def linear(rows: Tensor, name: str) -> Tensor:
        return rows @ state[f"{name}.weight"].T

    rows = normed(hidden, "attention_norm")
    query, key = (normed(linear(rows, name), f"{name}_norm").unflatten(1, (num_heads, -1)) for name in ("query", "key"))
    value = linear(rows, "value").unflatten(1, (num_heads, -1))
    scores = torch.einsum("qhd,khd->hqk", _rotated(query), _rotated(key)) / key.shape[2] ** 0.5
    attended = torch.einsum("hqk,khd->qhd", scores.softmax(-1), value).flatten(1)
    hidden = hidden + linear(attended, "attention_output") / divisor
    rows = normed(hidden, "feedforward_norm")
    gate = linear(rows, "gate")
    return hidden + linear(gate * torch.sigmoid(gate) * linear(rows, "expand"), "contract") / divisor


@torch.no_grad()
@pytest.mark.parametrize(("branch_scale", "divisor"), [(None, (3 / 36) ** 0.5), (0.5, 2.0)])
def test_layers_are_those_of_the_formula(branch_scale: float | None, divisor: float, body: GatedTransformer) -> None:
    weights = body.state_dict()
    body = dataclasses.replace(CONFIG, branch_scale=branch_scale).build().eval()
    body.load_state_dict(weights)
    batch = pack(draw_sequences())
    states = body.hidden_states(batch.inputs, batch.boundaries)
    assert len(states) == 4
    torch.testing.assert_close(states[0], body.embedding.weight[batch.inputs])
    for number, layer in enumerate(body.layers):
        for start, end in zip(batch.boundaries, batch.boundaries[1:], strict=False):
            expected = _layer_of_formula(layer.state_dict(), states[number][start:end], divisor, 4)
            if number == 2:
                expected = functional.layer_norm(expected, (48,), body.final_norm.weight)
            torch.testing.assert_close(states[number + 1][start:end], expected, atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(states[-1], body(batch.inputs, batch.boundaries), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("every", [1, 3, 17])
def test_decode_gives_the_rows_and_gradients_of_the_full_computation(body: GatedTransformer, every: int) -> None:
    batch = pack(draw_sequences())
    decode = torch.arange(every // 2, len(batch.inputs), every)
    weights = torch.randn(len(decode), 48, generator=torch.Generator().manual_seed(0))
    full = body(batch.inputs, batch.boundaries)[decode]
    some = body(batch.inputs, batch.boundaries, decode)
    torch.testing.assert_close(some, full, atol=2e-6, rtol=2e-6)
    expected = torch.autograd.grad((full * weights).sum(), list(body.parameters()))
    gradients = torch.autograd.grad((some * weights).sum(), list(body.parameters()))
    for gradient, reference in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient, reference, atol=1e-4, rtol=1e-4)


def test_decode_of_nothing_is_empty_and_has_gradients(body: GatedTransformer) -> None:
    batch = pack(draw_sequences())
    hidden = body(batch.inputs, batch.boundaries, torch.zeros(0, dtype=torch.int64))
    assert hidden.shape == (0, 48)
    hidden.sum().backward()
    body.zero_grad()


@torch.no_grad()
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-13)])
def test_a_sequence_does_not_depend_on_its_companions(
    body: GatedTransformer, dtype: torch.dtype, tolerance: float
) -> None:
    exact = copy.deepcopy(body).to(dtype)
    sequences = draw_sequences()
    batch = pack(sequences)
    together = torch.split(exact(batch.inputs, batch.boundaries), LENGTHS)
    backwards = pack(sequences[::-1])
    reordered = torch.split(exact(backwards.inputs, backwards.boundaries), LENGTHS[::-1])[::-1]
    for index, ids in enumerate(sequences):
        alone = exact(ids, torch.tensor([0, len(ids)]))
        torch.testing.assert_close(together[index], alone, atol=tolerance, rtol=tolerance)
        torch.testing.assert_close(reordered[index], alone, atol=tolerance, rtol=tolerance)


@torch.no_grad()
def test_a_padded_forward_pass_agrees_with_the_grouped_one(
    body: GatedTransformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = pack(draw_sequences())
    decode = torch.arange(0, len(batch.inputs), 5)
    expected = body(batch.inputs, batch.boundaries)

    def pad(lengths: Tensor, counts: Tensor, head_size: int, dtype: torch.dtype) -> PaddedAttention:
        return PaddedAttention(Rectangle.of(lengths), Rectangle.of(counts))

    monkeypatch.setattr(attention, "choose_attention", pad)
    torch.testing.assert_close(body(batch.inputs, batch.boundaries), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(body(batch.inputs, batch.boundaries, decode), expected[decode], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_bfloat16_stays_within_a_few_hundredths_of_the_spread_of_float32(body: GatedTransformer) -> None:
    batch = pack(draw_sequences())
    exact = body(batch.inputs, batch.boundaries)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = body(batch.inputs, batch.boundaries)
    assert (mixed - exact).square().mean().sqrt() < 0.03 * exact.std()


@torch.no_grad()
def test_norms_that_answer_in_float32_leave_attention_in_16_bits() -> None:
    body = GatedTransformerConfig(width=16, depth=1, num_heads=2).build().bfloat16()
    layer = body.layers[0]
    for norm in (layer.query_norm, layer.key_norm):  # as autocast has it on CUDA
        norm.register_forward_hook(lambda _, rows, normed: normed.float())
    angles = body.rotary(torch.arange(3), torch.bfloat16)
    projected = layer.project(torch.randn(3, 16).bfloat16(), angles, None)
    assert [rows.dtype for rows in projected] == 3 * [torch.bfloat16]


@pytest.mark.parametrize("every", [1, 4])
def test_gradient_is_that_of_a_finite_difference(every: int) -> None:
    torch.manual_seed(0)
    small = shake(GatedTransformerConfig(width=8, depth=2, num_heads=2).build().double()).train()
    batch = pack(draw_sequences([4, 9, 9, 6]))
    decode = None if every == 1 else torch.arange(1, len(batch.inputs), every)
    assert directional_error(small, lambda: small(batch.inputs, batch.boundaries, decode).pow(3).sum()) < 1e-6


def test_seed_decides_the_fresh_weights() -> None:
    states = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        states.append(CONFIG.build().state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not torch.equal(states[0]["embedding.weight"], states[2]["embedding.weight"])
    assert states[0]["layers.1.expand.weight"].std() == pytest.approx(0.02, rel=0.05)


def test_dropout_acts_in_training_only(body: GatedTransformer) -> None:
    batch = pack(draw_sequences([20, 20]))
    dropping = dataclasses.replace(CONFIG, dropout=0.5).build()
    dropping.load_state_dict(body.state_dict())
    expected = body(batch.inputs, batch.boundaries)
    torch.testing.assert_close(dropping.eval()(batch.inputs, batch.boundaries), expected, atol=0, rtol=0)
    assert not torch.allclose(dropping.train()(batch.inputs, batch.boundaries), expected, atol=0.1)


@pytest.mark.parametrize(
    ("size", "millions"),
    [
        ("100K", 0.109),
        ("300K", 0.34),
        ("1M", 1.0),
        ("8M", 7.9),
        ("35M", 33.3),
        ("150M", 149),
        ("300M", 332),
        ("6B", 6350),
    ],
)
def test_sizes_have_the_parameters_of_their_names(size: str, millions: float) -> None:
    with torch.device("meta"):
        built = GatedTransformerConfig(**GatedTransformerConfig.shape(size)).build()
    assert sum(parameter.numel() for parameter in built.parameters()) == pytest.approx(millions * 1e6, rel=0.05)


def test_feed_forward_widths_are_those_of_esm_c() -> None:
    # Of the published ESM C 300M, 600M and 6B; the last one is rounded to multiples of 256.
    widths = [GatedTransformerConfig(**GATED_SIZES[size]).inner_width for size in ("300M", "600M", "6B")]
    assert widths == [2560, 3072, 6912]


def test_shallow_sizes_take_branches_as_they_are() -> None:
    scales = {size: GatedTransformerConfig(**GatedTransformerConfig.shape(size)).added_scale for size in GATED_SIZES}
    assert [scales.pop(size) for size in ("600M", "6B")] == [1.0, pytest.approx((36 / 80) ** 0.5)]
    assert set(scales.values()) == {1.0}
    assert GatedTransformerConfig.shape("20M")["branch_scale"] == 1.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 50}, "width 50 does not give 4 heads of one even size; make it a multiple of 8"),
        ({"depth": 0}, "depth is 0"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"feedforward": 0}, "inner_width is 0"),
        ({"branch_scale": 0}, "added_scale is 0"),
        ({"vocabulary_size": 0}, "vocabulary_size is 0"),
    ],
)
def test_impossible_configs_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        dataclasses.replace(CONFIG, **changes)
