"""What an augmenter is: letters in, letters out, with the origin of every position."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from seqtrain.draws import Draws
from seqtrain.letters import PackedLetters


@dataclass(frozen=True)
class Augmented:
    """What came out, and where each letter came from, so that per-residue labels can follow their residues."""

    packed: PackedLetters
    origin: NDArray[np.int64]
    """(T,) index into the letters that went in; -1 where a letter was inserted."""


class Augmenter(Protocol):
    """Letters to letters, for a whole batch at once; the input is never written to."""

    def __call__(self, packed: PackedLetters, draws: Draws) -> Augmented:
        """Augment B sequences with the draws of their B keys."""
        ...
