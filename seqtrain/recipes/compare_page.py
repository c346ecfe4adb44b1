"""A comparison of runs as one page."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from seqtrain.evaluation.metrics import TITLES, confusion_matrix
from seqtrain.losses import IGNORED_CLASS
from seqtrain.paired import p_in_words
from seqtrain.recipes.compare import Comparison
from seqtrain.report.html import write_report
from seqtrain.report.records import Chart, Confusion, Figure, Report, Scatter, Section, Table
from seqtrain.tasks import MultiLabel, Regression

_MAX_CONFUSION = 20
_SHOWN = 6
"""Metrics with an interval in the table of each run."""


def write_comparison(path: Path, comparison: Comparison, command: str = "") -> None:
    """Write one self-contained page: the verdicts, all runs in one table, each run's metrics beside the others'.

    Raises:
        InputError: the folder is not writable.
        RunError: the disk is full.
    """
    title = TITLES.get(comparison.metric, comparison.metric)
    counted = f"{comparison.num_records:,} record{'s' * (comparison.num_records != 1)}"
    table = Section(
        title="All runs",
        sentences=(f"{title} on the {counted} of set {comparison.test_set!r} that all runs have.",),
        tables=(_table(comparison, title),),
        note="Intervals are of 95 %, by bootstrap over records. p: two-sided, by swapping the predictions of two runs, "
        "record by record, corrected for the number of comparisons (Holm 1979). Simple models: those of the first run.",
        early=True,
    )
    predictions = Section(title="What each run says", charts=tuple(_charts(comparison)))
    write_report(
        path,
        Report(
            title=f"{len(comparison.runs)} runs compared",
            command=command,
            summary=(*(f"{line}." for line in comparison.words()), f"Task: {comparison.task.words}."),
            figures=tuple(_figures(comparison)),
            sections=(table, predictions) if predictions.charts else (table,),
        ),
    )


def _table(comparison: Comparison, title: str) -> Table:
    """The runs, then the simple models beside the first of them."""
    rows: list[tuple[str | int | float, ...]] = []
    for run in comparison.runs:
        gap = run.difference
        beside = ("", "") if gap is None else (_ends(gap.low, gap.high, "+.3f"), p_in_words(gap.p).removeprefix("p = "))
        rows.append((str(run.folder), run.value, _ends(run.low, run.high, ".3f"), str(run.rank), *beside))
    rows += [(name, value, "", "", "", "") for name, value in comparison.simple.items()]
    less = f"difference to {comparison.runs[comparison.reference].folder}"
    return Table(header=("run", title, "interval", "rank", less, "p"), rows=tuple(rows))


def _ends(low: float, high: float, form: str) -> str:
    return "none" if math.isnan(low) else f"{low:{form}} to {high:{form}}"


def _figures(comparison: Comparison) -> list[Figure]:
    """The metrics of each run with the other runs beside them, the one that was asked for first; of two runs, once."""
    found = []
    for run in comparison.runs if len(comparison.runs) > 2 else comparison.runs[:1]:
        names = [comparison.metric, *(name for name in run.intervals if name != comparison.metric)][:_SHOWN]
        for name in names:
            low, high = run.intervals[name]
            found.append(
                Figure(
                    test_set=str(run.folder),
                    metric=name,
                    value=run.metrics[name],
                    low=low,
                    high=high,
                    baselines=tuple((str(o.folder), o.metrics[name]) for o in comparison.runs if o is not run),
                )
            )
    return found


def _charts(comparison: Comparison) -> list[Chart]:
    """Predicted and true values, or confusions, of each run."""
    task, true = comparison.task, comparison.true
    charts: list[Chart] = []
    for run, said in zip(comparison.runs, comparison.said, strict=True):
        if isinstance(task, Regression):
            charts += [
                Scatter(
                    true=true[:, k],
                    predicted=said.values[:, k],
                    label=column,
                    test_set=str(run.folder),
                    identifiers=comparison.names,
                )
                for k, column in enumerate(task.columns)
            ]
        elif not isinstance(task, MultiLabel) and task.outputs <= _MAX_CONFUSION:
            known = np.asarray(true) != IGNORED_CLASS
            counts = confusion_matrix(true[known], said.decided[known], task.outputs)
            charts.append(Confusion(labels=task.classes, counts=counts, test_set=str(run.folder)))
    return charts
