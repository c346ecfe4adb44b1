"""What charts are drawn with: axes around a plot, lines and dots in it, and the SVG around both.

Colours are CSS classes, so that one drawing serves light, dark and paper. What is drawn in a plot is an SVG of its own
inside the chart, whose viewBox is all that zooming changes. A chart has a title and a description for readers who
listen, and carries its axes as data attributes, from which the page's script reads values back on hovering.
"""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqtrain.report.axes import Axis

Array = NDArray[Any]
NUM_COLOURS = 10
"""Series and classes that are told apart by colour."""
NUM_STEPS = 5
"""Of a quantity that is shown by colour."""
WIDTH, HEIGHT, SIDE = 440, 280, 400
"""Of a chart, and of a square one; units of the drawing, about a pixel of the screen."""
LEFT, RIGHT, TOP, BOTTOM = 72, 14, 14, 46
"""Margins around the plot."""
_MAX_SCALE = 1.2
"""How much larger than drawn a chart may be shown, so that its words stay the size of the text around it."""
_MAX_NAME = 80


def colour(index: int) -> str:
    """The CSS class of a series."""
    return f"c{index % NUM_COLOURS + 1}"


def plain_axes(width: int, height: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """Start and end of the x and of the y axis of a chart of this size; y grows upwards."""
    return (LEFT, width - RIGHT), (height - BOTTOM, TOP)


def frame(x: Axis, y: Axis, x_label: str, y_label: str, *, ticks: bool = True) -> str:
    """Grid, ticks and axis labels."""
    parts = []
    for value, words in y.ticks(5) if ticks else ():
        place = f"{y.place(value):.1f}"
        parts.append(f'<line class="grid" x1="{x.start}" x2="{x.end}" y1="{place}" y2="{place}"/>')
        parts.append(f'<text class="tick end" x="{x.start - 7}" y="{float(place) + 4:.1f}">{words}</text>')
    for value, words in x.ticks(5) if ticks else ():
        place = f"{x.place(value):.1f}"
        parts.append(f'<line class="grid" x1="{place}" x2="{place}" y1="{y.start}" y2="{y.start + 4}"/>')
        parts.append(f'<text class="tick mid" x="{place}" y="{y.start + 18}">{words}</text>')
    parts = [f'<g class="ticks">{"".join(parts)}</g>']
    parts.append(f'<line class="axis" x1="{x.start}" x2="{x.end}" y1="{y.start}" y2="{y.start}"/>')
    middle = (x.start + x.end) / 2
    below = y.start + (38 if ticks else 20)
    parts.append(f'<text class="label mid" x="{middle:.0f}" y="{below}">{escape(x_label)}</text>')
    name = escape(y_label) + (", log scale" if y.log else "")
    place = f"translate({11 if ticks else x.start - 12:.0f} {(y.start + y.end) / 2:.0f})"
    parts.append(f'<text class="label mid" transform="{place} rotate(-90)">{name}</text>')
    return "".join(parts)


def plot(x: Axis, y: Axis, body: str) -> str:
    """What is drawn between the axes, in the units of the chart around it."""
    box = (x.start, y.end, x.end - x.start, y.start - y.end)
    view = " ".join(f"{each:g}" for each in box)
    place = " ".join(f'{name}="{each:g}"' for name, each in zip(("x", "y", "width", "height"), box, strict=True))
    return f'<svg class="plot" {place} viewBox="{view}" preserveAspectRatio="none">{body}</svg>'


def path(x: Axis, y: Axis, xs: Array, ys: Array) -> str:
    """A line through the finite points, broken where one is not."""
    finite = np.isfinite(xs) & np.isfinite(ys)
    pen = "M"
    steps = []
    for place_x, place_y, drawn in zip(x.place(xs), y.place(np.where(finite, ys, y.low)), finite, strict=True):
        if drawn:
            steps.append(f"{pen}{place_x:.1f} {place_y:.1f}")
        pen = "L" if drawn else "M"
    return "".join(steps)


def dots(x: Axis, y: Axis, xs: Array, ys: Array) -> str:
    """One stroke of no length per finite point: a round cap makes it a dot, in a tenth of the bytes of circles."""
    finite = np.isfinite(xs) & np.isfinite(ys)
    places = zip(x.place(xs[finite]), y.place(ys[finite]), strict=True)
    return "".join(f"M{place_x:.1f} {place_y:.1f}h0" for place_x, place_y in places)


def level(x: Axis, y: Axis, name: str, height: float) -> str:
    """A line across the plot at a height of the y axis; "" where it is not finite or outside."""
    if not y.low <= height <= y.high:
        return ""
    place = f"{y.place(height):.1f}"
    tip = f"<title>{escape(name)}</title>" if name else ""
    return f'<path class="level" d="M{x.start:g} {place}H{x.end:g}">{tip}</path>'


def names_attribute(names: tuple[str, ...], shown: Array) -> str:
    """Names of the points of a path, in their order; read by the page's script."""
    if not names:
        return ""
    lines = "\n".join(names[i].replace("\n", " · ")[:_MAX_NAME] for i in shown)
    return f' data-names="{escape(lines)}"'


def chart_svg(
    body: str,
    key: str,
    title: str,
    description: str,
    axes: tuple[Axis, Axis] | None = None,
    labels: tuple[str, str] = ("", ""),
    *,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    fixed: bool = False,
) -> str:
    """A chart of a page.

    Args:
        key: a name for ids, unique in the page.
        axes: x and y of a plot that can be zoomed.
        labels: how the values of a point are called on hovering; "" does not show them.
        fixed: shown in its own size, to scroll rather than shrink.
    """
    width, height = size
    style = f"width:{width}px" if fixed else f"max-width:{width * _MAX_SCALE:.0f}px"
    scales = ""
    for name, axis, label in zip("xy", axes or (), labels, strict=False):
        numbers = f"{axis.low:.6g} {axis.high:.6g} {axis.start:g} {axis.end:g} {int(axis.log)}"
        scales += f' data-{name}="{numbers}"' + (f' data-{name}-label="{escape(label)}"' if label else "")
    return (
        f'<svg class="chart" style="{style}" viewBox="0 0 {width} {height}" role="img" '
        f'aria-labelledby="{key}-t {key}-d"{scales}>'
        f'<title id="{key}-t">{escape(title)}</title><desc id="{key}-d">{escape(description)}</desc>{body}</svg>'
    )
