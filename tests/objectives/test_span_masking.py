"""Spans of clipped geometric lengths, the right share of letters at any length, masks that belong to their record."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from seqtrain.alphabet import PROTEIN
from seqtrain.batch import Batch
from seqtrain.draws import Draws
from seqtrain.objectives import MaskedLM, SpanMasking
from tests.corpora import RESIDUES, examples_of, proteins

MASK = PROTEIN.vocabulary.id("<mask>")


def batch_of(texts: list[str], epoch: int = 0) -> Batch:
    return examples_of(texts).batch(np.arange(len(texts)), np.full(len(texts), epoch))


def prepared(batch: Batch, **fields: float) -> Batch:
    return SpanMasking(PROTEIN, **fields).prepare(batch, Draws(batch.keys))  # type: ignore[arg-type]


def lengths_of_spans(texts: list[str], **fields: float) -> np.ndarray:
    """Letters of every span in a batch."""
    batch = batch_of(texts)
    decode, spans = SpanMasking(PROTEIN, **fields).choose(batch, Draws(batch.keys))  # type: ignore[arg-type]
    return np.unique(torch.stack([batch.segments[decode], spans]).numpy(), axis=1, return_counts=True)[1]


def law(longest: int, p: float = 0.2) -> np.ndarray:
    chances = p * (1 - p) ** np.arange(longest)
    return np.asarray(chances / chances.sum())


@pytest.mark.parametrize(("length", "longest"), [(300, 10), (60, 10), (6, 6)])
def test_lengths_of_spans_follow_the_clipped_geometric_law(length: int, longest: int) -> None:
    found = lengths_of_spans(proteins([length] * (60_000 // length)))
    counts = np.bincount(found, minlength=longest + 1)[1:]
    assert len(counts) == longest
    assert chisquare(counts, law(longest) * counts.sum()).pvalue > 1e-3


def test_the_mean_length_is_that_of_the_paper() -> None:
    assert (law(10) * np.arange(1, 11)).sum() == pytest.approx(3.8, abs=0.01)
    assert lengths_of_spans(proteins([300] * 200)).mean() == pytest.approx(3.8, abs=0.1)


@pytest.mark.parametrize("fraction", [0.15, 0.4])
@pytest.mark.parametrize("length", [1, 5, 12, 40, 300])
def test_the_share_of_hidden_letters_is_right_at_any_length(length: int, fraction: float) -> None:
    count = 60_000 // length if length > 4 else 20_000
    batch = prepared(batch_of(["A" * length] * count), masked_fraction=fraction)
    assert batch.decode is not None
    # The spans of a sequence vary together: its letters are no independent draws.
    per_sequence = np.bincount(batch.segments[batch.decode].numpy(), minlength=count) / length
    assert per_sequence.max() <= 1
    assert abs(per_sequence.mean() - fraction) < 4 * per_sequence.std() / np.sqrt(count) + 0.003


def test_spans_are_stretches_and_stand_everywhere() -> None:
    batch = prepared(batch_of([RESIDUES * 2] * 3000))
    assert batch.decode is not None
    counts = np.bincount(batch.positions[batch.decode].numpy(), minlength=42)[1:41]
    inner = counts[10:30]
    assert inner.std() < 4 * np.sqrt(inner.mean())
    neighbours = (batch.decode.diff() == 1).double().mean()
    assert neighbours > 0.6, "hidden letters have hidden neighbours"


def test_a_span_has_one_fate() -> None:
    batch = batch_of(["A" * 400] * 200)
    objective = SpanMasking(PROTEIN)
    decode, spans = objective.choose(batch, Draws(batch.keys))
    shown = objective.prepare(batch, Draws(batch.keys)).inputs[decode]
    own = PROTEIN.vocabulary.id("A")
    owner = batch.segments[decode] * 1000 + spans
    masked, kept, total = 0, 0, 0
    for span in owner.unique():
        inside = shown[owner == span]
        assert len({(letter == MASK) for letter in inside.tolist()}) == 1
        total, masked = total + 1, masked + int(inside[0] == MASK)
        kept += int((inside == own).all())
    assert masked / total == pytest.approx(0.8, abs=4 * np.sqrt(0.16 / total))
    assert kept / total == pytest.approx(0.11, abs=4 * np.sqrt(0.1 / total) + 0.02)


def test_odd_letters_are_stepped_over() -> None:
    batch = batch_of(["XB" + text + "U*" + text for text in proteins([9] * 50)])
    decode = prepared(batch, masked_fraction=0.6).decode
    assert decode is not None and len(decode) > 100
    assert {chr(letter) for letter in batch.letters[decode].tolist()} <= set(RESIDUES)


def test_masks_do_not_depend_on_batch_mates_and_change_with_the_epoch() -> None:
    examples = examples_of(proteins([30, 90, 200, 7, 61]))

    def inputs_of(units: np.ndarray, epoch: int = 0) -> dict[int, list[int]]:
        made = prepared(examples.batch(units, np.full(len(units), epoch)), masked_fraction=0.3)
        return {
            int(u): part.tolist()
            for u, part in zip(units, made.inputs.tensor_split(made.boundaries[1:-1]), strict=True)
        }

    together = inputs_of(np.arange(5))
    assert inputs_of(np.arange(5)[::-1].copy()) == together
    assert {k: v for unit in range(5) for k, v in inputs_of(np.array([unit])).items()} == together
    assert inputs_of(np.arange(5), 1) != together


def test_held_out_letters_are_hidden_one_by_one() -> None:
    assert SpanMasking(PROTEIN, 0.4).at_evaluation() == MaskedLM(PROTEIN)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"masked_fraction": 1.5}, "masked_fraction is 1.5; give a fraction"),
        ({"end_chance": 0}, "end_chance is 0; give a chance above 0"),
        ({"longest": 0}, "longest is 0; give a whole number"),
        ({"mask_share": 0.9, "random_share": 0.2}, "mask_share 0.9 and random_share 0.2 are no shares"),
    ],
)
def test_wrong_fields_are_refused(fields: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SpanMasking(PROTEIN, **fields)  # type: ignore[arg-type]
