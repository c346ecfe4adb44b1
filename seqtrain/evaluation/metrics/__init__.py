"""How good predictions are: one number per metric, from gathered numpy arrays.

Everything is numpy: importing scikit-learn's metrics costs seconds, and a bootstrap calls a metric a thousand times.
The definitions are scikit-learn's and scipy's, and the tests hold them to that. What is undefined (one class only,
constant values, too few records) is nan, never an exception or a warning. Targets that are not to be scored (nan for
numbers and labels, negative for classes) are left out.
"""

from seqtrain.evaluation.metrics.classes import (
    TOP_K_FROM,
    accuracy,
    brier,
    classification_metrics,
    confusion_matrix,
    cross_entropy,
    label_metrics,
    metrics_of_counts,
    micro_iou,
    per_class,
    perplexity,
    rates_of_counts,
    top_accuracy,
)
from seqtrain.evaluation.metrics.labels import binary_cross_entropy, micro_f1, multilabel_metrics, per_label
from seqtrain.evaluation.metrics.names import LOWER_IS_BETTER, TITLES, is_better
from seqtrain.evaluation.metrics.numbers import (
    cosine_similarity,
    multi_regression_metrics,
    pearson,
    r2,
    regression_metrics,
    spearman,
)
from seqtrain.evaluation.metrics.ranks import pr_auc, ranks, roc_auc
from seqtrain.evaluation.metrics.segments import segment_overlap

__all__ = [
    "LOWER_IS_BETTER",
    "TITLES",
    "TOP_K_FROM",
    "accuracy",
    "binary_cross_entropy",
    "brier",
    "classification_metrics",
    "confusion_matrix",
    "cosine_similarity",
    "cross_entropy",
    "is_better",
    "label_metrics",
    "metrics_of_counts",
    "micro_f1",
    "micro_iou",
    "multi_regression_metrics",
    "multilabel_metrics",
    "pearson",
    "per_class",
    "per_label",
    "perplexity",
    "pr_auc",
    "r2",
    "ranks",
    "rates_of_counts",
    "regression_metrics",
    "roc_auc",
    "segment_overlap",
    "spearman",
    "top_accuracy",
]
