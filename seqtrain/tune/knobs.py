"""What a search may turn: one setting each, a range of numbers or a few choices, perhaps only under a condition."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from seqtrain.errors import InputError

if TYPE_CHECKING:
    from optuna.trial import Trial

Value = str | int | float | bool | None
"""Of a setting; None: left to its default."""
_NEAR = 0.1
"""Deviation of a mutated number, as a fraction of its range."""


@dataclass(frozen=True, kw_only=True)
class When:
    """A knob counts only where another setting has one of some values."""

    name: str
    """Of the other knob, or of a setting that is fixed."""
    values: tuple[str, ...]
    """As texts; of words the name before the colon."""

    def holds(self, value: Value) -> bool:
        """Whether the other setting, having this value, lets the knob count."""
        return text_of(value).partition(":")[0] in self.values or text_of(value) in self.values


@dataclass(frozen=True, kw_only=True)
class Range:
    """A number between two others."""

    name: str
    low: float
    high: float
    """Included."""
    log: bool = False
    """Drawn evenly by its logarithm."""
    whole: bool = False
    step: int | None = None
    """Between whole numbers."""
    steps: int | None = None
    """How many values a grid takes of it; other samplers take any."""
    when: When | None = None

    def __post_init__(self) -> None:
        bounds = f"{self.name}: low {number(self.low)}, high {number(self.high)}"
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            raise InputError(f"{bounds}: both must be finite")
        if self.low > self.high:
            raise InputError(f"{bounds}: low is above high; exchange them")
        if self.log and self.low <= 0:
            raise InputError(f"{bounds}: log=true needs a low above 0, as 0 has no logarithm")
        if self.step is not None and (self.step < 1 or self.log or not self.whole):
            raise InputError(f"{bounds}: step={self.step} is for whole numbers without log; leave it out")
        if self.steps is not None and self.steps < 1:
            raise InputError(f"{bounds}: steps={self.steps}; give at least 1")

    def suggest(self, trial: Trial) -> Value:
        """The value that optuna's sampler takes."""
        if self.whole:
            return trial.suggest_int(self.name, int(self.low), int(self.high), step=self.step or 1, log=self.log)
        return trial.suggest_float(self.name, self.low, self.high, log=self.log)

    def draw(self, rng: np.random.Generator) -> Value:
        """Any value of the range, each as likely."""
        return self._at(rng.random())

    def mutated(self, value: Value, rng: np.random.Generator) -> Value:
        """Another value near this one: a normal step of a tenth of the range, at least one whole number away."""
        low, high = self._laid(self.low), self._laid(self.high)
        if low == high:
            return value
        share = (self._laid(float(value or 0)) - low) / (high - low)
        for _ in range(100):
            found = self._at(share + _NEAR * rng.standard_normal())
            if found != value:
                return found
        return self.draw(rng)

    def grid(self) -> tuple[Value, ...]:
        """The values that a grid takes.

        Raises:
            InputError: a range of numbers that are not whole, without a number of steps.
        """
        if self.steps is None and not self.whole:
            raise InputError(
                f"{self.name} from {number(self.low)} to {number(self.high)}: a grid needs the number of values; write "
                f"--vary {self.name}:low={number(self.low)},high={number(self.high)},steps=5, or take another --sampler"
            )
        if self.steps is None:
            return tuple(range(int(self.low), int(self.high) + 1, self.step or 1))
        places = np.linspace(0, 1, self.steps) if self.steps > 1 else [0.5]
        return tuple(dict.fromkeys(self._at(float(place)) for place in places))

    def place(self, value: Value) -> float:
        """Where a value lies between low and high, 0 to 1."""
        low, high = self._laid(self.low), self._laid(self.high)
        return 0.5 if low == high else (self._laid(float(value or 0)) - low) / (high - low)

    def words(self) -> str:
        """The knob as a person reads it."""
        marks = [
            ", log scale" * self.log,
            f", every {self.step}" * (self.step is not None),
            f", {self.steps} values in a grid" * (self.steps is not None),
        ]
        return f"{self.name} from {number(self.low)} to {number(self.high)}{''.join(marks)}{_when_words(self.when)}"

    def _laid(self, value: float) -> float:
        return math.log(value) if self.log else value

    def _at(self, share: float) -> Value:
        """The value at a fraction of the range."""
        low, high = self._laid(self.low), self._laid(self.high)
        value = low + min(max(share, 0.0), 1.0) * (high - low)
        value = min(max(math.exp(value) if self.log else value, self.low), self.high)
        if not self.whole:
            return value
        step = self.step or 1
        most = int(self.low) + (int(self.high) - int(self.low)) // step * step
        return min(int(self.low) + round((value - self.low) / step) * step, most)


@dataclass(frozen=True, kw_only=True)
class Choices:
    """One of a few values."""

    name: str
    choices: tuple[Value, ...]
    when: When | None = None

    def __post_init__(self) -> None:
        if not self.choices:
            raise InputError(f"{self.name}: has no choices; write {self.name}:choices=…/…")
        if len(set(map(text_of, self.choices))) < len(self.choices):
            twice = next(c for c in self.choices if list(map(text_of, self.choices)).count(text_of(c)) > 1)
            raise InputError(f"{self.name}: {text_of(twice)} is given twice; keep one")

    def suggest(self, trial: Trial) -> Value:
        """The value that optuna's sampler takes."""
        value: Value = trial.suggest_categorical(self.name, self.choices)
        return value

    def draw(self, rng: np.random.Generator) -> Value:
        """Any of the choices, each as likely."""
        return self.choices[int(rng.integers(len(self.choices)))]

    def mutated(self, value: Value, rng: np.random.Generator) -> Value:
        """Any of the other choices."""
        others = [each for each in self.choices if each != value] or list(self.choices)
        return others[int(rng.integers(len(others)))]

    def grid(self) -> tuple[Value, ...]:
        """All choices."""
        return self.choices

    def place(self, value: Value) -> float:
        """Where a value stands among the choices, 0 to 1."""
        last = max(1, len(self.choices) - 1)
        return self.choices.index(value) / last if len(self.choices) > 1 else 0.5

    def words(self) -> str:
        """The knob as a person reads it."""
        return f"{self.name}: {', '.join(map(text_of, self.choices))}{_when_words(self.when)}"


Knob = Range | Choices
Settings = dict[str, Value]
"""The values of the knobs that count, by name."""


def text_of(value: Value) -> str:
    """A value as it is written in words."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else number(value)


def number(value: float) -> str:
    """A number in as many digits as it needs: whole ones without a point, others with all their digits."""
    return str(value) if isinstance(value, int) else f"{value:g}" if float(f"{value:g}") == value else repr(value)


def short(value: Value) -> str:
    """A value for a line that a person reads: numbers with three digits."""
    return f"{value:.3g}" if isinstance(value, float) else text_of(value)


def as_json(knob: Knob) -> dict[str, Any]:
    """What tells one knob from another, as plain values."""
    from dataclasses import asdict

    return {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(knob).items() if v is not None}


def _when_words(when: When | None) -> str:
    return "" if when is None else f" (where {when.name} is {' or '.join(when.values)})"
