"""The learning-rate range test (Smith 2015): train for some steps while the rate grows, and read the rate off the loss.

What to read off is not settled. Smith (2015) lets a cycle reach from where the accuracy begins to rise to where it
slows or turns; Bengio (2012, "Practical recommendations for gradient-based training") finds the best rate within a
factor of about two of the largest that converges; fastai's finder gave a tenth of the rate at the lowest loss, or the
rate of the steepest fall. Here the bounds are Smith's, the proposed rate is a third of that at the lowest loss, and the
other two are there to compare.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from html import escape
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from seqtrain.batching import MicrobatchBudget, Microbatches, steps_from
from seqtrain.errors import RunError
from seqtrain.fitting import Training
from seqtrain.report.axes import short_number
from seqtrain.report.line_chart import line_chart
from seqtrain.report.page import STYLE
from seqtrain.report.records import Curve, Series
from seqtrain.schedules import Exponential
from seqtrain.training import NotFinite, train_steps

_MEMORY = 0.9
"""Of the running mean by which divergence is judged."""
_SMOOTH_FRACTION = 0.03
_BEGINS, _ENDS = 0.1, 0.9
_LEAST_FALL = 0.005
"""Of the first loss: less is taken for noise."""


@dataclass(frozen=True, kw_only=True)
class RangeResult:
    """The losses of a range test, and what is read off them. All rates are those of the body."""

    rates: NDArray[np.float64]
    """(S,) increasing."""
    losses: NDArray[np.float64]
    """(S,) training loss of each step, before its update."""
    num_steps: int
    """Of the whole test; fewer were made if the loss went up."""

    @cached_property
    def smoothed(self) -> NDArray[np.float64]:
        """(S,) losses under a normal kernel whose standard deviation is 3 % of the test's steps."""
        # A running mean would lag behind, and show everything at rates that are too high.
        steps = np.arange(len(self.losses))
        distances = (steps[:, None] - steps) / (_SMOOTH_FRACTION * self.num_steps)
        kernel = np.exp(-0.5 * distances**2)
        means: NDArray[np.float64] = kernel @ self.losses / kernel.sum(axis=1)
        return means

    @property
    def fell(self) -> bool:
        """Whether the loss fell at all, by more than half a percent; without that there is nothing to propose."""
        first, lowest = self.smoothed[0], self.smoothed.min()
        return bool(first - lowest > _LEAST_FALL * abs(first))

    @property
    def lowest(self) -> float:
        """The rate at which the smoothed loss is lowest."""
        return float(self.rates[self._turn])

    @property
    def proposed(self) -> float:
        """A third of the rate at the lowest loss."""
        return self.lowest / 3

    @property
    def tenth(self) -> float:
        """A tenth of the rate at the lowest loss: the earlier rule of fastai's finder."""
        return self.lowest / 10

    @property
    def steepest(self) -> float:
        """The rate at which the smoothed loss falls fastest by the logarithm of the rate: fastai's later rule."""
        return float(self.rates[np.gradient(self.smoothed)[: self._turn + 1].argmin()])

    @property
    def bounds(self) -> tuple[float, float]:
        """Bounds of cyclical rates: where a tenth and where nine tenths of the fall to the lowest loss are done."""
        before = self.smoothed[: self._turn + 1]
        done = (before[0] - before) / (before[0] - before[-1])
        low, high = (float(self.rates[np.argmax(done >= share)]) for share in (_BEGINS, _ENDS))
        return low, high

    @property
    def _turn(self) -> int:
        """The step with the lowest smoothed loss."""
        if not self.fell:
            raise RunError(
                f"the loss did not fall from its {self.smoothed[0]:.4g} at any rate between {self.rates[0]:.2g} and "
                f"{self.rates[-1]:.2g}; test more steps, or start at a lower rate"
            )
        return int(self.smoothed.argmin())

    def to_json(self) -> dict[str, Any]:
        """Everything above as plain values; what cannot be proposed is None."""
        low, high = self.bounds if self.fell else (None, None)
        names = ("proposed", "lowest", "tenth", "steepest")
        return {
            **{name: getattr(self, name) if self.fell else None for name in names},
            "bounds": [low, high],
            "num_steps": self.num_steps,
            "rates": self.rates.tolist(),
            "losses": self.losses.tolist(),
            "smoothed": self.smoothed.tolist(),
        }


@dataclass(frozen=True, kw_only=True)
class RangeTest:
    """Trains a copy of a network while the rate grows by the same factor at every step."""

    lowest: float = 1e-6
    """The first rate of the body; other parameters keep their share of it."""
    highest: float = 1.0
    """The last rate, unless the loss goes up before."""
    num_steps: int = 100
    divergence: float = 2.0
    """The test ends when the running mean of the loss is this many times the first loss, or a loss is not finite."""

    def __post_init__(self) -> None:
        if not 0 < self.lowest < self.highest < math.inf:
            raise ValueError(f"the rates go from {self.lowest:g} to {self.highest:g}; give two, the lower one first")
        if self.num_steps < 10:
            raise ValueError(f"num_steps is {self.num_steps}; give at least 10, and rather 100")
        if not self.divergence > 1:
            raise ValueError(f"divergence is {self.divergence:g}; give a number above 1")

    def __call__(self, training: Training) -> RangeResult:
        """Run the test on the steps that the training would begin with; the training is left as it was.

        Its network, its random generators and its checkpoints are not touched, and its schedule is not used.
        """
        # In one copy: an objective may look into the network, as that of NNCLR does.
        network, objective = copy.deepcopy((training.network, training.objective))
        optimizer = training.optimizer.build(network)
        for group in optimizer.param_groups:
            group["peak"] *= self.lowest / training.optimizer.learning_rate
        rising = Exponential(num_steps=self.num_steps, final_fraction=self.highest / self.lowest)
        rates: list[float] = []
        losses: list[float] = []
        running = 0.0
        device = training.loop.device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            # What is skipped or rolled back in the training ends the test: it is there to find that rate.
            loop = replace(training.loop, on_nan="stop")
            reports = train_steps(network, objective, _steps(training), optimizer, rising, loop)
            for step in range(self.num_steps):
                try:
                    report = next(reports)
                except NotFinite:
                    # A first step that fails says nothing about rates, and is not for this test to judge.
                    if not losses:
                        raise
                    break
                if not report.count:
                    continue
                rates.append(self.lowest * rising(step))
                losses.append(report.loss)
                running = _MEMORY * running + (1 - _MEMORY) * report.loss
                mean = running / (1 - _MEMORY ** len(losses))
                if mean > losses[0] + (self.divergence - 1) * abs(losses[0]):
                    break
        if not losses:
            raise RunError(f"none of {self.num_steps} steps had anything to score; test more, or take larger steps")
        return RangeResult(rates=np.array(rates), losses=np.array(losses), num_steps=self.num_steps)


def range_picture(result: RangeResult) -> str:
    """The loss by the logarithm of the rate and what is read off it, as an SVG file that stands alone."""
    x, smoothed = np.log10(result.rates), result.smoothed
    # The losses of the divergence would flatten the fall, which is what there is to see.
    ceiling = 2 * smoothed[0] - smoothed.min() if result.fell else math.inf
    series = [
        Series(name=name, x=x, y=np.where(np.maximum.accumulate(losses > ceiling), np.nan, losses))
        for name, losses in (("smoothed loss", smoothed), ("loss of each step", result.losses))
    ]
    if result.fell:
        low, high = result.bounds
        marks = {
            f"proposed {_short(result.proposed)}": [result.proposed],
            # Not a number in between, so that no line joins the two.
            f"bounds {_short(low)} and {_short(high)}": [low, math.nan, high],
            f"lowest {_short(result.lowest)}": [result.lowest],
        }
        for name, rates in marks.items():
            places = np.log10(np.array(rates))
            series.append(Series(name=name, x=places, y=np.interp(places, x, smoothed)))
    curve = Curve(
        title="Learning-rate range test",
        x_label="log₁₀ of the learning rate",
        y_label="training loss",
        series=tuple(series),
    )
    return _standing_alone(line_chart(curve, "range"), [each.name for each in series])


def _steps(training: Training) -> Iterator[Microbatches]:
    budget = MicrobatchBudget(training.first_microbatch)
    for step in steps_from(training.examples, training.tokens_per_step, 0, training.loop.seed):
        yield Microbatches(step, training.examples, budget)


def _short(rate: float) -> str:
    return short_number(float(f"{rate:.2g}"))


def _standing_alone(chart: str, names: list[str]) -> str:
    """A chart of a page as a file, with its style, a ground, and the names of its lines above it."""
    places = [(64, 18), (250, 18), (14, 38), (134, 38), (322, 38)]
    key = "".join(
        f'<path class="dots large c{number}" d="M{x} {y}h0"/><text x="{x + 9}" y="{y + 4}">{escape(name)}</text>'
        for number, ((x, y), name) in enumerate(zip(places, names, strict=False), start=1)
    )
    inner = re.sub(r'^<svg class="chart" style="[^"]*"', '<svg y="48" width="440" height="280"', chart)
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 440 328" width="660" height="492">'
        f'<style>{STYLE}</style><rect width="440" height="328" style="fill:var(--paper)"/>{key}{inner}</svg>\n'
    )
