"""Training from weights of others and with adapters, through the commands, and what a later start makes of it."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from seqtrain.alphabet import PROTEIN
from seqtrain.errors import InputError
from seqtrain.models.heads import PositionHeadConfig
from seqtrain.models.network import build
from seqtrain.models.pretrained import save_network
from seqtrain.models.transformer import TransformerConfig
from seqtrain.recipes.networks import load_origin
from tests.cli.conftest import SEQUENCES, Command
from tests.fake_hub import FakeHub, serving
from tests.models.backbones import write_bert, write_t5
from tests.models.packs import shake

FEW = ("--steps", "3", "--num-evaluations", "1", "--device", "cpu")
LORA = "rank=2,alpha=8,dropout=0.1"


@pytest.fixture(scope="module")
def origins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small models under esm, bert and t5; read only."""
    place = tmp_path_factory.mktemp("origins")
    torch.manual_seed(0)
    esm = build(TransformerConfig(width=16, depth=2, num_heads=2), PositionHeadConfig(outputs=1))
    save_network(shake(esm), place / "esm", PROTEIN.tokens)
    write_bert(place / "bert")
    write_t5(place / "t5")
    return place


def in_new_process(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **variables}
    command = [sys.executable, "-m", "seqtrain_cli.main", *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)


def probabilities(path: Path, columns: tuple[str, str] = ("probability_a", "probability_b")) -> dict[str, list[float]]:
    """Of each record, by its identifier."""
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {row["identifier"]: [float(row[name]) for name in columns] for row in rows}


def assert_a_later_start_predicts_the_same(run: Path, inputs: Path, tmp_path: Path) -> None:
    """The command in a new process gives what the training left in predictions.csv."""
    output = tmp_path / "later.csv"
    done = in_new_process("predict", run, inputs / "proteins.fasta", "-o", output, "--device", "cpu")
    assert done.returncode == 0, done.stderr
    later, then = probabilities(output), probabilities(run / "predictions.csv")
    assert then and set(then) <= set(later)
    for name, values in then.items():
        np.testing.assert_allclose(later[name], values, atol=1e-5)
    assert len({values[0] for values in later.values()}) > len(SEQUENCES) // 2


@pytest.mark.parametrize("kind", ["bert", "t5"])
def test_finetuning_of_another_s_encoder(
    kind: str, origins: Path, inputs: Path, tmp_path: Path, command: Command
) -> None:
    run = tmp_path / "run"
    outcome = command("finetune", inputs / "classes.csv", "--from", origins / kind, "-o", run, *FEW)
    assert outcome.code == 0, outcome.err
    assert {"bert": "BERT", "t5": "encoder of T5"}[kind] in outcome.err
    assert {path.name for path in (run / "model").iterdir()} == {
        "config.json", "model.safetensors", "head.json", "head.safetensors", "tokens.json", "tokenizer_config.json",
        "vocab.txt" if kind == "bert" else "spiece.model",
    }  # fmt: skip
    assert_a_later_start_predicts_the_same(run, inputs, tmp_path)
    outcome = command("embed", run, inputs / "proteins.fasta", "-o", tmp_path / "x.npz", "--per-residue")
    assert outcome.code == 0, outcome.err
    with np.load(tmp_path / "x.npz") as file:
        assert file["embeddings"].shape == (sum(map(len, SEQUENCES)), 24)
    outcome = command("finetune", inputs / "classes.csv", "--from", run, "-o", tmp_path / "next", *FEW)
    assert outcome.code == 0, outcome.err


def test_pretraining_goes_on_with_bert_s_own_head(
    origins: Path, inputs: Path, tmp_path: Path, command: Command
) -> None:
    outcome = command("pretrain", inputs / "proteins.fasta", "--from", origins / "bert", "-o", tmp_path / "run", *FEW)
    assert outcome.code == 0, outcome.err
    weights = load_file(tmp_path / "run/model/model.safetensors")
    before = load_file(origins / "bert/model.safetensors")
    assert set(before) - {"cls.predictions.decoder.weight", "cls.predictions.decoder.bias"} <= set(weights)
    changed = "cls.predictions.transform.dense.weight"
    assert not torch.equal(weights[changed], before[changed])
    torch.testing.assert_close(weights[changed], before[changed], atol=1e-3, rtol=0)
    outcome = command("finetune", inputs / "classes.csv", "--from", tmp_path / "run", "-o", tmp_path / "next", *FEW)
    assert outcome.code == 0, outcome.err


def test_what_cannot_be_pretrained_further_is_refused(
    origins: Path, inputs: Path, finetuned: Path, tmp_path: Path, command: Command
) -> None:
    outcome = command("pretrain", inputs / "proteins.fasta", "--from", origins / "t5", "-o", tmp_path / "run", *FEW)
    outcome.refused(origins / "t5", "no masked language model head", "finetune it")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kind", ["esm", "bert", "t5"])
@pytest.mark.parametrize("saved", ["merged", "adapter"])
def test_adapters_of_each_kind(
    kind: str, saved: str, origins: Path, inputs: Path, tmp_path: Path, command: Command
) -> None:
    run = tmp_path / "run"
    words = f"{LORA},saved={saved}"
    outcome = command("finetune", inputs / "classes.csv", "--from", origins / kind, "--lora", words, "-o", run, *FEW)
    assert outcome.code == 0, outcome.err
    assert "of them trained" in outcome.err
    names = {path.name for path in (run / "model").iterdir()}
    assert ("model.safetensors" in names) == (saved == "merged")
    assert ("adapter_model.safetensors" in names) == (saved == "adapter")
    if kind == "esm":
        assert_a_later_start_predicts_the_same(run, inputs, tmp_path)
        outcome = command("finetune", inputs / "classes.csv", "--from", run, "-o", tmp_path / "next", *FEW)
        assert outcome.code == 0, outcome.err
    else:
        output = tmp_path / "later.csv"
        outcome = command("predict", run, inputs / "proteins.fasta", "-o", output, "--device", "cpu")
        assert outcome.code == 0, outcome.err
        then, later = probabilities(run / "predictions.csv"), probabilities(output)
        np.testing.assert_allclose([later[name] for name in then], list(then.values()), atol=1e-5)


def test_merging_leaves_what_was_not_adapted(origins: Path, inputs: Path, tmp_path: Path, command: Command) -> None:
    run, words = tmp_path / "run", f"{LORA},targets=query/value"
    outcome = command("finetune", inputs / "classes.csv", "--from", origins / "esm", "--lora", words, "-o", run, *FEW)
    assert outcome.code == 0, outcome.err
    before, after = load_file(origins / "esm/model.safetensors"), load_file(run / "model/model.safetensors")
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {
        f"esm.encoder.layer.{layer}.attention.self.{name}.weight" for layer in (0, 1) for name in ("query", "value")
    }


def test_pretraining_with_kept_adapters(pretrained: Path, inputs: Path, tmp_path: Path, command: Command) -> None:
    base, run = tmp_path / "base", tmp_path / "run"
    shutil.copytree(pretrained, base)
    words = f"{LORA},saved=adapter"
    outcome = command("pretrain", inputs / "proteins.fasta", "--from", base, "--lora", words, "-o", run, *FEW)
    assert outcome.code == 0, outcome.err
    table = inputs / "classes.csv"
    outcome = command("finetune", table, "--from", run, "-o", tmp_path / "next", *FEW)
    assert outcome.code == 0, outcome.err
    base.rename(tmp_path / "elsewhere")
    command("embed", run, inputs / "proteins.fasta", "-o", tmp_path / "x.npz").refused(base, "is gone")
    command("finetune", table, "--from", run, "-o", tmp_path / "other", *FEW).refused(base, "is gone")


def test_bad_words_are_refused_before_anything_is_read(
    origins: Path, inputs: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    esm = ("--from", origins / "esm")
    for options, words in [
        (("--lora", "rank=4"), ("--lora rank=4", "--from")),
        ((*esm, "--lora", "rank=0"), ("rank is 0", "at least 1")),
        ((*esm, "--lora", "rnak=2"), ("did you mean 'rank'",)),
        ((*esm, "--lora", "saved=both"), ("merged, adapter",)),
        ((*esm, "--lora", "targets=query/q_proj"), ("q_proj", "attention_output", "contract")),
        ((*esm, "--revision", "main"), ("--revision main", "is a folder")),
        (("--revision", "main"), ("--revision main", "--from")),
        (("--from", tmp_path / "absent"), ("no such folder", "hub")),
        (("--from", origins), ("config.json: no such file",)),
        ((*esm, "--model", "cnn"), ("--model cnn", "leave one of the two out")),
    ]:
        outcome = command("finetune", inputs / "classes.csv", *options, "-o", tmp_path / "run", *FEW)
        outcome.refused(*words)
        assert not (tmp_path / "run").exists()
    monkeypatch.setitem(sys.modules, "peft", None)
    outcome = command("finetune", inputs / "classes.csv", *esm, "--lora", "rank=2", "-o", tmp_path / "run", *FEW)
    outcome.refused("peft", 'pip install "seqtrain[lora]"')


def test_hub_model_is_kept_at_its_commit(origins: Path, inputs: Path, tmp_path: Path) -> None:
    files = {path.name: path.read_bytes() for path in (origins / "esm").iterdir() if not path.name.startswith("head")}
    table, run = inputs / "classes.csv", tmp_path / "run"
    away = {"HF_HOME": str(tmp_path / "cache"), "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_OFFLINE": "0"}
    train = ("finetune", table, "--from", "lab/tiny", "--lora", f"{LORA},saved=adapter", "-o", run, *FEW)
    with serving(FakeHub()) as hub:
        commit = hub.publish("lab/tiny", files)
        done = in_new_process(*train, HF_ENDPOINT=hub.url, **away)
        assert done.returncode == 0, done.stderr
        assert f"lab/tiny: fetching 4 files, 0.0 MB, of revision {commit}" in done.stderr
        settings = tomllib.loads((run / "config.toml").read_text())
        assert (settings["init_from"], settings["revision"]) == ("lab/tiny", commit)
        reference = json.loads((run / "model/base.json").read_text())
        assert (reference["place"], reference["commit"]) == ("lab/tiny", commit)
        moved = hub.publish("lab/tiny", {**files, "README.md": b"a new text"})
        assert moved != commit
        done = in_new_process(*train, HF_ENDPOINT=hub.url, **away)
        assert done.returncode == 0 and "this run is finished" in done.stderr, done.stderr
        assert f"stays at revision {commit}" in done.stderr
    output = tmp_path / "later.csv"
    predict = ("predict", run, inputs / "proteins.fasta", "-o", output, "--device", "cpu")
    done = in_new_process(*predict, HF_ENDPOINT=hub.url, **away)
    assert done.returncode == 0, done.stderr
    then = probabilities(run / "predictions.csv")
    for name, values in then.items():
        np.testing.assert_allclose(probabilities(output)[name], values, atol=1e-5)


def test_a_mistyped_run_is_not_looked_up_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runs").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_ENDPOINT", "http://localhost:9")
    with pytest.raises(InputError, match="--from runs/bsae: no such folder"):
        load_origin("runs/bsae")
