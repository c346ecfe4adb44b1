"""What a report shows: plain values, each part optional, so that every kind of run fills in what it has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

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
    levels: tuple[tuple[str, float], ...] = ()
    """(name, height) of lines to compare with, such as what chance would give."""
    diagonal: str = ""
    """What the line x = y means, drawn when it has a meaning."""
    unit_square: bool = False
    """Both axes go from 0 to 1, and the chart is square."""


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
class Points:
    """A cloud of records in a plane, such as a map of embeddings, in colours and shapes."""

    title: str
    what: str = "records"
    """What a point is, as said to those who cannot see it."""
    x_label: str
    y_label: str
    x: NDArray[Any]
    """(N,)."""
    y: NDArray[Any]
    """(N,)."""
    names: tuple[str, ...] = ()
    """N words, shown on hovering; or none."""
    colours: tuple[str, ...] = ()
    """What each colour means."""
    colour: NDArray[Any] | None = None
    """(N,) indices into ``colours``; None: one colour for all."""
    ordered: bool = False
    """The colours are steps of a quantity, and are shown from light to dark."""
    shapes: tuple[str, ...] = ()
    """What each shape means."""
    shape: NDArray[Any] | None = None
    """(N,) indices into ``shapes``; None: dots."""
    zero: bool = False
    """A line at y = 0, such as no error."""
    has_axes: bool = True
    """False where distances mean something and places do not."""


@dataclass(frozen=True, kw_only=True)
class Bars:
    """A histogram of one or more series over the same bins."""

    title: str
    x_label: str
    y_label: str
    edges: NDArray[Any]
    """(E + 1,) increasing ends of the bins."""
    counts: NDArray[Any]
    """(E,) or (S, E): what falls into each bin, of each series."""
    names: tuple[str, ...] = ()
    """S names of the series; or none, where there is one."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How often predictions of a confidence are right, in E bins of equal width from 0 to 1."""

    title: str
    confidence: NDArray[Any]
    """(E,) mean probability of the predictions in each bin; nan where it is empty."""
    observed: NDArray[Any]
    """(E,) share of them that is right."""
    counts: NDArray[Any]
    """(E,) predictions in each bin."""


@dataclass(frozen=True, kw_only=True)
class WorstRecord:
    """A record that the model got wrong, and by how much."""

    identifier: str
    true: str
    predicted: str
    loss: float
    nearest: str = ""
    """Name of the training record that is most like it; "" when none was found."""
    nearest_label: str = ""
    identity: float = float("nan")
    """Of the two sequences, 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of cells under a header; numbers are set right-aligned."""

    header: tuple[str, ...]
    rows: tuple[tuple[str | int | float, ...], ...]
    title: str = ""


@dataclass(frozen=True, kw_only=True)
class Remark:
    """Something found out about a run, and what to do about it."""

    severity: Literal["fine", "note", "warning"]
    words: str
    advice: str = ""


Chart = Curve | Scatter | Points | Bars | Calibration | Confusion
"""A chart joins by standing here and in :func:`seqtrain.report.figures.drawn`."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of a report beside the usual ones: sentences, remarks, charts and tables, each optional."""

    title: str
    sentences: tuple[str, ...] = ()
    remarks: tuple[Remark, ...] = ()
    charts: tuple[Chart, ...] = ()
    tables: tuple[Table, ...] = ()
    note: str = ""
    """How to read it, in small letters."""
    early: bool = False
    """Stands right behind the key figures, not among the details."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything that report.html shows. A part left empty is left out."""

    title: str
    command: str = ""
    """The command line that made the run."""
    summary: tuple[str, ...] = ()
    """What was done and found, in sentences; the first one is set large."""
    figures: tuple[Figure, ...] = ()
    sections: tuple[Section, ...] = ()
    """What this kind of run shows beside the usual parts."""
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
