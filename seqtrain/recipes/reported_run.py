"""What a report takes from the files of a run: curves, ledger, configuration, environment."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seqtrain.evaluation.metrics import TITLES
from seqtrain.metrics_log import read_metrics
from seqtrain.report.records import Curve, Series, Table


def curves_of(folder: Path, loss: str, measures: Sequence[str]) -> tuple[Curve, ...]:
    """Loss, measures of the validation records, and the learning rate, by step.

    Args:
        loss: what the loss is called, with its unit.
        measures: names in ``metrics.jsonl``; those that are not there are left out.
    """
    events = read_metrics(folder)

    def series(name: str, event: str, key: str) -> Series:
        found = [(each["step"], each[key]) for each in events if each["event"] == event and each.get(key) is not None]
        steps, values = zip(*found, strict=True) if found else ((), ())
        return Series(name=name, x=np.array(steps, dtype=float), y=np.array(values, dtype=float))

    def curve(title: str, label: str, *lines: Series) -> Curve:
        kept = tuple(line for line in lines if len(line.x))
        return Curve(title=title, x_label="step (updates)", y_label=label, series=kept)

    curves = [curve("Loss", loss, series("training", "train", "loss"), series("validation", "valid", "loss"))]
    curves += [
        curve(
            f"{TITLES.get(name, _plain(name))}, validation records",
            _plain(name).lower(),
            series("validation", "valid", name),
        )
        for name in measures
    ]
    curves.append(curve("Learning rate", "learning rate", series("body", "train", "learning_rate")))
    return tuple(each for each in curves if each.series)


def ledger_of(folder: Path) -> Table:
    """What became of every record read."""
    with (folder / "ledger.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    counts = {"records", "letters"}
    typed = tuple(
        tuple(int(cell) if name in counts and cell else cell for name, cell in zip(header, row, strict=True))
        for row in rows
    )
    return Table(header=tuple(header), rows=typed)


def configuration_of(record: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Every setting in ``run.json``."""
    return tuple((name, str(value)) for name, value in record["facts"].items() if value is not None)


def environment_of(record: Mapping[str, Any], results: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Versions, device and time."""
    return (*record["environment"].items(), ("wall-clock time since the last start", f"{results['seconds']:,} seconds"))


def _plain(name: str) -> str:
    """The name of a measure as words."""
    return name.replace("_", " ").capitalize()
