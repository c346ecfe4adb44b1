"""Metrics of scores by their order alone: ranks, and the areas under the ROC and precision-recall curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
NAN = float("nan")


def ranks(values: Array) -> NDArray[np.float64]:
    """(N,) ranks from 1, ties sharing their mean rank."""
    order = np.argsort(values, kind="stable")
    arranged = values[order]
    first = np.flatnonzero(np.append(True, arranged[1:] != arranged[:-1])) if len(values) else order
    counts = np.diff(np.append(first, len(values)))
    result = np.empty(len(values))
    result[order] = np.repeat(first + (counts + 1) / 2, counts)
    return result


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


def mean(values: Array) -> float:
    """The mean of (N,), and nan of nothing."""
    return float(np.mean(values)) if len(values) else NAN


def defined_mean(values: Sequence[float]) -> float:
    """The mean of those that are not nan."""
    return mean(np.array([value for value in values if not np.isnan(value)]))
