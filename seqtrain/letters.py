"""Many sequences laid end to end: the form in which letters travel from the store to the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class PackedLetters:
    """Letters of B sequences laid end to end, without padding."""

    letters: NDArray[np.uint8]
    """(T,) one byte per letter: ASCII for residues and bases, 128 + index for codons."""

    boundaries: NDArray[np.int64]
    """(B + 1,) sequence b occupies letters[boundaries[b] : boundaries[b + 1]]."""

    @classmethod
    def from_sequences(cls, sequences: Sequence[NDArray[np.uint8]]) -> PackedLetters:
        """Lay arrays of letters end to end."""
        boundaries = np.zeros(len(sequences) + 1, dtype=np.int64)
        np.cumsum([len(sequence) for sequence in sequences], out=boundaries[1:])
        letters = np.concatenate(sequences) if sequences else np.zeros(0, dtype=np.uint8)
        return cls(letters.astype(np.uint8, copy=False), boundaries)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(B,) letters per sequence."""
        return np.diff(self.boundaries)

    @property
    def segments(self) -> NDArray[np.int64]:
        """(T,) index of the sequence that each letter belongs to."""
        return np.repeat(np.arange(len(self.boundaries) - 1), self.lengths)

    @property
    def positions(self) -> NDArray[np.int64]:
        """(T,) position of each letter in its own sequence, from 0."""
        return np.arange(len(self.letters)) - np.repeat(self.boundaries[:-1], self.lengths)

    def __len__(self) -> int:
        return len(self.boundaries) - 1

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        return self.letters[self.boundaries[index] : self.boundaries[index + 1]]
