"""The order in which examples come: a pure function of the position in the stream, so that resuming needs no state."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from seqtrain.bandit import BanditState, Exp3S
from seqtrain.draws import GOLDEN, below, fold, mix, permuted


class Order(Protocol):
    """What comes at each place of an endless stream of examples."""

    def __call__(self, positions: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """positions (n,) in the stream -> the examples (n,) there, and (n,) the epoch that keys the draws of each."""
        ...


@dataclass(frozen=True)
class Shuffled:
    """Every example once per epoch, in a keyed permutation that is new each epoch."""

    num_examples: int
    seed: int

    def __call__(self, positions: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(n,) -> (n,), (n,)."""
        epochs = positions // self.num_examples
        units = np.empty_like(positions)
        for epoch in np.unique(epochs).tolist():
            here = epochs == epoch
            units[here] = permuted(positions[here] % self.num_examples, self.num_examples, self._key(epoch))
        return units, epochs

    def _key(self, epoch: int) -> int:
        return fold(self.seed, "order", epoch)


@dataclass(frozen=True, eq=False)
class Resampled:
    """Groups of examples with given shares of every epoch, whatever their sizes.

    An epoch is as long as there are examples. Each group has a fixed number of places in it, so the shares are exact
    and not only expected, and after every epoch the members of a group have come equally often, to within one. A member
    that comes again has other draws, so that a rare class is over-sampled with copies that are augmented differently.
    """

    groups: NDArray[np.int64] = field(repr=False)
    """(N,) the group of each example, 0 … G - 1, none of them empty."""
    shares: NDArray[np.float64]
    """(G,) of an epoch; made to sum to 1."""
    seed: int

    def __post_init__(self) -> None:
        sizes = np.bincount(self.groups, minlength=len(self.shares))
        if len(sizes) != len(self.shares) or (sizes == 0).any():
            raise ValueError(
                f"{len(self.shares)} shares for groups of sizes {sizes.tolist()}; every group needs a member"
            )
        if not (np.isfinite(self.shares).all() and (self.shares >= 0).all() and self.shares.sum() > 0):
            raise ValueError(f"shares must be numbers from 0 on, not all 0: {self.shares.tolist()}")

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """(G,) examples of each group."""
        return np.bincount(self.groups)

    @cached_property
    def quotas(self) -> NDArray[np.int64]:
        """(G,) places of each group in an epoch, by largest remainders; they sum to N."""
        exact = self.shares / self.shares.sum() * len(self.groups)
        quotas: NDArray[np.int64] = np.floor(exact).astype(np.int64)
        missing = len(self.groups) - int(quotas.sum())
        # Of equal remainders the later group goes first: stable for the same input.
        quotas[np.argsort(exact - quotas, kind="stable")[::-1][:missing]] += 1
        return quotas

    @cached_property
    def _members(self) -> NDArray[np.int64]:
        return np.argsort(self.groups, kind="stable")

    def __call__(self, positions: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(n,) -> (n,), (n,)."""
        places, epochs = Shuffled(len(self.groups), self.seed)(positions)
        ends = np.cumsum(self.quotas)
        groups = np.searchsorted(ends, places, side="right")
        # How many of its group came before, since the beginning of the stream's first epoch.
        before = epochs * self.quotas[groups] + places - (ends - self.quotas)[groups]
        rounds, within = np.divmod(before, self.sizes[groups])
        firsts = np.cumsum(self.sizes) - self.sizes
        units = np.empty_like(positions)
        for group, number in np.unique(np.stack([groups, rounds], axis=1), axis=0).tolist():
            here = (groups == group) & (rounds == number)
            key = fold(self.seed, "members", group, number)
            members = permuted(within[here], int(self.sizes[group]), key)
            units[here] = self._members[firsts[group] + members]
        return units, rounds


@dataclass(frozen=True, eq=False)
class Weighted:
    """Examples as often as their weights ask for: importance sampling, in place of weights in the loss.

    Systematic sampling (Madow 1949): an epoch is as long as there are examples, and each comes as often in it as its
    share of all weights times this length, rounded up or down by a draw that is new each epoch.
    """

    weights: NDArray[np.float64] = field(repr=False)
    """(N,) from 0 on, not all 0."""
    seed: int

    def __post_init__(self) -> None:
        if not (np.isfinite(self.weights).all() and (self.weights >= 0).all() and self.weights.sum() > 0):
            raise ValueError("weights must be finite numbers from 0 on, not all 0")

    @cached_property
    def _ends(self) -> NDArray[np.float64]:
        ends = np.cumsum(self.weights)
        return np.asarray(ends * (len(ends) / ends[-1]))

    def __call__(self, positions: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(n,) -> (n,), (n,); as an example may come several times in an epoch, each place has an epoch of its own."""
        places, epochs = Shuffled(len(self.weights), self.seed)(positions)
        offsets = ((mix(epochs * GOLDEN + fold(self.seed, "offsets")) >> 11) & ((1 << 53) - 1)) * 2.0**-53
        units = np.searchsorted(self._ends, places + offsets, side="right")
        last = np.flatnonzero(self.weights)[-1]
        return np.minimum(units, last), positions


@dataclass(frozen=True, eq=False)
class EasyFirst:
    """Easy examples first (Bengio et al. 2009): what is drawn from grows from the easiest examples to all of them.

    Then every example once per epoch, as in :class:`Shuffled`.
    """

    ranking: NDArray[np.int64] = field(repr=False)
    """(N,) examples, the easiest first."""
    first_fraction: float
    """Of the examples, that the first draws come from."""
    until: int
    """Examples drawn before all take part."""
    seed: int

    def __call__(self, positions: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(n,) -> (n,), (n,); while draws repeat, each place has an epoch of its own."""
        number = len(self.ranking)
        units, epochs = Shuffled(number, self.seed)(np.maximum(positions - self.until, 0))
        early = positions < self.until
        grown = self.first_fraction + (1 - self.first_fraction) * positions[early] / max(self.until, 1)
        known = np.maximum((grown * number).astype(np.int64), 1)
        units[early] = self.ranking[below(mix(positions[early] * GOLDEN + fold(self.seed, "easy")), known)]
        epochs = np.where(early, positions, self.until + epochs)
        return units, epochs


@dataclass(frozen=True, eq=False)
class ByProgress:
    """Groups of examples among which a bandit chooses, step by step, by what the network learns from each.

    What comes next depends on how the training went, so the training asks :func:`seqtrain.progress_steps` for it.
    Whoever only counts or measures calls this like any other order, and gets all examples once per epoch.
    """

    groups: NDArray[np.int64] = field(repr=False)
    """(N,) the group of each example, 0 … G - 1, none of them empty."""
    names: tuple[str, ...]
    """(G,) in words."""
    bandit: Exp3S
    seed: int

    @cached_property
    def sizes(self) -> list[int]:
        """(G,) examples of each group."""
        return [len(members) for members in self._members]

    @cached_property
    def _members(self) -> list[NDArray[np.int64]]:
        return [np.flatnonzero(self.groups == group) for group in range(len(self.names))]

    def members(self, group: int, start: int, number: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(n,) examples of a group after ``start`` of them, in an order of their own in each round; (n,) the rounds.

        None comes twice: they end before the first that would, when a new round has begun among them.
        """
        members = self._members[group]
        rounds, within = np.divmod(np.arange(start, start + number), len(members))
        places = np.empty_like(within)
        for each in np.unique(rounds).tolist():
            key = fold(self.seed, "members", group, each)
            places[rounds == each] = permuted(within[rounds == each], len(members), key)
        fresh = slice(_first_repeat(places))
        return members[places[fresh]], rounds[fresh]

    def shares(self, state: BanditState) -> dict[str, float]:
        """The probability of each group by its name."""
        return dict(zip(self.names, self.bandit.policy(state).tolist(), strict=True))

    def __call__(self, positions: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(n,) -> (n,), (n,)."""
        return Shuffled(len(self.groups), self.seed)(positions)


def _first_repeat(places: NDArray[np.int64]) -> int:
    """Where a value stands that stood before; the length where none does."""
    firsts = np.unique(places, return_index=True)[1]
    repeats = np.setdiff1d(np.arange(len(places)), firsts)
    return int(repeats[0]) if len(repeats) else len(places)


def partner_positions(
    order: Order, keys: NDArray[np.int64], epochs: NDArray[np.int64], num_examples: int
) -> NDArray[np.int64]:
    """Where in the stream the examples come from that are mixed into others.

    Drawn evenly from the epoch of the other, so that they have the shares that the order gives to their groups; while
    easy examples come first, from what came before it, so that nothing harder is mixed in.

    Args:
        keys: (B,) of the draws.
        epochs: (B,) as the order gives them for the examples that are mixed into.
        num_examples: in an epoch.

    Returns:
        (B,) positions.
    """
    bits = mix(keys + GOLDEN)
    positions: NDArray[np.int64] = epochs * num_examples + below(bits, num_examples)
    if not isinstance(order, EasyFirst):
        return positions
    return np.where(epochs < order.until, below(bits, epochs + 1), positions)


def shares_by_size(sizes: NDArray[np.int64] | NDArray[np.float64], power: float) -> NDArray[np.float64]:
    """(G,) sizes -> shares in proportion to size^power: 1 as they are, 0.5 by the square root (Mahajan et al. 2018,
    arXiv:1805.00932), 0 all groups alike.
    """
    shares: NDArray[np.float64] = sizes.astype(np.float64) ** power
    shares /= shares.sum()
    return shares
