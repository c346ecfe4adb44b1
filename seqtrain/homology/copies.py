"""Sequences that are equal to each other."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from seqtrain.letters import PackedLetters


@dataclass(frozen=True, kw_only=True)
class Distinct:
    """The K different ones of N sequences, in the order of their first copies."""

    sequences: PackedLetters
    first_copy: NDArray[np.int64]
    """(K,) index of the first sequence of each kind."""
    kind: NDArray[np.int64]
    """(N,) which kind each sequence is of."""

    @property
    def copies(self) -> NDArray[np.int64]:
        """Indices of sequences that are equal to an earlier one; empty sequences are equal to none."""
        first = self.first_copy[self.kind] if len(self.kind) else self.kind
        there = self.sequences.lengths[self.kind] > 0 if len(self.kind) else np.zeros(0, np.bool_)
        return np.flatnonzero((first != np.arange(len(self.kind))) & there)


def distinct(sequences: PackedLetters) -> Distinct:
    """N sequences without their copies."""
    numbers: dict[bytes, int] = {}
    kind = np.zeros(len(sequences), np.int64)
    first_copy: list[int] = []
    letters = sequences.letters.tobytes()
    boundaries = sequences.boundaries.tolist()
    for place, (low, high) in enumerate(pairwise(boundaries)):
        # A digest in place of the letters: a dictionary of all letters would hold them twice.
        digest = hashlib.blake2b(letters[low:high], digest_size=16).digest()
        number = numbers.setdefault(digest, len(numbers))
        if number == len(first_copy):
            first_copy.append(place)
        kind[place] = number
    firsts = np.array(first_copy, np.int64)
    kept = sequences if len(firsts) == len(sequences) else sequences.selected(firsts)[0]
    return Distinct(sequences=kept, first_copy=firsts, kind=kind)
