"""Curricula: short or easy sequences first, or crops that grow."""

from __future__ import annotations

from dataclasses import dataclass

from seqtrain.errors import InputError


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


Curriculum = ShortestFirst | EasiestFirst | LengthGrowth


def _check(name: str, **fractions: float) -> None:
    for field, value in fractions.items():
        if not 0 < value <= 1:
            raise InputError(f"{name}: {field} is {value:g}; give a fraction above 0 and at most 1")
