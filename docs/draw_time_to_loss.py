"""Draws the held-out losses that ``benchmarks/benchmark_time_to_loss.py`` measured, as an SVG with text in it.

python docs/draw_time_to_loss.py [FOLDER]
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

from drawing import label, picture

RESULTS = Path(__file__).parent.parent / "benchmarks" / "results" / "time_to_loss.json"
WIDTH, HEIGHT = 560, 260
LEFT, TOP = 60, 52
FIRST = 1.0
"""Second at which the axis begins, which is logarithmic."""
OURS, PEERS = "#2f81f7", ("#db6d28", "#8250df", "#1a7f37")


def chart(report: dict[str, Any]) -> str:
    """Loss against seconds of training, one line per run, and the target."""
    curves: dict[str, list[dict[str, float]]] = report["curves"]
    points = [point for curve in curves.values() for point in curve]
    last = max(2 * FIRST, *(point["seconds"] for point in points))
    lowest = min(report["target"] - 0.02, *(point["loss"] for point in points))
    highest = min(report["entropy"] + 0.05, max(point["loss"] for point in points))

    def across(seconds: float) -> float:
        return LEFT + WIDTH * math.log(max(seconds, FIRST) / FIRST) / math.log(last / FIRST)

    def down(loss: float) -> float:
        return TOP + HEIGHT * (highest - min(loss, highest)) / (highest - lowest)

    parts = [
        label(LEFT, 28, "Held-out loss while training, nats per residue", "left bold"),
        f'<path class="frame" d="M{LEFT} {TOP}V{TOP + HEIGHT}H{LEFT + WIDTH}"/>',
    ]
    for seconds in (1, 10, 60, 600, 3600, 7200):
        if seconds <= last:
            name = f"{seconds} s" if seconds < 60 else f"{seconds // 60} min"
            parts.append(label(across(seconds), TOP + HEIGHT + 18, name, "small quiet"))
    for name in ("entropy", "target"):
        y = down(report[name])
        parts.append(f'<path class="frame" stroke-dasharray="3 3" d="M{LEFT} {y:.1f}H{LEFT + WIDTH}"/>')
        parts.append(label(LEFT + WIDTH + 8, y + 4, f"{report[name]:.2f} {NAMES[name]}", "left small quiet"))
        parts.append(label(LEFT - 24, y + 4, f"{report[name]:.2f}", "small quiet"))
    for number, (name, curve) in enumerate(curves.items()):
        colour = OURS if name == "ours" else PEERS[(number - 1) % len(PEERS)]
        path = "L".join(f"{across(point['seconds']):.1f} {down(point['loss']):.1f}" for point in curve)
        parts.append(f'<path fill="none" stroke="{colour}" stroke-width="2" d="M{path}"/>')
        y = TOP + HEIGHT + 44 + 20 * number
        parts.append(f'<path fill="none" stroke="{colour}" stroke-width="2" d="M{LEFT} {y - 4}h24"/>')
        parts.append(label(LEFT + 34, y, _described(name, report), "left small"))
    return picture(LEFT + WIDTH + 180, TOP + HEIGHT + 40 + 20 * len(curves) + 10, "Time to loss", parts)


NAMES = {"entropy": "letter frequencies", "target": "target"}


def _described(name: str, report: dict[str, Any]) -> str:
    reached = report["reached"]["seconds"][name]
    who = "seqtrain" if name == "ours" else f"transformers Trainer, learning rate {name.removeprefix('peer-')}"
    return f"{who}: {'target not reached' if reached is None else f'target after {reached:,.0f} s'}"


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "pictures"
    report = json.loads(RESULTS.read_text(encoding="utf-8"))
    (folder / "time_to_loss.svg").write_text(chart(report), encoding="utf-8")


if __name__ == "__main__":
    main()
