"""What the benchmarks of pretraining share: a body pretrained for a budget of CPU-seconds, finetuned on real tasks.

Every cell of a grid is one seed of one way to pretrain (or of none), with its score on every task. Nothing differs
between the ways but the weights that the finetunings start from: the records, their order, the rates and the number of
updates are the same, there is no validation set, and the last weights are scored.
"""

from __future__ import annotations

import csv
import gzip
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

SCRATCH = "from scratch"
TIMED_STEPS, WARM_STEPS, TIMED_SECONDS = 60, 5, 15.0
"""Updates that are timed to find how many fit into a budget, after some that are not; fewer when they take long."""


class _Enough(Exception):
    """So many updates were timed that their time is known."""


@dataclass(frozen=True)
class LabeledTask:
    """A table of real labels, and how much of it is used."""

    file: str
    label: str
    kind: str
    metric: str
    test_set: str
    train: int
    """Training records at most."""
    test: int
    epochs: int
    mask: str | None = None
    """Column of residues that count."""
    longest: int = 256
    """Residues; longer proteins are left out."""
    folds_of_test: bool = False
    """Keep the training records of the classes in the test set only."""


TASKS: dict[str, LabeledTask] = {
    "SCOP class": LabeledTask(
        "proteinbert_scop_class.csv.gz", "scop_class", "classification", "accuracy", "test", 1000, 500, 2
    ),
    "remote homology": LabeledTask(
        "tape_remote_homology.csv.gz", "fold", "classification", "accuracy", "test", 1500, 718, 3, folds_of_test=True
    ),
    "stability": LabeledTask("tape_stability.csv.gz", "stability", "regression", "spearman", "test", 2000, 1000, 5),
    "SS3": LabeledTask(
        "secondary_structure_ss3.csv.gz", "ss3", "residue", "accuracy", "test_cb513", 200, 150, 5, mask="mask"
    ),
}


@dataclass(frozen=True)
class Plan:
    """What every cell of a grid has in common."""

    data: str
    """The folder with the tables."""
    corpus: str
    """FASTA to pretrain on."""
    held_out: str
    size: str
    tasks: dict[str, LabeledTask]

    def scaled(self, factor: int) -> Plan:
        """With so many times the labelled records, and the whole test sets."""
        tasks = {name: replace(task, train=factor * task.train, test=10**9) for name, task in self.tasks.items()}
        return replace(self, tasks=tasks)


def write_part(source: Path, target: Path, count: int, longest: int = 512) -> int:
    """Records of a gzipped FASTA that are no longer than so many residues, evenly spread over it; how many."""
    with gzip.open(source, "rt") as file:
        records = [record for record in file.read().split(">")[1:] if len(record) < longest]
    chosen = records[:: max(1, len(records) // count)][:count]
    target.write_text("".join(f">{record}" for record in chosen))
    return len(chosen)


def read_rows(folder: Path, task: LabeledTask) -> dict[str, list[tuple[str, ...]]]:
    """Sequence, label and mask of the training and the test records."""
    rows: dict[str, list[tuple[str, ...]]] = {"train": [], "test": []}
    with gzip.open(folder / task.file, "rt", newline="") as file:
        for row in csv.DictReader(file):
            part = "test" if row["set"] == task.test_set else row["set"]
            if part in rows and len(row["sequence"]) <= task.longest:
                rows[part].append((row["sequence"], row[task.label], *([row[task.mask]] if task.mask else [])))
    if task.folds_of_test:
        known = {row[1] for row in rows["train"]}
        rows["test"] = [row for row in rows["test"] if row[1] in known]
        asked = {row[1] for row in rows["test"]}
        rows["train"] = [row for row in rows["train"] if row[1] in asked]
    return rows


def write_table(folder: Path, task: LabeledTask, seed: int, target: Path) -> None:
    """A table of the records that a seed chooses to train on, and of the same test records for every seed."""
    rows = read_rows(folder, task)
    generator = np.random.default_rng(seed)
    train = [rows["train"][i] for i in generator.permutation(len(rows["train"]))]
    if task.folds_of_test:
        # A record of each class first: what a network was never shown it cannot answer.
        firsts = {row[1]: index for index, row in reversed(list(enumerate(train)))}
        ahead = set(firsts.values())
        train = [train[i] for i in sorted(ahead)] + [row for i, row in enumerate(train) if i not in ahead]
    test = [rows["test"][i] for i in np.random.default_rng(0).permutation(len(rows["test"]))[: task.test]]
    with target.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("sequence", "label", *(["mask"] if task.mask else []), "set"))
        writer.writerows((*row, "train") for row in train[: task.train])
        writer.writerows((*row, "test") for row in test)
        # A set of one, never looked at: the same number of updates for everybody, and the last weights.
        writer.writerow((*train[0], "valid"))


def pretraining(plan: Plan, words: str, seed: int, steps: int, output: str) -> Any:
    """The configuration of one pretraining."""
    from seqtrain.config import PretrainConfig

    return PretrainConfig(
        inputs=(plan.corpus,), valid=plan.held_out, output=output, size=plan.size, objective=words, seed=seed,
        steps=steps, num_evaluations=1, device="cpu",
    )  # fmt: skip


def seconds_per_step(plan: Plan, words: str) -> dict[str, Any]:
    """CPU-seconds of one update of an objective, see :func:`timed`; views are counted among the residues."""
    from seqtrain.fitting import Silent
    from seqtrain.recipes.pretraining import prepare_pretraining

    with tempfile.TemporaryDirectory() as folder:
        config = pretraining(plan, words, 0, TIMED_STEPS, folder)
        return timed(prepare_pretraining(config, Silent(), Path(folder)), Path(folder))


def timed(training: Any, folder: Path) -> dict[str, Any]:
    """CPU-seconds of one update of a training, the median of some, and the residues in it; it is left trained."""
    import torch

    from seqtrain.fitting import Silent, fit
    from seqtrain.training import StepReport

    torch.set_num_threads(1)
    ends: list[float] = []
    residues: list[int] = []

    class Clock(Silent):
        def step_done(self, report: StepReport, num_steps: int) -> None:
            ends.append(time.process_time())
            residues.append(report.num_residues)
            if len(ends) > 2 * WARM_STEPS and ends[-1] - ends[0] > TIMED_SECONDS:
                raise _Enough

    with suppress(_Enough):
        fit(training, folder, Clock())
    taken = statistics.median(np.diff(ends)[WARM_STEPS:])
    return {"cpu_seconds_per_step": float(f"{taken:.4g}"), "residues_per_step": round(statistics.mean(residues))}


def steps_within(budget: float, plan: Plan, words: str) -> dict[str, Any]:
    """How many updates of an objective so many CPU-seconds are, as measured, and the residues in them."""
    measured = seconds_per_step(plan, words)
    steps = max(1, round(budget / measured["cpu_seconds_per_step"]))
    return {**measured, "steps": steps, "residues_computed": steps * measured["residues_per_step"]}


def finetuned(plan: Plan, name: str, seed: int, origin: str | None) -> float:
    """The score of a finetuning on a task, from weights or from scratch."""
    import torch

    from seqtrain.config import FinetuneConfig
    from seqtrain.fitting import Silent, fit
    from seqtrain.recipes.finetuning import prepare_finetuning
    from seqtrain.recipes.held_out import outputs_of
    from seqtrain.recipes.training_examples import labeled_examples
    from seqtrain.scoring import measure, rows_of, true_values

    torch.set_num_threads(1)
    task = plan.tasks[name]
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "table.csv"
        write_table(Path(plan.data), task, seed, table)
        config = FinetuneConfig(
            table=str(table), target=("label",), task=task.kind, epochs=task.epochs, seed=seed, learning_rate=1e-3,
            init_from=origin, size=None if origin else plan.size, mask_column=task.mask, num_evaluations=1,
            device="cpu",
        )  # type: ignore[arg-type]  # fmt: skip
        job = prepare_finetuning(config, Silent())
        run = Path(folder) / "run"
        run.mkdir()
        fit(job.training, run, Silent())
        data = job.data
        test = np.flatnonzero(data.split.sets == "test")
        outputs = outputs_of(
            job.training.network, data.task, labeled_examples(job.config, data, test), job.training.loop
        )
        rows = rows_of(data.task, data, test)
        scores = measure(data.task, true_values(data.task, data)[rows], data.task.values(outputs[rows]))
    return round(float(scores[task.metric]), 4)


def cell(plan: Plan, words: str, seed: int, steps: int) -> dict[str, Any]:
    """The scores of one seed on every task, after so many updates of a pretraining; with 0, from scratch."""
    import torch

    from seqtrain.fitting import Silent
    from seqtrain.recipes.pretrain import pretrain

    torch.set_num_threads(1)
    facts: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        origin = None
        if steps:
            origin, started = f"{folder}/run", time.process_time()
            results = pretrain(pretraining(plan, words, seed, steps, origin), Silent())
            facts = {
                "pretraining_cpu_seconds": round(time.process_time() - started, 1),
                "steps": steps,
                "held_out": {name: round(float(value), 4) for name, value in results["valid"].items()},
            }
        started = time.process_time()
        scores = {name: finetuned(plan, name, seed, origin) for name in plan.tasks}
    return {**scores, **facts, "finetuning_cpu_seconds": round(time.process_time() - started, 1)}


def prepared(plan: Plan, words: str, seed: int, steps: int) -> tuple[Callable[..., dict[str, Any]], tuple[Any, ...]]:
    """What computes one cell."""
    return cell, (plan, words, seed, steps)
