"""What can be said of the variants of one wild type without a model: how many mutations, and how drastic they are.

The wild type is the most frequent letter of each position in training. Each number goes into a straight line (or a
logistic curve) that is fitted to the training records, so whether mutations do good or harm is learnt.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqtrain.evaluation.features import Letters, aligned
from seqtrain.evaluation.neighbour import consensus

Array = NDArray[Any]
COUNT = "mutation count"
BLOSUM = "BLOSUM62 of the mutations"
_MAX_MUTATED_FRACTION = 0.2
_USUAL_LENGTH_FRACTION = 0.9
_FEWEST_LETTERS = 9
"""Of an alphabet that is taken for amino acids."""


def variants_of(train: Sequence[str], test: Sequence[str], letters: Letters) -> tuple[Array, Array] | None:
    """(N, L) and (M, L) codes of sequences that are variants of one wild type; None where they are not.

    They are where nine in ten have one length, to which the others are cut or filled up at their ends, and half of the
    training sequences differ from the wild type in at most a fifth of it.
    """
    lengths = np.array([len(sequence) for sequence in (*train, *test)])
    counts = np.bincount(lengths, minlength=1)
    width = int(counts.argmax())
    if not width or counts[width] < _USUAL_LENGTH_FRACTION * len(lengths) or len(train) < 2 or not letters.count:
        return None
    learnt, asked = (aligned(letters.pack(some), letters, width) for some in (train, test))
    differing = (learnt != consensus(learnt, letters.count)).mean(axis=1)
    varied = differing.max() > 0 and np.median(differing) <= _MAX_MUTATED_FRACTION
    return (learnt, asked) if varied else None


def mutation_numbers(train: Array, some: Array, letters: Letters) -> dict[str, NDArray[np.float32]]:
    """(M, 1) numbers of variants (M, L), by name: mutations, and the sum of BLOSUM62 over them (of amino acids only).

    A letter that BLOSUM62 does not know, and one that is missing, counts as X.
    """
    wild_type = consensus(train, letters.count)
    differing = some != wild_type
    found = {COUNT: differing.sum(axis=1)}
    if letters.count >= _FEWEST_LETTERS:
        scores = _blosum62(letters.bytes)
        found[BLOSUM] = (scores[wild_type[None], some] * differing).sum(axis=1)
    return {name: np.asarray(values, np.float32)[:, None] for name, values in found.items()}


def _blosum62(alphabet: Array) -> NDArray[np.float64]:
    """(A + 1, A + 1) scores of letters (Henikoff & Henikoff 1992, PNAS 89:10915-10919), the last for any other one."""
    from Bio.Align import substitution_matrices

    matrix = substitution_matrices.load("BLOSUM62")  # type: ignore[no-untyped-call]
    known = str(matrix.alphabet)
    names = [chr(byte) if chr(byte) in known else "X" for byte in alphabet] + ["X"]
    places = [known.index(name) for name in names]
    return np.asarray(np.array(matrix)[np.ix_(places, places)], np.float64)
