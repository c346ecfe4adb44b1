"""Letters to token ids: exactly one token per letter, between ``<cls>`` and ``<eos>``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seqtrain.alphabet import Alphabet
from seqtrain.letters import PackedLetters


@dataclass(frozen=True)
class Encoded:
    """B sequences of T positions, special tokens included."""

    inputs: NDArray[np.int64]
    """(T,) ids."""
    boundaries: NDArray[np.int64]
    """(B + 1,)."""
    source: NDArray[np.int64]
    """(T,) index of the letter that each position stands for; -1 at special tokens."""


@dataclass(frozen=True)
class Tokens:
    """Encode letters as ids of the alphabet's vocabulary, with ``<cls>`` before and ``<eos>`` after each sequence."""

    alphabet: Alphabet

    num_special = 2
    """Positions added to each sequence."""

    def __call__(self, packed: PackedLetters) -> Encoded:
        """(letters of B sequences) -> ids, one per letter for every possible letter."""
        vocabulary = self.alphabet.vocabulary
        count = len(packed)
        boundaries = packed.boundaries + self.num_special * np.arange(count + 1)
        source = np.full(boundaries[-1], -1, dtype=np.int64)
        inside = np.ones(boundaries[-1], dtype=bool)
        inside[boundaries[:-1]] = False
        inside[boundaries[1:] - 1] = False
        source[inside] = np.arange(len(packed.letters))
        inputs = np.empty(boundaries[-1], dtype=np.int64)
        inputs[boundaries[:-1]] = vocabulary.id("<cls>")
        inputs[boundaries[1:] - 1] = vocabulary.id("<eos>")
        inputs[inside] = vocabulary.lookup[packed.letters]
        return Encoded(inputs, boundaries, source)

    def decode(self, ids: NDArray[np.int64]) -> str:
        """(L,) ids without special tokens -> text; ``<unk>`` and ``<mask>`` come back as written here."""
        return "".join(self.alphabet.tokens[index] for index in ids.tolist())
