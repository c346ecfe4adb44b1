"""`seqtrain imbalance` and sampling in finetuning, as typed."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from seqtrain_data import sample_path
from tests.cli.conftest import SEQUENCES, TINY, Command, table

TABLE = sample_path("chloroplast_functions.csv")


@pytest.fixture
def numbers(tmp_path: Path) -> Path:
    """A table with numbers for labels."""
    path = tmp_path / "numbers.csv"
    path.write_text(table(lambda i: i / 7))
    return path


def test_the_classes_of_the_training_records_are_shown(tmp_path: Path, command: Command) -> None:
    out = tmp_path / "classes.csv"
    done = command("imbalance", TABLE, "--target", "function", "-o", out)
    assert done.code == 0 and "20 in the largest class, 5 times the smallest" in done.out
    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert sum(int(row["count"]) for row in rows) == 68
    assert sum(float(row["share"]) for row in rows) == pytest.approx(1, abs=1e-3)
    assert {row["after cluster-centroids"] for row in rows} == {"4"}
    assert [row["after smote"] for row in rows] == [("too few" if row["count"] == "4" else "20") for row in rows]
    assert "--resample" in done.out and "smote:neighbours=3" in done.out


def test_numbers_have_no_classes(numbers: Path, command: Command) -> None:
    command("imbalance", numbers).refused("regression of label has no classes", "--task classification")


def test_sampling_says_the_shares_of_an_epoch_and_trains(tmp_path: Path, command: Command) -> None:
    words = ("finetune", TABLE, "--target", "function", "--sampling", "balanced", "-o", tmp_path / "run", *TINY)
    done = command(*words)
    assert done.code == 0
    # 74 examples (windows) in 7 classes: about 10 places for each, and more for those whose records have windows.
    (line,) = (line for line in done.err.splitlines() if line.startswith("classes in an epoch of balanced sampling: "))
    shares = [float(part.rpartition(" ")[2].rstrip("%")) for part in line.split(", ")]
    assert shares == pytest.approx([100 / 7] * 7, abs=1) and sum(shares) == pytest.approx(100, abs=0.5)


def test_sampling_of_numbers_is_refused(tmp_path: Path, numbers: Path, command: Command) -> None:
    command("finetune", numbers, "--sampling", "balanced", "-o", tmp_path / "run", *TINY).refused(
        "--sampling balanced: needs one class per sequence", "regression of label"
    )


def test_names_of_classes_are_shown_as_they_are(tmp_path: Path, command: Command) -> None:
    rows = "".join(f"{text},{':x:' if i % 2 else '[b]'}\n" for i, text in enumerate(SEQUENCES))
    (tmp_path / "names.csv").write_text(f"sequence,label\n{rows}")
    done = command("imbalance", tmp_path / "names.csv")
    assert done.code == 0 and ":x:" in done.out and "[b]" in done.out
