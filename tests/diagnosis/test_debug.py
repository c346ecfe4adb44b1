"""``--debug`` as users meet it: on stderr, in debug.json, in run.json; and without any effect on the weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from seqtrain.config import FinetuneConfig
from seqtrain.config_files import facts
from seqtrain.diagnosis import Remark
from seqtrain.fitting import Silent
from seqtrain.recipes.diagnosis import Alarm, fit_diagnosed, look_before, subject_of
from seqtrain.recipes.finetuning import prepare_finetuning
from tests.cli.conftest import Command, ended, fasta, table
from tests.diagnosis.cases import TRANSFORMER, classes, finetuning, put_nan
from tests.diagnosis.test_arrays import stepped, two_layers

TINY = ("--model", TRANSFORMER, "--steps", "6", "--num-evaluations", "2", "--device", "cpu", "--tokens-per-step", "400")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table and a FASTA."""
    made = tmp_path_factory.mktemp("debug")
    (made / "classes.csv").write_text(table())
    (made / "proteins.fasta").write_text(fasta())
    return made


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    return lambda *arguments, **_: ended(arguments, capsys)


def weights(run: Path) -> dict[str, Any]:
    return {path.name: load_file(path) for path in (run / "model").glob("*.safetensors")}


def same(one: Path, other: Path) -> bool:
    first, second = weights(one), weights(other)
    return bool(first) and all(
        first[file].keys() == second[file].keys()
        and all(np.array_equal(first[file][name], second[file][name]) for name in first[file])
        for file in first
    )


@pytest.mark.parametrize(("name", "source"), [("finetune", "classes.csv"), ("pretrain", "proteins.fasta")])
def test_weights_are_those_without_it_bit_for_bit(
    command: Command, folder: Path, tmp_path: Path, name: str, source: str
) -> None:
    plain, looked_at = tmp_path / "plain", tmp_path / "looked-at"
    assert command(name, folder / source, "-o", plain, *TINY, "--dropout", "0.2").code == 0
    done = command(name, folder / source, "-o", looked_at, *TINY, "--dropout", "0.2", "--debug")
    assert done.code == 0, done.err
    assert same(plain, looked_at)
    assert "diagnosis before training, in " in done.err and "diagnosis after training: " in done.err
    kept = json.loads((looked_at / "debug.json").read_text())
    remarks = [Remark.from_json(each) for stage in ("before", "during", "after") for each in kept[stage]]
    checks = {remark.check for remark in remarks}
    assert {"not finite", "order", "first loss", "neighbours", "gradient check", "overfit one batch"} <= checks
    assert {"update ratio", "no gradient", "dead units", "fit", "capacity"} <= checks
    assert ("leaking labels" in checks) == (name == "finetune") and ("masks" in checks) == (name == "pretrain")
    for bars in (*kept["histograms"], *kept["histograms_before"]):
        assert set(bars) == {"title", "x_label", "y_label", "names", "edges", "counts"}
        assert len(bars["edges"]) == len(bars["counts"]) + 1
    results = json.loads((looked_at / "run.json").read_text())["results"]
    assert next(Remark.from_json(each) for each in results["diagnosis"]) in remarks
    assert "diagnosis" not in json.loads((plain / "run.json").read_text())["results"]
    assert not (plain / "debug.json").exists()


def test_a_run_may_go_on_with_and_without_it(command: Command, folder: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    words = ("finetune", folder / "classes.csv", *TINY)
    assert command(*words, "-o", whole).code == 0
    for extra in ((), ("--debug",)):
        config = FinetuneConfig(table="t.csv", debug=bool(extra))
        assert "debug" not in facts(config)
    assert command(*words, "-o", parts, "--debug").code == 0
    # A finished run says so whatever is asked; one that is cut off goes on to the same weights.
    assert "this run is finished" in command(*words, "-o", parts).err
    record = json.loads((parts / "run.json").read_text())
    (parts / "run.json").write_text(json.dumps({**record, "finished": False}))
    checkpoints = sorted((parts / "checkpoints").iterdir(), key=lambda path: int(path.name.rpartition("-")[2]))
    assert len(checkpoints) > 1
    for file in checkpoints[-1].iterdir():
        file.unlink()
    checkpoints[-1].rmdir()
    again = command(*words, "-o", parts, "--debug")
    assert again.code == 0 and "continuing after step 3" in again.err
    assert "looking for faults" not in again.err and "diagnosis after training" in again.err
    assert same(whole, parts)
    assert command(*words, "-o", parts, "--overwrite").code == 0
    assert not (parts / "debug.json").exists()


def test_the_word_of_a_training_shows_no_traceback(command: Command, folder: Path, tmp_path: Path) -> None:
    missing = command("finetune", tmp_path / "none.csv", "--debug")
    assert missing.code == 2 and "Traceback" not in missing.err
    assert missing.err.count("none.csv") == 1
    shown = command("--debug", "finetune", tmp_path / "none.csv")
    assert shown.code == 2 and "Traceback" in shown.err
    for other in ("plan", "lr-range"):
        assert command(other, *(("finetune",) if other == "plan" else ()), folder / "classes.csv", "--debug").code == 2


def test_a_rate_that_is_too_high_is_told_while_it_trains(command: Command, folder: Path, tmp_path: Path) -> None:
    words = ("finetune", folder / "classes.csv", "-o", tmp_path / "run", *TINY, "--debug")
    done = command(*words, "--learning-rate", "1", "--warmup-fraction", "0", "--schedule", "constant")
    assert done.code == 0, done.err
    before_end = done.err.partition("diagnosis after training")[0]
    assert "warning: update ratio" in before_end and "divide --learning-rate" in before_end


def test_an_update_that_fails_is_explained(tmp_path: Path) -> None:
    job = put_nan(prepare_finetuning(finetuning(classes(tmp_path, 0), tmp_path, 0), Silent()))
    said: list[str] = []

    class Hearing(Silent):
        def say(self, text: str) -> None:
            said.append(text)

    (tmp_path / "run").mkdir()
    with pytest.raises(RuntimeError, match="loss nan"):
        fit_diagnosed(subject_of(job), job.training, tmp_path / "run", Hearing())
    assert any("head.attention.weight holds 1 of nan" in line for line in said)
    kept = json.loads((tmp_path / "run" / "debug.json").read_text())
    assert kept["during"][0]["check"] == "not finite" and "gradients that are not finite" in kept["during"][0]["words"]


def test_looking_changes_neither_the_network_nor_the_draws(tmp_path: Path) -> None:
    job = prepare_finetuning(finetuning(classes(tmp_path, 0), tmp_path, 0), Silent())
    network = job.training.network
    before = {name: value.clone() for name, value in network.state_dict().items()}
    torch.manual_seed(3)
    state, mode = torch.get_rng_state(), network.training
    first = look_before(subject_of(job))
    assert torch.equal(torch.get_rng_state(), state) and network.training == mode
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert look_before(subject_of(job)) == first  # keyed: twice the same


def test_nothing_is_said_before_the_warm_up_is_over() -> None:
    said: list[str] = []

    class Hearing(Silent):
        def say(self, text: str) -> None:
            said.append(text)

    alarm = Alarm(listener=Hearing(), watch=stepped(two_layers(), 0.9))
    alarm.evaluated(0, 100, {})
    alarm.evaluated(10, 100, {})
    assert not said
    alarm.evaluated(50, 100, {})
    alarm.evaluated(60, 100, {})
    assert len(said) == 1 and said[0].startswith("step 50: warning: update ratio")
