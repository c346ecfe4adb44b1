"""Does resampling in the space of hidden states help a head on a frozen body? The long-tailed SCOP class task.

Training and test sets are those of ``benchmark_imbalance.py``: about 700 training proteins of 7 classes whose sizes
fall geometrically, with 10, 50 and 100 times as many in the largest as in the smallest, and a balanced test set. A
small body is pretrained once on proteins without labels (or given with --from); its hidden states of every protein,
averaged over the residues, are computed once per draw of the training set, and every method trains the same fresh head
on them for the same number of steps. What was trained is kept in the result file: a run that is started again goes on
with the missing draws.

    python benchmarks/benchmark_resampling.py --data FOLDER [--from RUN] [--seeds 5] [--processes 1]
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
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_imbalance import long_tailed, read_classes
from grid import Grid, compared, grid_parser

RATIOS = (10, 50, 100)
PLAIN = "softmax"
METHODS: dict[str, str | None] = {
    PLAIN: None,
    "balanced sampling": None,
    "SMOTE": "smote",
    "borderline-SMOTE": "borderline-smote",
    "SMOTE, then Tomek links": "smote-tomek",
    "interpolation": "interpolation",
    "extrapolation": "extrapolation",
    "Tomek links": "tomek-links",
    "cluster centroids": "cluster-centroids",
}
"""And --resample of each; neighbours are 5, or as many as the smallest class allows."""
UNLABELLED = "unlabeled_train.fasta.gz"
PRETRAINED_ON, RESIDUES, MODEL, SIZE = 6000, 1_500_000, "cnn", "300K"
"""Sequences at most, residues with repetitions, and the body and its parameters."""


def pretrained(folder: Path, work: Path) -> Path:
    """A body of a fixed size, pretrained on a fixed number of residues; one that is there already is taken."""
    from seqtrain.config import PretrainConfig
    from seqtrain.fitting import Silent
    from seqtrain.recipes.pretrain import pretrain

    work.mkdir(parents=True, exist_ok=True)
    corpus = work / "corpus.fasta"
    if not corpus.exists():
        kept, number = [], 0
        with gzip.open(folder / UNLABELLED, "rt") as file:
            for line in file:
                number += line.startswith(">")
                if number > PRETRAINED_ON:
                    break
                kept.append(line)
        corpus.write_text("".join(kept))
    settings: dict[str, Any] = {"model": MODEL, "size": SIZE, "residues": RESIDUES, "num_evaluations": 2}
    pretrain(PretrainConfig(inputs=(str(corpus),), output=str(work / "body"), device="cpu", **settings), Silent())
    return work / "body"


def train_group(
    rows: list[tuple[str, str, str]], body: str, seed: int, epochs: int, methods: list[str]
) -> dict[str, Any]:
    """Scores of the test rows after training the head with each of some methods, and the classes in training."""
    import torch

    from seqtrain.config import FinetuneConfig
    from seqtrain.features import feature_outputs, pooled_features
    from seqtrain.fitting import Silent, fit
    from seqtrain.imbalance import sampled
    from seqtrain.inference import InferenceConfig
    from seqtrain.recipes.features import with_features
    from seqtrain.recipes.finetuning import prepare_finetuning
    from seqtrain.recipes.training_examples import labeled_examples
    from seqtrain.resampling import Resampling
    from seqtrain.words import read_words

    torch.set_num_threads(1)
    cpu = InferenceConfig(device=torch.device("cpu"))
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "table.csv"
        with table.open("w", newline="") as file:
            csv.writer(file).writerows([("sequence", "label", "set"), *rows])
        config = FinetuneConfig(
            table=str(table), target=("label",), task="classification", init_from=body, freeze="body",
            head="pooled-head:pooling=mean", epochs=epochs, tokens_per_step=8192, tokens_per_microbatch=8192,
            seed=seed, num_evaluations=1, device="cpu",
        )  # fmt: skip
        job = prepare_finetuning(config, Silent())
        data, network = job.data, job.training.network
        once = with_features(job, Path(folder), Silent())
        start = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        test = np.flatnonzero(data.split.sets == "test")
        held_out = labeled_examples(job.config, data, test)
        features = pooled_features(network, held_out, "mean", cpu)  # type: ignore[arg-type]
        plain = once.examples
        records, vectors = plain.spans.records, plain.features  # type: ignore[attr-defined]
        assert len(np.unique(records)) == len(records), "no training protein has windows"
        classes = data.targets[records].astype(np.int64)
        smallest = int(np.bincount(classes).min())
        for method in methods:
            started = time.perf_counter()
            examples, words = plain, METHODS[method]
            if method == "balanced sampling":
                examples = replace(plain, order=sampled(classes, "balanced", seed))
            elif words is not None:
                if "smote" in words or "polation" in words:
                    words = f"{words}:neighbours={min(5, smallest - 1)}"
                points = read_words(words, Resampling, "resampling")[0](vectors, classes, seed)
                examples = plain.with_points(records[points.kept], points.made, points.made_classes)  # type: ignore[attr-defined]
            network.load_state_dict(start)
            run = Path(folder) / method
            run.mkdir()
            fit(replace(once, examples=examples), run, Silent())
            outputs = feature_outputs(network, features, held_out.spans, len(data.store), cpu)[test]  # type: ignore[arg-type]
            after = np.bincount(examples.example_targets.astype(np.int64))  # type: ignore[attr-defined]
            found[method] = scores(data, test, outputs) | {
                "classes": after.tolist(),
                "seconds": round(time.perf_counter() - started, 1),
            }
    return found


def scores(data: Any, test: np.ndarray, outputs: np.ndarray) -> dict[str, Any]:
    """Macro-F1, accuracy and the recall of each class."""
    from sklearn.metrics import f1_score, recall_score

    predicted, true = data.task.values(outputs).argmax(axis=1), np.asarray(data.targets)[test]
    labels = np.arange(data.task.outputs)
    recalls = recall_score(true, predicted, labels=labels, average=None, zero_division=0)
    return {
        "macro_f1": round(float(f1_score(true, predicted, labels=labels, average="macro", zero_division=0)), 4),
        "accuracy": round(float((true == predicted).mean()), 4),
        "recall": {str(name): round(float(value), 3) for name, value in zip(data.task.classes, recalls, strict=True)},
    }


def summary(groups: dict[str, Any], seeds: int) -> dict[str, Any]:
    """Macro-F1 and its paired differences from plain training and from balanced sampling, for every ratio."""
    table: dict[str, Any] = {}
    for ratio in RATIOS:
        row = [groups.get(f"{ratio}|{seed}", {}) for seed in range(seeds)]
        values = {
            method: [cells[method]["macro_f1"] if method in cells else None for cells in row] for method in METHODS
        }
        for method in METHODS:
            cell = compared(values[method], values[PLAIN], "macro_f1")
            if isinstance(cell, dict):
                other = compared(values[method], values["balanced sampling"], "macro_f1")
                assert isinstance(other, dict)
                cell |= {f"{name}_from_balanced": other[name] for name in ("difference", "sd_of_difference")}
            table.setdefault(str(ratio), {})[method] = cell
    return table


def prepared(
    data: dict[str, Any], ratio: int, seed: int, body: Path, epochs: int
) -> tuple[Callable[..., dict[str, Any]], tuple[Any, ...]]:
    """What computes the cells of one draw of the training set."""
    return train_group, (long_tailed(data, ratio, seed), str(body), seed, epochs, list(METHODS))


def main() -> None:
    """Train what is missing, in turns over seeds, and write the table after every draw."""
    parser = grid_parser(__doc__, seeds=5, processes=1, minutes=30)
    parser.add_argument("--from", dest="body", type=Path, help="a run whose body is taken; else one is pretrained")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "seqtrain_resampling")
    parser.add_argument("--epochs", type=int, default=20)
    options = parser.parse_args()
    grid = Grid(
        name="resampling",
        title="resampling in the space of hidden states: macro-F1 of a head, on a balanced test set of SCOP classes",
        packages=("torch", "scikit-learn", "imbalanced-learn"),
        same={"epochs": options.epochs},
        facts={
            "body": "--from" if options.body else f"{MODEL} {SIZE}, pretrained on {RESIDUES:,} residues",
            "seeds": options.seeds,
        },
        table=partial(summary, seeds=options.seeds),
    )
    body = options.body or pretrained(options.data, options.work)
    data = read_classes(options.data)
    wanted = (
        (f"{ratio}|{seed}", partial(prepared, data, ratio, seed, body, options.epochs))
        for seed in range(options.seeds)
        for ratio in RATIOS
    )
    grid.fill(wanted, processes=options.processes, minutes=options.minutes)
    grid.show()


if __name__ == "__main__":
    main()
