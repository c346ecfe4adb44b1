"""Groups of records dealt out whole to sets, so that sizes and shares of classes come near to what was asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seqtrain.draws import fold, mix
from seqtrain.strata import Strata


@dataclass(frozen=True)
class Groups:
    """G groups of N records that are not parted, and how much of each of K strata they hold (compressed rows)."""

    group: NDArray[np.int64]
    """(N,) the group of each record, 0 … G - 1, numbered in the order of their first records."""
    sizes: NDArray[np.int64]
    """(G,) records."""
    starts: NDArray[np.int64]
    """(G + 1,) entries of group g: starts[g] … starts[g + 1]."""
    strata: NDArray[np.int64]
    """(M,)."""
    amounts: NDArray[np.float64]
    """(M,)."""
    totals: NDArray[np.float64]
    """(K,)."""

    @classmethod
    def of(cls, group: NDArray[np.int64], strata: Strata | None) -> Groups:
        """Count the strata, none if there are none, in groups (N,) of any numbers."""
        _, first, members = np.unique(group, return_index=True, return_inverse=True)
        members = np.argsort(np.argsort(first))[members].astype(np.int64)
        count = len(first)
        if strata is None:
            empty = np.zeros(0)
            starts = np.zeros(count + 1, np.int64)
            return cls(members, np.bincount(members), starts, empty.astype(np.int64), empty, empty)
        width = max(len(strata.names), 1)
        keys, inverse = np.unique(members[strata.records] * width + strata.strata, return_inverse=True)
        starts = np.searchsorted(keys, np.arange(count + 1) * width)
        amounts = np.bincount(inverse, strata.amounts, len(keys))
        return cls(members, np.bincount(members), starts, keys % width, np.asarray(amounts, float), strata.totals)

    def __len__(self) -> int:
        return len(self.sizes)

    def selected(self, chosen: NDArray[np.int64]) -> Groups:
        """Some of the groups, numbered anew, with the totals that they have; records of the others are left out."""
        number = np.full(len(self), -1)
        number[chosen] = np.arange(len(chosen))
        entries = np.concatenate([np.zeros(0, np.int64), *(np.arange(*self.starts[g : g + 2]) for g in chosen)])
        starts = np.concatenate([[0], np.cumsum(np.diff(self.starts)[chosen])])
        strata, amounts = self.strata[entries], self.amounts[entries]
        totals = np.asarray(np.bincount(strata, amounts, len(self.totals)), float)
        members = number[self.group]
        return Groups(members[members >= 0], self.sizes[chosen], starts, strata, amounts, totals)

    def owners(self) -> NDArray[np.int64]:
        """(M,) the group of each entry."""
        return np.repeat(np.arange(len(self)), np.diff(self.starts))


def apportion(groups: Groups, shares: Sequence[float], seed: int, *, learnt: int | None = None) -> NDArray[np.int64]:
    """(G,) the set of each group, 0 … S - 1, for S shares that sum to 1.

    One after the other, each goes where it adds least to Σ (held - wanted)² / wanted over sets, strata and the number
    of records (Pearson's chi-square statistic of the table of sets by strata). Groups that are most of their strata
    come first, large ones and those of rare strata, as what is small and common can still make good what is missing
    (the rarest first: Sechidis et al. 2011, ECML PKDD); groups that are alike in this come by a keyed draw.

    Args:
        learnt: the set that holds something of every stratum; where the sum of squares would leave one out, the
            smallest group with it goes there.
    """
    wanted = np.outer(shares, np.append(groups.totals, groups.sizes.sum()))
    # A set that wants nothing gets nothing.
    per_wanted = np.divide(1.0, wanted, out=np.full(wanted.shape, 1e12), where=wanted > 0)
    held = np.zeros_like(wanted)
    sets = np.zeros(len(groups), dtype=np.int64)
    for g in _order(groups, seed).tolist():
        columns, amounts = _profile(groups, g)
        cost = (amounts * (2 * held[:, columns] + amounts) * per_wanted[:, columns]).sum(1)
        sets[g] = cost.argmin()
        held[sets[g], columns] += amounts
    if learnt is not None:
        _represent(groups, sets, learnt)
    return sets


def _order(groups: Groups, seed: int) -> NDArray[np.int64]:
    """(G,) those that are most of their strata first, of equal ones by draws."""
    weight = groups.sizes.astype(np.float64) ** 2 / groups.sizes.sum()
    np.add.at(weight, groups.owners(), groups.amounts**2 / groups.totals[groups.strata])
    return np.lexsort((mix(np.arange(len(groups)) + fold(seed, "split")), -weight.round(12)))


def _profile(groups: Groups, g: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Columns and amounts of a group: its strata, and behind them its records."""
    start, stop = groups.starts[g], groups.starts[g + 1]
    columns = np.append(groups.strata[start:stop], len(groups.totals))
    return columns, np.append(groups.amounts[start:stop], groups.sizes[g])


def _represent(groups: Groups, sets: NDArray[np.int64], name: int) -> None:
    """Move groups into a set, in place, until every stratum is in it."""
    owners = groups.owners()
    held = np.zeros(len(groups.totals))
    np.add.at(held, groups.strata, sets[owners] == name)
    for stratum in np.flatnonzero((held == 0) & (groups.totals > 0)).tolist():
        if held[stratum] == 0:
            candidates = owners[groups.strata == stratum]
            moved = candidates[groups.sizes[candidates].argmin()]
            sets[moved] = name
            held[groups.strata[groups.starts[moved] : groups.starts[moved + 1]]] += 1


def spread(groups: Groups, sets: NDArray[np.int64], num_sets: int) -> NDArray[np.int64]:
    """(G,) sets in which strata of several groups stand in several sets, wherever moving single groups does it.

    The smallest group of such a stratum goes to the smallest other set; again while one is found, at most as often as
    there are groups.
    """
    sets, owners = sets.copy(), groups.owners()
    members = [owners[groups.strata == stratum] for stratum in range(len(groups.totals))]
    for _ in range(len(groups)):
        alone = [each for each in members if len(each) > 1 and len(np.unique(sets[each])) == 1]
        if not alone:
            break
        sizes = np.bincount(sets, groups.sizes, num_sets)
        sizes[sets[alone[0][0]]] = np.inf
        sets[alone[0][groups.sizes[alone[0]].argmin()]] = sizes.argmin()
    return sets


def lonely(groups: Groups) -> NDArray[np.int64]:
    """Strata that stand in one group only, so that no second set can hold any."""
    return np.flatnonzero(np.bincount(groups.strata, minlength=len(groups.totals)) == 1)
