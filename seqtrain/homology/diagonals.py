"""How good a diagonal is: the best stretch without gaps near its matches."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from seqtrain.homology.scoring import Scoring
from seqtrain.homology.seeds import Diagonals
from seqtrain.letters import PackedLetters

_AROUND = 50
"""Letters on both sides of the matches that are looked at."""
_LETTERS_AT_ONCE = 1 << 20
_STEP = 1 << 30


def ungapped_scores(
    queries: PackedLetters, targets: PackedLetters, found: Diagonals, scoring: Scoring
) -> NDArray[np.int64]:
    """(D,) the highest score of consecutive letters on each diagonal; letters are codes."""
    lengths, other_lengths = queries.lengths[found.query], targets.lengths[found.target]
    low = np.maximum(np.maximum(found.begin - _AROUND, -found.offset), 0)
    high = np.minimum(np.minimum(found.end + _AROUND, lengths), other_lengths - found.offset)
    starts = queries.boundaries[found.query] + low
    others = targets.boundaries[found.target] + low + found.offset
    sizes = high - low
    size = len(scoring.scores)
    table = scoring.scores.ravel()
    best = np.zeros(len(sizes), np.int64)
    edges = np.concatenate([[0], np.cumsum(sizes)])
    first = 0
    while first < len(sizes):
        last = int(np.searchsorted(edges, edges[first] + _LETTERS_AT_ONCE, side="right")) - 1
        last = min(max(last, first + 1), len(sizes))
        counts, leads = sizes[first:last], edges[first:last] - edges[first]
        places = np.arange(edges[last] - edges[first])
        columns = queries.letters[places + np.repeat(starts[first:last] - leads, counts)].astype(np.intp)
        columns *= size
        columns += targets.letters[places + np.repeat(others[first:last] - leads, counts)]
        sums = table[columns]
        # A deep step down between two diagonals: what was summed before it is never the lowest again.
        sums[leads] -= _STEP
        np.cumsum(sums, out=sums)
        before = np.minimum.accumulate(sums)
        # The first letter of each window is not scored: it is part of what was summed before.
        best[first:last] = np.maximum.reduceat(sums - before, leads)
        first = last
    return best
