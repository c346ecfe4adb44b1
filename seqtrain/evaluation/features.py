"""Sequences as columns of numbers for the baselines: counts of k-mers, one-hot positions, one-hot windows.

Letters are those that make up at least one in 10,000 of the training letters; every other letter is a gap, which no
column stands for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqtrain.encode.kmers import sliding_words

Array = NDArray[Any]
_MIN_LETTER_FRACTION = 1e-4
_MAX_LETTERS = 64
_FEW_LETTERS = 8


@dataclass(frozen=True, kw_only=True)
class Packed:
    """N sequences as codes, end to end."""

    codes: NDArray[np.int64]
    """(T,) 0 to A - 1; A for a gap."""
    boundaries: NDArray[np.int64]
    """(N + 1,)."""

    def __len__(self) -> int:
        return len(self.boundaries) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(N,)."""
        return np.diff(self.boundaries)

    @property
    def segments(self) -> NDArray[np.int64]:
        """(T,) sequence of each position."""
        return np.repeat(np.arange(len(self)), self.lengths)


@dataclass(frozen=True, kw_only=True)
class Letters:
    """The A letters that have columns."""

    codes: NDArray[np.int64]
    """(256,) code of each upper-case byte; A for a gap."""
    count: int
    """A."""
    bytes: NDArray[np.uint8]
    """(A,) the byte of each code."""

    @classmethod
    def of(cls, sequences: Sequence[str]) -> Letters:
        """The letters of training sequences."""
        text = "".join(sequences).encode("latin-1", "replace").upper()
        counts = np.bincount(np.frombuffer(text, np.uint8), minlength=256)
        common = np.argsort(-counts, kind="stable")[:_MAX_LETTERS]
        letters = np.sort(common[counts[common] > counts.sum() * _MIN_LETTER_FRACTION])
        codes = np.full(256, len(letters), dtype=np.int64)
        codes[letters] = np.arange(len(letters))
        return cls(codes=codes, count=len(letters), bytes=letters.astype(np.uint8))

    @property
    def word_length(self) -> int:
        """Longest k-mer that is counted: 2 for amino acids, 4 for bases, a few hundred columns either way."""
        return 4 if self.count <= _FEW_LETTERS else 2

    def pack(self, sequences: Sequence[str]) -> Packed:
        """Codes of sequences, end to end."""
        text = "".join(sequences).encode("latin-1", "replace").upper()
        boundaries = np.zeros(len(sequences) + 1, dtype=np.int64)
        np.cumsum([len(sequence) for sequence in sequences], out=boundaries[1:])
        return Packed(codes=self.codes[np.frombuffer(text, np.uint8)], boundaries=boundaries)


def count_words(packed: Packed, letters: Letters) -> NDArray[np.float32]:
    """(N, A + A² + …) counts of each sequence's k-mers, k = 1 to the word length; those with a gap are skipped."""
    blocks = []
    digits = packed.codes.astype(np.uint8)
    for length in range(1, letters.word_length + 1):
        words, num_words = sliding_words(digits, packed.boundaries, length, letters.count)
        width = letters.count**length
        whole = words < width
        cells = np.repeat(np.arange(len(packed)), num_words)[whole] * width + words[whole]
        counts = np.bincount(cells, minlength=len(packed) * width)
        blocks.append(counts.reshape(len(packed), width).astype(np.float32))
    return np.concatenate(blocks, axis=1)


def inverse_document_frequency(counts: Array) -> NDArray[np.float32]:
    """(F,) ln((1 + N) / (1 + sequences with the word)) + 1, smoothed as in scikit-learn."""
    found = (counts > 0).sum(axis=0)
    weights: NDArray[np.float32] = (np.log((1 + len(counts)) / (1 + found)) + 1).astype(np.float32)
    return weights


def tf_idf(counts: Array, weights: Array) -> NDArray[np.float32]:
    """(N, F) weighted counts with rows of length 1; a row of zeros stays so."""
    weighted = counts * weights
    norms = np.linalg.norm(weighted, axis=1, keepdims=True)
    scaled: NDArray[np.float32] = (weighted / np.where(norms == 0, 1, norms)).astype(np.float32)
    return scaled


def aligned(packed: Packed, letters: Letters, width: int) -> NDArray[np.int64]:
    """(N, width) codes of the first positions, left-aligned; A for a gap and beyond the end of a sequence."""
    table = np.full((len(packed), width), letters.count)
    positions = np.arange(len(packed.codes)) - np.repeat(packed.boundaries[:-1], packed.lengths)
    kept = positions < width
    table[packed.segments[kept], positions[kept]] = packed.codes[kept]
    return table


def one_hot(packed: Packed, letters: Letters, width: int) -> Any:
    """(N, width × A) sparse matrix of the first ``width`` positions, left-aligned; what is missing is zeros."""
    positions = np.arange(len(packed.codes)) - np.repeat(packed.boundaries[:-1], packed.lengths)
    kept = (packed.codes < letters.count) & (positions < width)
    columns = positions[kept] * letters.count + packed.codes[kept]
    return _ones(packed.segments[kept], columns, (len(packed), width * letters.count))


def windows(packed: Packed, letters: Letters, positions: NDArray[np.int64], reach: int) -> Any:
    """(P, (2 reach + 1) × A) sparse one-hot windows around P positions; beyond the ends of a sequence are zeros."""
    codes = window_codes(packed, letters, positions, reach)
    rows, places = np.nonzero(codes < letters.count)
    columns = places * letters.count + codes[rows, places]
    return _ones(rows, columns, (len(positions), codes.shape[1] * letters.count))


def window_codes(packed: Packed, letters: Letters, positions: NDArray[np.int64], reach: int) -> NDArray[np.int64]:
    """(P, 2 reach + 1) codes of the letters around P positions; A for a gap and beyond the ends of a sequence."""
    segments = np.searchsorted(packed.boundaries, positions, side="right") - 1
    sites = positions[:, None] + np.arange(-reach, reach + 1)
    inside = (sites >= packed.boundaries[segments, None]) & (sites < packed.boundaries[segments + 1, None])
    return np.asarray(np.where(inside, packed.codes[np.where(inside, sites, 0)], letters.count))


def _ones(rows: Array, columns: Array, shape: tuple[int, int]) -> Any:
    """A sparse matrix of ones; rows must increase."""
    from scipy.sparse import csr_matrix

    starts = np.searchsorted(rows, np.arange(shape[0] + 1)).astype(np.int32)
    return csr_matrix((np.ones(len(columns), np.float32), columns.astype(np.int32), starts), shape=shape)
