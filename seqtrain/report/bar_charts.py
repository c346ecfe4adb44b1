"""Histograms, reliability diagrams, and a score beside its baselines, as inline SVG."""

from __future__ import annotations

import math
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqtrain.report.axes import Axis, axis_of, number
from seqtrain.report.canvas import (
    HEIGHT,
    NUM_COLOURS,
    SIDE,
    WIDTH,
    chart_svg,
    colour,
    dots,
    frame,
    path,
    plain_axes,
    plot,
)
from seqtrain.report.records import Bars, Calibration, Figure

Array = NDArray[Any]
_COUNTS_SHARE = 0.3
"""Of the height of a reliability diagram, for the bars that say how many predictions there are."""


def bars_chart(bars: Bars, key: str) -> str:
    """A histogram; several series stand side by side within each bin."""
    edges, counts = np.asarray(bars.edges, np.float64), np.atleast_2d(np.asarray(bars.counts, np.float64))
    across, up = plain_axes(WIDTH, HEIGHT)
    x = Axis(low=edges[0], high=edges[-1], start=across[0], end=across[1])
    highest = counts[np.isfinite(counts)].max(initial=0)
    y = Axis(low=0, high=highest * 1.05 or 1, start=up[0], end=up[1])
    parts = []
    for index, row in enumerate(counts):
        name = f"{bars.names[index]}, " if index < len(bars.names) else ""
        drawn = []
        for low, high, count in zip(edges[:-1], edges[1:], row, strict=True):
            if count > 0 and math.isfinite(count):
                tip = f"{name}{number(float(low))} to {number(float(high))}: {number(_whole(float(count)))}"
                ends = x.place(low + (high - low) * np.array([index, index + 1]) / len(counts))
                drawn.append(_bar(ends[0], ends[1], y.place(count), y.start, tip))
        parts.append(f'<g class="bars {colour(index)}" data-s="{index}">{"".join(drawn)}</g>')
    described = f"{bars.y_label} by {bars.x_label}, {len(edges) - 1} bins from {edges[0]:g} to {edges[-1]:g}."
    body = frame(x, y, bars.x_label, bars.y_label) + plot(x, y, "".join(parts))
    return chart_svg(body, key, bars.title, described, (x, y), (bars.x_label, bars.y_label))


def calibration_chart(calibration: Calibration, key: str) -> str:
    """How often predictions are right against how sure they are; the bars at the foot say how many there are."""
    across, up = plain_axes(SIDE, SIDE)
    x, y = (Axis(low=0, high=1, start=start, end=end) for start, end in (across, up))
    confidence, observed = np.asarray(calibration.confidence), np.asarray(calibration.observed)
    counts = np.asarray(calibration.counts)
    bars, edges = [], np.linspace(0, 1, len(counts) + 1)
    for index, (place, right, count) in enumerate(zip(confidence, observed, counts, strict=True)):
        if count:
            tip = f"{int(count):,} predictions, on average {place:.3f} sure: {right:.3f} are right"
            ends = x.place(edges[index : index + 2])
            bars.append(_bar(ends[0], ends[1], y.place(count / counts.max() * _COUNTS_SHARE), y.start, tip))
    filled = counts > 0
    ends = np.array([0.0, 1.0])
    line = path(x, y, confidence[filled], observed[filled])
    body = (
        f'<g class="bars counts">{"".join(bars)}</g><path class="level" d="{path(x, y, ends, ends)}"/>'
        f'<path class="line c1" data-name="right" d="{line}"/>'
        f'<path class="dots large c1" d="{dots(x, y, confidence[filled], observed[filled])}"/>'
    )
    labels = ("confidence (mean probability)", "share that is right")
    described = f"{int(counts.sum()):,} predictions in {int(filled.sum())} bins; the diagonal is perfect calibration."
    return chart_svg(
        frame(x, y, *labels) + plot(x, y, body), key, calibration.title, described, (x, y), labels, size=(SIDE, SIDE)
    )


def interval_chart(figure: Figure) -> str:
    """A score (dot) with its interval (bar) among its baselines (diamonds), on a scale of their own."""
    values = [figure.value, figure.low, figure.high, *(value for _, value in figure.baselines)]
    finite = [value for value in values if math.isfinite(value)]
    if len(set(finite)) < 2 or not math.isfinite(figure.value):
        return ""
    x = axis_of(np.array(finite), 8, 172)
    parts = ['<line class="grid" x1="4" x2="176" y1="11" y2="11"/>']
    for index, (name, value) in enumerate(figure.baselines):
        if math.isfinite(value):
            place = x.place(value)
            diamond = f"M{place:.1f} 6l5 5l-5 5l-5-5z"
            tip = f"<title>{escape(name)}: {number(value)}</title>"
            parts.append(f'<path class="diamond c{(index + 1) % NUM_COLOURS + 1}" d="{diamond}">{tip}</path>')
    if math.isfinite(figure.low) and math.isfinite(figure.high):
        low, high = x.place(figure.low), x.place(figure.high)
        parts.append(f'<line class="whisker" x1="{low:.1f}" x2="{high:.1f}" y1="11" y2="11"/>')
    parts.append(f'<circle class="score" cx="{x.place(figure.value):.1f}" cy="11" r="4.5"/>')
    return f'<svg class="strip" viewBox="0 0 180 22" width="180" height="22" aria-hidden="true">{"".join(parts)}</svg>'


def _bar(left: float, right: float, top: float, foot: float, tip: str) -> str:
    return f'<path d="M{left:.1f} {foot:g}V{top:.1f}H{right:.1f}V{foot:g}z"><title>{escape(tip)}</title></path>'


def _whole(value: float) -> float | int:
    return int(value) if value == int(value) else value
