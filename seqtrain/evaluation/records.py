"""What a report shows: plain values, each part optional, so that every kind of run fills in what it has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One metric of one test set, with what the score is worth."""

    test_set: str
    metric: str
    """A name of :mod:`seqtrain.evaluation.metrics`, or any other words."""
    value: float
    low: float = float("nan")
    """Lower end of the 95 % interval; nan when there is none."""
    high: float = float("nan")
    baselines: tuple[tuple[str, float], ...] = ()
    """(name, value of the same metric on the same test set) for each baseline."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """One line of a chart."""

    name: str
    x: NDArray[Any]
    """(P,) increasing."""
    y: NDArray[Any]
    """(P,); a point that is not finite leaves a gap."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A chart of one or more lines over the same axis, such as the loss of training and validation by step."""

    title: str
    x_label: str
    y_label: str
    """With its unit in brackets, such as ``loss (nats)``."""
    series: tuple[Series, ...]


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """Counts of true (rows) against predicted (columns) classes."""

    labels: tuple[str, ...]
    """K class names."""
    counts: NDArray[np.int64]
    """(K, K)."""
    test_set: str = ""


@dataclass(frozen=True, kw_only=True)
class Scatter:
    """Predicted against true values of one test set."""

    true: NDArray[Any]
    """(N,)."""
    predicted: NDArray[Any]
    """(N,)."""
    label: str = "value"
    """What is predicted, with its unit in brackets."""
    test_set: str = ""
    identifiers: tuple[str, ...] = ()
    """N record names, shown on hovering; or none."""


@dataclass(frozen=True, kw_only=True)
class WorstRecord:
    """A record that the model got wrong, and by how much."""

    identifier: str
    true: str
    predicted: str
    loss: float


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of cells under a header; numbers are set right-aligned."""

    header: tuple[str, ...]
    rows: tuple[tuple[str | int | float, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything that report.html shows. A part left empty is left out."""

    title: str
    command: str = ""
    """The command line that made the run."""
    summary: tuple[str, ...] = ()
    """What was done and found, in sentences; the first one is set large."""
    figures: tuple[Figure, ...] = ()
    curves: tuple[Curve, ...] = ()
    scatters: tuple[Scatter, ...] = ()
    confusions: tuple[Confusion, ...] = ()
    worst: tuple[WorstRecord, ...] = ()
    classes: Table | None = None
    """One row per class: records per set, precision, recall …"""
    splits: Table | None = None
    """One row per set: records, letters …"""
    ledger: Table | None = None
    """Every record read: kept, dropped with its reason, changed."""
    configuration: tuple[tuple[str, str], ...] = ()
    """(key, value) of every setting, defaults included."""
    environment: tuple[tuple[str, str], ...] = ()
    """(key, value): versions, device, seed, wall-clock time."""
