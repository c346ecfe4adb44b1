"""How far several answers to one question lie apart, and whether that tells which of them are wrong.

Answers are those of the members of an ensemble (Lakshminarayanan et al. 2017) or of one network with dropout left on
(Gal & Ghahramani 2016, arXiv:1506.02142). Both tell what the model does not know. Noise in the labels is in the entropy
too, and of numbers in nothing here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqtrain.evaluation.intervals import bootstrap_interval
from seqtrain.evaluation.metrics import spearman

Array = NDArray[Any]


def spread(values: Array) -> NDArray[np.float64]:
    """(S, N, K) numbers -> (N, K) standard deviation over the S answers, with S - 1 below, in their units."""
    return np.asarray(np.std(np.asarray(values, np.float64), axis=0, ddof=1))


def entropy_of_classes(probabilities: Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How unsure answers are, and how much of it because they differ.

    Args:
        probabilities: (S, N, C), rows adding up to 1.

    Returns:
        (N,) entropy of the mean answer and (N,) its mutual information with which answer was asked for (BALD, Houlsby
        et al. 2011): that entropy less the mean one of the answers. Both in nats, from 0 to ln C.
    """
    probabilities = np.asarray(probabilities, np.float64)
    whole = _surprise(probabilities.mean(axis=0)).sum(axis=-1)
    return whole, np.maximum(whole - _surprise(probabilities).sum(axis=-1).mean(axis=0), 0.0)


def entropy_of_labels(probabilities: Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """As :func:`entropy_of_classes` for (S, N, K) labels, each by itself, summed over them: from 0 to K ln 2 nats."""
    both = np.stack([np.asarray(probabilities, np.float64), 1 - np.asarray(probabilities, np.float64)], axis=-1)
    whole = _surprise(both.mean(axis=0)).sum(axis=(-1, -2))
    return whole, np.maximum(whole - _surprise(both).sum(axis=(-1, -2)).mean(axis=0), 0.0)


@dataclass(frozen=True, kw_only=True)
class Worth:
    """Whether an uncertainty tells which answers are wrong."""

    name: str
    """Of the uncertainty, as its column is called."""
    rank_correlation: float
    """Spearman's, of the uncertainty with the error."""
    low: float
    """95 % interval, by bootstrap over records."""
    high: float
    risk_coverage: float
    """Area under the risk-coverage curve, lower is better: the mean error of the surest 1, 2, … N answers, averaged."""
    risk: float
    """The mean error of all answers: what the area is for an uncertainty that tells nothing."""
    best_risk_coverage: float
    """What the area is for an uncertainty in the order of the errors themselves."""

    def words(self) -> str:
        """Whether it is worth something, as a phrase."""
        verdict = "is higher where errors are" if self.low > 0 else "does not clearly tell where errors are"
        if self.high < 0:
            verdict = "is lower where errors are, so do not go by it"
        interval = "no interval" if np.isnan(self.low) else f"95 % interval {self.low:.3f} to {self.high:.3f}"
        return (
            f"{self.name} {verdict}: rank correlation with the error {self.rank_correlation:.3f} ({interval}), area "
            f"under risk-coverage {self.risk_coverage:.4g} ({self.risk:.4g} without it, {self.best_risk_coverage:.4g} "
            "at best)"
        )


def worth_of(name: str, uncertainty: Array, errors: Array, *, groups: Array | None = None, seed: int = 0) -> Worth:
    """Whether (N,) uncertainties go with (N,) errors: absolute ones of numbers, 1 - right of classes; nan is left out.

    Args:
        groups: (N,) the record of each row, see :func:`seqtrain.evaluation.intervals.bootstrap_interval`.
    """
    uncertainty, errors = np.asarray(uncertainty, np.float64), np.asarray(errors, np.float64)
    known = ~np.isnan(uncertainty) & ~np.isnan(errors)
    uncertainty, errors = uncertainty[known], errors[known]
    groups = None if groups is None else np.asarray(groups)[known]
    low, high = bootstrap_interval(spearman, (errors, uncertainty), groups=groups, num_resamples=400, seed=seed)
    return Worth(
        name=name,
        rank_correlation=spearman(errors, uncertainty),
        low=low,
        high=high,
        risk_coverage=area_under_risk_coverage(uncertainty, errors),
        risk=float(errors.mean()) if len(errors) else float("nan"),
        best_risk_coverage=area_under_risk_coverage(errors, errors),
    )


def risk_coverage(uncertainty: Array, errors: Array) -> NDArray[np.float64]:
    """(N,) mean error of the surest 1, 2, … N answers (El-Yaniv & Wiener 2010); equally sure ones share theirs."""
    order = np.argsort(uncertainty, kind="stable")
    arranged = np.asarray(uncertainty)[order]
    starts = np.flatnonzero(np.append(True, arranged[1:] != arranged[:-1])) if len(order) else order
    sizes = np.diff(np.append(starts, len(order)))
    means = np.add.reduceat(np.asarray(errors, np.float64)[order], starts) / sizes if len(order) else np.zeros(0)
    return np.asarray(np.cumsum(np.repeat(means, sizes)) / np.arange(1, len(order) + 1))


def area_under_risk_coverage(uncertainty: Array, errors: Array) -> float:
    """The mean of :func:`risk_coverage`; nan of nothing."""
    return float(np.mean(risk_coverage(uncertainty, errors))) if len(uncertainty) else float("nan")


def _surprise(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """-p ln p of any shape, 0 for 0."""
    return -probabilities * np.log(np.where(probabilities > 0, probabilities, 1.0))
