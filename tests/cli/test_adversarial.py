"""Finetuning with an adversary from the command line, and where it is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Command

WORDS: tuple[Any, ...] = ("--model", "cnn", "--size", "100K", "--steps", "3", "--device", "cpu", "--leakage", "none")


def table(folder: Path) -> Path:
    path = folder / "labels.csv"
    rows = [f"{'MKTAYIAKQR' * 2 + letter * (2 + i % 5)},{letter}" for i, letter in enumerate("ACDE" * 10)]
    path.write_text("\n".join(["sequence,kind", *rows]) + "\n")
    return path


def test_a_finetuning_with_an_adversary(tmp_path: Path, command: Command) -> None:
    labels = table(tmp_path)
    given = ("finetune", labels, "--target", "kind", *WORDS, "--baselines", "none")
    for name, more in {
        "plain": (),
        "sign": ("--adversarial", "gradient-sign:size=0.5"),
        "steps": ("--adversarial", "projected-gradient:size=0.5,steps=2", "--debug"),
        "head": ("--adversarial", "gradient-sign", "--freeze", "body", "--from", tmp_path / "plain"),
    }.items():
        words = (
            given
            if name != "head"
            else tuple(word for word in given if word not in ("--model", "cnn", "100K", "--size"))
        )
        done = command(*words, "-o", tmp_path / name, *more)
        assert done.code == 0, done.err
    losses = {name: (tmp_path / name / "metrics.jsonl").read_text() for name in ("plain", "sign", "steps")}
    assert len(set(losses.values())) == 3
    assert 'adversarial = "gradient-sign:size=0.5"' in (tmp_path / "sign" / "config.toml").read_text()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--adversarial", "gradientsign"), "did you mean 'gradient-sign'?"),
        (("--adversarial", "gradient-sign:size=0"), "give a number above 0"),
        (("--adversarial", "projected-gradient:steps=0"), "at least 1"),
        (("--adversarial", "gradient-sign", "--loss", "dice"), "compares records with each other"),
    ],
)
def test_attacks_that_cannot_be_meant(options: tuple[str, ...], said: str, tmp_path: Path, command: Command) -> None:
    command("finetune", table(tmp_path), "--target", "kind", *WORDS, "-o", tmp_path / "run", *options).refused(said)
    assert not (tmp_path / "run").exists()


def test_a_distillation_refuses_an_adversary(tmp_path: Path, command: Command) -> None:
    labels = table(tmp_path)
    words = ("--target", "kind", *WORDS)
    assert command("finetune", labels, *words, "--baselines", "none", "-o", tmp_path / "teacher").code == 0
    command("distill", labels, *words, "--teacher", tmp_path / "teacher", "--adversarial", "gradient-sign").refused(
        "the teacher would not see"
    )
