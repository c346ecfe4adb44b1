"""Metrics in words, and which way each of them is better."""

from __future__ import annotations

import numpy as np

LOWER_IS_BETTER = frozenset({"mse", "mae", "rmse", "cross_entropy", "perplexity", "brier", "loss"})
TITLES = {
    "spearman": "Spearman ρ",
    "pearson": "Pearson r",
    "r2": "R²",
    "mse": "Mean squared error",
    "mae": "Mean absolute error",
    "rmse": "Root mean squared error",
    "cosine": "Cosine similarity",
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "macro_precision": "Macro precision",
    "macro_f1": "Macro F1",
    "macro_iou": "Macro IoU (Jaccard)",
    "micro_f1": "Micro F1",
    "micro_iou": "Micro IoU (Jaccard)",
    "iou": "IoU (Jaccard)",
    "mcc": "Matthews correlation",
    "cross_entropy": "Cross-entropy (nats)",
    "brier": "Brier score",
    "roc_auc": "ROC AUC",
    "macro_roc_auc": "Macro ROC AUC",
    "pr_auc": "Average precision (PR AUC)",
    "macro_pr_auc": "Macro average precision (PR AUC)",
    "f1": "F1",
    "precision": "Precision",
    "recall": "Recall",
    "subset_accuracy": "Subset accuracy",
    "top_5_accuracy": "Top-5 accuracy",
    "perplexity": "Perplexity",
    "segment_overlap": "Segment overlap (SOV)",
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
