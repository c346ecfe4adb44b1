"""What a check has to say: one sentence with a number and its reason, and the next move."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from seqtrain.io.run_directory import finite
from seqtrain.report import records

Severity = Literal["fine", "note", "warning"]
_ORDER: tuple[Severity, ...] = ("warning", "note", "fine")


@dataclass(frozen=True, kw_only=True)
class Remark(records.Remark):
    """What one check found: a remark of the report that knows the check that made it."""

    check: str
    """What was looked at, in a word or two: the name of the fault where there is one."""
    value: float | None = None
    """The number that was judged."""

    @property
    def line(self) -> str:
        """The remark as one line of text."""
        said = f"{self.severity}: {self.check}: {self.words}"
        return f"{said}; {self.advice}" if self.advice else said

    def to_json(self) -> dict[str, Any]:
        """Plain values; a number that is not finite is None."""
        return dict(finite(vars(self)))

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Remark:
        """The inverse of :meth:`to_json`."""
        return cls(**value)


def fine(check: str, words: str, value: float | None = None) -> Remark:
    """Nothing to do."""
    return Remark(severity="fine", check=check, words=words, value=value)


def note(check: str, words: str, advice: str, value: float | None = None) -> Remark:
    """Worth to know, and often as it should be."""
    return Remark(severity="note", check=check, words=words, advice=advice, value=value)


def warning(check: str, words: str, advice: str, value: float | None = None) -> Remark:
    """Something that is seldom meant."""
    return Remark(severity="warning", check=check, words=words, advice=advice, value=value)


def worst_first(remarks: Iterable[Remark]) -> list[Remark]:
    """Warnings, then notes, then what is fine, each in the order given."""
    return sorted(remarks, key=lambda remark: _ORDER.index(remark.severity))


def shown(value: float) -> str:
    """A number as it is said: three digits."""
    return f"{value:.3g}" if math.isfinite(value) else str(value)


def some(names: Iterable[str], most: int = 3) -> str:
    """A few names, and how many more there are."""
    listed = list(names)
    more = len(listed) - most
    return ", ".join(listed[:most]) + (f" and {more} more" if more > 0 else "")
