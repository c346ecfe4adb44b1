"""What predictions are worth: metrics with intervals, and simple models on the same records beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from seqtrain.evaluation.baselines import Kind, residue_baselines, sequence_baselines
from seqtrain.evaluation.intervals import bootstrap_intervals, difference_interval
from seqtrain.evaluation.metrics import (
    accuracy,
    classification_metrics,
    label_metrics,
    micro_f1,
    multi_regression_metrics,
    multilabel_metrics,
    regression_metrics,
    roc_auc,
)
from seqtrain.labeled import LabeledData
from seqtrain.losses import IGNORED_CLASS
from seqtrain.tasks import Classification, MultiLabel, Regression, ResidueClassification, Task

Array = NDArray[Any]
_MAX_RESAMPLED = 5_000_000
MAIN_METRIC = {
    Regression: "spearman",
    Classification: "accuracy",
    MultiLabel: "micro_f1",
    ResidueClassification: "accuracy",
}


@dataclass(frozen=True, kw_only=True)
class Lead:
    """How much better the network's main metric is than that of a simple model, on the same records."""

    over: str
    """The simple model."""
    its_score: float
    low: float
    """95 % interval of the difference, by paired bootstrap."""
    high: float

    def words(self) -> str:
        """Whether the network is better, as a phrase."""
        verdict = "better than" if self.low > 0 else "worse than" if self.high < 0 else "not clearly better than"
        difference = f"difference {self.low:+.3f} to {self.high:+.3f}"
        if math.isnan(self.low):
            difference = "too few records for an interval of the difference"
        return f"{verdict} the best simple model, {self.over}, which reaches {self.its_score:.3f} ({difference})"


@dataclass(frozen=True, kw_only=True)
class Scored:
    """The scores of one set of records."""

    name: str
    """Of the set."""
    num_records: int
    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    """95 %, for the metrics that are cheap enough to resample."""
    baselines: dict[str, dict[str, float]] = field(default_factory=dict)
    """Metrics of each simple model, by its name."""
    lead: Lead | None = None
    """Over the best of them, by the main metric."""

    def words(self, task: Task) -> list[str]:
        """The main metric with its interval, and whether it is better than the best simple model."""
        name = MAIN_METRIC[type(task)]
        value = self.metrics[name]
        low, high = self.intervals.get(name, (float("nan"), float("nan")))
        interval = "no interval" if math.isnan(low) else f"95 % interval {low:.3f} to {high:.3f}"
        counted = f"{self.num_records:,} record{'s' * (self.num_records != 1)}"
        lines = [f"{self.name} ({counted}): {name} {value:.3f} ({interval})"]
        return lines if self.lead is None else [*lines, self.lead.words()]


def true_values(task: Task, data: LabeledData) -> NDArray[np.generic]:
    """The labels to score against: numbers in their units (N, K), class indices (N,), labels (N, K) or (letters,)."""
    if isinstance(task, Regression):
        return task.in_units(data.targets.astype(np.float32))
    return data.targets


def measure(task: Task, true: NDArray[np.generic], values: NDArray[np.float64]) -> dict[str, float]:
    """All metrics of a task. true as from :func:`true_values`; values (N, K) as the task makes them of logits."""
    if isinstance(task, Regression):
        if task.outputs == 1:
            return regression_metrics(true[:, 0], values[:, 0])
        return multi_regression_metrics(true, values, task.columns)
    return multilabel_metrics(true, values) if isinstance(task, MultiLabel) else classification_metrics(true, values)


def mean_loss(task: Task, data: LabeledData, outputs: NDArray[np.float32], records: NDArray[np.int64]) -> float:
    """The task's loss over some records, per scored element; nan where none of them is scored."""
    rows = rows_of(task, data, records)
    weights = None if data.weights is None else data.weights[records]
    if weights is not None and task.per_residue:
        weights = np.repeat(weights, data.store.lengths[records])
    loss, count = task.loss(
        torch.from_numpy(outputs[rows]),
        torch.from_numpy(np.asarray(data.targets)[rows]),
        None if weights is None else torch.from_numpy(weights),
    )
    return float(loss) / float(count) if float(count) else math.nan


def rows_of(task: Task, data: LabeledData, records: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows of outputs and targets that belong to some records: the records themselves, or their letters."""
    if not task.per_residue:
        return records
    offsets = data.store.offsets
    return np.concatenate([np.zeros(0, np.int64), *(np.arange(offsets[i], offsets[i + 1]) for i in records)])


def score_set(
    name: str,
    task: Task,
    data: LabeledData,
    outputs: NDArray[np.float32],
    records: NDArray[np.int64],
    *,
    baselines: Mapping[str, NDArray[np.float64]] | None = None,
    seed: int = 0,
) -> Scored:
    """Score some records of labelled data.

    Args:
        outputs: (N, K) or (letters, K) logits of all records of ``data``.
        baselines: values (not logits) that simple models predict for the rows of these records.
    """
    rows = rows_of(task, data, records)
    true, values = true_values(task, data)[rows], task.values(outputs[rows])
    groups = np.repeat(records, data.store.lengths[records]) if task.per_residue else None
    simple = {
        other: measure(task, true, predicted.reshape(len(rows), -1)) for other, predicted in (baselines or {}).items()
    }
    return Scored(
        name=name,
        num_records=len(records),
        metrics=measure(task, true, values),
        intervals=_intervals(task, true, values, groups, seed),
        baselines=simple,
        lead=_lead(task, true, values, simple, baselines or {}, groups, seed),
    )


def _lead(
    task: Task,
    true: Array,
    values: Array,
    scores: Mapping[str, Mapping[str, float]],
    predictions: Mapping[str, Array],
    groups: Array | None,
    seed: int,
) -> Lead | None:
    main = MAIN_METRIC[type(task)]
    known = {name: metrics[main] for name, metrics in scores.items() if not np.isnan(metrics[main])}
    if not known:
        return None
    best = max(known, key=lambda name: known[name])
    low, high = difference_interval(
        lambda t, p: _main_metric(task, t, p),
        true,
        values,
        predictions[best].reshape(len(true), -1),
        groups=groups,
        num_resamples=_num_resamples(len(true)),
        seed=seed,
    )
    return Lead(over=best, its_score=known[best], low=low, high=high)


def _main_metric(task: Task, true: Array, values: Array) -> float:
    """The main metric alone, cheap enough to resample."""
    if isinstance(task, Classification | ResidueClassification):
        return accuracy(true, values.argmax(axis=1))
    if isinstance(task, MultiLabel):
        return micro_f1(true, values)
    return measure(task, true, values)[MAIN_METRIC[type(task)]]


def _num_resamples(count: int) -> int:
    return int(np.clip(_MAX_RESAMPLED // max(count, 1), 200, 1000))


def _intervals(
    task: Task, true: NDArray[np.generic], values: NDArray[np.float64], groups: NDArray[np.int64] | None, seed: int
) -> dict[str, tuple[float, float]]:
    def resampled(true: NDArray[np.generic], values: NDArray[np.float64]) -> dict[str, float]:
        if isinstance(task, MultiLabel):
            return {"micro_f1": micro_f1(true, values)}
        if isinstance(task, Regression):
            return measure(task, true, values)
        metrics = label_metrics(true, values.argmax(axis=1))
        if task.outputs == 2:
            metrics["roc_auc"] = roc_auc(true[true != IGNORED_CLASS] == 1, values[true != IGNORED_CLASS, 1])
        return metrics

    return bootstrap_intervals(
        resampled, (true, values), groups=groups, num_resamples=_num_resamples(len(true)), seed=seed
    )


def simple_models(
    task: Task, data: LabeledData, train: NDArray[np.int64], test: NDArray[np.int64], seed: int
) -> dict[str, NDArray[np.float64]]:
    """What simple models, fitted to the training records, predict for the rows of the test records."""
    # Labels per residue go with letters, of which a codon is one; other labels with text.
    text = (lambda i: data.store[i].tobytes().decode("latin-1")) if task.per_residue else data.text
    train_texts, test_texts = [text(i) for i in train], [text(i) for i in test]
    true = true_values(task, data)
    if isinstance(task, ResidueClassification):
        offsets = data.store.offsets
        targets = [true[offsets[i] : offsets[i + 1]] for i in train]
        found = residue_baselines(
            train_texts, targets, test_texts, kind="classification", num_classes=task.outputs, seed=seed
        )
    else:
        kinds: dict[type[Task], Kind] = {
            Classification: "classification",
            MultiLabel: "multilabel",
            Regression: "multi_regression",
        }
        flat = isinstance(task, Regression) and task.outputs == 1
        found = sequence_baselines(
            train_texts,
            true[train, 0] if flat else true[train],
            test_texts,
            kind="regression" if flat else kinds[type(task)],
            num_classes=task.outputs,
            seed=seed,
        )
    return {baseline.name: baseline.predictions for baseline in found}
