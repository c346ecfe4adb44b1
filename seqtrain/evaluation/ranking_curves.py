"""What a score separates at every threshold: precision against recall, and true against false positives."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Points = tuple[NDArray[np.float64], NDArray[np.float64]]


def precision_recall(positive: Array, scores: Array) -> Points:
    """Recall and precision, (P,) and (P,), when all from a score upwards are taken for positive; from recall 0 on.

    Equal scores are one step. The first point, where nothing is taken, has precision 1 as in scikit-learn.

    Args:
        positive: (N,) bool; with at least one that is true, else there are no points.
        scores: (N,).
    """
    hits, taken = _steps(positive, scores)
    if not len(hits) or not hits[-1]:
        return np.zeros(0), np.zeros(0)
    return np.append(0.0, hits / hits[-1]), np.append(1.0, hits / taken)


def receiver_operating(positive: Array, scores: Array) -> Points:
    """False and true positive rate, (P,) and (P,), from (0, 0) to (1, 1); arguments as in :func:`precision_recall`.

    No points where all or none are positive.
    """
    hits, taken = _steps(positive, scores)
    if not len(hits) or not hits[-1] or hits[-1] == taken[-1]:
        return np.zeros(0), np.zeros(0)
    misses = taken - hits
    return np.append(0.0, misses / misses[-1]), np.append(0.0, hits / hits[-1])


def _steps(positive: Array, scores: Array) -> Points:
    """Positives among, and number of, the records of each score and above; (P,) for P different scores."""
    if not len(scores):
        return np.zeros(0), np.zeros(0)
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    return np.cumsum(positive[order])[last].astype(np.float64), last + 1.0
