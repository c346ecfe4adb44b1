"""`seqtrain split`, and split files and ways to split in the commands that read labels, as typed."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from seqtrain.config import FinetuneConfig
from seqtrain.errors import InputError
from seqtrain.fitting import Silent
from seqtrain.io.delimited import read_table
from seqtrain.recipes.finetuning import read_training_table
from tests.cli.conftest import SEQUENCES, TINY, Command, fasta, table


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """40 records of two classes on eight plates, the last of which equals the first."""
    path = tmp_path / "labels.csv"
    lines = [f"p{i},{SEQUENCES[i % 39]},{'ab'[i % 2]},{i // 5}" for i in range(40)]
    path.write_text("\n".join(["id,sequence,label,plate", *lines, ""]))
    return path


@pytest.mark.parametrize(
    "options",
    [("random",), ("stratified", "--target", "label"), ("group", "--group-column", "plate"), ("homology",)],
    ids=lambda options: options[0],
)
def test_each_way_writes_a_split_and_says_what_it_is(
    labels: Path, tmp_path: Path, command: Command, options: tuple[str, ...]
) -> None:
    out = tmp_path / "split.csv"
    done = command("split", labels, "--by", *options, "--target", "label", "-o", out)
    assert done.code == 0, done.err
    found = rows(out)
    assert [row["row"] for row in found] == [str(i + 1) for i in range(40)] and list(found[0])[2:] == ["set"]
    assert [row["identifier"] for row in found] == [f"p{i}" for i in range(40)]
    sizes = Counter(row["set"] for row in found)
    assert set(sizes) == {"train", "valid", "test"} and found[0]["set"] == found[39]["set"]
    for name, count in sizes.items():
        assert f"{name} {count} ({count / 40:.1%}, asked " in done.err
    assert "share      all    train    valid     test" in done.err and "that are not parted" in done.err
    facts = json.loads((tmp_path / "split.csv.json").read_text())
    assert facts["sets"]["set"] == sizes and facts["records"] == 40
    again = tmp_path / "again.csv"
    command("split", labels, "--by", *options, "--target", "label", "-o", again)
    assert again.read_bytes() == out.read_bytes()


def test_fasta_and_folds(tmp_path: Path, command: Command) -> None:
    source, out = tmp_path / "p.fasta", tmp_path / "folds.csv"
    source.write_text(fasta())
    done = command("split", source, "--by", "homology", "--folds", "4", "-o", out)
    assert done.code == 0 and "fold_4: train" in done.err
    found = rows(out)
    assert list(found[0]) == ["row", "identifier", "set", "fold_1", "fold_2", "fold_3", "fold_4"]
    assert all([row[f"fold_{k}"] for k in range(1, 5)].count("test") == 1 for row in found)
    piped = command("split", source, "--by", "homology", "--folds", "4", "-o", "-")
    assert piped.out == out.read_text() and not (tmp_path / "-.json").exists()


def test_copies_of_rows_without_names_stay_with_their_originals(tmp_path: Path, command: Command) -> None:
    plain, copies, split = tmp_path / "plain.csv", tmp_path / "copies.csv", tmp_path / "split.csv"
    lines = [f"{text},{'ab'[i % 2]}" for i, text in enumerate(SEQUENCES)]
    plain.write_text("\n".join(["sequence,label", *lines]))
    assert command("augment", plain, copies, "--with", "matrix-substitution:rate=0.5", "--copies", 2).code == 0
    done = command("split", copies, "--by", "random", "-o", split)
    assert done.code == 0, done.err
    found, sets = rows(copies), [row["set"] for row in rows(split)]
    of = {row["identifier"]: name for row, name in zip(found, sets, strict=True)}
    assert len(of) == 3 * len(SEQUENCES) and "test" in sets
    assert all(of[row["augmented_from"] or row["identifier"]] == of[row["identifier"]] for row in found)
    # A cell without a name among others: the copies of its row are its own.
    plain.write_text(
        "\n".join(["id,sequence,label", *(f"{f'p{i}' if i else ''},{line}" for i, line in enumerate(lines))])
    )
    assert command("augment", plain, copies, "--with", "matrix-substitution:rate=0.5", "--copies", 2).code == 0
    assert {row["augmented_from"] for row in rows(copies) if row["id"].startswith("row-1|")} == {"row-1"}
    assert [row["augmented_from"] for row in rows(copies) if row["id"] == "row-1"] == [""]
    nameless = tmp_path / "nameless.csv"
    lines = [f"{row['sequence']},{row['label']},{row['augmented_from']}" for row in found]
    nameless.write_text("\n".join(["sequence,label,augmented_from", *lines]))
    command("split", nameless, "--by", "random", "-o", tmp_path / "no.csv").refused(
        nameless, "no column names the rows", "add a column 'identifier'"
    )


def test_rows_that_cannot_be_used_have_no_set(tmp_path: Path, command: Command) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text(table().replace(SEQUENCES[3], "MK1"))
    out = tmp_path / "split.csv"
    command("split", bad, "--by", "random", "-o", out).refused("p3", "--bad-records drop")
    assert not out.exists()
    assert command("split", bad, "--by", "random", "--bad-records", "drop", "-o", out).code == 0
    assert "4" not in [row["row"] for row in rows(out)] and len(rows(out)) == 39
    config = FinetuneConfig(table=str(bad), split=str(out), bad_records="drop")
    data = read_training_table(config, read_table(bad), None, Silent()).data
    assert [row["set"] for row in rows(out)] == data.split.sets.tolist()


def test_what_cannot_be_split_is_refused(labels: Path, tmp_path: Path, command: Command) -> None:
    source, out = tmp_path / "p.fasta", tmp_path / "split.csv"
    source.write_text(fasta())

    def refused(path: object, *words: object, said: tuple[str, ...]) -> None:
        command("split", path, *words, "-o", out).refused(*said)
        assert not out.exists()

    refused(tmp_path / "nothing.csv", "--by", "random", said=("nothing.csv", "no such file"))
    refused("-", "--by", "random", said=("standard input",))
    refused(source, "--by", "stratified", said=("no labels",))
    refused(source, "--by", "group", "--group-column", "plate", said=("FASTA", "no column 'plate'"))
    refused(source, "--by", "random", "--target", "label", said=("--target label", "FASTA"))
    refused(labels, "--by", "group", said=("--group-column",))
    refused(labels, "--by", "group", "--group-column", "plat", said=("no column 'plat'", "did you mean 'plate'"))
    refused(labels, "--by", "random", "--identity", "0.3", said=("--identity", "--by homology"))
    refused(labels, "--by", "homology", "--group-column", "plate", said=("--group-column", "--by group"))
    refused(labels, "--by", "homology", "--identity", "0", said=("identity 0", "one cluster"))
    refused(labels, "--by", "homology", "--identity", "1", said=("identity 1", "at random"))
    refused(labels, "--by", "homology", "--identity", "30", said=("identity 30", "above 0 and below 1"))
    refused(labels, "--by", "homology", "--families", tmp_path / "c.tsv", said=("c.tsv", "no such file"))
    refused(labels, "--by", "homology", "--families", "c.tsv", "--identity", "0.3", said=("--families", "--identity"))
    refused(labels, "--by", "random", "--folds", "1", said=("1 folds", "leave the number of folds out"))
    refused(labels, "--by", "random", "--folds", "41", said=("41 folds of 40 records",))
    refused(
        labels, "--by", "group", "--group-column", "plate", "--folds", "9", "--target", "label",
        said=("9 folds of 7 groups", "at most 7"),
    )  # fmt: skip
    refused(labels, "--by", "random", "--folds", "3", "--test-fraction", "0.2", said=("--test-fraction", "--folds")[:1])
    refused(labels, "--by", "random", "--rare-classes", "train", said=("--rare-classes", "--folds"))
    refused(labels, "--by", "random", "--test-fraction", "0.01", said=("of 40 records is none", "0.025"))
    refused(labels, "--by", "stratified", "--target", "plte", said=("no column 'plte'",))
    command("split", labels, "--by", "random", "-o", labels).refused("is the input too")
    assert labels.read_text().startswith("id,sequence")


def test_a_group_larger_than_the_test_set_is_said(tmp_path: Path, command: Command) -> None:
    path = tmp_path / "large.csv"
    path.write_text(table(lambda i: f"{'ab'[i % 2]},{min(i, 20)}", header="label,plate"))
    words = ("split", path, "--by", "group", "--group-column", "plate", "--target", "label")
    done = command(*words, "-o", tmp_path / "split.csv")
    assert done.code == 0 and "the largest has 20 (50.0%)" in done.err
    assert "the largest group is larger than the test set is to be, and stands in train" in done.err
    path.write_text(table(lambda i: f"{'ab'[i % 2]},{min(i, 1)}", header="label,plate"))
    done = command(*words, "-o", tmp_path / "none.csv")
    done.refused("nothing is left for", "2 groups of 40 records, the largest of 39", "a column of more groups")
    assert not (tmp_path / "none.csv").exists()


def test_a_class_in_one_group_is_refused_in_folds(tmp_path: Path, command: Command) -> None:
    path, out = tmp_path / "rare.csv", tmp_path / "folds.csv"
    path.write_text(table(lambda i: "rare" if i == 7 else "ab"[i % 2]))
    words = ("split", path, "--by", "stratified", "--folds", "4", "-o", out)
    command(*words).refused("class 'rare' has 1 record, in one sequence", "--rare-classes train")
    assert command(*words, "--rare-classes", "train").code == 0
    assert {row[f"fold_{k}"] for row in rows(out) for k in range(1, 5) if row["row"] == "8"} == {"train"}


@pytest.mark.parametrize("name", ["finetune", "distill", "imbalance", "lr-range", "plan finetune"])
def test_every_command_takes_the_file(labels: Path, tmp_path: Path, command: Command, name: str) -> None:
    more = ("--teacher", tmp_path / "none") if name == "distill" else ()
    done = command(*name.split(), labels, "--target", "label", *more, "--split", tmp_path / "none.csv")
    done.refused(*("none",) if name == "distill" else ("none.csv", "no such file"))


def read(labels: Path, **options: object) -> tuple[list[str], str, list[str]]:
    """Sets of a labelled table, how they were made, and what is said."""
    said: list[str] = []

    class Listening(Silent):
        def say(self, text: str) -> None:
            said.append(text)

    config = FinetuneConfig(table=str(labels), target=("label",), **options)  # type: ignore[arg-type]
    given = read_training_table(config, read_table(labels), None, Listening())
    assert given.columns.split is None or not options
    return given.data.split.sets.tolist(), given.data.split.made_how, said


def test_a_table_is_read_with_the_sets_of_the_file(labels: Path, tmp_path: Path, command: Command) -> None:
    out = tmp_path / "split.csv"
    command("split", labels, "--by", "group", "--group-column", "plate", "--target", "label", "--folds", "4", "-o", out)
    for fold in (None, 1, 3):
        sets, how, _ = read(labels, split=str(out), fold=fold)
        assert sets == [row["set" if fold is None else f"fold_{fold}"] for row in rows(out)]
        assert f"as split.csv says, fold {fold or 1} of 4 (4 folds by column 'plate' (seed 0)" in how
    text = labels.read_text()
    labels.write_text(text.replace("plate\n", "plate,set\n").replace("\n", ",train\n").replace("set,train", "set"))
    _, _, said = read(labels, split=str(out))
    assert any(line.startswith("column 'set': names sets too") for line in said)
    labels.write_text(text.replace("\np7,", "\nq7,"))
    with pytest.raises(InputError, match="row 8 is 'p7' there and 'q7' in"):
        read(labels, split=str(out))
    labels.write_text(text + f"p40,{SEQUENCES[5]},a,8\n")
    with pytest.raises(InputError, match="has no set for row 41"):
        read(labels, split=str(out))
    labels.write_text("\n".join(text.splitlines()[:30]) + "\n")
    with pytest.raises(InputError, match=r"names row 40, and \S+ has 29"):
        read(labels, split=str(out))


def test_rows_without_names_that_changed_are_said(labels: Path, tmp_path: Path, command: Command) -> None:
    lines = [line.partition(",")[2] for line in labels.read_text().splitlines()]
    labels.write_text("\n".join(lines) + "\n")
    out = tmp_path / "split.csv"
    command("split", labels, "--by", "random", "--target", "label", "-o", out)
    assert not any("has changed" in line for line in read(labels, split=str(out))[2])
    labels.write_text("\n".join([lines[0], *lines[:0:-1]]) + "\n")
    assert any("has changed" in line for line in read(labels, split=str(out))[2])


@pytest.mark.parametrize("words", ["random", "stratified", "group:column=plate", "homology:identity=0.4"])
def test_a_training_can_split_by_itself(labels: Path, words: str) -> None:
    sets, how, _ = read(labels, split_by=words)
    assert set(sets) == {"train", "valid", "test"} and sets[0] == sets[39] and how.startswith("80 / 10 / 10 %")
    if words.startswith("group"):
        assert all(len(set(sets[i : i + 5])) == 1 for i in range(0, 40, 5))
    assert sets == read(labels, split_by=words)[0]
    assert sets != read(labels, split_by=words, seed=1)[0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"split": "s.csv", "split_column": "plate"}, "--split s.csv and --split-column plate"),
        ({"split": "s.csv", "split_by": "random"}, "--split s.csv and --split-by random"),
        ({"split_column": "plate", "split_by": "random"}, "--split-column plate and --split-by random"),
        ({"fold": 2}, "--fold 2: is for a split with folds"),
        ({"split_by": "homolog"}, "did you mean 'homology'"),
        ({"split_by": "group:column=plat"}, "did you mean 'plate'"),
        ({"split": "missing.csv"}, "missing.csv: no such file"),
    ],
)
def test_splits_that_cannot_be_meant(labels: Path, options: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        read(labels, **options)


def test_a_run_without_a_test_set_says_so_and_keeps_to_its_split(
    labels: Path, tmp_path: Path, command: Command
) -> None:
    out, run = tmp_path / "split.csv", tmp_path / "run"
    command("split", labels, "--by", "stratified", "--target", "label", "--test-fraction", "0", "-o", out)
    words = ("finetune", labels, "--target", "label", "--split", out, "-o", run, *TINY)
    done = command(*words)
    assert done.code == 0 and "there is no test set" in done.err and "without a test set" in done.err
    assert "valid: " in done.err and "which reaches" in done.err.partition("valid (")[2]
    record = json.loads((run / "run.json").read_text())
    assert [each["name"] for each in record["results"]["sets"]] == ["valid"]
    assert len(record["facts"]["data split"]) == 64
    assert "There is no test set" in (run / "report.html").read_text()
    with (run / "predictions.csv").open() as file:
        assert {row["set"] for row in csv.DictReader(file)} == {"valid"}
    assert [row["set"] for row in rows(run / "split.csv")] == [row["set"] for row in rows(out)]

    scored = command("evaluate", run, labels, "--split", out)
    assert scored.code == 0
    sizes = {row["set"]: int(row["records"]) for row in csv.DictReader(scored.out.splitlines())}
    assert sizes == Counter(row["set"] for row in rows(out)) and "test" not in sizes
    command("evaluate", run, labels, "--split", out, "--split-column", "plate").refused("leave one")
    command("evaluate", run, labels, "--fold", "1").refused("--split FILE")

    moved = out.rename(tmp_path / "moved.csv")
    assert "is finished" in command("finetune", labels, "--target", "label", "--split", moved, "-o", run, *TINY).err
    lines = moved.read_text().splitlines()
    changed = int(np.flatnonzero(["valid" in line for line in lines])[0])
    lines[changed] = lines[changed].replace("valid", "train")
    out.write_text("\n".join(lines) + "\n")
    command(*words).refused("holds a run that differs", "data split")


def test_where_there_is_a_test_set_only_its_verdict_is_said(labels: Path, tmp_path: Path, command: Command) -> None:
    done = command("finetune", labels, "--target", "label", "-o", tmp_path / "run", *TINY)
    lines = done.err.partition("valid (")[2].splitlines()
    assert done.code == 0 and lines[1].startswith("test (")
    assert sum(line.startswith("test: ") for line in lines) == 1 and "valid: " not in "\n".join(lines)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert all(each["lead"] is not None for each in record["results"]["sets"])
