"""How far several annotators agree: Krippendorff's alpha, which allows for labels that are missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from seqtrain.io.cells import is_missing


def krippendorff_alpha(ratings: NDArray[np.float64], *, level: Literal["nominal", "interval"]) -> float:
    """Alpha = 1 - observed / expected disagreement (Krippendorff 2011, Computing Krippendorff's alpha-reliability).

    1 is perfect agreement and 0 that of chance; of classes, where all records have as many ratings, it is Fleiss' kappa
    but for a term of one over their number. Reliable conclusions are commonly asked to rest on 0.8 and more, tentative
    ones on 0.667 (Krippendorff 2004).

    Args:
        ratings: (N, M) of M annotators, class numbers or numbers; nan where one gave none.
        level: whether two ratings differ or not, or by the square of their difference.

    Returns:
        nan where no record has two ratings, or all ratings are the same.
    """
    counts = (~np.isnan(ratings)).sum(axis=1)
    pairable = ratings[counts >= 2]
    if not len(pairable):
        return float("nan")
    counts = counts[counts >= 2]
    total = int(counts.sum())
    if level == "nominal":
        values = np.unique(pairable[~np.isnan(pairable)])
        table = np.stack([(pairable == value).sum(axis=1) for value in values], axis=1).astype(np.float64)
        within = counts.astype(np.float64) ** 2 - (table**2).sum(axis=1)
        expected = total**2 - (table.sum(axis=0) ** 2).sum()
    else:
        middle = float(np.nanmean(pairable))
        centred = pairable - middle
        sums, squares = np.nansum(centred, axis=1), np.nansum(centred**2, axis=1)
        within = 2 * (counts * squares - sums**2)
        expected = 2 * (total * squares.sum() - sums.sum() ** 2)
    observed = float((within / (counts - 1)).sum()) / total
    chance = float(expected) / (total * (total - 1))
    return 1.0 - observed / chance if chance > 0 else float("nan")


def disagreeing(ratings: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) the largest difference between two ratings of each record (N, M); 0 with fewer than two."""
    known = ~np.isnan(ratings)
    highest = np.where(known, ratings, -np.inf).max(axis=1)
    lowest = np.where(known, ratings, np.inf).min(axis=1)
    spread: NDArray[np.float64] = np.where(known.sum(axis=1) >= 2, highest - lowest, 0.0)
    return spread


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """What M annotators said of N records."""

    annotators: tuple[str, ...]
    alpha: float
    """Krippendorff's; nan where nothing can be compared."""
    rated: int
    """Records with two labels or more."""
    disagree: NDArray[np.bool_]
    """(N,) classes that differ, or numbers that lie a standard deviation of all ratings or more apart."""
    majority: tuple[str, ...]
    """N: the label that more annotators gave than any other, the median of numbers; "" where there is none."""
    with_others: tuple[float, ...]
    """M: how often, or for numbers how well (correlation), each agrees with each of the others, on average."""

    def words(self) -> list[str]:
        """How far they agree, and who agrees least, in sentences."""
        count = len(self.annotators)
        if np.isnan(self.alpha):
            return [f"{count} annotators, and nothing to compare: {self.rated:,} records have two labels, or all agree"]
        worth = (
            "reliable" if self.alpha >= 0.8 else "enough for tentative conclusions" if self.alpha >= 0.667 else "low"
        )
        lines = [
            f"Krippendorff's alpha of {count} annotators is {self.alpha:.3f} ({worth}) over {self.rated:,} records "
            f"with two labels or more; they disagree on {int(self.disagree.sum()):,}"
        ]
        known = [(value, name) for value, name in zip(self.with_others, self.annotators, strict=True) if value == value]
        if count > 2 and known:
            least, name = min(known)
            lines.append(f"{name!r} agrees least with the others ({least:.2f}; the best {max(known)[0]:.2f})")
        return lines


def agreement_of(
    names: Sequence[str],
    cells: Sequence[Sequence[str]],
    *,
    level: Literal["nominal", "interval"],
    classes: Sequence[str] = (),
) -> Agreement:
    """Agreement of annotators.

    Args:
        names: M.
        cells: M columns of N cells; an empty one, or nan, na, null and the like, is no label.
        classes: that are labels, whatever they are called.

    Raises:
        ValueError: numbers were asked for, and a cell is none.
    """
    stripped = [[cell.strip() for cell in column] for column in cells]
    texts = [["" if is_missing(cell) and cell not in classes else cell for cell in column] for column in stripped]
    kinds = sorted({text for column in texts for text in column if text})
    ratings = np.array([[_rating(text, kinds, level) for text in column] for column in texts], dtype=np.float64).T
    spread = disagreeing(ratings)
    least = float(np.nanstd(ratings)) if level == "interval" and (~np.isnan(ratings)).any() else 0.0
    return Agreement(
        annotators=tuple(names),
        alpha=krippendorff_alpha(ratings, level=level),
        rated=int(((~np.isnan(ratings)).sum(axis=1) >= 2).sum()),
        disagree=(spread > 0) & (spread >= least),
        majority=tuple(_majority(row, kinds, level) for row in ratings),
        with_others=tuple(_with_others(ratings, place, level) for place in range(len(names))),
    )


def _rating(text: str, kinds: Sequence[str], level: str) -> float:
    if not text:
        return float("nan")
    return float(text) if level == "interval" else float(kinds.index(text))


def _majority(row: NDArray[np.float64], kinds: Sequence[str], level: str) -> str:
    known = row[~np.isnan(row)]
    if not len(known):
        return ""
    if level == "interval":
        return f"{np.median(known):g}"
    values, counts = np.unique(known, return_counts=True)
    first = values[counts == counts.max()]
    return kinds[int(first[0])] if len(first) == 1 else ""


def _with_others(ratings: NDArray[np.float64], place: int, level: str) -> float:
    found = []
    for other in range(ratings.shape[1]):
        both = ~np.isnan(ratings[:, place]) & ~np.isnan(ratings[:, other])
        if other == place or not both.any():
            continue
        one, two = ratings[both, place], ratings[both, other]
        if level == "nominal":
            found.append(float((one == two).mean()))
        elif np.ptp(one) > 0 and np.ptp(two) > 0:
            found.append(float(np.corrcoef(one, two)[0, 1]))
    return float(np.mean(found)) if found else float("nan")
