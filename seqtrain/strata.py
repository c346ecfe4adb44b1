"""What the sets of a split shall have their shares of: classes, labels, letters of structure, ranges of a number."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

_MAX_RANGES = 10
_LEAST_IN_RANGE = 20


@dataclass(frozen=True, kw_only=True)
class Strata:
    """How much of each of K strata stands in each of N records, as M entries of a sparse table."""

    names: tuple[str, ...]
    """K."""
    records: NDArray[np.int64]
    """(M,) in increasing order."""
    strata: NDArray[np.int64]
    """(M,)."""
    amounts: NDArray[np.float64]
    """(M,) 1 for the class of a record, the number of residues for classes of residues."""
    must_be_learnt: bool
    """One class per record: a class without a training record would be missed throughout."""

    @property
    def totals(self) -> NDArray[np.float64]:
        """(K,) amount of each in all records."""
        return np.bincount(self.strata, self.amounts, len(self.names)).astype(np.float64)


def strata_of(kind: Literal["regression", "classification", "multilabel", "residue"], labels: Sequence[str]) -> Strata:
    """The strata of N label cells; an empty cell is in none.

    Numbers are parted at their quantiles into up to ten ranges of at least twenty records; a cell of several labels
    counts for each of them.
    """
    if kind == "regression":
        return _ranges(labels)
    if kind == "multilabel":
        parted = (filter(None, map(str.strip, re.split("[;|]", cell))) for cell in labels)
        return _counted((dict.fromkeys(names, 1) for names in parted), must_be_learnt=False)
    if kind == "residue":
        return _counted(map(Counter, labels), must_be_learnt=False)
    return _counted(({cell: 1} if cell else {} for cell in labels), must_be_learnt=True)


def _counted(cells: Iterable[dict[str, int]], *, must_be_learnt: bool) -> Strata:
    entries = [(record, name, amount) for record, cell in enumerate(cells) for name, amount in cell.items()]
    names = sorted({name for _, name, _ in entries})
    index = {name: i for i, name in enumerate(names)}
    return Strata(
        names=tuple(names),
        records=np.array([record for record, _, _ in entries], dtype=np.int64),
        strata=np.array([index[name] for _, name, _ in entries], dtype=np.int64),
        amounts=np.array([amount for _, _, amount in entries], dtype=np.float64),
        must_be_learnt=must_be_learnt,
    )


def _ranges(labels: Sequence[str]) -> Strata:
    values = np.array([_number(cell) for cell in labels], dtype=np.float64)
    records = np.flatnonzero(np.isfinite(values))
    known = values[records]
    count = int(np.clip(len(known) // _LEAST_IN_RANGE, 1, _MAX_RANGES))
    # Equal values stay in one range, so that there may be fewer.
    edges = np.unique(np.quantile(known, np.arange(1, count) / count)) if len(known) else np.zeros(0)
    found, strata = np.unique(np.searchsorted(edges, known, side="right"), return_inverse=True)
    limits = ["", *(f"{edge:.4g}" for edge in edges), ""]
    return Strata(
        names=tuple(f"{limits[i]} … {limits[i + 1]}".strip() for i in found.tolist()),
        records=records.astype(np.int64),
        strata=strata.astype(np.int64),
        amounts=np.ones(len(records)),
        must_be_learnt=False,
    )


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return float("nan")
