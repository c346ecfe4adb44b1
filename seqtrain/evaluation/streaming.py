"""Scores of more records than memory holds at once: sums that take chunks, in any cut and order, and can be merged.

Each of them is a value: ``update`` and ``merge`` give a new one. What is a function of sums (counts, cross-entropy,
Brier, calibration, moments) is exact in constant memory. Metrics of ranks have no such form: with ``ranked`` the scores
are kept, as small as they are given (float32 is half of float64), and the metric is that of
:mod:`seqtrain.evaluation.metrics`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from seqtrain.evaluation.calibration import NUM_BINS, bins_of
from seqtrain.evaluation.metrics import metrics_of_counts, pr_auc, rates_of_counts, roc_auc, spearman
from seqtrain.evaluation.metrics.ranks import defined_mean

Array = NDArray[Any]
NAN = float("nan")
_EPSILON = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, kw_only=True)
class ClassScores:
    """Of one class per record or residue, what :func:`seqtrain.evaluation.metrics.classification_metrics` gives."""

    num_classes: int
    ranked: bool = False
    """Keep true classes and probabilities, for the areas under the curves."""
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    """(K, K) rows = true, columns = predicted; empty at first."""
    log_sum: float = 0.0
    squared_sum: float = 0.0
    bins: NDArray[np.float64] = field(default_factory=lambda: np.zeros((3, NUM_BINS)))
    """Predictions, confidences and right predictions in each bin of confidence."""
    kept: tuple[tuple[Array, Array], ...] = ()
    """(true, probabilities) of each chunk, where ranked."""

    def update(self, true: Array, probabilities: Array, predicted: Array | None = None) -> Self:
        """With more records; arguments as those of ``classification_metrics``."""
        true, probabilities = np.asarray(true, np.int64), np.asarray(probabilities)
        kept = true >= 0
        said = probabilities.argmax(axis=1) if predicted is None else np.asarray(predicted, np.int64)
        true, probabilities, said = true[kept], probabilities[kept], said[kept]
        cells = np.bincount(true * self.num_classes + said, minlength=self.num_classes**2)
        wide = probabilities.astype(np.float64)
        chosen = wide[np.arange(len(true)), true]
        squared = np.sum(wide**2, axis=1) - 2 * chosen + 1
        confidence, right = wide.max(axis=1, initial=0.0), wide.argmax(axis=1) == true
        places = bins_of(confidence, NUM_BINS)
        weights = (np.ones(len(true)), confidence, right.astype(np.float64))
        return replace(
            self,
            counts=self._matrix() + cells.reshape(self.num_classes, -1),
            log_sum=self.log_sum - float(np.log(np.clip(chosen, _EPSILON, 1.0)).sum()),
            # Of two classes the score of class 1 alone, which is half of the sum over both.
            squared_sum=self.squared_sum + float(squared.sum()) / (2 if self.num_classes == 2 else 1),
            bins=self.bins + np.stack([np.bincount(places, each, NUM_BINS) for each in weights]),
            kept=(*self.kept, (true.astype(np.int32), probabilities)) if self.ranked else (),
        )

    def merge(self, other: Self) -> Self:
        """Both together.

        Raises:
            ValueError: they are of other classes, or only one of them has kept its scores.
        """
        if (self.num_classes, self.ranked) != (other.num_classes, other.ranked):
            raise ValueError("these scores are of other numbers of classes, or only one of the two keeps ranks")
        return replace(
            self,
            counts=self._matrix() + other._matrix(),
            log_sum=self.log_sum + other.log_sum,
            squared_sum=self.squared_sum + other.squared_sum,
            bins=self.bins + other.bins,
            kept=self.kept + other.kept,
        )

    def result(self) -> dict[str, float]:
        """The metrics of everything so far, calibration_error (expected, in 15 bins of equal width) among them."""
        counts = self._matrix()
        hits, in_true, in_predicted = counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)
        total = float(counts.sum())
        metrics = metrics_of_counts(hits, in_true, in_predicted)
        metrics["cross_entropy"] = self.log_sum / total if total else NAN
        metrics["brier"] = self.squared_sum / total if total else NAN
        metrics["calibration_error"] = float(np.abs(self.bins[1] - self.bins[2]).sum() / total) if total else NAN
        if self.num_classes == 2:
            rates = rates_of_counts(hits, in_true, in_predicted)
            metrics |= {name: float(values[1]) for name, values in rates.items()}
        return metrics | (self._areas() if self.ranked else {})

    def _areas(self) -> dict[str, float]:
        nothing = (np.zeros(0, np.int32), np.zeros((0, self.num_classes)))
        true, probabilities = (np.concatenate(side) for side in zip(nothing, *self.kept, strict=True))
        if self.num_classes == 2:
            positive, scores = true == 1, probabilities[:, 1]
            return {"roc_auc": roc_auc(positive, scores), "pr_auc": pr_auc(positive, scores)}
        found = np.unique(true)
        return {
            "macro_roc_auc": defined_mean([roc_auc(true == k, probabilities[:, k]) for k in found]),
            "macro_pr_auc": defined_mean([pr_auc(true == k, probabilities[:, k]) for k in found]),
        }

    def _matrix(self) -> NDArray[np.int64]:
        return self.counts if self.counts.size else np.zeros((self.num_classes, self.num_classes), np.int64)


@dataclass(frozen=True, kw_only=True)
class NumberScores:
    """Of one number per record, what :func:`seqtrain.evaluation.metrics.regression_metrics` gives.

    Moments are merged after Chan, Golub & LeVeque (1983, The American Statistician 37:242), which loses no digits to a
    large mean.
    """

    ranked: bool = False
    """Keep both numbers of each record, for Spearman's correlation."""
    count: int = 0
    means: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))
    """Of true and predicted values."""
    products: NDArray[np.float64] = field(default_factory=lambda: np.zeros((2, 2)))
    """Sums of products of their distances from these means."""
    squared_sum: float = 0.0
    """Of errors."""
    absolute_sum: float = 0.0
    kept: tuple[tuple[Array, Array], ...] = ()

    def update(self, true: Array, predicted: Array) -> Self:
        """With more records: true (N,), nan is not scored, and predicted (N,)."""
        true, predicted = np.asarray(true), np.asarray(predicted)
        known = ~np.isnan(true)
        pair = np.stack([true[known], predicted[known]]).astype(np.float64)
        if not pair.size:
            return self
        means = pair.mean(axis=1)
        distances, errors = pair - means[:, None], pair[1] - pair[0]
        chunk = replace(
            self,
            count=pair.shape[1],
            means=means,
            products=distances @ distances.T,
            squared_sum=float(np.sum(errors**2)),
            absolute_sum=float(np.abs(errors).sum()),
            kept=((true[known], predicted[known]),) if self.ranked else (),
        )
        return self.merge(chunk)

    def merge(self, other: Self) -> Self:
        """Both together.

        Raises:
            ValueError: only one of them has kept its numbers.
        """
        if self.ranked != other.ranked:
            raise ValueError("only one of these two keeps ranks")
        count = self.count + other.count
        if not count:
            return self
        apart = other.means - self.means
        return replace(
            self,
            count=count,
            means=self.means + apart * (other.count / count),
            products=self.products + other.products + np.outer(apart, apart) * (self.count * other.count / count),
            squared_sum=self.squared_sum + other.squared_sum,
            absolute_sum=self.absolute_sum + other.absolute_sum,
            kept=self.kept + other.kept,
        )

    def result(self) -> dict[str, float]:
        """The metrics of everything so far."""
        (true_spread, covariance), (_, predicted_spread) = self.products.tolist()
        norm = float(np.sqrt(true_spread * predicted_spread))
        mse = self.squared_sum / self.count if self.count else NAN
        metrics = {
            "pearson": min(max(covariance / norm, -1.0), 1.0) if norm else NAN,
            "r2": 1 - self.squared_sum / true_spread if true_spread else NAN,
            "mse": mse,
            "mae": self.absolute_sum / self.count if self.count else NAN,
            "rmse": float(np.sqrt(mse)),
        }
        if not self.ranked:
            return metrics
        sides = [np.concatenate(side) for side in zip(*self.kept, strict=True)] or [np.zeros(0), np.zeros(0)]
        return {"spearman": spearman(*sides), **metrics}


@dataclass(frozen=True, kw_only=True)
class LabelScores:
    """Of any number of labels per record, what counting gives of
    :func:`seqtrain.evaluation.metrics.multilabel_metrics`."""

    num_labels: int
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    """(3, K) hits, true and predicted labels; empty at first."""
    num_records: int = 0
    """With a known label."""
    num_right: int = 0
    """With every known label right."""
    num_cells: int = 0
    log_sum: float = 0.0
    squared_sum: float = 0.0

    def update(self, true: Array, probabilities: Array, predicted: Array | None = None) -> Self:
        """With more records; arguments as those of ``multilabel_metrics``."""
        true, probabilities = np.asarray(true, np.float64), np.asarray(probabilities, np.float64)
        known = ~np.isnan(true)
        positive = known & (true > 0.5)
        said = known & (probabilities >= 0.5 if predicted is None else predicted)
        of_truth = np.where(positive, probabilities, 1 - probabilities)[known]
        rows = known.any(axis=1)
        chunk = replace(
            self,
            counts=np.stack([each.sum(axis=0) for each in (positive & said, positive, said)]),
            num_records=int(rows.sum()),
            num_right=int((positive == said).all(axis=1)[rows].sum()),
            num_cells=len(of_truth),
            log_sum=-float(np.log(np.clip(of_truth, _EPSILON, 1.0)).sum()),
            squared_sum=float(np.sum((1 - of_truth) ** 2)),
        )
        return self.merge(chunk)

    def merge(self, other: Self) -> Self:
        """Both together.

        Raises:
            ValueError: they are of other labels.
        """
        if self.num_labels != other.num_labels:
            raise ValueError(f"these scores are of {self.num_labels} and of {other.num_labels} labels")
        return replace(
            self,
            counts=self._matrix() + other._matrix(),
            num_records=self.num_records + other.num_records,
            num_right=self.num_right + other.num_right,
            num_cells=self.num_cells + other.num_cells,
            log_sum=self.log_sum + other.log_sum,
            squared_sum=self.squared_sum + other.squared_sum,
        )

    def result(self) -> dict[str, float]:
        """The metrics of everything so far."""
        counts = self._matrix()
        each, together = rates_of_counts(*counts), rates_of_counts(*counts.sum(axis=1))
        return {
            "micro_f1": float(together["f1"]),
            "micro_iou": float(together["iou"]),
            "macro_f1": defined_mean(each["f1"].tolist()),
            "macro_iou": defined_mean(each["iou"].tolist()),
            "subset_accuracy": self.num_right / self.num_records if self.num_records else NAN,
            "cross_entropy": self.log_sum / self.num_cells if self.num_cells else NAN,
            "brier": self.squared_sum / self.num_cells if self.num_cells else NAN,
        }

    def _matrix(self) -> NDArray[np.int64]:
        return self.counts if self.counts.size else np.zeros((3, self.num_labels), np.int64)
