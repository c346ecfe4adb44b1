"""An exact share of letters is taken away, the body computes the rest only, and knows where they stand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor
from torch.nn import functional

from seqtrain.alphabet import PROTEIN
from seqtrain.batch import Batch
from seqtrain.draws import Draws
from seqtrain.models.cnn import CNNConfig
from seqtrain.models.decoder_head import DecoderHeadConfig
from seqtrain.models.encoder import RotaryEncoder
from seqtrain.models.gated_transformer import GatedTransformerConfig
from seqtrain.models.network import build
from seqtrain.models.transformer import TransformerConfig
from seqtrain.objectives import MaskedAutoencoder
from tests.corpora import RESIDUES, examples_of, proteins
from tests.models.packs import shake

BODIES = [TransformerConfig(width=32, depth=3, num_heads=4), GatedTransformerConfig(width=32, depth=3, num_heads=4)]
LENGTHS = [30, 1, 90, 200, 7, 7, 61]


def batch_of(texts: list[str]) -> Batch:
    return examples_of(texts).batch(np.arange(len(texts)), np.zeros(len(texts), int))


def prepared(batch: Batch, fraction: float = 0.6) -> Batch:
    return MaskedAutoencoder(PROTEIN, fraction).prepare(batch, Draws(batch.keys))


@pytest.mark.parametrize("fraction", [0.25, 0.6, 0.75])
def test_every_sequence_loses_its_exact_share(fraction: float) -> None:
    texts = proteins([1, 2, 3, 10, 41, 300] * 300)
    batch = prepared(batch_of(texts), fraction)
    assert batch.decode is not None
    lost = np.bincount(batch.segments[batch.decode].numpy(), minlength=len(texts))
    exact = fraction * np.array([len(text) for text in texts])
    assert ((lost == np.floor(exact)) | (lost == np.ceil(exact))).all()
    assert (lost - exact).mean() == pytest.approx(0, abs=0.05)


def test_every_place_is_taken_away_equally_often_and_odd_letters_stay() -> None:
    batch = prepared(batch_of(["X" + RESIDUES + "B"] * 2000), 0.5)
    assert batch.decode is not None
    counts = np.bincount(batch.positions[batch.decode].numpy(), minlength=24)
    assert counts[[0, 1, 22, 23]].sum() == 0
    assert chisquare(counts[2:22]).pvalue > 1e-3


def test_the_choice_does_not_depend_on_batch_mates() -> None:
    examples = examples_of(proteins(LENGTHS))

    def lost(units: list[int]) -> dict[int, list[int]]:
        batch = prepared(examples.batch(np.array(units), np.zeros(len(units), int)))
        assert batch.decode is not None
        owners, places = batch.segments[batch.decode], batch.positions[batch.decode]
        return {unit: places[owners == row].tolist() for row, unit in enumerate(units)}

    whole = lost(list(range(len(LENGTHS))))
    assert lost(list(reversed(range(len(LENGTHS))))) == whole
    assert {k: v for unit in whole for k, v in lost([unit]).items()} == whole


@torch.no_grad()
@pytest.mark.parametrize("body", BODIES, ids=lambda body: type(body).__name__)
def test_no_output_depends_on_what_was_taken_away(body: TransformerConfig) -> None:
    torch.manual_seed(0)
    network = shake(build(body, DecoderHeadConfig(width=16, num_heads=2)))
    batch = prepared(batch_of(proteins(LENGTHS)))
    assert batch.decode is not None
    logits = network(batch)
    assert logits.shape == (len(batch.decode), 33)
    others = batch.inputs.clone()
    others[batch.decode] = torch.randint(4, 24, (len(batch.decode),))
    assert torch.equal(network(replace(batch, inputs=others)), logits)
    seen = torch.ones(len(others), dtype=torch.bool)
    seen[batch.decode] = False
    others[seen.nonzero()[3]] = 20
    assert not torch.equal(network(replace(batch, inputs=others)), logits)


@torch.no_grad()
@pytest.mark.parametrize("body", BODIES, ids=lambda body: type(body).__name__)
def test_kept_positions_are_computed_as_if_attention_to_the_others_were_forbidden(body: TransformerConfig) -> None:
    torch.manual_seed(0)
    encoder = shake(body.build())
    batch = batch_of(proteins(LENGTHS))
    kept = (torch.rand(len(batch.inputs)) < 0.4).index_fill(0, batch.boundaries[:-1], True).nonzero().squeeze(1)
    found = encoder.forward_kept(batch.inputs, batch.boundaries, kept)
    expected = _with_forbidden_keys(encoder, batch, kept)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    everything = torch.arange(len(batch.inputs))
    whole = encoder(batch.inputs, batch.boundaries)
    torch.testing.assert_close(encoder.forward_kept(batch.inputs, batch.boundaries, everything), whole)


def _with_forbidden_keys(encoder: RotaryEncoder, batch: Batch, kept: Tensor) -> Tensor:
    """Hidden states at kept, each sequence computed whole, in which nobody looks at any position that is not kept."""
    seen = torch.zeros(len(batch.inputs), dtype=torch.bool)
    seen[kept] = True
    rows = []
    for first, last in zip(batch.boundaries[:-1].tolist(), batch.boundaries[1:].tolist(), strict=True):
        inputs, mask = batch.inputs[first:last], seen[first:last]

        def attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor = mask) -> Tensor:
            sides = (side.transpose(0, 1) for side in (query, key, value))
            attended = functional.scaled_dot_product_attention(
                *sides, attn_mask=mask[None, None].expand(1, len(mask), -1)
            )
            return attended.transpose(0, 1)

        hidden, angles = encoder.start(inputs, encoder.plan(torch.tensor([0, last - first])))
        for layer in encoder.layers:
            hidden = layer(hidden, angles, attention, None)
        rows.append(encoder.final_norm(hidden)[mask])
    return torch.cat(rows)


@torch.no_grad()
def test_the_place_of_a_letter_counts() -> None:
    torch.manual_seed(0)
    encoder = shake(BODIES[0].build())
    inputs = torch.tensor([0, 5, 6, 7, 8, 9, 2])
    near = encoder.forward_kept(inputs, torch.tensor([0, 7]), torch.tensor([0, 1, 2, 6]))
    far = encoder.forward_kept(inputs[[0, 1, 3, 4, 5, 2, 6]], torch.tensor([0, 7]), torch.tensor([0, 1, 5, 6]))
    assert (near - far).abs().max() > 1e-3


@torch.no_grad()
@pytest.mark.parametrize("body", BODIES, ids=lambda body: type(body).__name__)
def test_outputs_of_a_sequence_do_not_depend_on_its_companions(body: TransformerConfig) -> None:
    torch.manual_seed(0)
    network = shake(build(body, DecoderHeadConfig(width=16, num_heads=2, depth=2)))
    examples = examples_of(proteins(LENGTHS))

    def logits(units: list[int]) -> Tensor:
        return network(prepared(examples.batch(np.array(units), np.zeros(len(units), int))))

    together = logits(list(range(len(LENGTHS))))
    alone = torch.cat([logits([unit]) for unit in range(len(LENGTHS))])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_gradients_reach_every_parameter() -> None:
    torch.manual_seed(0)
    network = shake(build(BODIES[0], DecoderHeadConfig(width=16, num_heads=2))).train()
    objective, batch = MaskedAutoencoder(PROTEIN), batch_of(proteins([60, 80]))
    ready = objective.prepare(batch, Draws(batch.keys))
    score = objective.score(network(ready), ready)
    score.loss.backward()
    assert float(score.count) == len(ready.decode)  # type: ignore[arg-type]
    for name, parameter in network.named_parameters():
        if not name.endswith("key.bias"):
            assert parameter.grad is not None and parameter.grad.any(), name


def test_other_bodies_are_refused() -> None:
    with pytest.raises(ValueError, match="only the two transformers can do without"):
        build(CNNConfig(width=16, depth=1), DecoderHeadConfig())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"masked_fraction": 0}, "masked_fraction is 0; give a fraction"),
        ({"decoder_depth": 0}, "decoder_depth is 0; give a whole number"),
        ({"decoder_width": 7}, "decoder_width is 7; give an even number"),
    ],
)
def test_wrong_fields_are_refused(fields: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MaskedAutoencoder(PROTEIN, **fields)
