"""Metrics of any number of labels per record."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from seqtrain.evaluation.metrics.classes import rates_of_counts
from seqtrain.evaluation.metrics.ranks import Array, defined_mean, mean, pr_auc, roc_auc


def multilabel_metrics(true: Array, probabilities: Array, predicted: Array | None = None) -> dict[str, float]:
    """Metrics of any number of labels per record.

    Args:
        true: (N, K) 0 or 1; nan is not scored.
        probabilities: (N, K).
        predicted: (N, K) bool, the labels that were decided on; None: those at a probability of 0.5 or more.

    Returns:
        micro_f1 and micro_iou over all cells, macro_f1 and macro_iou over the labels that occur as true or predicted,
        macro_roc_auc and macro_pr_auc over the labels with both values, subset_accuracy, the share of records with
        every known label right, and per cell cross_entropy (nats) and brier.
    """
    true, probabilities = np.asarray(true, np.float64), np.asarray(probabilities, np.float64)
    known = ~np.isnan(true)
    positive = known & (true > 0.5)
    said = known & (probabilities >= 0.5 if predicted is None else predicted)
    rates = per_label(true, probabilities, predicted)
    columns = [(positive[known[:, k], k], probabilities[known[:, k], k]) for k in range(true.shape[1])]
    right = (positive == said).all(axis=1)
    return {
        **_micro(positive, said),
        "macro_f1": defined_mean(rates["f1"].tolist()),
        "macro_iou": defined_mean(rates["iou"].tolist()),
        "macro_roc_auc": defined_mean([roc_auc(*column) for column in columns]),
        "macro_pr_auc": defined_mean([pr_auc(*column) for column in columns]),
        "subset_accuracy": mean(right[known.any(axis=1)]),
        "cross_entropy": binary_cross_entropy(positive[known], probabilities[known]),
        "brier": mean((probabilities[known] - positive[known]) ** 2),
    }


def per_label(true: Array, probabilities: Array, predicted: Array | None = None) -> dict[str, NDArray[np.float64]]:
    """precision, recall, f1 and iou, each (K,), of arguments as in :func:`multilabel_metrics`; nan where undefined."""
    known = ~np.isnan(np.asarray(true, np.float64))
    positive = known & (np.asarray(true) > 0.5)
    said = known & (probabilities >= 0.5 if predicted is None else predicted)
    return rates_of_counts((positive & said).sum(axis=0), positive.sum(axis=0), said.sum(axis=0))


def micro_f1(true: Array, probabilities: Array) -> float:
    """F1 over all cells of (N, K) and (N, K), as in :func:`multilabel_metrics`; cheap enough to bootstrap."""
    known = ~np.isnan(true)
    return _micro(known & (true > 0.5), known & (probabilities >= 0.5))["micro_f1"]


def binary_cross_entropy(positive: Array, probabilities: Array) -> float:
    """Mean -log probability, in nats, of what is: positive (N,) bool, probabilities (N,) of being so."""
    of_truth = np.where(positive, probabilities, 1 - probabilities)
    return mean(-np.log(np.clip(of_truth, np.finfo(np.float64).eps, 1.0)))


def _micro(positive: Array, said: Array) -> dict[str, float]:
    rates = rates_of_counts((positive & said).sum(), positive.sum(), said.sum())
    return {"micro_f1": float(rates["f1"]), "micro_iou": float(rates["iou"])}
