"""Mutation count and BLOSUM62 of variants, against Biopython by hand; and the sign of their effect is learnt."""

from __future__ import annotations

import numpy as np
import pytest
from Bio.Align import substitution_matrices

from seqtrain.evaluation.baselines import sequence_baselines
from seqtrain.evaluation.features import Letters
from seqtrain.evaluation.metrics import spearman
from seqtrain.evaluation.variant_baselines import BLOSUM, COUNT, mutation_numbers, variants_of

WILD_TYPE = "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQACDEFGHNPW"
LETTERS = list("ACDEFGHIKLMNPQRSTVWY")


def variants(count: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        letters = list(WILD_TYPE)
        for place in rng.choice(len(letters), int(rng.integers(0, 7)), replace=False):
            letters[place] = str(rng.choice(LETTERS))
        found.append("".join(letters))
    return found


def test_numbers_are_those_of_biopython() -> None:
    matrix = substitution_matrices.load("BLOSUM62")
    sequences = variants(80, 0)
    letters = Letters.of(sequences)
    tables = variants_of(sequences[:60], sequences[60:], letters)
    assert tables is not None
    numbers = mutation_numbers(tables[0], tables[1], letters)
    changed = [[(w, m) for w, m in zip(WILD_TYPE, s, strict=True) if w != m] for s in sequences[60:]]
    assert numbers[COUNT][:, 0].tolist() == [len(pairs) for pairs in changed]
    assert numbers[BLOSUM][:, 0].tolist() == [sum(matrix[w][m] for w, m in pairs) for pairs in changed]


def test_a_lost_end_counts_and_strangers_are_no_variants() -> None:
    sequences = variants(40, 1)
    letters = Letters.of(sequences)
    tables = variants_of(sequences, [WILD_TYPE[:-2], WILD_TYPE + "AA", WILD_TYPE], letters)
    assert tables is not None
    assert mutation_numbers(tables[0], tables[1], letters)[COUNT][:, 0].tolist() == [2, 0, 0]
    rng = np.random.default_rng(2)
    strangers = ["".join(rng.choice(LETTERS, 40)) for _ in range(40)]
    assert variants_of(strangers, strangers, Letters.of(strangers)) is None
    assert variants_of(sequences[:30], sequences[30:] + strangers, letters) is None
    assert variants_of([WILD_TYPE] * 5, [WILD_TYPE], Letters.of([WILD_TYPE])) is None


@pytest.mark.parametrize("sign", [1, -1])
def test_the_sign_is_learnt(sign: int) -> None:
    sequences = variants(300, 3)
    numbers = np.array([sum(a != b for a, b in zip(s, WILD_TYPE, strict=True)) for s in sequences])
    values = sign * numbers + 0.5 * np.random.default_rng(4).normal(size=300)
    found = {
        each.name: each.predictions
        for each in sequence_baselines(sequences[:200], values[:200], sequences[200:], kind="regression", seed=0)
    }
    count = found["mutation count linear regression"]
    assert spearman(values[200:], count) > 0.9
    assert np.corrcoef(count, numbers[200:])[0, 1] == pytest.approx(sign)
    assert "BLOSUM62 of the mutations linear regression" in found


def test_classes_get_probabilities_and_bases_no_blosum() -> None:
    rng = np.random.default_rng(5)
    wild = "ACGTTGCAACGTAGCTAGCTAACGT"
    sequences = []
    for _ in range(120):
        letters = list(wild)
        for place in rng.choice(len(wild), int(rng.integers(0, 4)), replace=False):
            letters[place] = str(rng.choice(list("ACGT")))
        sequences.append("".join(letters))
    classes = np.array([sum(a != b for a, b in zip(s, wild, strict=True)) > 1 for s in sequences]).astype(int)
    found = sequence_baselines(sequences[:80], classes[:80], sequences[80:], kind="classification", seed=0)
    named = {each.name: each.predictions for each in found}
    assert not any("BLOSUM62" in name for name in named)
    predicted = named["mutation count logistic regression"]
    assert predicted.sum(axis=1) == pytest.approx(1)
    assert (predicted.argmax(axis=1) == classes[80:]).mean() > 0.95
