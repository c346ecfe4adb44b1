"""What a training will take, from a few of its own steps: hours, memory, the largest microbatch, disk."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from seqtrain.batching import MicrobatchBudget, Microbatches, steps_from
from seqtrain.errors import RunError
from seqtrain.fitting import Training
from seqtrain.largest_batch import largest_batch, release_memory
from seqtrain.memory_use import PeakMemory, free_bytes
from seqtrain.schedules import batch_factor_at
from seqtrain.training import StepReport, train_steps

_MEASURED_STEPS = (2, 50)
_MEASURED_SECONDS = 2.0
"""Steps are measured until they took so long together, at least two and at most fifty."""
_MOST_TIMES = 64
"""The largest microbatch is looked for up to so many times the one of the training."""
_USABLE = 0.9
"""Of the free memory of a CPU: the rest is for what grows besides."""
_LEAST_GROWTH = 4e6
"""Bytes between the two sizes tried on a CPU, below which nothing can be told from them."""
_KEPT_CHECKPOINTS = 2


@dataclass(frozen=True, kw_only=True)
class Largest:
    """The largest microbatch that fits."""

    tokens: int
    is_tried: bool
    """Found by trying, not estimated from the growth between two sizes."""
    is_limit: bool
    """Nothing larger was looked for."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What was measured, and what follows from it."""

    num_steps: int
    tokens_per_step: int
    tokens_per_microbatch: int
    """Lowered where memory ran out."""
    warm_up_seconds: float
    """Of the first step, in which memory is allocated and kernels are chosen; it is not among the measured ones."""
    num_measured: int
    seconds_per_step: float
    """Mean of the measured steps."""
    fastest_seconds: float
    slowest_seconds: float
    residues_per_second: float
    relative_work: float
    """Of a step of the training, on average, to a measured one: more than 1 where batches grow."""
    num_evaluations: int
    """That before the first step included."""
    evaluation_seconds: float
    """Of one, measured."""
    range_test_seconds: float
    """Of the search for the learning rate, at most; 0 where it is given."""
    peak_bytes: int
    """While the measured steps ran."""
    growth_bytes: int
    """Of it, what came on top of what was in memory before them: activations, gradients, and work space."""
    memory_of: str
    """What the peak is of."""
    largest: Largest | None
    """None where the memory did not grow enough to tell."""
    checkpoint_bytes: int
    model_bytes: int
    num_checkpoints: int
    """That are on the disk at once: those kept, and one being written."""

    @property
    def steps_seconds(self) -> float:
        """Of all steps."""
        return self.num_steps * self.seconds_per_step * self.relative_work

    @property
    def seconds(self) -> float:
        """Of steps and evaluations; reading, writing checkpoints and the final scoring come on top."""
        return self.steps_seconds + self.num_evaluations * self.evaluation_seconds + self.range_test_seconds

    @property
    def disk_bytes(self) -> int:
        """Of checkpoints and the finished model, at most."""
        return self.num_checkpoints * self.checkpoint_bytes + self.model_bytes


def plan_training(training: Training, *, range_test_steps: int = 0) -> Plan:
    """Train for a few steps and measure them; the network is changed by it, and nothing is written.

    Raises:
        RunError: a loss that is not finite, or a single sequence that does not fit into memory.
    """
    optimizer = training.optimizer.build(training.network)
    average = training.averaging.build(training.network) if training.averaging else None
    budget = MicrobatchBudget(training.first_microbatch)
    steps = _time_steps(training, optimizer, budget)
    evaluation_seconds = _time_evaluation(training)
    states = [value for state in optimizer.state.values() for value in state.values() if isinstance(value, Tensor)]
    model_bytes = _size(training.network.state_dict().values())
    averaged = _size(average.state_dict().values()) if average is not None else 0
    return Plan(
        num_steps=training.num_steps,
        tokens_per_step=training.tokens_per_step,
        tokens_per_microbatch=budget.tokens,
        warm_up_seconds=steps.warm_up_seconds,
        num_measured=len(steps.reports),
        seconds_per_step=steps.seconds / len(steps.reports),
        fastest_seconds=min(report.seconds for report in steps.reports),
        slowest_seconds=max(report.seconds for report in steps.reports),
        residues_per_second=sum(report.num_residues for report in steps.reports) / steps.seconds,
        relative_work=_relative_work(training, steps.reports),
        num_evaluations=0 if evaluation_seconds is None else training.num_evaluations + 1,
        evaluation_seconds=evaluation_seconds or 0.0,
        range_test_seconds=range_test_steps * steps.seconds / len(steps.reports),
        peak_bytes=steps.peak,
        growth_bytes=max(0, steps.peak - steps.before),
        memory_of=steps.memory_of,
        largest=_largest(training, optimizer, budget.tokens, training.loop.device),
        checkpoint_bytes=model_bytes + _size(states) + averaged,
        model_bytes=model_bytes,
        num_checkpoints=_KEPT_CHECKPOINTS + (training.keep_best or training.stopping is not None) + 1,
    )


@dataclass(frozen=True)
class _Timed:
    """The steps that were measured."""

    warm_up_seconds: float
    reports: list[StepReport]
    seconds: float
    """Of all of them, with what the device still had to do."""
    peak: int
    before: int
    memory_of: str


def _time_steps(training: Training, optimizer: torch.optim.Optimizer, budget: MicrobatchBudget) -> _Timed:
    """The first step alone, then some more; a training of one step has only that one."""
    device = training.loop.device
    reports = train_steps(
        training.network, training.objective, _steps(training, budget), optimizer, training.schedule, training.loop
    )
    memory = PeakMemory(device)
    began = time.perf_counter()
    done = [next(reports)]
    _wait(device)
    warm_up = seconds = time.perf_counter() - began
    if training.num_steps > 1:
        least, limit = _MEASURED_STEPS
        memory, done = PeakMemory(device), []
        most = min(limit, training.num_steps - 1)
        began = time.perf_counter()
        while len(done) < most and (len(done) < least or time.perf_counter() - began < _MEASURED_SECONDS):
            done.append(next(reports))
        _wait(device)
        seconds = time.perf_counter() - began
    return _Timed(warm_up, done, seconds, memory.peak(), memory.before, memory.what)


def _time_evaluation(training: Training) -> float | None:
    """Seconds of one scoring of the held-out records; None where there are none."""
    began = time.perf_counter()
    has_measures = bool(training.evaluate())
    _wait(training.loop.device)
    return time.perf_counter() - began if has_measures else None


def _relative_work(training: Training, measured: list[StepReport]) -> float:
    factors = [batch_factor_at(training.schedule, step) for step in range(training.num_steps)]
    own = [factors[report.step - 1] for report in measured]
    return sum(factors) / len(factors) / (sum(own) / len(own))


def _steps(training: Training, budget: MicrobatchBudget) -> Iterator[Microbatches]:
    growth = partial(batch_factor_at, training.schedule)
    for step in steps_from(training.examples, training.tokens_per_step, 0, training.loop.seed, growth=growth):
        yield Microbatches(step, training.examples, budget)


def _largest(training: Training, optimizer: torch.optim.Optimizer, tokens: int, device: torch.device) -> Largest | None:
    """By trying on CUDA, where running out of memory is an error; else estimated, as it may end the process."""
    total = int(training.examples.num_tokens.sum())
    taken: dict[int, int] = {}

    def try_with(size: int) -> None:
        step = next(steps_from(training.examples, size, 0, training.loop.seed))
        batch = training.examples.batch(step.units, step.epochs)
        taken[size] = len(batch.inputs)
        loop = replace(training.loop, on_nan="skip", warn=lambda text: None)
        next(train_steps(training.network, training.objective, [[batch]], optimizer, training.schedule, loop))

    tokens = min(tokens, total)
    limit = min(total, _MOST_TIMES * tokens)
    if device.type == "cuda":
        try:
            found = largest_batch(try_with, tokens, limit, precision=max(1, tokens // 4))
        except RunError:
            return None
        return Largest(tokens=found, is_tried=True, is_limit=found == limit)
    free = free_bytes(device)
    if device.type != "cpu" or free is None or tokens < 2:
        return None
    peaks = []
    for size in (tokens // 2, tokens):
        release_memory()
        memory = PeakMemory(device)
        try_with(size)
        peaks.append(memory.peak() - memory.before)
    growth, more = peaks[1] - peaks[0], taken[tokens] - taken[tokens // 2]
    if memory.since_start or growth < _LEAST_GROWTH or more <= 0:
        return None
    found = taken[tokens] + int((_USABLE * free - peaks[1]) * more / growth)
    return Largest(tokens=max(1, min(found, limit)), is_tried=False, is_limit=found >= limit)


def _size(tensors: Iterable[Tensor]) -> int:
    """Bytes; tensors that share their memory, as tied weights do, are counted once."""
    return sum({tensor.data_ptr(): tensor.numel() * tensor.element_size() for tensor in tensors}.values())


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
