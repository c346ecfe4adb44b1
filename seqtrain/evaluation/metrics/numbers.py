"""Metrics of predicted numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from seqtrain.evaluation.metrics.ranks import NAN, Array, defined_mean, mean, ranks


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
    mse = mean(errors**2)
    return {
        "spearman": spearman(true, predicted),
        "pearson": pearson(true, predicted),
        "r2": r2(true, predicted),
        "mse": mse,
        "mae": mean(np.abs(errors)),
        "rmse": float(np.sqrt(mse)),
    }


def multi_regression_metrics(true: Array, predicted: Array, names: Sequence[str]) -> dict[str, float]:
    """Metrics of several numbers per record.

    Args:
        true: (N, K) targets; nan is not scored, so columns may know different records.
        predicted: (N, K).
        names: K column names.

    Returns:
        The mean of each metric over the columns where it is defined, cosine (see :func:`cosine_similarity`), then
        ``metric[column]`` for each column.
    """
    columns = [regression_metrics(true[:, k], predicted[:, k]) for k in range(len(names))]
    metrics = {metric: defined_mean([column[metric] for column in columns]) for metric in columns[0]}
    metrics["cosine"] = cosine_similarity(true, predicted)
    for name, column in zip(names, columns, strict=True):
        metrics |= {f"{metric}[{name}]": value for metric, value in column.items()}
    return metrics


def cosine_similarity(true: Array, predicted: Array) -> float:
    """Mean cosine, -1 to 1, between true and predicted vectors (N, K); those with a nan or of no length are left out.

    It asks for the direction of each vector alone, so it depends on where the zero of the units lies.
    """
    true, predicted = np.asarray(true, np.float64), np.asarray(predicted, np.float64)
    products = np.sum(true * predicted, axis=1)
    norms = np.linalg.norm(true, axis=1) * np.linalg.norm(predicted, axis=1)
    known = norms > 0  # nan compares as False
    return mean(np.clip(products[known] / norms[known], -1.0, 1.0))


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
