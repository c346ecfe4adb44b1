"""From values to places on a drawing: ranges, ticks and their labels."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
_LOG_FROM = 50
"""Positive values whose largest is this many times their median, such as a loss that starts high, go on a log axis."""
_NEAR_ZERO = 0.05
_UNITS = ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k"))
"""(from which size, divided by what, written how)."""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A range of values laid on a range of pixels."""

    low: float
    high: float
    start: float
    """Pixel of ``low``."""
    end: float
    """Pixel of ``high``."""
    log: bool = False
    whole: bool = False
    """What lies along it are whole numbers, such as steps: there are no ticks between them."""

    def place(self, values: Any) -> Any:
        """Pixels of values, of any shape."""
        if self.log:
            low, high, values = math.log10(self.low), math.log10(self.high), np.log10(values)
        else:
            low, high = self.low, self.high
        return self.start + (values - low) / (high - low) * (self.end - self.start)

    def ticks(self, wanted: int) -> list[tuple[float, str]]:
        """About ``wanted`` round values inside the range, steps of 1, 2 or 5 or powers of ten, and their labels."""
        if self.log:
            return [(value, short_number(value)) for value in _log_ticks(self.low, self.high, wanted)]
        step = _round_step((self.high - self.low) / wanted)
        step = max(step, 1.0) if self.whole else step
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        values = [i * step for i in range(first, last + 1)]
        largest = max(abs(value) for value in values)
        if largest >= 1e15 or largest < 1e-3:
            return [(value, short_number(value)) for value in values]
        unit, suffix = next(((unit, suffix) for limit, unit, suffix in _UNITS if largest >= limit), (1.0, ""))
        decimals = max(0, -math.floor(math.log10(step / unit) + 1e-9))
        return [(value, f"{value / unit:,.{decimals}f}{suffix if value else ''}".replace("-", "−")) for value in values]


def step_axis(values: Array, start: float, end: float) -> Axis:
    """An axis for steps (P,): from 0 where they start close to it."""
    axis = axis_of(values, start, end)
    return replace(axis, low=0.0) if 0 < axis.low < axis.high * _NEAR_ZERO else axis


def axis_of(values: Array, start: float, end: float, *, margin: float = 0.0, may_be_log: bool = False) -> Axis:
    """An axis that holds all finite values (P,), with a margin (fraction of the range) on either side."""
    values = values[np.isfinite(values)]
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    if may_be_log and low > 0 and high > _LOG_FROM * float(np.median(values)):
        widening = (high / low) ** margin
        return Axis(low=low / widening, high=high * widening, start=start, end=end, log=True)
    if high - low <= 1e-9 * max(abs(low), abs(high)):  # a constant; ticks need a range
        spread = abs(low) * 0.1 or 0.5
        low, high = low - spread, high + spread
    widening = (high - low) * margin
    whole = len(values) > 0 and bool((values == np.rint(values)).all())
    return Axis(low=low - widening, high=high + widening, start=start, end=end, whole=whole)


def short_number(value: float) -> str:
    """A number in few characters: 0.25, 1,500, 20k, 3M, 1e−5."""
    size = abs(value)
    if size >= 1e15 or 0 < size < 1e-3:
        mantissa, exponent = f"{value:.3e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}".replace("-", "−")
    for limit, unit, suffix in _UNITS:
        if size >= limit:
            return f"{value / unit:g}{suffix}".replace("-", "−")
    return (f"{value:,.0f}" if size >= 1e3 else f"{round(value, 9):g}").replace("-", "−")


def number(value: float | int) -> str:
    """A figure in a table: whole numbers in full, others to about three significant digits; – when undefined."""
    if isinstance(value, int | np.integer):
        return f"{int(value):,}".replace("-", "−")
    if not math.isfinite(value):
        return "–" if math.isnan(value) else ("∞" if value > 0 else "−∞")
    size = abs(value)
    if size >= 1000:
        text = f"{value:,.0f}"
    elif size >= 100:
        text = f"{value:.1f}"
    elif size >= 10:
        text = f"{value:.2f}"
    else:
        text = f"{value:.3f}" if size >= 1e-3 or size == 0 else f"{value:.2e}"
    return text.replace("-", "−")


def _round_step(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= step * 0.7)


def _log_ticks(low: float, high: float, wanted: int) -> list[float]:
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    stride = max(1, math.ceil((last - first + 1) / (wanted + 1)))
    return [10.0**power for power in range(first, last + 1, stride)]
