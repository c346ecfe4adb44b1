"""New points at fixed places between neighbours of one class, or beyond them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from seqtrain.draws import fold, permuted
from seqtrain.resampling.points import Growing, Points, check_growing, grown, require_members
from seqtrain.words import name_of


@dataclass(frozen=True, kw_only=True)
class Interpolation:
    """New points at a fixed part of the way from a point to one of its nearest neighbours of the same class,
    c' = c_j + strength (c_k - c_j), until every class has its size (DeVries & Taylor 2017, arXiv:1702.05538).

    The paper makes a point of every pair of neighbours; here as many pairs as are needed are drawn, and none of them
    comes again before all have come.
    """

    strength: float = 0.5
    """Part of the way, λ of the paper."""
    neighbours: int = 5
    """Of each point, that new points are made with."""
    fraction: float = 1.0
    """Of the largest class, that every smaller class grows to; above 1 the largest grows, too."""

    makes_points: ClassVar[bool] = True
    package: ClassVar[str | None] = None

    def __post_init__(self) -> None:
        check_growing(self)
        if not 0 < self.strength < 1:
            raise ValueError(f"strength is {self.strength:g}; give a part of the way between 0 and 1, such as 0.5")

    def __call__(self, features: NDArray[np.float32], classes: NDArray[np.int64], seed: int) -> Points:
        """features (N, F), classes (N,) from 0 on -> the same points and new ones.

        Raises:
            InputError: a class with too few members.
        """
        return _moved(self, self.strength, features, classes, seed)


@dataclass(frozen=True, kw_only=True)
class Extrapolation:
    """New points beyond a point, away from one of its nearest neighbours of the same class,
    c' = c_j + strength (c_j - c_k), until every class has its size (DeVries & Taylor 2017, arXiv:1702.05538).

    Pairs are drawn as in :class:`Interpolation`.
    """

    strength: float = 0.5
    """How far, in distances to the neighbour; λ of the paper."""
    neighbours: int = 5
    """Of each point, that new points are made with."""
    fraction: float = 1.0
    """Of the largest class, that every smaller class grows to; above 1 the largest grows, too."""

    makes_points: ClassVar[bool] = True
    package: ClassVar[str | None] = None

    def __post_init__(self) -> None:
        check_growing(self)
        if not 0 < self.strength < np.inf:
            raise ValueError(f"strength is {self.strength:g}; give a number above 0, such as 0.5")

    def __call__(self, features: NDArray[np.float32], classes: NDArray[np.int64], seed: int) -> Points:
        """features (N, F), classes (N,) from 0 on -> the same points and new ones.

        Raises:
            InputError: a class with too few members.
        """
        return _moved(self, -self.strength, features, classes, seed)


def _moved(method: Growing, by: float, features: NDArray[np.float32], classes: NDArray[np.int64], seed: int) -> Points:
    """All points, and new ones: some of them moved by a part of the way to a neighbour of their class."""
    counts = np.bincount(classes)
    require_members(method, counts)
    missing = grown(counts, method.fraction) - counts
    made = [np.zeros((0, features.shape[1]))]
    for each in np.flatnonzero(missing).tolist():
        members = features[classes == each].astype(np.float64)
        points, others = _pairs(members, method.neighbours)
        rounds, within = np.divmod(np.arange(missing[each]), len(points))
        for number in np.unique(rounds).tolist():
            key = fold(seed, name_of(type(method)), each, number)
            drawn = permuted(within[rounds == number], len(points), key)
            made.append(members[points[drawn]] + by * (members[others[drawn]] - members[points[drawn]]))
    their_classes = np.repeat(np.arange(len(counts)), missing)
    return Points(np.arange(len(features)), np.concatenate(made).astype(np.float32), their_classes)


def _pairs(members: NDArray[np.float64], neighbours: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(n, F) -> (n neighbours,) points and (n neighbours,) one of their nearest neighbours each, other than itself."""
    from sklearn.neighbors import NearestNeighbors

    # Without an argument, a point is no neighbour of itself, also where two points are equal.
    nearest = NearestNeighbors(n_neighbors=neighbours).fit(members).kneighbors(return_distance=False)
    return np.repeat(np.arange(len(members)), neighbours), nearest.ravel().astype(np.int64)
