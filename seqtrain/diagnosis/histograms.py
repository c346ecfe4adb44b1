"""Activations and gradients as plain histograms, which ``debug.json`` keeps and a report draws."""

from __future__ import annotations

from typing import Any

from seqtrain.diagnosis.units import Units
from seqtrain.diagnosis.updates import EXPONENTS, Watch


def histograms(units: Units, when: str) -> list[dict[str, Any]]:
    """One for each activation and layer, with the fields of :class:`seqtrain.report.records.Bars`."""
    made = []
    for layer in units.layers:
        edges, counts = layer.histogram()
        bars = {"title": f"{layer.name} {when}", "x_label": "output", "y_label": "outputs of units", "names": []}
        made.append({**bars, "edges": edges.tolist(), "counts": counts.tolist()})
    return made


def gradient_histograms(watch: Watch) -> list[dict[str, Any]]:
    """One for each layer, of the last update that was looked at."""
    labels = {"x_label": "log₁₀ |gradient|", "y_label": "parameters", "names": [], "edges": EXPONENTS.tolist()}
    return [
        {"title": f"gradients of {layer}", **labels, "counts": counts.tolist()}
        for layer, counts in watch.exponents.items()
    ]
