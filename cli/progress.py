"""What the user sees on stderr while a run trains: a moving line on a terminal, plain lines in a pipe."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from seqtrain.training import StepReport

_PLAIN_EVERY_SECONDS = 10.0
_SMOOTHING = 0.05
_SHOWN = ("loss", "perplexity", "accuracy", "spearman", "macro_f1", "micro_f1")


class StderrListener:
    """A listener of the library that writes to stderr."""

    def __init__(self) -> None:
        self._console = Console(file=sys.stderr, highlight=False, soft_wrap=True, emoji=False)
        self._progress: Progress | None = None
        self._task: Any = None
        self._loss = self._rate = float("nan")
        self._shown_at = time.monotonic()

    def __enter__(self) -> StderrListener:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop()

    def say(self, text: str) -> None:
        """One line of text."""
        self._console.print(text, markup=False)

    def step_done(self, report: StepReport, num_steps: int) -> None:
        """Move the line on, or write one every ten seconds when stderr is not a terminal."""
        if report.has_loss:
            self._loss = _smooth(self._loss, report.loss)
        amount, unit = _work(report)
        self._rate = _smooth(self._rate, amount / max(report.seconds, 1e-9))
        if self._console.is_terminal:
            self._show(report.step, num_steps, unit)
        elif time.monotonic() - self._shown_at > _PLAIN_EVERY_SECONDS:
            self._shown_at = time.monotonic()
            left = (num_steps - report.step) * amount / self._rate
            speed = f"{self._rate:,.0f} {unit}/s  {left:,.0f} s left"
            self.say(f"step {report.step}/{num_steps}  loss {self._loss:.3f}  {speed}")
        if report.step == num_steps:
            self._stop()

    def evaluated(self, step: int, num_steps: int, measures: dict[str, float]) -> None:
        """One line with the main measures of the held-out records."""
        if measures:
            shown = "  ".join(f"{name} {measures[name]:.3f}" for name in _SHOWN if name in measures)
            self.say(f"step {step}/{num_steps}  held out: {shown}")

    def _show(self, step: int, num_steps: int, unit: str) -> None:
        if self._progress is None:
            self._progress = Progress(
                TextColumn("step {task.completed}/{task.total}"),
                BarColumn(),
                TextColumn("loss {task.fields[loss]:.3f}  {task.fields[rate]:,.0f} {task.fields[unit]}/s"),
                TimeRemainingColumn(),
                console=self._console,
                transient=True,
            )
            self._task = self._progress.add_task(
                "", total=num_steps, completed=step, loss=self._loss, rate=self._rate, unit=unit
            )
            self._progress.start()
        self._progress.update(self._task, completed=step, loss=self._loss, rate=self._rate)

    def _stop(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


def _work(report: StepReport) -> tuple[int, str]:
    """What a step got through: residues, or sequences where their hidden states were computed before."""
    return (report.num_residues, "residues") if report.num_residues else (report.num_records, "sequences")


def _smooth(before: float, now: float) -> float:
    """Exponential mean; the first value counts whole."""
    return now if before != before else before + _SMOOTHING * (now - before)
