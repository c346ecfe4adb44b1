"""What becomes of points, and what classes must have for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from seqtrain.draws import generator_seed
from seqtrain.errors import InputError
from seqtrain.words import name_of


@dataclass(frozen=True)
class Points:
    """What became of N points."""

    kept: NDArray[np.int64]
    """(n,) those of them that stay, increasing."""
    made: NDArray[np.float32]
    """(M, F) new ones."""
    made_classes: NDArray[np.int64]
    """(M,)."""

    def counts(self, classes: NDArray[np.int64], num_classes: int) -> dict[str, NDArray[np.int64]]:
        """(C,) each, for points of some classes (N,): how many there were, are removed, are made, and are there now."""
        before, stayed, made = (
            np.bincount(each, minlength=num_classes) for each in (classes, classes[self.kept], self.made_classes)
        )
        return {"before": before, "removed": before - stayed, "made": made, "after": stayed + made}


class Growing(Protocol):
    """A method that makes points until classes have their size."""

    @property
    def neighbours(self) -> int: ...
    @property
    def fraction(self) -> float: ...


def grown(counts: NDArray[np.int64], fraction: float) -> NDArray[np.int64]:
    """(C,) sizes that classes of sizes (C,) grow to: a fraction of the largest, if they are smaller and not empty."""
    return np.where(counts > 0, np.maximum(counts, round(fraction * int(counts.max()))), 0)


def check_growing(method: Growing) -> None:
    """Refuse settings that mean nothing.

    Raises:
        ValueError: fewer than one neighbour, or no fraction.
    """
    if method.neighbours < 1:
        raise ValueError(f"neighbours is {method.neighbours}; give at least 1, usually 5")
    if not 0 < method.fraction < np.inf:
        raise ValueError(f"fraction is {method.fraction:g}; give a number above 0, usually 1")


def require_members(method: Growing, counts: NDArray[np.int64], names: Sequence[str] = ()) -> None:
    """Refuse classes (C,) that are to grow and have too few members for it.

    Args:
        names: (C,) of the classes, for messages; without them they are numbered.

    Raises:
        InputError: names the smallest such class, and what can be done.
    """
    needed = method.neighbours + 1
    too_small = np.flatnonzero((counts > 0) & (counts < needed) & (grown(counts, method.fraction) > counts))
    if not len(too_small):
        return
    smallest = int(too_small[np.argmin(counts[too_small])])
    members, word = int(counts[smallest]), name_of(type(method))
    name = f"class {names[smallest]!r}" if len(names) else f"class {smallest} (counting from 0)"
    others = f" ({len(too_small)} classes have too few)" if len(too_small) > 1 else ""
    merge = "merge small classes or leave their records out, or take --sampling balanced instead"
    if members == 1:
        raise InputError(f"{name} has a single training record{others}, and a new point lies between two; {merge}")
    raise InputError(
        f"{name} has {members} training records{others}, and neighbours={method.neighbours} needs {needed}; "
        f"write {word}:neighbours={members - 1}, {merge}"
    )


def sampler_state(seed: int, method: object) -> int:
    """The seed of a method for packages that take 32 bits."""
    return generator_seed(seed, "resample", name_of(type(method))) & 0xFFFFFFFF


def some_of(features: NDArray[np.float32], kept: NDArray[np.int64]) -> Points:
    """Points of which some stay, and none is made."""
    return Points(kept.astype(np.int64), np.zeros((0, features.shape[1]), np.float32), np.zeros(0, np.int64))
