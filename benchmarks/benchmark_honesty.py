"""Do scores keep what they promise? Verdicts on shuffled labels and on real signal; coverage of the 95 % intervals.

Verdicts: tiny networks are finetuned on generated tables, once with labels shuffled over all records and once with real
ones, which depend on a pair of letters at a distance: words of one or two letters and single positions do not show it,
a convolution does. Counted is how often the summary calls the network better than the best simple model, and how often
no better than chance.

Coverage: records are drawn from known distributions, scored, and the interval is asked whether it holds the score of
four million records. Beside the intervals that runs report stand plain percentiles of the same resamples.

    python benchmarks/benchmark_honesty.py [--seeds 40] [--simulations 400] [--resamples 300] [--only verdicts|coverage]
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import argparse
import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from timing import RESULTS, write_report

from seqtrain.config import FinetuneConfig
from seqtrain.evaluation import metrics, weighted
from seqtrain.evaluation.intervals import Method, Weighted, weighted_intervals
from seqtrain.fitting import Silent
from seqtrain.io.delimited import write_table
from seqtrain.recipes.findings import score_sets
from seqtrain.recipes.finetune import train
from seqtrain.recipes.finetuning import prepare_finetuning
from seqtrain.scoring import Scored

Array = NDArray[Any]
LETTERS = np.array(list("ACDEFGHIKLMNPQRSTVWY"))
SETS = {"train": 300, "valid": 50, "test": 120}
CELLS, CELL, COPIES, DISTANCE = 6, 6, 4, 3
"""A sequence has cells of six letters, in four of which W and C stand three letters apart, behind up to six others."""
TRUTH = 4_000_000
COUNTS = {100: 4, 500: 2, 2000: 1}
"""Records, and how many times the simulations that were asked for: those of few records are cheap."""
METHODS: tuple[Method, ...] = ("bca", "percentile")


# Verdicts


def table_of(path: Path, kind: str, seed: int, *, shuffled: bool) -> None:
    """Sequences with W and C at a distance, in one order or the other; the label is which, or how often which."""
    rng = np.random.default_rng([seed, 1])
    rows = []
    for name, count in SETS.items():
        for _ in range(count):
            letters = rng.choice(LETTERS[2:18], CELLS * CELL)
            forward = rng.random(COPIES) < (rng.random() if kind == "regression" else rng.integers(2))
            starts = rng.choice(CELLS, COPIES, replace=False) * CELL
            for start, order in zip(starts, forward, strict=True):
                letters[[start, start + DISTANCE]] = list("WC" if order else "CW")
            letters = np.concatenate([rng.choice(LETTERS[2:18], rng.integers(CELL + 1)), letters])
            label = forward.sum() + 0.3 * rng.normal() if kind == "regression" else "ab"[int(forward[0])]
            rows.append(["".join(letters), str(label), name])
    if shuffled:
        labels = [rows[i][1] for i in rng.permutation(len(rows))]
        rows = [[sequence, label, name] for (sequence, _, name), label in zip(rows, labels, strict=True)]
    write_table(path, ("sequence", "label", "set"), rows)


def finetuned(kind: str, seed: int, *, shuffled: bool, steps: int) -> Scored:
    """The scores of a tiny network on the test set of such a table."""
    with tempfile.TemporaryDirectory() as folder:
        path, output = Path(folder) / "table.csv", Path(folder) / "run"
        output.mkdir()
        table_of(path, kind, seed, shuffled=shuffled)
        config = FinetuneConfig(
            table=str(path),
            output=str(output),
            model="cnn",
            size="20K",
            steps=steps,
            tokens_per_step=4096,
            learning_rate=5e-3,
            num_evaluations=4,
            device="cpu",
            seed=seed,
        )
        job = prepare_finetuning(config, Silent())
        job, outputs = train(job, output, Silent())
        return next(each for each in score_sets(job.data, outputs, seed) if each.name == "test")


def verdicts(seeds: int, steps: int) -> list[dict[str, Any]]:
    """How often each verdict is given."""
    found = []
    for shuffled in (True, False):
        for kind in ("classification", "regression"):
            started, said, no_better, scores = time.process_time(), Counter[str](), 0, []
            for seed in range(seeds):
                scored = finetuned(kind, seed, shuffled=shuffled, steps=steps)
                assert scored.lead is not None and scored.chance is not None
                said[scored.lead.words().partition(" than")[0]] += 1
                no_better += bool(scored.chance.chance_words())
                scores.append(scored.metrics["accuracy" if kind == "classification" else "spearman"])
            found.append(
                {
                    "task": kind,
                    "labels": "shuffled" if shuffled else "real",
                    "seeds": seeds,
                    "better_than_the_best_simple_model": said["better"] / seeds,
                    "not_better_or_worse": (said["not better"] + said["worse"]) / seeds,
                    "no_better_than_chance": no_better / seeds,
                    "mean_score": round(float(np.mean(scores)), 4),
                    "processor_seconds": round(time.process_time() - started, 1),
                }
            )
            print(json.dumps(found[-1]), flush=True)
    return found


# Coverage

Drawn = Callable[[np.random.Generator, int], tuple[Array, Array]]


def classes(shares: tuple[float, ...], right: tuple[float, ...]) -> Drawn:
    """True and predicted classes: right by chance and by skill."""

    def draw(rng: np.random.Generator, count: int) -> tuple[Array, Array]:
        true, guess = (rng.choice(len(shares), count, p=shares) for _ in range(2))
        return true, np.where(rng.random(count) < np.array(right)[true], true, guess)

    return draw


def normal_numbers(rng: np.random.Generator, count: int) -> tuple[Array, Array]:
    """Numbers and their predictions, normally distributed; Pearson's r is 0.7."""
    true = rng.normal(size=count)
    return true, 0.56 * true + 0.56 * rng.normal(size=count)


def skewed_numbers(rng: np.random.Generator, count: int) -> tuple[Array, Array]:
    """Exponential numbers, and predictions with errors of heavy tails."""
    true = rng.exponential(size=count)
    return true, 0.6 * true + 0.5 * rng.standard_t(5, size=count)


def two_classes(rng: np.random.Generator, count: int) -> tuple[Array, Array]:
    """Three in ten positive, and scores one standard deviation apart."""
    positive = rng.random(count) < 0.3
    return positive, positive + rng.normal(size=count)


def numbers(true: Array, predicted: Array) -> Weighted:
    return weighted.together(weighted.ranked(true, predicted), weighted.numbers(true, predicted))


CASES: dict[str, tuple[Drawn, Callable[..., Weighted], tuple[str, ...]]] = {
    "three classes": (
        classes((0.5, 0.3, 0.2), (0.8, 0.7, 0.6)),
        weighted.labels,
        ("accuracy", "balanced_accuracy", "macro_f1", "mcc"),
    ),
    "four classes, one of 5 %": (
        classes((0.5, 0.3, 0.15, 0.05), (0.85, 0.7, 0.6, 0.5)),
        weighted.labels,
        ("accuracy", "balanced_accuracy", "macro_f1", "mcc"),
    ),
    "normal numbers": (normal_numbers, numbers, ("spearman", "pearson", "r2", "mae")),
    "skewed numbers": (skewed_numbers, numbers, ("spearman", "pearson", "r2", "mae")),
    "two classes": (two_classes, weighted.areas, ("roc_auc",)),
}


def truth(draw: Drawn, seed: int) -> dict[str, float]:
    """The scores of four million records."""
    one, other = draw(np.random.default_rng(seed), TRUTH)
    if one.dtype == bool:
        return {"roc_auc": metrics.roc_auc(one, other)}
    return metrics.label_metrics(one, other) if one.dtype.kind == "i" else metrics.regression_metrics(one, other)


def coverage(simulations: int, resamples: int) -> list[dict[str, Any]]:
    """How often intervals hold the truth."""
    found = []
    for name, (draw, measured, shown) in CASES.items():
        known = truth(draw, 12345)
        for count, times in COUNTS.items():
            num_simulations = times * simulations
            held: dict[tuple[str, str], int] = Counter()
            widths: dict[tuple[str, str], float] = Counter()
            for seed in range(num_simulations):
                one, other = draw(np.random.default_rng([seed, count]), count)
                for method in METHODS:
                    intervals = weighted_intervals(
                        measured(one, other), count, num_resamples=resamples, method=method, seed=seed
                    )
                    for metric in shown:
                        low, high = intervals[metric]
                        held[method, metric] += low <= known[metric] <= high
                        widths[method, metric] += high - low
            for metric in shown:
                row: dict[str, Any] = {"data": name, "records": count, "metric": metric, "simulations": num_simulations}
                for method in METHODS:
                    row[method] = {
                        "coverage": held[method, metric] / num_simulations,
                        "mean_width": round(widths[method, metric] / num_simulations, 4),
                    }
                found.append(row)
                print(json.dumps(row), flush=True)
    return found


def main() -> None:
    """Measure what was asked for, keep the other part of an earlier result, and write both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--simulations", type=int, default=400)
    parser.add_argument("--resamples", type=int, default=300)
    parser.add_argument("--only", choices=["verdicts", "coverage"])
    arguments = parser.parse_args()
    parts: dict[str, Any] = {}
    if arguments.only != "coverage":
        parts["verdicts"] = verdicts(arguments.seeds, arguments.steps)
    if arguments.only != "verdicts":
        parts["coverage"] = coverage(arguments.simulations, arguments.resamples)
    path = RESULTS / "honesty.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    parts = {name: before[name] for name in ("verdicts", "coverage") if name in before} | parts
    write_report(
        "honesty",
        "verdicts on shuffled and real labels; coverage of 95 % intervals",
        packages=("numpy", "scipy", "scikit-learn", "torch"),
        **parts,
    )


if __name__ == "__main__":
    main()
