"""Steps of an automated curriculum: each from one group of examples, chosen when the step before it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count
from typing import Protocol

import numpy as np

from seqtrain.bandit import BanditState
from seqtrain.batching import Examples, Step
from seqtrain.orders import ByProgress


@dataclass(frozen=True)
class GroupStep:
    """The examples of one update, and what a curriculum knows of them."""

    step: Step
    group: int | None = None
    """All examples are from it; None where nobody chose."""
    bandit: BanditState | None = None
    """With these examples consumed, and nothing learnt from them yet."""
    probe: Step | None = None
    """The next examples of the group, on which is measured what the step teaches."""


class Reached(Protocol):
    """As much of a training's progress as decides its next step."""

    @property
    def step(self) -> int: ...
    @property
    def position(self) -> int: ...
    @property
    def bandit(self) -> BanditState | None: ...


def progress_steps(
    examples: Examples,
    order: ByProgress,
    tokens_per_step: int,
    reached: Callable[[], Reached],
    growth: Callable[[int], float] = lambda step: 1.0,
) -> Iterator[GroupStep]:
    """Endless steps; each asks for the progress of the training when it is its turn, and is a function of that alone.

    A step takes the next examples of its group while their total stays within ``tokens_per_step`` times the growth at
    that step, at least one and none twice; the probe has half as many of those behind them.
    """

    def taken(group: int, start: int, position: int, budget: int) -> Step:
        units, rounds = order.members(group, start, order.sizes[group])
        totals = np.cumsum(examples.num_tokens[units])
        number = max(1, int(np.searchsorted(totals, budget, side="right")))
        return Step(units[:number], rounds[:number], position + number)

    for _ in count():
        now = reached()
        bandit = now.bandit or BanditState.start(len(order.names))
        group = order.bandit.chosen(bandit, now.step)
        budget = round(tokens_per_step * growth(now.step))
        step = taken(group, bandit.consumed[group], now.position, budget)
        consumed = tuple(number + len(step.units) * (each == group) for each, number in enumerate(bandit.consumed))
        probe = taken(group, consumed[group], step.next_position, budget // 2)
        yield GroupStep(step, group, replace(bandit, consumed=consumed), probe)
