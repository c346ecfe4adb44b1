"""Which members of a family are held out together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from seqtrain.draws import fold, permuted
from seqtrain.generate.family import GAP


def held_out_folds(symbols: NDArray[np.uint8], seed: int, *, num_folds: int, twin_identity: float) -> NDArray[np.int64]:
    """(N,) the fold that each of N members (N, C) is held out in, from 0; groups of twins are held out together.

    Where twins leave fewer than three groups, each member stands alone.
    """
    groups = _twins(symbols, twin_identity)
    if groups.max() + 1 < 3:
        groups = np.arange(len(symbols))
    count = int(groups.max()) + 1
    num_folds = min(num_folds, count)
    place = permuted(np.arange(count), count, fold(seed, "folds"))
    # The largest groups first, each to the fold that has the fewest members: folds of nearly one size.
    sizes = np.bincount(groups)
    loads, of_group = np.zeros(num_folds), np.zeros(count, dtype=np.int64)
    for group in sorted(range(count), key=lambda each: (-sizes[each], place[each])):
        of_group[group] = loads.argmin()
        loads[of_group[group]] += sizes[group]
    return of_group[groups]


def _twins(symbols: NDArray[np.uint8], identity: float) -> NDArray[np.int64]:
    """(N,) groups of members linked by pairs that are equal in so many of the columns in which both have a letter."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count, firsts, seconds = len(symbols), [], []
    for row in range(count - 1):
        others = symbols[row + 1 :]
        both = (symbols[row] < GAP) & (others < GAP)
        alike = (both & (others == symbols[row])).sum(axis=1) >= identity * np.maximum(both.sum(axis=1), 1)
        found = np.flatnonzero(alike) + row + 1
        firsts.append(np.full(len(found), row))
        seconds.append(found)
    edges = np.concatenate([[], *firsts]).astype(np.int64), np.concatenate([[], *seconds]).astype(np.int64)
    graph = coo_array((np.ones(len(edges[0])), edges), shape=(count, count))
    groups: NDArray[np.int64] = connected_components(graph, directed=False)[1].astype(np.int64)
    return groups
