"""Lines over a shared axis, such as losses by step, as inline SVG."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqtrain.report.axes import Axis, axis_of, number, step_axis
from seqtrain.report.canvas import (
    HEIGHT,
    SIDE,
    WIDTH,
    chart_svg,
    colour,
    dots,
    frame,
    level,
    path,
    plain_axes,
    plot,
)
from seqtrain.report.records import Curve, Series

Array = NDArray[Any]
MAX_POINTS = 5000
"""Per chart; more are thinned."""
_MARKED_POINTS = 25
_SMOOTH_FROM = 400
_SMOOTH_FRACTION = 0.03
_NOISY_FROM = 4
"""A line that travels this many times its range is noisy."""


def line_chart(curve: Curve, key: str) -> str:
    """Lines over a shared axis. key: a name for ids, unique in the page."""
    budget = MAX_POINTS // max(len(curve.series), 1)
    size = (SIDE, SIDE) if curve.unit_square else (WIDTH, HEIGHT)
    x, y = _axes(curve, [thinned(each, budget) for each in curve.series], size)
    parts = [level(x, y, name, height) for name, height in curve.levels]
    if curve.diagonal:
        ends = np.array([max(x.low, y.low), min(x.high, y.high)])
        parts.append(f'<path class="level" d="{path(x, y, ends, ends)}"><title>{escape(curve.diagonal)}</title></path>')
    parts += [_line(x, y, each, index, budget) for index, each in enumerate(curve.series)]
    ends_at = "; ".join(f"{each.name} ends at {_last(each.y)}" for each in curve.series)
    return chart_svg(
        frame(x, y, curve.x_label, curve.y_label) + plot(x, y, "".join(parts)),
        key,
        curve.title,
        f"{curve.y_label} by {curve.x_label}: {ends_at}.",
        (x, y),
        (curve.x_label, curve.y_label),
        size=size,
    )


def _axes(curve: Curve, series: list[Series], size: tuple[int, int]) -> tuple[Axis, Axis]:
    across, up = plain_axes(*size)
    if curve.unit_square:
        return Axis(low=0, high=1, start=across[0], end=across[1]), Axis(low=0, high=1, start=up[0], end=up[1])
    x = step_axis(_together([each.x for each in series]), *across)
    levels = np.array([height for _, height in curve.levels])
    return x, axis_of(_together([*(each.y for each in series), levels]), *up, margin=0.05, may_be_log=True)


def _line(x: Axis, y: Axis, series: Series, index: int, budget: int) -> str:
    drawn, kind, width = thinned(series, budget), colour(index), smoothing(series)
    line, name, faint = path(x, y, drawn.x, drawn.y), series.name, ""
    if width > 1:
        # A band of noise hides where a loss is going, a mean alone how noisy it is: both are drawn.
        faint = f'<path class="faint {kind}" d="{line}"/>'
        smooth = _moving_mean(series, width)
        line, name = path(x, y, smooth.x, smooth.y), f"{name}, mean of {width:,}"
    marks = ""
    if len(drawn.x) <= _MARKED_POINTS:
        marks = f'<path class="dots large {kind}" d="{dots(x, y, drawn.x, drawn.y)}"/>'
    line = f'<path class="line {kind}" data-name="{escape(name)}" d="{line}"/>'
    return f'<g data-s="{index}">{faint}{line}{marks}</g>'


def thinned(series: Series, budget: int) -> Series:
    """At most ``budget`` points: the lowest and the highest of each stretch, so that no spike is lost."""
    xs, ys = np.asarray(series.x, np.float64), np.asarray(series.y, np.float64)
    if len(xs) <= budget:
        return Series(name=series.name, x=xs, y=ys)
    kept = []
    for stretch in np.array_split(np.arange(len(xs)), max(budget // 2, 1)):
        values = ys[stretch]
        if np.isfinite(values).any():
            kept += sorted({int(stretch[np.nanargmin(values)]), int(stretch[np.nanargmax(values)])})
        else:
            kept.append(int(stretch[0]))
    return Series(name=series.name, x=xs[kept], y=ys[kept])


def smoothing(series: Series) -> int:
    """Points in the moving mean that is drawn over a long, noisy series; 1 for none."""
    values = np.asarray(series.y, np.float64)
    values = values[np.isfinite(values)]
    if len(values) < _SMOOTH_FROM or np.abs(np.diff(values)).sum() < _NOISY_FROM * np.ptp(values):
        return 1
    return int(len(series.x) * _SMOOTH_FRACTION) // 2 * 2 + 1


def _moving_mean(series: Series, width: int) -> Series:
    """Centred means of the finite values, over fewer at the ends; at about 400 places."""
    xs, ys = np.asarray(series.x, np.float64), np.asarray(series.y, np.float64)
    finite = np.isfinite(ys)
    sums = np.concatenate([[0.0], np.cumsum(np.where(finite, ys, 0))])
    counts = np.concatenate([[0], np.cumsum(finite)])
    places = np.unique(np.linspace(0, len(xs) - 1, _SMOOTH_FROM).round().astype(np.int64))
    first, last = np.maximum(places - width // 2, 0), np.minimum(places + width // 2 + 1, len(xs))
    found = counts[last] - counts[first]
    means = np.where(found > 0, (sums[last] - sums[first]) / np.maximum(found, 1), np.nan)
    return Series(name=series.name, x=xs[places], y=means)


def _together(arrays: list[Array]) -> NDArray[np.float64]:
    return np.concatenate([np.zeros(0), *(np.asarray(array, np.float64) for array in arrays)])


def _last(values: Array) -> str:
    finite = np.asarray(values, np.float64)
    finite = finite[np.isfinite(finite)]
    return number(float(finite[-1])) if len(finite) else "nothing"
