"""Freezing, rates by depth and imprinted heads by words on the command line: used, kept, said, and refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from seqtrain import scoring
from tests.cli.conftest import TINY, Command, table

QUICK = TINY[2:]
"""Without the size, which is that of the weights to start from."""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither intervals nor syncing to disk are looked at here."""
    monkeypatch.setattr(scoring, "_num_resamples", lambda count: 2)
    monkeypatch.setattr("seqtrain.io.run_directory.os.fsync", lambda descriptor: None)


def changed(run: Path, base: Path) -> set[str]:
    """The tensors of the body that differ."""
    one, other = (load_file(folder / "model/model.safetensors") for folder in (run, base))
    return {name for name in one if not np.array_equal(one[name], other[name])}


@pytest.mark.parametrize(
    ("words", "still", "said"),
    [
        ("body", "esm.", "freezing: what is frozen stays so, in evaluation mode"),
        ("embeddings", "esm.embeddings.", "freezing: what is frozen stays so"),
        ("lowest:layers=1", "esm.encoder.layer.0.", "freezing: what is frozen stays so"),
        ("gradual:until=1", "esm.embeddings.", "freezing: the head alone is trained for 1 step, everything after 3"),
    ],
)
def test_what_is_frozen_is_the_same_in_the_finished_run(
    words: str, still: str, said: str, command: Command, inputs: Path, pretrained: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    outcome = command("finetune", inputs / "classes.csv", "--from", pretrained, "--freeze", words, "-o", run, *QUICK)
    assert outcome.code == 0, outcome.err
    assert said in outcome.err
    names = changed(run, pretrained)
    assert not [name for name in names if name.startswith(still)]
    assert bool(names) == (words != "body")
    assert f'freeze = "{words}"' in (run / "config.toml").read_text()
    assert command("predict", run, inputs / "proteins.fasta").code == 0


def test_pretraining_goes_on_with_a_frozen_body(
    command: Command, inputs: Path, pretrained: Path, tmp_path: Path
) -> None:
    start = ("pretrain", inputs / "proteins.fasta", "--from", pretrained, "-o", tmp_path / "run", *QUICK)
    outcome = command(*start, "--freeze", "body")
    assert outcome.code == 0, outcome.err
    names = changed(tmp_path / "run", pretrained)
    assert names and all(name.startswith("lm_head.") for name in names)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--freeze", "bodies"), ["--freeze bodies: no part to freeze is called 'bodies'; did you mean 'body'?"]),
        (("--freeze", "head"), ["no part to freeze is called 'head'; choose from body, embeddings, lowest, gradual"]),
        (("--freeze", "lowest"), ["--freeze lowest: lowest needs layers: write lowest:layers=…"]),
        (("--freeze", "lowest:layers=9"), ["--freeze lowest:layers=9: layers is 9, and the body has 2"]),
        (("--freeze", "gradual:until=2"), ["--freeze gradual:until=2: gradual: until is 2.0"]),
        (("--freeze", "body", "--lora", "rank=2"), ["--freeze body: would freeze the adapters of --lora, too"]),
        (
            ("--freeze", "embeddings", "--lora", "rank=2"),
            ["nothing that would be trained is frozen by it; leave it out"],
        ),
        (
            ("--freeze", "body", "--optimizer", "muon"),
            ["--optimizer muon: muon trains matrices of the body", "use adamw"],
        ),
        (("--layer-decay", "1.5"), ["--layer-decay 1.5: must be above 0 and at most 1; 0.8 is usual"]),
        (("--layer-decay", "0"), ["--layer-decay 0.0: must be above 0"]),
        (
            ("--head", "imprinted-head", "--steps", "0", "--curriculum", "shortest-first"),
            ["nothing is shown in --steps 0"],
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_words_that_do_not_fit_are_refused(
    options: tuple[str, ...], said: list[str], command: Command, inputs: Path, pretrained: Path, tmp_path: Path
) -> None:
    start = ("finetune", inputs / "classes.csv", "--from", pretrained, "-o", tmp_path / "run", *QUICK)
    command(*start, *options).refused(*said)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["pretrain", "finetune"])
def test_a_fresh_body_has_nothing_to_keep(name: str, command: Command, inputs: Path, tmp_path: Path) -> None:
    source = inputs / ("proteins.fasta" if name == "pretrain" else "classes.csv")
    outcome = command(name, source, "-o", tmp_path / "run", *TINY, "--freeze", "gradual")
    outcome.refused("--freeze gradual: a fresh body has learnt nothing that could be kept; name trained weights")
    assert not (tmp_path / "run").exists()


def test_layers_have_rates_by_depth(command: Command, inputs: Path, pretrained: Path, tmp_path: Path) -> None:
    # So small a factor that the lower layers stand still beside the upper one.
    start = ("finetune", inputs / "classes.csv", "--from", pretrained, "-o", tmp_path / "run", *QUICK)
    assert command(*start, "--layer-decay", "1e-3", "--weight-decay", "0").code == 0
    one, other = (load_file(folder / "model/model.safetensors") for folder in (tmp_path / "run", pretrained))
    sizes = [
        np.abs(one[name] - other[name]).max()
        for name in (f"esm.encoder.layer.{number}.output.dense.weight" for number in (0, 1))
    ]
    assert 0 < sizes[0] < 0.01 * sizes[1]


def test_classes_are_imprinted_without_a_step(command: Command, inputs: Path, pretrained: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    small = tuple(each for each in QUICK if each not in ("--steps", "3"))
    start = ("finetune", inputs / "classes.csv", "--from", pretrained, *small, "--steps", "0")
    outcome = command(*start, "-o", run, "--head", "imprinted-head")
    assert outcome.code == 0, outcome.err
    assert f"{pretrained}: its language-model-head is left behind; a new imprinted-head is trained" in outcome.err
    assert not changed(run, pretrained)
    assert json.loads((run / "model/head.json").read_text()) == {
        "kind": "ImprintedHeadConfig", "outputs": 2, "scale": 10.0,
    }  # fmt: skip
    assert (run / "report.html").exists()
    assert len(command("predict", run, inputs / "proteins.fasta").out.splitlines()) == 41
    assert command("evaluate", run, inputs / "classes.csv").code == 0
    automatic = ("--tokens-per-microbatch", "auto", "--learning-rate", "auto")
    anything = (*automatic, "--average", "swa", "--on-nan", "rollback")
    assert command(*start, "-o", tmp_path / "auto", "--head", "imprinted-head", *anything).code == 0
    assert (tmp_path / "auto/predictions.csv").read_text() == (run / "predictions.csv").read_text()
    command(*start, "-o", tmp_path / "other").refused("--steps 0: must be a whole number greater than 0")
    command("plan", *start, "--head", "imprinted-head").refused("--steps 0: there is no step to measure")


def test_numbers_are_not_imprinted(command: Command, pretrained: Path, tmp_path: Path) -> None:
    (tmp_path / "numbers.csv").write_text(table(lambda i: i * 7 % 11 + 0.5))
    start = ("finetune", tmp_path / "numbers.csv", "--from", pretrained, "-o", tmp_path / "run", *QUICK)
    command(*start, "--head", "imprinted-head").refused(
        "--head imprinted-head: needs one class per sequence, and this is regression of label; take another head"
    )
