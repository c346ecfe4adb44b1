"""Which records of the larger classes stay, by imbalanced-learn: without Tomek links, or one for each cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from seqtrain.resampling.points import Points, sampler_state, some_of

Removed = Literal["not-minority", "majority", "all"]


@dataclass(frozen=True, kw_only=True)
class TomekLinks:
    """Leaves out records that have their nearest neighbour in another class and are its nearest neighbour in turn
    (Tomek 1976, IEEE Trans. Syst. Man Cybern. 6, 769). A class that would lose all its records keeps them.
    """

    remove: Removed = "not-minority"
    """From which classes: all but the smallest, the largest only, or all."""

    makes_points: ClassVar[bool] = False
    package: ClassVar[str | None] = "imblearn"

    def __call__(self, features: NDArray[np.float32], classes: NDArray[np.int64], seed: int) -> Points:
        """features (N, F), classes (N,) from 0 on -> some of the points; nothing is drawn."""
        return some_of(features, without_links(features, classes, self.remove))


@dataclass(frozen=True, kw_only=True)
class ClusterCentroids:
    """Leaves of each class as many records as the smallest class has, spread over it: the ones nearest to centroids of
    k-means (after Yen & Lee 2009, Expert Syst. Appl. 36, 5718; in imbalanced-learn, ClusterCentroids with hard voting).

    A record that is nearest to two centroids stays once.
    """

    ratio: float = 1.0
    """Records that stay of a class at most, for each record of the smallest class."""

    makes_points: ClassVar[bool] = False
    package: ClassVar[str | None] = "imblearn"

    def __post_init__(self) -> None:
        if not 1 <= self.ratio < np.inf:
            raise ValueError(f"ratio is {self.ratio:g}; the smallest class keeps its records, so give 1 or more")

    def __call__(self, features: NDArray[np.float32], classes: NDArray[np.int64], seed: int) -> Points:
        """features (N, F), classes (N,) from 0 on -> some of the points."""
        from imblearn.under_sampling import ClusterCentroids as Sampler

        counts = np.bincount(classes)
        goals = thinned(counts, self.ratio)
        shrinking = np.flatnonzero(goals < counts)
        if not len(shrinking):
            return some_of(features, np.arange(len(features)))
        wanted = {int(each): int(goals[each]) for each in shrinking}
        sampler = Sampler(sampling_strategy=wanted, voting="hard", random_state=sampler_state(seed, self))
        points = np.ascontiguousarray(features, np.float64)
        rows, their_classes = sampler.fit_resample(points, classes)
        # The sampler gives the rows of the records it took, not their places.
        places = {(each, row.tobytes()): place for place, (each, row) in enumerate(zip(classes, points, strict=True))}
        taken = [places[each, row.tobytes()] for each, row in zip(their_classes, rows, strict=True) if each in wanted]
        whole = np.flatnonzero(~np.isin(classes, shrinking))
        return some_of(features, np.union1d(whole, taken))


def thinned(counts: NDArray[np.int64], ratio: float) -> NDArray[np.int64]:
    """(C,) sizes that classes of sizes (C,) shrink to: a multiple of the smallest that is not empty, if larger."""
    return np.minimum(counts, round(ratio * int(counts[counts > 0].min())))


def without_links(features: NDArray[np.float32], classes: NDArray[np.int64], remove: Removed) -> NDArray[np.int64]:
    """(n,) of the points (N, F) those that stay when Tomek links are cut."""
    from imblearn.under_sampling import TomekLinks as Sampler

    sampler = Sampler(sampling_strategy=remove.replace("-", " "))
    sampler.fit_resample(features.astype(np.float64), classes)
    stay = np.zeros(len(features), np.bool_)
    stay[sampler.sample_indices_] = True
    emptied = np.setdiff1d(classes, classes[stay])
    return np.flatnonzero(stay | np.isin(classes, emptied))
