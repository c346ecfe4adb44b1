"""`seqtrain synthesize` as typed: what it writes, what it never looks at, and what it refuses."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import pytest

from seqtrain.alphabet import PROTEIN
from tests.cli.conftest import Command
from tests.corpora import proteins
from tests.generate.families import members, relatives

SETS = ["train"] * 8 + ["valid"] * 2 + ["test"] * 2
RARE, OTHER, FRESH = relatives(12), relatives(12, seed=2), relatives(12, seed=3)


def write(path: Path, rows: list[dict[str, str]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def rows(**columns: list[str]) -> list[dict[str, str]]:
    """24 rows of two families, and four of a class that is too small."""
    found = []
    for name, sequences in (("rare", RARE), ("other", OTHER), ("tiny", proteins([40] * 4, seed=9))):
        for index, sequence in enumerate(sequences):
            found.append({"id": f"{name}{index}", "sequence": sequence, "fold": name, "set": SETS[index]})
    for name, cells in columns.items():
        for row, cell in zip(found, cells, strict=True):
            row[name] = cell
    return found


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write(tmp_path / "labels.csv", rows())


def made(path: Path) -> list[dict[str, str]]:
    return [row for row in read(path) if row["source"] == "synthetic"]


def test_synthetic_rows_stand_behind_the_given_ones(table: Path, tmp_path: Path, command: Command) -> None:
    out = tmp_path / "bigger.csv"
    done = command("synthesize", table, "--target", "fold", "--class", "rare", "--count", 10, "-o", out)
    assert done.code == 0, done.err
    given, added = read(table), read(out)
    assert [{name: row[name] for name in given[0]} for row in added[: len(given)]] == given
    assert {row["source"] for row in added[: len(given)]} == {"given"}
    new = added[len(given) :]
    assert len(new) == 10 and {row["source"] for row in new} == {"synthetic"}
    assert {row["fold"] for row in new} == {"rare"} and {row["set"] for row in new} == {"train"}
    sequences = [row["sequence"] for row in new]
    assert len({*sequences, *(row["sequence"] for row in given)}) == len(given) + 10
    assert not set("".join(sequences)) - set(PROTEIN.standard)
    lengths = [len(text) for text in RARE[:8]]
    assert min(lengths) <= min(map(len, sequences)) and max(map(len, sequences)) <= max(lengths)
    trained = {row["id"] for row in given if row["fold"] == "rare" and row["set"] == "train"}
    assert {row["parent"] for row in new} == trained and all(0 < float(row["identity"]) < 1 for row in new)
    assert [row["id"] for row in new[:2]] == ["rare|synthetic-1", "rare|synthetic-2"]
    assert "class 'rare': held-out members: " in done.err and "28 given rows, 10 synthetic ones" in done.err
    assert f"train on it with  seqtrain finetune {out} --target fold" in done.err
    # Finetuning reads the file as it is.
    classes = tmp_path / "classes.csv"
    assert command("imbalance", out, "--target", "fold", "-o", classes).code == 0
    assert {row["class"]: row["count"] for row in read(classes)} == {"rare": "18", "other": "8", "tiny": "4"}


def test_held_out_rows_are_never_used(table: Path, tmp_path: Path, command: Command) -> None:
    changed = rows()
    for row, sequence in zip([row for row in changed if row["set"] != "train"], FRESH[::-1], strict=False):
        row["sequence"] = sequence
    words = ("--target", "fold", "--class", "rare", "--count", 12, "--by", "profile", "-o")
    outs = tmp_path / "a.csv", tmp_path / "b.csv"
    assert command("synthesize", table, *words, outs[0]).code == 0
    assert command("synthesize", write(tmp_path / "changed.csv", changed), *words, outs[1]).code == 0
    assert made(outs[0]) == made(outs[1])


def test_a_split_file_says_what_is_held_out(tmp_path: Path, command: Command) -> None:
    table = write(tmp_path / "plain.csv", [{name: row[name] for name in ("id", "sequence", "fold")} for row in rows()])
    sets = SETS[::-1] * 2 + ["train"] * 4
    split = write(
        tmp_path / "split.csv",
        [
            {"row": str(place), "identifier": row["id"], "set": name}
            for place, (row, name) in enumerate(zip(read(table), sets, strict=True), start=1)
        ],
    )
    words = ("--target", "fold", "--class", "rare", "--count", 12, "--by", "profile", "--split", split)
    done = command("synthesize", table, *words, "-o", tmp_path / "out.csv")
    assert done.code == 0, done.err
    written = read(tmp_path / "out.csv")
    assert [row["set"] for row in written[:28]] == sets
    assert {row["parent"] for row in made(tmp_path / "out.csv")} == {f"rare{place}" for place in range(4, 12)}


def test_no_copy_of_a_held_out_row_comes_out(table: Path, tmp_path: Path, command: Command) -> None:
    words = ("--target", "fold", "--class", "rare", "--count", 5, "--by", "profile", "-o")
    assert command("synthesize", table, *words, tmp_path / "a.csv").code == 0
    first = made(tmp_path / "a.csv")[0]["sequence"]
    changed = rows()
    next(row for row in changed if row["set"] == "test")["sequence"] = first.lower()
    assert command("synthesize", write(tmp_path / "b.csv", changed), *words, tmp_path / "c.csv").code == 0
    again = [row["sequence"] for row in made(tmp_path / "c.csv")]
    assert first not in again and len(again) == 5
    assert again[1:] == [row["sequence"] for row in made(tmp_path / "a.csv")][1:]


def test_same_seed_same_file(table: Path, tmp_path: Path, command: Command) -> None:
    words = ("--target", "fold", "--below", 9, "--count", 6, "--by", "profile", "--prior-fraction", 0.5)
    files = [tmp_path / name for name in ("a.csv", "b.csv", "c.csv")]
    for path, seed in zip(files, (0, 0, 1), strict=True):
        assert command("synthesize", table, *words, "--seed", seed, "-o", path).code == 0
    assert files[0].read_bytes() == files[1].read_bytes() != files[2].read_bytes()
    assert {row["parent"] == "" for row in made(files[0])} == {True, False}


def test_classes_that_cannot_be_modelled_are_left_out_and_named(table: Path, tmp_path: Path, command: Command) -> None:
    out = tmp_path / "bigger.csv"
    done = command("synthesize", table, "--target", "fold", "--below", 9, "--count", 4, "--by", "profile", "-o", out)
    assert done.code == 0 and "left out: " in done.err and "class 'tiny': too diverse to align" in done.err
    assert [row["fold"] for row in made(out)] == ["other"] * 4 + ["rare"] * 4


def test_a_table_without_sets_gets_those_of_finetuning(tmp_path: Path, command: Command) -> None:
    given = [{name: cell for name, cell in row.items() if name != "set"} for row in rows()]
    path = write(tmp_path / "plain.csv", given)
    out = tmp_path / "bigger.csv"
    words = ("--target", "fold", "--class", "rare", "--count", 3, "--by", "profile", "-o", out)
    done = command("synthesize", path, *words)
    assert done.code == 0 and "column 'set' was added: 80 / 10 / 10 %" in done.err
    sets = {row["id"]: row["set"] for row in read(out)}
    counts = [list(sets.values()).count(name) for name in ("train", "valid", "test")]
    assert sum(counts) == 28 + 3 and counts[1] and counts[2]
    assert all(sets[row["parent"]] == "train" for row in made(out))


def test_validation_rows_taken_out_of_train_are_marked(tmp_path: Path, command: Command) -> None:
    given = rows(set=["test" if index % 6 == 5 else "train" for index in range(28)])
    path, out = write(tmp_path / "labels.csv", given), tmp_path / "bigger.csv"
    done = command(
        "synthesize", path, "--target", "fold", "--class", "other", "--count", 3, "--by", "profile", "-o", out
    )
    marked = [row["id"] for row in read(out) if row["set"] == "valid"]
    assert done.code == 0 and f"column 'set': {len(marked)} train rows are now marked valid" in done.err and marked
    assert not {row["parent"] for row in made(out)} & set(marked)
    # The same rows that finetuning would have taken.
    assert (
        f"sets: train {24 - len(marked)}, valid {len(marked)}, test 4"
        in command("imbalance", path, "--target", "fold").err
    )


def test_other_columns_weights_and_taken_names(tmp_path: Path, command: Command) -> None:
    given = rows(source=["lab"] * 28, w=["0.5"] * 28, note=["x"] * 28)
    path, out = write(tmp_path / "labels.csv", given), tmp_path / "bigger.csv"
    words = ("--class", "rare", "--count", 2, "--by", "profile", "--weight-column", "w", "-o", out)
    assert command("synthesize", path, "--target", "fold", *words).code == 0
    last = read(out)[-1]
    assert (last["w"], last["note"], last["source"], last["source_by_seqtrain"]) == ("0.5", "", "", "synthetic")


def test_augmented_copies_are_no_members(table: Path, tmp_path: Path, command: Command) -> None:
    copies, out = tmp_path / "copies.csv", tmp_path / "bigger.csv"
    assert command("augment", table, copies, "--with", "matrix-substitution:rate=0.1", "--copies", 2).code == 0
    done = command(
        "synthesize", copies, "--target", "fold", "--class", "rare", "--count", 2, "--by", "profile", "-o", out
    )
    assert done.code == 0 and "class 'rare': 8 members on" in done.err


def test_bounds_of_the_identity(table: Path, tmp_path: Path, command: Command) -> None:
    out = tmp_path / "bigger.csv"
    words = ("--class", "rare", "--count", 8, "--by", "profile", "--identity", 0.8, 0.95, "-o", out)
    assert command("synthesize", table, "--target", "fold", *words).code == 0
    assert len(made(out)) == 8 and all(float(row["identity"]) >= 0.8 for row in made(out))


def test_a_shortfall_is_reported(table: Path, tmp_path: Path, command: Command) -> None:
    out = tmp_path / "bigger.csv"
    words = ("--class", "rare", "--count", 8, "--by", "profile", "--rate", 0.9, "--identity", 0.99, 1, "-o", out)
    done = command("synthesize", table, "--target", "fold", *words)
    missing = 8 - len(made(out))
    assert done.code == 0 and missing and f"{missing} sequence" in done.err


@pytest.fixture
def family(tmp_path: Path) -> Path:
    path = tmp_path / "family.fasta"
    path.write_text("".join(f">m{index}\n{text}\n" for index, text in enumerate(RARE)))
    return path


def test_a_family_of_fasta(family: Path, tmp_path: Path, command: Command) -> None:
    out = tmp_path / "synthetic.fasta.gz"
    done = command("synthesize", family, "--count", 6, "--by", "profile", "-o", out)
    assert done.code == 0, done.err
    lines = gzip.decompress(out.read_bytes()).decode().split(">")[1:]
    assert len(lines) == 6 and lines[0].startswith("synthetic-1 parent=m")
    assert " identity=0." in lines[0] and " seed=0\n" in lines[0]
    sequences = ["".join(line.splitlines()[1:]) for line in lines]
    assert not set(sequences) & set(RARE) and len(set(sequences)) == 6


def test_alignments_are_taken_as_they_are(tmp_path: Path, command: Command) -> None:
    sequences = members(8, 1)
    rows = {f"m{index}": text[:9] + "--" + text[11:] if index == 3 else text for index, text in enumerate(sequences)}
    aligned = {
        "fasta": "".join(f">{name}\n{text}\n" for name, text in rows.items()),
        "sto": "# STOCKHOLM 1.0\n" + "".join(f"{name} {text}\n" for name, text in rows.items()) + "//\n",
    }
    outs = []
    for ending, text in aligned.items():
        (tmp_path / f"family.{ending}").write_text(text)
        outs.append(tmp_path / f"from_{ending}.fasta")
        words = ("--count", 5, "--by", "profile", "-o", outs[-1])
        done = command("synthesize", tmp_path / f"family.{ending}", *words)
        assert done.code == 0 and "8 aligned members on 30 columns" in done.err, done.err
    assert outs[0].read_bytes() == outs[1].read_bytes()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--class", "nope"], ["no training row of class 'nope'", "other (8), rare (8), tiny (4)"]),
        ([], ["--class NAME or --below N", "other (8)"]),
        (["--class", "rare", "--below", 3], ["give one of the two"]),
        (["--below", 2], ["no class has so few training rows", "tiny (4)"]),
        (["--class", "tiny"], ["class 'tiny': too diverse to align: the members have", "--least-identity"]),
        (["--class", "tiny", "--least-identity", 0], ["4 different members", "needs at least 5", "--by profile"]),
        (["--class", "rare", "--rate", 2], ["--rate is 2.0; give a number"]),
        (["--class", "rare", "--identity", 0.9, 0.5], ["--identity is 0.9 to 0.5"]),
        (["--class", "rare", "--least-identity", 7], ["--least-identity 7.0"]),
        (["--class", "rare", "--by", "profile", "--strict"], ["--strict: belongs to --by vae"]),
        (["--class", "rare", "--split-column", "nope"], ["no column 'nope'"]),
        (["--class", "rare", "--split", "nope.csv"], ["nope.csv"]),
        (["--class", "rare", "--fold", 2], ["--fold"]),
        (["--class", "rare", "-o", "x.fasta"], ["x.fasta: ", "is a table", ".csv"]),
    ],
)
def test_what_is_refused(words: list[object], said: list[str], table: Path, tmp_path: Path, command: Command) -> None:
    output = [] if "-o" in words else ["-o", tmp_path / "out.csv"]
    command("synthesize", table, "--target", "fold", "--count", 3, *words, *output).refused(*said)
    assert not (tmp_path / "out.csv").exists()


def test_tables_that_are_refused(table: Path, tmp_path: Path, command: Command) -> None:
    out = tmp_path / "out.csv"
    words = ("--class", "rare", "--count", 3, "--by", "profile", "-o")
    numbers = write(tmp_path / "numbers.csv", rows(fold=[f"{index / 7:.3f}" for index in range(28)]))
    command("synthesize", numbers, "--target", "fold", *words, out).refused(
        "regression of fold has no families", "--task classification"
    )
    gaps = rows()
    gaps[2]["sequence"] = RARE[2][:5] + "-" + RARE[2][5:]
    command("synthesize", write(tmp_path / "gaps.csv", gaps), "--target", "fold", *words, out).refused(
        "gaps.csv:4: a gap in a sequence of class 'rare'", "as FASTA"
    )
    assert command("synthesize", table, "--target", "fold", *words, out).code == 0
    command("synthesize", out, "--target", "fold", *words, tmp_path / "twice.csv").refused(
        "were added to this table before"
    )
    command("synthesize", table, "--target", "fold", *words, table).refused("is the input too")
    dna = write(tmp_path / "dna.csv", rows(sequence=["ACGTACGTTGCA" * 4] * 28))
    command("synthesize", dna, "--alphabet", "dna", "--target", "fold", *words, out).refused(
        "dna sequences", "translate"
    )


def test_files_that_are_refused(family: Path, tmp_path: Path, command: Command) -> None:
    out = tmp_path / "out.fasta"
    command("synthesize", family, "--count", 3, "--below", 4, "-o", out).refused("--below: ", "no table")
    command("synthesize", "-", "--count", 3, "-o", out).refused("standard input")
    command("synthesize", family, "--count", 3, "-o", tmp_path / "out.csv").refused("is FASTA", ".fasta")
    (tmp_path / "empty.fasta").write_text("")
    command("synthesize", tmp_path / "empty.fasta", "--count", 3, "-o", out).refused("this file is empty")
    (tmp_path / "empty.csv").write_text("")
    command("synthesize", tmp_path / "empty.csv", "--class", "a", "--count", 3, "-o", out).refused("this file is empty")
    (tmp_path / "ragged.fasta").write_text(">a\nAC-DEF\n>b\nACDE\n")
    command("synthesize", tmp_path / "ragged.fasta", "--count", 3, "-o", out).refused("row 2 (b) has 4 columns")
    (tmp_path / "one.fasta").write_text(f">a\n{RARE[0]}\n")
    command("synthesize", tmp_path / "one.fasta", "--count", 3, "-o", out).refused("1 different members", "at least 5")
    assert not out.exists()


def test_strict_refuses_a_vae_that_is_no_better(tmp_path: Path, command: Command) -> None:
    path = tmp_path / "family.fasta"
    path.write_text("".join(f">m{index}\n-{text[1:]}\n" for index, text in enumerate(members(6, 1, length=12, seed=5))))
    words = ("synthesize", path, "--count", 3, "-o", tmp_path / "out.fasta")
    command(*words, "--strict").refused("no better than independent columns", "--strict")
    done = command(*words)
    assert done.code == 0 and "so these are drawn from" in done.err
