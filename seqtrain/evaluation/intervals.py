"""How sure a score is: the bootstrap over records, corrected for bias and skewness (BCa; Efron 1987, JASA 82:171-185).

Resamples are keyed draws, so an interval is a function of the data and the seed alone. Percentiles of the resamples
cover too little where records are few, or a metric is biased or skewed, such as macro F1 or R². BCa moves them by the
bias that the resamples show and by the skewness of the influence of records. They are also set wider, as Student's
t is wider than the normal distribution (Hesterberg 2015, The American Statistician 69:371-386), with as many degrees of
freedom as the influence of records leaves: few, where a score hangs on few records, such as those of a rare class.
``benchmarks/benchmark_honesty.py`` measures what both gain. A metric is given either as a function of arrays, called
once per resample, or as a function of weights (:mod:`seqtrain.evaluation.weighted`), which computes many at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from seqtrain.draws import below, fold, mix

Array = NDArray[Any]
Method = Literal["bca", "percentile"]
Weighted = Callable[[Array], Mapping[str, Array]]
"""(R, N) weights of N records -> (R,) values of each metric."""
NUM_RESAMPLES = 1000
_MIN_DEFINED_FRACTION = 0.5
_ROUNDING = 1e-12
"""Of a metric, by which values that are alike may differ."""
_MAX_BLOCKS = 200
"""Of records that are left out together to see how skewed their influence is."""
_CELLS = 2_000_000
"""Weights held at once."""
_LEAST_FREEDOM = 2.0
_NORMAL = NormalDist()


def bootstrap_interval(
    metric: Callable[..., float],
    arrays: Sequence[Array],
    *,
    groups: Array | None = None,
    num_resamples: int = NUM_RESAMPLES,
    level: float = 0.95,
    method: Method = "bca",
    seed: int,
) -> tuple[float, float]:
    """The interval of one metric.

    Args:
        metric: Called with the resampled arrays.
        arrays: Each (N, …), such as true and predicted values.
        groups: (N,) the record of each row, for tasks with one row per residue: records are resampled, not residues,
            because residues of one record resemble each other. None: each row is a record.
        num_resamples: Resamples drawn.
        level: Share of the bootstrap distribution inside the interval.
        method: bca, widened as said above, or the plain percentiles of the resamples.
        seed: Key of the draws.

    Returns:
        (low, high); nan where the metric is undefined in more than half of the resamples, or with fewer than 2 records.
    """
    intervals = bootstrap_intervals(
        lambda *drawn: {"": metric(*drawn)},
        arrays,
        groups=groups,
        num_resamples=num_resamples,
        level=level,
        method=method,
        seed=seed,
    )
    return intervals[""]


def bootstrap_intervals(
    metrics: Callable[..., Mapping[str, float]],
    arrays: Sequence[Array],
    *,
    groups: Array | None = None,
    num_resamples: int = NUM_RESAMPLES,
    level: float = 0.95,
    method: Method = "bca",
    seed: int,
) -> dict[str, tuple[float, float]]:
    """Intervals of several metrics from the same resamples; arguments as in :func:`bootstrap_interval`.

    Returns:
        (low, high) of each metric.
    """
    arrays = [np.asarray(array) for array in arrays]
    starts = np.arange(len(arrays[0]) + 1)
    if groups is not None:
        order = np.argsort(groups, kind="stable")
        arrays = [array[order] for array in arrays]
        starts = _starts(np.asarray(groups)[order])
    observed = metrics(*arrays)
    drawn: dict[str, list[float]] = {name: [] for name in observed}
    left: dict[str, list[float]] = {name: [] for name in observed}
    count = len(starts) - 1
    kept = ((left, records) for records in (_without(count) if method == "bca" else ()))
    resampled = ((drawn, _drawn(count, np.array([r]), seed)[0]) for r in range(num_resamples if count > 1 else 0))
    for found in (resampled, kept):
        for values, records in found:
            rows = records if groups is None else _rows(starts, records)
            for name, value in metrics(*(array[rows] for array in arrays)).items():
                values[name].append(value)
    return {
        name: _interval(observed[name], np.array(drawn[name]), np.array(left[name]), num_resamples, level, method)
        for name in observed
    }


def weighted_intervals(
    measured: Weighted,
    num_records: int,
    *,
    num_resamples: int = NUM_RESAMPLES,
    level: float = 0.95,
    method: Method = "bca",
    seed: int,
) -> dict[str, tuple[float, float]]:
    """Intervals of metrics under weights: what :func:`bootstrap_intervals` finds, many resamples at a time.

    Args:
        measured: (R, N) how often each of N records is counted -> (R,) values of each metric, nan where undefined.
        num_records: N.

    Returns:
        (low, high) of each metric.
    """
    observed = measured(np.ones((1, num_records)))
    chunk = max(1, _CELLS // max(num_records, 1))

    def gathered(rows: Iterator[Array]) -> dict[str, Array]:
        found: dict[str, list[Array]] = {name: [np.zeros(0)] for name in observed}
        for weights in rows:
            for name, values in measured(weights).items():
                found[name].append(np.asarray(values))
        return {name: np.concatenate(parts) for name, parts in found.items()}

    def resampled() -> Iterator[Array]:
        for start in range(0, num_resamples if num_records > 1 else 0, chunk):
            resamples = np.arange(start, min(start + chunk, num_resamples))
            cells = _drawn(num_records, resamples, seed) + np.arange(len(resamples))[:, None] * num_records
            counts = np.bincount(cells.ravel(), minlength=len(resamples) * num_records)
            yield counts.reshape(len(resamples), num_records).astype(np.float64)

    def without() -> Iterator[Array]:
        blocks = [np.bincount(records, minlength=num_records) for records in _without(num_records)]
        for start in range(0, len(blocks) if method == "bca" else 0, chunk):
            yield np.array(blocks[start : start + chunk], np.float64)

    drawn, left = gathered(resampled()), gathered(without())
    return {
        name: _interval(float(value[0]), drawn[name], left[name], num_resamples, level, method)
        for name, value in observed.items()
    }


def difference_interval(
    metric: Callable[[Array, Array], float],
    true: Array,
    predicted: Array,
    other: Array,
    *,
    groups: Array | None = None,
    num_resamples: int = NUM_RESAMPLES,
    level: float = 0.95,
    method: Method = "bca",
    seed: int,
) -> tuple[float, float]:
    """The interval of metric(true, predicted) - metric(true, other) on the same resamples.

    Both predictions see the same records, so their difference is known better than either score: two predictions differ
    when this interval leaves out 0, even if their own intervals overlap. Arguments as in :func:`bootstrap_interval`.
    """
    return bootstrap_interval(
        lambda t, p, o: metric(t, p) - metric(t, o),
        (true, predicted, other),
        groups=groups,
        num_resamples=num_resamples,
        level=level,
        method=method,
        seed=seed,
    )


def _starts(groups: Array) -> NDArray[np.int64]:
    """(G + 1,) where each of G groups begins among rows (N,) that stand together."""
    if not len(groups):
        return np.zeros(1, np.int64)
    return np.append(np.flatnonzero(np.append(True, groups[1:] != groups[:-1])), len(groups))


def _rows(starts: Array, records: Array) -> NDArray[np.int64]:
    """The rows of some records, end to end."""
    lengths = np.diff(starts)[records]
    offsets = starts[records] - np.cumsum(lengths) + lengths
    return np.repeat(offsets, lengths) + np.arange(lengths.sum())


def _drawn(count: int, resamples: Array, seed: int) -> NDArray[np.int64]:
    """(R, N) records drawn with replacement for each of some resamples."""
    keys = np.array([fold(seed, "bootstrap", int(resample)) for resample in resamples])
    return np.asarray(below(mix(np.arange(count)[None] + keys[:, None]), count))


def _without(count: int) -> Iterator[NDArray[np.int64]]:
    """All records but one, or but one block of every 200th record where there are many."""
    blocks = min(count, _MAX_BLOCKS) if count > 2 else 0
    records = np.arange(count)
    for block in range(blocks):
        yield records[records % blocks != block]


def of_scores(intervals: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """Intervals of scores of one model; nan where a score is the same in all resamples.

    Nothing varies where ten of ten are right: that is no proof that the next one would be.
    """
    nowhere = float("nan"), float("nan")
    return {
        name: nowhere if high - low <= _ROUNDING * max(abs(low), abs(high)) else (low, high)
        for name, (low, high) in intervals.items()
    }


def _interval(
    observed: float, drawn: Array, left: Array, num_resamples: int, level: float, method: Method
) -> tuple[float, float]:
    """(low, high) of a metric from its values on resamples (R,) and on all records but some (J,)."""
    drawn, left = drawn[~np.isnan(drawn)], left[~np.isnan(left)]
    if len(drawn) <= num_resamples * _MIN_DEFINED_FRACTION:
        return float("nan"), float("nan")
    influence = left.mean() - left if len(left) else left
    shares = [(1 - level) / 2, (1 + level) / 2]
    if method == "bca" and not math.isnan(observed):
        shares = _corrected([_widened(share, influence) for share in shares], observed, drawn, influence)
    # The quantiles that a further resample falls below with the probability asked for, however few there are.
    low, high = np.quantile(drawn, shares, method="weibull")
    return float(low), float(high)


def _widened(share: float, influence: Array) -> float:
    """The share of a normal distribution that is as far out as one of Student's, from the influence of J records.

    The degrees of freedom are 2 J / (kurtosis - 1), those of a variance that is estimated from J values of such a
    kurtosis (Satterthwaite 1946, Biometrics Bulletin 2:110-114), at most J - 1.
    """
    from scipy.special import stdtrit

    squares, count = influence**2, len(influence)
    if count < 2 or not squares.any():
        return share
    kurtosis = count * float((squares**2).sum()) / float(squares.sum()) ** 2
    freedom = max(_LEAST_FREEDOM, min(count - 1, 2 * count / max(kurtosis - 1, 1e-9)))
    return _NORMAL.cdf(math.sqrt(count / (count - 1)) * float(stdtrit(freedom, share)))


def _corrected(shares: Sequence[float], observed: float, drawn: Array, influence: Array) -> list[float]:
    """The shares of the resamples to cut at, corrected for bias and acceleration (Efron 1987, sections 3 and 7)."""
    # Half of the ties count as below: a metric of few records takes few values.
    below_it = ((drawn < observed).sum() + 0.5 * (drawn == observed).sum()) / len(drawn)
    margin = 0.5 / len(drawn)
    bias = _NORMAL.inv_cdf(float(np.clip(below_it, margin, 1 - margin)))
    spread = float((influence**2).sum()) ** 1.5
    acceleration = float((influence**3).sum()) / (6 * spread) if spread > 0 else 0.0
    corrected = []
    for share in shares:
        moved = bias + _NORMAL.inv_cdf(share)
        stretch = 1 - acceleration * moved
        # A stretch of 0 or less would turn the interval over: such a skewness is beyond what the correction is for.
        corrected.append(_NORMAL.cdf(bias + moved / stretch) if stretch > 0 else share)
    return corrected
