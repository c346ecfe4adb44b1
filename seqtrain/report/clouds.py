"""Records as dots in a plane, as inline SVG: predicted against true values, errors, maps of embeddings."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqtrain.draws import permuted
from seqtrain.report.axes import axis_of
from seqtrain.report.canvas import (
    HEIGHT,
    NUM_COLOURS,
    NUM_STEPS,
    SIDE,
    WIDTH,
    chart_svg,
    dots,
    frame,
    level,
    names_attribute,
    path,
    plain_axes,
    plot,
)
from seqtrain.report.records import Points, Scatter

Array = NDArray[Any]
MAX_DOTS = 5000
"""Per chart; of more, as many are drawn at random."""
SHAPES = ("round", "square", "ring")


def scatter_chart(scatter: Scatter, key: str, max_dots: int = MAX_DOTS) -> str:
    """Predicted against true values on equal axes, with the line on which they agree."""
    true, predicted = np.asarray(scatter.true, np.float64), np.asarray(scatter.predicted, np.float64)
    shown = chosen(np.isfinite(true) & np.isfinite(predicted), max_dots)
    both = np.concatenate([true[shown], predicted[shown]])
    across, up = plain_axes(SIDE, SIDE)
    x, y = axis_of(both, *across, margin=0.03), axis_of(both, *up, margin=0.03)
    ends = np.array([x.low, x.high])
    names = names_attribute(scatter.identifiers, shown)
    cloud = f'<path class="dots {_density(len(shown))} c1"{names} d="{dots(x, y, true[shown], predicted[shown])}"/>'
    labels = (f"true {scatter.label}", f"predicted {scatter.label}")
    return chart_svg(
        frame(x, y, *labels) + plot(x, y, f'<path class="level" d="{path(x, y, ends, ends)}"/>{cloud}'),
        key,
        f"Predicted and true {scatter.label}",
        f"{len(shown):,} records; the diagonal is agreement.",
        (x, y),
        ("true", "predicted"),
        size=(SIDE, SIDE),
    )


def points_chart(points: Points, key: str, max_dots: int = MAX_DOTS) -> str:
    """A cloud in colours and shapes; each pair of them is a path of its own, which a key switches on or off."""
    xs, ys = np.asarray(points.x, np.float64), np.asarray(points.y, np.float64)
    shown = chosen(np.isfinite(xs) & np.isfinite(ys), max_dots)
    size = (WIDTH, HEIGHT) if points.has_axes else (SIDE, SIDE)
    across, up = plain_axes(*size)
    heights = np.concatenate([ys[shown], [0.0] if points.zero else []])
    x, y = axis_of(xs[shown], *across, margin=0.03), axis_of(heights, *up, margin=0.03)
    hues = np.zeros(len(xs), np.int64) if points.colour is None else np.asarray(points.colour)
    shapes = np.zeros(len(xs), np.int64) if points.shape is None else np.asarray(points.shape)
    parts = [level(x, y, "", 0.0)] if points.zero else []
    for hue, shape in sorted(set(zip(hues[shown].tolist(), shapes[shown].tolist(), strict=True))):
        some = shown[(hues[shown] == hue) & (shapes[shown] == shape)]
        form = SHAPES[shape % len(SHAPES)]
        kinds = f"dots {_density(len(shown))} {form} {hue_class(hue, points.ordered)}"
        places = dots(x, y, xs[some], ys[some])
        hole = f'<path class="hole {_density(len(shown))}" d="{places}"/>' if form == "ring" else ""
        cloud = f'<path class="{kinds}"{names_attribute(points.names, some)} d="{places}"/>'
        parts.append(f'<g data-s="{hue}" data-t="{shape}">{cloud}{hole}</g>')
    labels = (points.x_label, points.y_label)
    return chart_svg(
        frame(x, y, *labels, ticks=points.has_axes) + plot(x, y, "".join(parts)),
        key,
        points.title,
        f"{len(shown):,} {points.what} by {points.x_label} and {points.y_label}.",
        (x, y),
        labels if points.has_axes else ("", ""),
        size=size,
    )


def chosen(usable: NDArray[np.bool_], most: int) -> NDArray[np.int64]:
    """Indices that are usable, or a keyed choice of ``most`` of them, in increasing order."""
    found = np.flatnonzero(usable)
    return found if len(found) <= most else found[np.sort(permuted(np.arange(most), len(found), 0))]


def hue_class(index: int, ordered: bool) -> str:
    """The CSS class of a colour of a cloud."""
    return f"v{min(index, NUM_STEPS - 1) + 1}" if ordered else f"c{index % NUM_COLOURS + 1}"


def _density(count: int) -> str:
    return "large" if count <= 300 else "small" if count > 2000 else "medium"
