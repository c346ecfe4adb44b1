"""Equal sequences with different labels: which they are, and how good a model could be in spite of them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seqtrain.letters import PackedLetters


@dataclass(frozen=True, kw_only=True)
class Spread:
    """How far the numbers of equal sequences lie apart."""

    conflicting: NDArray[np.bool_]
    """(N,) records whose group spans a standard deviation of all labels or more, in any column."""
    within: float
    """Standard deviation of equal sequences around their means, pooled; nan where there are none."""
    overall: float
    """Standard deviation of all labels. Both are of the first column."""

    @property
    def ceiling(self) -> float:
        """The R² that no model of the sequence can be expected to exceed, if the others are as noisy."""
        return max(0.0, 1 - (self.within / self.overall) ** 2) if self.overall else float("nan")


def first_equal(sequences: PackedLetters) -> NDArray[np.int64]:
    """(N,) the first record with the same letters; itself where it is that."""
    seen: dict[bytes, int] = {}
    found = (seen.setdefault(sequences[index].tobytes(), index) for index in range(len(sequences)))
    return np.fromiter(found, np.int64, len(sequences))


def class_conflicts(first: NDArray[np.int64], labels: Sequence[Hashable]) -> NDArray[np.bool_]:
    """(N,) records among whose equals (N,) labels differ."""
    numbers: dict[Hashable, int] = {}
    codes = np.array([numbers.setdefault(label, len(numbers)) for label in labels], dtype=np.int64)
    differing = np.unique(first[codes != codes[first]]) if len(codes) else first
    return np.isin(first, differing)


def value_conflicts(first: NDArray[np.int64], values: NDArray[np.float64]) -> Spread:
    """How far numbers (N, K), nan where there is none, differ among equal sequences (N,)."""
    conflicting = np.zeros(len(first), dtype=bool)
    deviations = [_deviation(column) for column in values.T]
    for column, overall in zip(values.T, deviations, strict=True):
        known = np.flatnonzero(~np.isnan(column))
        groups, place = np.unique(first[known], return_inverse=True)
        highest, lowest = np.full(len(groups), -np.inf), np.full(len(groups), np.inf)
        np.maximum.at(highest, place, column[known])
        np.minimum.at(lowest, place, column[known])
        apart = highest - lowest
        conflicting |= np.isin(first, groups[(apart > 0) & (apart >= overall)])
    return Spread(conflicting=conflicting, within=_within(first, values[:, 0]), overall=deviations[0])


def _deviation(column: NDArray[np.float64]) -> float:
    known = column[~np.isnan(column)]
    return float(known.std()) if len(known) else float("nan")


def _within(first: NDArray[np.int64], column: NDArray[np.float64]) -> float:
    known = ~np.isnan(column)
    _, group = np.unique(first[known], return_inverse=True)
    counts = np.bincount(group)
    freedom = int((counts - 1).sum())
    if not freedom:
        return float("nan")
    means = np.bincount(group, weights=column[known]) / np.maximum(counts, 1)
    return float(np.sqrt(((column[known] - means[group]) ** 2).sum() / freedom))
