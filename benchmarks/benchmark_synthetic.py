"""Do synthetic members of rare classes help? Small networks on folds of TAPE's remote homology task, half of them rare.

24 folds are chosen by the seed among those of which at least 15 proteins (of at most 300 residues) can be aligned to
the one most like all; these make the class, at most 40 of them, and 5 of them are kept for scoring. They may be close
relatives of training proteins. 12 of the folds keep 10 training proteins each, the others all they have. Each method
gives the rare folds 30 more rows (over-sampling: as many repetitions as it takes), and the same small CNN is trained
for the same number of steps; its last weights are scored. How many folds got synthetic rows, and from which model, is
part of the result. What was trained is kept in the result file: a run that is started again goes on with the missing
cells.

    python benchmarks/benchmark_synthetic.py --data FOLDER [--seeds 3] [--steps 400] [--processes 2] [--minutes 40]
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

METHODS = ("nothing", "over-sampling", "BLOSUM copies", "synthetic: profile", "synthetic: VAE")
FOLDS, RARE, FAMILY, TEST, KEPT, ADDED, LONGEST = 24, 12, 15, 5, 10, 30, 300
HEADER = ("id", "sequence", "fold", "set")
Rows = list[tuple[str, ...]]


class Heard:
    """A listener that keeps the lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        """One line."""
        self.lines.append(text)

    def step_done(self, report: object, num_steps: int) -> None: ...
    def evaluated(self, step: int, num_steps: int, measures: dict[str, float]) -> None: ...


def read_folds(folder: Path) -> dict[str, list[str]]:
    """Training sequences of at most 300 residues by fold, of folds with 15 or more."""
    found: dict[str, list[str]] = {}
    with gzip.open(folder / "tape_remote_homology.csv.gz", "rt", newline="") as file:
        for row in csv.DictReader(file):
            if row["set"] == "train" and len(row["sequence"]) <= LONGEST:
                found.setdefault(row["fold"], []).append(row["sequence"])
    distinct = {fold: sorted(set(sequences)) for fold, sequences in found.items()}
    return {fold: sequences for fold, sequences in sorted(distinct.items()) if FAMILY <= len(sequences) <= 200}


def families(folds: dict[str, list[str]], generator: np.random.Generator) -> dict[str, list[str]]:
    """The members that can be aligned, at most 40, of the first 24 folds in which there are enough of them."""
    from seqtrain.generate.star_alignment import align_family

    chosen: dict[str, list[str]] = {}
    for fold in generator.permutation(sorted(folds)).tolist():
        some = [folds[fold][i] for i in generator.permutation(len(folds[fold]))[:40]]
        try:
            _, used = align_family(some, [str(i) for i in range(len(some))], fold)
        except ValueError:
            continue
        if len(used) >= FAMILY:
            chosen[fold] = [some[i] for i in used]
        if len(chosen) == FOLDS:
            break
    return chosen


def long_tailed(folds: dict[str, list[str]], seed: int) -> tuple[Rows, list[str]]:
    """Rows of the table, and the names of the rare folds."""
    generator = np.random.default_rng((seed, 24))
    folds = families(folds, generator)
    chosen = list(folds)
    rare = chosen[:RARE]
    rows: Rows = []
    for fold in chosen:
        order = generator.permutation(len(folds[fold])).tolist()
        learnt = order[TEST : TEST + KEPT] if fold in rare else order[TEST:]
        for name, members in (("test", order[:TEST]), ("train", learnt)):
            rows += [(f"{fold}.{i}", folds[fold][i], f"fold {fold}", name) for i in members]
    # No validation set: the same number of steps for everybody, and the last weights.
    rows.append(("valid", rows[-1][1], rows[-1][2], "valid"))
    return rows, [f"fold {fold}" for fold in rare]


def enlarged(rows: Rows, rare: list[str], method: str, seed: int, folder: Path) -> tuple[Path, dict[str, int]]:
    """The table that a method trains on, and what it got out of the rare folds."""
    from seqtrain.recipes.augment import AugmentConfig, augment_file
    from seqtrain.recipes.synthesize import SynthesizeConfig, synthesize_file

    heard, table, out = Heard(), folder / "table.csv", folder / "enlarged.csv"
    write(table, rows)
    learnt = [row for row in rows if row[2] in rare and row[3] == "train"]
    if method == "BLOSUM copies":
        write(folder / "rare.csv", learnt)
        config = AugmentConfig(
            words=("matrix-substitution:rate=0.1",), copies=ADDED // KEPT, seed=seed, keep_original=False
        )
        augment_file(folder / "rare.csv", folder / "copies.csv", config, heard)
        with (folder / "copies.csv").open(newline="") as file:
            copies = [tuple(row[name] for name in HEADER) for row in csv.DictReader(file)]
        write(out, rows + copies)
        return out, {"rows": len(copies)}
    if method.startswith("synthetic"):
        by = "vae" if method.endswith("VAE") else "profile"
        wanted = SynthesizeConfig(target=("fold",), below=KEPT + 1, count=ADDED, by=by, seed=seed)  # type: ignore[arg-type]
        synthesize_file(table, out, wanted, heard)
        with out.open(newline="") as file:
            made = [row for row in csv.DictReader(file) if row["source"] == "synthetic"]
        fallen = sum("so these are drawn from" in line for line in heard.lines)
        return out, {"rows": len(made), "folds": len({row["fold"] for row in made}), "folds_by_profile": fallen}
    return table, {"rows": 0}


def write(path: Path, rows: Rows) -> None:
    """A table of :data:`HEADER`."""
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([HEADER, *rows])


def train(rows: Rows, rare: list[str], method: str, seed: int, steps: int) -> dict[str, Any]:
    """Macro-F1 over all folds and over the rare ones, and accuracy, on the test rows."""
    import torch
    from sklearn.metrics import f1_score

    from seqtrain.config import FinetuneConfig
    from seqtrain.fitting import Silent, fit
    from seqtrain.recipes.finetuning import prepare_finetuning
    from seqtrain.recipes.held_out import outputs_of
    from seqtrain.recipes.training_examples import labeled_examples

    torch.set_num_threads(1)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            table, got = enlarged(rows, rare, method, seed, folder)
        except ValueError as error:  # no rare fold could be aligned
            table, got = folder / "table.csv", {"rows": 0, "folds": 0}
            print(method, seed, error)
        config = FinetuneConfig(
            table=str(table), target=("fold",), task="classification", model="cnn", size="100K", steps=steps,
            sampling="balanced" if method == "over-sampling" else "natural", seed=seed, num_evaluations=1,
            device="cpu",
        )  # fmt: skip
        job = prepare_finetuning(config, Silent())
        run = folder / "run"
        run.mkdir()
        fit(job.training, run, Silent())
        test = np.flatnonzero(job.data.split.sets == "test")
        examples = labeled_examples(job.config, job.data, test)
        outputs = outputs_of(job.training.network, job.data.task, examples, job.training.loop)[test]
    predicted, true = outputs.argmax(axis=1), np.asarray(job.data.targets)[test]
    classes = list(job.data.task.classes)  # type: ignore[union-attr]
    chosen = [classes.index(each) for each in rare]
    scores = {"macro_f1": range(len(classes)), "rare_f1": chosen}
    return {
        **{
            measure: round(float(f1_score(true, predicted, labels=list(labels), average="macro", zero_division=0)), 4)
            for measure, labels in scores.items()
        },
        "accuracy": round(float((true == predicted).mean()), 4),
        **got,
        "seconds": round(time.perf_counter() - started, 1),
    }


def prepared(
    folds: dict[str, list[str]], method: str, seed: int, steps: int
) -> tuple[Callable[..., dict[str, Any]], tuple[Any, ...]]:
    """What computes one cell."""
    return train, (*long_tailed(folds, seed), method, seed, steps)


def summary(cells: dict[str, Any], seeds: int) -> dict[str, Any]:
    """Both F1 of every method and their paired differences from plain training."""
    table: dict[str, Any] = {}
    for measure in ("macro_f1", "rare_f1"):
        of = {method: [cells.get(f"{method}|{seed}", {}).get(measure) for seed in range(seeds)] for method in METHODS}
        table[measure] = {method: compared(of[method], of["nothing"], measure) for method in METHODS}
    return table


def main() -> None:
    """Train what is missing, in turns over seeds, and write the table after every cell."""
    parser = grid_parser(__doc__, seeds=3, minutes=40)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--name", default="synthetic", help="of the result file")
    options = parser.parse_args()
    grid = Grid(
        name=options.name,
        title="more rows for rare folds: macro-F1 on held-out members, all folds and the rare ones",
        packages=("torch", "scikit-learn", "biopython"),
        same={"network": "cnn 100K", "steps": options.steps},
        facts={"seeds": options.seeds},
        table=partial(summary, seeds=options.seeds),
    )
    folds = read_folds(options.data)
    wanted = (
        (f"{method}|{seed}", partial(prepared, folds, method, seed, options.steps))
        for seed in range(options.seeds)
        for method in METHODS
    )
    grid.fill(wanted, processes=options.processes, minutes=options.minutes)
    grid.show()


if __name__ == "__main__":
    main()
