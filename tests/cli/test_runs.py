"""A run directory is one training: the same command continues it, another one is refused, and damage is named."""

from __future__ import annotations

import csv
import json
import resource
import shutil
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from seqtrain.io.run_directory import locked
from tests.cli.conftest import SEQUENCES, TINY, Command, fasta, table


def files(folder: Path) -> dict[Path, bytes]:
    """The content of every file under a folder, but for the lock."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


def test_a_finished_run_is_not_trained_again(command: Command, pretrained: Path, finetuned: Path, inputs: Path) -> None:
    for kind, path, run in (("pretrain", "proteins.fasta", pretrained), ("finetune", "classes.csv", finetuned)):
        before = files(run)
        outcome = command(kind, inputs / path, "-o", run, *TINY)
        assert outcome.code == 0
        assert f"{run}: this run is finished" in outcome.message and "--overwrite" in outcome.message
        assert files(run) == before


def test_a_run_that_is_older_than_a_setting_is_known_again(
    command: Command, finetuned: Path, inputs: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finetuned, run)
    record = json.loads((run / "run.json").read_text())
    record["facts"] = {name: value for name, value in record["facts"].items() if value is not None}
    (run / "run.json").write_text(json.dumps(record))
    for further in ((), ("--calibrate", "none")):
        outcome = command("finetune", inputs / "classes.csv", "-o", run, *TINY, *further)
        assert outcome.code == 0 and "this run is finished" in outcome.message
    command("finetune", inputs / "classes.csv", "-o", run, *TINY, "--calibrate", "temperature").refused("calibrate")


def test_what_is_evaluated_and_was_trained_on_is_told(
    command: Command, finetuned: Path, inputs: Path, tmp_path: Path
) -> None:
    with (finetuned / "split.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    known, other = tmp_path / "known.csv", tmp_path / "other.csv"
    turned = [{**row, "set": {"train": "test"}.get(row["set"], "train")} for row in rows]
    for path, given in ((known, rows), (other, turned)):
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, ["row", "identifier", "set"])
            writer.writeheader()
            writer.writerows(given)
    start = ("evaluate", finetuned, inputs / "classes.csv", "--device", "cpu")
    learnt = sum(row["set"] == "train" for row in rows)
    said = f"the run was trained on {learnt} of these"
    assert said not in command(*start, "--split", known).err
    assert f"test: {said} {learnt} records: the score says little" in command(*start, "--split", other).err
    assert f"all: {said} {len(rows)} records, and" in command(*start).err


def test_other_options_or_data_are_refused_with_the_difference(
    command: Command, finetuned: Path, pretrained: Path, inputs: Path, tmp_path: Path
) -> None:
    before = files(finetuned) | files(pretrained)
    path = inputs / "classes.csv"
    command("finetune", path, "-o", finetuned, *TINY, "--seed", "7").refused(finetuned, "seed: 0 then, 7 now", "-o")
    other = tmp_path / "classes.csv"
    other.write_text(table(lambda i: "ba"[i % 2]))
    command("finetune", other, "-o", finetuned, *TINY).refused(finetuned, "data classes.csv: ", "--overwrite")
    command("finetune", path, "-o", pretrained, *TINY).refused(pretrained, "differs")
    command("finetune", path, "--from", pretrained, "-o", finetuned, "--steps", "3").refused(finetuned, "differs")
    assert files(finetuned) | files(pretrained) == before


def test_overwrite_starts_anew_and_spares_what_is_no_run(command: Command, inputs: Path, tmp_path: Path) -> None:
    path, run = inputs / "classes.csv", tmp_path / "run"
    assert command("finetune", path, "-o", run, *TINY).code == 0
    (run / "notes.txt").write_text("mine")
    weights = (run / "model/model.safetensors").read_bytes()
    assert command("finetune", path, "-o", run, *TINY, "--seed", "7", "--overwrite").code == 0
    assert (run / "model/model.safetensors").read_bytes() != weights
    assert (run / "notes.txt").read_text() == "mine"
    shutil.rmtree(run)
    run.mkdir()
    (run / "notes.txt").write_text("mine")
    command("finetune", path, "-o", run, *TINY, "--overwrite").refused(run, "not a run directory")


def test_overwrite_looks_for_the_learning_rate_again(command: Command, inputs: Path, tmp_path: Path) -> None:
    run, options = tmp_path / "run", (*TINY, "--learning-rate", "auto")
    assert command("pretrain", inputs / "proteins.fasta", "-o", run, *options).code == 0
    before = (run / "lr_range.json").read_bytes()
    again = command("pretrain", inputs / "proteins.fasta", "-o", run, *options, "--seed", "7", "--overwrite")
    assert again.code == 0 and "looking for the learning rate" in again.err
    assert (run / "lr_range.json").read_bytes() != before


def test_input_that_was_corrected_needs_no_overwrite(command: Command, tmp_path: Path) -> None:
    path, run = tmp_path / "some.fasta", tmp_path / "run"
    path.write_text(fasta() + ">bad\nMK1\n")
    command("pretrain", path, "-o", run, *TINY).refused("'bad'", "--bad-records drop")
    assert command("pretrain", path, "-o", run, *TINY, "--bad-records", "drop").code == 0
    shutil.rmtree(run)
    command("pretrain", path, "-o", run, *TINY).refused("'bad'")
    path.write_text(fasta())
    assert command("pretrain", path, "-o", run, *TINY).code == 0


def test_a_second_process_is_refused(command: Command, inputs: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with locked(run):
        for kind, path in (("pretrain", "proteins.fasta"), ("finetune", "classes.csv")):
            command(kind, inputs / path, "-o", run, *TINY, "--overwrite").refused(run, "in use by process ")
    assert not files(run)


@pytest.mark.parametrize("output", ["file", "file/run"])
def test_an_output_that_is_a_file(output: str, command: Command, inputs: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    for kind, path in (("pretrain", "proteins.fasta"), ("finetune", "classes.csv")):
        command(kind, inputs / path, "-o", tmp_path / output, *TINY).refused(tmp_path / output, "is a file")
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("stepz = 3", ["unknown key 'stepz'", "did you mean 'steps'?"]),
        ("steps = 'three'", ["steps = 'three'", "whole number"]),
        ("steps = true", ["steps = True", "whole number"]),
        ("steps = ", ["not TOML", "line 1"]),
    ],
)
def test_bad_configuration(text: str, words: list[str], command: Command, inputs: Path, tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text + "\n")
    command("pretrain", inputs / "proteins.fasta", "--config", path).refused(path, *words)
    command("finetune", inputs / "classes.csv", "--config", path).refused(path, *words)
    command("pretrain", inputs / "proteins.fasta", "--config", tmp_path).refused(tmp_path, "--config")


def test_the_configuration_of_a_run_starts_its_twin(
    command: Command, pretrained: Path, finetuned: Path, tmp_path: Path
) -> None:
    for kind, run in (("pretrain", pretrained), ("finetune", finetuned)):
        assert command(kind, "--config", run / "config.toml", "-o", tmp_path / kind).code == 0
        weights = [folder / "model/model.safetensors" for folder in (run, tmp_path / kind)]
        assert weights[0].read_bytes() == weights[1].read_bytes()
        settings = [tomllib.loads((folder / "config.toml").read_text()) for folder in (run, tmp_path / kind)]
        assert {**settings[0], "output": ""} == {**settings[1], "output": ""}


@pytest.mark.parametrize("name", ["task.json", "model/config.json", "model/vocab.txt", "model/model.safetensors"])
@pytest.mark.parametrize("content", ["", "{", "[]", "{}"])
def test_a_damaged_run(
    name: str, content: str, command: Command, finetuned: Path, inputs: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finetuned, run)
    (run / name).write_text(content)
    command("predict", run, inputs / "proteins.fasta").refused(run)


def test_an_unfinished_run(command: Command, pretrained: Path, inputs: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(pretrained, run)
    (run / "task.json").unlink()
    command("embed", run, inputs / "proteins.fasta").refused(run, "not finished", "rerun")
    command("finetune", inputs / "classes.csv", "--from", run, "-o", tmp_path / "x").refused(run, "not finished")
    (run / "run.json").write_text("{")
    command("pretrain", inputs / "proteins.fasta", "-o", run, *TINY).refused(run / "run.json", "damaged")


@contextmanager
def room_for(num_bytes: int) -> Iterator[None]:
    """Let no file grow beyond a size: writing fails as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("kind", ["pretrain", "finetune"])
@pytest.mark.parametrize(("num_bytes", "room"), [(500_000, "step-"), (100_000, "step-"), (60, "")])
def test_a_full_disk_while_training(
    kind: str,
    num_bytes: int,
    room: str,
    command: Command,
    inputs: Path,
    finetuned: Path,
    pretrained: Path,
    tmp_path: Path,
) -> None:
    run = tmp_path / "run"
    arguments = (kind, inputs / {"pretrain": "proteins.fasta", "finetune": "classes.csv"}[kind], "-o", run, *TINY)
    with room_for(num_bytes):
        command(*arguments).failed(1, run, room)
    assert not [path for path in run.rglob("*") if "partial" in path.name or ".tmp-" in path.name]
    assert not (run / "model").exists()
    assert command(*arguments).code == 0
    whole = {"pretrain": pretrained, "finetune": finetuned}[kind]
    for name in ("model.safetensors", "config.json"):
        assert (run / "model" / name).read_bytes() == (whole / "model" / name).read_bytes()


def test_a_full_disk_while_the_model_is_saved(
    command: Command, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from seqtrain.models.pretrained import save_network

    run = tmp_path / "run"

    def on_a_full_disk(*arguments: object) -> None:
        with room_for(100_000):
            save_network(*arguments)  # type: ignore[arg-type]

    arguments = ("pretrain", inputs / "proteins.fasta", "-o", run, *TINY)
    monkeypatch.setattr("seqtrain.run.save_network", on_a_full_disk)
    command(*arguments).failed(1, run / "model", "free some space")
    assert not (run / "model").exists() and not (run / ".model.partial").exists()
    monkeypatch.undo()
    outcome = command(*arguments)
    assert outcome.code == 0
    assert "continuing after step 3 of 3" in outcome.err


def test_a_full_disk_while_the_store_is_written(command: Command, inputs: Path, tmp_path: Path) -> None:
    path, run = tmp_path / "long.fasta", tmp_path / "run"
    path.write_text(fasta(["".join(SEQUENCES) * (3 + i) for i in range(5)]))
    with room_for(20_000):
        command("pretrain", path, "-o", run, *TINY).failed(1, run / "store", "free some space")
    assert not [name for name in files(run) if "store" in str(name.relative_to(run))]


def test_a_full_disk_while_predicting(command: Command, finetuned: Path, tmp_path: Path) -> None:
    path = tmp_path / "many.fasta"
    path.write_text(fasta(SEQUENCES * 80))
    old = tmp_path / "x.csv"
    old.write_text("old\n")
    with room_for(20_000):
        command("predict", finetuned, path, "-o", old).failed(1, old, "write elsewhere")
        command("embed", finetuned, path, "-o", tmp_path / "x.npz").failed(1, tmp_path / "x.npz", "write elsewhere")
    assert old.read_text() == "old\n"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["many.fasta", "x.csv"]


def test_the_next_command_can_be_pasted_into_a_shell(command: Command, inputs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "my runs"
    done = command("pretrain", inputs / "proteins.fasta", "-o", folder, *TINY)
    assert done.code == 0 and f"--from '{folder}'" in done.out + done.err
