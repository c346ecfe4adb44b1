"""Counts of words against counting by hand, divergence against scipy."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon

from seqtrain.alphabet import ALPHABETS
from seqtrain.letters import PackedLetters
from seqtrain.texts import pack_texts
from seqtrain.word_composition import WordCounts, divergence
from tests.corpora import proteins


def test_words_are_counted_as_by_hand() -> None:
    texts = [*proteins([50, 3, 1, 80]), "MKVX" * 5]
    counted = WordCounts.of(PackedLetters.from_sequences([np.frombuffer(t.encode(), np.uint8) for t in texts]))
    letters = sorted({letter for text in texts for letter in text})
    assert counted.length == 2 and counted.num_letters == len(letters)
    ((rows, table),) = counted.blocks()
    assert rows.tolist() == [0, 1, 2, 3, 4]
    for row, text in zip(table, texts, strict=True):
        by_hand = Counter(text[i : i + 2] for i in range(len(text) - 1))
        assert {a + b: row[i * len(letters) + j] for i, a in enumerate(letters) for j, b in enumerate(letters)} == {
            a + b: by_hand[a + b] for a in letters for b in letters
        }


@pytest.mark.parametrize(
    ("name", "text", "length", "width"), [("dna", "ACGT" * 9, 4, 256), ("codon", "ATGGCTGAA" * 4, 4, 81)]
)
def test_words_are_longer_where_letters_are_few(name: str, text: str, length: int, width: int) -> None:
    counted = WordCounts.of(pack_texts(ALPHABETS[name], [text]))
    assert (counted.length, counted.width) == (length, width)


def test_blocks_together_are_everything() -> None:
    texts = proteins([5] * 5000, seed=2)
    counted = WordCounts.of(PackedLetters.from_sequences([np.frombuffer(t.encode(), np.uint8) for t in texts]))
    blocks = list(counted.blocks())
    assert [len(rows) for rows, _ in blocks] == [4096, 904]
    assert sum(table.sum() for _, table in blocks) == 4 * 5000


def test_divergence_is_that_of_scipy() -> None:
    rng = np.random.default_rng(0)
    for _ in range(10):
        one, other = rng.integers(0, 9, 40).astype(float), rng.integers(0, 9, 40).astype(float)
        assert divergence(one, other) == pytest.approx(jensenshannon(one, other, base=2) ** 2)
    assert divergence(np.array([1.0, 0]), np.array([0, 5.0])) == 1
    assert np.isnan(divergence(np.zeros(3), np.ones(3)))
