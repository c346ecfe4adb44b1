"""What a simple model says of records that it has not seen: folds in which records of one group stay together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqtrain.draws import fold, permuted
from seqtrain.evaluation.features import Letters, count_words, inverse_document_frequency, one_hot, tf_idf
from seqtrain.evaluation.linear import Model, fit_least_squares_classes, fit_logistic, fit_ridge

NUM_FOLDS = 5
_MAX_OPERATIONS = 20_000_000
"""Cap on rows × features × outputs of one fit: about 2 seconds of one core."""
_MIN_ROWS = 1_000
_MAX_LOGISTIC_CLASSES = 20
_MAX_LENGTH_DIFFERENCE = 0.2
_MAX_ONE_HOT_LENGTH = 1_000
_MAX_DENSE = 1_000
_INVERSE_STRENGTH = 10.0


def folds_of(groups: NDArray[np.int64], seed: int, num_folds: int = NUM_FOLDS) -> NDArray[np.int64]:
    """(N,) the fold in which each record is predicted; those of one group (N,) share it, and folds are of one size.

    Raises:
        ValueError: fewer than two groups.
    """
    _, group = np.unique(groups, return_inverse=True)
    count = int(group.max(initial=-1)) + 1
    if count < 2:
        raise ValueError("there are fewer than two different sequences, so that none can be predicted from others")
    sizes, place = np.bincount(group), permuted(np.arange(count), count, fold(seed, "label folds"))
    # Each group to the fold that a walk through all records in the drawn order is in at its middle.
    order = np.argsort(place)
    middles = np.cumsum(sizes[order]) - sizes[order] / 2
    of_group = np.empty(count, dtype=np.int64)
    of_group[order] = (middles * min(num_folds, count) / sizes.sum()).astype(np.int64)
    return of_group[group]


def out_of_fold_probabilities(
    sequences: Sequence[str], classes: NDArray[np.int64], num_classes: int, groups: NDArray[np.int64], *, seed: int
) -> NDArray[np.float64]:
    """(N, K) probabilities of the K classes for N sequences, each from a model that saw none of its group.

    Args:
        classes: (N,) -1 where there is none; such records are predicted and not learnt from.
        groups: (N,) records that stay together, such as equal sequences.
    """

    def fit(features: Any, rows: NDArray[np.int64]) -> Model:
        shown = classes[rows]
        if len(np.unique(shown)) < 2:
            share = np.bincount(shown, minlength=num_classes) / max(len(shown), 1)
            return lambda some: np.repeat(share[None], some.shape[0], axis=0)
        if num_classes <= _MAX_LOGISTIC_CLASSES:
            return fit_logistic(features, shown, num_classes, _INVERSE_STRENGTH)
        return fit_least_squares_classes(features, shown, num_classes, seed)

    return _out_of_fold(_features(sequences), classes >= 0, groups, num_classes, fit, seed)


def out_of_fold_values(
    sequences: Sequence[str], values: NDArray[np.float64], groups: NDArray[np.int64], *, seed: int
) -> NDArray[np.float64]:
    """(N, K) numbers for N sequences, each from a ridge regression that saw none of its group.

    Args:
        values: (N, K) nan where there is none; counted as the mean of its column.
        groups: (N,) records that stay together, such as equal sequences.
    """
    known: NDArray[np.bool_] = ~np.isnan(values)
    means = np.where(known, values, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    filled = np.where(known, values, means)

    def fit(features: Any, rows: NDArray[np.int64]) -> Model:
        return fit_ridge(features, filled[rows], seed)

    return _out_of_fold(_dense(_features(sequences)), np.asarray(known.any(axis=1)), groups, values.shape[1], fit, seed)


@dataclass(frozen=True)
class _Features:
    """N sequences as rows of numbers."""

    rows: Any
    """(N, F) dense or sparse."""
    stored: int
    """Numbers of a row that are kept."""
    counts: bool
    """To be weighted by TF-IDF."""


def _out_of_fold(
    features: _Features,
    known: NDArray[np.bool_],
    groups: NDArray[np.int64],
    outputs: int,
    fit: Callable[[Any, NDArray[np.int64]], Model],
    seed: int,
) -> NDArray[np.float64]:
    fold_of, rows = folds_of(groups, seed), features.rows
    cap = max(_MIN_ROWS, _MAX_OPERATIONS // max(features.stored * outputs, 1))
    predictions = np.zeros((len(known), outputs))
    for number in range(int(fold_of.max()) + 1):
        rest, asked = np.flatnonzero((fold_of != number) & known), np.flatnonzero(fold_of == number)
        if not len(rest):
            continue
        if len(rest) > cap:
            rest = rest[np.sort(permuted(np.arange(cap), len(rest), fold(seed, "label rows", number)))]
        learnt, other = rows[rest], rows[asked]
        if features.counts:
            weights = inverse_document_frequency(learnt)
            learnt, other = tf_idf(learnt, weights), tf_idf(other, weights)
        predictions[asked] = fit(learnt, rest)(other)
    return predictions


def _features(sequences: Sequence[str]) -> _Features:
    """Where all have about one length the letters at each position that varies, else counts of k-mers."""
    letters = Letters.of(sequences)
    packed = letters.pack(sequences)
    longest = int(packed.lengths.max())
    if longest > _MAX_ONE_HOT_LENGTH or np.ptp(packed.lengths) > longest * _MAX_LENGTH_DIFFERENCE:
        counts = count_words(packed, letters)
        return _Features(counts, counts.shape[1], counts=True)
    columns = one_hot(packed, letters, longest)
    found = np.asarray(columns.sum(axis=0)).ravel()
    varying = columns[:, np.flatnonzero((found > 0) & (found < len(sequences)))]
    return _Features(varying, int(np.ceil(varying.nnz / max(len(sequences), 1))), counts=False)


def _dense(features: _Features) -> _Features:
    """The same without zeros left out, where columns are few: least squares are then solved at once.

    In 64 bits, as the letters of one position always add up to 1.
    """
    if features.counts or features.rows.shape[1] > _MAX_DENSE:
        return features
    return replace(features, rows=features.rows.toarray().astype(np.float64))
