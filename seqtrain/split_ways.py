"""Ways to split records: what stays together, and whether the sets shall be alike in their labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from seqtrain.errors import InputError
from seqtrain.words import read_words


@dataclass(frozen=True, kw_only=True)
class Random:
    """Records at random."""


@dataclass(frozen=True, kw_only=True)
class Stratified:
    """Records at random, with the share of each class, label or range of numbers alike in all sets."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """Records with the same cell in a column stay together; an empty cell is a group of its own."""

    column: str


@dataclass(frozen=True, kw_only=True)
class Homology:
    """Records stay together that are alike, directly or through others."""

    identity: float = 0.3
    """Least identity, see :class:`seqtrain.homology.Similarity`; proteins below 0.3 are rarely told to be relatives by
    an alignment of two (Rost 1999, Protein Engineering 12:85)."""
    method: Literal["auto", "built-in", "mmseqs"] = "auto"
    families: str | None = None
    """Table of clusters, as MMseqs2 writes them, in the place of a search."""

    def __post_init__(self) -> None:
        if self.identity == 0:
            raise InputError("identity 0 puts all records into one cluster; 0.3 is usual")
        if self.identity == 1:
            raise InputError(
                "identity 1 leaves only equal sequences together, which stay so in every split; split at random, or "
                "take 0.9 for near duplicates"
            )
        if not 0 < self.identity < 1:
            raise InputError(f"identity {self.identity:g}: must be above 0 and below 1; 0.3 is usual")


SplitBy: TypeAlias = Random | Stratified | Group | Homology


def read_split_by(words: str) -> SplitBy:
    """A way to split in words, such as ``homology:identity=0.3``.

    Raises:
        InputError: see :func:`seqtrain.words.read_words`.
    """
    by: SplitBy = read_words(words, SplitBy, "way to split")[0]
    return by
