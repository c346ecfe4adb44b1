"""New members of a family: drawn until each is a proper one, none a copy of what exists already."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Set
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from seqtrain.draws import chance, fold, permuted
from seqtrain.generate.family import GAP, Family, identities, written
from seqtrain.generate.family_vae import FamilyVAE

MAX_DRAWS = 50
"""How often one sequence is drawn before it is given up."""
_LEAST_RATE = 0.01


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is to be drawn."""

    count: int
    seed: int = 0
    rate: float | None = None
    """Of the columns that are drawn anew in a variation; None: half of them, or where the identity is bounded a share
    that is itself drawn, as the right one hangs on parent and model."""
    temperature: float = 1.0
    prior_fraction: float = 0.0
    """Of the sequences that come from the prior and have no parent."""
    identity: tuple[float, float] | None = None
    """Least and most identity with the parent; with the nearest member for sequences from the prior."""

    def __post_init__(self) -> None:
        least, most = self.identity or (0, 1)
        for name, value, lowest in (
            ("rate", 1 if self.rate is None else self.rate, 0),
            ("temperature", self.temperature, 0),
            ("count", self.count, 0),
        ):
            if not lowest < value < math.inf or (name == "rate" and value > 1):
                raise ValueError(
                    f"{name} is {value}; give a number above 0{' and at most 1' if name == 'rate' else ''}"
                )
        if not 0 <= self.prior_fraction <= 1:
            raise ValueError(f"prior fraction is {self.prior_fraction}; give a number from 0 to 1")
        if not 0 <= least < most <= 1:
            raise ValueError(f"identity is {least} to {most}; give two numbers from 0 to 1, the smaller one first")


@dataclass(frozen=True, kw_only=True)
class Synthetic:
    """One new member."""

    sequence: str
    parent: int | None
    """The member that was varied; None for a draw from the prior."""
    identity: float
    """With the nearest member: equal letters in the same column over the longer length, 0 to 1."""
    parent_identity: float | None
    """With the parent, letters between the columns included."""


@dataclass(frozen=True, kw_only=True)
class Proposals:
    """What was drawn."""

    found: list[Synthetic]
    missing: int
    """Sequences that :data:`MAX_DRAWS` draws could not give."""
    refused: Counter[str] = field(default_factory=Counter)
    """Draws that were thrown away, by reason."""

    def shortfall(self) -> str:
        """In words; "" when nothing is missing."""
        if not self.missing:
            return ""
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in self.refused.most_common())
        missing = f"{self.missing:,} sequence{'s' if self.missing > 1 else ''} could not be drawn in {MAX_DRAWS} tries"
        return f"{missing} each ({reasons}: draws refused)"


def propose(model: FamilyVAE, family: Family, wanted: Wanted, known: Set[str]) -> Proposals:
    """Draw new members, each a function of the seed and its number, save where a draw was there already.

    A draw is refused when it is a known sequence, when another one had it before, when it is shorter or longer than
    every member, or when its identity is out of bounds. Those left are of standard letters only.

    Args:
        known: sequences, in upper case, that must not come out.
    """
    order = _Order.of(len(family), wanted)
    lengths = np.array([len(text) for text in family.texts])
    seen = set(family.texts)
    found: dict[int, Synthetic] = {}
    refused: Counter[str] = Counter()
    for attempt in range(MAX_DRAWS):
        pending = np.array([index for index in range(wanted.count) if index not in found], dtype=np.int64)
        if not len(pending):
            break
        for index, proposal, reason in _attempt(model, family, wanted, order, pending, attempt, lengths):
            if not reason and (proposal.sequence in known or proposal.sequence in seen):
                reason = "already known"
            if reason:
                refused[reason] += 1
            else:
                found[index] = proposal
                seen.add(proposal.sequence)
    return Proposals(
        found=[found[index] for index in sorted(found)], missing=wanted.count - len(found), refused=refused
    )


@dataclass(frozen=True)
class _Order:
    """The parent of each of the sequences."""

    parents: NDArray[np.int64]
    """(count,) members in turn, in an order of their own for each round; -1 for the prior."""

    @classmethod
    def of(cls, num_members: int, wanted: Wanted) -> _Order:
        rounds = -(-wanted.count // num_members)
        everyone = np.arange(num_members)
        turns = [permuted(everyone, num_members, fold(wanted.seed, "parents", each)) for each in range(rounds)]
        parents = np.concatenate(turns)[: wanted.count]
        bits = np.array([fold(wanted.seed, "prior", index) for index in range(wanted.count)], dtype=np.int64)
        return cls(np.where(chance(bits, wanted.prior_fraction), -1, parents))


def _attempt(
    model: FamilyVAE,
    family: Family,
    wanted: Wanted,
    order: _Order,
    pending: NDArray[np.int64],
    attempt: int,
    lengths: NDArray[np.int64],
) -> list[tuple[int, Synthetic, str]]:
    """One draw for each pending sequence: its number, what was drawn, and why it cannot be taken, or ""."""
    parents = order.parents[pending]
    keys = np.array([fold(wanted.seed, "synthetic", index, attempt) for index in pending.tolist()], dtype=np.int64)
    symbols = np.zeros((len(pending), family.symbols.shape[1]), dtype=np.uint8)
    from_prior = parents < 0
    if from_prior.any():
        symbols[from_prior] = model.draw(keys[from_prior], temperature=wanted.temperature)
    if not from_prior.all():
        varied = ~from_prior
        symbols[varied] = model.draw(
            keys[varied],
            family.symbols[parents[varied]],
            rates=_rates(wanted, keys[varied]),
            temperature=wanted.temperature,
        )
    empty = ("",) * (symbols.shape[1] + 1)
    pieces = [family.insertions[parent] if parent >= 0 else empty for parent in parents.tolist()]
    texts = [written(row, between) for row, between in zip(symbols, pieces, strict=True)]
    own = np.array([len(text) for text in texts])
    shared = np.zeros((len(texts), len(family)), dtype=np.int64)
    inserted = own - (symbols < GAP).sum(axis=1)
    shared[np.flatnonzero(~from_prior), parents[~from_prior]] = inserted[~from_prior]
    alike = identities(symbols, own, family.symbols, lengths, shared)
    tried = []
    for place, index in enumerate(pending.tolist()):
        parent = int(parents[place]) if parents[place] >= 0 else None
        nearest = float(alike[place].max())
        to_parent = None if parent is None else float(alike[place, parent])
        bounded = nearest if to_parent is None else to_parent
        reason = ""
        if not lengths.min() <= own[place] <= lengths.max():
            reason = "shorter or longer than every member"
        elif wanted.identity is not None and not wanted.identity[0] <= bounded <= wanted.identity[1]:
            reason = "outside of the identity"
        proposal = Synthetic(sequence=texts[place], parent=parent, identity=nearest, parent_identity=to_parent)
        tried.append((index, proposal, reason))
    return tried


def _rates(wanted: Wanted, keys: NDArray[np.int64]) -> NDArray[np.float64]:
    """(M,) shares of the columns to draw anew."""
    if wanted.rate is not None or wanted.identity is None:
        return np.full(len(keys), wanted.rate or 0.5)
    # Evenly over orders of magnitude: few columns for a high identity, most of them for a low one.
    least = max(_LEAST_RATE, 1 - wanted.identity[1])
    share = np.array([fold(int(key), "rate") & 0xFFFFFFFF for key in keys]) / 2.0**32
    rates: NDArray[np.float64] = least ** (1 - share)
    return rates
