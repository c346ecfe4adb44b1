"""What docs/evaluation.md promises of verdicts and intervals is what benchmarks/results/honesty.json holds."""

from __future__ import annotations

import json
from pathlib import Path

RESULT = json.loads((Path(__file__).parents[2] / "benchmarks/results/honesty.json").read_text(encoding="utf-8"))
PROMISED = ("accuracy", "balanced_accuracy", "macro_f1", "mcc", "spearman", "pearson", "r2", "roc_auc")


def test_shuffled_labels_are_never_called_better() -> None:
    shuffled = [row for row in RESULT["verdicts"] if row["labels"] == "shuffled"]
    assert len(shuffled) == 2 and all(row["seeds"] >= 40 for row in shuffled)
    assert all(row["not_better_or_worse"] >= 0.95 and row["no_better_than_chance"] >= 0.95 for row in shuffled)
    real = [row for row in RESULT["verdicts"] if row["labels"] == "real"]
    assert len(real) == 2 and all(row["better_than_the_best_simple_model"] >= 0.5 for row in real)


def test_intervals_hold_the_truth_as_often_as_promised() -> None:
    rows = [row for row in RESULT["coverage"] if row["metric"] in PROMISED]
    assert {row["records"] for row in rows} == {100, 500, 2000} and {row["metric"] for row in rows} == set(PROMISED)
    short = {
        (row["data"], row["records"], row["metric"]): row["bca"]["coverage"]
        for row in rows
        if not 0.93 <= row["bca"]["coverage"] <= 0.97
    }
    assert set(short) == {("four classes, one of 5 %", 100, "balanced_accuracy")}
    assert min(short.values()) >= 0.91
