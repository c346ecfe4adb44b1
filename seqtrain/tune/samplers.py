"""How the settings of the next trial are chosen.

Nothing is kept between two trials but the study itself: whatever is random is drawn from a key of the seed and the
index of the trial, so that a search that was stopped goes on as if it had not been.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from seqtrain.draws import fold, generator_seed, permuted
from seqtrain.errors import InputError
from seqtrain.tune.knobs import Settings
from seqtrain.tune.space import Space
from seqtrain.words import read_words

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

_SEEDS = 2**32
"""numpy's older generators take seeds below this."""


@dataclass(frozen=True, kw_only=True)
class Past:
    """A trial that has been judged."""

    settings: Settings
    score: float
    """The larger the better; minus infinity where it was pruned."""


@dataclass(frozen=True, kw_only=True)
class Tpe:
    """Tree-structured Parzen estimators (Bergstra et al. 2011), as optuna computes them: jointly for knobs that count
    together (Falkner et al. 2018), and away from what other processes are trying."""

    startup: int = 10
    """Trials at random before the first estimate."""

    def __post_init__(self) -> None:
        if self.startup < 1:
            raise ValueError(f"startup is {self.startup}; give a whole number of at least 1, such as 10")

    def limit(self, space: Space) -> int | None:
        return None

    def proposal(self, space: Space, past: Sequence[Past], index: int, seed: int, several: bool) -> Settings | None:
        return None

    def sampler(self, index: int, seed: int, several: bool) -> BaseSampler:
        from optuna.samplers import TPESampler

        key = generator_seed(seed, "tpe", index) % _SEEDS
        if several:
            return TPESampler(seed=key, n_startup_trials=self.startup)
        return TPESampler(seed=key, n_startup_trials=self.startup, multivariate=True, group=True)


@dataclass(frozen=True, kw_only=True)
class Random:
    """Every knob drawn by itself (Bergstra & Bengio 2012)."""

    def limit(self, space: Space) -> int | None:
        return None

    def proposal(self, space: Space, past: Sequence[Past], index: int, seed: int, several: bool) -> Settings | None:
        return None

    def sampler(self, index: int, seed: int, several: bool) -> BaseSampler:
        return _random(index, seed)


@dataclass(frozen=True, kw_only=True)
class Grid:
    """All combinations, in an order drawn once, so that a search that ends early has seen an even sample of them."""

    def limit(self, space: Space) -> int | None:
        """Settings of the grid."""
        return len(space.grid())

    def proposal(self, space: Space, past: Sequence[Past], index: int, seed: int, several: bool) -> Settings | None:
        grid = space.grid()
        return grid[int(permuted(np.array([index]), len(grid), fold(seed, "grid"))[0])]

    def sampler(self, index: int, seed: int, several: bool) -> BaseSampler:
        return _random(index, seed)


@dataclass(frozen=True, kw_only=True)
class Evolution:
    """Regularised evolution (Real et al. 2019): the best of a few of the youngest is copied with one knob changed, and
    the oldest die. With several objectives NSGA-II (Deb et al. 2002), as optuna computes it."""

    population: int = 12
    """Of the youngest trials; the first so many are drawn at random. The paper has 100."""
    sample: int = 3
    """Of these, drawn to choose the parent from. The paper has 25."""

    def __post_init__(self) -> None:
        if self.population < 2:
            raise ValueError(f"population is {self.population}; give a whole number of at least 2")
        if not 1 <= self.sample <= self.population:
            raise ValueError(
                f"sample is {self.sample}; give a whole number from 1 to the population, {self.population}"
            )

    def limit(self, space: Space) -> int | None:
        return None

    def proposal(self, space: Space, past: Sequence[Past], index: int, seed: int, several: bool) -> Settings | None:
        if several or len(past) < self.population:
            return None
        rng = np.random.default_rng(generator_seed(seed, "evolution", index))
        youngest = past[-self.population :]
        drawn = rng.choice(len(youngest), size=self.sample, replace=False)
        parent = max((youngest[int(i)] for i in drawn), key=lambda each: each.score)
        return mutated(space, parent.settings, rng)

    def sampler(self, index: int, seed: int, several: bool) -> BaseSampler:
        from optuna.samplers import NSGAIISampler

        if not several:
            return _random(index, seed)
        return NSGAIISampler(population_size=self.population, seed=generator_seed(seed, "nsga", index) % _SEEDS)


Sampler = Tpe | Random | Grid | Evolution


def read_sampler(words: str) -> Sampler:
    """A sampler in words, such as ``evolution:population=20``.

    Raises:
        InputError: an unknown name, field or value.
    """
    try:
        sampler: Sampler = read_words(words, Sampler, "sampler")[0]
    except InputError as error:
        raise InputError(f"--sampler {words}: {error}") from None
    return sampler


def mutated(space: Space, parent: Settings, rng: np.random.Generator) -> Settings:
    """The settings of a parent with one of its knobs changed; knobs that count only now are drawn."""
    names = [knob.name for knob in space.knobs if knob.name in parent]
    changed = names[int(rng.integers(len(names)))]
    return space.settings(
        lambda knob: (
            knob.draw(rng)
            if knob.name not in parent
            else knob.mutated(parent[knob.name], rng)
            if knob.name == changed
            else parent[knob.name]
        )
    )


def _random(index: int, seed: int) -> BaseSampler:
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=generator_seed(seed, "random", index) % _SEEDS)
