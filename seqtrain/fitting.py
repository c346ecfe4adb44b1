"""Around the loop: resume, log, evaluate, save, stop on a signal, and give the best weights back."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Protocol

import torch
from torch import nn
from torch.nn.utils import parametrize

from seqtrain.averaging import AveragedWeights, Averaging
from seqtrain.batching import Examples, MicrobatchBudget, Microbatches, steps_from
from seqtrain.checkpoint import (
    Progress,
    checkpoint_of_step,
    is_sound,
    latest_checkpoint,
    load_checkpoint,
    purge_checkpoints,
    save_checkpoint,
)
from seqtrain.errors import RunError, Stopped
from seqtrain.metrics_log import MetricsLog
from seqtrain.objectives import Objective
from seqtrain.optimizers import Optimizer
from seqtrain.schedules import Evaluation, Schedule, batch_factor_at
from seqtrain.stopping import Stopping
from seqtrain.training import LoopConfig, NotFinite, StepReport, train_steps

_SAVE_EVERY_SECONDS = 120
_LOGGED_STEPS = 500
_MOST_ROLLBACKS = 3


class Listener(Protocol):
    """Whoever shows the user what happens."""

    def say(self, text: str) -> None:
        """One line of text."""
        ...

    def step_done(self, report: StepReport, num_steps: int) -> None:
        """An update was made."""
        ...

    def evaluated(self, step: int, num_steps: int, measures: dict[str, float]) -> None:
        """The held-out records were scored."""
        ...


@dataclass(frozen=True)
class Silent:
    """A listener that shows nothing."""

    def say(self, text: str) -> None: ...
    def step_done(self, report: StepReport, num_steps: int) -> None: ...
    def evaluated(self, step: int, num_steps: int, measures: dict[str, float]) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Training:
    """Everything that is settled before the first step."""

    network: nn.Module
    objective: Objective
    examples: Examples
    optimizer: Optimizer
    schedule: Schedule
    loop: LoopConfig
    num_steps: int
    tokens_per_step: int
    tokens_per_microbatch: int
    num_evaluations: int
    evaluate: Callable[[], dict[str, float]]
    """Measures of the held-out records."""
    judged_by: str | None = None
    """The measure, smaller being better, by which schedules and early stopping judge; None: nothing is held out."""
    keep_best: bool = False
    """Keep the weights that were best by this measure, not the last ones; early stopping always does."""
    averaging: Averaging | None = None
    """Of the weights; the averaged ones are evaluated and kept."""
    stopping: Stopping | None = None
    """Ends the training early."""


def fit(training: Training, folder: Path, listener: Listener, *, tensorboard: bool = False) -> Progress:
    """Train to the end, from the newest sound checkpoint in ``folder`` if there is one; the network ends up trained.

    Raises:
        Stopped: SIGINT or SIGTERM came; the step was finished and saved first.
        RunError: loss or gradient not finite, or a full disk.
    """
    saved = folder / "checkpoints"
    optimizer = training.optimizer.build(training.network)
    average = training.averaging.build(training.network) if training.averaging else None
    keeper = _Keeper(training, saved, optimizer, average, listener)
    progress = keeper.resumed()
    with stop_signals() as stop, MetricsLog(folder, progress.step, tensorboard) as log:
        if progress.step == 0:
            progress = _evaluate(training, log, listener, progress, average)
            if training.loop.on_nan == "rollback":
                keeper.save(progress)
        num_rollbacks = 0
        while progress.stopped is None and progress.step < training.num_steps:
            ahead: list[int] = []
            try:
                for reached in _trained(training, progress, ahead, keeper, log, stop):
                    progress = reached
            except NotFinite as error:
                if training.loop.on_nan != "rollback" or num_rollbacks == _MOST_ROLLBACKS:
                    raise
                num_rollbacks += 1
                listener.say(f"{error}; back to the last checkpoint, to go on behind this step")
                progress = replace(keeper.resumed(), position=ahead[0])
    return _finished(training, saved, progress, average, listener)


def _trained(
    training: Training,
    progress: Progress,
    ahead: list[int],
    keeper: _Keeper,
    log: MetricsLog,
    stop: StopRequest,
) -> Iterator[Progress]:
    """Train on from some progress to the end, logging, evaluating and saving; yields the progress after every step.

    ``ahead`` holds where the data stands after the step that is being computed.
    """
    listener, average = keeper.listener, keeper.average
    logged_every = max(1, training.num_steps // _LOGGED_STEPS)
    evaluated_at = {
        round(training.num_steps * (i + 1) / training.num_evaluations) for i in range(training.num_evaluations)
    }
    history = list(progress.history)
    saved_at = time.monotonic()
    reports = train_steps(
        training.network,
        training.objective,
        _batches(training, progress, ahead),
        keeper.optimizer,
        training.schedule,
        replace(training.loop, warn=listener.say),
        first_step=progress.step,
        history=history,
    )
    for report in reports:
        progress = replace(
            progress,
            step=report.step,
            position=ahead.pop(0),
            loss_sum=progress.loss_sum + (0.0 if report.skipped else report.loss),
        )
        if average is not None and not report.skipped:
            average.update(training.network, report.step)
        listener.step_done(report, training.num_steps)
        if report.step % logged_every == 0 and not report.skipped:
            log.write("train", report.step, _measures(report))
        if report.step in evaluated_at:
            progress = _evaluate(training, log, listener, progress, average)
            history[:] = progress.history
        is_last = report.step == training.num_steps or progress.stopped is not None
        due = report.step in evaluated_at or is_last or time.monotonic() - saved_at > _SAVE_EVERY_SECONDS
        if due or stop.signal_number is not None:
            keeper.save(progress)
            saved_at = time.monotonic()
        yield progress
        if stop.signal_number is not None:
            raise Stopped(stop.signal_number, f"stopped and saved after step {report.step}; rerun to continue")
        if is_last:
            return


@dataclass(frozen=True)
class _Keeper:
    """Checkpoints of one training."""

    training: Training
    folder: Path
    optimizer: torch.optim.Optimizer
    average: AveragedWeights | None
    listener: Listener

    def save(self, progress: Progress) -> None:
        """Save everything, and remove what is no longer needed."""
        save_checkpoint(self.folder, self.training.network, self.optimizer, progress, self.average)
        purge_checkpoints(self.folder, progress)

    def resumed(self) -> Progress:
        """Load the newest sound checkpoint, if there is one."""
        path, damaged = latest_checkpoint(self.folder)
        for other in damaged:
            self.listener.say(f"{other}: damaged, passed over")
        if path is None:
            return Progress(step=0, position=0)
        progress = load_checkpoint(path, self.training.network, self.optimizer, self.average)
        if progress.step > self.training.num_steps:
            raise RunError(f"{path}: is beyond the last step, {self.training.num_steps}; choose another -o")
        self.listener.say(f"continuing after step {progress.step} of {self.training.num_steps}")
        return progress


def _finished(
    training: Training, saved: Path, progress: Progress, average: AveragedWeights | None, listener: Listener
) -> Progress:
    """Give the network the weights that are kept: the best ones if they are known, averaged if an average was taken."""
    if progress.stopped is not None:
        listener.say(f"stopped after step {progress.step} of {training.num_steps}: {progress.stopped}")
    if progress.best_step not in (None, progress.step):
        _load_best(checkpoint_of_step(saved, int(progress.best_step or 0)), training.network, average)
        listener.say(f"the weights of step {progress.best_step} were the best on the validation records and are kept")
    if average is not None:
        average.copy_to(training.network)
    _fold_parametrizations(training.network)
    return progress


def _fold_parametrizations(network: nn.Module) -> None:
    """Make plain weights of those that are computed from others, such as normalised ones; outputs stay the same."""
    for module in network.modules():
        if parametrize.is_parametrized(module):
            for name in list(module.parametrizations):  # type: ignore[arg-type]
                parametrize.remove_parametrizations(module, name, leave_parametrized=True)


def _load_best(path: Path, network: nn.Module, average: AveragedWeights | None) -> None:
    if not is_sound(path):
        raise RunError(f"{path}: the best weights are damaged; pass --overwrite to train anew")
    load_checkpoint(path, network, None, average)


def _batches(training: Training, progress: Progress, ahead: list[int]) -> Iterator[Microbatches]:
    """Steps as microbatches; where the data stands after each step is appended to ``ahead``."""
    examples, budget = training.examples, MicrobatchBudget(training.tokens_per_microbatch)
    steps = steps_from(
        examples,
        training.tokens_per_step,
        progress.position,
        training.loop.seed,
        first_step=progress.step,
        growth=partial(batch_factor_at, training.schedule),
    )
    for step in steps:
        ahead.append(step.next_position)
        yield Microbatches(step, examples, budget)


def _evaluate(
    training: Training, log: MetricsLog, listener: Listener, progress: Progress, average: AveragedWeights | None
) -> Progress:
    """Score the held-out records, with the averaged weights where there are any, and judge what that means."""
    with average.swapped(training.network) if average is not None else nullcontext():
        measures = training.evaluate()
    log.write("valid", progress.step, measures)
    listener.evaluated(progress.step, training.num_steps, measures)
    if training.judged_by is None or progress.step == 0:
        return progress
    score = measures[training.judged_by]
    before = progress.history[-1].step if progress.history else 0
    row = Evaluation(progress.step, score, progress.loss_sum / max(1, progress.step - before))
    progress = replace(progress, history=(*progress.history, row), loss_sum=0.0)
    if training.stopping is not None:
        progress = replace(progress, stopped=training.stopping(progress.history))
    if not training.keep_best and training.stopping is None:
        return progress
    if math.isfinite(score) and (progress.best_score is None or score < progress.best_score):
        return replace(progress, best_step=progress.step, best_score=score)
    return progress


def _measures(report: StepReport) -> dict[str, float]:
    return {
        "loss": report.loss,
        **report.measures,
        "gradient_norm": report.gradient_norm,
        "learning_rate": report.learning_rate,
        "residues": report.num_residues,
        "seconds": report.seconds,
    }


@dataclass
class StopRequest:
    """The signal that asked the training to end, once one has come."""

    signal_number: int | None = None


@contextmanager
def stop_signals() -> Iterator[StopRequest]:
    """Note the first SIGINT or SIGTERM and go on; the second one ends the process as usual.

    Outside the main thread, where Python cannot set handlers, signals keep their usual effect.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def note(number: int, frame: FrameType | None) -> None:
        request.signal_number = number
        for each, handler in before.items():
            signal.signal(each, handler)

    for number in before:
        signal.signal(number, note)
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
