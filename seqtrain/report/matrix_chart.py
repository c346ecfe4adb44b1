"""A confusion matrix as inline SVG: true classes by row, predicted ones by column."""

from __future__ import annotations

import math
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqtrain.report.canvas import chart_svg
from seqtrain.report.records import Confusion

Array = NDArray[Any]
MAX_CLASSES = 25
"""A confusion matrix shows at most this many classes, the commonest; the others are put together."""
_MAX_LABEL = 16


def confusion_chart(confusion: Confusion, key: str) -> str:
    """True classes by row, predicted ones by column; shade = share of the row."""
    labels, counts = common_classes(confusion)
    size = len(labels)
    cell = 44 if size <= 8 else 36 if size <= 14 else 30
    longest = max(len(_clipped(label)) for label in labels)
    turned = longest * 7 > cell
    left, top = 34 + longest * 6.6, 26 + (longest * 5.2 if turned else 16)
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
        if turned:
            place = f'transform="translate({left + middle - 2:.0f} {top - 7:.0f}) rotate(-45)"'
            parts.append(f'<text class="tick" {place}>{full}</text>')
        else:
            parts.append(f'<text class="tick mid" x="{left + middle:.0f}" y="{top - 7:.0f}">{full}</text>')
    width = left + size * cell + (longest * 4 if turned else 8)
    height = top + size * cell + 6
    parts.append(f'<text class="label mid" x="{left + size * cell / 2:.0f}" y="12">predicted class</text>')
    rows = top + size * cell / 2
    parts.append(f'<text class="label mid" transform="translate(12 {rows:.0f}) rotate(-90)">true class</text>')
    total = int(counts.sum())
    right = np.trace(confusion.counts) / total if total else float("nan")
    described = f"{len(confusion.labels)} classes, {total:,} predictions, {right:.1%} on the diagonal."
    body = "".join(parts)
    return chart_svg(body, key, "Confusion matrix", described, size=(math.ceil(width), math.ceil(height)), fixed=True)


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
    # Classes that were put together may be mistaken for one another in their own cell.
    mixed = row == column == MAX_CLASSES - 1 and labels[row].endswith(" others")
    kind = "mixed" if mixed else "right" if row == column else "wrong"
    tip = f"true {labels[row]}, predicted {labels[column]}: {count:,} ({share:.0%} of the row)"
    text = ""
    if count:
        text = f'<text class="cell" x="{x + size / 2:.0f}" y="{y + size / 2 + 4:.0f}">{_compact(count)}</text>'
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
