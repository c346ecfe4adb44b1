"""Split files say what was written, are matched by row and name, and are refused where they are of another table."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from seqtrain.errors import InputError
from seqtrain.io.split_file import facts_beside, read_split, write_split

NAMES = ["a", "b, with a comma", 'c "quoted"', "d"]
SETS = np.array(["train", "valid", "test", "train"])
FOLDS = {"set": SETS, "fold_1": SETS, "fold_2": SETS[::-1]}
ROWS = np.array([0, 1, 3, 4])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A split of four of five rows, in two folds."""
    path = tmp_path / "split.csv"
    write_split(path, ROWS, NAMES, FOLDS, {"made_how": "2 folds by hand", "sha256": "0" * 64})
    return path


def refusal(path: Path, text: str | None = None, fold: int | None = None) -> str:
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_split(path, fold)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_written_is_read(path: Path) -> None:
    with path.open(newline="") as file:
        assert list(csv.reader(file))[:3] == [
            ["row", "identifier", "set", "fold_1", "fold_2"],
            ["1", "a", "train", "train", "train"],
            ["2", "b, with a comma", "valid", "valid", "test"],
        ]
    split = read_split(path)
    assert split.rows.tolist() == ROWS.tolist() and list(split.identifiers) == NAMES
    assert split.sets.tolist() == SETS.tolist()
    assert split.made_how == "as split.csv says, fold 1 of 2 (2 folds by hand)"
    assert read_split(path, 2).sets.tolist() == SETS[::-1].tolist() and "fold 2 of 2" in read_split(path, 2).made_how
    assert json.loads(facts_beside(path).read_text())["made_how"] == "2 folds by hand"


@pytest.mark.parametrize("name", ["split.csv.gz", "split.tsv"])
def test_other_forms(tmp_path: Path, name: str) -> None:
    write_split(tmp_path / name, ROWS, NAMES, {"set": SETS}, {"made_how": "by hand"})
    assert facts_beside(tmp_path / name) == tmp_path / f"{name}.json"
    assert read_split(tmp_path / name).made_how == f"as {name} says (by hand)"


def test_the_facts_beside_are_not_needed(path: Path) -> None:
    for text in ("{", "[]", '{"made_how": 3}'):
        facts_beside(path).write_text(text)
        assert read_split(path).made_how == "as split.csv says, fold 1 of 2"
    facts_beside(path).unlink()
    assert read_split(path).sets.tolist() == SETS.tolist()
    path.write_text("row,identifier,set\n1,a,Training\n2,b,test_far\n")
    split = read_split(path)
    assert split.sets.tolist() == ["train", "test_far"] and split.made_how == "as split.csv says; without a valid set"
    path.write_text("row,identifier,set\n1,a,train\n2,b,dev\n")
    assert read_split(path).made_how == "as split.csv says; without a test set"


def test_rows_are_matched_in_any_order(path: Path) -> None:
    split = read_split(path).matched("t.csv", 5, np.array([4, 1]), ["d", "b, with a comma"])
    assert split.sets.tolist() == ["train", "valid"]


def test_other_tables_are_refused(path: Path) -> None:
    split = read_split(path)

    def why(num_rows: int, rows: list[int], names: list[str]) -> str:
        with pytest.raises(InputError) as caught:
            split.matched("t.csv", num_rows, np.array(rows), names)
        return str(caught.value)

    assert "names row 5, and t.csv has 4" in why(4, [0], ["a"]) and "seqtrain split t.csv" in why(4, [0], ["a"])
    assert "has no set for row 3 ('x') of t.csv" in why(5, [0, 2], ["a", "x"])
    assert "row 4 is 'c \"quoted\"' there and 'q' in t.csv" in why(5, [0, 3], ["a", "q"])


def test_rows_without_names_are_warned_about(path: Path, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("changed")
    assert read_split(path).warnings(table, named=True) == []
    (warning,) = read_split(path).warnings(table, named=False)
    assert str(table) in warning and "has changed since it was split" in warning


def test_files_that_are_no_splits_are_refused(path: Path) -> None:
    assert "no column 'row'" in refusal(path, "id,sequence,label\na,MK,1\n")
    assert "no column 'set'" in refusal(path, "row,identifier\n1,a\n")
    head = "row,identifier,set\n"
    assert "split.csv:3: row '0' is no number" in refusal(path, head + "1,a,train\n0,b,test\n")
    assert "split.csv:2: row 'x'" in refusal(path, head + "x,a,train\n")
    assert "split.csv:3: row 01 is named twice" in refusal(path, head + "1,a,train\n01,b,test\n")
    assert "split.csv:3: 'holdout' in column 'set' names no set" in refusal(path, head + "1,a,train\n2,b,holdout\n")
    assert "marks no record as train" in refusal(path, head + "1,a,test\n")
    assert "no such file" in refusal(path.with_name("missing.csv"))


def test_folds_that_are_not_there_are_refused(path: Path) -> None:
    for fold in (0, 3, -1):
        assert f"--fold {fold}" in refusal(path, None, fold) and "give --fold 1 to 2" in refusal(path, None, fold)
    assert "leave --fold out" in refusal(path, "row,identifier,set\n1,a,train\n", 1)
