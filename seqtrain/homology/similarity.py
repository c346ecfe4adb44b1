"""What counts as similar, and what is found of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from seqtrain.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Similarity:
    """When two sequences count as similar: identity and coverage of their best local alignment."""

    least_identity: float = 0.3
    """Identical columns of the alignment, over the letters of the shorter sequence, above 0 and at most 1."""
    least_coverage: float = 0.8
    """Letters of the shorter sequence from the first to the last column, over all of its letters, 0 to 1."""
    method: Literal["auto", "built-in", "mmseqs"] = "auto"
    """What proposes pairs, all of which are aligned here; auto: MMseqs2 for large sets where it is installed."""

    def __post_init__(self) -> None:
        if not 0 < self.least_identity <= 1:
            raise InputError(
                f"least identity {self.least_identity:g}: give a share above 0 and at most 1, such as 0.3 for 30 %; "
                "at 0 all sequences would be alike"
            )
        if not 0 <= self.least_coverage <= 1:
            raise InputError(f"least coverage {self.least_coverage:g}: give a share from 0 to 1, such as 0.8")
        if self.method not in ("auto", "built-in", "mmseqs"):
            raise InputError(f"homology method {self.method!r}: choose auto, built-in or mmseqs")


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Pairs of similar sequences, in order of the first and then of the second."""

    first: NDArray[np.int64]
    """(P,) index of the one that comes first, …"""
    second: NDArray[np.int64]
    """(P,) … and of the other; first < second."""
    identity: NDArray[np.float64]
    """(P,) identical columns over the letters of the shorter."""

    def __len__(self) -> int:
        return len(self.first)


@dataclass(frozen=True, kw_only=True)
class Nearest:
    """The target most like each of M queries."""

    index: NDArray[np.int64]
    """(M,) into the targets; -1 where none is similar."""
    identity: NDArray[np.float64]
    """(M,) of that target; nan where none is similar."""
