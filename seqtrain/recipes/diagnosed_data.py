"""What ``--debug`` asks of labelled data: labels that depend on nothing, that leak, that are masked the wrong way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from seqtrain.diagnosis import (
    Gain,
    Remark,
    best_constant,
    duplicates,
    labels_of_residues,
    labels_of_sequences,
    leaking_labels,
    masked_residues,
)
from seqtrain.diagnosis.labels import MOST_RECORDS
from seqtrain.draws import fold, permuted
from seqtrain.io.columns import PROVENANCE, Columns
from seqtrain.io.splits import TRAIN, VALID
from seqtrain.labeled import LabeledData
from seqtrain.losses import IGNORED_CLASS
from seqtrain.scoring import mean_loss, rows_of
from seqtrain.tasks import Classification, Regression, ResidueClassification

_MOST_CLASSES = 50
_MOST_COMPARED, _MOST_FITTED = 1000, 20_000


def look_at_data(data: LabeledData, columns: Columns | None, seed: int) -> list[Remark]:
    """Remarks on the labels of the training records, and on what the sets share.

    Args:
        columns: of the table that have a meaning already; None: the others are not looked at.
    """
    train = chosen(data.split.indices(TRAIN), seed)
    texts = [data.text(int(i)) for i in train]
    remarks = [_look_at_labels(data, train, texts, seed)]
    if not isinstance(data.task, ResidueClassification):
        labels = _one_label(data, train)
        remarks += leaking_labels(texts, labels, {} if columns is None else _beside(data, columns, train))
    elif columns is not None and columns.mask is not None:
        rows = rows_of(data.task, data, data.split.indices(TRAIN))
        cells = np.asarray(data.task.encode(data.labels), np.int64)
        remarks.append(masked_residues(data.targets[rows].astype(np.int64), cells[rows]))
    everything = range(len(data.labels))
    joined = ["\t".join(cells) for cells in data.labels]
    return remarks + duplicates([data.text(i) for i in everything], joined, data.split.sets.tolist(), TRAIN)


def labels_in_order(data: LabeledData, records: NDArray[np.int64]) -> NDArray[np.generic] | None:
    """(N,) one class or number for each of N examples, given their records; None where there is none."""
    if isinstance(data.task, Classification):
        return data.targets[records].astype(np.int64)
    return data.targets[records, 0].astype(np.float64) if isinstance(data.task, Regression) else None


def guesses(
    data: LabeledData, outputs: NDArray[np.float32], shown: NDArray[np.int64]
) -> tuple[float, float, Gain | None]:
    """The loss of the best constant answer on training and on validation records, and what the network gains on it.

    Args:
        outputs: (N, K) or (letters, K) of the network for validation records; others are not looked at.
        shown: the records of one epoch, as often as they come in it.
    """
    task, valid = data.task, data.split.indices(VALID)
    rows = rows_of(task, data, shown)
    weights = None if data.weights is None else data.weights[shown]
    if weights is not None and task.per_residue:
        weights = np.repeat(weights, data.store.lengths[shown])
    few = slice(None, None, 1 + len(rows) // _MOST_FITTED)
    shares = None if weights is None else weights[few]
    constant = best_constant(task.loss, data.targets[rows[few]], shares, task.loss.width(task.outputs))
    same = np.broadcast_to(constant, (len(outputs), len(constant)))
    train_guess = mean_loss(task, data, np.ascontiguousarray(same), shown)
    if not len(valid):
        return train_guess, float("nan"), None
    valid_guess = mean_loss(task, data, np.ascontiguousarray(same), valid)
    if not task.loss.separable:
        return train_guess, valid_guess, None
    some = valid[:_MOST_COMPARED]
    same = np.ascontiguousarray(same)
    pairs = [[mean_loss(task, data, each, np.array([i])) for each in (outputs, same)] for i in some.tolist()]
    both = np.array(pairs, np.float64)
    return train_guess, valid_guess, Gain.of(both[:, 0], both[:, 1])


def chosen(records: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """All records, or a keyed choice of some of many, increasing."""
    if len(records) <= MOST_RECORDS:
        return records
    return np.sort(records[permuted(np.arange(MOST_RECORDS), len(records), fold(seed, "diagnosed records"))])


def _look_at_labels(data: LabeledData, records: NDArray[np.int64], texts: Sequence[str], seed: int) -> Remark:
    task = data.task
    if isinstance(task, ResidueClassification):
        letters = [data.store[int(i)].tobytes().decode("latin-1") for i in records]
        marks = data.targets[rows_of(task, data, records)].astype(np.int64)
        positions = chosen(np.flatnonzero(marks != IGNORED_CLASS), seed)
        return labels_of_residues(letters, np.eye(task.outputs)[marks[positions]], positions, seed=seed)
    targets = data.targets[records]
    if isinstance(task, Classification):
        # A column per class; of very many classes, those that are frequent enough to be told.
        kept = np.bincount(targets.astype(np.int64), minlength=task.outputs).argsort()[::-1][:_MOST_CLASSES]
        return labels_of_sequences(texts, (targets[:, None] == kept).astype(np.float64), seed=seed)
    known = np.nan_to_num(targets.astype(np.float64), nan=0.0)
    return labels_of_sequences(texts, known, seed=seed)


def _one_label(data: LabeledData, records: NDArray[np.int64]) -> list[str] | NDArray[np.float64]:
    if isinstance(data.task, Regression):
        return np.asarray(data.targets[records, 0], np.float64)
    return ["\t".join(data.labels[int(i)]) for i in records]


def _beside(data: LabeledData, columns: Columns, records: NDArray[np.int64]) -> Mapping[str, Sequence[str]]:
    """Cells of the columns that nothing is taken from, and the first letters of the identifiers."""
    taken = {columns.sequence, *columns.targets, columns.split, columns.mask, columns.weight, *PROVENANCE}
    rows = data.rows[records]
    cells = {
        f"column {name!r}": [column[int(row)].strip() for row in rows]
        for name, column in data.table.columns.items()
        if name not in taken
    }
    names = [data.store.name(int(i)) for i in records]
    return {**cells, "the beginning of the identifier": [name.rstrip("0123456789")[:20] for name in names]}
