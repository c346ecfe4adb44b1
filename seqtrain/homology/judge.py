"""Whether proposed pairs are similar: first in a band around their diagonal, then by their best alignment of all."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from seqtrain.alphabet import PROTEIN, Alphabet
from seqtrain.homology.alignment import Alignments, local_alignments
from seqtrain.homology.scoring import scoring_of
from seqtrain.homology.similarity import Similarity
from seqtrain.homology.threads import num_threads
from seqtrain.letters import PackedLetters

_BAND = 20
"""Letters on both sides of a diagonal."""
_SHARE_IN_BAND = 0.6
"""Of the identical letters that are asked for, those that a band has to show: a long gap leads out of it. 98 % of 438
similar pairs show as much, and a tenth of all that are proposed."""
_PAIRS_AT_ONCE = 1 << 17


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """C pairs of a query and a target that may be similar, by query, then by target."""

    query: NDArray[np.int64]
    target: NDArray[np.int64]
    offset: NDArray[np.int64] | None
    """(C,) position in the target less position in the query, where known."""
    promise: NDArray[np.float64]
    """(C,) the higher, the sooner it is aligned."""
    complete: bool
    """Whether these are all pairs there are."""
    how: str
    """In words."""

    def __len__(self) -> int:
        return len(self.query)

    def best_per_query(self, most: int) -> Candidates:
        """So many of each query, those that promise most; all of them where these are all pairs."""
        if self.complete:
            return self
        order = np.lexsort((self.target, -self.promise, self.query))
        leads = np.flatnonzero(np.diff(self.query[order], prepend=-1))
        rank = np.arange(len(order)) - np.repeat(leads, np.diff(leads, append=len(order)))
        return self.some(np.sort(order[rank < most]))

    def some(self, chosen: NDArray[np.int64]) -> Candidates:
        """Those at indices (n,), in the order given."""
        return replace(
            self,
            query=self.query[chosen],
            target=self.target[chosen],
            offset=None if self.offset is None else self.offset[chosen],
            promise=self.promise[chosen],
        )


@dataclass(frozen=True, kw_only=True)
class Judge:
    """The identity of pairs, where it is enough."""

    similarity: Similarity
    alphabet: Alphabet = PROTEIN

    def __call__(self, queries: PackedLetters, targets: PackedLetters, candidates: Candidates) -> NDArray[np.float64]:
        """(C,) identity of the pairs that are similar, -1 of the others."""
        found = np.full(len(candidates), -1.0)
        queries, targets = self.as_codes(queries), self.as_codes(targets)
        left = np.arange(len(candidates))
        if candidates.offset is not None:
            # All bands first: the more pairs are left, the more of them have nearly the same shape.
            left = np.concatenate(
                [left[:0], *(self._left(queries, targets, candidates, part, found) for part in _parts(left))]
            )
        for part in _parts(left):
            some = candidates.some(part)
            found[part] = self._identity(queries, targets, some, self._aligned(queries, targets, some, None))
        return found

    def _left(
        self,
        queries: PackedLetters,
        targets: PackedLetters,
        candidates: Candidates,
        part: NDArray[np.int64],
        found: NDArray[np.float64],
    ) -> NDArray[np.int64]:
        """Those of a part that a band does not settle and that may be similar; what it settles is written to found."""
        some = candidates.some(part)
        assert some.offset is not None
        in_band = self._aligned(queries, targets, some, some.offset)
        settled = in_band.score > self._best_outside(queries, targets, some, some.offset)
        found[part[settled]] = self._identity(queries, targets, some, in_band)[settled]
        shorter = np.minimum(queries.lengths[some.query], targets.lengths[some.target])
        needed = _SHARE_IN_BAND * self.similarity.least_identity * shorter
        return part[~settled & (in_band.identical >= needed)]

    def as_codes(self, sequences: PackedLetters) -> PackedLetters:
        """The same sequences, letters as the scores number them."""
        return sequences.with_letters(scoring_of(self.alphabet).codes[sequences.letters])

    def _aligned(
        self, queries: PackedLetters, targets: PackedLetters, some: Candidates, offsets: NDArray[np.int64] | None
    ) -> Alignments:
        scoring = scoring_of(self.alphabet)
        return local_alignments(
            queries,
            targets,
            some.query,
            some.target,
            scoring,
            offsets=offsets,
            band=0 if offsets is None else _BAND,
            threads=num_threads(),
        )

    def _best_outside(
        self, queries: PackedLetters, targets: PackedLetters, some: Candidates, offsets: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """(n,) a score that no alignment with a column outside of the band exceeds.

        On a diagonal so far off only so many letters lie before and behind any cell. Each other letter of the shorter
        sequence is missing: of what it scores against itself at least the least that a standard letter scores.
        """
        lengths, others = queries.lengths[some.query], targets.lengths[some.target]
        scoring = scoring_of(self.alphabet)
        own = np.maximum(np.diag(scoring.scores), 0)
        odd = np.arange(len(own)) >= scoring.num_standard
        side = np.where(lengths <= others, 0, 1)
        most, unknown = (
            np.where(side == 0, _sums(queries, values)[some.query], _sums(targets, values)[some.target])
            for values in (own, odd.astype(np.int64))
        )
        # Rows of the query, columns of the target: columns right of the band, rows below it.
        columns = np.maximum(others - offsets, lengths + offsets) - _BAND - 1
        missing = np.maximum(np.minimum(lengths, others) - np.maximum(columns, 0) - unknown, 0)
        bound: NDArray[np.int64] = most - missing * int(own[: scoring.num_standard].min())
        return bound

    def _identity(
        self, queries: PackedLetters, targets: PackedLetters, some: Candidates, found: Alignments
    ) -> NDArray[np.float64]:
        shorter = np.maximum(np.minimum(queries.lengths[some.query], targets.lengths[some.target]), 1)
        identity = found.identical / shorter
        # No tolerance: 9 / 30 is rounded to the very number that 0.3 is.
        covered = found.covered / shorter >= self.similarity.least_coverage
        return np.where((identity >= self.similarity.least_identity) & covered, identity, -1.0)


def _parts(indices: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return [indices[first : first + _PAIRS_AT_ONCE] for first in range(0, len(indices), _PAIRS_AT_ONCE)]


def _sums(sequences: PackedLetters, values: NDArray[np.int64]) -> NDArray[np.int64]:
    """(B,) sums over codes of a value per code."""
    total = np.concatenate([[0], np.cumsum(values[sequences.letters])])
    sums: NDArray[np.int64] = total[sequences.boundaries[1:]] - total[sequences.boundaries[:-1]]
    return sums
