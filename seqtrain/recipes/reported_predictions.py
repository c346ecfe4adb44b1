"""What a report shows of the predictions: scores, values against each other, confusions, the worst records, lengths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seqtrain.evaluation.leakage import Leakage
from seqtrain.evaluation.metrics import confusion_matrix
from seqtrain.io.splits import VALID
from seqtrain.labeled import LabeledData
from seqtrain.losses import IGNORED_CLASS
from seqtrain.report.matrix_chart import MAX_CLASSES
from seqtrain.report.records import Confusion, Figure, Points, Scatter, Section, Table, WorstRecord
from seqtrain.report.tables import metric_title
from seqtrain.scoring import MAIN_METRIC, Scored, measure, rows_of, true_values
from seqtrain.tasks import Classification, MultiLabel, Regression, ResidueClassification, Task

_MAX_CONFUSED_CLASSES = 2_000
"""Of more, the matrix would take memory and say nothing."""
_NUM_MISTAKES = 20
_LEAST_MISTAKES = 2
"""Of a kind, to be called frequent."""
_NUM_WORST = 20
_LEAST_FOR_LENGTHS = 8
_SHOWN_METRICS = {
    Regression: ("spearman", "pearson", "r2", "mae"),
    Classification: ("accuracy", "balanced_accuracy", "macro_f1", "mcc", "roc_auc"),
    MultiLabel: ("micro_f1", "macro_f1", "macro_roc_auc", "subset_accuracy"),
    ResidueClassification: ("accuracy", "balanced_accuracy", "macro_f1", "mcc"),
}


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """The held-out records of a run beside what its network says of them."""

    data: LabeledData
    outputs: NDArray[np.float32]
    """(N, K) or (letters, K) logits of all records."""
    true: NDArray[np.generic]
    """As from :func:`seqtrain.scoring.true_values`."""
    values: NDArray[np.float64]
    """As the task makes them of the outputs."""
    scored: Sequence[Scored]
    """The sets that are shown: the test sets, or validation where there is none."""

    @property
    def task(self) -> Task:
        return self.data.task

    @classmethod
    def of(cls, data: LabeledData, outputs: NDArray[np.float32], scored: Sequence[Scored]) -> Predicted:
        """The test sets of what was scored, or all of it."""
        shown = [each for each in scored if each.name in data.split.test_sets] or list(scored)
        true, values = true_values(data.task, data), data.task.values(outputs)
        return cls(data=data, outputs=outputs, true=true, values=values, scored=shown)

    def rows(self, test_set: str) -> NDArray[np.int64]:
        """Rows of true, values and outputs of a set."""
        return rows_of(self.task, self.data, self.data.split.indices(test_set))

    def classes(self, test_set: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(M,) true and (M,) predicted classes of the labelled rows of a set."""
        assert isinstance(self.task, Classification | ResidueClassification)
        rows = self.rows(test_set)
        true, predicted = self.true[rows].astype(np.int64), self.task.decide(self.values[rows])
        return true[true != IGNORED_CLASS], predicted[true != IGNORED_CLASS]


def figures_of(scored: Scored, task: Task) -> list[Figure]:
    """The metrics that are shown of a kind of task, with intervals and simple models."""
    figures = []
    words = f"{scored.name} (helped to choose the weights)" if scored.name == VALID else scored.name
    for name in _SHOWN_METRICS[type(task)]:
        if name not in scored.metrics:
            continue
        low, high = scored.intervals.get(name, (float("nan"), float("nan")))
        baselines = tuple((other, metrics[name]) for other, metrics in scored.baselines.items() if name in metrics)
        value = scored.metrics[name]
        figures.append(Figure(test_set=words, metric=name, value=value, low=low, high=high, baselines=baselines))
    return figures


def scatters_of(predicted: Predicted) -> tuple[Scatter, ...]:
    """Predicted against true numbers."""
    data, task = predicted.data, predicted.task
    if not isinstance(task, Regression):
        return ()
    return tuple(
        Scatter(
            true=predicted.true[records, column],
            predicted=predicted.values[records, column],
            label=label,
            test_set=each.name,
            identifiers=tuple(data.store.name(int(i)) for i in records),
        )
        for each in predicted.scored
        for records in [data.split.indices(each.name)]
        for column, label in enumerate(task.columns)
    )


def residuals_of(predicted: Predicted) -> Section | None:
    """Errors against predictions: whether the model errs to one side, or more where values are high."""
    charts = tuple(
        Points(
            title=f"{each.test_set} · {each.label}",
            x_label=f"predicted {each.label}",
            y_label="predicted − true",
            x=each.predicted,
            y=each.predicted - each.true,
            names=each.identifiers,
            zero=True,
        )
        for each in scatters_of(predicted)
    )
    note = "A cloud around the line at every height of the prediction is what is wished for; a slope or a bow is not."
    return Section(title="Errors by prediction", charts=charts, note=note) if charts else None


def confusions_of(predicted: Predicted) -> tuple[Confusion, ...]:
    """Confusion matrices of classes."""
    task = predicted.task
    if not isinstance(task, Classification | ResidueClassification) or task.outputs > _MAX_CONFUSED_CLASSES:
        return ()
    return tuple(
        Confusion(
            labels=task.classes,
            counts=confusion_matrix(*predicted.classes(each.name), task.outputs),
            test_set=each.name,
        )
        for each in predicted.scored
    )


def mistakes_of(confusions: Sequence[Confusion]) -> Section | None:
    """The most frequent mistakes, where a matrix has no room for all classes."""
    tables = []
    for confusion in confusions:
        if len(confusion.labels) <= MAX_CLASSES:
            continue
        wrong = np.array(confusion.counts)
        totals = wrong.sum(axis=1)
        np.fill_diagonal(wrong, 0)
        places = np.argsort(-wrong, axis=None, kind="stable")[:_NUM_MISTAKES]
        pairs = [divmod(int(place), len(confusion.labels)) for place in places]
        rows = tuple(
            (confusion.labels[i], confusion.labels[j], int(wrong[i, j]), f"{100 * wrong[i, j] / totals[i]:.0f} %")
            for i, j in pairs
            if wrong[i, j] >= _LEAST_MISTAKES
        )
        header = ("true class", "predicted class", "records", "of the true class")
        tables.append(Table(header=header, rows=rows, title=confusion.test_set))
    kept = tuple(each for each in tables if each.rows)
    return Section(title="Most frequent mistakes", tables=kept) if kept else None


def worst_of(predicted: Predicted, leakage: Leakage | None) -> tuple[WorstRecord, ...]:
    """The records with the largest loss; of per-residue tasks, those with the largest share of wrong residues."""
    data, task = predicted.data, predicted.task
    records = np.concatenate([np.zeros(0, np.int64), *(data.split.indices(each.name) for each in predicted.scored)])
    losses = record_losses(predicted, records)
    near: dict[int, tuple[int, float]] = {}
    if leakage is not None:
        pairs = zip(leakage.nearest.tolist(), leakage.identity.tolist(), strict=True)
        near = dict(zip(leakage.records.tolist(), pairs, strict=True))
    found = []
    for place in np.argsort(-losses, kind="stable")[:_NUM_WORST]:
        index = int(records[place])
        said = task.rows(predicted.outputs[rows_of(task, data, np.array([index]))])[0]
        shown = said if isinstance(task, Regression) else said[:1]
        nearest, identity = near.get(index, (-1, float("nan")))
        found.append(
            WorstRecord(
                identifier=data.store.name(index),
                true=_short(", ".join(data.labels[index])),
                predicted=_short(", ".join(f"{v:.4g}" if isinstance(v, float) else v for v in shown)),
                loss=float(losses[place]),
                nearest=data.store.name(nearest) if nearest >= 0 else "",
                nearest_label=_short(", ".join(data.labels[nearest])) if nearest >= 0 else "",
                identity=identity if nearest >= 0 else float("nan"),
            )
        )
    return tuple(found)


def record_losses(predicted: Predicted, records: NDArray[np.int64]) -> NDArray[np.float64]:
    """(M,) how wrong each record is.

    Classes and labels: -ln of the probability of what is true. Residues: the share of labelled ones that is wrong.
    Numbers: squared errors in standard deviations of the training labels.
    """
    data, task = predicted.data, predicted.task
    rows = rows_of(task, data, records)
    true, values = predicted.true[rows], predicted.values[rows]
    if isinstance(task, ResidueClassification):
        owners = np.repeat(np.arange(len(records)), data.store.lengths[records])
        known = true != IGNORED_CLASS
        wrong = np.bincount(owners[known], (task.decide(values) != true)[known], minlength=len(records))
        return np.asarray(wrong / np.maximum(np.bincount(owners[known], minlength=len(records)), 1))
    if isinstance(task, Classification):
        said = values[np.arange(len(rows)), true.astype(np.int64)]
        return np.asarray(-np.log(np.maximum(said, 1e-12)))
    if isinstance(task, MultiLabel):
        said = np.where(true.astype(np.float64) > 0.5, values, 1 - values)
        return np.asarray(-np.log(np.maximum(said, 1e-12)).sum(axis=1))
    losses: NDArray[np.float64] = np.nansum(((values - true.astype(np.float64)) / np.array(task.scale)) ** 2, axis=1)
    return losses


def lengths_of(predicted: Predicted) -> Section | None:
    """The main metric by quarters of the lengths, where lengths differ."""
    data, task = predicted.data, predicted.task
    name = MAIN_METRIC[type(task)]
    rows: list[tuple[str | int | float, ...]] = []
    for each in predicted.scored:
        records = data.split.indices(each.name)
        lengths = data.store.lengths[records]
        if len(records) < _LEAST_FOR_LENGTHS or lengths.min() == lengths.max():
            continue
        quarters = np.searchsorted(np.quantile(lengths, (0.25, 0.5, 0.75)), lengths)
        for quarter in np.unique(quarters):
            some = quarters == quarter
            kept = rows_of(task, data, records[some])
            value = measure(task, predicted.true[kept], predicted.values[kept]).get(name, float("nan"))
            spread = f"{lengths[some].min():,} to {lengths[some].max():,}"
            rows.append((each.name, spread, int(some.sum()), value))
    if not rows:
        return None
    table = Table(header=("set", "letters", "records", metric_title(name)), rows=tuple(rows))
    note = "Quarters of the records by length; a number of few records says little."
    return Section(title="By length", tables=(table,), note=note)


def _short(text: str, limit: int = 60) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
