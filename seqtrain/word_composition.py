"""How often each short word of letters occurs in sequences, and how far two compositions lie apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seqtrain.encode.kmers import sliding_words
from seqtrain.letters import PackedLetters

_LEAST_FRACTION = 1e-4
_MAX_LETTERS = 64
_LENGTHS = ((8, 4), (32, 2))
"""(most letters, word length); 1 beyond: 256 words of bases, 400 of residues, 64 of codons."""
_ROWS = 4096


@dataclass(frozen=True, kw_only=True)
class WordCounts:
    """Counts of all words of one length in N sequences, in blocks of rows."""

    sequences: PackedLetters
    codes: NDArray[np.uint8]
    """(256,) 0 to A - 1 for the letters that words are made of, A for every other byte."""
    num_letters: int
    """A."""
    length: int

    @classmethod
    def of(cls, sequences: PackedLetters) -> WordCounts:
        """Words of the letters that make up at least one in 10,000, as long as their number stays at a few hundred."""
        counts = np.bincount(sequences.letters, minlength=256)
        common = np.argsort(-counts, kind="stable")[:_MAX_LETTERS]
        letters = np.sort(common[counts[common] > counts.sum() * _LEAST_FRACTION])
        codes = np.full(256, len(letters), dtype=np.uint8)
        codes[letters] = np.arange(len(letters))
        length = next((length for most, length in _LENGTHS if len(letters) <= most), 1)
        return cls(sequences=sequences, codes=codes, num_letters=len(letters), length=length)

    @property
    def width(self) -> int:
        """F, the number of words."""
        return int(self.num_letters**self.length)

    def blocks(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """(n,) sequences and (n, F) their counts."""
        boundaries = self.sequences.boundaries
        for start in range(0, len(self.sequences), _ROWS):
            rows = np.arange(start, min(start + _ROWS, len(self.sequences)))
            first, last = int(boundaries[start]), int(boundaries[rows[-1] + 1])
            digits = self.codes[self.sequences.letters[first:last]]
            own = boundaries[start : rows[-1] + 2] - first
            words, counts = sliding_words(digits, own, self.length, self.num_letters)
            whole = words < self.width
            cells = np.repeat(np.arange(len(rows)), counts)[whole] * self.width + words[whole]
            table = np.bincount(cells, minlength=len(rows) * self.width).reshape(len(rows), self.width)
            yield rows, table.astype(np.float32)


def divergence(counts: NDArray[np.float64], others: NDArray[np.float64]) -> float:
    """Jensen-Shannon divergence of two distributions (F,), given as counts, in bits (Lin 1991); nan without counts."""
    if not counts.sum() or not others.sum():
        return float("nan")
    p, q = counts / counts.sum(), others / others.sum()
    middle = (p + q) / 2

    def relative(one: NDArray[np.float64]) -> float:
        there = one > 0
        return float((one[there] * np.log2(one[there] / middle[there])).sum())

    return max(0.0, (relative(p) + relative(q)) / 2)
