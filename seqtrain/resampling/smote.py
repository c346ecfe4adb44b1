"""SMOTE and its relatives, by imbalanced-learn: new points at random places between neighbours of one class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from seqtrain.errors import InputError
from seqtrain.resampling.points import Growing, Points, check_growing, grown, require_members, sampler_state
from seqtrain.resampling.selection import without_links


@dataclass(frozen=True, kw_only=True)
class Smote:
    """New points on the way from a point to one of its nearest neighbours of the same class, as far as a uniform draw
    says, until every class has its size: SMOTE (Chawla et al. 2002, J. Artif. Intell. Res. 16, 321).
    """

    neighbours: int = 5
    """Of each point, that new points lie towards."""
    fraction: float = 1.0
    """Of the largest class, that every smaller class grows to; above 1 the largest grows, too."""

    makes_points: ClassVar[bool] = True
    package: ClassVar[str | None] = "imblearn"

    def __post_init__(self) -> None:
        check_growing(self)

    def __call__(self, features: NDArray[np.float32], classes: NDArray[np.int64], seed: int) -> Points:
        """features (N, F), classes (N,) from 0 on -> the same points and new ones.

        Raises:
            InputError: a class with too few members.
        """
        from imblearn.over_sampling import SMOTE

        return _made_by(SMOTE(k_neighbors=self.neighbours), self, features, classes, seed)


@dataclass(frozen=True, kw_only=True)
class BorderlineSmote:
    """As SMOTE, but from points in danger only, which have mostly other classes around them: borderline-SMOTE1 (Han,
    Wang & Mao 2005, LNCS 3644, 878). A class without any point in danger does not grow.
    """

    neighbours: int = 5
    """Of the same class, that new points lie towards."""
    around: int = 10
    """Nearest points of any class: in danger is who has at least half of them, but not all, in other classes."""
    fraction: float = 1.0
    """Of the largest class, that every smaller class grows to; above 1 the largest grows, too."""

    makes_points: ClassVar[bool] = True
    package: ClassVar[str | None] = "imblearn"

    def __post_init__(self) -> None:
        check_growing(self)
        if self.around < 1:
            raise ValueError(f"around is {self.around}; give at least 1, usually 10")

    def __call__(self, features: NDArray[np.float32], classes: NDArray[np.int64], seed: int) -> Points:
        """features (N, F), classes (N,) from 0 on -> the same points and new ones.

        Raises:
            InputError: a class with too few members, or fewer points than ``around``.
        """
        from imblearn.over_sampling import BorderlineSMOTE

        if len(classes) <= self.around:
            raise InputError(
                f"there are {len(classes)} training records, and around={self.around} needs more; lower it"
            )
        sampler = BorderlineSMOTE(k_neighbors=self.neighbours, m_neighbors=self.around, kind="borderline-1")
        return _made_by(sampler, self, features, classes, seed)


@dataclass(frozen=True, kw_only=True)
class SmoteTomek:
    """SMOTE first; then the Tomek links of all classes are cut, of records and new points alike (Batista, Prati &
    Monard 2004, SIGKDD Explorations 6, 20).
    """

    neighbours: int = 5
    """As for SMOTE."""
    fraction: float = 1.0
    """As for SMOTE."""

    makes_points: ClassVar[bool] = True
    package: ClassVar[str | None] = "imblearn"

    def __post_init__(self) -> None:
        check_growing(self)

    def __call__(self, features: NDArray[np.float32], classes: NDArray[np.int64], seed: int) -> Points:
        """features (N, F), classes (N,) from 0 on -> some of the points, and new ones.

        Raises:
            InputError: a class with too few members.
        """
        more = Smote(neighbours=self.neighbours, fraction=self.fraction)(features, classes, seed)
        points = np.concatenate([features, more.made])
        stay = without_links(points, np.concatenate([classes, more.made_classes]), "all")
        made = stay[stay >= len(features)] - len(features)
        return Points(stay[stay < len(features)], more.made[made], more.made_classes[made])


def _made_by(
    sampler: Any, method: Growing, features: NDArray[np.float32], classes: NDArray[np.int64], seed: int
) -> Points:
    """All points, and those that an over-sampler of imbalanced-learn makes beside them."""
    counts = np.bincount(classes)
    require_members(method, counts)
    goals = grown(counts, method.fraction)
    wanted = {int(each): int(goals[each]) for each in np.flatnonzero(counts)}
    sampler.set_params(sampling_strategy=wanted, random_state=sampler_state(seed, method))
    # Distances in float64; what comes out begins with the points as they went in.
    rows, their_classes = sampler.fit_resample(features.astype(np.float64), classes)
    number = len(features)
    return Points(np.arange(number), rows[number:].astype(np.float32), their_classes[number:].astype(np.int64))
