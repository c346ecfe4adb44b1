"""Variants of one sequence: how many letters lie between each and the nearest of others, counted without alignment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqtrain.letters import PackedLetters

_LEAST_SHARE = 0.9
"""Of the sequences, those of the commonest length; and of those, the ones that resemble the wild type."""
_MOST_DIFFERENT = 0.1
"""Of the letters of a variant."""
_SHORTEST = 20
_LEAST_SEQUENCES = 10
_ROWS = 256
_GAP = 0


@dataclass(frozen=True)
class _Mutations:
    """How n variants differ from the wild type of L letters."""

    where: NDArray[np.int64]
    """(m,) the variant of each mutation."""
    places: NDArray[np.int64]
    """(m,) where it is: in the wild type, or behind its L letters a place for each that may be inserted somewhere."""
    kinds: NDArray[np.int64]
    """(m,) the place with the new letter, as one number."""
    counts: NDArray[np.int64]
    """(n,) letters that differ."""


def common_wild_type(sequences: PackedLetters) -> NDArray[np.uint8] | None:
    """(L,) the commonest letter at each position, if nearly all sequences are variants of it, else None.

    Asked are nine tenths of one length, of at least 20 letters, and nine tenths of those within a tenth of the letters.
    """
    if len(sequences) < _LEAST_SEQUENCES:
        return None
    lengths, counts = np.unique(sequences.lengths, return_counts=True)
    length = int(lengths[counts.argmax()])
    if length < _SHORTEST or counts.max() < _LEAST_SHARE * len(sequences):
        return None
    rows = sequences.selected(np.flatnonzero(sequences.lengths == length))[0].letters.reshape(-1, length)
    wild_type = np.array([np.bincount(column, minlength=256).argmax() for column in rows.T], dtype=np.uint8)
    near = (rows != wild_type).mean(axis=1) <= _MOST_DIFFERENT
    return wild_type if near.mean() >= _LEAST_SHARE else None


def nearest_variants(
    sequences: PackedLetters,
    queries: NDArray[np.int64],
    targets: NDArray[np.int64],
    wild_type: NDArray[np.uint8],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The target that differs from each query in the fewest letters; the first of several.

    One that is shorter or longer than the wild type is laid along it with one gap where that fits best, and each letter
    that it lacks or has on top counts as one that differs.

    Args:
        queries: (M,) sequences to look at.
        targets: (T,) sequences to compare them with.
        wild_type: (L,) whose length those that are compared have, give or take a tenth.

    Returns:
        (M,) letters that differ, and (M,) places among the targets; -1 for other lengths, or where no target has it.
    """
    distance, place = np.full(len(queries), -1, dtype=np.int64), np.full(len(queries), -1, dtype=np.int64)
    asked, known = (_comparable(sequences, indices, len(wild_type)) for indices in (queries, targets))
    if not len(asked) or not len(known):
        return distance, place
    # d(a, b) = |a| + |b| - (positions mutated in both) - (mutations in both): the work is that of the mutations.
    there = _mutations(sequences, targets[known], wild_type)
    numbers = np.unique(there.places), np.unique(there.kinds)
    targets_by_place, targets_by_kind = _one_hot(there, *numbers)
    for start in range(0, len(asked), _ROWS):
        part = asked[start : start + _ROWS]
        own = _mutations(sequences, queries[part], wild_type)
        by_place, by_kind = _one_hot(own, *numbers)
        shared = (by_place @ targets_by_place.T + by_kind @ targets_by_kind.T).toarray()
        counts = own.counts[:, None] + there.counts - shared
        best = counts.argmin(axis=1)
        distance[part], place[part] = counts[np.arange(len(part)), best], known[best]
    return distance, place


def _comparable(sequences: PackedLetters, indices: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Places of those that are nearly of a length."""
    return np.flatnonzero(np.abs(sequences.lengths[indices] - length) <= _MOST_DIFFERENT * length)


def _one_hot(mutations: _Mutations, places: NDArray[np.int64], kinds: NDArray[np.int64]) -> tuple[Any, Any]:
    """Sparse (n, P) and (n, K): which of P places and K kinds, both increasing, each variant has beside others."""
    from scipy.sparse import csr_matrix

    found = []
    for own, known in ((mutations.places, places), (mutations.kinds, kinds)):
        column = np.minimum(np.searchsorted(known, own), max(len(known) - 1, 0))
        there = known[column] == own if len(known) else np.zeros(len(own), bool)
        shape = len(mutations.counts), len(known)
        found.append(csr_matrix((np.ones(there.sum(), np.int32), (mutations.where[there], column[there])), shape=shape))
    return found[0], found[1]


def _mutations(sequences: PackedLetters, indices: NDArray[np.int64], wild_type: NDArray[np.uint8]) -> _Mutations:
    length, lengths = len(wild_type), sequences.lengths[indices]
    longest = int(_MOST_DIFFERENT * length)
    rows = np.full((len(indices), length), _GAP, dtype=np.uint8)
    same = np.flatnonzero(lengths == length)
    rows[same] = sequences.selected(indices[same])[0].letters.reshape(len(same), length)
    where_inserted, at_inserted, inserted = [], [], []
    for row in np.flatnonzero(lengths != length).tolist():
        rows[row], cut, extra = _laid_along(sequences[int(indices[row])], wild_type)
        where_inserted += [row] * len(extra)
        at_inserted += [length + cut * longest + place for place in range(len(extra))]
        inserted += extra.tolist()
    where, at = np.nonzero(rows != wild_type)
    letters = np.append(rows[where, at], np.array(inserted, np.int64)).astype(np.int64)
    where, at = np.append(where, where_inserted).astype(np.int64), np.append(at, at_inserted).astype(np.int64)
    return _Mutations(where, at, at * 256 + letters, np.bincount(where, minlength=len(rows)))


def _laid_along(
    letters: NDArray[np.uint8], wild_type: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], int, NDArray[np.uint8]]:
    """A sequence (L,) with one gap of its own, or without the letters that stand in a gap of the wild type; the
    place of the gap in the wild type; these letters.
    """
    shorter = min(len(letters), len(wild_type))
    head = np.append(0, np.cumsum(letters[:shorter] != wild_type[:shorter]))
    tail = np.append(0, np.cumsum(letters[::-1][:shorter] != wild_type[::-1][:shorter]))[::-1]
    cut = int((head + tail).argmin())
    end = letters[len(letters) - (shorter - cut) :]
    laid = np.concatenate([letters[:cut], np.full(len(wild_type) - shorter, _GAP, np.uint8), end])
    return laid, cut, letters[cut : cut + len(letters) - shorter]
