"""seqtrain pseudo-label as its user meets it: a table that finetune takes, no leak, every record accounted for."""

from __future__ import annotations

import csv
import shlex
from pathlib import Path

import pytest

from tests.cli.conftest import SEQUENCES, TINY, Command, fasta, table
from tests.corpora import proteins

FRESH = proteins([25 + i % 30 for i in range(60)], seed=9)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def unlabelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 new sequences, two of them twice, and all that are labelled."""
    path = tmp_path_factory.mktemp("unlabelled") / "new.fasta"
    path.write_text(fasta([*FRESH, *FRESH[:2], *SEQUENCES, SEQUENCES[0]]))
    return path


def sets_of(run: Path) -> dict[str, str]:
    return {row["identifier"]: row["set"] for row in rows_of(run / "split.csv")}


def test_labelled_rows_with_their_sets_then_new_ones(
    command: Command, finetuned: Path, unlabelled: Path, tmp_path: Path
) -> None:
    output = tmp_path / "round.csv"
    done = command("pseudo-label", finetuned, unlabelled, "-o", output, "--threshold", 0)
    assert done.code == 0, done.err
    rows = rows_of(output)
    assert list(rows[0]) == ["identifier", "sequence", "label", "set", "source", "confidence", "weight"]
    labelled, pseudo = rows[:40], rows[40:]
    assert {row["identifier"]: row["set"] for row in labelled} == sets_of(finetuned)
    assert [row["label"] for row in labelled] == ["ab"[i % 2] for i in range(40)]
    assert {(row["source"], row["weight"]) for row in labelled} == {("labelled", "1")}
    # No sequence of a held-out record, none twice, and what predict says of each.
    assert [row["sequence"] for row in pseudo] == FRESH
    assert {(row["set"], row["source"]) for row in pseudo} == {("train", "pseudo")}
    predicted = command("predict", finetuned, unlabelled).out.splitlines()
    said = {line.split(",")[0]: line.split(",") for line in predicted[1:61]}
    for row in pseudo:
        name, label, *probabilities = said[row["identifier"]]
        assert row["label"] == label and row["weight"] == row["confidence"], name
        assert float(row["confidence"]) == pytest.approx(max(map(float, probabilities)), abs=2e-6)
    held_out = sum(name != "train" for name in sets_of(finetuned).values())
    # Of the 41 records that repeat labelled ones the last is p0 once more.
    first = int(sets_of(finetuned)["p0"] != "train")
    account = done.err.splitlines()[-2]
    assert account.startswith("60 pseudo-labels; ")
    assert "2 seen before in the input" in account and f"{41 - held_out - first} labelled already" in account
    assert f"{held_out + first} the very sequence of a validation or test record" in account
    assert "validation records" in done.err and "b: " in done.err


def test_a_student_is_trained_by_the_command_that_is_printed_and_labels_anew(
    command: Command, finetuned: Path, unlabelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = command("pseudo-label", finetuned, unlabelled, "-o", "one.csv", "--per-class", 5)
    words = shlex.split(done.message.partition("seqtrain ")[2])
    student = command(*words, "-o", "student", *TINY)
    assert student.code == 0, student.err
    assert "weights from column 'weight'" in student.err and "as the table says" in student.err
    again = command("pseudo-label", "student", unlabelled, "-o", "two.csv", "--per-class", 3)
    assert again.code == 0, again.err
    added = sum(row["source"] == "pseudo" for row in rows_of(Path("one.csv")))
    assert f"{added} pseudo-labels of an earlier round left out" in again.err
    rows = rows_of(Path("two.csv"))
    assert [row["source"] for row in rows[:41]] == ["labelled"] * 40 + ["pseudo"]
    assert {row["identifier"]: row["set"] for row in rows[:40]} == sets_of(finetuned)


def test_by_propagation(command: Command, finetuned: Path, unlabelled: Path, tmp_path: Path) -> None:
    output = tmp_path / "spread.csv"
    settings = ("--by", "propagation", "--neighbours", 4, "--threshold", 0.005)
    done = command("pseudo-label", finetuned, unlabelled, "-o", output, *settings)
    assert done.code == 0, done.err
    pseudo = rows_of(output)[40:]
    assert pseudo and all(0.005 <= float(row["confidence"]) <= 1 for row in pseudo)
    assert {row["sequence"] for row in pseudo} <= set(FRESH)
    assert command("pseudo-label", finetuned, unlabelled, "-o", tmp_path / "same.csv", *settings).code == 0
    assert (tmp_path / "same.csv").read_text() == output.read_text()


def test_ensembles_of_numbers_and_joined_runs(command: Command, inputs: Path, unlabelled: Path, tmp_path: Path) -> None:
    numbers = tmp_path / "numbers.csv"
    numbers.write_text(table(lambda i: f"{i % 7 + 0.25 * i}", header="y"))
    run = tmp_path / "numbers"
    assert command("finetune", numbers, "-o", run, "--members", 2, *TINY).code == 0
    done = command("pseudo-label", run, unlabelled, "-o", tmp_path / "n.csv", "--threshold", 0.5)
    assert done.code == 0, done.err
    pseudo = [row for row in rows_of(tmp_path / "n.csv") if row["source"] == "pseudo"]
    assert pseudo and all(float(row["y"]) == float(row["y"]) for row in pseudo)
    member = run / "members" / "1"
    command("pseudo-label", member, unlabelled).refused(member, "no confidence of a number", "--members")
    command("pseudo-label", run, unlabelled, "--per-class", 3).refused("--per-class", "regression", "--threshold")
    command("pseudo-label", run, unlabelled, "--by", "propagation").refused("--by propagation", "regression")
    joined = tmp_path / "joined"
    assert command("ensemble", member, run / "members" / "2", "-o", joined).code == 0
    command("pseudo-label", joined, unlabelled).refused(joined, "--sets-of")
    done = command("pseudo-label", joined, unlabelled, "-o", tmp_path / "j.csv", "--threshold", 0.5, "--sets-of", run)
    assert done.code == 0, done.err
    assert (tmp_path / "j.csv").read_text() == (tmp_path / "n.csv").read_text()


def test_bad_input(
    command: Command, finetuned: Path, pretrained: Path, inputs: Path, unlabelled: Path, tmp_path: Path
) -> None:
    def refused(*arguments: object, words: tuple[object, ...]) -> None:
        command("pseudo-label", *arguments).refused(*words)

    (tmp_path / "empty.fasta").write_text("")
    (tmp_path / "dna.fasta").write_text(">d\n" + "ACGT" * 40 + "\n")
    (tmp_path / "known.fasta").write_text(fasta(SEQUENCES))
    (tmp_path / "odd.fasta").write_text(">o\nMKV1\n")
    refused(finetuned, tmp_path / "empty.fasta", words=("empty.fasta", "empty"))
    refused(finetuned, tmp_path / "dna.fasta", words=("dna.fasta:1", finetuned, "proteins"))
    refused(finetuned, tmp_path / "odd.fasta", words=("odd.fasta:1", "'1' at position 4"))
    refused(finetuned, tmp_path / "known.fasta", words=("nothing is left to label", "labelled already"))
    refused(pretrained, unlabelled, words=(pretrained, "pretrained without labels", "finetune"))
    refused(finetuned, unlabelled, "--threshold", 0.9999999, words=("no pseudo-label is left", "--threshold"))
    refused(finetuned, unlabelled, "--threshold", 2, words=("--threshold 2", "0 to 1"))
    refused(finetuned, unlabelled, "--per-class", 0, words=("--per-class 0",))
    refused(finetuned, unlabelled, "--per-class", 2, "--balance", words=("--per-class and --balance",))
    refused(finetuned, unlabelled, "--neighbours", 0, words=("--neighbours 0",))
    refused(finetuned, unlabelled, "--table", tmp_path / "x.csv", words=("x.csv is not there", "--table FILE"))
    (tmp_path / "changed.csv").write_text((inputs / "classes.csv").read_text() + "p40,MKV,a\n")
    refused(finetuned, unlabelled, "--table", tmp_path / "changed.csv", words=("changed.csv", "SHA-256 differs"))
    (tmp_path / "moved.csv").write_bytes((inputs / "classes.csv").read_bytes())
    done = command("pseudo-label", finetuned, unlabelled, "--table", tmp_path / "moved.csv", "--balance")
    assert done.code in (0, 2) and "Traceback" not in done.err


def test_labels_of_residues_are_refused(command: Command, unlabelled: Path, tmp_path: Path) -> None:
    residues = tmp_path / "residues.csv"
    residues.write_text(table(lambda i: "".join("HE"[j % 2] for j in range(len(SEQUENCES[i % 40])))))
    assert command("finetune", residues, "-o", tmp_path / "run", *TINY).code == 0
    command("pseudo-label", tmp_path / "run", unlabelled).refused("labels residues", "whole sequences")
