"""Similar pairs of one set, and of each sequence of a set the nearest of another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from seqtrain.alphabet import PROTEIN, Alphabet
from seqtrain.homology.candidates import proposed
from seqtrain.homology.copies import Distinct, distinct
from seqtrain.homology.judge import Judge
from seqtrain.homology.similarity import Nearest, Pairs, Similarity
from seqtrain.letters import PackedLetters

Say = Callable[[str], None]
_NEAREST_CELLS = 2_000_000_000
"""Cells of all alignments up to which every query is aligned with every target: 7 seconds of a core. Every finetuning
asks for the nearest training records, and a split is made once."""
_TARGETS_OF_A_QUERY = 20
"""Proposed targets, the most promising ones, that are aligned for the nearest."""


def similar_pairs(
    sequences: PackedLetters, similarity: Similarity, say: Say | None = None, *, alphabet: Alphabet = PROTEIN
) -> Pairs:
    """N sequences -> their similar pairs.

    Of equal sequences each is paired with the first of them only, at identity 1, and only the first with others: else
    copies would make pairs of all with all. What is found of the others is said at :func:`homology_clusters`; in
    sets too large to align all, of each sequence the 100 most promising partners behind it are aligned.

    Args:
        say: is told how pairs are sought.

    Raises:
        InputError: MMseqs2 is asked for and not installed; a sequence of more than 1,048,575 letters.
    """
    judge = Judge(similarity=similarity, alphabet=alphabet)
    found = distinct(sequences)
    candidates = proposed(found.sequences, None, judge, say)
    identity = judge(found.sequences, found.sequences, candidates)
    kept = identity >= 0
    first, second = found.first_copy[candidates.query[kept]], found.first_copy[candidates.target[kept]]
    copies = found.copies
    first, second = (
        np.concatenate([np.minimum(first, second), found.first_copy[found.kind[copies]]]),
        np.concatenate([np.maximum(first, second), copies]),
    )
    identity = np.concatenate([identity[kept], np.ones(len(copies))])
    order = np.lexsort((second, first))
    return Pairs(first=first[order], second=second[order], identity=identity[order])


def nearest(
    queries: PackedLetters,
    targets: PackedLetters,
    similarity: Similarity,
    say: Say | None = None,
    *,
    alphabet: Alphabet = PROTEIN,
) -> Nearest:
    """M queries -> for each the target of highest identity, the first of equals; -1 where none is similar.

    An equal target is always found. Of the others, the 20 most promising ones are aligned where the sets are too large
    to align all.

    Args:
        say: is told how targets are sought.

    Raises:
        InputError: MMseqs2 is asked for and not installed; a sequence of more than 1,048,575 letters.
    """
    judge = Judge(similarity=similarity, alphabet=alphabet)
    asked, there = distinct(queries), distinct(targets)
    equal = _equal(asked, there)
    open_ones = np.flatnonzero(equal < 0)
    parts = asked.sequences.selected(open_ones)[0]
    candidates = proposed(parts, there.sequences, judge, say, most_cells=_NEAREST_CELLS).best_per_query(
        _TARGETS_OF_A_QUERY
    )
    identity = judge(parts, there.sequences, candidates)
    index, best = np.where(equal >= 0, equal, -1), np.where(equal >= 0, 1.0, np.nan)
    order = np.lexsort((there.first_copy[candidates.target], -identity, candidates.query))
    order = order[identity[order] >= 0]
    rows, leads = np.unique(candidates.query[order], return_index=True)
    index[open_ones[rows]] = there.first_copy[candidates.target[order[leads]]]
    best[open_ones[rows]] = identity[order[leads]]
    return Nearest(index=index[asked.kind], identity=best[asked.kind])


def _equal(asked: Distinct, there: Distinct) -> NDArray[np.int64]:
    """(K,) for each kind of query the first target that is equal to it, or -1."""
    both = distinct(
        replace(
            there.sequences,
            letters=np.concatenate([there.sequences.letters, asked.sequences.letters]),
            boundaries=np.concatenate(
                [there.sequences.boundaries, asked.sequences.boundaries[1:] + len(there.sequences.letters)]
            ),
            protected=None,
        )
    )
    place = both.first_copy[both.kind[len(there.sequences) :]]
    known = (place < len(there.sequences)) & (asked.sequences.lengths > 0)
    return np.where(known, there.first_copy[np.where(known, place, 0)] if len(there.first_copy) else -1, -1)
