"""`finetune --resample` and heads on hidden states that are computed once, as typed."""

from __future__ import annotations

import csv
import random
from pathlib import Path

import numpy as np
import pytest

from seqtrain.recipes import finetune as finetune_recipe
from tests.cli.conftest import SEQUENCES, TINY, Command

SIZES = {"alpha": 16, "beta": 6, "gamma": 4}
FROZEN = ("--freeze", "body", "--head", "pooled-head:pooling=mean")
TRAINED = tuple(each for each in TINY if each not in ("--size", "100K"))


def rows_of(held_out: list[str]) -> list[str]:
    """Rows of sequence, class and set: 26 training records, and as many held-out ones as there are sequences."""
    classes = [name for name, size in SIZES.items() for _ in range(size)]
    train = [f"{sequence},{name},train" for sequence, name in zip(SEQUENCES, classes, strict=False)]
    names = list(SIZES)
    return train + [f"{s},{names[i % 3]},{('valid', 'test')[i % 2]}" for i, s in enumerate(held_out)]


def written(path: Path, rows: list[str]) -> Path:
    path.write_text("\n".join(["sequence,label,set", *rows, ""]))
    return path


@pytest.fixture
def tailed(tmp_path: Path) -> Path:
    """Three classes of 16, 6 and 4 training records."""
    return written(tmp_path / "tailed.csv", rows_of(SEQUENCES[26:]))


def counts(run: Path) -> dict[str, tuple[int, ...]]:
    """Of each class before, removed, made and after, as the run says."""
    with (run / "resampling.csv").open() as file:
        return {row["class"]: tuple(int(row[k]) for k in list(row)[1:]) for row in csv.DictReader(file)}


def test_smote_makes_points_for_the_head(tailed: Path, pretrained: Path, tmp_path: Path, command: Command) -> None:
    run = tmp_path / "run"
    words = ("finetune", tailed, "--from", pretrained, *FROZEN, "--resample", "smote:neighbours=3", "-o", run, *TRAINED)
    done = command(*words)
    assert done.code == 0, done.err
    assert counts(run) == {"alpha": (16, 0, 0, 16), "beta": (6, 0, 10, 16), "gamma": (4, 0, 12, 16)}
    assert "classes in training: alpha 16 → 16, beta 6 → 16, gamma 4 → 16; see" in done.err
    ledger = (run / "ledger.csv").read_text().splitlines()
    assert "--resample smote:neighbours=3,made,class gamma,12,0," in ledger
    assert "made" in (run / "report.html").read_text() and "class gamma" in (run / "report.html").read_text()
    assert np.load(run / "features/made.npy").shape == (22, 64)
    assert command("predict", run, tailed).code == 0
    again = command(*words)
    assert again.code == 0 and "this run is finished" in again.err


def test_choosing_records_serves_the_whole_network(
    tailed: Path, pretrained: Path, tmp_path: Path, command: Command
) -> None:
    run = tmp_path / "run"
    words = ("finetune", tailed, "--from", pretrained, "--augment", "matrix-substitution:rate=0.1", *TRAINED)
    done = command(*words, "--resample", "cluster-centroids:ratio=1.25", "-o", run)
    assert done.code == 0, done.err
    assert counts(run) == {"alpha": (16, 11, 0, 5), "beta": (6, 1, 0, 5), "gamma": (4, 0, 0, 4)}
    (row,) = (line for line in (run / "ledger.csv").read_text().splitlines() if "class alpha" in line)
    assert row.startswith("--resample cluster-centroids:ratio=1.25,left out,class alpha,11,")
    assert "every step runs" not in done.err and not (run / "features/train.npy").exists()
    # Nothing is made of a record that is left out.
    shown = {int(index) for index in np.load(run / "features/kept.npy")}
    assert len(shown) == 14


def test_what_is_held_out_changes_nothing(tmp_path: Path, pretrained: Path, command: Command) -> None:
    kept = []
    for name, held_out in (("one", SEQUENCES[26:]), ("other", [s[::-1] for s in SEQUENCES[20:40]])):
        table, run = written(tmp_path / f"{name}.csv", rows_of(held_out)), tmp_path / name
        words = ("--resample", "smote-tomek:neighbours=3", "-o", run, *TRAINED)
        assert command("finetune", table, "--from", pretrained, *FROZEN, *words).code == 0
        kept.append({path.name: path.read_bytes() for path in (run / "features").glob("*.npy")})
    assert kept[0].keys() == kept[1].keys() == {f"{n}.npy" for n in ("train", "valid", "kept", "made", "made_classes")}
    assert {name for name in kept[0] if kept[0][name] != kept[1][name]} == {"valid.npy"}


def test_a_frozen_body_is_computed_once_and_nothing_else_changes(
    tailed: Path, pretrained: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("finetune", tailed, "--from", pretrained, *FROZEN, "--steps", "12", "--num-evaluations", "2")
    words = (*words, "--tokens-per-step", "300", "--tokens-per-microbatch", "200", "--device", "cpu")
    done = command(*words, "-o", tmp_path / "once")
    assert done.code == 0 and f"hidden states: computed once, in {tmp_path / 'once/features'}" in done.err
    monkeypatch.setattr(finetune_recipe, "with_features", lambda job, output, listener: job.training)
    assert command(*words, "-o", tmp_path / "through").code == 0
    tables = []
    for run in ("once", "through"):
        with (tmp_path / run / "predictions.csv").open() as file:
            tables.append(list(csv.DictReader(file)))
    for one, other in zip(*tables, strict=True):
        assert one["label"] == other["label"]
        for name in SIZES:
            column = next(key for key in one if key.endswith(name))
            assert float(one[column]) == pytest.approx(float(other[column]), abs=2e-4)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--freeze", "body"), "this head learns how to pool"),
        ((*FROZEN, "--augment", "matrix-substitution:rate=0.1"), "--augment changes the sequences in every epoch"),
        ((*FROZEN, "--mix", "mixup"), "--mix mixes the sequences anew in every epoch"),
        ((*FROZEN, "--long", "crop"), "--long crop cuts the sequences anew in every epoch"),
        ((*FROZEN, "--curriculum", "length-growth:start=10"), "--curriculum cuts the sequences to lengths that change"),
    ],
)
def test_what_cannot_be_computed_once_is_said(
    options: tuple[str, ...], reason: str, tailed: Path, pretrained: Path, tmp_path: Path, command: Command
) -> None:
    done = command("finetune", tailed, "--from", pretrained, *options, "-o", tmp_path / "run", *TRAINED)
    assert done.code == 0, done.err
    assert f"every step runs the frozen body, as {reason}" in done.err
    assert not (tmp_path / "run/features").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("smote",), ["--freeze body", "--head pooled-head:pooling=mean", "tomek-links or cluster-centroids"]),
        (("smote", "--freeze", "body"), ["add --head pooled-head:pooling=mean (or max), or take"]),
        (("smote", "--freeze", "embeddings", *FROZEN[2:]), ["add --freeze body, or take tomek-links"]),
        (("smote", *FROZEN), ["class 'gamma' has 4 training records", "write smote:neighbours=3"]),
        (("smote:neighbours=3", *FROZEN, "--mix", "mixup"), ["stay what they are", "--mix mixes the sequences anew"]),
        (("tomek-links", "--sampling", "balanced"), ["--sampling balanced changes how often classes come"]),
        (("tomek-links", "--members", "2", "--bagging", "balanced"), ["--bagging balanced changes how often"]),
        (("tomek-links", "--loss", "ldam"), ["--loss ldam goes by the sizes of the classes"]),
        (("tomek-links", "--curriculum", "shortest-first"), ["--curriculum shortest-first ranks the records"]),
        (("tomek-links", "--head", "imprinted-head", "--steps", "0"), ["with --steps 0 nothing is trained"]),
        (("tomek",), ["no resampling is called 'tomek'"]),
        (("cluster-centroids:ratio=0.2",), ["ratio is 0.2"]),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, tuple) else "",
)
def test_what_does_not_go_together_is_one_line(
    options: tuple[str, ...], words: list[str], tailed: Path, pretrained: Path, tmp_path: Path, command: Command
) -> None:
    done = command("finetune", tailed, "--from", pretrained, "-o", tmp_path / "run", *TRAINED, "--resample", *options)
    done.refused(f"--resample {options[0]}: ", *words)
    assert not (tmp_path / "run").exists()


def test_a_class_of_one_record_is_named(tmp_path: Path, pretrained: Path, command: Command) -> None:
    rows = [*rows_of(SEQUENCES[27:]), f"{SEQUENCES[26]},lonely,train"]
    table = written(tmp_path / "table.csv", rows)
    for words in ("smote:neighbours=3", "interpolation:neighbours=3"):
        done = command("finetune", table, "--from", pretrained, *FROZEN, "--resample", words, "-o", tmp_path / "run")
        done.refused(f"--resample {words}: class 'lonely' has a single training record", "--sampling balanced")


def test_a_fresh_body_is_refused(tailed: Path, tmp_path: Path, command: Command) -> None:
    done = command("finetune", tailed, "--resample", "tomek-links", "-o", tmp_path / "run", *TINY)
    done.refused("--resample tomek-links: goes by what a trained body makes of sequences", "--from")


@pytest.mark.parametrize(
    ("task", "label", "said"),
    [
        ("regression", lambda s: str(len(s) / 7), "this is regression of label"),
        ("multilabel", lambda s: "a;b" if len(s) % 2 else "a", "needs one class per sequence"),
        ("residue", lambda s: "HE" * (len(s) // 2) + "H" * (len(s) % 2), "needs one class per sequence"),
    ],
)
def test_only_one_class_per_sequence(  # type: ignore[no-untyped-def]
    task: str, label, said: str, pretrained: Path, tmp_path: Path, command: Command
) -> None:
    rows = [f"{s},{label(s)},{'train' if i % 4 else 'valid'}" for i, s in enumerate(SEQUENCES)]
    table = written(tmp_path / "table.csv", rows)
    words = ("--task", task, "--target", "label", "--resample", "tomek-links", "-o", tmp_path / "run")
    command("finetune", table, "--from", pretrained, *words).refused("--resample tomek-links", said)


def test_without_imbalanced_learn_the_extra_is_named(
    tailed: Path, pretrained: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seqtrain.resampling.find_spec", lambda name: None)
    words = ("finetune", tailed, "--from", pretrained, "--resample", "tomek-links", "-o", tmp_path / "run")
    command(*words).refused("needs imbalanced-learn", 'pip install "seqtrain[imbalance]"')


def test_windows_and_weights_go_with_points(pretrained: Path, tmp_path: Path, command: Command) -> None:
    generator = random.Random(0)
    rows = [f"{row},{generator.randint(1, 3)}" for row in rows_of(SEQUENCES[26:])]
    table = tmp_path / "table.csv"
    table.write_text("\n".join(["sequence,label,set,trust", *rows, ""]))
    words = ("--weight-column", "trust", "--max-length", "20", "--resample", "extrapolation:neighbours=3")
    done = command("finetune", table, "--from", pretrained, *FROZEN, *words, "-o", tmp_path / "run", *TRAINED)
    assert done.code == 0, done.err
    # Points are of records, however many windows these have.
    assert counts(tmp_path / "run")["gamma"] == (4, 0, 12, 16)
    assert len(np.load(tmp_path / "run/features/train.npy")) > 2 * 26


def test_a_run_that_is_started_anew_leaves_nothing_of_the_old_one(
    tailed: Path, pretrained: Path, tmp_path: Path, command: Command
) -> None:
    run = tmp_path / "run"
    start = ("finetune", tailed, "--from", pretrained, "-o", run, "--overwrite", *TRAINED)
    assert command(*start, *FROZEN, "--resample", "smote:neighbours=3", "--tokens-per-microbatch", "auto").code == 0
    of_the_first = {"features", "resampling.csv", "largest_batch.json"}
    assert of_the_first <= {path.name for path in run.iterdir()}
    assert command(*start).code == 0
    assert not of_the_first & {path.name for path in run.iterdir()}


def test_a_range_test_is_of_what_will_be_trained(
    tailed: Path, pretrained: Path, tmp_path: Path, command: Command
) -> None:
    start = ("lr-range", tailed, "--from", pretrained, "--device", "cpu", "--range-steps", "12")
    done = command(*start, *FROZEN, "--resample", "smote:neighbours=3", "--picture", tmp_path / "lr.svg")
    assert done.code == 0, done.err
    assert "hidden states: computed once" in done.err and "gamma 4 → 16" in done.err
    assert {path.name for path in tmp_path.iterdir()} == {"tailed.csv", "lr.svg", "lr.json"}


def test_a_plan_says_what_it_does_not_measure(tailed: Path, pretrained: Path, command: Command) -> None:
    start = ("plan", "finetune", tailed, "--from", pretrained, *TRAINED)
    said = "the frozen body will be run once"
    assert said in command(*start, *FROZEN).err
    assert said not in command(*start, "--freeze", "gradual").err
