"""How much of a pretrained network should be trained? Head only, all, layer by layer, by depth, or imprinted classes.

A small transformer is pretrained on unlabelled proteins (about a CPU minute; kept in --base and used again). Then it is
finetuned on the SCOP classes of ProteinBERT's benchmark, on proteins of at most 256 residues: 5 of each class, 20, or
all of a subset of 1,000, scored on the same test records in every cell. All ways take the same number of updates on the
same draws, without a validation set, and their last weights are scored; the imprinted head takes none, or the same as
the others. What was trained is kept in the result file: a run that is started again goes on with the missing cells.

    python benchmarks/benchmark_transfer.py --data FOLDER [--full] [--seeds 3] [--processes 1]
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import csv
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_imbalance import read_classes
from grid import Grid, compared, grid_parser
from transfer import write_part

SIZES: dict[str, int | None] = {"5": 5, "20": 20, "all": None}
"""Training records of each class; all: of a subset."""
RATE, LOW_RATE = 2e-3, 5e-4
"""Of the body at its peak, unless said otherwise; the head learns at twice the rate. The low one is the default."""
METHODS: dict[str, dict[str, Any]] = {
    "all": {},
    "head only": {"freeze": "body"},
    "gradual": {"freeze": "gradual"},
    "layer decay 0.7": {"layer_decay": 0.7},
    "imprinted, no step": {"head": "imprinted-head", "steps": 0},
    "imprinted, head only": {"head": "imprinted-head", "freeze": "body"},
}
FURTHER: dict[str, dict[str, Any]] = {
    "all, low rate": {"learning_rate": LOW_RATE},
    "head only, low rate": {"freeze": "body", "learning_rate": LOW_RATE},
    "gradual, low rate": {"freeze": "gradual", "learning_rate": LOW_RATE},
    "imprinted, all, low rate": {"head": "imprinted-head", "learning_rate": LOW_RATE},
    "all, not pretrained": {"init_from": None},
}
"""With --full only."""
SUBSET, TEST_PER_CLASS, BASE_SIZE = 1000, 40, "300K"


def pretrained(data: Path, base: Path, steps: int) -> dict[str, Any]:
    """Pretrain the network that all cells start from, unless that was done before; its results."""
    import torch

    from seqtrain.config import PretrainConfig
    from seqtrain.fitting import Silent
    from seqtrain.recipes.pretrain import pretrain

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus.fasta"
        write_part(data / "unlabeled_train.fasta.gz", corpus, 10_000)
        config = PretrainConfig(
            inputs=(str(corpus),), output=str(base), size=BASE_SIZE, steps=steps, device="cpu", num_evaluations=1,
            learning_rate=2e-3,
        )  # fmt: skip
        results = pretrain(config, Silent())
    return {"steps": steps, "perplexity": round(float(results["valid"]["perplexity"]), 3)}


def rows_for(data: dict[str, dict[str, list[str]]], size: int | None, seed: int) -> list[tuple[str, str, str]]:
    """Rows of sequence, class and set: so many training records of each class, and the test records of all seeds."""
    generator = np.random.default_rng(seed)
    everything = [(text, name) for name in sorted(data["train"]) for text in data["train"][name]]
    shuffled = [everything[i] for i in generator.permutation(len(everything))]
    if size is None:
        train = shuffled[:SUBSET]
    else:
        train = [row for name in sorted(data["train"]) for row in [each for each in shuffled if each[1] == name][:size]]
    fixed = np.random.default_rng(0)
    rows = [(*row, "train") for row in train]
    for name in sorted(data["test"]):
        chosen = fixed.permutation(len(data["test"][name]))[:TEST_PER_CLASS]
        rows += [(data["test"][name][i], name, "test") for i in chosen]
    # A set of one, never looked at: the same number of updates for everybody, and the last weights.
    rows.append((*train[0], "valid"))
    return rows


def train(rows: list[tuple[str, str, str]], base: str, method: str, seed: int, steps: int) -> dict[str, Any]:
    """Accuracy and macro-F1 on the test rows after training in one way, and the CPU-seconds it took."""
    import torch

    from seqtrain.config import FinetuneConfig
    from seqtrain.fitting import Silent, fit
    from seqtrain.recipes.finetuning import prepare_finetuning
    from seqtrain.recipes.held_out import outputs_of
    from seqtrain.recipes.training_examples import labeled_examples
    from seqtrain.scoring import measure, rows_of, true_values

    torch.set_num_threads(1)
    settings = {"init_from": base, "steps": steps, "learning_rate": RATE} | (METHODS | FURTHER)[method]
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "table.csv"
        with table.open("w", newline="") as file:
            csv.writer(file).writerows([("sequence", "label", "set"), *rows])
        config = FinetuneConfig(
            table=str(table), target=("label",), task="classification", seed=seed, num_evaluations=1, device="cpu",
            size=None if settings["init_from"] else BASE_SIZE, **settings,
        )  # fmt: skip
        job = prepare_finetuning(config, Silent())
        run = Path(folder) / "run"
        run.mkdir()
        started = time.process_time()
        fit(job.training, run, Silent())
        seconds = time.process_time() - started
        data = job.data
        test = np.flatnonzero(data.split.sets == "test")
        outputs = outputs_of(
            job.training.network, data.task, labeled_examples(job.config, data, test), job.training.loop
        )
        chosen = rows_of(data.task, data, test)
        scores = measure(data.task, true_values(data.task, data)[chosen], data.task.values(outputs[chosen]))
    return {
        "macro_f1": round(float(scores["macro_f1"]), 4),
        "accuracy": round(float(scores["accuracy"]), 4),
        "cpu_seconds": round(seconds, 1),
    }


def prepared(
    data: dict[str, dict[str, list[str]]], size: str, base: str, method: str, seed: int, steps: int
) -> tuple[Callable[..., dict[str, Any]], tuple[Any, ...]]:
    """What computes one cell."""
    return train, (rows_for(data, SIZES[size], seed), base, method, seed, steps)


def summary(cells: dict[str, Any], methods: Iterable[str], seeds: int) -> dict[str, Any]:
    """Macro-F1 and its paired difference from training everything, for every size and method."""
    table: dict[str, Any] = {}
    for size in SIZES:
        base = [cells.get(f"{size}|all|{seed}") for seed in range(seeds)]
        for method in methods:
            found = [cells.get(f"{size}|{method}|{seed}") for seed in range(seeds)]
            scores, bases = ([cell["macro_f1"] if cell else None for cell in each] for each in (found, base))
            row = compared(scores, bases, "macro_f1")
            if isinstance(row, dict):
                row["cpu_seconds"] = round(float(np.mean([cell["cpu_seconds"] for cell in found if cell])), 1)
            table.setdefault(size, {})[method] = row
    return table


def main() -> None:
    """Train what is missing, in turns over seeds, and write the table after every cell."""
    parser = grid_parser(__doc__, seeds=3, processes=1)
    parser.add_argument("--base", type=Path, default=Path("runs/transfer-base"), help="the pretrained run, made there")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--pretraining-steps", type=int, default=600)
    parser.add_argument("--full", action="store_true", help="10 seeds, 400 steps, 6,000 of pretraining, more ways")
    options = parser.parse_args()
    seeds, steps, before, folder = options.seeds, options.steps, options.pretraining_steps, options.base
    if options.full:
        seeds, steps, before, folder = 10, 400, 6000, folder.with_name(f"{folder.name}-full")
    methods = [*METHODS, *FURTHER] if options.full else [*METHODS]
    grid = Grid(
        name="transfer_full" if options.full else "transfer",
        title="what is trained of a pretrained network: macro-F1 on SCOP classes, by training records of each class",
        packages=("torch",),
        same={"steps": steps, "pretraining": pretrained(options.data, folder, before)},
        facts={"network": f"transformer {BASE_SIZE}", "seeds": seeds},
        table=partial(summary, methods=methods, seeds=seeds),
    )
    data = read_classes(options.data)
    base = str(folder.resolve())
    wanted = (
        (f"{size}|{method}|{seed}", partial(prepared, data, size, base, method, seed, steps))
        for seed in range(seeds)
        for size in SIZES
        for method in methods
    )
    grid.fill(wanted, processes=options.processes, minutes=options.minutes)
    grid.show()


if __name__ == "__main__":
    main()
