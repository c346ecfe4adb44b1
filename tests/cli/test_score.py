"""seqtrain score as its user meets it: rows in, rows out, in order; heat map, correlation, one line for bad input."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from xml.etree import ElementTree

import pytest

from seqtrain.score.methods import Method
from seqtrain.words import names_of
from seqtrain_cli import score
from seqtrain_cli.main import main
from seqtrain_cli.options import Count
from tests.cli.conftest import SEQUENCES, TINY, Command, fasta

WILD = SEQUENCES[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one.fasta and two.fasta."""
    folder = tmp_path_factory.mktemp("score")
    (folder / "one.fasta").write_text(fasta(SEQUENCES[:1]))
    (folder / "two.fasta").write_text(fasta(SEQUENCES[:2]))
    return folder


def replaced(position: int, letter: str, sequence: str = WILD) -> str:
    return f"{sequence[position - 1]}{position}{letter}"


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_the_methods_of_the_command_are_those_of_the_union() -> None:
    assert tuple(names_of(Method)) == score.METHODS
    assert Count  # the command is imported without torch


def test_rows_come_out_as_they_came_in(command: Command, pretrained: Path, folder: Path) -> None:
    mutations = [replaced(3, "W"), "WT", f"{replaced(5, 'C')}:{replaced(9, 'D')}", replaced(3, "W"), replaced(1, "Y")]
    lines = [f"{mutation},{i},{i * 0.5}" for i, mutation in enumerate(mutations)]
    (folder / "m.csv").write_text("\n".join(["mutant,position,score", *lines]) + "\n")
    arguments = ("--method", "wild-type-marginal", "--method", "masked-marginal", "--heat-map", folder / "m.svg")
    done = command(
        "score", pretrained, folder / "one.fasta", "--mutations", folder / "m.csv", *arguments, "--measured", "score"
    )
    assert done.code == 0, done.err
    rows = rows_of(done.out)
    assert list(rows[0]) == [
        "identifier", "mutation", "position", "wild_type", "mutant", "wild_type_marginal", "masked_marginal",
        "position_of_table", "score",
    ]  # fmt: skip
    assert [row["mutation"] for row in rows] == mutations
    assert [row["position_of_table"] for row in rows] == list("01234")
    assert rows[0]["position"] == "3" and rows[0]["mutant"] == "W" and rows[2]["position"] == "5:9"
    assert rows[1]["masked_marginal"] == "0.0" and rows[0]["masked_marginal"] == rows[3]["masked_marginal"]
    assert ElementTree.parse(folder / "m.svg").getroot().tag.endswith("svg")
    assert done.err.count("Spearman") == 2 and "over 5 of 5 variants" in done.err
    again = command("score", pretrained, folder / "one.fasta", "--mutations", folder / "m.csv", *arguments)
    assert rows_of(again.out) == rows


def test_all_singles_of_several_wild_types(command: Command, pretrained: Path, folder: Path) -> None:
    output = folder / "singles.csv"
    done = command("score", pretrained, folder / "two.fasta", "--all-singles", "-o", output)
    assert done.code == 0, done.err
    rows = rows_of(output.read_text())
    assert len(rows) == 19 * (len(SEQUENCES[0]) + len(SEQUENCES[1]))
    assert [row["identifier"] for row in rows[:: 19 * len(WILD)]][:2] == ["p0", "p1"]
    assert rows[0]["mutation"].startswith(f"{WILD[0]}1") and len({row["masked_marginal"] for row in rows}) > 100
    # The same as asked for one by one, and by windows that hold the protein.
    (folder / "one.csv").write_text(f"protein,mutation\np1,{rows[-1]['mutation']}\n")
    one = command(
        "score", pretrained, folder / "two.fasta", "--mutations", folder / "one.csv", "--max-length", len(SEQUENCES[1])
    )
    assert float(rows_of(one.out)[0]["masked_marginal"]) == pytest.approx(float(rows[-1]["masked_marginal"]), abs=1e-4)


def test_sequences_in_the_place_of_mutations(command: Command, pretrained: Path, folder: Path) -> None:
    other = ("W" if WILD[0] != "W" else "Y") + WILD[1:]
    (folder / "s.csv").write_text(f"sequence\n{WILD}\n{other}\n{WILD[1:]}\n")
    arguments = ("score", pretrained, folder / "one.fasta", "--mutations", folder / "s.csv")
    done = command(*arguments, "--method", "masked-marginal", "--method", "pseudo-log-likelihood")
    assert done.code == 0, done.err
    rows = rows_of(done.out)
    assert [row["mutation"] for row in rows] == ["WT", f"{WILD[0]}1{other[0]}", ""]
    assert rows[2]["masked_marginal"] == "" and float(rows[2]["pseudo_log_likelihood"]) != 0
    assert "1 of them with insertions or deletions" in done.err
    command(*arguments).refused("s.csv:4", "marginals", "--method pseudo-log-likelihood")


def test_mutations_that_do_not_match_say_where_and_at_which_offset(
    command: Command, pretrained: Path, folder: Path
) -> None:
    shifted = [f"{WILD[i + 1]}{i + 1}{'A' if WILD[i + 1] != 'A' else 'C'}" for i in range(20)]
    wrong = next(i for i in range(20) if WILD[i] != WILD[i + 1])
    (folder / "shift.csv").write_text("\n".join(["mutation", *shifted]) + "\n")
    arguments = ("score", pretrained, folder / "one.fasta", "--mutations", folder / "shift.csv")
    command(*arguments).refused(
        f"shift.csv:{wrong + 2}: {shifted[wrong]} expects {WILD[wrong + 1]} at position {wrong + 1} of p0, which has "
        f"{WILD[wrong]} there; at --offset 1 all 20 stated letters would match"
    )
    done = command(*arguments, "--offset", 1)
    assert done.code == 0 and [row["mutation"] for row in rows_of(done.out)] == shifted
    assert rows_of(done.out)[0]["position"] == "2"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mutation\nfoo\n", ("bad.csv:2", "'foo' is no mutation")),
        ("mutation\nWT\nA999G\n", ("bad.csv:3", "beyond the end of p0")),
        (f"mutation\n{WILD[0]}1X\n", ("bad.csv:2", "'X' is none of the standard protein letters")),
        (f"mutation\n{WILD[0]}1del\n", ("bad.csv:2", "--method pseudo-log-likelihood")),
        ("mutation\n", ("no rows",)),
        ("a,b\n1,2\n", ("no column holds mutations",)),
        (f"sequence\n{'O' + WILD[1:]}\n", ("bad.csv:2", "'O' at position 1", "no standard protein letter")),
    ],
)
def test_tables_that_cannot_be_used(
    command: Command, pretrained: Path, folder: Path, text: str, words: tuple[str, ...]
) -> None:
    (folder / "bad.csv").write_text(text)
    command("score", pretrained, folder / "one.fasta", "--mutations", folder / "bad.csv").refused(*words)


def test_what_does_not_go_together(command: Command, pretrained: Path, finetuned: Path, folder: Path) -> None:
    one, two, table = folder / "one.fasta", folder / "two.fasta", folder / "w.csv"
    table.write_text(f"mutation,x\n{replaced(1, 'Y')},1\nWT,no\n")
    command("score", pretrained, one).refused("--mutations TABLE or --all-singles")
    command("score", finetuned, one, "--all-singles").refused(finetuned, "classification", "pretrain")
    command("score", pretrained, two, "--mutations", table).refused("2 wild types (p0, p1)", "--name-column")
    command("score", pretrained, two, "--mutations", table, "--name-column", "x").refused("'1'", "p0, p1")
    command("score", pretrained, one, "--mutations", table, "--measured", "x").refused("w.csv:3", "'no'", "no number")
    for option in ("--measured", "--mutation-column", "--name-column", "--sequence-column"):
        command("score", pretrained, one, "--all-singles", option, "x").refused(f"{option}: is for the table")
    command("score", pretrained, one, "--all-singles", "--offset", 7).refused("--offset: is for the table")
    command("score", pretrained, one, "--all-singles", "-o", one).refused(one, "is the input too")
    command("score", pretrained, one, "--all-singles", "--heat-map", "x.png").refused("--heat-map x.png", ".svg")
    command("score", pretrained, folder / "none.fasta", "--all-singles").refused("none.fasta", "no such file")
    command("score", pretrained, one, "--all-singles", "--max-length", 0).refused("--max-length 0")
    (folder / "dna.fasta").write_text(">d\n" + "ACGT" * 30 + "\n")
    command("score", pretrained, folder / "dna.fasta", "--all-singles").refused("dna.fasta:1", pretrained, "proteins")
    (folder / "short.fasta").write_text("".join(f">d{i}\n{'ACGT' * 5}\n" for i in range(20)))
    command("score", pretrained, folder / "short.fasta", "--all-singles").refused("short.fasta", pretrained, "proteins")
    missing = folder / "missing" / "m.svg"
    refused = command("score", pretrained, one, "--all-singles", "--heat-map", missing)
    refused.refused(missing, "no folder")
    assert not refused.out, "nothing was computed before"
    (folder / "same.fasta").write_text(">p\nMKV\n>p\nMKA\n")
    command("score", pretrained, folder / "same.fasta", "--all-singles").refused("same.fasta:3", "'p'")


def test_a_run_of_nucleotides_refuses_a_protein(command: Command, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "d.fasta").write_text("".join(f">d{i}\n{'ACGT' * (8 + i)}\n" for i in range(20)))
    with pytest.raises(SystemExit) as leave:
        main([str(x) for x in ("pretrain", tmp_path / "d.fasta", "--alphabet", "dna", "-o", tmp_path / "run", *TINY)])
    assert leave.value.code == 0
    run = tmp_path / "run"
    command("score", run, folder / "one.fasta", "--all-singles").refused("one.fasta:1", "protein", run, "dna letters")
    (tmp_path / "one.fasta").write_text(">d\nACGTACGTAC\n")
    done = command("score", run, tmp_path / "one.fasta", "--all-singles")
    assert done.code == 0 and len(rows_of(done.out)) == 30
