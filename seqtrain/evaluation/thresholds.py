"""From which probability on something is predicted: the threshold that is best on given records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from seqtrain.errors import InputError

Array = NDArray[Any]
Rule = Literal["f1", "mcc", "balanced-accuracy", "youden"]
"""What is to be highest. Youden's J (1950), sensitivity + specificity - 1, is where balanced accuracy is."""
RULE_TITLES: dict[Rule, str] = {
    "f1": "F1",
    "mcc": "MCC",
    "balanced-accuracy": "balanced accuracy",
    "youden": "Youden's J",
}
USUAL = 0.5


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """A threshold with what it is worth on the records it was chosen on."""

    value: float
    rule: Rule
    score: float
    score_at_half: float
    """By the same rule, of the threshold 0.5."""
    num_records: int

    def words(self, noun: str = "record") -> str:
        """The threshold, and what it gains."""
        counted = f"{self.num_records:,} validation {noun}{'s' * (self.num_records != 1)}"
        score, half = f"{self.score:.3f}", f"{self.score_at_half:.3f}"
        value = f"{self.value:.3g}"
        if value == "0.5" and self.value != 0.5:
            value = f"{self.value:.6g}"  # or it would seem that 0.5 is better than 0.5
        return f"threshold {value} for {RULE_TITLES[self.rule]} {score} on {counted}; 0.5 would give {half}"


def read_threshold(text: str) -> Rule | float:
    """A rule, or a number between 0 and 1.

    Raises:
        InputError: neither of the two.
    """
    if text in get_args(Rule):
        return cast(Rule, text)
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 < value < 1:
        raise InputError(f"--threshold {text}: choose {', '.join(get_args(Rule))}, or a number between 0 and 1")
    return value


def best_threshold(positive: Array, probabilities: Array, rule: Rule) -> Threshold:
    """The threshold of the highest score; of equally good ones that nearest to 0.5.

    Tried are the middles between neighbouring probabilities, 0 and 1 among them, and 0.5.

    Args:
        positive: (N,) bool, with both values.
        probabilities: (N,); predicted is what has at least the threshold.

    Raises:
        ValueError: all records are positive, or none is.
    """
    positive, probabilities = np.asarray(positive, bool), np.asarray(probabilities, np.float64)
    if positive.all() or not positive.any():
        raise ValueError("a threshold is chosen among positive and negative records; there is one kind only")
    distinct = np.unique([0.0, *probabilities, 1.0])
    tried = np.append((distinct[1:] + distinct[:-1]) / 2, USUAL)
    scores = scores_at(positive, probabilities, tried, rule)
    best = np.flatnonzero(scores == scores.max())
    chosen = int(best[np.abs(tried[best] - USUAL).argmin()])
    return Threshold(
        value=float(tried[chosen]),
        rule=rule,
        score=float(scores[chosen]),
        score_at_half=float(scores[-1]),
        num_records=len(positive),
    )


def scores_at(positive: Array, probabilities: Array, thresholds: Array, rule: Rule) -> NDArray[np.float64]:
    """(M,) scores of thresholds (M,) on positive (N,) bool and probabilities (N,); 0 where there is none."""
    hits = _num_from(np.asarray(probabilities)[np.asarray(positive, bool)], thresholds)
    false = _num_from(np.asarray(probabilities)[~np.asarray(positive, bool)], thresholds)
    num_positive = float(np.sum(positive))
    return _SCORES[rule](hits, false, num_positive, len(positive) - num_positive)


def _num_from(probabilities: Array, thresholds: Array) -> NDArray[np.float64]:
    """(M,) how many of the probabilities are at least each threshold."""
    below = np.searchsorted(np.sort(probabilities), thresholds, side="left")
    return (len(probabilities) - below).astype(np.float64)


def _f1(hits: Array, false: Array, num_positive: float, num_negative: float) -> NDArray[np.float64]:
    return np.asarray(2 * hits / (hits + false + num_positive))


def _mcc(hits: Array, false: Array, num_positive: float, num_negative: float) -> NDArray[np.float64]:
    said, total = hits + false, num_positive + num_negative
    norm = np.sqrt(said * (total - said) * num_positive * num_negative)
    covariance = hits * total - said * num_positive
    return np.divide(covariance, norm, out=np.zeros(len(hits)), where=norm > 0)


def _youden(hits: Array, false: Array, num_positive: float, num_negative: float) -> NDArray[np.float64]:
    return np.asarray(hits / num_positive - false / num_negative)


def _balanced_accuracy(hits: Array, false: Array, num_positive: float, num_negative: float) -> NDArray[np.float64]:
    return (_youden(hits, false, num_positive, num_negative) + 1) / 2


_SCORES: dict[Rule, Callable[[Array, Array, float, float], NDArray[np.float64]]] = {
    "f1": _f1,
    "mcc": _mcc,
    "balanced-accuracy": _balanced_accuracy,
    "youden": _youden,
}
