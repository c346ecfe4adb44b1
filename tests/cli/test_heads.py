"""Heads and the U-Net by words on the command line: trained, kept, read back, and refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import SEQUENCES, TINY, Command, fasta, table

LONGEST = max(map(len, SEQUENCES))
RESIDUES = table(lambda i: "".join("HEC"[(j + i) % 3] for j in range(len(SEQUENCES[i]))))


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        (None, {"kind": "PooledHeadConfig", "outputs": 1, "pooling": "all", "dropout": 0.1}),
        ("pooled-head:pooling=max", {"kind": "PooledHeadConfig", "outputs": 1, "pooling": "max", "dropout": 0.1}),
        (
            "light-attention-head:kernel_size=5,dropout=0.3",
            {"kind": "LightAttentionHeadConfig", "outputs": 1, "kernel_size": 5, "dropout": 0.3},
        ),
        (
            "aligned-head:channels=4",
            {"kind": "AlignedHeadConfig", "outputs": 1, "length": LONGEST, "channels": 4, "dropout": 0.1},
        ),
    ],
)
def test_a_head_in_words_is_trained_and_kept(
    words: str | None, kept: dict[str, object], command: Command, tmp_path: Path
) -> None:
    path, run = tmp_path / "table.csv", tmp_path / "run"
    path.write_text(table(lambda i: i * 7 % 11 + 0.5))
    (tmp_path / "new.fasta").write_text(fasta())
    options = (*TINY, "--task", "regression", *(("--head", words) if words else ()))
    assert command("finetune", path, "-o", run, *options).code == 0
    assert json.loads((run / "model/head.json").read_text()) == kept
    predicted = command("predict", run, tmp_path / "new.fasta")
    assert predicted.code == 0
    assert len(predicted.out.splitlines()) == 1 + len(SEQUENCES)


def test_a_u_net_is_trained_and_predicts_every_residue(command: Command, tmp_path: Path) -> None:
    path, run = tmp_path / "table.csv", tmp_path / "run"
    path.write_text(RESIDUES)
    (tmp_path / "new.fasta").write_text(fasta())
    options = (*TINY, "--task", "residue", "--model", "u-net:levels=2,norm=batch,stochastic_depth=0.1")
    assert command("finetune", path, "-o", run, *options).code == 0
    predicted = command("predict", run, tmp_path / "new.fasta")
    assert predicted.code == 0
    name, states = predicted.out.splitlines()[1].split(",")[:2]
    assert (name, len(states)) == ("p0", len(SEQUENCES[0]))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("pooled", ["--head pooled", "no head is called 'pooled'", "did you mean 'pooled-head'?"]),
        ("position-head", ["no head is called 'position-head'", "pooled-head"]),
        ("pooled-head:pooling=median", ["pooling", "'median' is none of all, mean, max, attention"]),
        ("pooled-head:outputs=7", ["--head pooled-head:outputs=7", "need 1 outputs; leave outputs out"]),
        ("light-attention-head:kernel_size=4", ["kernel_size 4 has no centre; make it odd"]),
        ("aligned-head:channels=0", ["channels is 0"]),
        ("light-attention-head:width=4", ["'width=4' is no field=value of it"]),
    ],
)
def test_heads_that_do_not_fit_are_refused(words: str, said: list[str], command: Command, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(table(lambda i: i * 7 % 11 + 0.5))
    command("finetune", path, "-o", tmp_path / "run", *TINY, "--head", words).refused(*said)
    assert not (tmp_path / "run").exists()


def test_an_aligned_head_takes_no_windows_and_nothing_longer(command: Command, tmp_path: Path) -> None:
    path, run = tmp_path / "table.csv", tmp_path / "run"
    path.write_text(table(lambda i: i * 7 % 11 + 0.5))
    options = (*TINY, "--task", "regression", "--head", "aligned-head")
    outcome = command("finetune", path, "-o", run, *options, "--max-length", "10")
    outcome.refused("--head aligned-head: positions of windows", "--max-length")
    assert command("finetune", path, "-o", run, *options).code == 0
    (tmp_path / "long.fasta").write_text(f">long\n{'MKT' * max(map(len, SEQUENCES))}\n")
    command("predict", run, tmp_path / "long.fasta").refused("has weights for", "positions")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--augment", "random-insertion:rate=0.1"), "--augment random-insertion:rate=0.1 moves letters"),
        (("--augment", "random-deletion:rate=0.1,probability=0.5"), "--augment random-deletion"),
        (("--augment", "letter-dropout:rate=0.1 | random-crop:max_length=9"), "moves letters; leave one of the two"),
        (("--curriculum", "length-growth:start=9"), "--curriculum length-growth:start=9 moves letters"),
        (("--head", "aligned-head:length=9"), f"weights for 9 positions, and the longest sequence here has {LONGEST}"),
    ],
)
def test_an_aligned_head_finds_every_letter_at_its_place(
    options: tuple[str, ...], said: str, command: Command, tmp_path: Path
) -> None:
    path = tmp_path / "table.csv"
    path.write_text(table(lambda i: i * 7 % 11 + 0.5))
    start = ("finetune", path, "-o", tmp_path / "run", *TINY, "--task", "regression", "--head", "aligned-head")
    command(*start, *options).refused("--head aligned-head", said)
    assert not (tmp_path / "run").exists()


def test_a_kept_aligned_head_is_told_of_longer_sequences_before_the_training(command: Command, tmp_path: Path) -> None:
    short, run = tmp_path / "short.csv", tmp_path / "run"
    header, *rows = table(lambda i: "ab"[i % 2]).splitlines()
    short.write_text("\n".join([header, *(row for row in rows if len(row.split(",")[1]) < LONGEST), ""]))
    (tmp_path / "all.csv").write_text("\n".join([header, *rows, ""]))
    assert command("finetune", short, "-o", run, *TINY, "--head", "aligned-head").code == 0
    on = ("--from", run, "--keep-head", "-o", tmp_path / "on", *TINY[2:])
    command("finetune", tmp_path / "all.csv", *on).refused("--keep-head: has weights for", "positions", LONGEST)
    command("finetune", short, *on, "--max-length", "20").refused("--keep-head: positions of windows", "--max-length")
    assert not (tmp_path / "on").exists()


def test_labels_per_residue_take_no_other_head(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(RESIDUES)
    outcome = command("finetune", path, "-o", tmp_path / "run", *TINY, "--head", "light-attention-head")
    outcome.refused("--head light-attention-head: is for one answer per sequence, not per residue; leave it out")
