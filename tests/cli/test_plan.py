"""``seqtrain plan`` takes the options of the trainings, says what they will do, and leaves nothing behind."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import seqtrain.plan
from tests.cli.conftest import TINY, Command


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two measured steps are enough where no time is looked at."""
    monkeypatch.setattr(seqtrain.plan, "_MEASURED_SECONDS", 0.0)


def _rows(out: str) -> dict[str, str]:
    return {line[:20].strip(): line for line in out.splitlines()}


def test_steps_are_those_of_the_run(
    command: Command, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for kind, source, budget in (
        ("pretrain", "proteins.fasta", ("--residues", "6k")),
        ("finetune", "classes.csv", ("--epochs", "5")),
    ):
        arguments = (kind, inputs / source, "--size", "100K", "--device", "cpu", "--num-evaluations", "1", *budget)
        planned = command("plan", *arguments, "-o", "run")
        assert planned.code == 0 and "measuring a few steps" in planned.err
        assert not list(tmp_path.iterdir())
        assert command(*arguments, "-o", tmp_path / kind).code == 0
        steps = json.loads((tmp_path / kind / "metrics.jsonl").read_text().splitlines()[-1])["step"]
        assert steps > 2 and f" {steps} of up to " in _rows(planned.out)["steps"]
        for path in tmp_path.rglob("*"):
            if path.is_file():
                path.unlink()
        for path in sorted(tmp_path.rglob("*"), reverse=True):
            path.rmdir()


def test_a_run_that_is_there_is_left_alone(command: Command, inputs: Path, pretrained: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in pretrained.rglob("*")}
    done = command("plan", "finetune", inputs / "classes.csv", "--from", pretrained, "-o", pretrained, "--steps", "3")
    assert done.code == 0
    assert {path: path.stat().st_mtime_ns for path in pretrained.rglob("*")} == before


def test_words(command: Command, inputs: Path) -> None:
    done = command("plan", "pretrain", inputs / "proteins.fasta", *TINY, "--learning-rate", "auto")
    rows = _rows(done.out)
    for name in ("seconds per step", "peak memory", "largest microbatch", "disk", "whole training"):
        assert name in "\n".join(rows), name
    assert "for --learning-rate auto" in done.out
    assert "estimated" in done.out or "too little memory" in done.out
    assert "resident memory of the whole process" in done.out


def test_an_ensemble_takes_as_many_trainings(command: Command, inputs: Path) -> None:
    options = (inputs / "classes.csv", *TINY, "--bagging", "balanced")
    alone, three = (command("plan", "finetune", *options, "--members", count) for count in (1, 3))
    assert three.code == 0 and "3 members, each with" in _rows(three.out)["whole training"]
    disks = [re.search(r"disk +([\d.]+) MB", done.out) for done in (alone, three)]
    one, all_of_them = (float(found[1]) for found in disks if found)
    assert all_of_them == pytest.approx(3 * one, rel=0.05)


def test_a_student_is_measured_with_its_teacher(command: Command, inputs: Path, finetuned: Path) -> None:
    start = ("plan", "distill", inputs / "classes.csv", *TINY)
    done = command(*start, "--teacher", finetuned)
    assert done.code == 0 and " 3 of up to " in _rows(done.out)["steps"]
    command(*start).refused("--teacher: name a finished run")


def test_refused(command: Command, inputs: Path, tmp_path: Path) -> None:
    command("plan", "pretrain").refused("no FASTA file was given")
    command("plan", "finetune").refused("no table was given")
    command("plan", "pretrain", tmp_path / "none.fasta").refused("none.fasta")
    command("plan", "pretrain", inputs / "proteins.fasta", "--overwrite").refused("--overwrite")
    config = tmp_path / "c.toml"
    config.write_text("stepz = 3\n")
    command("plan", "pretrain", inputs / "proteins.fasta", "--config", config).refused("did you mean 'steps'")
    command("plan", "predict").refused("No such command")
