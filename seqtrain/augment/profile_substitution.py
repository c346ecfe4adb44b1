"""Substitution by a profile: every position redrawn as its column of an alignment has it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from seqtrain.alphabet import Alphabet, alphabet_over
from seqtrain.augment.augmenter import Augmented, check_fraction, check_kind
from seqtrain.augment.profile_table import Profile
from seqtrain.augment.replacement import Replacements
from seqtrain.draws import Draws
from seqtrain.errors import InputError
from seqtrain.letters import PackedLetters

_KEEP = 1  # no letter is the byte 1


@dataclass(frozen=True, kw_only=True)
class ProfileSubstitution:
    """Redraw letters from the columns of a profile, for sequences whose positions are its columns.

    Conserved columns mostly give back the letter they had (Gribskov, McLachlan & Eisenberg 1987, PNAS 84:4355). Odd
    letters stay. At rate 0 nothing changes; at rate 1 every letter is drawn from its column.
    """

    profile: Profile
    """Of C columns."""
    rate: float
    """Expected fraction of the letters that are redrawn; fewer change."""

    def __post_init__(self) -> None:
        check_kind("profile", self.profile, Profile, "Profile.from_file(path)")
        check_fraction("rate", self.rate)

    @property
    def input_alphabet(self) -> Alphabet:
        """That of the profile."""
        return alphabet_over(self.profile.letters)

    @property
    def output_alphabet(self) -> Alphabet:
        """The same."""
        return alphabet_over(self.profile.letters)

    def scaled(self, magnitude: float) -> Self:
        """The same at ``magnitude`` times the rate."""
        return replace(self, rate=self.rate * magnitude)

    @property
    def _letters(self) -> NDArray[np.uint8]:
        return np.frombuffer(self.profile.letters.encode(), dtype=np.uint8)

    @cached_property
    def _replacements(self) -> Replacements:
        letters = np.append(self._letters, np.uint8(_KEEP))
        probabilities = self.profile.probabilities
        kept = np.full((len(probabilities), 1), 1 - self.rate)
        return Replacements.of_rows(
            np.tile(letters, (len(probabilities), 1)), np.concatenate([self.rate * probabilities, kept], axis=1)
        )

    @cached_property
    def _is_standard(self) -> NDArray[np.uint8]:
        table = np.zeros(256, dtype=np.uint8)
        table[self._letters] = 1
        return table

    def __call__(self, packed: PackedLetters, draws: Draws) -> Augmented:
        """Redraw letters of B sequences of C letters each.

        Raises:
            InputError: a sequence has another length than the profile.
        """
        arrays = packed.arrays
        num_columns = len(self.profile.probabilities)
        other = arrays.nonzero(packed.lengths != num_columns)
        if len(other):
            start = bytes(packed[int(other[0])][:12].tolist()).decode("latin-1")
            raise InputError(
                f"the sequence that begins with {start!r} has {int(packed.lengths[other[0]])} letters, but the profile "
                f"{self.profile.name} has {num_columns} columns; align it to the profile's reference first"
            )
        drawn = self._replacements.draw_by_position(packed, draws, "profile")
        kept = (drawn == _KEEP) | (arrays.translate(packed.letters, self._is_standard) == 0)
        if packed.protected is not None:
            kept = kept | packed.protected
        return Augmented(packed.with_letters(arrays.where(kept, packed.letters, drawn)))
