"""`seqtrain check` as typed."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tests.cli.conftest import Command
from tests.corpora import proteins

TEXTS = proteins([30 + i % 9 for i in range(36)], seed=3)
FIRST_TEST = 24


def write(path: Path, labels: list[str], extra: dict[str, list[str]] | None = None) -> Path:
    """40 rows: 24 to train; 12 to test; then a copy of row 1 to test, two of row 2 to train, and a row that is bad."""
    rows = [*TEXTS, TEXTS[0], TEXTS[1], TEXTS[1], "MK7"]
    sets = ["train"] * FIRST_TEST + ["test"] * 12 + ["test", "train", "train", "train"]
    columns = {"id": [f"p{i + 1}" for i in range(40)], "sequence": rows, "label": labels, "set": sets, **(extra or {})}
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    labels = ["ab"[i % 2] for i in range(40)]
    labels[36], labels[37], labels[38] = labels[0], labels[1], "a"  # row 39 contradicts rows 2 and 38
    return write(tmp_path / "classes.csv", labels)


def test_what_was_planted_is_found_and_every_row_comes_out(classes: Path, tmp_path: Path, command: Command) -> None:
    out = tmp_path / "check.csv"
    done = command("check", classes, "-o", out)
    assert done.code == 0, done.err
    assert "5 records have a sequence that is there more than once, 2 sequences in all" in done.out
    assert "1 of these sequences has different labels: p2 (row 2)" in done.out
    assert "1 of 13 test records has a training record of at least 90 % identity (1 the very sequence)" in done.out
    assert "dropped 1 record" in done.err and "made wrong on purpose" in done.out
    rows = read(out)
    assert [int(row["row"]) for row in rows] == list(range(1, 41))
    assert [row["identifier"] for row in rows] == [f"p{i + 1}" for i in range(40)]
    assert [i + 1 for i, row in enumerate(rows) if row["conflict"] == "1"] == [2, 38, 39]
    assert {(rows[i]["copies"], rows[i]["first_copy"]) for i in (1, 37, 38)} == {("3", "2")}
    copy = rows[36]
    assert (copy["nearest_training_row"], copy["nearest_training_record"], copy["identity"]) == ("1", "p1", "1.0")
    assert (copy["set"], copy["label"], copy["nearest_training_label"]) == ("test", "a", "a")
    assert rows[39]["usable"] == "0" and rows[39]["set"] == "" and rows[39]["label"] == "b"
    assert all(row["nearest_training_row"] == "" for row in rows[:FIRST_TEST])


def test_standard_output_is_the_table_where_it_goes_there(classes: Path, command: Command) -> None:
    done = command("check", classes, "--no-doubtful", "--leakage", "none", "-o", "-")
    assert done.code == 0
    assert len(done.out.splitlines()) == 41 and done.out.startswith("row,identifier,usable,set,label,copies,")
    assert "Equal sequences" in done.err and "not looked for" in done.err


def test_numbers_are_judged_by_their_spread(tmp_path: Path, command: Command) -> None:
    labels = [f"{i / 7:.2f}" for i in range(40)]
    labels[36], labels[37], labels[38] = labels[0], labels[1], "5.5"
    done = command("check", write(tmp_path / "numbers.csv", labels), "--task", "regression")
    assert done.code == 0, done.err
    assert "1 of these sequences has numbers a standard deviation or more apart: p2 (row 2)" in done.out
    assert "no model of the sequence gets beyond R²" in done.out


def test_annotators_are_compared(tmp_path: Path, command: Command) -> None:
    labels = ["ab"[i % 2] for i in range(40)]
    other = ["b" if i < 4 else label for i, label in enumerate(labels)]
    third = ["" if i < 20 else label for i, label in enumerate(labels)]
    path = write(tmp_path / "rated.csv", labels, {"one": labels, "two": other, "three": third})
    out = tmp_path / "check.csv"
    words = ("--annotator", "one", "--annotator", "two", "--annotator", "three", "--no-doubtful", "-o", out)
    done = command("check", path, *words)
    assert done.code == 0, done.err
    assert "Krippendorff's alpha of 3 annotators is 0." in done.out and "they disagree on 2" in done.out
    rows = read(out)
    assert [i for i, row in enumerate(rows) if row["annotators_disagree"] == "1"] == [0, 2]
    assert rows[21]["annotators_say"] == "b" and rows[0]["annotators_say"] == ""


def test_residues_have_conflicts_and_no_doubt(tmp_path: Path, command: Command) -> None:
    rows = [*TEXTS, TEXTS[0], TEXTS[1], TEXTS[1], "MK7"]
    labels = ["HE" * (len(row) // 2) + "H" * (len(row) % 2) for row in rows]
    labels[38] = labels[38][::-1]
    done = command("check", write(tmp_path / "residues.csv", labels), "--task", "residue")
    assert done.code == 0, done.err
    assert "this is done for one class or one number per record" in done.out
    assert "sequences have different labels" in done.out


@pytest.mark.parametrize(("third", "told"), [("1" * 40, True), ("0" * 39 + "1", False)])
def test_what_a_mask_hides_is_in_conflict_with_nothing(
    third: str, told: bool, tmp_path: Path, command: Command
) -> None:
    text = TEXTS[0][:40].ljust(40, "A")
    others = [text[:-1] + letter for letter in "CDEFGHIKL"]
    masks = ["0" * 40, "1" * 40, third, *["1" * 40] * len(others)]
    labels = ["H" * 40, "H" * 40, "E" * 39 + "H", *["HE" * 20] * len(others)]
    rows = zip([text] * 3 + others, labels, masks, strict=True)
    path = tmp_path / "masked.csv"
    path.write_text("sequence,label,mask\n" + "".join(",".join(row) + "\n" for row in rows))
    done = command("check", path, "--task", "residue", "--leakage", "none")
    assert done.code == 0, done.err
    assert f"  {int(told)} of these sequences {'has' if told else 'have'} different labels" in done.out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--annotator", "label"), ("--annotator label", "two or more")),
        (("--annotator", "label", "--annotator", "who"), ("no column 'who'",)),
        (("--identity", "0"), ("identity", "0")),
        (("--identity", "30"), ("identity", "30")),
        (("--target", "none"), ("no column 'none'",)),
        (("--split-column", "label", "--target", "set"), ("neither train, valid nor test",)),
    ],
)
def test_what_cannot_be_used_is_refused(
    classes: Path, command: Command, options: tuple[str, ...], words: tuple[str, ...]
) -> None:
    command("check", classes, *options).refused(*words)


def test_files_that_cannot_be_used_are_refused(classes: Path, tmp_path: Path, command: Command) -> None:
    command("check", tmp_path / "none.csv").refused("none.csv")
    command("check", "-").refused("-: name a file")
    command("check", classes, "-o", classes).refused("is the input too")
    fasta = tmp_path / "a.fasta"
    fasta.write_text(">a\nMKV\n")
    command("check", fasta).refused("this is FASTA, not a table")
