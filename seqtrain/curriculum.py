"""Curricula: short or easy sequences first, crops that grow, or groups chosen by what is learnt from them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from seqtrain.errors import InputError

MOST_GROUPS = 50
"""That a bandit is asked to choose among: each has to be tried many times."""


@dataclass(frozen=True, kw_only=True)
class ShortestFirst:
    """Begin with the shortest sequences (Bengio et al. 2009): when most is learnt from few letters, steps are quick."""

    until: float = 0.3
    """Fraction of the training after which all sequences take part."""
    first_fraction: float = 0.1
    """Of the sequences, that the first steps draw from."""

    def __post_init__(self) -> None:
        _check("shortest-first", until=self.until, first_fraction=self.first_fraction)


@dataclass(frozen=True, kw_only=True)
class EasiestFirst(ShortestFirst):
    """Begin with the records that a column of the table calls easiest, such as the noise of a measurement."""

    column: str
    """Of numbers; the smaller, the easier."""


@dataclass(frozen=True, kw_only=True)
class LengthGrowth:
    """Train on random crops that grow, and end at full length (Touvron et al. 2019, arXiv:1906.06423).

    Short crops cost less, and attention of short ones much less; the last part of the training is at the length that
    the model is used at.
    """

    start: int = 128
    """Letters of the first crops."""
    until: float = 0.7
    """Fraction of the training after which sequences have their full length."""

    def __post_init__(self) -> None:
        _check("length-growth", until=self.until)
        if self.start < 1:
            raise InputError(f"length-growth: start is {self.start}; give a whole number of letters, at least 1")

    def length_at(self, progress: float, full: int) -> int | None:
        """Letters of the crops after a fraction of the training; None where nothing is cropped any more."""
        if progress >= self.until or self.start >= full:
            return None
        return round(self.start + (full - self.start) * progress / self.until)


@dataclass(frozen=True, kw_only=True)
class Automatic:
    """Each step shows one group of sequences, chosen by a bandit for how the loss falls on it (Graves et al. 2017).

    Groups from which nothing is learnt, as they are known or cannot be, are shown less and less; one that begins to
    teach comes back. The reward is the fall of the loss, from before the update to after it, on the next examples of
    the same group: the paper's self-prediction gain, per token. On the examples of the step itself (prediction gain),
    what is only learnt by rote would count, too. It costs two forward passes of half a step more.
    """

    by: str = "length"
    """What the groups are made by: length, or a column of the table, of classes or numbers."""
    groups: int = 4
    """Of equal size, by length or number; where a column has classes, each is a group."""
    rate: float = 0.01
    """Of the bandit's learning (see :class:`seqtrain.bandit.Exp3S`)."""
    epsilon: float = 0.05
    """Share of the steps whose group is drawn evenly."""

    def __post_init__(self) -> None:
        _check("automatic", epsilon=self.epsilon)
        if not 2 <= self.groups <= MOST_GROUPS:
            raise InputError(f"automatic: groups is {self.groups}; give a whole number from 2 to {MOST_GROUPS}")
        if not 0 < self.rate < math.inf:
            raise InputError(f"automatic: rate is {self.rate:g}; give a number above 0, such as 0.01")


Curriculum = ShortestFirst | EasiestFirst | LengthGrowth | Automatic


def _check(name: str, **fractions: float) -> None:
    for field, value in fractions.items():
        if not 0 < value <= 1:
            raise InputError(f"{name}: {field} is {value:g}; give a fraction above 0 and at most 1")
