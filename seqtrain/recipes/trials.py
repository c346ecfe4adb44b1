"""One trial of a search: an ordinary finetuning that is judged on the validation records, and on nothing else."""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from seqtrain.config import FinetuneConfig
from seqtrain.errors import InputError
from seqtrain.fitting import Listener
from seqtrain.io.run_directory import replacing_folder
from seqtrain.io.splits import VALID
from seqtrain.labeled import LabeledData
from seqtrain.memory_use import PeakMemory
from seqtrain.models.network import Network
from seqtrain.recipes.finetune import digests, train, write_inputs
from seqtrain.recipes.finetuning import FinetuningJob, prepare_finetuning
from seqtrain.recipes.held_out import measures_of, outputs_of
from seqtrain.recipes.training_examples import labeled_examples
from seqtrain.run_record import finish_run, opened_run
from seqtrain.scoring import Scored, rows_of
from seqtrain.training import StepReport

COSTS = {
    "latency": "milliseconds per sequence of the validation set",
    "parameters": "of the network",
    "memory": "MiB that the training took at most",
}
"""What can be made small beside the score, and what it is measured in."""
_OUTPUTS = "valid_outputs"
_TIMED_RECORDS, _TIMED_RUNS = 256, 3
_SAID_EVERY_SECONDS = 60.0


class PrunedTrial(Exception):
    """A trial does so much worse than others that it is not worth its end."""


@dataclass(frozen=True, kw_only=True)
class Judge:
    """How trials are judged."""

    metric: str
    costs: tuple[str, ...]
    """Further objectives, of :data:`COSTS`."""
    data: LabeledData
    """As the fixed settings read it; every trial is judged on these validation records."""
    num_evaluations: int


@dataclass(kw_only=True)
class Watcher:
    """The listener of a trial: lets it end early, and says now and then how far it is."""

    listener: Listener
    name: str
    """Of the trial, as a person reads it."""
    judge: Judge
    report: Callable[[float, int], bool]
    """Takes the score at an evaluation, counted from 1; whether the trial should end."""
    said_at: float = field(default_factory=time.monotonic)

    def say(self, text: str) -> None:
        """Nothing: a search has one line per trial."""

    def step_done(self, report: StepReport, num_steps: int) -> None:
        """A line every minute."""
        if report.has_loss and time.monotonic() - self.said_at > _SAID_EVERY_SECONDS:
            self.said_at = time.monotonic()
            self.listener.say(f"{self.name}: step {report.step} of {num_steps}, loss {report.loss:.3f}")

    def evaluated(self, step: int, num_steps: int, measures: dict[str, float]) -> None:
        """Report the score; trials of other lengths are compared at the same fraction of their training."""
        if step == 0:
            return
        place = max(1, round(step * self.judge.num_evaluations / num_steps))
        score = measures[self.judge.metric]
        if self.report(score, place):
            raise PrunedTrial(
                f"at evaluation {place} of {self.judge.num_evaluations}, with {self.judge.metric} {score:.4g}"
            )


def run_trial(config: FinetuneConfig, folder: Path, judge: Judge, watcher: Watcher, command: str) -> list[float]:
    """Train into a folder, or go on there; the value of each objective, the score first.

    Raises:
        InputError: settings that cannot be used, or that change which records are judged.
        RunError, Stopped: as in a finetuning.
        PrunedTrial: it was ended early.
    """
    # What is chosen on the validation records after the training would make their score hopeful: the best run has it.
    rule = config.threshold if config.threshold is not None and _is_number(config.threshold) else None
    quiet = replace(config, output=str(folder), calibrate=None, threshold=rule, debug=False)
    memory = PeakMemory(torch.device("cpu")) if "memory" in judge.costs else None
    job = prepare_finetuning(quiet, watcher)
    if memory is not None and job.training.loop.device.type != "cpu":
        memory = PeakMemory(job.training.loop.device)
    _check_same_records(job.data, judge.data)
    valid = job.data.split.indices(VALID)
    with opened_run(folder, "finetune", job.config, digests(job), command, overwrite=False) as finished:
        if finished is None:
            write_inputs(folder, job)
            examples = labeled_examples(job.config, job.data, valid)
            started = time.monotonic()
            job, outputs = train(job, folder, watcher, judged=examples)
            peak = (memory.peak() - memory.before) / 2**20 if memory is not None else float("nan")
            measures = measures_of(job.data, outputs, valid)
            with replacing_folder(folder / _OUTPUTS) as partial:
                np.save(partial / "outputs.npy", outputs[rows_of(job.data.task, job.data, valid)])
            scored = Scored(name=VALID, num_records=len(valid), metrics=measures)
            finished = {
                "sets": [asdict(scored)],
                "costs": {**_costs(job, judge, valid), "memory": peak},
                "seconds": round(time.monotonic() - started, 1),
            }
            finish_run(folder, finished)
            finished = {**finished, "sets": [{"metrics": measures}]}
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    shutil.rmtree(folder / "features", ignore_errors=True)
    score = finished["sets"][0]["metrics"][judge.metric]
    if score is None or not np.isfinite(score):
        raise InputError(f"the {judge.metric} of the validation records is not a number; the outputs may be all alike")
    return [float(score), *(float(finished["costs"][name]) for name in judge.costs)]


def kept_outputs(folder: Path) -> NDArray[np.float32] | None:
    """What a finished trial answered on the rows of the validation records, (N, K) or (letters, K)."""
    path = folder / _OUTPUTS / "outputs.npy"
    return np.load(path, allow_pickle=False) if path.exists() else None


def without_model(folder: Path) -> None:
    """Make of a finished run what tells how it went: its settings, its measures and its outputs stay."""
    for name in ("model", "run.json", "task.json"):
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _costs(job: FinetuningJob, judge: Judge, valid: NDArray[np.int64]) -> dict[str, float]:
    network = job.training.network
    assert isinstance(network, Network)
    costs = {"parameters": float(sum(parameter.numel() for parameter in network.parameters()))}
    if "latency" in judge.costs:
        examples = labeled_examples(job.config, job.data, valid[:_TIMED_RECORDS])
        times = []
        for _ in range(_TIMED_RUNS):
            started = time.perf_counter()
            outputs_of(network, job.data.task, examples, job.training.loop)
            times.append(time.perf_counter() - started)
        costs["latency"] = 1000 * statistics.median(times) / len(valid[:_TIMED_RECORDS])
    return costs


def _check_same_records(data: LabeledData, reference: LabeledData) -> None:
    """Scores on other records cannot be compared.

    Raises:
        InputError: the settings of the trial change which records there are.
    """
    mine, others = (set(each.rows[each.split.indices(VALID)].tolist()) for each in (data, reference))
    if mine != others:
        raise InputError(
            f"these settings leave {len(mine):,} validation records where the others have {len(others):,}; scores on "
            "other records cannot be compared"
        )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
