"""``seqtrain export``: what it writes loads elsewhere, what it cannot write it refuses, and its page runs."""

from __future__ import annotations

import builtins
import csv
import io
import json
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seqtrain.export import probes
from seqtrain.run import load_run
from tests.cli.conftest import TINY, Command
from tests.contracts.test_docs import blocks, commands

PAGE = (Path(__file__).parents[2] / "docs/export.md").read_text(encoding="utf-8")
PROTEIN = "MKTAYIAKQRQISFVKSHFSRQ"


def test_a_language_model_loads_in_transformers(command: Command, pretrained: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    folder = tmp_path / "model"
    outcome = command("export", pretrained, "--to", "huggingface", "-o", folder)
    assert outcome.code == 0 and "AutoModelForMaskedLM (largest difference" in outcome.message
    model, info = AutoModelForMaskedLM.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    run = load_run(pretrained)
    for probe in probes(run.alphabet):
        with torch.no_grad():
            logits = model(input_ids=probe.input_ids, attention_mask=probe.real.long()).logits
            torch.testing.assert_close(logits[probe.real], run.network(probe.batch), atol=1e-4, rtol=0)
    ids = AutoTokenizer.from_pretrained(folder)(PROTEIN)["input_ids"]
    assert ids == [0, *(run.alphabet.vocabulary.id(letter) for letter in PROTEIN), 2]


def test_the_card_tells_what_the_model_was_trained_on(command: Command, pretrained: Path, tmp_path: Path) -> None:
    assert command("export", pretrained, "--to", "huggingface", "-o", tmp_path / "model").code == 0
    card = (tmp_path / "model/README.md").read_text(encoding="utf-8")
    record = json.loads((pretrained / "run.json").read_text(encoding="utf-8"))
    for key, value in record["facts"].items():
        if key.startswith("data "):
            assert f"| {key.removeprefix('data ')} | `{value}` |" in card
    assert "| steps | 3 |" in card and "| held out | perplexity |" in card
    assert "## Licence" in card and "license:" not in card
    assert str(pretrained) not in card and "None" not in card.replace("None is chosen yet", "")


def test_of_a_finetuned_run_the_body_is_written(command: Command, finetuned: Path, tmp_path: Path) -> None:
    outcome = command("export", finetuned, "--to", "huggingface", "-o", tmp_path / "model")
    assert outcome.code == 0 and "its head has no place in transformers" in outcome.message
    assert not (tmp_path / "model/head.safetensors").exists()
    assert "AutoModel.from_pretrained" in (tmp_path / "model/README.md").read_text(encoding="utf-8")


def test_a_convolutional_network_has_no_such_layout(command: Command, inputs: Path, tmp_path: Path) -> None:
    run = tmp_path / "cnn"
    assert command("finetune", inputs / "classes.csv", "--model", "cnn", "-o", run, *TINY).code == 0
    outcome = command("export", run, "--to", "huggingface", "-o", tmp_path / "model")
    outcome.refused("no architecture like this CNN", "--to onnx or --to safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cnn"]
    assert command("export", run, "--to", "safetensors", "-o", tmp_path / "cnn.safetensors").code == 0


def test_the_page_runs(command: Command, pretrained: Path, finetuned: Path, tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "runs").mkdir()
    for name, run in (("base", pretrained), ("labels", finetuned)):
        (tmp_path / "runs" / name).symlink_to(run)
    monkeypatch.chdir(tmp_path)
    for line in commands(PAGE):
        assert command(*line.split()[1:]).code == 0
    huggingface, onnx, safetensors = blocks(PAGE)
    for block in (huggingface, safetensors):
        printed = io.StringIO()
        with redirect_stdout(printed):
            exec(compile(block.code, f"export.md:{block.line}", "exec"), {"__name__": "__main__"})
        assert printed.getvalue() == block.output
    # Another process, as nothing of seqtrain may be needed.
    code = f"{onnx.code}import sys\nassert not {{'torch', 'seqtrain'}} & set(sys.modules)\nnp.save('values', values)\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == onnx.output
    predicted = command("predict", finetuned, "-", "--device", "cpu", stdin=f">p\n{PROTEIN}\n".encode())
    (row,) = csv.DictReader(io.StringIO(predicted.out))
    wanted = [float(row["probability_a"]), float(row["probability_b"])]
    np.testing.assert_allclose(np.load("values.npy")[0], wanted, atol=1e-4)


def test_outputs_that_exist_are_kept(command: Command, pretrained: Path, tmp_path: Path) -> None:
    output = tmp_path / "x.safetensors"
    output.write_bytes(b"mine")
    command("export", pretrained, "--to", "safetensors", "-o", output).refused("exists", "--overwrite")
    assert output.read_bytes() == b"mine"
    assert command("export", pretrained, "--to", "safetensors", "-o", output, "--overwrite").code == 0
    assert output.stat().st_size > 1000
    command("export", pretrained, "--to", "huggingface", "-o", output, "--overwrite").refused("is a file")
    command("export", pretrained, "--to", "onnx", "-o", tmp_path, "--overwrite").refused("is a folder")
    command("export", pretrained, "--to", "huggingface", "-o", tmp_path, "--overwrite").refused("holds files")
    command("export", pretrained, "--to", "huggingface", "-o", pretrained / "model", "--overwrite").refused(
        "lies in the run directory"
    )
    command("export", pretrained, "--to", "safetensors", "-o", output / "x").refused("cannot be written")
    assert output.exists()


def test_what_cannot_be_exported(command: Command, pretrained: Path, tmp_path: Path) -> None:
    output = tmp_path / "x.onnx"
    command("export", tmp_path / "no", "--to", "onnx", "-o", output).refused("no such run directory")
    command("export", pretrained, "--to", "pickle", "-o", output).refused("'huggingface', 'onnx', 'safetensors'")
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    (unfinished / "run.json").write_text((pretrained / "run.json").read_text())
    command("export", unfinished, "--to", "onnx", "-o", output).refused("not finished", "rerun its command")


def test_a_missing_extra_is_named(
    command: Command, pretrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imported = builtins.__import__

    def without_onnxscript(name: str, *rest: Any, **more: Any) -> Any:
        if name == "onnxscript":
            raise ModuleNotFoundError("No module named 'onnxscript'", name="onnxscript")
        return imported(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without_onnxscript)
    outcome = command("export", pretrained, "--to", "onnx", "-o", tmp_path / "x.onnx")
    outcome.failed(2, "needs onnxscript", 'pip install "seqtrain[onnx]"')
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_line_and_leaves_nothing(
    command: Command, pretrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: Any, **more: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("seqtrain.export.save_file", full)
    monkeypatch.setattr("seqtrain.models.weights.save_file", full)
    for form, name in (("safetensors", "x.safetensors"), ("huggingface", "x")):
        outcome = command("export", pretrained, "--to", form, "-o", tmp_path / name)
        outcome.failed(1, "No space left on device", "free some space")
    assert list(tmp_path.iterdir()) == []
