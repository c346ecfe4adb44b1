"""Random crop: one stretch of limited length out of each sequence, every stretch equally likely."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from seqtrain.augment.augmenter import Augmented
from seqtrain.draws import Draws, below
from seqtrain.letters import PackedLetters


@dataclass(frozen=True)
class RandomCrop:
    """Keep at most ``max_length`` letters of each sequence; shorter sequences stay whole.

    The first kept letter is uniform over 0 … L - max_length, both ends included.
    """

    max_length: int
    """Letters."""

    def __post_init__(self) -> None:
        if self.max_length < 1:
            raise ValueError(f"max_length must be at least 1, not {self.max_length}")

    def __call__(self, packed: PackedLetters, draws: Draws) -> Augmented:
        """Crop B sequences."""
        lengths = packed.lengths
        kept = np.minimum(lengths, self.max_length)
        starts = packed.boundaries[:-1] + below(draws.per_sequence("crop"), lengths - kept + 1)
        boundaries = np.concatenate([np.zeros(1, np.int64), np.cumsum(kept)])
        origin = np.arange(boundaries[-1]) + np.repeat(starts - boundaries[:-1], kept)
        return Augmented(PackedLetters(packed.letters[origin], boundaries), origin)
