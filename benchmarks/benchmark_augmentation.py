"""Does augmentation help on measured variants, and with how little data? Small networks on GB1 and fluorescence.

Every method trains the same small CNN on the same records (1, 10 or 100 % of at most 2,000) for the same number
of updates, and its last weights are scored by Spearman's correlation on at most 2,000 test records. The codon column
reads each protein as a coding sequence, back-translated once, whose synonymous codons change in every epoch. What was
trained is kept in the result file: a run that is started again goes on with the missing cells.

    python benchmarks/benchmark_augmentation.py --data FOLDER [--seeds 5] [--processes 2] [--full]
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
from typing import Any

import numpy as np
from grid import Grid, compared, grid_parser

TASKS: dict[str, dict[str, str]] = {
    "GB1, three against rest": {
        "file": "flip_gb1_splits.csv.gz", "sequence": "domain56", "target": "target", "set": "three_vs_rest",
    },
    "fluorescence": {
        "file": "tape_fluorescence.csv.gz", "sequence": "sequence", "target": "log_fluorescence", "set": "set",
    },
}  # fmt: skip
METHODS: dict[str, dict[str, Any]] = {
    "none": {},
    "none, and a pooled head": {"head": "pooled-head"},
    "BLOSUM62 at 0.02": {"augment": ("matrix-substitution:rate=0.02",)},
    "Murphy 10 groups at 0.05": {"augment": ("group-substitution:reduced=murphy10,rate=0.05",)},
    "mixup": {"mix": "mixup:alpha=0.4"},
    "cutmix": {"mix": "cutmix"},
    "gradient-sign at 0.01": {"adversarial": "gradient-sign:size=0.01"},
    "gradient-sign at 0.1": {"adversarial": "gradient-sign:size=0.1"},
    "BLOSUM62 and mixup": {"augment": ("matrix-substitution:rate=0.02",), "mix": "mixup:alpha=0.4"},
    "synonymous codons": {"alphabet": "codon", "augment": ("synonymous-codons:rate=0.5",)},
    "codons, not augmented": {"alphabet": "codon"},
}
HEAD = "aligned-head"
"""Variants of one protein: every position has weights of its own."""
NETWORK = f"cnn 100K, {HEAD}"
FRACTIONS = (0.01, 0.1, 1.0)
TRAINING, TEST = 2000, 2000


def read_rows(folder: Path, task: str) -> dict[str, list[tuple[str, str]]]:
    """Sequence and number of the training and the test records."""
    names, rows = TASKS[task], {"train": [], "test": []}  # type: dict[str, str], dict[str, list[tuple[str, str]]]
    with gzip.open(folder / names["file"], "rt", newline="") as file:
        for row in csv.DictReader(file):
            if row[names["set"]] in rows:
                rows[row[names["set"]]].append((row[names["sequence"]], row[names["target"]]))
    return rows


def chosen(rows: dict[str, list[tuple[str, str]]], fraction: float, seed: int) -> list[tuple[str, str, str]]:
    """Rows of sequence, number and set; smaller fractions are part of larger ones."""
    generator = np.random.default_rng(seed)
    train = generator.permutation(len(rows["train"]))[:TRAINING][: round(TRAINING * fraction)]
    test = np.random.default_rng(0).permutation(len(rows["test"]))[:TEST]
    made = [(*rows["train"][i], "train") for i in train] + [(*rows["test"][i], "test") for i in test]
    # No validation set: the same number of steps for everybody, and the last weights.
    return [*made, (*rows["train"][train[0]], "valid")]


def train(rows: list[tuple[str, str, str]], method: str, seed: int, steps: int) -> dict[str, Any]:
    """Spearman's correlation on the test rows after training with a method."""
    import torch
    from scipy.stats import spearmanr

    from seqtrain.augment import BackTranslation, augment
    from seqtrain.codon_usage_files import codon_usage
    from seqtrain.config import FinetuneConfig
    from seqtrain.fitting import Silent, fit
    from seqtrain.inference import InferenceConfig, sequence_outputs
    from seqtrain.recipes.finetuning import prepare_finetuning
    from seqtrain.recipes.training_examples import labeled_examples

    torch.set_num_threads(1)
    started = time.perf_counter()
    texts = [text for text, _, _ in rows]
    if METHODS[method].get("alphabet") == "codon":
        texts = augment(BackTranslation(usage=codon_usage("e_coli")), texts, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "table.csv"
        with table.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("sequence", "label", "set"))
            writer.writerows((text, label, name) for text, (_, label, name) in zip(texts, rows, strict=True))
        config = FinetuneConfig(
            table=str(table), target=("label",), task="regression", model="cnn", size="100K", steps=steps,
            seed=seed, num_evaluations=1, device="cpu", **{"head": HEAD} | METHODS[method],
        )  # fmt: skip
        job = prepare_finetuning(config, Silent())
        run = Path(folder) / "run"
        run.mkdir()
        fit(job.training, run, Silent())
        test = np.flatnonzero(job.data.split.sets == "test")
        outputs = sequence_outputs(
            job.training.network, labeled_examples(job.config, job.data, test),
            InferenceConfig(device=torch.device("cpu"), precision="fp32"),
        )[test]  # fmt: skip
    true = np.asarray(job.data.targets)[test, 0]
    return {
        "spearman": round(float(spearmanr(outputs[:, 0], true).statistic), 4),
        "seconds": round(time.perf_counter() - started, 1),
    }


def prepared(
    rows: dict[str, list[tuple[str, str]]], fraction: float, method: str, seed: int, steps: int
) -> tuple[Callable[..., dict[str, Any]], tuple[Any, ...]]:
    """What computes one cell."""
    return train, (chosen(rows, fraction, seed), method, seed, steps)


def summary(cells: dict[str, Any], seeds: int) -> dict[str, Any]:
    """Spearman's correlation and its paired difference from no augmentation, by task, fraction and method."""

    def scores(task: str, fraction: float, method: str) -> list[float | None]:
        found = [cells.get(f"{task}|{fraction}|{method}|{seed}") for seed in range(seeds)]
        return [cell["spearman"] if cell else None for cell in found]

    return {
        task: {
            f"{fraction:.0%}": {
                method: compared(scores(task, fraction, method), scores(task, fraction, "none"), "spearman")
                for method in METHODS
            }
            for fraction in FRACTIONS
        }
        for task in TASKS
    }


def main() -> None:
    """Train what is missing, in turns over seeds, and write the table after every cell."""
    parser = grid_parser(__doc__, seeds=5)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--full", action="store_true", help="20 seeds and 1,000 steps")
    options = parser.parse_args()
    seeds, steps = (20, 1000) if options.full else (options.seeds, options.steps)
    grid = Grid(
        name="augmentation_full" if options.full else "augmentation",
        title="augmentations on measured variants: Spearman's correlation of test records, by share of training data",
        packages=("torch", "scipy"),
        same={"network": NETWORK, "steps": steps},
        facts={"seeds": seeds},
        table=partial(summary, seeds=seeds),
    )
    data = {task: read_rows(options.data, task) for task in TASKS}
    wanted = (
        (f"{task}|{fraction}|{method}|{seed}", partial(prepared, data[task], fraction, method, seed, steps))
        for seed in range(seeds)
        for task in TASKS
        for fraction in FRACTIONS
        for method in METHODS
    )
    grid.fill(wanted, processes=options.processes, minutes=options.minutes)
    grid.show()


if __name__ == "__main__":
    main()
