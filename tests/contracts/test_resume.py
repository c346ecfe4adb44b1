"""A training that is stopped and continued ends with the same weights, bit for bit, as one that is left alone."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.numpy import load_file

from seqtrain import scoring
from seqtrain.alphabet import PROTEIN
from seqtrain.config import DistillConfig, FinetuneConfig, PretrainConfig
from seqtrain.errors import Stopped
from seqtrain.fitting import Silent
from seqtrain.models.heads import PositionHeadConfig
from seqtrain.models.network import build
from seqtrain.models.pretrained import save_network
from seqtrain.models.transformer import TransformerConfig
from seqtrain.recipes.distill import distill
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


VARIANTS: dict[str, dict[str, Any]] = {
    "lamb": {"optimizer": "lamb"},
    "muon": {"optimizer": "muon"},
    "nesterov": {"optimizer": "sgd:nesterov=true"},
    "hypergradient": {"optimizer": "hypergradient-adam:rate_of_rate=1e-5"},
    "plateau": {"schedule": "plateau:patience=1,factor=0.5,min_delta=9"},
    "one-cycle": {"schedule": "one-cycle", "optimizer": "sgd:momentum=0.9"},
    "one-cycle of betas": {"schedule": "one-cycle:three_phases=true", "optimizer": "adamw"},
    "batch growth": {"schedule": "batch-growth:milestones=0.3/0.6,growth=2", "steps": 20},
    "ema": {"average": "ema:decay=0.8"},
    "swa": {"average": "swa:start_fraction=0.4,every=2", "schedule": "constant"},
    "noise": {"regularize": ("gradient-noise:eta=0.1", "spectral-norm", "max-norm:limit=0.5"), "dropout": 0.3},
    "imbalance": {"sampling": "balanced", "augment": ("matrix-substitution:rate=0.2",), "loss": "ldam"},
    "proximal": {"regularize": ("proximal-l1:strength=0.05",), "optimizer": "sgd", "schedule": "constant"},
    "one-cycle of ours": {"schedule": "one-cycle", "optimizer": "lamb"},
    "spectral norm": {"spectral_norm": 1.0, "average": "ema:decay=0.7", "model": "residual-cnn", "dropout": 0.3},
    "automatic": {"curriculum": "automatic:by=length,groups=3,rate=0.3", "dropout": 0.3, "loss": "dice"},
    "automatic by column": {"curriculum": "automatic:by=number,groups=2", "on_nan": "rollback"},
    "largest batch": {"tokens_per_microbatch": "auto", "tokens_per_step": 4000},
    "disturbed": {"disturbed_fraction": 0.3, "loss": "dice"},
    "ranking": {"target": ("number",), "loss": "pairwise-ranking", "dropout": 0.3},
    "quantized": {"target": ("number",), "loss": "quantized:num_bins=4", "average": "ema:decay=0.5,correction=warm-up"},
    "light attention": {"head": "light-attention-head:kernel_size=5", "dropout": 0.3},
    "u-net": {"model": "u-net:levels=2,stochastic_depth=0.2,norm=batch", "head": "pooled-head:pooling=attention"},
    "frozen": {"freeze": "body", "init_from": "base", "size": None, "dropout": 0.3},
    "thawing": {
        "freeze": "gradual:until=0.7",
        "init_from": "base",
        "size": None,
        "layer_decay": 0.7,
        "average": "ema:decay=0.5",
        "regularize": ("l1:strength=1e-3",),
    },
    "thawing adapters": {"freeze": "gradual", "lora": "rank=2", "init_from": "base", "size": None},
    "imprinted": {"head": "imprinted-head", "init_from": "base", "size": None},
    "adapters": {"lora": "rank=2,dropout=0.3", "init_from": "base", "size": None},
    "mixup": {"mix": "mixup:alpha=1", "sampling": "balanced", "curriculum": "length-growth:start=8", "long": "window"},
    "cutmix": {"mix": "cutmix", "model": "cnn:norm=batch", "curriculum": "shortest-first", "average": "ema:decay=0.5"},
    "made points": {
        "resample": "smote-tomek:neighbours=3",
        "freeze": "body",
        "head": "pooled-head:pooling=mean",
        "dropout": 0.3,
        "init_from": "base",
        "size": None,
    },
    "chosen records": {"resample": "cluster-centroids", "init_from": "base", "size": None, "dropout": 0.3},
    "stopped early": {"stop_early": "patience:evaluations=1,min_delta=9", "num_evaluations": 6, "average": "ema"},
}


@pytest.fixture(scope="module")
def numbers(inputs: Path) -> Path:
    """The members with a family and the share of one residue, in training, validation and test sets."""
    with (inputs / "table.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    lines = ["sequence,family,number,set"]
    for index, row in enumerate(rows):
        share = row["sequence"].count("A") + row["sequence"].count("L") / 10
        lines.append(f"{row['sequence']},{row['family']},{share},{('train', 'train', 'valid', 'test')[index % 4]}")
    (inputs / "numbers.csv").write_text("\n".join([*lines, ""]))
    return inputs / "numbers.csv"


def base_in(folder: Path) -> Path:
    """A folder with an ESM-2 of random weights."""
    torch.manual_seed(0)
    save_network(build(TransformerConfig.of_size("100K"), PositionHeadConfig(outputs=1)), folder, PROTEIN.tokens)
    return folder


def left_behind(run: Path) -> dict[str, Any]:
    """Everything that a training writes and that time does not change, its last checkpoint whole."""
    last = max(run.glob("checkpoints/step-*"))
    files = [*last.glob("*.safetensors"), *run.glob("model/*"), run / "predictions.csv", run / "task.json"]
    found: dict[str, Any] = {str(path.relative_to(run)): path.read_bytes() for path in files}
    found["state"] = json.loads((last / "state.json").read_text())
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    found["metrics"] = [{name: value for name, value in row.items() if name != "seconds"} for row in rows]
    return found


@pytest.mark.parametrize("name", VARIANTS)
def test_every_part_of_the_training_core_goes_on_as_if_left_alone(
    name: str, numbers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is left out here: syncing to disk, which nothing is cut off from, and the intervals of the scores.
    monkeypatch.setattr("seqtrain.io.run_directory.os.fsync", lambda descriptor: None)
    monkeypatch.setattr(scoring, "_num_resamples", lambda count: 2)
    settings: dict[str, Any] = {
        "table": str(numbers), "target": ("family",), "split_column": "set", "size": "100K", "steps": STEPS,
        "tokens_per_step": 300, "tokens_per_microbatch": 100, "num_evaluations": 4, "learning_rate": 2e-3,
    }  # fmt: skip
    settings |= VARIANTS[name]
    if "init_from" in settings:
        settings["init_from"] = str(base_in(tmp_path / settings["init_from"]))
    finetune(FinetuneConfig(output=str(tmp_path / "alone"), **settings), Silent())
    whole = left_behind(tmp_path / "alone")
    last = max(row["step"] for row in whole["metrics"])
    config = FinetuneConfig(output=str(tmp_path / "stopped"), **settings)
    # At an evaluation, between two, and at the end.
    for stop in sorted({3, min(8, last), last}):
        with pytest.raises(Stopped):
            finetune(config, StopsAt(stop))
    finetune(config, Silent())
    stopped = left_behind(tmp_path / "stopped")
    assert stopped.keys() == whole.keys()
    assert [key for key in whole if stopped[key] != whole[key]] == []
    rates = [row["learning_rate"] for row in whole["metrics"] if row["event"] == "train"]
    if name == "plateau":
        assert len(set(rates)) > 2
    if name == "stopped early":
        assert last == 4


DISTILLATIONS: dict[str, dict[str, Any]] = {
    "same input": {
        "augment": ("matrix-substitution:rate=0.2",), "mix": "cutmix", "unlabeled": "corpus.fasta", "dropout": 0.3,
        "average": "ema:decay=0.5",
    },
    "clean input": {
        "augment": ("matrix-substitution:rate=0.2",), "teacher_input": "clean", "unlabeled": "corpus.fasta",
    },
    "similarities": {
        "augment": ("matrix-substitution:rate=0.2",), "similarity": 5.0, "similarity_steps": 3, "dropout": 0.3,
        "unlabeled": "corpus.fasta", "average": "ema:decay=0.5",
    },
    "cached": {"cache_teacher": True, "target": ("number",), "loss": "quantized:num_bins=4", "hard_fraction": 0.0},
}  # fmt: skip


@pytest.mark.parametrize("name", DISTILLATIONS)
def test_a_distillation_goes_on_as_if_left_alone(
    name: str, inputs: Path, numbers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seqtrain.io.run_directory.os.fsync", lambda descriptor: None)
    monkeypatch.setattr(scoring, "_num_resamples", lambda count: 2)
    settings = {
        "table": str(numbers), "target": ("family",), "split_column": "set", "size": "100K", "model": "cnn",
        "steps": STEPS, "tokens_per_step": 300, "tokens_per_microbatch": 100, "num_evaluations": 4,
        **DISTILLATIONS[name],
    }  # fmt: skip
    if "unlabeled" in settings:
        settings["unlabeled"] = (str(inputs / settings["unlabeled"]),)
    of_finetuning = {field.name for field in fields(FinetuneConfig)} - {"augment", "mix", "average"}
    given = {key: value for key, value in settings.items() if key in of_finetuning} | {"steps": 3}
    for seed in (1, 2):
        finetune(FinetuneConfig(output=str(tmp_path / f"teacher{seed}"), seed=seed, **given), Silent())
    settings["teacher"] = tuple(str(tmp_path / f"teacher{seed}") for seed in (1, 2))
    distill(DistillConfig(output=str(tmp_path / "alone"), **settings), Silent())
    whole = left_behind(tmp_path / "alone")
    config = DistillConfig(output=str(tmp_path / "stopped"), **settings)
    for stop in (3, 8):
        with pytest.raises(Stopped):
            distill(config, StopsAt(stop))
    distill(config, Silent())
    stopped = left_behind(tmp_path / "stopped")
    assert stopped.keys() == whole.keys()
    assert [key for key in whole if stopped[key] != whole[key]] == []
    assert (tmp_path / "stopped/teacher/rows.npy").exists() == (name == "cached")


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
