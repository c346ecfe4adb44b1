"""How good predictions are: one number per metric, from gathered numpy arrays.

Everything is numpy: importing scikit-learn's metrics costs seconds, and a bootstrap calls a metric a thousand times.
The definitions are scikit-learn's and scipy's, and the tests hold them to that. What is undefined (one class only,
constant values, too few records) is nan, never an exception or a warning. Targets that are not to be scored (nan for
numbers and labels, negative for classes) are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
NAN = float("nan")
TOP_K_FROM = 10
"""Above this number of classes, accuracy among the five most probable classes is given too."""
_TOP_K = 5
LOWER_IS_BETTER = frozenset({"mse", "mae", "rmse", "cross_entropy", "perplexity", "loss"})
TITLES = {
    "spearman": "Spearman ρ",
    "pearson": "Pearson r",
    "r2": "R²",
    "mse": "Mean squared error",
    "mae": "Mean absolute error",
    "rmse": "Root mean squared error",
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "macro_f1": "Macro F1",
    "micro_f1": "Micro F1",
    "mcc": "Matthews correlation",
    "cross_entropy": "Cross-entropy (nats)",
    "roc_auc": "ROC AUC",
    "macro_roc_auc": "Macro ROC AUC",
    "pr_auc": "Average precision (PR AUC)",
    "f1": "F1",
    "precision": "Precision",
    "recall": "Recall",
    "subset_accuracy": "Subset accuracy",
    "top_5_accuracy": "Top-5 accuracy",
    "perplexity": "Perplexity",
    "r2_composition": "R² of composition",
    "r2_charge": "R² of charge",
    "r2_hydropathy": "R² of hydropathy",
    "auc_motifs": "ROC AUC of motifs",
}
"""Metrics in words, for tables and reports."""


def is_better(metric: str, value: float, other: float) -> bool:
    """Whether a value beats another one of the same metric; nan beats nothing and is beaten by every number.

    A metric of one column, such as ``mse[stability]``, has the direction of its name before the bracket.
    """
    if np.isnan(value) or np.isnan(other):
        return not np.isnan(value)
    return value < other if metric.partition("[")[0] in LOWER_IS_BETTER else value > other


# Numbers


def pearson(true: Array, predicted: Array) -> float:
    """Linear correlation of (N,) and (N,), -1 to 1."""
    return _correlation(*_scored(true, predicted))


def spearman(true: Array, predicted: Array) -> float:
    """Correlation of ranks, ties sharing their mean rank."""
    true, predicted = _scored(true, predicted)
    if np.isnan(predicted).any():
        return NAN
    return _correlation(ranks(true), ranks(predicted))


def r2(true: Array, predicted: Array) -> float:
    """Coefficient of determination: 1 - residual / total sum of squares; below 0 is worse than the mean."""
    true, predicted = _scored(true, predicted)
    if len(true) < 2 or np.ptp(true) == 0 or not np.isfinite(predicted).all():
        return NAN
    return 1.0 - float(np.sum((true - predicted) ** 2) / np.sum((true - true.mean()) ** 2))


def regression_metrics(true: Array, predicted: Array) -> dict[str, float]:
    """Metrics of numbers.

    Args:
        true: (N,) targets; nan is not scored.
        predicted: (N,) in the same units.

    Returns:
        spearman, pearson, r2, mse (units squared), mae and rmse (units).
    """
    true, predicted = _scored(true, predicted)
    errors = predicted - true
    mse = _mean(errors**2)
    return {
        "spearman": spearman(true, predicted),
        "pearson": pearson(true, predicted),
        "r2": r2(true, predicted),
        "mse": mse,
        "mae": _mean(np.abs(errors)),
        "rmse": float(np.sqrt(mse)),
    }


def multi_regression_metrics(true: Array, predicted: Array, names: Sequence[str]) -> dict[str, float]:
    """Metrics of several numbers per record.

    Args:
        true: (N, K) targets; nan is not scored, so columns may know different records.
        predicted: (N, K).
        names: K column names.

    Returns:
        The mean of each metric over the columns where it is defined, then ``metric[column]`` for each column.
    """
    columns = [regression_metrics(true[:, k], predicted[:, k]) for k in range(len(names))]
    metrics = {metric: _defined_mean([column[metric] for column in columns]) for metric in columns[0]}
    for name, column in zip(names, columns, strict=True):
        metrics |= {f"{metric}[{name}]": value for metric, value in column.items()}
    return metrics


# Classes


def confusion_matrix(true: Array, predicted: Array, num_classes: int) -> NDArray[np.int64]:
    """(K, K) counts, rows = true classes, columns = predicted classes, of (N,) and (N,) class indices."""
    true, predicted = np.asarray(true, np.int64), np.asarray(predicted, np.int64)
    kept = true >= 0
    cells = true[kept] * num_classes + predicted[kept]
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def accuracy(true: Array, predicted: Array) -> float:
    """Share of right classes among (N,) and (N,) class indices."""
    kept = np.asarray(true) >= 0
    return _mean(np.asarray(true)[kept] == np.asarray(predicted)[kept])


def label_metrics(true: Array, predicted: Array) -> dict[str, float]:
    """Metrics that need only the predicted class; O(N), so cheap enough to bootstrap.

    Args:
        true: (N,) class indices; negative is not scored.
        predicted: (N,) class indices.

    Returns:
        accuracy; balanced_accuracy, the mean recall of the true classes; macro_f1 over the classes that occur as true
        or predicted; mcc after Gorodkin (2004), 0 when a single class is predicted (Chicco & Jurman 2020).
    """
    true, predicted = np.asarray(true, np.int64), np.asarray(predicted, np.int64)
    true, predicted = true[true >= 0], predicted[true >= 0]
    total = len(true)
    if not total:
        return {"accuracy": NAN, "balanced_accuracy": NAN, "macro_f1": NAN, "mcc": NAN}
    num_classes = int(max(true.max(), predicted.max())) + 1
    hits = np.bincount(true[true == predicted], minlength=num_classes).astype(np.float64)
    in_true = np.bincount(true, minlength=num_classes).astype(np.float64)
    in_predicted = np.bincount(predicted, minlength=num_classes).astype(np.float64)
    occurs = in_true + in_predicted > 0
    spread_true = total**2 - float(np.sum(in_true**2))
    spread_predicted = total**2 - float(np.sum(in_predicted**2))
    covariance = hits.sum() * total - float(in_true @ in_predicted)
    mcc = NAN if spread_true == 0 else 0.0
    if spread_true and spread_predicted:
        mcc = float(covariance / np.sqrt(spread_true * spread_predicted))
    return {
        "accuracy": float(hits.sum() / total),
        "balanced_accuracy": _mean(hits[in_true > 0] / in_true[in_true > 0]),
        "macro_f1": _mean(2 * hits[occurs] / (in_true + in_predicted)[occurs]),
        "mcc": mcc,
    }


def classification_metrics(true: Array, probabilities: Array) -> dict[str, float]:
    """Metrics of one class per record, or per residue on flattened positions.

    Args:
        true: (N,) class indices; negative is not scored.
        probabilities: (N, K), rows adding up to 1; the class predicted is the most probable one.

    Returns:
        :func:`label_metrics` and cross_entropy (nats). With two classes, of class 1: roc_auc, pr_auc, f1, precision and
        recall. With more, macro_roc_auc (one class against the rest, over the classes where it is defined), and
        top_5_accuracy above :data:`TOP_K_FROM` classes.
    """
    true, probabilities = np.asarray(true, np.int64), np.asarray(probabilities, np.float64)
    true, probabilities = true[true >= 0], probabilities[true >= 0]
    num_classes = probabilities.shape[1]
    predicted = probabilities.argmax(axis=1) if len(true) else true
    metrics = label_metrics(true, predicted)
    metrics["cross_entropy"] = cross_entropy(true, probabilities)
    if num_classes == 2:
        return metrics | {
            "roc_auc": roc_auc(true == 1, probabilities[:, 1]),
            "pr_auc": pr_auc(true == 1, probabilities[:, 1]),
            **_one_label(true == 1, predicted == 1),
        }
    aucs = [roc_auc(true == k, probabilities[:, k]) for k in np.unique(true)]
    metrics["macro_roc_auc"] = _defined_mean(aucs)
    if num_classes > TOP_K_FROM:
        metrics["top_5_accuracy"] = top_accuracy(true, probabilities, _TOP_K)
    return metrics


def cross_entropy(true: Array, probabilities: Array) -> float:
    """Mean -log probability of the true class, in nats; probabilities are kept off 0 by the float64 epsilon."""
    chosen = probabilities[np.arange(len(true)), true]
    return _mean(-np.log(np.clip(chosen, np.finfo(np.float64).eps, 1.0)))


def top_accuracy(true: Array, probabilities: Array, k: int) -> float:
    """Share of records whose true class is among the k most probable; ties go to the lower class, as in argmax."""
    chosen = probabilities[np.arange(len(true)), true][:, None]
    earlier = np.arange(probabilities.shape[1]) < np.asarray(true)[:, None]
    ahead = (probabilities > chosen) | ((probabilities == chosen) & earlier)
    return _mean(ahead.sum(axis=1) < k)


def roc_auc(positive: Array, scores: Array) -> float:
    """Chance that a positive scores above a negative, ties counting one half. positive (N,) bool, scores (N,)."""
    num_positive = int(positive.sum())
    num_negative = len(positive) - num_positive
    if not num_positive or not num_negative or np.isnan(scores).any():
        return NAN
    above = ranks(scores)[positive].sum() - num_positive * (num_positive + 1) / 2
    return float(above / (num_positive * num_negative))


def pr_auc(positive: Array, scores: Array) -> float:
    """Average precision: precision summed over the steps of recall, without interpolation."""
    num_positive = int(positive.sum())
    if not num_positive or num_positive == len(positive) or np.isnan(scores).any():
        return NAN
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)  # the last record of each tied score
    hits = np.cumsum(positive[order])[last]
    return float(np.sum(np.diff(hits, prepend=0) / num_positive * hits / (last + 1)))


# Labels


def multilabel_metrics(true: Array, probabilities: Array) -> dict[str, float]:
    """Metrics of any number of labels per record; a label is predicted at a probability of 0.5 or more.

    Args:
        true: (N, K) 0 or 1; nan is not scored.
        probabilities: (N, K).

    Returns:
        micro_f1 over all cells, macro_f1 over the labels that occur as true or predicted, macro_roc_auc over the labels
        with both values, and subset_accuracy, the share of records with every known label right.
    """
    true, probabilities = np.asarray(true, np.float64), np.asarray(probabilities, np.float64)
    known = ~np.isnan(true)
    positive, predicted = known & (true > 0.5), known & (probabilities >= 0.5)
    labels = range(true.shape[1])
    aucs = [roc_auc(positive[known[:, k], k], probabilities[known[:, k], k]) for k in labels]
    right = (positive == predicted).all(axis=1)
    return {
        "micro_f1": micro_f1(true, probabilities),
        "macro_f1": _defined_mean([_one_label(positive[:, k], predicted[:, k])["f1"] for k in labels]),
        "macro_roc_auc": _defined_mean(aucs),
        "subset_accuracy": _mean(right[known.any(axis=1)]),
    }


def micro_f1(true: Array, probabilities: Array) -> float:
    """F1 over all cells of (N, K) and (N, K), as in :func:`multilabel_metrics`; cheap enough to bootstrap."""
    known = ~np.isnan(true)
    return _one_label((known & (true > 0.5)).ravel(), (known & (probabilities >= 0.5)).ravel())["f1"]


# Parts


def ranks(values: Array) -> NDArray[np.float64]:
    """(N,) ranks from 1, ties sharing their mean rank."""
    order = np.argsort(values, kind="stable")
    arranged = values[order]
    first = np.flatnonzero(np.append(True, arranged[1:] != arranged[:-1])) if len(values) else order
    counts = np.diff(np.append(first, len(values)))
    result = np.empty(len(values))
    result[order] = np.repeat(first + (counts + 1) / 2, counts)
    return result


def _one_label(positive: Array, predicted: Array) -> dict[str, float]:
    hits = float((positive & predicted).sum())
    in_true, in_predicted = float(positive.sum()), float(predicted.sum())
    return {
        "f1": 2 * hits / (in_true + in_predicted) if in_true + in_predicted else NAN,
        "precision": hits / in_predicted if in_predicted else NAN,
        "recall": hits / in_true if in_true else NAN,
    }


def _scored(true: Array, predicted: Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    true, predicted = np.asarray(true, np.float64), np.asarray(predicted, np.float64)
    kept = ~np.isnan(true)
    return true[kept], predicted[kept]


def _correlation(x: Array, y: Array) -> float:
    if len(x) < 2 or not np.isfinite(y).all() or np.ptp(x) == 0 or np.ptp(y) == 0:
        return NAN
    x, y = x - x.mean(), y - y.mean()
    norms = float(np.linalg.norm(x) * np.linalg.norm(y))
    return min(max(float(x @ y) / norms, -1.0), 1.0) if norms else NAN


def _mean(values: Array) -> float:
    return float(np.mean(values)) if len(values) else NAN


def _defined_mean(values: Sequence[float]) -> float:
    return _mean(np.array([value for value in values if not np.isnan(value)]))
