"""Ctrl-C, SIGTERM and SIGKILL leave nothing half-written, and the same command goes on to the same end."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from seqtrain import fitting, keeping
from seqtrain.checkpoint import save_checkpoint
from seqtrain.training import StepReport
from tests.cli.conftest import SEQUENCES, Command, fasta

STEPS = 40
SLOW = (
    "--size", "100K", "--steps", str(STEPS), "--num-evaluations", "20", "--tokens-per-step", "512", "--dropout", "0.1",
    "--device", "cpu",
)  # fmt: skip
INPUTS = {"pretrain": "proteins.fasta", "finetune": "classes.csv"}


def started(*arguments: object, stdin: int | None = None) -> subprocess.Popen[str]:
    """A command in a process of its own, computing on one thread like this one."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    start = [sys.executable, "-m", "seqtrain_cli.main", *map(str, arguments)]
    return subprocess.Popen(start, stderr=subprocess.PIPE, text=True, env=environment, stdin=stdin)


def leavings(folder: Path) -> list[Path]:
    """Half-written files and folders."""
    return [path for path in folder.rglob("*") if ".tmp-" in path.name or "partial" in path.name]


@pytest.fixture(scope="module")
def alone(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run of each kind that nobody interrupted, begun at first need."""
    return {kind: tmp_path_factory.mktemp("alone") / kind for kind in INPUTS}


def same_weights(kind: str, run: Path, alone: dict[str, Path], inputs: Path, command: Command) -> bool:
    """Whether a run ended with the weights of one that was left alone, bit for bit."""
    whole = alone[kind]
    if not whole.exists():
        assert command(kind, inputs / INPUTS[kind], "-o", whole, *SLOW).code == 0
    names = ["model.safetensors", *(["head.safetensors"] if kind == "finetune" else [])]
    return all((run / "model" / name).read_bytes() == (whole / "model" / name).read_bytes() for name in names)


@pytest.mark.parametrize(("kind", "seed"), [("pretrain", 1), ("finetune", 2)])
def test_killed_at_a_random_step(
    kind: str, seed: int, alone: dict[str, Path], command: Command, inputs: Path, tmp_path: Path
) -> None:
    arguments = (kind, inputs / INPUTS[kind], "-o", tmp_path / "run", *SLOW)
    killed = random.Random(seed).randrange(4, 20, 2)
    process = started(*arguments)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(f"step {killed}/"):
            process.kill()
            break
    process.stderr.read()
    assert process.wait(timeout=60) == -signal.SIGKILL
    assert not (tmp_path / "run/model").exists()
    outcome = command(*arguments)
    assert outcome.code == 0, outcome.err
    assert "continuing after step" in outcome.err
    assert not leavings(tmp_path)
    assert same_weights(kind, tmp_path / "run", alone, inputs, command)


@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("saving", [1, 3])
def test_ctrl_c_while_saving_and_damage_to_the_newest_checkpoint(
    kind: str, saving: int, alone: dict[str, Path], command: Command, inputs: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    run = tmp_path / "run"
    arguments = (kind, inputs / INPUTS[kind], "-o", run, *SLOW)
    saved: list[Path] = []

    def interrupted(*given: object) -> Path:
        if len(saved) == saving:
            raise KeyboardInterrupt
        saved.append(save_checkpoint(*given))  # type: ignore[arg-type]
        return saved[-1]

    monkeypatch.setattr(keeping, "save_checkpoint", interrupted)
    outcome = command(*arguments)
    assert (outcome.code, outcome.message) == (130, "interrupted")
    monkeypatch.undo()
    content = bytearray((saved[-1] / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (saved[-1] / "model.safetensors").write_bytes(content)
    (run / "checkpoints/.step-00000099.partial").mkdir()
    (run / "run.json.tmp-0123").write_text("{")
    outcome = command(*arguments)
    assert outcome.code == 0, outcome.err
    assert f"{saved[-1]}: damaged, passed over" in outcome.err
    assert ("continuing after step" in outcome.err) == (saving > 1)
    assert not leavings(run)
    assert same_weights(kind, run, alone, inputs, command)


@pytest.mark.parametrize(
    ("kind", "number", "step"), [("pretrain", signal.SIGINT, 3), ("finetune", signal.SIGTERM, STEPS)], ids=str
)
def test_a_signal_lets_the_step_be_finished_and_saved(
    kind: str, number: int, step: int, alone: dict[str, Path], command: Command, inputs: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def signalled(report: StepReport) -> dict[str, float]:
        if report.step == step:
            signal.raise_signal(number)
        return measures(report)

    measures = fitting._measures
    monkeypatch.setattr(fitting, "_measures", signalled)
    arguments = (kind, inputs / INPUTS[kind], "-o", tmp_path / "run", *SLOW)
    outcome = command(*arguments)
    expected = (128 + number, f"stopped and saved after step {step}; rerun to continue")
    assert (outcome.code, outcome.message) == expected
    assert not leavings(tmp_path) and not (tmp_path / "run/model").exists()
    monkeypatch.undo()
    outcome = command(*arguments)
    assert outcome.code == 0
    assert f"continuing after step {step} of {STEPS}" in outcome.err
    assert same_weights(kind, tmp_path / "run", alone, inputs, command)


def test_terminated_while_predicting_removes_the_half_written_file(finetuned: Path, tmp_path: Path) -> None:
    process = started("predict", finetuned, "-", "-o", tmp_path / "x.csv", stdin=subprocess.PIPE)
    assert process.stdin is not None and process.stderr is not None
    process.stdin.write(fasta(SEQUENCES * 200))  # more than is predicted at once, and no end
    process.stdin.flush()
    until = time.monotonic() + 60
    while not leavings(tmp_path) and time.monotonic() < until:
        time.sleep(0.02)
    assert leavings(tmp_path)
    process.terminate()
    told = process.stderr.read()
    assert process.wait(timeout=60) == 128 + signal.SIGTERM
    assert "Traceback" not in told
    assert told.splitlines()[-1] == "terminated"
    assert not list(tmp_path.iterdir())
