"""From the labels of a table to the task that they are: which classes there are, how numbers are scaled."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from seqtrain.errors import InputError
from seqtrain.tasks import (
    Classification,
    MultiLabel,
    Regression,
    ResidueClassification,
    Task,
    TaskKind,
    is_number,
    split_labels,
)

SEPARATORS = (";", "|")
"""Between the labels of one record in a multi-label column."""


def fit_task(kind: TaskKind, columns: Sequence[str], labels: Sequence[Sequence[str]], train: NDArray[np.bool_]) -> Task:
    """A task of a kind, fitted to labels: N rows of one cell per column.

    Class names come from all records, so that a class that only the test set has is known (and counted as missed);
    the mean and scale of regression come from the training records alone.

    Raises:
        InputError: fewer than two classes, or training labels that are all the same number.
    """
    names = tuple(columns)
    if kind == "regression":
        values = np.array([[float(c) if c else math.nan for c in row] for row in labels], dtype=np.float64)[train]
        for name, column in zip(names, values.T, strict=True):
            known = column[~np.isnan(column)]
            # Not by the standard deviation: rounding leaves 1e-17 for equal labels.
            if not len(known) or known.min() == known.max():
                what = "the same number" if len(known) else "empty"
                raise InputError(f"column {name!r}: all training labels are {what}; there is nothing to learn")
        mean, scale = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
        return Regression(columns=names, mean=tuple(mean.tolist()), scale=tuple(scale.tolist()))
    cells = [row[0] for row in labels]
    if kind == "residue":
        task: Task = ResidueClassification(columns=names, classes=tuple(sorted(set().union(*map(set, cells)))))
    elif kind == "multilabel":
        separator = next((mark for mark in SEPARATORS if any(mark in cell for cell in cells)), SEPARATORS[0])
        found = {name for cell in cells for name in split_labels(cell, separator)}
        task = MultiLabel(columns=names, classes=tuple(_sorted_names(found)), separator=separator)
    else:
        task = Classification(columns=names, classes=tuple(_sorted_names(set(cells))))
    if not isinstance(task, Regression) and task.outputs < 2:
        what = f"only one class, {task.classes[0]!r}" if task.classes else "no class at all"
        raise InputError(f"column {names[0]!r}: {what}; there is nothing to learn")
    return task


def _sorted_names(names: set[str]) -> list[str]:
    """In numeric order when all are numbers, else in alphabetical order."""
    return sorted(sorted(names), key=float) if all(map(is_number, names)) else sorted(names)
