"""Around the loop: resume, log, evaluate, save, stop on a signal, and give the best weights back."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal, Protocol

from torch import nn

from seqtrain.averaging import AveragedWeights, Averaging
from seqtrain.bandit import BanditState
from seqtrain.batching import Examples, MicrobatchBudget, Microbatches, steps_from
from seqtrain.checkpoint import Progress
from seqtrain.errors import Stopped
from seqtrain.keeping import Keeper, finished
from seqtrain.learning_progress import loss_now
from seqtrain.metrics_log import MetricsLog
from seqtrain.microbatch_search import FIRST_TOKENS, kept_or_found
from seqtrain.objectives import Objective
from seqtrain.optimizers import Optimizer
from seqtrain.orders import ByProgress
from seqtrain.progress_steps import GroupStep, progress_steps
from seqtrain.schedules import Evaluation, Schedule, batch_factor_at, has_momentum, momentum_at
from seqtrain.stop_signals import StopRequest, stop_signals
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
    tokens_per_microbatch: int | Literal["auto"]
    """Computed at once; auto: as many as are found to fit before the first step."""
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

    @property
    def first_microbatch(self) -> int:
        """Tokens at once for what is done before their number is found."""
        return FIRST_TOKENS if self.tokens_per_microbatch == "auto" else self.tokens_per_microbatch


def fit(training: Training, folder: Path, listener: Listener, *, tensorboard: bool = False) -> Progress:
    """Train to the end, from the newest sound checkpoint in ``folder`` if there is one; the network ends up trained.

    Raises:
        Stopped: SIGINT or SIGTERM came; the step was finished and saved first.
        RunError: loss or gradient not finite, or a full disk.
    """
    saved = folder / "checkpoints"
    optimizer = training.optimizer.build(training.network)
    average = training.averaging.build(training.network) if training.averaging else None
    keeper = Keeper(training, saved, optimizer, average, listener)
    progress = keeper.resumed()
    progress = replace(progress, tokens_per_microbatch=_tokens_at_once(training, progress, folder, listener))
    if momentum_at(training.schedule, 0) is not None and not has_momentum(optimizer.param_groups):
        listener.say("the schedule cycles momentum, and this optimiser has none: only the rate is cycled")
    with stop_signals() as stop, MetricsLog(folder, progress.step, tensorboard) as log:
        if progress.step == 0:
            progress = _evaluate(training, log, listener, progress, average)
            if training.loop.on_nan == "rollback":
                keeper.save(progress)
        num_rollbacks = 0
        while progress.stopped is None and progress.step < training.num_steps:
            ahead: list[_Ahead] = []
            try:
                for reached in _trained(training, progress, ahead, keeper, log, stop):
                    progress = reached
            except NotFinite as error:
                if training.loop.on_nan != "rollback" or num_rollbacks == _MOST_ROLLBACKS:
                    raise
                num_rollbacks += 1
                listener.say(f"{error}; back to the last checkpoint, to go on behind this step")
                progress = ahead[0].behind(keeper.resumed(), progress)
                log.rewind(progress.step)
    return finished(training, saved, progress, average, listener)


def _trained(
    training: Training,
    progress: Progress,
    ahead: list[_Ahead],
    keeper: Keeper,
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
    budget = MicrobatchBudget(progress.tokens_per_microbatch or training.first_microbatch)
    reports = train_steps(
        training.network,
        training.objective,
        _batches(training, lambda: progress, budget, ahead),
        keeper.optimizer,
        training.schedule,
        replace(training.loop, warn=listener.say),
        first_step=progress.step,
        history=history,
    )
    for report in reports:
        progress = _advanced(training, progress, ahead.pop(0), report, budget)
        if average is not None and not report.skipped:
            average.update(training.network, report.step)
        listener.step_done(report, training.num_steps)
        if report.step % logged_every == 0 and report.has_loss:
            log.write("train", report.step, _measures(report))
        if report.step in evaluated_at:
            progress = _evaluate(training, log, listener, progress, average)
            history[:] = progress.history
            if isinstance(training.examples.order, ByProgress) and progress.bandit is not None:
                log.write("curriculum", report.step, training.examples.order.shares(progress.bandit))
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
class _Ahead:
    """A step that is being computed, and where the data stands after it."""

    batches: Microbatches
    position: int
    group: int | None = None
    """Of the examples, where a bandit has chosen it."""
    bandit: BanditState | None = None
    """With the examples of the step consumed, and nothing learnt from it yet."""
    probe: Microbatches | None = None
    """Other examples of the group, on which is measured what the step teaches."""
    probe_loss: float = math.nan
    """Before the update."""

    def behind(self, checkpoint: Progress, failed: Progress) -> Progress:
        """The progress of a checkpoint with the data behind this step, which failed after some later progress."""
        bandit = checkpoint.bandit
        if bandit is not None and self.bandit is not None:
            bandit = replace(bandit, consumed=self.bandit.consumed)
        tokens = failed.tokens_per_microbatch
        return replace(checkpoint, position=self.position, bandit=bandit, tokens_per_microbatch=tokens)


def _batches(
    training: Training, progress_now: Callable[[], Progress], budget: MicrobatchBudget, ahead: list[_Ahead]
) -> Iterator[Microbatches]:
    """Steps as microbatches, each laid out when it is asked for; what is known of each is appended to ``ahead``."""
    examples, start = training.examples, progress_now()
    growth = partial(batch_factor_at, training.schedule)
    if isinstance(examples.order, ByProgress):
        steps: Iterator[GroupStep] = progress_steps(
            examples, examples.order, training.tokens_per_step, progress_now, growth
        )
    else:
        plain = steps_from(
            examples,
            training.tokens_per_step,
            start.position,
            training.loop.seed,
            first_step=start.step,
            growth=growth,
        )
        steps = (GroupStep(step) for step in plain)
    for each in steps:
        batches = Microbatches(each.step, examples, budget)
        made = _Ahead(batches, each.step.next_position, each.group, each.bandit)
        if each.probe is not None:
            probe, step = Microbatches(each.probe, examples, budget), progress_now().step
            before = loss_now(training.network, training.objective, probe, training.loop, step)
            made = replace(made, probe=probe, probe_loss=before)
        ahead.append(made)
        yield batches


def _advanced(
    training: Training, progress: Progress, made: _Ahead, report: StepReport, budget: MicrobatchBudget
) -> Progress:
    """The progress after one more step."""
    return replace(
        progress,
        step=report.step,
        position=made.position,
        loss_sum=progress.loss_sum + (report.loss if report.has_loss else 0.0),
        num_losses=progress.num_losses + report.has_loss,
        tokens_per_microbatch=budget.tokens,
        bandit=_rewarded(training, made, report),
    )


def _rewarded(training: Training, made: _Ahead, report: StepReport) -> BanditState | None:
    """What the bandit, if there is one, knows after a step: how far the loss on its group fell, per work done."""
    order, bandit, group = training.examples.order, made.bandit, made.group
    if not isinstance(order, ByProgress) or bandit is None or group is None or made.probe is None or report.skipped:
        return bandit
    after = loss_now(training.network, training.objective, made.probe, training.loop, report.step - 1)
    work = training.examples.num_tokens[made.batches.step.units].sum() / training.tokens_per_step
    return order.bandit.rewarded(bandit, group, float((made.probe_loss - after) / work))


def _tokens_at_once(training: Training, progress: Progress, folder: Path, listener: Listener) -> int:
    """As set, or found by trying; fewer where memory ran out before the training was stopped."""
    if progress.tokens_per_microbatch is not None:
        return progress.tokens_per_microbatch
    if training.tokens_per_microbatch == "auto" and training.num_steps:
        return kept_or_found(training, folder, listener.say)
    return training.first_microbatch


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
    row = Evaluation(progress.step, score, progress.loss_sum / max(1, progress.num_losses))
    progress = replace(progress, history=(*progress.history, row), loss_sum=0.0, num_losses=0)
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
