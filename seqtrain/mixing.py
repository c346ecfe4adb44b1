"""Pairs of training sequences mixed into one: where each position comes from, and what the label becomes.

A sequence keeps its length and its frame, and at least half of each pair; the other one is laid over it from the first
letter on, where both have letters. The shares are keyed draws, so they do not depend on how a step is cut.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from seqtrain.draws import Draws, below, chance
from seqtrain.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Mixup:
    """Every position becomes a weighted mean of two (Zhang et al. 2018, arXiv:1710.09412), and so does the label.

    Of one-hot vectors and of embeddings, which is the same as an embedding is linear in one-hot vectors.
    """

    alpha: float = 0.2
    """The share of one of the two is drawn from Beta(alpha, alpha): small values leave most pairs nearly unmixed."""
    probability: float = 1.0
    """Chance of a sequence to be mixed at all."""
    only_classes: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _check(type(self).__name__.lower(), self.alpha, self.probability)

    def shares(self, draws: Draws, shared: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Of B sequences of which ``shared`` (B,) letters each meet one of the other sequence.

        Returns:
            (S,) share of its own that each of these letters keeps, sequence after sequence, and (S,) the sequence.
        """
        sequences = np.repeat(np.arange(len(shared)), shared)
        return kept_shares(draws, self.alpha, self.probability)[sequences].astype(np.float32), sequences

    def label_shares(self, shares: NDArray[np.float32], sizes: NDArray[np.float64] | None) -> NDArray[np.float32]:
        """(B,) mean share of its own letters -> (B,) share of its own label."""
        return shares


@dataclass(frozen=True, kw_only=True)
class Cutmix:
    """A stretch of one sequence is replaced by that of another (Yun et al. 2019, arXiv:1905.04899).

    The letters stay real ones, and the label is shared by their numbers.
    """

    alpha: float = 1.0
    """The stretch's share of the sequence is drawn from Beta(alpha, alpha), the smaller of the two shares."""
    probability: float = 0.5
    """Chance of a sequence to be mixed at all."""
    only_classes: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _check(type(self).__name__.lower(), self.alpha, self.probability)

    def shares(self, draws: Draws, shared: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """As :meth:`Mixup.shares`; each share is 0 or 1."""
        sequences = np.repeat(np.arange(len(shared)), shared)
        replaced = np.rint((1 - kept_shares(draws, self.alpha, self.probability)) * shared).astype(np.int64)
        starts = below(draws.per_sequence("cutmix start"), shared - replaced + 1)
        firsts = np.cumsum(shared) - shared
        steps = np.arange(len(sequences)) - firsts[sequences]
        inside = (steps >= starts[sequences]) & (steps < (starts + replaced)[sequences])
        return (~inside).astype(np.float32), sequences

    def label_shares(self, shares: NDArray[np.float32], sizes: NDArray[np.float64] | None) -> NDArray[np.float32]:
        """(B,) mean share of its own letters -> (B,) share of its own label."""
        return shares


@dataclass(frozen=True, kw_only=True)
class Remix(Mixup):
    """Mixup whose label leans to the rarer class (Chou et al. 2020, arXiv:2007.03943, eq. 5), for long tails."""

    alpha: float = 1.0
    kappa: float = 3.0
    """Times that one class is larger than the other, from which the label leans."""
    tau: float = 0.5
    """Share of the larger class below which the whole label goes to the rarer one."""
    only_classes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kappa < 1:
            raise InputError(f"remix: kappa is {self.kappa:g}; give a number of at least 1")
        if not 0 <= self.tau <= 1:
            raise InputError(f"remix: tau is {self.tau:g}; give a number from 0 to 1")

    def label_shares(self, shares: NDArray[np.float32], sizes: NDArray[np.float64] | None) -> NDArray[np.float32]:
        """(B,) as in :meth:`Mixup.label_shares`; sizes (B,) of the own class for each member of the other's."""
        assert sizes is not None
        to_other = (sizes >= self.kappa) & (shares < self.tau)
        to_own = (sizes <= 1 / self.kappa) & (1 - shares < self.tau)
        return np.where(to_other, 0, np.where(to_own, 1, shares)).astype(np.float32)


Mixing = Mixup | Cutmix | Remix


def kept_shares(draws: Draws, alpha: float, probability: float) -> NDArray[np.float64]:
    """(B,) the larger of λ and 1 - λ, λ ~ Beta(alpha, alpha), for the sequences that are mixed; 1 for the others.

    Pairs have no order, so to give a sequence the larger share leaves the distribution of the mixtures as it is.
    """
    from scipy.special import betaincinv

    bits = draws.per_sequence("mixed share")
    uniform = ((bits >> 11) & ((1 << 53) - 1)) * 2.0**-53
    share = betaincinv(alpha, alpha, uniform)
    mixed = chance(draws.per_sequence("mix"), probability)
    kept: NDArray[np.float64] = np.where(mixed, np.maximum(share, 1 - share), 1.0)
    return kept


def _check(name: str, alpha: float, probability: float) -> None:
    if not 0 < alpha < float("inf"):
        raise InputError(f"{name}: alpha is {alpha:g}; give a number above 0")
    if not 0 <= probability <= 1:
        raise InputError(f"{name}: probability is {probability:g}; give a number from 0 to 1")
