"""Evolved protein families with a known optimum: what the best possible model scores, before any model is trained.

Each family is a profile, one distribution of residues per position, and its members are drawn from it independently per
position (a star phylogeny). So the posterior of the family given any residues is exact, and with it the lowest loss of
a masked residue, the best classification, the best r² of a regression and the best per-residue accuracy.

A site descends from an ancestral residue a. Its distribution is q(b) ∝ p(b) · exp(s · λ · BLOSUM62[a, b]), where p is
the background (Robinson & Robinson 1991, Proc. Natl Acad. Sci. USA 88, 8880), λ = ln 2 / 2 because BLOSUM62 is in half
bits (Henikoff & Henikoff 1992, Proc. Natl Acad. Sci. USA 89, 10915), and the site's strength s is exponential, so that
few sites are strictly conserved and many are free: s = 0 is the background, s = 1 the divergence of BLOSUM62.

Shape letters: N sequences, F families, L positions, A = 20 residues in alphabetical order of their one-letter codes.
"""

# mypy: allow-untyped-calls
from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from Bio.Align import substitution_matrices
from Bio.SeqUtils.ProtParamData import kd
from numpy.typing import NDArray

RESIDUES = "ACDEFGHIKLMNPQRSTVWY"
BACKGROUND = np.array(
    [
        *(0.07805, 0.01925, 0.05364, 0.06295, 0.03856, 0.07377, 0.02199, 0.05142, 0.05744, 0.09019),
        *(0.02243, 0.04487, 0.05203, 0.04264, 0.05129, 0.07120, 0.05841, 0.06441, 0.01330, 0.03216),
    ]
)
"""(A,) residue frequencies of Robinson & Robinson (1991)."""
HYDROPATHY = np.array([round(10 * kd[residue]) for residue in RESIDUES])
"""(A,) Kyte & Doolittle (1982) hydropathy in tenths, whole numbers so that sums compare exactly."""

STATES = "BIE"
"""Per-residue labels: buried, intermediate, exposed."""
STATE_LIMIT = 10
"""Tenths of a unit of mean hydropathy: above is buried, below the negative is exposed."""

_SCALE = math.log(2) / 2
_STREAMS = {"ancestors": 1, "strengths": 2, "shared": 3, "effects": 4, "sample": 5}


@dataclass(frozen=True, kw_only=True)
class FamilySequence:
    """One member of a family and its three labels."""

    identifier: str
    """Unique for the seed of the sample and the place in it; says nothing of the family."""
    sequence: str
    """L residues."""
    family: int
    """Class, from 0, the most frequent first."""
    value: float
    """Additive effect of the residues plus noise; the effect has mean 0 and standard deviation 1 over the world."""
    states: str
    """L letters of STATES, one per residue."""


@dataclass(frozen=True, kw_only=True)
class FamilyWorld:
    """Families, their profiles and the rules of the labels: everything follows from these numbers.

    Raises:
        ValueError: a number outside its range.
    """

    seed: int = 0
    num_families: int = 8
    length: int = 64
    """Residues per sequence."""
    conservation: float = 1.0
    """Mean strength of a site, at least 0; larger means fewer residues per site and a lower masked loss."""
    shared_fraction: float = 0.0
    """Fraction of positions at which all families have the same distribution: only the others tell the family."""
    imbalance: float = 1.0
    """Frequency of the first family over that of the last; the frequencies in between are geometric."""
    value_noise: float = 0.5
    """Standard deviation of the noise of the value, in units of that of the effect."""
    state_noise: float = 0.1
    """Probability that a state is replaced by one of the two others; below 2/3, where the label would say nothing."""

    def __post_init__(self) -> None:
        limits = {
            "seed": (0, math.inf),
            "num_families": (1, math.inf),
            "length": (3, math.inf),
            "conservation": (0, 10),
            "shared_fraction": (0, 1),
            "imbalance": (1, 1e6),
            "value_noise": (0, 1e6),
            "state_noise": (0, 0.66),
        }
        for name, (lowest, highest) in limits.items():
            if not lowest <= getattr(self, name) <= highest:
                raise ValueError(f"{name} is {getattr(self, name)}; choose a number from {lowest} to {highest}")

    @cached_property
    def frequencies(self) -> NDArray[np.float64]:
        """(F,) probability of each family, decreasing."""
        weights = self.imbalance ** -np.linspace(0, 1, self.num_families)
        frequencies: NDArray[np.float64] = weights / weights.sum()
        return frequencies

    @cached_property
    def profiles(self) -> NDArray[np.float64]:
        """(F, L, A) probability of each residue at each position of each family."""
        profiles: NDArray[np.float64] = np.exp(self.log_profiles)
        return profiles

    @cached_property
    def log_profiles(self) -> NDArray[np.float64]:
        """(F, L, A) natural logarithm of the profiles, finite where a probability underflows to 0."""
        ancestors = _pick(np.cumsum(BACKGROUND), self._uniform("ancestors", self.num_families, self.length))
        strengths = -self.conservation * np.log1p(-self._uniform("strengths", self.num_families, self.length))
        blosum = substitution_matrices.load("BLOSUM62")
        exchange = np.array([[blosum[a, b] for b in RESIDUES] for a in RESIDUES])
        logits = np.log(BACKGROUND) + _SCALE * strengths[..., None] * exchange[ancestors]
        logs: NDArray[np.float64] = logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)
        shared = np.argsort(self._uniform("shared", self.length))[: round(self.shared_fraction * self.length)]
        logs[:, shared] = logs[0, shared]
        return logs

    @cached_property
    def effects(self) -> NDArray[np.float64]:
        """(L, A) contribution of each residue at each position to the value: a weight per site times hydropathy."""
        raw = (2 * self._uniform("effects", self.length, 1) - 1) * HYDROPATHY
        sites = (self.profiles * raw).sum(axis=-1)
        within = ((self.profiles * raw**2).sum(axis=-1) - sites**2).sum(axis=1)
        means = sites.sum(axis=1)
        centre = self.frequencies @ means
        # Law of total variance: within families, where sites are independent, plus between their means.
        variance = self.frequencies @ (within + (means - centre) ** 2)
        scaled: NDArray[np.float64] = (raw - centre / self.length) / math.sqrt(variance)
        return scaled

    def sample(self, num_sequences: int, seed: int) -> list[FamilySequence]:
        """Members drawn from the world; a longer sample with the same seed begins with the shorter one.

        Only uniform numbers are taken from numpy: its other distributions may change between versions.
        """
        uniform = self._uniform("sample", num_sequences, 2 * self.length + 3, seed=seed)
        families = _pick(np.cumsum(self.frequencies), uniform[:, 0])
        letters = self._draw_letters(families, uniform[:, 3 : 3 + self.length])
        # Box & Muller (1958): two uniforms, one standard normal.
        normal = np.sqrt(-2 * np.log1p(-uniform[:, 1])) * np.cos(2 * np.pi * uniform[:, 2])
        values = self._effect(letters) + self.value_noise * normal
        states = _noisy_states(letters, uniform[:, 3 + self.length :], self.state_noise)
        return [
            FamilySequence(
                identifier=f"member-{seed}-{index}",
                sequence="".join(RESIDUES[letter] for letter in letters[index]),
                family=int(families[index]),
                value=float(values[index]),
                states="".join(STATES[state] for state in states[index]),
            )
            for index in range(num_sequences)
        ]

    def optimal_masked_loss(self) -> float:
        """Nats per masked residue of a predictor that knows the family: the mean entropy of the profiles.

        A lower bound for every predictor. The best one that sees the other residues misses it by what they leave open
        about the family: less than 1e-9 nats in the default world, 2e-4 at length 32, 0.02 at length 16.
        :meth:`masked_losses` is exact.
        """
        return float(self.frequencies @ _entropy(self.profiles).mean(axis=1))

    def positional_entropy(self) -> float:
        """Nats per masked residue of the best predictor that knows the position and no other residue."""
        return float(_entropy(np.tensordot(self.frequencies, self.profiles, axes=1)).mean())

    def unigram_entropy(self) -> float:
        """Nats per masked residue of the best predictor that knows neither position nor any other residue."""
        return float(_entropy(np.tensordot(self.frequencies, self.profiles, axes=1).mean(axis=0)))

    def masked_losses(self, sequences: Sequence[str]) -> NDArray[np.float64]:
        """(N, L) nats of the Bayes-optimal predictor at each position, masked alone: −ln P(residue | all the others).

        The floor for a model scored on these very sequences. With several positions masked at once the floor is
        higher by what the hidden residues would have told of the family.
        """
        letters = _letters(sequences, self.length)
        sites = self._site_log_likelihoods(letters)
        prior = np.log(self.frequencies)[:, None]
        whole = prior + sites.sum(axis=-1)
        # P(residue | others) = P(all) / P(others), both sums over families.
        others = np.logaddexp.reduce(whole[..., None] - sites, axis=0)
        losses: NDArray[np.float64] = others - np.logaddexp.reduce(whole, axis=0)[:, None]
        return losses

    def posterior(self, sequences: Sequence[str]) -> NDArray[np.float64]:
        """(N, F) exact probability of each family given the sequence."""
        whole = np.log(self.frequencies)[:, None] + self._site_log_likelihoods(_letters(sequences, self.length)).sum(-1)
        probabilities: NDArray[np.float64] = np.exp(whole - np.logaddexp.reduce(whole, axis=0)).T
        return probabilities

    def bayes_accuracy(self, num_sequences: int = 2000, seed: int = 0) -> float:
        """Fraction of families that the best classifier names rightly, by Monte Carlo; error below 0.5/sqrt(N).

        The mean of the largest posterior, whose variance is smaller than that of counting hits.
        """
        members = self.sample(num_sequences, seed)
        return float(self.posterior([member.sequence for member in members]).max(axis=1).mean())

    def true_values(self, sequences: Sequence[str]) -> NDArray[np.float64]:
        """(N,) values without noise: the best prediction of the value."""
        return self._effect(_letters(sequences, self.length))

    def best_r2(self) -> float:
        """Share of the value's variance that the sequence explains; the effect's variance is 1."""
        return 1 / (1 + self.value_noise**2)

    def best_spearman(self, num_sequences: int = 20000, seed: int = 0) -> float:
        """Rank correlation of values with and without noise, by Monte Carlo; error about 1/sqrt(N)."""
        members = self.sample(num_sequences, seed)
        truth = self.true_values([member.sequence for member in members])
        ranks = [np.argsort(np.argsort(column)) for column in (truth, np.array([member.value for member in members]))]
        return float(np.corrcoef(ranks[0], ranks[1])[0, 1])

    def best_state_accuracy(self) -> float:
        """Fraction of states that the best predictor names rightly: those that the noise left alone."""
        return 1 - self.state_noise

    def _uniform(self, purpose: str, *shape: int, seed: int = 0) -> NDArray[np.float64]:
        return np.random.default_rng([self.seed, _STREAMS[purpose], seed]).random(shape)

    def _draw_letters(self, families: NDArray[np.int64], uniform: NDArray[np.float64]) -> NDArray[np.int64]:
        letters = np.empty(uniform.shape, dtype=np.int64)
        cumulative = np.cumsum(self.profiles, axis=-1)
        # Family by family: gathering a cumulative profile per sequence would take N · L · A numbers of memory.
        for family in range(self.num_families):
            rows = np.flatnonzero(families == family)
            for position in range(self.length):
                letters[rows, position] = _pick(cumulative[family, position], uniform[rows, position])
        return letters

    def _site_log_likelihoods(self, letters: NDArray[np.int64]) -> NDArray[np.float64]:
        """(F, N, L) ln probability of each residue under each family."""
        return self.log_profiles[:, np.arange(self.length), letters]

    def _effect(self, letters: NDArray[np.int64]) -> NDArray[np.float64]:
        total: NDArray[np.float64] = self.effects[np.arange(self.length), letters].sum(axis=1)
        return total


def true_states(sequence: str) -> str:
    """States without noise: the mean hydropathy of a residue and its neighbours, above 1.0 B, below −1.0 E, else I."""
    return "".join(STATES[state] for state in _states(_letters([sequence], len(sequence)))[0])


def write_fasta(path: Path, members: Sequence[FamilySequence], *, width: int = 60) -> None:
    """FASTA without labels, ``width`` residues per line."""
    with path.open("w", encoding="ascii", newline="\n") as stream:
        for member in members:
            lines = [member.sequence[start : start + width] for start in range(0, len(member.sequence), width)]
            stream.write("\n".join([f">{member.identifier}", *lines]) + "\n")


def write_table(path: Path, members: Sequence[FamilySequence]) -> None:
    """Comma-separated ``identifier,sequence,family,value,states``; the family as text, ``family_0`` and so on."""
    with path.open("w", encoding="ascii", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["identifier", "sequence", "family", "value", "states"])
        for member in members:
            family, value = f"family_{member.family}", f"{member.value:.6f}"
            writer.writerow([member.identifier, member.sequence, family, value, member.states])


def _pick(cumulative: NDArray[np.float64], uniform: NDArray[np.float64]) -> NDArray[np.int64]:
    """Index per uniform number, of the same shape; the last cumulative value, 1 up to rounding, is not looked at."""
    return np.searchsorted(cumulative[:-1], uniform, side="right")


def _entropy(distributions: NDArray[np.float64]) -> NDArray[np.float64]:
    """(..., A) probabilities -> (...) nats."""
    logs = np.log(np.where(distributions > 0, distributions, 1))
    entropies: NDArray[np.float64] = -(distributions * logs).sum(axis=-1)
    return entropies


def _letters(sequences: Sequence[str], length: int) -> NDArray[np.int64]:
    """(N, L) index of each residue in RESIDUES."""
    for index, sequence in enumerate(sequences):
        if len(sequence) != length or set(sequence) - set(RESIDUES):
            raise ValueError(f"sequence {index} is not {length} of the letters {RESIDUES}; sample it from this world")
    codes = np.frombuffer("".join(sequences).encode("ascii"), dtype=np.uint8).reshape(len(sequences), length)
    return np.searchsorted(np.frombuffer(RESIDUES.encode("ascii"), dtype=np.uint8), codes)


def _states(letters: NDArray[np.int64]) -> NDArray[np.int64]:
    """(N, L) letters -> (N, L) index in STATES; at the ends the window has two residues."""
    sums, limits = _window_sums(HYDROPATHY[letters]), STATE_LIMIT * _window_sums(np.ones_like(letters))
    return np.where(sums > limits, 0, np.where(sums < -limits, 2, 1))


def _window_sums(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    padded = np.pad(numbers, ((0, 0), (1, 1)))
    sums: NDArray[np.int64] = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    return sums


def _noisy_states(letters: NDArray[np.int64], uniform: NDArray[np.float64], state_noise: float) -> NDArray[np.int64]:
    """(N, L) states, each replaced with the given probability by one of the others, evenly."""
    shift = np.where(uniform < state_noise / 2, 1, np.where(uniform < state_noise, 2, 0))
    return (_states(letters) + shift) % len(STATES)
