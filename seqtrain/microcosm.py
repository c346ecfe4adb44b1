"""A microcosm: a small, balanced sample of a data set, of as many families as it can hold, to try things out on.

Each class (or range of values) of each set gets the same number of records, as far as it has them. Within it, every
family of similar sequences gives one record before any gives a second: first its most central member, then members by
keyed draw, as further ones near the centre would all resemble the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seqtrain.draws import fold, mix
from seqtrain.letters import PackedLetters
from seqtrain.word_composition import WordCounts, divergence

_QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)
_RANDOM_SAMPLES = 5


@dataclass(frozen=True, kw_only=True)
class Microcosm:
    """Some of N records, and how well they stand for all."""

    records: NDArray[np.int64]
    """(M,) increasing."""
    family: NDArray[np.int64]
    """(N,) family of each record, 0 … F - 1."""
    num_families: int
    """F."""
    covered: int
    """Families with a record in the sample."""
    possible: int
    """Families that a sample of this size could cover."""
    lengths: tuple[NDArray[np.float64], NDArray[np.float64]]
    """(5,) letters at the quantiles 0, 25, 50, 75 and 100 % of all and of the sample."""
    distance: float
    """Of the k-mer composition to that of all: Jensen-Shannon divergence in bits, 0 to 1."""
    random_distance: float
    """The same for random samples of this size, on average: what size alone makes of it."""
    word_length: int
    """k."""

    def words(self) -> list[str]:
        """How well the sample stands for all, in sentences."""
        whole, own = (", ".join(f"{each:,.0f}" for each in quantiles) for quantiles in self.lengths)
        return [
            f"{self.covered:,} of {self.num_families:,} families of similar sequences have a record in it"
            + (f", and {self.possible:,} could" if self.covered < self.possible else ", as many as can"),
            f"lengths at 0, 25, 50, 75 and 100 %: {whole} of all; {own} in it",
            f"composition of {self.word_length}-mers: {self.distance:.4f} bits from that of all "
            f"(Jensen-Shannon divergence); random samples of its size: {self.random_distance:.4f}",
        ]


def choose_microcosm(
    sequences: PackedLetters,
    strata: NDArray[np.int64],
    family: NDArray[np.int64],
    wanted: int,
    *,
    sets: NDArray[np.int64] | None = None,
    seed: int = 0,
) -> Microcosm:
    """Choose a sample.

    Args:
        sequences: all N.
        strata: (N,) the class, or the range of values, of each; those of one set are balanced.
        family: (N,) records of similar sequences, numbered from 0.
        wanted: records to choose, at most N.
        sets: (N,) the set of each, such as train and test; they keep their shares. None: one set.
        seed: Key of the draws.
    """
    sets = np.zeros(len(sequences), np.int64) if sets is None else sets
    quotas = _quotas(strata, sets, wanted)
    places = _places(sequences, family, seed)
    used = np.zeros(int(family.max(initial=-1)) + 1, dtype=np.int64)
    keys = mix(np.arange(len(sequences)) + fold(seed, "microcosm"))
    chosen: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
    # The smallest strata first: what they can give is given, while large ones can go to other families.
    for group in sorted(quotas, key=lambda each: (_size(strata, sets, each), each)):
        members = np.flatnonzero((sets == group[0]) & (strata == group[1]))
        members = members[np.lexsort((places[members], family[members]))]
        turn = used[family[members]] + _rank_within(family[members])
        taken = members[np.lexsort((keys[members], turn))[: quotas[group]]]
        np.add.at(used, family[taken], 1)
        chosen.append(taken)
    records = np.sort(np.concatenate(chosen))
    return _judged(sequences, records, family, quotas, strata, sets, seed)


def shares(counts: Sequence[int], wanted: int) -> list[int]:
    """How many are taken of each: of all alike, as far as there are as many; what is short goes to the others."""
    taken = [0] * len(counts)
    left = min(wanted, sum(counts))
    open_ones = [index for index, count in enumerate(counts) if count]
    while left and open_ones:
        each, more = divmod(left, len(open_ones))
        for place, index in enumerate(sorted(open_ones, key=lambda one: (counts[one], one))):
            # What does not divide evenly goes to the larger ones.
            step = min(each + (place >= len(open_ones) - more), counts[index] - taken[index])
            taken[index] += step
            left -= step
        open_ones = [index for index in open_ones if taken[index] < counts[index]]
    return taken


def proportional(counts: Sequence[int], wanted: int) -> list[int]:
    """Shares of ``wanted`` in proportion to counts (largest remainders), at least one of each as far as that goes."""
    total = sum(counts)
    exact = [wanted * count / total for count in counts]
    taken = [int(share) for share in exact]
    order = sorted(range(len(counts)), key=lambda each: (taken[each] - exact[each], each))
    for index in order[: wanted - sum(taken)]:
        taken[index] += 1
    for index, count in enumerate(counts):
        largest = int(np.argmax(taken))
        if count and not taken[index] and taken[largest] > 1:
            taken[index], taken[largest] = 1, taken[largest] - 1
    return taken


def quantile_bins(values: NDArray[np.float64], num_bins: int) -> NDArray[np.int64]:
    """(N,) numbers -> (N,) their bin, 0 to at most num_bins - 1, with about as many in each; equal ones share a bin."""
    edges = np.unique(np.quantile(values, np.linspace(0, 1, num_bins + 1)[1:-1]))
    bins: NDArray[np.int64] = np.searchsorted(edges, values, side="right").astype(np.int64)
    return np.unique(bins, return_inverse=True)[1].astype(np.int64)


def _quotas(strata: NDArray[np.int64], sets: NDArray[np.int64], wanted: int) -> dict[tuple[int, int], int]:
    """Records to take of each stratum of each set."""
    names, sizes = np.unique(sets, return_counts=True)
    quotas: dict[tuple[int, int], int] = {}
    for name, share in zip(names.tolist(), proportional(sizes.tolist(), wanted), strict=True):
        kinds, counts = np.unique(strata[sets == name], return_counts=True)
        for kind, taken in zip(kinds.tolist(), shares(counts.tolist(), share), strict=True):
            quotas[name, kind] = taken
    return quotas


def _size(strata: NDArray[np.int64], sets: NDArray[np.int64], group: tuple[int, int]) -> int:
    return int(((sets == group[0]) & (strata == group[1])).sum())


def _rank_within(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n,) sorted groups -> (n,) how many of the same group stand before."""
    if not len(groups):
        return groups
    starts = np.flatnonzero(np.append(True, groups[1:] != groups[:-1]))
    counts = np.diff(np.append(starts, len(groups)))
    return np.arange(len(groups)) - np.repeat(starts, counts)


def _places(sequences: PackedLetters, family: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """(N,) the order of a family's members: -1 for its centre, a keyed draw for the others."""
    places: NDArray[np.int64] = mix(np.arange(len(sequences)) + fold(seed, "members")) & np.int64((1 << 62) - 1)
    places[_centres(sequences, family)] = -1
    return places


def _centres(sequences: PackedLetters, family: NDArray[np.int64]) -> NDArray[np.int64]:
    """(F,) the member of each family whose words of letters are most like those of the whole family (cosine)."""
    words = WordCounts.of(sequences)
    profiles = np.zeros((int(family.max(initial=-1)) + 1, words.width), dtype=np.float32)
    for rows, counts in words.blocks():
        np.add.at(profiles, family[rows], _unit(counts))
    alike = np.zeros(len(sequences))
    for rows, counts in words.blocks():
        alike[rows] = (_unit(counts) * profiles[family[rows]]).sum(axis=1)
    # By family, the most central first; of equal ones the first in the file.
    order = np.lexsort((np.arange(len(sequences)), -alike.round(6), family))
    return order[np.unique(family[order], return_index=True)[1]]


def _unit(counts: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of length 1; a row of zeros stays so."""
    norms = np.linalg.norm(counts, axis=1, keepdims=True)
    unit: NDArray[np.float32] = (counts / np.where(norms == 0, 1, norms)).astype(np.float32)
    return unit


def _judged(
    sequences: PackedLetters,
    records: NDArray[np.int64],
    family: NDArray[np.int64],
    quotas: dict[tuple[int, int], int],
    strata: NDArray[np.int64],
    sets: NDArray[np.int64],
    seed: int,
) -> Microcosm:
    count = len(sequences)
    possible = {
        group: min(taken, len(np.unique(family[(sets == group[0]) & (strata == group[1])])))
        for group, taken in quotas.items()
    }
    num_families = int(family.max(initial=-1)) + 1
    keys = [mix(np.arange(count) + fold(seed, "random sample", number)) for number in range(_RANDOM_SAMPLES)]
    samples = [records, *(np.argsort(key, kind="stable")[: len(records)] for key in keys)]
    words = WordCounts.of(sequences)
    sums = np.zeros((len(samples) + 1, words.width))
    inside = [np.isin(np.arange(count), sample) for sample in samples]
    for rows, counts in words.blocks():
        sums[-1] += counts.sum(axis=0)
        for number, mask in enumerate(inside):
            sums[number] += counts[mask[rows]].sum(axis=0)
    distances = [divergence(each, sums[-1]) for each in sums[:-1]]
    return Microcosm(
        records=records,
        family=family,
        num_families=num_families,
        covered=len(np.unique(family[records])),
        possible=min(num_families, sum(possible.values())),
        lengths=(np.quantile(sequences.lengths, _QUANTILES), np.quantile(sequences.lengths[records], _QUANTILES)),
        distance=distances[0],
        random_distance=float(np.mean(distances[1:])),
        word_length=words.length,
    )
