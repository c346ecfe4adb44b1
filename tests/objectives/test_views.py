"""Two views of a sequence: what is cropped and masked, how much of it, and that it belongs to the record alone."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from seqtrain.alphabet import PROTEIN
from seqtrain.batch import Batch
from seqtrain.draws import Draws
from seqtrain.objectives import SimCLR
from seqtrain.objectives.views import cropped, others_of_record
from tests.corpora import examples_of, proteins

MASK = PROTEIN.vocabulary.id("<mask>")


def views(texts: list[str], **fields: float) -> Batch:
    batch = examples_of(texts, num_views=2).batch(np.arange(len(texts)), np.zeros(len(texts), np.int64))
    return SimCLR(alphabet=PROTEIN, **fields).prepare(batch, Draws(batch.keys))  # type: ignore[arg-type]


def letters_of(batch: Batch) -> list[str]:
    """The letters of each view, special tokens left out."""
    parts = batch.letters.split(batch.lengths.tolist())
    return [bytes(part[part != 0].tolist()).decode() for part in parts]


def test_a_crop_is_one_stretch_between_the_special_tokens() -> None:
    texts = proteins([1, 2, 7, 60, 200])
    batch = views(texts, masked_fraction=0.0, crop_fraction=0.4)
    for index, letters in enumerate(letters_of(batch)):
        text = texts[index // 2]
        assert letters in text and len(letters) >= 0.4 * len(text)
        ids = batch.inputs[batch.boundaries[index] : batch.boundaries[index + 1]].tolist()
        expected = ["<cls>", *letters, "<eos>"]
        assert [PROTEIN.tokens[id] for id in ids] == expected


def test_lengths_and_places_of_crops_are_even() -> None:
    texts = ["ACDEFGHIKLMNPQRSTVWY"] * 3000
    crops = letters_of(views(texts, masked_fraction=0.0, crop_fraction=0.75))
    lengths = Counter(map(len, crops))
    assert set(lengths) == set(range(15, 21))
    assert chisquare(list(lengths.values())).pvalue > 0.001
    starts = Counter(crop[0] for crop in crops if len(crop) == 15)
    assert set(starts) == set("ACDEFG") and chisquare(list(starts.values())).pvalue > 0.001


def test_as_many_letters_are_masked_as_asked_for_and_nothing_else() -> None:
    texts = proteins([300] * 50)
    plain, batch = views(texts, masked_fraction=0.0, crop_fraction=1.0), views(texts, crop_fraction=1.0)
    masked = batch.inputs == MASK
    assert not masked[~batch.residues].any()
    share = float(masked[batch.residues].double().mean())
    assert abs(share - 0.15) < 4 * (0.15 * 0.85 / 30_000) ** 0.5
    assert torch.equal(batch.inputs[~masked], plain.inputs[~masked])
    first, second = (masked[batch.segments % 2 == side] for side in (0, 1))
    assert 0.6 < float((first != second).double().mean()) / (2 * 0.15 * 0.85) < 1.4, "views are masked apart"


def test_a_view_is_the_same_in_any_company() -> None:
    texts = proteins([30, 80, 55])
    examples = examples_of(texts, num_views=2)
    objective = SimCLR(alphabet=PROTEIN)

    def prepared(units: list[int]) -> list[list[int]]:
        batch = examples.batch(np.array(units), np.zeros(len(units), np.int64))
        batch = objective.prepare(batch, Draws(batch.keys))
        return [part.tolist() for part in batch.inputs.split(batch.lengths.tolist())]

    together = prepared([2, 0, 1])
    assert together[2:4] == prepared([0]) and together[:2] == prepared([2])
    assert together[0] != together[1]


def test_sequences_of_special_tokens_alone_pass() -> None:
    batch = examples_of(["A"], num_views=2).batch(np.zeros(1, np.int64), np.zeros(1, np.int64))
    empty = batch.__class__(**{**vars(batch), "letters": torch.zeros_like(batch.letters)})
    assert torch.equal(cropped(empty, Draws(empty.keys), 0.5).inputs, batch.inputs)


def test_windows_of_one_record_are_no_pairs_to_be_told_apart() -> None:
    examples = examples_of(["A" * 12, "C" * 8], window=10, num_views=2)
    batch = examples.batch(np.arange(3), np.zeros(3, np.int64))
    others = others_of_record(batch)
    assert others.nonzero().tolist() == [[0, 2], [0, 3], [1, 2], [1, 3], [2, 0], [2, 1], [3, 0], [3, 1]]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"masked_fraction": 1.0}, "masked_fraction is 1"),
        ({"crop_fraction": 0.0}, "crop_fraction is 0"),
        ({"crop_fraction": 1.5}, "crop_fraction is 1.5"),
        ({"projections": 1}, "projections is 1"),
        ({"temperature": 0.0}, "temperature is 0"),
        ({"temperature": float("nan")}, "temperature is nan"),
    ],
)
def test_what_cannot_be_is_refused(fields: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SimCLR(alphabet=PROTEIN, **fields)  # type: ignore[arg-type]
