"""What predictions are worth: metrics with intervals, and simple models on the same records beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from seqtrain.evaluation.baselines import Which, sequence_baselines
from seqtrain.evaluation.chance import CHANCE, Kind
from seqtrain.evaluation.intervals import of_scores, weighted_intervals
from seqtrain.evaluation.metrics import (
    classification_metrics,
    multi_regression_metrics,
    multilabel_metrics,
    per_class,
    per_label,
    perplexity,
    regression_metrics,
    segment_overlap,
)
from seqtrain.evaluation.residue_baselines import residue_baselines
from seqtrain.labeled import LabeledData
from seqtrain.paired import DEALT, Lead, Said, chance_of_ranks, difference, weighted_measures
from seqtrain.tasks import Classification, MultiLabel, Regression, ResidueClassification, Task, as_trained

Array = NDArray[Any]
_MAX_RESAMPLED = 20_000_000
_MOST_CLASSES = 40
"""Of a task whose classes are scored one by one."""
MAIN_METRIC = {
    Regression: "spearman",
    Classification: "accuracy",
    MultiLabel: "micro_f1",
    ResidueClassification: "accuracy",
}


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
    chance: Lead | None = None
    """Over the best of those that look at no sequence; of numbers, over predictions that are dealt at random."""

    def words(self, task: Task) -> list[str]:
        """The main metric with its interval, whether it is better than the best simple model, and not than chance."""
        name = MAIN_METRIC[type(task)]
        value = self.metrics[name]
        low, high = self.intervals.get(name, (float("nan"), float("nan")))
        interval = "no interval" if math.isnan(low) else f"95 % interval {low:.3f} to {high:.3f}"
        counted = f"{self.num_records:,} record{'s' * (self.num_records != 1)}"
        lines = [f"{self.name} ({counted}): {name} {value:.3f} ({interval})"]
        same = "" if isinstance(task, Regression) or not task.threshold else "deciding at 0.5, as simple models do: "
        if self.lead is not None and (self.chance is None or self.lead.over != self.chance.over):
            lines.append(same + self.lead.words())
        chance = "" if self.chance is None else self.chance.chance_words()
        return [*lines, same + chance] if chance else lines


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
    if isinstance(task, MultiLabel):
        return multilabel_metrics(true, values, task.decide(values))
    return classification_metrics(true, values, task.decide(values))


def measure_parts(
    task: Task, true: NDArray[np.generic], values: NDArray[np.float64], groups: NDArray[np.int64] | None
) -> dict[str, float]:
    """What is told of a finished model alone: precision, recall, f1 and iou of each class, of residues segment overlap.

    Arguments as in :func:`measure`; groups (letters,) is the record of each residue.
    """
    if isinstance(task, Regression):
        return {}
    found: dict[str, float] = {}
    if isinstance(task, MultiLabel):
        rates = per_label(true, values, task.decide(values))
    else:
        predicted = task.decide(values)
        rates = per_class(true, predicted, task.outputs)
        known = np.asarray(true, np.int64) >= 0
        found["perplexity"] = perplexity(np.asarray(true, np.int64)[known], values[known])
        if groups is not None:
            found["segment_overlap"] = segment_overlap(true, predicted, groups)
    if task.outputs > _MOST_CLASSES:
        return found
    return found | {
        f"{metric}[{name}]": float(value)
        for metric, per_name in rates.items()
        for name, value in zip(task.classes, per_name, strict=True)
    }


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

    The lead is that over the best simple model on these very records. Choosing it here favours the simple models, the
    more there are: a network that is called better was better than each of them.
    """
    rows = rows_of(task, data, records)
    true, values = true_values(task, data)[rows], task.values(outputs[rows])
    groups = np.repeat(np.arange(len(records)), data.store.lengths[records]) if task.per_residue else None
    simple = {
        other: measure(as_trained(task), true, predicted.reshape(len(rows), -1))
        for other, predicted in (baselines or {}).items()
    }
    best = _best(task, simple)
    blind = _best(task, {name: metrics for name, metrics in simple.items() if name in CHANCE})
    said, several = Said.by(task, values), dict(baselines or {})
    # A threshold chosen for another metric would cost a network the comparison with models that have none.
    plain, alike = as_trained(task), Said.by_simple_model(task, values)
    lead = _lead(plain, true, alike, best, several, simple, groups, seed)
    chance = lead if blind == best else _lead(plain, true, alike, blind, several, simple, groups, seed)
    intervals = _intervals(task, true, said, groups, len(records), seed)
    if blind and isinstance(task, Regression):
        chance = _dealt(true, values, intervals["spearman"], seed)
    return Scored(
        name=name,
        num_records=len(records),
        metrics=measure(task, true, values) | measure_parts(task, true, values, groups),
        intervals=of_scores(intervals),
        baselines=simple,
        lead=lead,
        chance=chance,
    )


def _best(task: Task, scores: Mapping[str, Mapping[str, float]]) -> str | None:
    """The simple model with the best main metric."""
    main = MAIN_METRIC[type(task)]
    known = {name: metrics[main] for name, metrics in scores.items() if not np.isnan(metrics[main])}
    return max(known, key=lambda name: known[name]) if known else None


def _lead(
    task: Task,
    true: Array,
    said: Said,
    other: str | None,
    predictions: Mapping[str, Array],
    scores: Mapping[str, Mapping[str, float]],
    groups: Array | None,
    seed: int,
) -> Lead | None:
    """Over one simple model; None where there is none."""
    if other is None:
        return None
    main = MAIN_METRIC[type(task)]
    found = difference(
        task,
        main,
        true,
        said,
        Said.by_simple_model(task, predictions[other]),
        measured=lambda t, some: measure(task, t, some.values)[main],
        groups=groups,
        num_resamples=_num_resamples(len(true) if groups is None else int(groups.max(initial=0)) + 1),
        seed=seed,
    )
    return Lead(over=other, its_score=scores[other][main], low=found.low, high=found.high, p=found.p)


def _dealt(true: Array, values: Array, interval: tuple[float, float], seed: int) -> Lead:
    """Of numbers: over their own predictions, dealt to the records at random; 0 is what that correlates by."""
    p = chance_of_ranks(true, values, num_shuffles=_num_resamples(len(true)), seed=seed)
    return Lead(over=DEALT, its_score=0.0, low=interval[0], high=interval[1], p=p)


def _num_resamples(count: int) -> int:
    return int(np.clip(_MAX_RESAMPLED // max(count, 1), 200, 1000))


def _intervals(
    task: Task, true: Array, said: Said, groups: Array | None, num_records: int, seed: int
) -> dict[str, tuple[float, float]]:
    measured = weighted_measures(task, true, said, groups)
    return weighted_intervals(measured, num_records, num_resamples=_num_resamples(len(true)), seed=seed)


def simple_models(
    task: Task,
    data: LabeledData,
    train: NDArray[np.int64],
    test: NDArray[np.int64],
    seed: int,
    which: Which = "all",
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
            train_texts, targets, test_texts, kind="classification", num_classes=task.outputs, which=which, seed=seed
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
            which=which,
            seed=seed,
        )
    return {baseline.name: baseline.predictions for baseline in found}
