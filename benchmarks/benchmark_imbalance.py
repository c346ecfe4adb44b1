"""Does any method against class imbalance help on proteins? Small networks on long-tailed tasks.

scop: about 700 training proteins (of at most 256 residues) are drawn from the SCOP classes of ProteinBERT's benchmark
so that the sizes of the 7 classes fall geometrically from the most frequent to the rarest (Cui et al. 2019), with 100,
50, 10 and 1 times as many in the largest as in the smallest, in this order; the test set is balanced.

homology: folds of TAPE's remote homology task, imbalanced by nature: 1,500 proteins (of at most 128 residues) are drawn
from the official training set, one of each fold and then any of the rest, so that many a fold keeps a single one. The
test set is up to 5 others of each fold from the same official training set: relatives are met, so that there is
something to learn at this scale. The official validation and test sets, whose proteins are remote, are scored beside it
as "official"; the folds are those that occur in them. Recall is given by how many training proteins a fold has.

Every method trains the same small CNN on the same draws for the same number of epochs, and its last weights are scored.
What was trained is kept in the result file: a run that is started again goes on with the missing cells.

    python benchmarks/benchmark_imbalance.py --data FOLDER [--task scop|homology] [--methods NAME …] [--full]
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import csv
import gzip
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from grid import Grid, compared, grid_parser
from numpy.typing import NDArray

RATIOS = (100, 50, 10, 1)
METHODS: dict[str, dict[str, str]] = {
    "softmax": {},
    "inverse frequency": {"loss": "inverse-frequency"},
    "focal": {"loss": "focal:gamma=2"},
    "class-balanced softmax": {"loss": "class-balanced:beta=0.999,form=softmax"},
    "class-balanced sigmoid": {"loss": "class-balanced:beta=0.999,form=sigmoid"},
    "class-balanced focal": {"loss": "class-balanced:beta=0.999,form=focal,gamma=2"},
    "class-balanced focal, beta 0.99": {"loss": "class-balanced:beta=0.99,form=focal,gamma=2"},
    "LDAM": {"loss": "ldam"},
    "logit adjustment": {"loss": "logit-adjusted"},
    "square-root sampling": {"sampling": "square-root"},
    "balanced sampling": {"sampling": "balanced"},
    "mixup": {"mix": "mixup:alpha=1"},
    "ReMix": {"mix": "remix"},
}
TRAINING, TEST_PER_CLASS, LONGEST = 700, 40, 256
HOMOLOGY, OFFICIAL = "homology", "official"
FOLDS_TRAINING, FOLDS_TEST_PER_CLASS, FOLDS_LONGEST = 1500, 5, 128
BINS = {"1": (1, 1), "2 to 5": (2, 5), "6 to 20": (6, 20), "more": (21, 10**9)}
"""Training proteins of a fold, least and most."""
ONLY_FULL = ("inverse frequency", "mixup")
EPOCHS = {"scop": (10, 60), HOMOLOGY: (12, 60)}
"""By task: of the committed grid, and with --full."""
Rows = list[tuple[str, str, str]]
"""Sequence, class and set of each; what is OFFICIAL is scored by itself."""


def read_classes(folder: Path) -> dict[str, dict[str, list[str]]]:
    """Sequences by set and class; those longer than 256 residues are left out."""
    found: dict[str, dict[str, list[str]]] = {"train": {}, "test": {}}
    with gzip.open(folder / "proteinbert_scop_class.csv.gz", "rt", newline="") as file:
        for row in csv.DictReader(file):
            if len(row["sequence"]) <= LONGEST:
                found[row["set"]].setdefault(row["scop_class"], []).append(row["sequence"])
    return found


def read_folds(folder: Path) -> dict[str, dict[str, list[str]]]:
    """Sequences by set and fold, of the folds in training that are in the official validation or test set too."""
    found: dict[str, dict[str, list[str]]] = {"train": {}, OFFICIAL: {}}
    with gzip.open(folder / "tape_remote_homology.csv.gz", "rt", newline="") as file:
        for row in csv.DictReader(file):
            if len(row["sequence"]) <= FOLDS_LONGEST:
                name = "train" if row["set"] == "train" else OFFICIAL
                found[name].setdefault(row["fold"], []).append(row["sequence"])
    both = found["train"].keys() & found[OFFICIAL].keys()
    return {name: {fold: texts for fold, texts in of_set.items() if fold in both} for name, of_set in found.items()}


def folds(data: dict[str, dict[str, list[str]]], seed: int) -> Rows:
    """One training protein of every fold, then others up to 1,500; up to 5 more of each fold, and the official ones."""
    generator = np.random.default_rng(seed)
    names = sorted(data["train"])
    shuffled = {
        name: [data["train"][name][i] for i in generator.permutation(len(data["train"][name]))] for name in names
    }
    rest = [(name, i) for name in names for i in range(1, len(shuffled[name]))]
    more = {rest[i] for i in generator.permutation(len(rest))[: FOLDS_TRAINING - len(names)]}
    rows = [(shuffled[name][0], name, "train") for name in names]
    rows += [(shuffled[name][i], name, "train") for name, i in sorted(more)]
    for name in names:
        others = [text for i, text in enumerate(shuffled[name]) if i and (name, i) not in more]
        rows += [(text, name, "test") for text in others[:FOLDS_TEST_PER_CLASS]]
    rows += [(text, name, OFFICIAL) for name in names for text in data[OFFICIAL][name]]
    # As below: the same number of steps for everybody, and the last weights.
    rows.append((rows[0][0], rows[0][1], "valid"))
    return rows


def long_tailed(data: dict[str, dict[str, list[str]]], ratio: int, seed: int) -> Rows:
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


def train(rows: Rows, method: str, seed: int, epochs: int, by_size: bool = False) -> dict[str, Any]:
    """Macro-F1, accuracy and recalls of the classes of the test rows, or of bins of them, after training."""
    import torch

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
            csv.writer(file).writerow(("sequence", "label", "set"))
            csv.writer(file).writerows((*row[:2], "test" if row[2] == OFFICIAL else row[2]) for row in rows)
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
    predicted = np.asarray(job.data.task.classes)[job.data.task.values(outputs).argmax(axis=1)]
    sets = np.array([name for _, _, name in rows if name in ("test", OFFICIAL)])
    true = np.array([label for _, label, name in rows if name in ("test", OFFICIAL)])
    sizes = Counter(label for _, label, name in rows if name == "train") if by_size else None
    found = scores(true[sets == "test"], predicted[sets == "test"], sizes)
    if by_size:
        found[OFFICIAL] = scores(true[sets == OFFICIAL], predicted[sets == OFFICIAL], sizes)
    return {**found, "seconds": round(time.perf_counter() - started, 1)}


def scores(true: NDArray[np.str_], predicted: NDArray[np.str_], sizes: Counter[str] | None) -> dict[str, Any]:
    """Of the classes that are met; recall by class or, with the training rows of each, by bins of these."""
    from sklearn.metrics import f1_score, recall_score

    labels = np.unique(true)
    recalls = recall_score(true, predicted, labels=labels, average=None, zero_division=0).round(4).tolist()
    return {
        "macro_f1": round(float(f1_score(true, predicted, labels=labels, average="macro", zero_division=0)), 4),
        "accuracy": round(float((true == predicted).mean()), 4),
        "recall": _binned(dict(zip(labels.tolist(), recalls, strict=True)), sizes)
        if sizes
        else dict(zip(labels.tolist(), recalls, strict=True)),
    }


def _binned(recalls: dict[str, float], sizes: Counter[str]) -> dict[str, float | None]:
    """Mean recall of the classes with so many training rows; None where there is none."""
    means: dict[str, float | None] = {}
    for name, (least, most) in BINS.items():
        inside = [recall for label, recall in recalls.items() if least <= sizes[label] <= most]
        means[name] = round(sum(inside) / len(inside), 4) if inside else None
    return means


def prepared(
    data: dict[str, dict[str, list[str]]], group: str, method: str, seed: int, epochs: int
) -> tuple[Callable[..., dict[str, Any]], tuple[Any, ...]]:
    """What computes one cell; the group is a ratio of the SCOP classes, or the folds."""
    if group == HOMOLOGY:
        return train, (folds(data, seed), method, seed, epochs, True)
    return train, (long_tailed(data, int(group), seed), method, seed, epochs)


def summary(cells: dict[str, Any], groups: Sequence[str], seeds: int) -> dict[str, Any]:
    """Macro-F1 and its paired difference from plain softmax, for every method on every ratio and on the folds."""
    table: dict[str, Any] = {}
    for group in groups:
        base = [cells.get(f"{group}|softmax|{seed}") for seed in range(seeds)]
        for method in METHODS:
            found = [cells.get(f"{group}|{method}|{seed}") for seed in range(seeds)]
            scores, bases = ([cell["macro_f1"] if cell else None for cell in each] for each in (found, base))
            table.setdefault(group, {})[method] = compared(scores, bases, "macro_f1")
    return table


def main() -> None:
    """Train what is missing, ratio by ratio and in turns over seeds, and write the table after every cell."""
    parser = grid_parser(__doc__, seeds=5)
    parser.add_argument("--task", choices=tuple(EPOCHS), default="scop", help="whose cells are filled")
    parser.add_argument("--epochs", type=int, help="of the task; 10 for scop and 12 for homology")
    parser.add_argument("--full", action="store_true", help="20 seeds, 60 epochs, and two methods more")
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=list(METHODS), help="that are trained")
    options = parser.parse_args()
    seeds = 20 if options.full else options.seeds
    epochs = options.epochs or EPOCHS[options.task][options.full]
    scop = options.task == "scop"
    data = read_classes(options.data) if scop else read_folds(options.data)
    groups = tuple(map(str, RATIOS)) if scop else (HOMOLOGY,)
    grid = Grid(
        name=("imbalance" if scop else "imbalance_homology") + ("_full" if options.full else ""),
        title="methods against class imbalance: macro-F1 on a balanced test set of "
        + ("SCOP classes" if scop else "folds"),
        packages=("torch", "scikit-learn"),
        same={"network": "cnn 100K", "epochs": epochs, "head": "starts at a quarter"},
        facts={"seeds": seeds},
        table=partial(summary, groups=groups, seeds=seeds),
    )
    wanted = (
        (f"{group}|{method}|{seed}", partial(prepared, data, group, method, seed, epochs))
        for group in groups
        for seed in range(seeds)
        for method in options.methods
        if options.full or method not in ONLY_FULL
    )
    grid.fill(wanted, processes=options.processes, minutes=options.minutes)
    grid.show()


if __name__ == "__main__":
    main()
