"""`seqtrain microcosm` as typed."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest

from tests.cli.conftest import Command, fasta
from tests.corpora import proteins

TEXTS = proteins([25 + i % 12 for i in range(60)], seed=4)


def write(path: Path, labels: list[str], **extra: list[str]) -> Path:
    columns = {"id": [f"p{i}" for i in range(60)], "sequence": TEXTS, "label": labels, **extra, "note": ["x,y"] * 60}
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
    """40 of a, 19 of b, 1 of c; every third is a test record."""
    labels = ["a"] * 40 + ["b"] * 19 + ["c"]
    return write(tmp_path / "classes.csv", labels, set=[("train", "train", "test")[i % 3] for i in range(60)])


def test_rows_are_taken_as_they_stand(classes: Path, tmp_path: Path, command: Command) -> None:
    out = tmp_path / "small.csv"
    done = command("microcosm", classes, "--target", "label", "--records", 18, "-o", out)
    assert done.code == 0, done.err
    rows, everything = read(out), read(classes)
    assert len(rows) == 18 and all(row in everything for row in rows)
    assert [int(row["id"][1:]) for row in rows] == sorted(int(row["id"][1:]) for row in rows)
    assert Counter(row["set"] for row in rows) == {"train": 12, "test": 6}
    counts = Counter(row["label"] for row in rows)
    assert counts["c"] == 1 and abs(counts["a"] - counts["b"]) <= 2
    for words in ("classes (all → sample): a 40", "one member only: 'c'", "18 of 60 families", "Jensen-Shannon"):
        assert words in done.err, words
    again = command("microcosm", classes, "--target", "label", "--records", 18)
    assert again.out == out.read_text()
    assert command("microcosm", classes, "--target", "label", "--records", 18, "--seed", 1).out != again.out


def test_numbers_are_sampled_over_their_range(tmp_path: Path, command: Command) -> None:
    table = write(tmp_path / "numbers.csv", [f"{(i / 10) ** 3:.3f}" for i in range(60)])
    done = command("microcosm", table, "--target", "label", "--records", 20)
    assert done.code == 0, done.err
    taken = sorted(int(row["id"][1:]) for row in csv.DictReader(done.out.splitlines()))
    assert [len([i for i in taken if 15 * part <= i < 15 * part + 15]) for part in range(4)] == [5] * 4


def test_fasta_stays_fasta(tmp_path: Path, command: Command) -> None:
    source, out = tmp_path / "all.fasta", tmp_path / "small.fasta"
    source.write_text(fasta(TEXTS) + ">bad\nMK7\n")
    done = command("microcosm", source, "--records", 8, "-o", out)
    assert done.code == 0, done.err
    records = out.read_text().split(">")[1:]
    assert len(records) == 8 and all(f">{record}" in source.read_text() for record in records)
    assert "over ranges of length" in done.err and "dropped 1 record" in done.err


def test_families_of_a_table_are_taken(classes: Path, tmp_path: Path, command: Command) -> None:
    # Two families only, one per half of the records: a sample of two has one of each.
    families = tmp_path / "clusters.tsv"
    families.write_text("".join(f"p{30 * (i // 30)}\tp{i}\n" for i in range(60)))
    source = tmp_path / "all.fasta"
    source.write_text(fasta(TEXTS))
    done = command("microcosm", source, "--records", 2, "--families", families)
    assert done.code == 0, done.err
    names = [int(line[2:]) for line in done.out.splitlines() if line.startswith(">")]
    assert sorted(number // 30 for number in names) == [0, 1]
    assert "2 of 2 families" in done.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--records", "61"), ("--records 61", "60 usable records")),
        (("--records", "2"), ("--records 2", "3 classes", "at least 3", "6")),
        (("--records", "0"), ("--records 0", "at least 1")),
        (("--identity", "0"), ("identity 0",)),
        (("--identity", "1.5"), ("identity 1.5",)),
        (("--target", "none"), ("no column 'none'",)),
        (("--records", "6", "--families", "none.tsv"), ("none.tsv",)),
    ],
)
def test_what_cannot_be_done_is_refused(
    classes: Path, command: Command, options: tuple[str, ...], words: tuple[str, ...]
) -> None:
    target = () if "--target" in options else ("--target", "label")
    command("microcosm", classes, *target, *options).refused(*words)


def test_a_table_without_labels_is_refused_with_a_way_out(tmp_path: Path, command: Command) -> None:
    path = tmp_path / "bare.csv"
    path.write_text("id,sequence\n" + "".join(f"p{i},{text}\n" for i, text in enumerate(TEXTS)))
    command("microcosm", path, "--records", 5).refused("no column is left to be the label", "FASTA")
    empty = write(tmp_path / "empty.csv", [""] * 60)
    command("microcosm", empty, "--target", "label", "--records", 5).refused("label", "empty")


def test_options_of_tables_are_refused_for_fasta(tmp_path: Path, command: Command) -> None:
    source = tmp_path / "all.fasta"
    source.write_text(fasta(TEXTS))
    command("microcosm", source, "--target", "label", "--records", 5).refused("--target", "is FASTA")
    command("microcosm", source, "--records", 5, "-o", source).refused("is the input too")
    command("microcosm", source, "--records", 5, "-o", tmp_path / "small.csv").refused("name it .fasta")
    command("microcosm", "-").refused("-: name a file")
