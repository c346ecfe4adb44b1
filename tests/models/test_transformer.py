"""The transformer against transformers' EsmForMaskedLM, and against itself alone, together and padded."""

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
from seqtrain.models.attention import (
    GroupedAttention,
    Packing,
    PaddedAttention,
    Rectangle,
    VariableLengthAttention,
    attend,
    choose_attention,
)
from seqtrain.models.heads import LanguageModelHeadConfig
from seqtrain.models.network import Network
from seqtrain.models.pretrained import load_esm, start_network
from seqtrain.models.rotary import Rotary
from seqtrain.models.transformer import SIZES, Transformer, TransformerConfig
from tests.models.packs import LENGTHS, directional_error, draw_sequences, pack, shake

CONFIG = TransformerConfig(width=48, depth=3, num_heads=4)


@pytest.fixture(scope="module")
def body() -> Transformer:
    torch.manual_seed(0)
    return shake(CONFIG.build())


@pytest.fixture(scope="module")
def ours(peer: Any, tmp_path_factory: pytest.TempPathFactory) -> Network:
    """The weights of the peer, by way of its own save_pretrained."""
    folder = tmp_path_factory.mktemp("peer")
    peer.save_pretrained(folder)
    loaded = load_esm(folder)
    assert loaded.lm_head_state is not None
    return start_network(loaded, LanguageModelHeadConfig()).eval()


@torch.no_grad()
def test_agrees_with_transformers(peer: Any, ours: Network) -> None:
    sequences = draw_sequences()
    batch = pack(sequences)
    ids = torch.nn.utils.rnn.pad_sequence(sequences, batch_first=True, padding_value=1)
    theirs = peer(input_ids=ids, attention_mask=(ids != 1).long(), output_hidden_states=True)
    real = ids != 1
    assert (batch.inputs == 32).any()
    torch.testing.assert_close(ours(batch), theirs.logits[real], atol=1e-4, rtol=0)
    states = ours.body.hidden_states(batch.inputs, batch.boundaries)
    assert len(states) == len(theirs.hidden_states) == 4
    for state, reference in zip(states, theirs.hidden_states, strict=True):
        torch.testing.assert_close(state, reference[real], atol=1e-4, rtol=0)


@torch.no_grad()
def test_agrees_with_transformers_without_token_dropout(peer: Any, ours: Network) -> None:
    ids = draw_sequences([40])[0]
    assert isinstance(ours.body, Transformer)
    plain = dataclasses.replace(ours.body.config, token_dropout=False).build().eval()
    plain.load_state_dict(ours.body.state_dict())
    peer.esm.embeddings.token_dropout = False
    try:
        reference = peer.esm(ids[None]).last_hidden_state[0]
    finally:
        peer.esm.embeddings.token_dropout = True
    batch = pack([ids])
    torch.testing.assert_close(plain(batch.inputs, batch.boundaries), reference, atol=1e-4, rtol=0)
    assert not torch.allclose(ours.body(batch.inputs, batch.boundaries), reference, atol=1e-2)


@torch.no_grad()
def test_a_sequence_of_masks_is_finite(body: Transformer) -> None:
    assert body(torch.full((3,), 32), torch.tensor([0, 3])).isfinite().all()


@pytest.mark.parametrize("every", [1, 3, 17])
def test_decode_gives_the_rows_and_gradients_of_the_full_computation(body: Transformer, every: int) -> None:
    batch = pack(draw_sequences())
    decode = torch.arange(every // 2, len(batch.inputs), every)
    weights = torch.randn(len(decode), 48, generator=torch.Generator().manual_seed(0))
    full = body(batch.inputs, batch.boundaries)[decode]
    some = body(batch.inputs, batch.boundaries, decode)
    torch.testing.assert_close(some, full, atol=1e-6, rtol=1e-6)
    expected = torch.autograd.grad((full * weights).sum(), list(body.parameters()))
    gradients = torch.autograd.grad((some * weights).sum(), list(body.parameters()))
    for gradient, reference in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient, reference, atol=1e-4, rtol=1e-4)


def test_decode_of_nothing_is_empty_and_has_gradients(body: Transformer) -> None:
    batch = pack(draw_sequences())
    hidden = body(batch.inputs, batch.boundaries, torch.zeros(0, dtype=torch.int64))
    assert hidden.shape == (0, 48)
    hidden.sum().backward()
    body.zero_grad()


@torch.no_grad()
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-14)])
def test_a_sequence_does_not_depend_on_its_companions(body: Transformer, dtype: torch.dtype, tolerance: float) -> None:
    exact = copy.deepcopy(body).to(dtype)
    sequences = draw_sequences()
    batch = pack(sequences)
    together = torch.split(exact(batch.inputs, batch.boundaries), LENGTHS)
    shuffled = torch.randperm(len(LENGTHS), generator=torch.Generator().manual_seed(0)).tolist()
    other = pack([sequences[index] for index in shuffled])
    reordered = torch.split(exact(other.inputs, other.boundaries), [LENGTHS[index] for index in shuffled])
    for index, ids in enumerate(sequences):
        alone = exact(ids, torch.tensor([0, len(ids)]))
        torch.testing.assert_close(together[index], alone, atol=tolerance, rtol=tolerance)
        torch.testing.assert_close(reordered[shuffled.index(index)], alone, atol=tolerance, rtol=tolerance)


def test_sequences_of_one_length_are_taken_together() -> None:
    batch = pack(draw_sequences())
    packing = Packing.of(batch.boundaries, None, 12, torch.float32)
    assert isinstance(packing.attention, GroupedAttention)
    assert [(group.length, group.count) for group in packing.attention.groups] == [
        (3, 1), (5, 1), (9, 3), (30, 3), (64, 1), (101, 1),
    ]  # fmt: skip
    assert packing.order is not None
    assert packing.restore is not None
    torch.testing.assert_close(packing.order[packing.restore], torch.arange(sum(LENGTHS)))
    torch.testing.assert_close(packing.positions, batch.positions[packing.order])


def test_sorted_sequences_stay_where_they_are() -> None:
    packing = Packing.of(torch.tensor([0, 3, 7, 11]), None, 12, torch.float32)
    assert packing.order is None
    assert packing.restore is None


def _heads(rows: int, seed: int) -> Tensor:
    return torch.randn(rows, 4, 12, generator=torch.Generator().manual_seed(seed))


def _flash(query: Tensor, key: Tensor, value: Tensor, query_cuts: Tensor, key_cuts: Tensor, *longest: int) -> Tensor:
    """What torch's variable-length attention computes, one sequence at a time."""
    assert query_cuts.dtype == key_cuts.dtype == torch.int32
    assert longest == (int(query_cuts.diff().max()), int(key_cuts.diff().max()))
    answers = []
    for b in range(len(key_cuts) - 1):
        q = query[query_cuts[b] : query_cuts[b + 1]].transpose(0, 1)
        k, v = (side[key_cuts[b] : key_cuts[b + 1]].transpose(0, 1) for side in (key, value))
        answers.append(functional.softmax(q @ k.transpose(1, 2) / 12**0.5, dim=-1).matmul(v).transpose(0, 1))
    return torch.cat(answers)


@pytest.mark.parametrize("counts", [LENGTHS, [1, 0, 7, 2, 50, 7, 3, 0, 4, 9]])
def test_the_three_ways_to_attend_agree(counts: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    lengths, queries = torch.tensor(LENGTHS), torch.tensor(counts)
    query, key, value = _heads(sum(counts), 0), _heads(sum(LENGTHS), 1), _heads(sum(LENGTHS), 2)
    monkeypatch.setattr(attention, "variable_length_kernel", lambda: _flash)
    flash = VariableLengthAttention(
        attention._boundaries(lengths), attention._boundaries(queries), max(LENGTHS), max(counts)
    )
    expected = flash(query, key, value)
    padded = PaddedAttention(Rectangle.of(lengths), Rectangle.of(queries))
    grouped = choose_attention(lengths, queries, 12, torch.float32)
    assert isinstance(grouped, GroupedAttention)
    torch.testing.assert_close(grouped(query, key, value), expected, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(padded(query, key, value), expected, atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_a_padded_forward_pass_agrees_with_the_grouped_one(body: Transformer, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = pack(draw_sequences())
    decode = torch.arange(0, len(batch.inputs), 5)
    expected = body(batch.inputs, batch.boundaries)

    def pad(lengths: Tensor, counts: Tensor, head_size: int, dtype: torch.dtype) -> PaddedAttention:
        return PaddedAttention(Rectangle.of(lengths), Rectangle.of(counts))

    monkeypatch.setattr(attention, "choose_attention", pad)
    torch.testing.assert_close(body(batch.inputs, batch.boundaries), expected, atol=2e-6, rtol=1e-6)
    torch.testing.assert_close(body(batch.inputs, batch.boundaries, decode), expected[decode], atol=2e-6, rtol=1e-6)


@pytest.mark.parametrize("scores", [1, 5_000, 10**9])
def test_attention_by_matrix_products_agrees_with_the_fused_kernel(
    scores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "MATMUL_SCORES", scores)
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(5, 4, 20, 12, generator=generator) for _ in range(3))
    fused = attend(query, key, value)
    monkeypatch.setattr(attention, "MATMUL_LONGEST", {torch.float32: 20})
    torch.testing.assert_close(attend(query, key, value), fused, atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_bfloat16_stays_within_a_hundredth_of_the_spread_of_float32(body: Transformer) -> None:
    batch = pack(draw_sequences())
    exact = body(batch.inputs, batch.boundaries)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = body(batch.inputs, batch.boundaries)
    assert (mixed - exact).square().mean().sqrt() < 0.01 * exact.std()
    alone = draw_sequences()[4]
    with torch.autocast("cpu", torch.bfloat16):
        single = body(alone, torch.tensor([0, len(alone)]))
    start = int(batch.boundaries[4])
    assert (single - mixed[start : start + len(alone)]).abs().max() < 0.1


def test_conversion_to_bfloat16_keeps_the_frequencies() -> None:
    rotary = Rotary(64)
    assert torch.equal(rotary.to(torch.bfloat16).inv_freq, Rotary(64).inv_freq)


@pytest.mark.parametrize("every", [1, 4])
def test_gradient_is_that_of_a_finite_difference(every: int) -> None:
    torch.manual_seed(0)
    small = shake(TransformerConfig(width=8, depth=2, num_heads=2).build().double()).train()
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
    assert not states[0]["layers.1.expand.bias"].any()


def test_dropout_acts_in_training_only(body: Transformer) -> None:
    batch = pack(draw_sequences([20, 20]))
    dropping = dataclasses.replace(CONFIG, dropout=0.5).build()
    dropping.load_state_dict(body.state_dict())
    torch.testing.assert_close(
        dropping.eval()(batch.inputs, batch.boundaries), body(batch.inputs, batch.boundaries), atol=0, rtol=0
    )
    assert not torch.allclose(
        dropping.train()(batch.inputs, batch.boundaries), body(batch.inputs, batch.boundaries), atol=0.1
    )


@pytest.mark.parametrize(
    ("size", "millions"),
    [("100K", 0.1), ("300K", 0.34), ("1M", 1.0), ("3M", 3.1), ("8M", 7.4), ("35M", 33.3), ("150M", 148), ("650M", 651)],
)
def test_sizes_have_the_parameters_of_their_names(size: str, millions: float) -> None:
    with torch.device("meta"):
        built = SIZES[size].build()
    assert sum(parameter.numel() for parameter in built.parameters()) == pytest.approx(millions * 1e6, rel=0.03)


def test_named_size_takes_another_vocabulary() -> None:
    config = TransformerConfig.of_size("8M", vocabulary_size=20, mask_id=19, dropout=0.1)
    assert (config.width, config.depth, config.num_heads) == (320, 6, 20)
    assert (config.vocabulary_size, config.mask_id, config.dropout) == (20, 19, 0.1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 50}, "width 50 does not give 4 heads of one even size; make it a multiple of 8"),
        ({"width": 36}, "even size"),
        ({"depth": 0}, "depth is 0"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"mask_id": 33}, "mask_id 33 is not below vocabulary_size 33"),
        ({"feedforward": 0}, "inner_width is 0"),
        ({"layer_norm_eps": 0}, "layer_norm_eps is 0"),
        ({"width": True}, "width is True"),
    ],
)
def test_impossible_configs_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        dataclasses.replace(CONFIG, **changes)


def test_unknown_size_lists_the_choices() -> None:
    with pytest.raises(InputError, match=r"'huge'; choose one of 100K, .*3B, or any number of parameters, such as 20M"):
        TransformerConfig.of_size("huge")
