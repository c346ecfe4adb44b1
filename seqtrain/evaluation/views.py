"""Ways for a baseline to see a sequence as a row of numbers: its words, or its letters by position."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from seqtrain.evaluation.features import Letters, count_words, inverse_document_frequency, one_hot, tf_idf

Array = NDArray[Any]
_MAX_LENGTH_DIFFERENCE = 0.2
_MAX_ONE_HOT_LENGTH = 1_000


@dataclass(frozen=True, kw_only=True)
class View:
    """One way to see a sequence as a row of numbers."""

    name: str
    stored: int
    """Features per row that are not zero."""
    dense: bool
    inverse_strength: float
    """Of a logistic regression on it."""
    prepare: Callable[[Sequence[str]], Callable[[Sequence[str]], Any]]
    """Training sequences -> (sequences -> features)."""


def views_of(sequences: Sequence[str], test_sequences: Sequence[str]) -> list[View]:
    """The views that suit these sequences: words, and positions where all have about one length."""
    letters = Letters.of(sequences)
    lengths = [len(sequence) for sequence in (*sequences, *test_sequences)]
    width = max(lengths)
    if width - min(lengths) > width * _MAX_LENGTH_DIFFERENCE or width > _MAX_ONE_HOT_LENGTH:
        return [words_view(letters)]

    def prepare(train: Sequence[str]) -> Callable[[Sequence[str]], Any]:
        return lambda some: one_hot(letters.pack(some), letters, width)

    return [
        words_view(letters),
        View(name="one-hot", stored=width, dense=False, inverse_strength=1.0, prepare=prepare),
    ]


def words_view(letters: Letters) -> View:
    """Counts of k-mers, weighted by TF-IDF."""

    def prepare(train: Sequence[str]) -> Callable[[Sequence[str]], Any]:
        weights = inverse_document_frequency(count_words(letters.pack(train), letters))
        return lambda some: tf_idf(count_words(letters.pack(some), letters), weights)

    longest = letters.word_length
    return View(
        name=f"k-mer (1 to {longest})",
        stored=sum(letters.count**length for length in range(1, longest + 1)),
        dense=True,
        inverse_strength=10.0,
        prepare=prepare,
    )
