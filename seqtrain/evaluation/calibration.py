"""Whether probabilities are what they say, and the temperature that makes them so.

Temperature scaling and the calibration error as in Guo et al. 2017, arXiv:1706.04599.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqtrain.draws import fold, mix
from seqtrain.evaluation.metrics import binary_cross_entropy, brier, cross_entropy

Array = NDArray[Any]
NUM_BINS = 15
"""Of equal width, as in the paper."""
HOTTEST = 100.0
"""The highest temperature: probabilities of outputs that know nothing are as good as equal there."""
_COLDEST = 0.01
LEAST_OF_EACH = 10
"""Records with and without a label that it takes to find a temperature for it alone."""
_NUM_RESAMPLES = 200
_MAX_RESAMPLED = 20_000_000
_WORTH_SAYING = 0.02
"""Errors below this are not remarked on, however sure they are: with many records anything is clearly above chance."""


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """How often what was predicted with some confidence is right, in bins of confidence (0 to 1, of equal width)."""

    test_set: str
    of_labels: bool
    """False: of classes, the probability of the most probable one, and how often it is right. True: of labels, any
    number of which are right, the probability of each, and how often the record has it."""
    confidence: NDArray[np.float64]
    """(bins,) mean in the bin; nan where it is empty."""
    observed: NDArray[np.float64]
    """(bins,) share that is right; nan where the bin is empty."""
    counts: NDArray[np.int64]
    """(bins,)."""
    expected_calibration_error: float
    """Mean distance of confidence and observed over what was predicted (Naeini et al. 2015)."""
    chance_error: float
    """What perfectly calibrated probabilities stay below in 95 % of draws of outcomes (Bröcker & Smith 2007)."""
    brier: float
    cross_entropy: float
    """In nats."""
    temperature: float | None = None
    """That outputs were divided by (the mean of those of several labels); None: of no calibration."""

    @property
    def mean_confidence(self) -> float:
        """Over everything that was predicted."""
        return self._mean(self.confidence)

    @property
    def share_right(self) -> float:
        """Of everything that was predicted."""
        return self._mean(self.observed)

    @property
    def miscalibrated(self) -> bool:
        """The error is above what chance gives, and large enough to matter."""
        return self.expected_calibration_error > max(self.chance_error, _WORTH_SAYING)

    def words(self) -> str:
        """One sentence that begins with the set, with what to do where something is to be done."""
        error = f"calibration error (ECE) {self.expected_calibration_error:.3f}"
        said, right = self.mean_confidence, self.share_right
        if not self.miscalibrated:
            return (
                f"{self.test_set}: nothing speaks against the probabilities ({error}, up to {self.chance_error:.3f} by "
                "chance)"
            )
        off = abs(said - right) > self.expected_calibration_error / 2
        how = "off, now too high and now too low" if not off else "too sure" if said > right else "not sure enough"
        if self.of_labels and off:
            how = "too high" if said > right else "too low"
        next_move = "; --calibrate temperature may mend it" if self.temperature is None else ""
        return (
            f"{self.test_set}: probabilities are {how}: {said:.2f} on average where {right:.2f} "
            f"{'hold' if self.of_labels else 'is right'} ({error}, up to {self.chance_error:.3f} by chance){next_move}"
        )

    def as_plain(self) -> dict[str, Any]:
        """As JSON has it: lists for arrays."""
        return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in vars(self).items()}

    def _mean(self, per_bin: NDArray[np.float64]) -> float:
        total = int(self.counts.sum())
        return float(np.sum(np.nan_to_num(per_bin) * self.counts) / total) if total else float("nan")


def reliability(
    true: Array,
    probabilities: Array,
    num_bins: int = NUM_BINS,
    *,
    test_set: str = "",
    temperature: float | None = None,
    seed: int = 0,
) -> Reliability:
    """How well probabilities are calibrated.

    Outcomes are taken as independent, which those of residues of one record are not quite: their chance_error is low.

    Args:
        true: (N,) class indices, negative is not scored; or (N, K) labels 0 or 1, nan is not scored.
        probabilities: (N, K).
        seed: of the draws behind chance_error.

    Raises:
        ValueError: fewer than one bin.
    """
    if num_bins < 1:
        raise ValueError(f"num_bins is {num_bins}; give 1 or more")
    true, probabilities = np.asarray(true), np.asarray(probabilities, np.float64)
    of_labels = true.ndim == 2
    if of_labels:
        known = ~np.isnan(np.asarray(true, np.float64))
        confidence, right = probabilities[known], true[known] > 0.5
        squared = float(np.mean((confidence - right) ** 2)) if len(right) else float("nan")
        entropy = binary_cross_entropy(right, confidence)
    else:
        scored = true >= 0
        true, probabilities = true[scored].astype(np.int64), probabilities[scored]
        confidence, right = probabilities.max(axis=1, initial=0.0), probabilities.argmax(axis=1) == true
        squared, entropy = brier(true, probabilities), cross_entropy(true, probabilities)
    places = bins_of(confidence, num_bins)
    counts = np.bincount(places, minlength=num_bins)
    sums, hits = np.bincount(places, confidence, num_bins), np.bincount(places, right, num_bins)
    return Reliability(
        test_set=test_set,
        of_labels=of_labels,
        confidence=np.divide(sums, counts, out=np.full(num_bins, np.nan), where=counts > 0),
        observed=np.divide(hits, counts, out=np.full(num_bins, np.nan), where=counts > 0),
        counts=counts,
        expected_calibration_error=_error(sums, hits, counts),
        chance_error=_chance_error(confidence, places, sums, counts, seed),
        brier=squared,
        cross_entropy=entropy,
        temperature=temperature,
    )


def bins_of(confidence: Array, num_bins: int) -> NDArray[np.int64]:
    """(N,) confidences 0 to 1 -> (N,) bins of equal width, closed above as in the paper; 0 is in the first."""
    places = np.ceil(np.asarray(confidence) * num_bins).astype(np.int64) - 1
    return np.asarray(np.clip(places, 0, num_bins - 1), np.int64)


def best_temperature(true: Array, logits: Array) -> float | None:
    """The temperature that logits are divided by for the lowest cross-entropy on these records.

    The cross-entropy is convex in 1 / temperature, so that it is lowest where its derivative, mean(E_p[logit] - logit
    of the true class), crosses zero; found by bisection.

    Args:
        true: (N,) class indices; negative is not looked at.
        logits: (N, C).

    Returns:
        At most :data:`HOTTEST`; None where no temperature is best: nothing to look at, or every record is right, so
        that the surer the better.
    """
    true, logits = np.asarray(true, np.int64), np.asarray(logits, np.float64)
    true, logits = true[true >= 0], logits[true >= 0]
    if not len(true):
        return None
    shifted = logits - logits[np.arange(len(true)), true][:, None]  # of the true class 0

    def slope(inverse: float) -> float:
        scaled = inverse * shifted
        weights = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        return float(np.mean(np.sum(weights * shifted, axis=1) / weights.sum(axis=1)))

    low, high = 1 / HOTTEST, 1 / _COLDEST
    if slope(high) <= 0:
        return None
    if slope(low) >= 0:
        return HOTTEST
    while high / low > 1 + 1e-9:
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return float(1 / np.sqrt(low * high))


def best_temperatures(true: Array, logits: Array) -> NDArray[np.float64]:
    """The temperature of each label by itself, (K,), of labels (N, K), 0 or 1, nan not looked at, and logits (N, K).

    One temperature for all cells together stands in for a label that fewer than :data:`LEAST_OF_EACH` records have, or
    do not have, and where none is best: few records make a label look as if one could be very sure of it. 1 where even
    that has none.
    """
    true = np.asarray(true, np.float64)
    together = _of_label(true.ravel(), np.ravel(logits)) or 1.0
    found = np.full(true.shape[1], together)
    for k in range(true.shape[1]):
        if min(np.sum(true[:, k] > 0.5), np.sum(true[:, k] <= 0.5)) >= LEAST_OF_EACH:
            found[k] = _of_label(true[:, k], logits[:, k]) or together
    return found


def _of_label(true: Array, logits: Array) -> float | None:
    """The best temperature of (N,) cells of 0, 1 or nan and their (N,) logits."""
    known = ~np.isnan(true)
    return best_temperature(true[known] > 0.5, np.stack([np.zeros(int(known.sum())), logits[known]], axis=1))


def named(found: Reliability, test_set: str) -> Reliability:
    """The same of a set of another name."""
    return replace(found, test_set=test_set)


def _error(sums: Array, hits: Array, counts: Array) -> float:
    total = counts.sum()
    return float(np.abs(sums - hits).sum() / total) if total else float("nan")


def _chance_error(confidence: Array, places: Array, sums: Array, counts: Array, seed: int) -> float:
    """The 95 % quantile of the error when outcomes are drawn with the probabilities that were given."""
    if not len(confidence):
        return float("nan")
    num_resamples = int(np.clip(_MAX_RESAMPLED // len(confidence), 20, _NUM_RESAMPLES))
    index, errors = np.arange(len(confidence)), []
    for resample in range(num_resamples):
        bits = mix(index + fold(seed, "reliability", resample))
        drawn = ((bits >> 11) & 0x1FFFFFFFFFFFFF) * 2.0**-53 < confidence
        errors.append(_error(sums, np.bincount(places, drawn, len(counts)), counts))
    return float(np.quantile(errors, 0.95))
