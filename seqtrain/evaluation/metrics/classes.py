"""Metrics of predicted classes and their probabilities."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from seqtrain.evaluation.metrics.ranks import NAN, Array, defined_mean, mean, pr_auc, roc_auc

TOP_K_FROM = 10
"""Above this number of classes, accuracy among the five most probable classes is given too."""
_TOP_K = 5


def confusion_matrix(true: Array, predicted: Array, num_classes: int) -> NDArray[np.int64]:
    """(K, K) counts, rows = true classes, columns = predicted classes, of (N,) and (N,) class indices."""
    true, predicted = np.asarray(true, np.int64), np.asarray(predicted, np.int64)
    kept = true >= 0
    cells = true[kept] * num_classes + predicted[kept]
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def accuracy(true: Array, predicted: Array) -> float:
    """Share of right classes among (N,) and (N,) class indices."""
    kept = np.asarray(true) >= 0
    return mean(np.asarray(true)[kept] == np.asarray(predicted)[kept])


def label_metrics(true: Array, predicted: Array) -> dict[str, float]:
    """Metrics that need only the predicted class; O(N), so cheap enough to bootstrap.

    Args:
        true: (N,) class indices; negative is not scored.
        predicted: (N,) class indices.

    Returns:
        As :func:`metrics_of_counts`.
    """
    true, predicted = np.asarray(true, np.int64), np.asarray(predicted, np.int64)
    true, predicted = true[true >= 0], predicted[true >= 0]
    num_classes = int(max(true.max(), predicted.max())) + 1 if len(true) else 1
    return metrics_of_counts(
        np.bincount(true[true == predicted], minlength=num_classes),
        np.bincount(true, minlength=num_classes),
        np.bincount(predicted, minlength=num_classes),
    )


def metrics_of_counts(hits: Array, in_true: Array, in_predicted: Array) -> dict[str, float]:
    """Metrics of classes from three counts per class.

    Args:
        hits: (K,) predicted rightly.
        in_true: (K,) of this class.
        in_predicted: (K,) predicted as this class.

    Returns:
        accuracy; balanced_accuracy, the mean recall of the true classes; macro_precision, macro_f1 and macro_iou (hits
        over the union of true and predicted, Jaccard 1912) over the classes that occur as true or predicted, 0 for
        those never predicted; mcc after Gorodkin (2004), 0 when a single class is predicted (Chicco & Jurman 2020).
    """
    hits, in_true, in_predicted = (np.asarray(counts, np.float64) for counts in (hits, in_true, in_predicted))
    total = float(in_true.sum())
    if not total:
        names = ("accuracy", "balanced_accuracy", "macro_precision", "macro_f1", "macro_iou", "mcc")
        return dict.fromkeys(names, NAN)
    occurs = in_true + in_predicted > 0
    sizes = (in_true + in_predicted)[occurs]
    spread_true = total**2 - float(np.sum(in_true**2))
    spread_predicted = total**2 - float(np.sum(in_predicted**2))
    covariance = hits.sum() * total - float(in_true @ in_predicted)
    mcc = NAN if spread_true == 0 else 0.0
    if spread_true and spread_predicted:
        mcc = float(covariance / np.sqrt(spread_true * spread_predicted))
    return {
        "accuracy": float(hits.sum() / total),
        "balanced_accuracy": mean(hits[in_true > 0] / in_true[in_true > 0]),
        "macro_precision": mean(hits[occurs] / np.maximum(in_predicted[occurs], 1)),
        "macro_f1": mean(2 * hits[occurs] / sizes),
        "macro_iou": mean(hits[occurs] / (sizes - hits[occurs])),
        "mcc": mcc,
    }


def per_class(true: Array, predicted: Array, num_classes: int) -> dict[str, NDArray[np.float64]]:
    """precision, recall, f1 and iou, each (K,), of (N,) and (N,) class indices.

    nan where there is nothing to divide by: the recall of a class that does not occur, the precision of one that is
    never predicted, and f1 and iou of one that is neither.
    """
    counts = confusion_matrix(true, predicted, num_classes)
    return rates_of_counts(counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0))


def rates_of_counts(hits: Array, in_true: Array, in_predicted: Array) -> dict[str, NDArray[np.float64]]:
    """precision, recall, f1 and iou from counts of any shape, see :func:`metrics_of_counts`; nan where undefined."""
    hits, in_true, in_predicted = (np.asarray(counts, np.float64) for counts in (hits, in_true, in_predicted))
    sizes = in_true + in_predicted
    return {
        "precision": _shares(hits, in_predicted),
        "recall": _shares(hits, in_true),
        "f1": _shares(2 * hits, sizes),
        "iou": _shares(hits, sizes - hits),
    }


def micro_iou(true: Array, predicted: Array) -> float:
    """Hits over the union of true and predicted, all classes of (N,) and (N,) class indices counted together."""
    share = accuracy(true, predicted)
    return share / (2 - share)


def classification_metrics(true: Array, probabilities: Array, predicted: Array | None = None) -> dict[str, float]:
    """Metrics of one class per record, or per residue on flattened positions.

    Args:
        true: (N,) class indices; negative is not scored.
        probabilities: (N, K), rows adding up to 1.
        predicted: (N,) class indices that were decided on; None: the most probable ones.

    Returns:
        :func:`label_metrics`; cross_entropy, which is the log loss (nats), and brier.
        With two classes, of class 1: roc_auc, pr_auc, f1, precision, recall and iou. With more, macro_roc_auc and
        macro_pr_auc (one class against the rest, over the classes where they are defined), and top_5_accuracy above
        :data:`TOP_K_FROM` classes.
    """
    true, probabilities = np.asarray(true, np.int64), np.asarray(probabilities, np.float64)
    kept = true >= 0
    predicted = probabilities.argmax(axis=1) if predicted is None else np.asarray(predicted, np.int64)
    true, probabilities, predicted = true[kept], probabilities[kept], predicted[kept]
    metrics = label_metrics(true, predicted)
    metrics["cross_entropy"] = cross_entropy(true, probabilities)
    metrics["brier"] = brier(true, probabilities)
    if probabilities.shape[1] == 2:
        rates = per_class(true, predicted, 2)
        return metrics | {
            "roc_auc": roc_auc(true == 1, probabilities[:, 1]),
            "pr_auc": pr_auc(true == 1, probabilities[:, 1]),
            **{name: float(rates[name][1]) for name in ("f1", "precision", "recall", "iou")},
        }
    found = np.unique(true)
    metrics["macro_roc_auc"] = defined_mean([roc_auc(true == k, probabilities[:, k]) for k in found])
    metrics["macro_pr_auc"] = defined_mean([pr_auc(true == k, probabilities[:, k]) for k in found])
    if probabilities.shape[1] > TOP_K_FROM:
        metrics["top_5_accuracy"] = top_accuracy(true, probabilities, _TOP_K)
    return metrics


def cross_entropy(true: Array, probabilities: Array) -> float:
    """Mean -log probability of the true class, in nats; probabilities are kept off 0 by the float64 epsilon."""
    chosen = probabilities[np.arange(len(true)), true]
    return mean(-np.log(np.clip(chosen, np.finfo(np.float64).eps, 1.0)))


def perplexity(true: Array, probabilities: Array) -> float:
    """exp of :func:`cross_entropy`: among how many equally probable classes one would have to guess."""
    return float(np.exp(cross_entropy(true, probabilities)))


def brier(true: Array, probabilities: Array) -> float:
    """Mean squared distance of (N, K) probabilities from the true classes (N,) (Brier 1950).

    Summed over the classes, 0 to 2, but of two classes that of class 1 alone, 0 to 1, as is usual for a single event.
    """
    if probabilities.shape[1] == 2:
        return mean((probabilities[:, 1] - (true == 1)) ** 2)
    chosen = probabilities[np.arange(len(true)), true]
    return mean(np.sum(probabilities**2, axis=1) - 2 * chosen + 1)


def top_accuracy(true: Array, probabilities: Array, k: int) -> float:
    """Share of records whose true class is among the k most probable; ties go to the lower class, as in argmax."""
    chosen = probabilities[np.arange(len(true)), true][:, None]
    earlier = np.arange(probabilities.shape[1]) < np.asarray(true)[:, None]
    ahead = (probabilities > chosen) | ((probabilities == chosen) & earlier)
    return mean(ahead.sum(axis=1) < k)


def _shares(parts: Array, wholes: Array) -> NDArray[np.float64]:
    """Quotients of any shape, nan for those of nothing."""
    quotients = np.full(np.shape(wholes), NAN)
    np.divide(parts, wholes, out=quotients, where=np.asarray(wholes) > 0)
    return quotients
