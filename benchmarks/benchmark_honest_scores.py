"""What scores on published tasks are worth: two small networks beside simple models, and beside published numbers.

Each network is trained from scratch by `seqtrain finetune` on all training records of a task for the same CPU-seconds
(how many updates those are is measured first), and scored on its test records, or on a part of them that is drawn once,
with 95 % intervals. The simple models are those that every finetuning fits to the same training records. SCOP class is
split once more, at random and by homology, so that the difference says how much of the score was due to relatives in
the training set. One seed: intervals are over test records, not over seeds. What was trained is kept in the result
file: a run that is started again goes on with the missing cells.

    python benchmarks/benchmark_honest_scores.py --data FOLDER [--cpu-seconds 180] [--size 300K] [--processes 1]
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
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from grid import Grid, grid_parser
from transfer import TIMED_STEPS, timed

MOST_TESTED = 4000
"""Records of a test set; of larger ones so many are drawn."""


@dataclass(frozen=True, kw_only=True)
class PublishedTask:
    """A table of real labels, and what others reached on it."""

    file: str
    label: str
    metric: str
    published: str
    sequence: str = "sequence"
    sets: str | None = "set"
    """The column that says which set a record is in; None: a split is made."""
    names: tuple[tuple[str, str], ...] = ()
    """Cells of it that mean train, valid or a test set by another name; others are left out, where any is given."""
    kind: str = "auto"
    mask: str | None = None
    head: str | None = None
    """Of both networks; variants of one protein have a weight for every position."""
    split_by: str | None = None


GB1 = partial(
    PublishedTask, file="flip_gb1_splits.csv.gz", label="target", metric="spearman", sequence="domain56",
    kind="regression", head="aligned-head",
)  # fmt: skip
SCOP = partial(
    PublishedTask, file="proteinbert_scop_class.csv.gz", label="scop_class", metric="accuracy", kind="classification",
)  # fmt: skip
TASKS: dict[str, PublishedTask] = {
    "SCOP class": SCOP(published="ProteinBERT .593, pretrained .884"),
    "SCOP class, random split": SCOP(published="", sets=None, split_by="random"),
    "SCOP class, homology split": SCOP(published="", sets=None, split_by="homology:identity=0.3"),
    "remote homology": PublishedTask(
        file="tape_remote_homology.csv.gz", label="fold", metric="accuracy", kind="classification",
        published="ProteinBERT .063, pretrained .219; TAPE LSTM .26, one-hot .09",
    ),
    "stability": PublishedTask(
        file="tape_stability.csv.gz", label="stability", metric="spearman", kind="regression",
        published="ProteinBERT .634, pretrained .762; TAPE transformer .73",
    ),
    "fluorescence": PublishedTask(
        file="tape_fluorescence.csv.gz", label="log_fluorescence", metric="spearman", kind="regression",
        head="aligned-head", published="ProteinBERT .647, pretrained .663; TAPE transformer .68",
    ),
    "GB1 one against rest": GB1(sets="one_vs_rest", published="PLMFit one-hot .332, best .457"),
    "GB1 two against rest": GB1(sets="two_vs_rest", published="FLIP ridge .59, ESM-1b .55 (from memory)"),
    "GB1 three against rest": GB1(sets="three_vs_rest", published="PLMFit one-hot .838, best .879"),
    "GB1 low against high": GB1(sets="low_vs_high", published="FLIP ridge .34, ESM-1b .59 (from memory)"),
    "GB1 sampled": GB1(sets="sampled", published=""),
    "HER2": PublishedTask(
        file="her2_trastuzumab_h3.csv.gz", label="label", metric="mcc", sequence="aa_seq", sets="nta_split",
        names=(("train_pool", "train"), ("test", "test")), kind="classification", head="aligned-head",
        published="another split: PLMFit best .390",
    ),
    "secondary structure": PublishedTask(
        file="secondary_structure_ss3.csv.gz", label="ss3", metric="accuracy", kind="residue", mask="mask",
        names=(("train", "train"), ("valid", "valid"), ("test_cb513", "test_cb513"), ("test_new364", "test_new364")),
        published="CB513: TAPE one-hot .69, ProteinBERT .704, pretrained .740",
    ),
}  # fmt: skip
NETWORKS = ("cnn", "transformer")


def write_table(folder: Path, task: PublishedTask, target: Path) -> None:
    """The records of a task as a table, with at most so many of each test set."""
    with gzip.open(folder / task.file, "rt", newline="") as file:
        rows = list(csv.DictReader(file))
    names = dict(task.names)
    columns = ["sequence", "label", *(["mask"] if task.mask else []), *(["set"] if task.sets else [])]
    made, tested = [], {}
    for row in rows:
        name = row[task.sets] if task.sets else ""
        name = names.get(name, "" if names else name)
        if task.sets and not name:
            continue
        cells = [row[task.sequence], row[task.label], *([row[task.mask]] if task.mask else [])]
        if name.startswith("test"):
            tested.setdefault(name, []).append([*cells, name])
        else:
            made.append([*cells, *([name] if task.sets else [])])
    for records in tested.values():
        drawn = np.sort(np.random.default_rng(0).permutation(len(records))[:MOST_TESTED])
        made += [records[i] for i in drawn]
    with target.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(made)


def with_sets(table: Path, sets: list[str]) -> str:
    """The path of a copy of a table with the set of each record beside it."""
    with table.open(newline="") as file:
        header, *rows = csv.reader(file)
    path = table.with_name("with_sets.csv")
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*header, "set"])
        writer.writerows([*row, name] for row, name in zip(rows, sets, strict=True))
    return str(path)


def train(data: str, name: str, network: str, size: str, budget: float) -> dict[str, Any]:
    """One network on one task: what its run found on every test set."""
    import torch

    from seqtrain.config import FinetuneConfig
    from seqtrain.fitting import Silent
    from seqtrain.recipes.finetune import finetune
    from seqtrain.recipes.finetuning import prepare_finetuning

    torch.set_num_threads(1)
    task = TASKS[name]
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "table.csv"
        write_table(Path(data), task, table)
        settings: dict[str, Any] = {
            "table": str(table), "target": ("label",), "sequence_column": "sequence", "task": task.kind,
            "mask_column": task.mask, "model": network, "size": size, "head": task.head, "split_by": task.split_by,
            "device": "cpu", "num_evaluations": 5,
        }  # fmt: skip
        warm = FinetuneConfig(**settings, steps=TIMED_STEPS, output=f"{folder}/timed")
        Path(f"{folder}/timed").mkdir()
        job = prepare_finetuning(warm, Silent())
        if task.split_by:
            # Relatives are sought once.
            settings |= {"table": with_sets(table, job.data.split.sets.tolist()), "split_by": None}
        measured = timed(job.training, Path(folder) / "timed")
        steps = max(1, round(budget / measured["cpu_seconds_per_step"]))
        started = time.process_time()
        results = finetune(FinetuneConfig(**settings, steps=steps, output=f"{folder}/run"), Silent())
    sets = {
        each["name"]: {
            "records": each["num_records"],
            "score": round(each["metrics"][task.metric], 4),
            "interval": [round(end, 4) for end in each["intervals"].get(task.metric, ())],
            "simple": {other: _known(found[task.metric]) for other, found in each["baselines"].items()},
            "lead": each["lead"],
        }
        for each in results["sets"]
        if each["name"].startswith("test")
    }
    facts = {**measured, "steps": steps, "cpu_seconds": round(time.process_time() - started, 1)}
    return {**facts, "leakage": results.get("leakage"), "sets": sets}


def _known(value: float) -> float | None:
    """Four digits, or None where a metric is not defined, as the correlation of a constant."""
    return None if value != value else round(value, 4)


def prepared(*arguments: Any) -> tuple[Callable[..., dict[str, Any]], tuple[Any, ...]]:
    """What computes one cell."""
    return train, arguments


def summary(cells: dict[str, Any]) -> dict[str, Any]:
    """By task and test set: both networks with their intervals, the simple models, and what was published."""
    table: dict[str, Any] = {}
    for name, task in TASKS.items():
        found = {network: cells[f"{name}|{network}"] for network in NETWORKS if f"{name}|{network}" in cells}
        for test_set in dict.fromkeys(each for cell in found.values() for each in cell["sets"]):
            of_set = {network: cell["sets"][test_set] for network, cell in found.items()}
            first = next(iter(of_set.values()))
            table[f"{name}, {test_set}"] = {
                "metric": task.metric,
                "records": first["records"],
                **{
                    network: "missing"
                    if network not in of_set
                    else [of_set[network]["score"], *of_set[network]["interval"]]
                    for network in NETWORKS
                },
                **first["simple"],
                "published": task.published,
            }
        if not found:
            table[name] = "missing"
    return table


def main() -> None:
    """Train what is missing, and write the table after every cell."""
    parser = grid_parser(__doc__, seeds=None, processes=1, minutes=150)
    parser.add_argument("--size", default="300K")
    parser.add_argument("--cpu-seconds", type=float, default=180, help="of each training")
    parser.add_argument("--tasks", nargs="*", choices=TASKS, default=list(TASKS))
    options = parser.parse_args()
    grid = Grid(
        name="honest_scores",
        title="small networks beside simple models on published tasks, with 95 % intervals over test records",
        packages=("torch", "scikit-learn"),
        same={"size": options.size, "training_cpu_seconds": options.cpu_seconds, "most_tested": MOST_TESTED},
        table=summary,
    )
    wanted = (
        (f"{name}|{network}", partial(prepared, str(options.data), name, network, options.size, options.cpu_seconds))
        for name in options.tasks
        for network in NETWORKS
    )
    grid.fill(wanted, processes=options.processes, minutes=options.minutes)
    grid.show()


if __name__ == "__main__":
    main()
