"""Charts as inline SVG: lines, a scatter, a confusion matrix, and a score beside its baselines.

Colours are CSS classes, so that one drawing serves light, dark and paper. A chart has a title and a description for
readers who listen, and carries its axes as data attributes, from which the page's script reads values back on hovering.
"""

from __future__ import annotations

import math
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqtrain.draws import permuted
from seqtrain.evaluation.axes import Axis, axis_of, number, step_axis
from seqtrain.evaluation.records import Confusion, Curve, Figure, Scatter, Series

Array = NDArray[Any]
MAX_POINTS = 5000
"""Per chart; more are thinned."""
NUM_COLOURS = 6
MAX_CLASSES = 25
"""A confusion matrix shows at most this many classes, the commonest; the others are put together."""
_WIDTH, _HEIGHT = 440, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 14, 14, 46
_MARKED_POINTS = 25
_SMOOTH_FROM = 400
_SMOOTH_FRACTION = 0.03
_NOISY_FROM = 4
"""A line that travels this many times its range is noisy."""
_MAX_SCALE = 1.2
"""How much larger than drawn a chart may be shown, so that its words stay the size of the text around it."""
_MAX_LABEL = 16


def line_chart(curve: Curve, key: str) -> str:
    """Lines over a shared axis. key: a name for ids, unique in the page."""
    budget = MAX_POINTS // max(len(curve.series), 1)
    series = [_thinned(each, budget) for each in curve.series]
    x = step_axis(_together([each.x for each in series]), _LEFT, _WIDTH - _RIGHT)
    y = axis_of(_together([each.y for each in series]), _HEIGHT - _BOTTOM, _TOP, margin=0.05, may_be_log=True)
    parts = [_frame(x, y, curve.x_label, curve.y_label)]
    for index, each in enumerate(series):
        colour = f"c{index % NUM_COLOURS + 1}"
        path = _path(x, y, each.x, each.y)
        name = escape(each.name)
        width = smoothing(curve.series[index])
        if width > 1:
            # A band of noise hides where a loss is going, a mean alone how noisy it is: both are drawn.
            parts.append(f'<path class="faint {colour}" d="{path}"/>')
            smooth = _moving_mean(curve.series[index], width)
            path, name = _path(x, y, smooth.x, smooth.y), f"{name}, mean of {width:,}"
        parts.append(f'<path class="line {colour}" data-name="{name}" d="{path}"/>')
        if len(each.x) <= _MARKED_POINTS:
            dots = _dots(x, y, each.x, each.y)
            parts.append(f'<path class="dots large {colour}" d="{dots}"/>')
    ends = "; ".join(f"{each.name} ends at {_last(each.y)}" for each in curve.series)
    return _svg("".join(parts), key, curve.title, f"{curve.y_label} by {curve.x_label}: {ends}.", x, y)


def scatter_chart(scatter: Scatter, key: str) -> str:
    """Predicted against true values on equal axes, with the line on which they agree."""
    true, predicted = np.asarray(scatter.true, np.float64), np.asarray(scatter.predicted, np.float64)
    shown = np.flatnonzero(np.isfinite(true) & np.isfinite(predicted))
    if len(shown) > MAX_POINTS:
        shown = shown[np.sort(permuted(np.arange(MAX_POINTS), len(shown), 0))]
    both = np.concatenate([true[shown], predicted[shown]])
    side = 400
    x = axis_of(both, _LEFT, side - _RIGHT, margin=0.03)
    y = axis_of(both, side - _BOTTOM, _TOP, margin=0.03)
    low, high = x.low, x.high
    diagonal = _path(x, y, np.array([low, high]), np.array([low, high]))
    names = ""
    if scatter.identifiers:
        names = f' data-names="{escape(chr(10).join(scatter.identifiers[i].replace(chr(10), " ") for i in shown))}"'
    density = "large" if len(shown) <= 300 else "small" if len(shown) > 2000 else "medium"
    dots = _dots(x, y, true[shown], predicted[shown])
    body = (
        _frame(x, y, f"true {scatter.label}", f"predicted {scatter.label}")
        + f'<path class="diagonal" d="{diagonal}"/><path class="dots {density} c1"{names} d="{dots}"/>'
    )
    title = f"Predicted and true {scatter.label}"
    return _svg(body, key, title, f"{len(shown):,} records; the diagonal is agreement.", x, y, height=side, width=side)


def confusion_chart(confusion: Confusion, key: str) -> str:
    """True classes by row, predicted ones by column; shade = share of the row."""
    labels, counts = common_classes(confusion)
    size = len(labels)
    cell = 44 if size <= 8 else 36 if size <= 14 else 30
    longest = max(len(_clipped(label)) for label in labels)
    left, top = 34 + longest * 6.6, 26 + (longest * 5.2 if longest * 7 > cell else 16)
    totals = counts.sum(axis=1, keepdims=True)
    shares = counts / np.where(totals == 0, 1, totals)
    parts = []
    for row in range(size):
        for column in range(size):
            parts.append(_cell(labels, counts, shares, row, column, left + column * cell, top + row * cell, cell))
    for index, label in enumerate(labels):
        middle = index * cell + cell / 2
        full = f"<title>{escape(label)}</title>{escape(_clipped(label))}"
        parts.append(f'<text class="tick end" x="{left - 7:.0f}" y="{top + middle + 4:.0f}">{full}</text>')
        if longest * 7 > cell:
            place = f'transform="translate({left + middle - 2:.0f} {top - 7:.0f}) rotate(-45)"'
            parts.append(f'<text class="tick" {place}>{full}</text>')
        else:
            parts.append(f'<text class="tick mid" x="{left + middle:.0f}" y="{top - 7:.0f}">{full}</text>')
    width = left + size * cell + (longest * 4 if longest * 7 > cell else 8)
    height = top + size * cell + 6
    parts.append(f'<text class="label mid" x="{left + size * cell / 2:.0f}" y="12">predicted class</text>')
    rows = top + size * cell / 2
    parts.append(f'<text class="label mid" transform="translate(12 {rows:.0f}) rotate(-90)">true class</text>')
    total = int(counts.sum())
    right = np.trace(counts) / total if total else float("nan")
    described = f"{size} classes, {total:,} predictions, {right:.1%} on the diagonal."
    return _svg(
        "".join(parts), key, "Confusion matrix", described, width=math.ceil(width), height=math.ceil(height), fixed=True
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


def common_classes(confusion: Confusion) -> tuple[list[str], NDArray[np.int64]]:
    """Labels and counts (K, K), with all but the commonest classes put together when there are too many."""
    counts = np.asarray(confusion.counts, np.int64)
    labels = list(confusion.labels)
    if len(labels) <= MAX_CLASSES:
        return labels, counts
    often = np.argsort(-counts.sum(axis=1), kind="stable")
    groups = np.full(len(labels), MAX_CLASSES - 1)
    shown = np.sort(often[: MAX_CLASSES - 1])
    groups[shown] = np.arange(MAX_CLASSES - 1)
    merged = np.zeros((MAX_CLASSES, MAX_CLASSES), dtype=np.int64)
    np.add.at(merged, (groups[:, None], groups[None, :]), counts)
    return [labels[i] for i in shown] + [f"{len(labels) - len(shown)} others"], merged


def _cell(labels: list[str], counts: Array, shares: Array, row: int, column: int, x: float, y: float, size: int) -> str:
    count, share = int(counts[row, column]), float(shares[row, column])
    kind = "right" if row == column else "wrong"
    tip = f"true {labels[row]}, predicted {labels[column]}: {count:,} ({share:.0%} of the row)"
    text = ""
    if count:
        tone = "cell strong" if share > 0.55 else "cell"
        text = f'<text class="{tone}" x="{x + size / 2:.0f}" y="{y + size / 2 + 4:.0f}">{_compact(count)}</text>'
    box = f'x="{x + 0.5:.1f}" y="{y + 0.5:.1f}" width="{size - 1}" height="{size - 1}" rx="2"'
    fill = f'<rect class="{kind}" {box} fill-opacity="{share:.3f}"/>' if count else ""
    return f'<g><title>{escape(tip)}</title><rect class="empty" {box}/>{fill}{text}</g>'


def _compact(count: int) -> str:
    """At most four characters."""
    if count < 1000:
        return str(count)
    if count < 999_500:
        return f"{count / 1e3:.1f}k" if count < 9950 else f"{count / 1e3:.0f}k"
    return f"{count / 1e6:.1f}M" if count < 9.95e6 else f"{count / 1e6:.0f}M"


def _clipped(label: str) -> str:
    return label if len(label) <= _MAX_LABEL else f"{label[: _MAX_LABEL - 1]}…"


def _frame(x: Axis, y: Axis, x_label: str, y_label: str) -> str:
    """Grid, ticks and axis labels."""
    parts = []
    for value, words in y.ticks(5):
        place = f"{y.place(value):.1f}"
        parts.append(f'<line class="grid" x1="{x.start}" x2="{x.end}" y1="{place}" y2="{place}"/>')
        parts.append(f'<text class="tick end" x="{x.start - 7}" y="{float(place) + 4:.1f}">{words}</text>')
    for value, words in x.ticks(5):
        place = f"{x.place(value):.1f}"
        parts.append(f'<line class="grid" x1="{place}" x2="{place}" y1="{y.start}" y2="{y.start + 4}"/>')
        parts.append(f'<text class="tick mid" x="{place}" y="{y.start + 18}">{words}</text>')
    parts.append(f'<line class="axis" x1="{x.start}" x2="{x.end}" y1="{y.start}" y2="{y.start}"/>')
    middle = (x.start + x.end) / 2
    parts.append(f'<text class="label mid" x="{middle:.0f}" y="{y.start + 38}">{escape(x_label)}</text>')
    name = escape(y_label) + (", log scale" if y.log else "")
    turned = f'transform="translate(13 {(y.start + y.end) / 2:.0f}) rotate(-90)"'
    parts.append(f'<text class="label mid" {turned}>{name}</text>')
    return "".join(parts)


def _path(x: Axis, y: Axis, xs: Array, ys: Array) -> str:
    """A line through the finite points, broken where one is not."""
    finite = np.isfinite(xs) & np.isfinite(ys)
    pen = "M"
    steps = []
    for place_x, place_y, drawn in zip(x.place(xs), y.place(np.where(finite, ys, y.low)), finite, strict=True):
        if drawn:
            steps.append(f"{pen}{place_x:.1f} {place_y:.1f}")
        pen = "L" if drawn else "M"
    return "".join(steps)


def _dots(x: Axis, y: Axis, xs: Array, ys: Array) -> str:
    """One stroke of no length per finite point: a round cap makes it a dot, in a tenth of the bytes of circles."""
    finite = np.isfinite(xs) & np.isfinite(ys)
    places = zip(x.place(xs[finite]), y.place(ys[finite]), strict=True)
    return "".join(f"M{place_x:.1f} {place_y:.1f}h0" for place_x, place_y in places)


def _thinned(series: Series, budget: int) -> Series:
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


def _svg(
    body: str,
    key: str,
    title: str,
    description: str,
    x: Axis | None = None,
    y: Axis | None = None,
    *,
    width: int = _WIDTH,
    height: int = _HEIGHT,
    fixed: bool = False,
) -> str:
    """fixed: shown in its own size, to scroll rather than shrink."""
    size = f"width:{width}px" if fixed else f"max-width:{width * _MAX_SCALE:.0f}px"
    scales = ""
    if x is not None and y is not None:
        for name, axis in (("x", x), ("y", y)):
            numbers = f"{axis.low:.6g} {axis.high:.6g} {axis.start:g} {axis.end:g} {int(axis.log)}"
            scales += f' data-{name}="{numbers}"'
    return (
        f'<svg class="chart" style="{size}" viewBox="0 0 {width} {height}" role="img" '
        f'aria-labelledby="{key}-t {key}-d"{scales}>'
        f'<title id="{key}-t">{escape(title)}</title><desc id="{key}-d">{escape(description)}</desc>{body}</svg>'
    )
