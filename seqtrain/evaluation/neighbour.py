"""What the nearest training record says: the baseline that memorises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
_CELLS = 2_000_000
"""Distances held at once."""
MAX_PAIRS = 200_000_000
"""Cap on test × training records, about 5 seconds of one core."""
MAX_PRODUCTS = 40_000_000_000
"""Cap on the multiplications of a table of similarities, about 5 seconds of one core."""
MAX_SPARSE_PRODUCTS = 400_000_000
"""The same of rows that are mostly zeros."""
_TIE = 1e-6


def nearest_by_cosine(train: Array, targets: Array, test: Array) -> NDArray[np.float64]:
    """(M, K) targets of the training row (N, F) that lies in the direction of each row (M, F) most.

    Rows have length 1; those that are equally near, within 1e-6, are averaged.
    """

    def closeness(some: Array) -> Array:
        return np.asarray(test[some] @ train.T)

    return _targets_of_nearest(closeness, len(test), len(train), targets)


def nearest_by_hamming(train: Array, targets: Array, test: Array, num_letters: int) -> NDArray[np.float64]:
    """(M, K) targets of the training row (N, L) of codes that differs from each row (M, L) in the fewest positions.

    Those equally near are averaged. Distances come from the differences to the most frequent letter of each position:
    two rows that differ from it in a and b positions, p of them the same, and s of those with the same letter, differ
    from each other in a + b - p - s.
    """
    common = consensus(train, num_letters)
    learnt, asked = (_differences(table, common, num_letters) for table in (train, test))

    def closeness(some: Array) -> Array:
        shared = sum((one[some] @ other.T).toarray() for one, other in zip(asked[1:], learnt[1:], strict=True))
        return np.asarray(shared - asked[0][some, None] - learnt[0][None])

    return _targets_of_nearest(closeness, len(test), len(train), targets)


def hamming_products(train: Array, test: Array, num_letters: int) -> float:
    """Multiplications that :func:`nearest_by_hamming` takes, per training row."""
    common = consensus(train, num_letters)
    differing = [(table != common).sum(axis=0, dtype=np.float64) for table in (train, test)]
    return float(2 * (differing[0] @ differing[1]) / max(len(train), 1))


def consensus(table: Array, num_letters: int) -> NDArray[np.int64]:
    """(L,) the most frequent letter at each position of (N, L) codes; a gap is none."""
    width = num_letters + 1
    cells = np.arange(table.shape[1]) * width + table
    counts = np.bincount(cells.ravel(), minlength=table.shape[1] * width).reshape(-1, width)
    return np.asarray(counts[:, : max(num_letters, 1)].argmax(axis=1))


def _differences(table: Array, common: Array, num_letters: int) -> tuple[Array, Any, Any]:
    """(N,) how many positions differ from the common letters; which (N, L); and with which letter (N, L × (A + 1))."""
    from scipy.sparse import csr_matrix

    rows, places = np.nonzero(table != common)
    ones, width = np.ones(len(rows), np.float32), num_letters + 1
    where = csr_matrix((ones, (rows, places)), shape=table.shape)
    which = csr_matrix((ones, (rows, places * width + table[rows, places])), shape=(len(table), table.shape[1] * width))
    return np.bincount(rows, minlength=len(table)).astype(np.float32), where, which


def _targets_of_nearest(
    closeness: Callable[[Array], Array], num_test: int, num_train: int, targets: Array
) -> NDArray[np.float64]:
    """Mean targets (N, K) of the closest; ``closeness`` gives (m, N) for the numbers of m rows."""
    found = np.zeros((num_test, targets.shape[1]))
    chunk = max(1, _CELLS // max(num_train, 1))
    for start in range(0, num_test, chunk):
        rows = np.arange(start, min(start + chunk, num_test))
        near = closeness(rows)
        chosen = (near >= near.max(axis=1, keepdims=True) - _TIE).astype(np.float32)
        found[rows] = (chosen @ targets) / chosen.sum(axis=1, keepdims=True)
    return found
