"""Charts with a caption and a key, as they stand in a page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqtrain.report.axes import number
from seqtrain.report.bar_charts import bars_chart, calibration_chart
from seqtrain.report.canvas import colour
from seqtrain.report.clouds import MAX_DOTS, SHAPES, hue_class, points_chart, scatter_chart
from seqtrain.report.line_chart import line_chart, smoothing
from seqtrain.report.matrix_chart import MAX_CLASSES, confusion_chart
from seqtrain.report.records import Bars, Calibration, Chart, Confusion, Curve, Points, Scatter

MAX_DOTS_IN_PAGE = 20_000
"""All clouds of a group together, so that a page of many test sets and columns opens quickly."""
_LEAST_DOTS = 300


def figures(charts: Sequence[Chart], prefix: str) -> str:
    """Charts side by side where there is room for it. prefix: a name for ids, unique in the page; "" where empty."""
    clouds = sum(isinstance(chart, Scatter | Points) for chart in charts)
    most = min(MAX_DOTS, max(MAX_DOTS_IN_PAGE // max(clouds, 1), _LEAST_DOTS))
    drawn = [_figure(chart, f"{prefix}{index}", most) for index, chart in enumerate(charts)]
    kept = "".join(filter(None, drawn))
    wide = all(isinstance(chart, Confusion) for chart in charts)
    return f'<div class="{"matrices" if wide else "charts"}">{kept}</div>' if kept else ""


def _figure(chart: Chart, key: str, most: int) -> str:
    if isinstance(chart, Curve):
        return _curve(chart, key)
    if isinstance(chart, Scatter):
        return _scatter(chart, key, most)
    if isinstance(chart, Points):
        return _points(chart, key, most)
    if isinstance(chart, Bars):
        return _bars(chart, key)
    return _calibration(chart, key) if isinstance(chart, Calibration) else _confusion(chart, key)


def _curve(curve: Curve, key: str) -> str:
    if not any(len(series.x) for series in curve.series):
        return ""
    widths = {smoothing(series) for series in curve.series} - {1}
    names = [series.name for series in curve.series] if len(curve.series) > 1 or widths else []
    items = [(f'data-s="{i}"', colour(i), name) for i, name in enumerate(names)]
    notes = [f"dashed: {name}" for name, _ in curve.levels] + ([f"dashed: {curve.diagonal}"] if curve.diagonal else [])
    if widths:
        notes.append(f"faint: every value; line: mean of {' or '.join(f'{width:,}' for width in sorted(widths))}")
    return _captioned(curve.title, "", line_chart(curve, key), _key(items, notes))


def _scatter(scatter: Scatter, key: str, most: int) -> str:
    if not len(scatter.true):
        return ""
    name = " · ".join(part for part in (scatter.test_set, scatter.label) if part)
    shown = _shown(scatter.true, scatter.predicted, most)
    return _captioned(name, shown, scatter_chart(scatter, key, most))


def _points(points: Points, key: str, most: int) -> str:
    if not len(points.x):
        return ""
    hues = [] if points.colour is None else np.unique(points.colour).tolist()
    items = [(f'data-s="{i}"', hue_class(i, points.ordered), points.colours[i]) for i in hues]
    shapes = [] if points.shape is None or len(points.shapes) < 2 else np.unique(points.shape).tolist()
    items += [(f'data-t="{i}"', f"shape {SHAPES[i % len(SHAPES)]}", points.shapes[i]) for i in shapes]
    chart = points_chart(points, key, most)
    return _captioned(points.title, _shown(points.x, points.y, most), chart, _key(items, []))


def _bars(bars: Bars, key: str) -> str:
    if len(bars.edges) < 2 or not np.asarray(bars.counts).size:
        return ""
    items = [(f'data-s="{i}"', colour(i), name) for i, name in enumerate(bars.names)] if len(bars.names) > 1 else []
    return _captioned(bars.title, "", bars_chart(bars, key), _key(items, []))


def _calibration(calibration: Calibration, key: str) -> str:
    counts = np.asarray(calibration.counts)
    if not counts.sum():
        return ""
    small = f"bars: {int(counts.sum()):,} predictions, {int(counts.max()):,} in the fullest bin"
    return _captioned(calibration.title, small, calibration_chart(calibration, key))


def _confusion(confusion: Confusion, key: str) -> str:
    if not confusion.labels:
        return ""
    words = f"{int(confusion.counts.sum()):,} predictions; shade = share of the true class"
    if len(confusion.labels) > MAX_CLASSES:
        words += f"; the commonest {MAX_CLASSES - 1} of {len(confusion.labels)} classes"
    name = escape(f"Confusion matrix, {confusion.test_set}" if confusion.test_set else "Confusion matrix")
    box = f'<div class="matrix" role="region" tabindex="0" aria-label="{name}">{confusion_chart(confusion, key)}</div>'
    return _captioned(confusion.test_set, words, box)


def _captioned(title: str, small: str, chart: str, key: str = "") -> str:
    words = f"{escape(title)} <small>{escape(small)}</small>" if small else escape(title)
    return f"<figure><figcaption>{words}</figcaption>{key}{chart}</figure>"


def _key(items: Sequence[tuple[str, str, str]], notes: Sequence[str]) -> str:
    """items: (which part of the chart an item stands for, CSS classes of its mark, its words)."""
    marks = "".join(f'<li {part}><span class="{kind}"></span>{escape(words)}</li>' for part, kind, words in items)
    said = "".join(f"<li>{escape(words)}</li>" for words in notes)
    return f'<ul class="key">{marks}{said}</ul>' if marks or said else ""


def _shown(x: NDArray[Any], y: NDArray[Any], most: int) -> str:
    count = int((np.isfinite(np.asarray(x, np.float64)) & np.isfinite(np.asarray(y, np.float64))).sum())
    words = f"{number(count)} record{'s' * (count != 1)}"
    return words if count <= most else f"{most:,} of {words}, drawn at random"
