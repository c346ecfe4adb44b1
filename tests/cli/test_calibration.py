"""``--calibrate``, ``--threshold`` and ``--uncertainty``: used as a user would, and what they refuse in one line."""

from __future__ import annotations

import csv
import json
from io import StringIO
from pathlib import Path

import numpy as np
import pytest

from seqtrain import scoring
from tests.cli.conftest import SEQUENCES, TINY, Command, Outcome, table

MODEL = (*TINY, "--model", "cnn")
BOTH = ("--calibrate", "temperature", "--threshold", "f1")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither intervals, simple models nor syncing to disk are looked at here."""
    monkeypatch.setattr(scoring, "_num_resamples", lambda count: 2)
    monkeypatch.setattr("seqtrain.recipes.findings.simple_models", lambda *given: {})
    monkeypatch.setattr("seqtrain.io.run_directory.os.fsync", lambda descriptor: None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables of several kinds of labels, with sets."""
    found = tmp_path_factory.mktemp("tables")
    sets = ["train", "train", "valid", "train", "test"]
    labels = {
        "two": lambda i: "ab"[i * 7 % 11 < 4],
        "three": lambda i: "abc"[i * 7 % 11 % 3],
        "marks": lambda i: ["", "x", "x;y", "y;z", "z"][i * 7 % 11 % 5],
        "numbers": lambda i: i * 7 % 11 + 0.5,
        "residues": lambda i: "".join("HE"[(j * j + i) % 2] for j in range(len(SEQUENCES[i]))),
    }
    for name, label in labels.items():
        given = table(lambda i, label=label: f"{label(i)},{sets[i % 5]}", header="label,set")  # type: ignore[misc]
        (found / f"{name}.csv").write_text(given)
    (found / "one kind.csv").write_text(table(lambda i: f"{'ab'[i % 5 == 0]},{sets[i % 5]}", header="label,set"))
    return found


def rows_of(outcome: Outcome) -> list[dict[str, str]]:
    assert outcome.code == 0, outcome.err
    return list(csv.DictReader(StringIO(outcome.out)))


@pytest.mark.parametrize(("kind", "rule"), [("two", "f1"), ("marks", "mcc"), ("residues", "0.3")])
def test_what_is_chosen_is_kept_said_and_used(
    kind: str, rule: str, folder: Path, command: Command, tmp_path: Path
) -> None:
    asked = ("--calibrate", "temperature", "--threshold", rule)
    start = ("finetune", folder / f"{kind}.csv", "--target", "label", *MODEL)
    plain, chosen = tmp_path / "plain", tmp_path / "chosen"
    assert command(*start, "-o", plain).code == 0
    outcome = command(*start, *asked, "-o", chosen)
    assert outcome.code == 0, outcome.err
    assert "temperature " in outcome.err and "chosen on the validation records" in outcome.err
    assert ("threshold 0.3, as asked" if rule == "0.3" else "validation records") in outcome.err
    before, after = (json.loads((run / "task.json").read_text())["task"] for run in (plain, chosen))
    assert "temperature" not in before and "threshold" not in before
    given = rows_of(command("predict", plain, folder / f"{kind}.csv", "--device", "cpu"))
    read = rows_of(command("predict", chosen, folder / f"{kind}.csv", "--device", "cpu"))
    assert len(given) == len(read) == 40
    thresholds, temperatures = after["threshold"], after["temperature"]
    assert len(thresholds) == len(temperatures) == (3 if kind == "marks" else 1)
    columns = [name for name in read[0] if name.startswith("probability_")]
    for one, other in zip(given, read, strict=True):
        was, now = (np.array([float(row[name]) for name in columns]) for row in (one, other))
        if kind == "two":
            logit = np.log(was[1] / was[0]) / temperatures[0]
            assert now[1] == pytest.approx(1 / (1 + np.exp(-logit)), abs=2e-5)
            assert other["prediction"] == "ab"[int(now[1] >= thresholds[0] - 1e-6)]
        elif kind == "marks":
            expected = 1 / (1 + np.exp(-np.log(was / (1 - was)) / temperatures))
            assert now == pytest.approx(expected, abs=2e-5)
            names = [name for name, p, t in zip("xyz", now, thresholds, strict=True) if p >= t]
            assert other["prediction"] == ";".join(names)
    results = json.loads((chosen / "run.json").read_text())["results"]
    assert [each["test_set"] for each in results["reliability"]] == ["valid", "test"]
    assert results["reliability"][0]["temperature"] == pytest.approx(np.mean(temperatures))
    scores = rows_of(command("evaluate", chosen, folder / f"{kind}.csv", "--device", "cpu"))
    valid = {row["metric"]: row["value"] for row in scores if row["set"] == "valid"}
    metric = "micro_f1" if kind == "marks" else "accuracy"
    kept = {each["name"]: each for each in results["sets"]}["valid"]["metrics"]
    assert float(valid[metric]) == pytest.approx(kept[metric], abs=1e-6)
    assert float(valid["calibration_error"]) == pytest.approx(
        results["reliability"][0]["expected_calibration_error"], abs=1e-6
    )
    again = command(*start, *asked, "-o", chosen)
    assert again.code == 0 and "is finished" in again.err
    other_rule = command(*start, "--calibrate", "temperature", "--threshold", "0.9", "-o", chosen)
    assert other_rule.code == 2 and "threshold" in other_rule.message


@pytest.mark.parametrize(
    ("kind", "asked", "words"),
    [
        ("numbers", ("--calibrate", "temperature"), ("numbers have no probabilities",)),
        ("numbers", ("--threshold", "f1"), ("two classes or several labels", "regression")),
        ("three", ("--threshold", "f1"), ("two classes or several labels", "3-class")),
        ("two", ("--threshold", "f3"), ("f3", "balanced-accuracy")),
        ("two", ("--threshold", "1.5"), ("between 0 and 1",)),
        ("one kind", ("--threshold", "mcc"), ("of both classes",)),
    ],
)
def test_what_cannot_be_chosen_is_refused_before_the_training(
    kind: str, asked: tuple[str, ...], words: tuple[str, ...], folder: Path, command: Command, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    outcome = command("finetune", folder / f"{kind}.csv", "--target", "label", *MODEL, *asked, "-o", run)
    outcome.refused(*words)
    assert not run.exists()


def test_the_test_set_is_never_asked(folder: Path, command: Command, tmp_path: Path) -> None:
    """A table whose sets name no validation has some of train taken; its test records may be anything."""
    chosen = []
    for name, change in (("one", {}), ("other", {"a": "b", "b": "a"})):
        given = tmp_path / f"{name}.csv"
        with (folder / "two.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            row["label"] = change.get(row["label"], row["label"]) if row["set"] == "test" else row["label"]
        with given.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        run = tmp_path / name
        assert command("finetune", given, "--target", "label", *MODEL, *BOTH, "-o", run).code == 0
        task = json.loads((run / "task.json").read_text())["task"]
        chosen.append((task["temperature"], task["threshold"]))
    assert chosen[0] == chosen[1]


def test_an_ensemble_has_readings_of_its_own(folder: Path, command: Command, tmp_path: Path) -> None:
    start = ("finetune", folder / "two.csv", "--target", "label", "--members", "2", *MODEL)
    assert command(*start, *BOTH, "-o", tmp_path / "both").code == 0
    kept = json.loads((tmp_path / "both" / "ensemble.json").read_text())
    assert len(kept["temperature"]) == len(kept["threshold"]) == 1
    rows = rows_of(command("predict", tmp_path / "both", folder / "two.csv", "--uncertainty", "--device", "cpu"))
    for row in rows:
        assert row["prediction"] == "ab"[float(row["probability_b"]) >= kept["threshold"][0] - 1e-6]
        assert 0 <= float(row["mutual_information"]) <= float(row["entropy"]) <= np.log(2) + 1e-6
    command("predict", tmp_path / "both", folder / "two.csv", "--uncertainty", "--samples", "4").refused("ensemble")
    members = [tmp_path / "both" / "members" / name for name in "12"]
    joined = command("ensemble", *members, "-o", tmp_path / "joined")
    assert joined.code == 0 and "temperatures and thresholds of the members are left out" in joined.err
    assert "temperature" not in json.loads((tmp_path / "joined" / "ensemble.json").read_text())
    kept["temperature"] = [-1.0]
    (tmp_path / "both" / "ensemble.json").write_text(json.dumps(kept))
    command("predict", tmp_path / "both", folder / "two.csv").refused("ensemble.json", "damaged", "temperature")


def test_uncertainty_stands_beside_the_same_predictions(
    folder: Path, command: Command, finetuned: Path, tmp_path: Path
) -> None:
    start = ("predict", finetuned, folder / "two.csv", "--device", "cpu")
    plain, unsure = rows_of(command(*start)), rows_of(command(*start, "--uncertainty", "--samples", "5"))
    assert list(unsure[0]) == [*plain[0], "entropy", "mutual_information"]
    assert [{name: row[name] for name in plain[0]} for row in unsure] == plain
    assert len({row["mutual_information"] for row in unsure}) > 20
    few = tmp_path / "few.csv"
    few.write_text("\n".join((folder / "two.csv").read_text().splitlines()[:3]) + "\n")
    assert (
        rows_of(command("predict", finetuned, few, "--device", "cpu", "--uncertainty", "--samples", "5")) == unsure[:2]
    )
    outcome = command("evaluate", finetuned, folder / "two.csv", "--uncertainty", "--samples", "3", "--device", "cpu")
    names = {row["metric"] for row in rows_of(outcome)}
    assert {"error_correlation[entropy]", "risk_coverage[mutual_information]"} <= names
    assert "valid: entropy " in outcome.err and "risk-coverage" in outcome.err


@pytest.mark.parametrize(("kind", "header"), [("numbers", "uncertainty"), ("residues", "entropy_per_residue")])
def test_of_other_labels(kind: str, header: str, folder: Path, command: Command, tmp_path: Path) -> None:
    start = ("finetune", folder / f"{kind}.csv", "--target", "label", *MODEL)
    assert command(*start, "-o", tmp_path / "run").code == 0
    given = ("--uncertainty", "--samples", "3", "--device", "cpu")
    rows = rows_of(command("predict", tmp_path / "run", folder / f"{kind}.csv", *given))
    cells = [row[header].split() for row in rows]
    assert [len(cell) for cell in cells] == [len(SEQUENCES[i]) if kind == "residues" else 1 for i in range(40)]
    assert all(float(value) > 0 for cell in cells for value in cell)
    assert command("evaluate", tmp_path / "run", folder / f"{kind}.csv", *given).code == 0


def test_what_gives_no_uncertainty_is_refused(folder: Path, command: Command, finetuned: Path, tmp_path: Path) -> None:
    start = ("predict", finetuned, folder / "two.csv")
    command(*start, "--uncertainty", "--samples", "1").refused("--samples 1", "at least 2")
    command(*start, "--samples", "5").refused("--samples 5", "--uncertainty")
    quiet = tmp_path / "quiet"
    trained = command("finetune", folder / "two.csv", "--target", "label", *MODEL, "--dropout", "0", "-o", quiet)
    assert trained.code == 0
    command("predict", quiet, folder / "two.csv", "--uncertainty").refused("without dropout", "--dropout 0.1")
    command("evaluate", quiet, folder / "two.csv", "--uncertainty").refused("without dropout")
