"""``seqtrain describe`` on everything that it takes, and what it says to what it does not."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from tests.cli.conftest import TINY, Command


def _total(out: str) -> int:
    (line,) = (line for line in out.splitlines() if line.startswith("total"))
    return int(line.split()[1].replace(",", ""))


def test_a_network_in_words(command: Command, tmp_path: Path) -> None:
    done = command("describe", "--model", "cnn:kernel_size=7", "--size", "100K", "--svg", tmp_path / "cnn.svg")
    assert done.code == 0 and done.out.splitlines()[0] == "cnn with language-model-head"
    assert "4 × CNNBlock" in done.out and "receptive field: an output depends on at most 91 positions" in done.out
    assert ElementTree.parse(tmp_path / "cnn.svg").getroot().tag.endswith("svg")


def test_length_and_heads(command: Command) -> None:
    done = command("describe", "--size", "100K", "--outputs", "5", "--length", "1k")
    assert "transformer with pooled-head" in done.out and "(B, K)  1 × 5" in done.out
    assert "for one sequence of 1,000 residues: T = 1,002 positions" in done.out
    per_residue = command("describe", "--size", "100K", "--per-residue", "--alphabet", "dna")
    assert "(T, K)  514 × 1" in per_residue.out


def test_a_run_is_what_was_trained(command: Command, pretrained: Path, finetuned: Path) -> None:
    run, model = command("describe", pretrained), command("describe", pretrained / "model")
    scratch = command("describe", "--size", "100K")
    assert run.code == 0 and run.out == model.out == scratch.out
    labels = command("describe", finetuned)
    # Its task has two classes, and the head as many outputs.
    assert "(B, K)  1 × 2" in labels.out
    assert _total(labels.out) == _total(command("describe", "--size", "100K", "--outputs", "2").out)
    given = command("describe", pretrained / "model", "--outputs", "2")
    assert given.out == labels.out


def test_a_configuration(command: Command, pretrained: Path, finetuned: Path, tmp_path: Path) -> None:
    of_run = command("describe", pretrained / "config.toml")
    assert of_run.out == command("describe", pretrained).out
    labels = command("describe", finetuned / "config.toml", "--outputs", "2")
    assert labels.out == command("describe", finetuned).out
    config = tmp_path / "mine.toml"
    config.write_text(f'model = "cnn"\nsize = "100K"\ninit_from = "{pretrained}"\n')
    assert "transformer" in command("describe", config).out


@pytest.mark.parametrize("objective", ["masked-autoencoder", "pretext", "sim-siam"])
def test_a_configuration_with_an_objective_has_the_head_that_answers_it(
    objective: str, command: Command, inputs: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    done = command("pretrain", inputs / "proteins.fasta", "--objective", objective, "-o", run, *TINY)
    assert done.code == 0, done.err
    whole = command("describe", run)
    assert whole.code == 0 and "language-model-head" not in whole.out
    assert ("(T, V)" in whole.out) == (objective == "masked-autoencoder")
    assert command("describe", run / "config.toml").out == whole.out
    assert "with language-model-head" not in command("describe", run / "config.toml").out
    labels = command("describe", run / "config.toml", "--outputs", "2")
    assert labels.code == 0 and "(B, K)  1 × 2" in labels.out
    (run / "task.json").unlink()
    assert command("describe", run).out == whole.out


def test_a_run_that_is_not_finished(command: Command, inputs: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert command("pretrain", inputs / "proteins.fasta", "-o", run, *TINY).code == 0
    whole = command("describe", run).out
    (run / "task.json").unlink()
    assert command("describe", run).out == whole


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), ("nothing to describe", "--model")),
        (("nowhere",), ("nowhere", "no such run")),
        (("--size", "7X"), ("7X", "choose one of")),
        (("--model", "cnnn"), ("cnnn", "did you mean 'cnn'")),
        (("--size", "1M", "--length", "0"), ("--length 0",)),
        (("--size", "1M", "--outputs", "0"), ("--outputs 0",)),
        (("--size", "1M", "--head", "pooled-hat"), ("--head pooled-hat", "did you mean")),
    ],
)
def test_refused(command: Command, arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    command("describe", *arguments).refused(*words)


def test_sources_that_are_refused(command: Command, pretrained: Path, tmp_path: Path) -> None:
    command("describe", tmp_path).refused(tmp_path, "neither a run", "model folder")
    command("describe", pretrained, "--size", "1M").refused("--size 1M", "leave one of the two out")
    command("describe", pretrained, "--outputs", "2").refused(pretrained, "has a head of its own")
    config = tmp_path / "config.toml"
    config.write_text("sise = '1M'\n")
    command("describe", config).refused(config, "unknown key 'sise'", "did you mean 'size'")
    table = tmp_path / "table.csv"
    table.write_text("sequence,label\nMK,1\n")
    command("describe", table).refused(table, "not a .toml file", "give a run")
    for key in ("teacher = ['runs/a']", "vary = ['dropout:low=0,high=1']"):
        config.write_text(f"size = '100K'\nmodel = 'cnn'\ntarget = 'x'\n{key}\n")
        assert command("describe", config).code == 0
    config.write_text("size = \n")
    command("describe", config).refused(config, "not TOML")
    command("describe", "--size", "100K", "--svg", tmp_path / "no" / "x.svg").failed(2, "x.svg")
