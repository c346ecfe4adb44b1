"""What does a small network keep of an ensemble, and is it better than the same network trained on the labels alone?

For each task a few hundred labelled proteins are drawn, and others of the same data whose labels nobody sees. An
ensemble of larger CNNs is trained on the labels. A small CNN is then trained for equally many updates on the labels
alone, by distillation on the same proteins, and by distillation with the others as unlabelled sequences. All are scored
on the same test proteins after their last update, and the speeds of ensemble and student are measured in turns. A cell
is one task with one seed, which draws proteins and weights; what was computed is kept in the result file, and a run
that is started again goes on with the missing cells.

    python benchmarks/benchmark_distillation.py --data FOLDER [--seeds 3] [--members 4] [--processes 2] [--full]
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import csv
import gzip
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from grid import Grid, compared, grid_parser

TASKS: dict[str, dict[str, str]] = {
    "SCOP class": {"file": "proteinbert_scop_class", "target": "scop_class", "task": "classification"},
    "stability": {"file": "tape_stability", "target": "stability", "task": "regression"},
    "GB1, three against rest": {
        "file": "flip_gb1_splits", "sequence": "domain56", "target": "target", "set": "three_vs_rest",
        "task": "regression", "head": "aligned-head",
    },
    "secondary structure": {"file": "secondary_structure_ss3", "target": "ss3", "task": "residue", "mask": "mask"},
}  # fmt: skip
"""The columns and the settings of each; variants of one protein get a head with weights for every position."""
LABELLED, UNLABELLED, TEST, LONGEST = 500, 1500, 500, 200
TOKENS = 1024
"""Of an update: many small ones teach more than few large ones, where there is time for a few hundred thousand."""
TEACHER, STUDENT = "300K", "100K"
WAYS = ("labels alone", "distilled", "distilled with unlabelled")


def read_rows(folder: Path, task: str) -> dict[str, list[tuple[str, str, str]]]:
    """Sequence, label and mask ("" without one) of the training and the test records of up to 200 residues."""
    about, found = TASKS[task], {"train": [], "test": []}
    with gzip.open(folder / f"{about['file']}.csv.gz", "rt", newline="") as file:
        for row in csv.DictReader(file):
            name = row[about.get("set", "set")]
            sequence = row[about.get("sequence", "sequence")]
            where = "train" if name == "train" else "test" if name.startswith("test") else ""
            if where and len(sequence) <= LONGEST:
                found[where].append((sequence, row[about["target"]], row[about["mask"]] if "mask" in about else ""))
    return found


def drawn(rows: dict[str, list[tuple[str, str, str]]], seed: int) -> tuple[list[tuple[str, ...]], list[str]]:
    """The table of a cell (sequence, label, mask, set), and the sequences without labels."""
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(rows["train"]))[: LABELLED + UNLABELLED]
    train = [rows["train"][i] for i in order]
    test = [rows["test"][i] for i in generator.permutation(len(rows["test"]))[:TEST]]
    table = [(*row, "train") for row in train[:LABELLED]]
    # A class that no labelled record has could not be learnt by anybody.
    known = {row[1] for row in train[:LABELLED]}
    is_class = len(known) < LABELLED // 10
    table += [(*row, "test") for row in test if not is_class or row[1] in known]
    # No validation set: the same number of updates for everybody, and the last weights.
    table.append((*train[0], "valid"))
    held_out = {row[0] for row in test} | {train[0][0]}
    return table, [row[0] for row in train[LABELLED:] if row[0] not in held_out]


def compute(task: str, table: list[tuple[str, ...]], others: list[str], seed: int, steps: int, members: int) -> Any:
    """The scores of the ensemble and of each way to train the student, their speeds, and the seconds it took."""
    import torch

    from seqtrain.config import DistillConfig, FinetuneConfig
    from seqtrain.fitting import Silent, fit
    from seqtrain.recipes.distill import prepare_distillation
    from seqtrain.recipes.finetuning import FinetuningJob, prepare_finetuning
    from seqtrain.recipes.held_out import outputs_of
    from seqtrain.recipes.student_and_teacher import speeds
    from seqtrain.recipes.training_examples import labeled_examples
    from seqtrain.run import save_model
    from seqtrain.scoring import MAIN_METRIC, measure, rows_of, true_values

    torch.set_num_threads(1)
    started = time.process_time()
    about = TASKS[task]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (folder / "table.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("sequence", "label", "mask", "set"), *table])
        (folder / "others.fasta").write_text("".join(f">o{i}\n{text}\n" for i, text in enumerate(others)))
        given: dict[str, Any] = {
            "table": str(folder / "table.csv"), "target": ("label",), "task": about["task"], "split_column": "set",
            "mask_column": "mask" if "mask" in about else None, "head": about.get("head"), "model": "cnn",
            "steps": steps, "tokens_per_step": TOKENS, "num_evaluations": 1, "seed": seed, "device": "cpu",
        }  # fmt: skip

        def trained(job: FinetuningJob, run: Path) -> FinetuningJob:
            run.mkdir()
            fit(job.training, run, Silent())
            return job

        def score(job: FinetuningJob, network: torch.nn.Module, reading: Any) -> float:
            """The main metric on the test records."""
            task, records = job.data.task, job.data.split.indices("test")
            outputs = outputs_of(network, reading, labeled_examples(job.config, job.data, records), job.training.loop)
            rows = rows_of(task, job.data, records)
            metrics = measure(task, true_values(task, job.data)[rows], reading.values(outputs[rows]))
            return float(metrics[MAIN_METRIC[type(task)]])

        for number in range(members):
            run = folder / f"member{number}"
            config = FinetuneConfig(size=TEACHER, member=number, output=str(run), **given)
            job = trained(prepare_finetuning(config, Silent()), run)
            network: Any = job.training.network
            save_model(run, network, job.data.store.alphabet, job.data.task, config.max_length, {})
            (run / "run.json").write_text("{}")
        teachers = tuple(str(folder / f"member{number}") for number in range(members))
        found: dict[str, Any] = {}
        alone = prepare_finetuning(FinetuneConfig(size=STUDENT, output=str(folder / "alone"), **given), Silent())
        found["labels alone"] = score(alone, trained(alone, folder / "alone").training.network, alone.data.task)
        for way, unlabeled in (("distilled", ()), ("distilled with unlabelled", (str(folder / "others.fasta"),))):
            run = folder / way
            wanted = DistillConfig(size=STUDENT, output=str(run), teacher=teachers, unlabeled=unlabeled, **given)
            prepared = prepare_distillation(wanted, Silent())
            job = trained(prepared.job, run)
            found[way] = score(job, job.training.network, job.data.task)
        teacher = prepared.teacher.at_temperature(1.0)
        found["ensemble"] = score(job, teacher, teacher.task)
        test = labeled_examples(job.config, job.data, job.data.split.indices("test"))
        speed = speeds(job.training.network, test, teacher, test, job.training.loop)
    return {
        **{name: round(value, 4) for name, value in found.items()},
        "times_as_fast": round(speed.ratio, 2),
        "cpu_seconds": round(time.process_time() - started, 1),
    }


def prepared_cell(
    folder: Path, task: str, seed: int, steps: int, members: int
) -> tuple[Callable[..., dict[str, Any]], tuple[Any, ...]]:
    """What computes one cell."""
    return compute, (task, *drawn(read_rows(folder, task), seed), seed, steps, members)


def summary(cells: dict[str, Any], seeds: int) -> dict[str, Any]:
    """Per task the ensemble, each way with its difference from the labels alone and its share of the ensemble."""
    table: dict[str, Any] = {}
    for task in TASKS:
        found = [cells.get(f"{task}|{seed}") for seed in range(seeds)]
        there = [cell for cell in found if cell]
        scores = {
            way: [cell[way] if cell else None for cell in found] for way in ("ensemble", "labels alone", *WAYS[1:])
        }
        row: dict[str, Any] = {way: compared(each, scores["labels alone"], "score") for way, each in scores.items()}
        row["share of the ensemble"] = {
            way: round(mean(cell[way] / cell["ensemble"] for cell in there), 4) if there else "missing" for way in WAYS
        }
        row["times as fast"] = round(mean(cell["times_as_fast"] for cell in there), 2) if there else "missing"
        table[task] = row
    return table


def main() -> None:
    """Compute what is missing, in turns over seeds, and write the table after every cell."""
    parser = grid_parser(__doc__, seeds=3)
    parser.add_argument("--steps", type=int, default=400, help=f"updates of up to {TOKENS:,} tokens, of every network")
    parser.add_argument("--members", type=int, default=4)
    parser.add_argument("--full", action="store_true", help="10 seeds and 2,000 updates")
    options = parser.parse_args()
    seeds, steps = (10, 2000) if options.full else (options.seeds, options.steps)
    grid = Grid(
        name="distillation_full" if options.full else "distillation",
        title="a small network distilled from an ensemble, beside the same network trained on the labels alone",
        packages=("torch",),
        same={"steps": steps, "members": options.members},
        facts={
            "teacher": f"{options.members} cnn {TEACHER}",
            "student": f"cnn {STUDENT}",
            "labelled": LABELLED,
            "unlabelled": UNLABELLED,
            "tokens_per_step": TOKENS,
            "seeds": seeds,
        },
        table=partial(summary, seeds=seeds),
    )
    wanted = (
        (f"{task}|{seed}", partial(prepared_cell, options.data, task, seed, steps, options.members))
        for seed in range(seeds)
        for task in TASKS
    )
    grid.fill(wanted, processes=options.processes, minutes=options.minutes)
    grid.show()


if __name__ == "__main__":
    main()
