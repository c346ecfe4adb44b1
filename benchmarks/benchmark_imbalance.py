"""Does any method against class imbalance help on proteins? Small networks on a long-tailed SCOP class task.

About 700 training proteins (of at most 256 residues) are drawn from the SCOP classes of ProteinBERT's benchmark so that
the sizes of the 7 classes fall geometrically from the most frequent to the rarest (Cui et al. 2019), with 1, 10, 50 and
100 times as many in the largest as in the smallest; the test set is balanced. Every method trains the same small CNN on
the same draws for the same number of epochs, and its last weights are scored. What was trained is kept in the result
file: a run that is started again goes on with the missing cells.

    python benchmarks/benchmark_imbalance.py --data FOLDER [--full] [--seeds 5] [--processes 2]
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import argparse
import csv
import gzip
import json
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from grid import compared, fill
from timing import RESULTS, write_report

RATIOS = (1, 10, 50, 100)
METHODS: dict[str, dict[str, str]] = {
    "softmax": {},
    "inverse frequency": {"loss": "inverse-frequency"},
    "focal": {"loss": "focal:gamma=2"},
    "class-balanced softmax": {"loss": "class-balanced:beta=0.999,form=softmax"},
    "class-balanced sigmoid": {"loss": "class-balanced:beta=0.999,form=sigmoid"},
    "class-balanced focal": {"loss": "class-balanced:beta=0.999,form=focal,gamma=2"},
    "LDAM": {"loss": "ldam"},
    "logit adjustment": {"loss": "logit-adjusted"},
    "square-root sampling": {"sampling": "square-root"},
    "balanced sampling": {"sampling": "balanced"},
    "mixup": {"mix": "mixup:alpha=1"},
    "ReMix": {"mix": "remix"},
}
TRAINING, TEST_PER_CLASS, LONGEST = 700, 40, 256


def read_classes(folder: Path) -> dict[str, dict[str, list[str]]]:
    """Sequences by set and class; those longer than 256 residues are left out."""
    found: dict[str, dict[str, list[str]]] = {"train": {}, "test": {}}
    with gzip.open(folder / "proteinbert_scop_class.csv.gz", "rt", newline="") as file:
        for row in csv.DictReader(file):
            if len(row["sequence"]) <= LONGEST:
                found[row["set"]].setdefault(row["scop_class"], []).append(row["sequence"])
    return found


def long_tailed(data: dict[str, dict[str, list[str]]], ratio: int, seed: int) -> list[tuple[str, str, str]]:
    """Rows of sequence, class and set: class sizes fall geometrically by ``ratio`` in all."""
    generator = np.random.default_rng((seed, ratio))
    names = sorted(data["train"], key=lambda name: -len(data["train"][name]))
    shape = ratio ** (-np.arange(len(names)) / (len(names) - 1))
    rows = []
    for name, share in zip(names, shape / shape.sum(), strict=True):
        count = min(max(2, round(TRAINING * share)), len(data["train"][name]))
        chosen = generator.permutation(len(data["train"][name]))[:count]
        rows += [(data["train"][name][i], name, "train") for i in chosen]
        test = generator.permutation(len(data["test"][name]))[:TEST_PER_CLASS]
        rows += [(data["test"][name][i], name, "test") for i in test]
    # No validation set: the same number of steps for everybody, and the last weights.
    rows.append((rows[0][0], rows[0][1], "valid"))
    return rows


def train(rows: list[tuple[str, str, str]], method: str, seed: int, epochs: int) -> dict[str, Any]:
    """Macro-F1, accuracy and recalls on the test rows after training with a method."""
    import torch
    from sklearn.metrics import f1_score, recall_score

    from seqtrain.batching import Examples
    from seqtrain.config import FinetuneConfig
    from seqtrain.encode import Tokens
    from seqtrain.fitting import Silent, fit
    from seqtrain.inference import InferenceConfig, sequence_outputs
    from seqtrain.recipes.finetuning import prepare_finetuning
    from seqtrain.spans import Spans

    torch.set_num_threads(1)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "table.csv"
        with table.open("w", newline="") as file:
            csv.writer(file).writerows([("sequence", "label", "set"), *rows])
        config = FinetuneConfig(
            table=str(table), target=("label",), task="classification", model="cnn", size="100K", epochs=epochs,
            seed=seed, num_evaluations=1, device="cpu", **METHODS[method],  # type: ignore[arg-type]
        )  # fmt: skip
        job = prepare_finetuning(config, Silent())
        run = Path(folder) / "run"
        run.mkdir()
        fit(job.training, run, Silent())
        test = np.flatnonzero(job.data.split.sets == "test")
        store = job.data.store
        spans = Spans.windows(test, store.lengths[test], config.max_length)
        examples = Examples(store=store, spans=spans, encoder=Tokens(store.alphabet))
        outputs = sequence_outputs(
            job.training.network, examples, InferenceConfig(device=torch.device("cpu"), precision="fp32")
        )[test]
    predicted = job.data.task.values(outputs).argmax(axis=1)
    true = np.asarray(job.data.targets)[test]
    labels = np.arange(job.data.task.outputs)
    recalls = recall_score(true, predicted, labels=labels, average=None, zero_division=0)
    return {
        "macro_f1": round(float(f1_score(true, predicted, labels=labels, average="macro", zero_division=0)), 4),
        "accuracy": round(float((true == predicted).mean()), 4),
        "recall": {
            str(name): round(float(value), 3) for name, value in zip(job.data.task.classes, recalls, strict=True)
        },
        "seconds": round(time.perf_counter() - started, 1),
    }


def prepared(
    data: dict[str, dict[str, list[str]]], ratio: int, method: str, seed: int, epochs: int
) -> tuple[Callable[..., dict[str, Any]], tuple[Any, ...]]:
    """What computes one cell."""
    return train, (long_tailed(data, ratio, seed), method, seed, epochs)


def summary(cells: dict[str, Any], seeds: int) -> dict[str, Any]:
    """Macro-F1 and its paired difference from plain softmax, for every ratio and method."""
    table: dict[str, Any] = {}
    for ratio in RATIOS:
        base = [cells.get(f"{ratio}|softmax|{seed}") for seed in range(seeds)]
        for method in METHODS:
            found = [cells.get(f"{ratio}|{method}|{seed}") for seed in range(seeds)]
            scores, bases = ([cell["macro_f1"] if cell else None for cell in each] for each in (found, base))
            table.setdefault(str(ratio), {})[method] = compared(scores, bases, "macro_f1")
    return table


def main() -> None:
    """Train what is missing, in turns over seeds, and write the table after every cell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--full", action="store_true", help="20 seeds and 30 epochs")
    parser.add_argument("--minutes", type=float, default=60, help="begin no cell after so long")
    options = parser.parse_args()
    seeds, epochs = (20, 30) if options.full else (options.seeds, options.epochs)
    name = "imbalance_full" if options.full else "imbalance"
    path = RESULTS / f"{name}.json"
    kept = json.loads(path.read_text()) if path.exists() else {}
    cells = kept.get("cells", {}) if kept.get("epochs") == epochs else {}
    data = read_classes(options.data)

    def write() -> None:
        write_report(
            name,
            "methods against class imbalance: macro-F1 on a balanced test set of SCOP classes",
            packages=("torch", "scikit-learn"),
            network="cnn 100K",
            epochs=epochs,
            seeds=seeds,
            table=summary(cells, seeds),
            cells=cells,
        )

    wanted = [(seed, ratio, method) for seed in range(seeds) for ratio in RATIOS for method in METHODS]
    missing = (
        (f"{ratio}|{method}|{seed}", partial(prepared, data, ratio, method, seed, epochs))
        for seed, ratio, method in wanted
        if f"{ratio}|{method}|{seed}" not in cells
    )
    fill(cells, missing, write, processes=options.processes, minutes=options.minutes)
    for ratio, row in summary(cells, seeds).items():
        print(f"imbalance {ratio}")
        for method, cell in row.items():
            print(
                f"  {method:<24}",
                cell if cell == "missing" else (cell["macro_f1"], cell["sd"], cell["difference"]),
            )


if __name__ == "__main__":
    main()
