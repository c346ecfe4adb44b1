"""Whether two predictions of the same records differ: a permutation test that swaps them, record by record.

If it did not matter which of two predictions a record got, exchanging them in any of the records would change the
difference of their scores no more than chance does (Fisher 1935, *The Design of Experiments*, section 21; Yeh 2000,
"More accurate tests for the statistical significance of result differences", COLING). For accuracy it is, with all
swaps, the exact test of McNemar (1947, Psychometrika 12:153-157).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqtrain.draws import fold, mix
from seqtrain.evaluation.weighted import Summed

Array = NDArray[Any]
NUM_SWAPS = 1000
SIGNIFICANT = 0.05
"""Two-sided level at which two scores are called different."""
_CELLS = 2_000_000
_TOLERANCE = 1e-9
"""Of a difference (and a thousandth of that, of the scores) that another may fall short by and still count as large."""


def swap_test(one: Summed, other: Summed, *, num_swaps: int = NUM_SWAPS, seed: int) -> dict[str, float]:
    """Two-sided p of the difference of each metric between two predictions of the same N records.

    Args:
        one: what each record adds to the metrics of one prediction.
        other: the same for the other prediction; of the same width, and of the same true values.

    Returns:
        (1 + swaps that differ as much or more) / (1 + swaps) for each metric; nan where one of the two scores is
        undefined.
    """
    count = one.columns.shape[0]
    if one.columns.shape[1] != other.columns.shape[1]:
        raise ValueError(
            f"both predictions need the same sums, not {one.columns.shape[1]} and {other.columns.shape[1]}"
        )
    there, between = _total(other.columns), one.columns - other.columns
    whole = there + _total(between)
    scores = one.result(whole[None]), other.result(there[None])
    observed = _differences(*scores)
    bound = {name: _bound(scores[0][name][0], scores[1][name][0]) for name in observed}
    exceeding = dict.fromkeys(observed, 0)
    chunk = max(1, _CELLS // max(count, 1))
    for start in range(0, num_swaps, chunk):
        swaps = _swaps(count, np.arange(start, min(start + chunk, num_swaps)), seed)
        moved = np.asarray((between.T @ swaps.T).T)
        drawn = _differences(one.result(whole - moved), other.result(there + moved))
        for name, values in drawn.items():
            # An undefined difference counts as one that exceeds: it must not make a score look sure.
            exceeding[name] += int((~(np.abs(values) < bound[name])).sum())
    return {
        name: float("nan") if np.isnan(value[0]) else (1 + exceeding[name]) / (1 + num_swaps)
        for name, value in observed.items()
    }


def called_swap_test(
    metric: Callable[[Array, Array], float],
    true: Array,
    predicted: Array,
    other: Array,
    *,
    groups: Array | None = None,
    num_swaps: int = NUM_SWAPS,
    seed: int,
) -> float:
    """As :func:`swap_test`, for any metric, which is called twice per swap.

    Args:
        metric: of true values and predictions.
        true: (N, …).
        predicted: (N, …), on the same scale as ``other`` (ranks, where only the order matters).
        groups: (N,) the record of each row: those of one record are swapped together.
    """
    records = np.arange(len(true)) if groups is None else np.unique(groups, return_inverse=True)[1]
    bound = _bound(metric(true, predicted), metric(true, other))
    if np.isnan(bound):
        return float("nan")
    exceeding = 0
    for swap in range(num_swaps):
        chosen = _swaps(int(records.max(initial=-1)) + 1, np.array([swap]), seed)[0][records] > 0
        chosen = chosen.reshape(-1, *[1] * (np.ndim(predicted) - 1))
        first, second = np.where(chosen, other, predicted), np.where(chosen, predicted, other)
        exceeding += not abs(metric(true, first) - metric(true, second)) < bound
    return (1 + exceeding) / (1 + num_swaps)


def shuffle_test(score: Callable[[Array], float], count: int, *, num_shuffles: int = NUM_SWAPS, seed: int) -> float:
    """Two-sided p that a score, 0 by chance, is no further from 0 than when predictions are dealt anew to the records.

    Args:
        score: of the order (N,) in which the predictions are dealt; range(N) is how they belong.
        count: N.

    Returns:
        (1 + shuffles as far from 0 or further) / (1 + shuffles); nan where the score is undefined.
    """
    places = np.arange(count, dtype=np.int64)
    observed = abs(score(places))
    if np.isnan(observed):
        return float("nan")
    reached = 0
    for shuffle in range(num_shuffles):
        dealt = np.argsort(mix(places + fold(seed, "shuffle", shuffle)), kind="stable")
        reached += not abs(score(dealt)) < observed * (1 - _TOLERANCE)
    return (1 + reached) / (1 + num_shuffles)


def holm(p_values: Sequence[float]) -> list[float]:
    """p values of several comparisons, made larger so that any false claim among them has the level of one (Holm 1979,
    Scandinavian Journal of Statistics 6:65-70); nan stays, and is not counted."""
    known = sorted((p, place) for place, p in enumerate(p_values) if not np.isnan(p))
    adjusted, largest = list(p_values), 0.0
    for rank, (p, place) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - rank) * p))
        adjusted[place] = largest
    return adjusted


def _bound(one: float, other: float) -> float:
    """What differences of two scores reach that are as large as this one, but for rounding."""
    return abs(one - other) * (1 - _TOLERANCE) - 1e-3 * _TOLERANCE * max(abs(one), abs(other))


def _swaps(count: int, numbers: Array, seed: int) -> NDArray[np.float64]:
    """(S, N) 1 where a record is swapped, else 0."""
    keys = np.array([fold(seed, "swap", int(number)) for number in numbers])
    bits = mix(np.arange(count)[None] + keys[:, None])
    return np.asarray((bits >> 40) & 1, np.float64)


def _total(columns: Any) -> Array:
    return np.asarray(columns.sum(axis=0), np.float64).ravel()


def _differences(one: Mapping[str, Array], other: Mapping[str, Array]) -> dict[str, Array]:
    return {name: one[name] - other[name] for name in one}
