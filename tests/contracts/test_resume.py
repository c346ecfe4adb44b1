"""A training that is stopped and continued ends with the same weights, bit for bit, as one that is left alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from seqtrain.config import FinetuneConfig, PretrainConfig
from seqtrain.errors import Stopped
from seqtrain.fitting import Silent
from seqtrain.recipes.finetune import finetune
from seqtrain.recipes.pretrain import pretrain
from seqtrain.training import StepReport
from seqtrain_data.families import FamilyWorld, write_fasta, write_table

STEPS = 12


class StopsAt(Silent):
    """A listener that sends this process SIGTERM after some steps."""

    def __init__(self, *steps: int) -> None:
        super().__init__()
        object.__setattr__(self, "steps", steps)

    def step_done(self, report: StepReport, num_steps: int) -> None:
        if report.step in self.steps:  # type: ignore[attr-defined]
            signal.raise_signal(signal.SIGTERM)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    members = FamilyWorld(num_families=3, length=30).sample(60, seed=1)
    write_fasta(folder / "corpus.fasta", members)
    write_table(folder / "table.csv", members)
    return folder


def _pretrain(inputs: Path, output: Path, listener: Silent) -> None:
    config = PretrainConfig(
        inputs=(str(inputs / "corpus.fasta"),), output=str(output), size="100K", steps=STEPS, tokens_per_step=300,
        tokens_per_microbatch=100, dropout=0.1, num_evaluations=3, max_length=20,
    )  # fmt: skip
    pretrain(config, listener)


def _finetune(inputs: Path, output: Path, listener: Silent) -> None:
    config = FinetuneConfig(
        table=str(inputs / "table.csv"), output=str(output), target=("family",), size="100K", steps=STEPS,
        tokens_per_step=300, tokens_per_microbatch=100, num_evaluations=4, long="crop", max_length=20,
    )  # fmt: skip
    finetune(config, listener)


@pytest.mark.parametrize("train", [_pretrain, _finetune])
@pytest.mark.parametrize("stops", [(1,), (4,), (5, 9), (11,)], ids=str)
def test_stopped_and_continued_equals_left_alone(train, stops, inputs: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    train(inputs, tmp_path / "alone", Silent())
    for stop in stops:
        with pytest.raises(Stopped) as stopped:
            train(inputs, tmp_path / "stopped", StopsAt(stop))
        assert stopped.value.signal_number == signal.SIGTERM
    train(inputs, tmp_path / "stopped", Silent())
    for name in ("model.safetensors", "head.safetensors"):
        paths = [tmp_path / run / "model" / name for run in ("alone", "stopped")]
        assert paths[0].exists() == paths[1].exists()
        if paths[0].exists():
            assert paths[0].read_bytes() == paths[1].read_bytes()
    weights = load_file(tmp_path / "alone/model/model.safetensors")
    assert any(array.std() > 0 for array in weights.values())


def test_finished_run_is_left_alone(inputs: Path, tmp_path: Path) -> None:
    _pretrain(inputs, tmp_path / "run", Silent())
    before = (tmp_path / "run/model/model.safetensors").stat().st_mtime_ns
    _pretrain(inputs, tmp_path / "run", StopsAt(1))
    assert (tmp_path / "run/model/model.safetensors").stat().st_mtime_ns == before


def test_two_processes_with_two_threads_agree(inputs: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    options = ["--size", "100K", "--steps", "5", "--num-evaluations", "1", "--device", "cpu"]
    for name in ("one", "other"):
        command = [
            sys.executable,
            "-m",
            "seqtrain_cli.main",
            "pretrain",
            inputs / "corpus.fasta",
            "-o",
            tmp_path / name,
        ]
        subprocess.run([*command, *options], env=environment, check=True, capture_output=True)
    weights = [(tmp_path / name / "model/model.safetensors").read_bytes() for name in ("one", "other")]
    assert weights[0] == weights[1]
