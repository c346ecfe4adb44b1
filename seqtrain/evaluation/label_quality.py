"""Which labels a simple model contradicts, and how far its word is to be trusted on just these data.

A simple model (words of letters or one-hot positions, in a linear model) predicts every record in folds in which
equal sequences stay together. Classes are judged by confident learning (Northcutt, Jiang & Chuang 2021, JAIR 70:1373,
arXiv:1911.00068), numbers by residuals that are far out on a robust scale.

Confident learning alone names every fourth label where the model is right on two of three, as it takes the model at its
word. So a trial comes on top, which the paper does not have: some labels are made wrong on purpose, the same is done
again, and the score from which on labels are named is the one that finds those best (highest F0.5). What is named is a
reason to look, no proof that it is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from seqtrain.draws import below, chance, fold, mix
from seqtrain.evaluation.metrics import accuracy, spearman
from seqtrain.evaluation.out_of_fold import out_of_fold_probabilities, out_of_fold_values

OUTLIER = 4.0
"""Robust standard deviations; of normal residuals 6 in 100,000 are farther out."""
_MAD_TO_DEVIATION = 1.4826  # of a normal distribution
TRIAL_FRACTION = 0.05
"""Of the labels, made wrong on purpose in a trial."""
LEAST_PRECISION = 0.15
"""In the trial; below it no label is named. Blind choice would reach 0.05."""
_TRIAL_RECORDS = 2_000
_MAX_TRIALS = 5


@dataclass(frozen=True, kw_only=True)
class Suspicion:
    """What a simple model says of the labels of N records."""

    suspicious: NDArray[np.bool_]
    """(N,)."""
    score: NDArray[np.float64]
    """(N,) the higher, the more doubtful, and nan where it was not judged; for classes the probability of the best
    other class minus that of the label, for numbers the residual in robust standard deviations."""
    predicted: NDArray[np.float64]
    """(N,) what the model says: the index of a class, or a number."""

    def order(self) -> NDArray[np.int64]:
        """The suspicious records, the most doubtful first."""
        found = np.flatnonzero(self.suspicious)
        return found[np.argsort(-self.score[found], kind="stable")]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """How well labels that were made wrong on purpose were found."""

    planted: int
    """Labels made wrong, over all repetitions."""
    found: float
    """Share of them that were named."""
    right: float
    """Share of the named that were among them; the others may be wrong ones that were there before."""
    least_score: float
    """From which on labels are named; infinite if none is."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """The labels of N records as a simple model sees them."""

    suspicion: Suspicion
    trial: Trial
    skill: float
    """Of the model, out of fold: accuracy of classes, rank correlation of numbers."""


def judge_classes(
    sequences: Sequence[str], classes: NDArray[np.int64], num_classes: int, groups: NDArray[np.int64], *, seed: int
) -> Judged:
    """Suspicious classes, -1 being none, of N sequences.

    Args:
        groups: (N,) records that stay together, such as equal sequences.

    Raises:
        ValueError: fewer than two different sequences.
    """

    def judge(labels: NDArray[np.int64]) -> Suspicion:
        found = out_of_fold_probabilities(sequences, labels, num_classes, groups, seed=seed)
        return confident_issues(labels, found)

    trials = []
    for number in range(_num_trials(len(sequences))):
        wrong = flipped(classes, num_classes, TRIAL_FRACTION, fold(seed, "trial", number))
        trials.append((judge(wrong), wrong != classes))
    suspicion, trial = judge(classes), trial_of(trials)
    return Judged(suspicion=named(suspicion, trial), trial=trial, skill=accuracy(classes, suspicion.predicted))


def judge_values(
    sequences: Sequence[str], values: NDArray[np.float64], groups: NDArray[np.int64], *, seed: int
) -> Judged:
    """Suspicious numbers, nan being none, of N sequences; arguments as in :func:`judge_classes`.

    Raises:
        ValueError: fewer than two different sequences.
    """

    def judge(labels: NDArray[np.float64]) -> Suspicion:
        return outlying_values(labels, out_of_fold_values(sequences, labels[:, None], groups, seed=seed)[:, 0])

    trials = []
    for number in range(_num_trials(len(sequences))):
        wrong = exchanged(values, TRIAL_FRACTION, fold(seed, "trial", number))
        trials.append((judge(wrong), (wrong != values) & ~np.isnan(values)))
    suspicion, trial = judge(values), trial_of(trials)
    return Judged(suspicion=named(suspicion, trial), trial=trial, skill=spearman(values, suspicion.predicted))


def trial_of(trials: Sequence[tuple[Suspicion, NDArray[np.bool_]]]) -> Trial:
    """What comes of trials, each with (N,) the labels that were made wrong: the score that finds them best."""
    scores = np.concatenate([each.score[each.suspicious] for each, _ in trials])
    hits = np.concatenate([wrong[each.suspicious] for each, wrong in trials])
    planted = int(sum(wrong.sum() for _, wrong in trials))
    order = np.argsort(-scores, kind="stable")
    scores, hits = scores[order], np.cumsum(hits[order])
    ends = np.flatnonzero(np.append(scores[1:] != scores[:-1], True)) if len(scores) else np.zeros(0, np.int64)
    nothing = Trial(planted=planted, found=0.0, right=float("nan"), least_score=float("inf"))
    if not planted or not len(ends):
        return nothing
    # F0.5: a right label that is named costs the reader more than a wrong one that is not.
    best = int(ends[np.argmax(1.25 * hits[ends] / (ends + 1 + 0.25 * planted))])
    right = float(hits[best]) / (best + 1)
    if right < LEAST_PRECISION:
        return nothing
    return Trial(planted=planted, found=float(hits[best]) / planted, right=right, least_score=float(scores[best]))


def named(suspicion: Suspicion, trial: Trial) -> Suspicion:
    """What is left of suspicions at the score that a trial has found."""
    return replace(suspicion, suspicious=suspicion.suspicious & (suspicion.score >= trial.least_score))


def confident_issues(classes: NDArray[np.int64], probabilities: NDArray[np.float64]) -> Suspicion:
    """Labels that fall off the diagonal of the confident joint, ranked by the normalised margin.

    A record counts for class j if its probability of j reaches the mean probability of j among the records labelled j;
    of several such classes for the most probable one. A label is suspicious if that is another class than its own.

    Args:
        classes: (N,) given labels; -1 is not judged.
        probabilities: (N, K) from models that did not see the record.
    """
    known, (count, width) = classes >= 0, probabilities.shape
    given = np.where(known, classes, 0)
    own = probabilities[np.arange(count), given]
    sums = np.bincount(given[known], weights=own[known], minlength=width)
    sizes = np.bincount(given[known], minlength=width)
    thresholds = np.where(sizes > 0, sums / np.maximum(sizes, 1), np.inf)
    confident = np.where(probabilities >= thresholds, probabilities, -1.0)
    best = confident.argmax(axis=1)
    others = probabilities.copy()
    others[np.arange(count), given] = -1.0
    margin = others.max(axis=1) - own
    return Suspicion(
        suspicious=known & (confident.max(axis=1) >= 0) & (best != given),
        score=np.where(known, margin, np.nan),
        predicted=probabilities.argmax(axis=1).astype(np.float64),
    )


def outlying_values(
    values: NDArray[np.float64], predicted: NDArray[np.float64], *, least: float = OUTLIER
) -> Suspicion:
    """Numbers that lie far from what is predicted, by the median and the median absolute deviation of the residuals.

    Args:
        values: (N,) given labels; nan is not judged.
        predicted: (N,) from models that did not see the record.
        least: robust standard deviations from which on a label is suspicious.
    """
    residuals = values - predicted
    known = ~np.isnan(residuals)
    middle = float(np.median(residuals[known])) if known.any() else 0.0
    spread = float(np.median(np.abs(residuals[known] - middle))) * _MAD_TO_DEVIATION if known.any() else 0.0
    score = np.abs(residuals - middle) / spread if spread else np.where(known, 0.0, np.nan)
    return Suspicion(suspicious=known & (score >= least), score=score, predicted=predicted)


def flipped(classes: NDArray[np.int64], num_classes: int, fraction: float, seed: int) -> NDArray[np.int64]:
    """(N,) labels of which a fraction, by keyed draws, is another class than before; -1 stays."""
    records = np.arange(len(classes))
    chosen = chance(mix(records + fold(seed, "flipped")), fraction) & (classes >= 0)
    shift = 1 + below(mix(records + fold(seed, "flipped to")), max(num_classes - 1, 1))
    return np.where(chosen, (classes + shift) % num_classes, classes)


def exchanged(values: NDArray[np.float64], fraction: float, seed: int) -> NDArray[np.float64]:
    """(N,) numbers of which a fraction, by keyed draws, is that of another record; nan stays."""
    known = np.flatnonzero(~np.isnan(values))
    result = values.copy()
    if len(known):
        chosen = known[chance(mix(known + fold(seed, "exchanged")), fraction)]
        result[chosen] = values[known[below(mix(chosen + fold(seed, "exchanged with")), len(known))]]
    return result


def _num_trials(count: int) -> int:
    """Repetitions, so that small tables have enough wrong labels to learn the score from."""
    return int(np.clip(_TRIAL_RECORDS // max(count, 1), 1, _MAX_TRIALS))
