"""Runs side by side: the same records, the same numbers as each run reports, honest verdicts, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqtrain.errors import InputError
from seqtrain.evaluation import metrics
from seqtrain.io.delimited import write_table
from seqtrain.io.run_directory import sha256_of
from seqtrain.recipes.compare import HEADER, compare_runs
from seqtrain.recipes.compare_page import write_comparison

RNG = np.random.default_rng(0)
COUNT = 80
TRUE = RNG.integers(0, 3, COUNT)
CLASSES = ("a", "b", "c")


def run_of(
    folder: Path,
    task: dict[str, Any],
    labels: list[list[str]],
    header: list[str],
    rows: list[list[Any]],
    *,
    kind: str = "finetune",
    finished: bool = True,
    names: list[str] | None = None,
    first_row: int = 11,
    digest: str = "0",
    mask: str | None = None,
    table: str = "t.csv",
    simple: dict[str, dict[str, float]] | None = None,
) -> Path:
    """A run directory as finetune leaves it, without a network; its first ten rows were trained on."""
    folder.mkdir()
    names = names or [f"r{i}" for i in range(len(rows))]
    results = {"sets": [{"name": "test", "baselines": simple or {}}]}
    facts = {"kind": kind, "data t.csv": digest}
    record = {"facts": facts, "command": "", "finished": finished, "environment": {}, "results": results}
    (folder / "run.json").write_text(json.dumps(record))
    (folder / "config.toml").write_text(f"table = {json.dumps(table)}\n")
    meaning = {"task": task, "alphabet": "protein", "max_length": 1022, "columns": {"mask": mask}}
    (folder / "task.json").write_text(json.dumps(meaning))
    trained = [(i + 1, f"t{i}", "train") for i in range(10)]
    tested = [(first_row + i, name, "test") for i, name in enumerate(names)]
    write_table(folder / "split.csv", ("row", "identifier", "set"), [*trained, *tested])
    cells = [[name, "test", *label, *row] for name, label, row in zip(names, labels, rows, strict=True)]
    write_table(folder / "predictions.csv", ["identifier", "set", *task["columns"], *header], cells)
    return folder


def classes_of(folder: Path, share: float, seed: int, places: slice = slice(None), **settings: Any) -> Path:
    """A run that is right about a share of the records."""
    rng = np.random.default_rng(seed)
    said = np.where(rng.random(COUNT) < share, TRUE, rng.integers(0, 3, COUNT))
    probabilities = 0.1 + 0.7 * np.eye(3)[said]
    rows = [[CLASSES[k], *row] for k, row in zip(said, probabilities.round(6).tolist(), strict=True)]
    task = {"kind": "classification", "columns": ["label"], "classes": CLASSES}
    header = ["prediction", *(f"probability_{name}" for name in CLASSES)]
    names = settings.pop("names", [f"r{i}" for i in range(COUNT)])
    return run_of(
        folder, task, [[CLASSES[k]] for k in TRUE][places], header, rows[places], names=names[places], **settings
    )


def test_figures_are_those_of_the_predictions(tmp_path: Path) -> None:
    good = classes_of(tmp_path / "good", 0.9, 1, simple={"majority class": {"accuracy": 0.4}})
    bad, other = classes_of(tmp_path / "bad", 0.2, 2), classes_of(tmp_path / "other", 0.85, 3)
    found = compare_runs([good, bad, other])
    assert found.metric == "accuracy" and found.num_records == COUNT
    for run, said in zip(found.runs, found.said, strict=True):
        assert run.value == pytest.approx(metrics.accuracy(TRUE, said.decided))
        assert run.low < run.value < run.high
    assert [run.rank for run in found.runs] == [1, 3, 2]
    assert found.simple == {"majority class": 0.4}
    first, second = found.words()
    assert first.startswith(f"{bad} is worse than {good} on 80 records: accuracy") and "Holm" in first
    assert second.startswith(f"{other} and {good} cannot be told apart on 80 records")
    rows = [dict(zip(HEADER, row, strict=True)) for row in found.rows()]
    assert [row["run"] for row in rows] == [str(good), str(bad), str(other), "majority class"]
    assert rows[1]["compared_with"] == str(good) and float(rows[1]["difference_high"]) < 0
    best = compare_runs([bad, good, other], against="best")
    assert best.reference == 1 and best.runs[1].difference is None and best.runs[0].difference is not None


@pytest.mark.parametrize("metric", ["mcc", "macro_f1", "cross_entropy", "brier", "macro_pr_auc", "top_5_accuracy"])
def test_other_metrics(tmp_path: Path, metric: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqtrain.recipes.compare._NUM_RESAMPLES", 200)
    runs = [classes_of(tmp_path / "good", 0.95, 1), classes_of(tmp_path / "bad", 0.1, 2)]
    if metric == "top_5_accuracy":
        with pytest.raises(InputError, match=r"--metric top_5_accuracy: there is no such metric.*choose from accuracy"):
            compare_runs(runs, metric=metric)
        return
    found = compare_runs(runs, metric=metric)
    said = found.said[1]
    assert found.runs[1].value == pytest.approx(metrics.classification_metrics(TRUE, said.values)[metric])
    assert found.runs[1].rank == 2 and " is worse than " in found.words()[0]
    assert found.runs[1].low <= found.runs[1].value <= found.runs[1].high


def numbers_of(folder: Path, noise: float, seed: int, columns: tuple[str, ...] = ("y",), **settings: Any) -> Path:
    rng = np.random.default_rng(9)
    true = rng.normal(size=(COUNT, len(columns)))
    said = true + noise * np.random.default_rng(seed).normal(size=true.shape)
    task = {"kind": "regression", "columns": columns, "mean": [seed] * len(columns), "scale": [1.0] * len(columns)}
    labels = [[repr(value) for value in row] for row in true.tolist()]
    labels[3][0] = "" if len(columns) > 1 else labels[3][0]
    return run_of(folder, task, labels, [f"p{i}" for i in range(len(columns))], said.tolist(), **settings)


def test_numbers_in_their_units_and_several_columns(tmp_path: Path) -> None:
    runs = [numbers_of(tmp_path / "good", 0.3, 1), numbers_of(tmp_path / "bad", 3.0, 2)]
    found = compare_runs(runs)
    assert found.metric == "spearman" and " is worse than " in found.words()[0]
    assert found.runs[0].value == pytest.approx(metrics.spearman(found.true[:, 0], found.said[0].values[:, 0]))
    lower = compare_runs(runs, metric="mae")
    assert [run.rank for run in lower.runs] == [1, 2] and " is worse than " in lower.words()[0]
    several = [numbers_of(tmp_path / f"s{k}", noise, k, ("y", "z")) for k, noise in enumerate((0.3, 3.0))]
    for metric in ("spearman", "spearman[z]", "r2"):
        found = compare_runs(several, metric=metric)
        assert found.num_records == COUNT and " is worse than " in found.words()[0], metric


def test_labels_of_records_and_residues(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    sets = [";".join(c for c in CLASSES if rng.random() < 0.5) for _ in range(COUNT)]
    task = {"kind": "multilabel", "columns": ["label"], "classes": CLASSES, "separator": ";"}
    header = ["prediction", *(f"probability_{name}" for name in CLASSES)]
    rows = [[cell, *(0.9 if c in cell else 0.1 for c in CLASSES)] for cell in sets]
    good = run_of(tmp_path / "m1", task, [[cell] for cell in sets], header, rows)
    wrong = [["b", 0.1, 0.9, 0.1] for _ in sets]
    bad = run_of(tmp_path / "m2", task, [[cell] for cell in sets], header, wrong)
    found = compare_runs([good, bad])
    assert found.metric == "micro_f1" and found.runs[0].value == 1 and " is worse than " in found.words()[0]

    texts = ["".join(rng.choice(list("EH"), int(rng.integers(3, 9)))) for _ in range(COUNT)]
    residues = {"kind": "residue", "columns": ["label"], "classes": ["E", "H"]}
    good = run_of(tmp_path / "e1", residues, [[t] for t in texts], ["prediction"], [[t] for t in texts])
    bad = run_of(tmp_path / "e2", residues, [[t] for t in texts], ["prediction"], [["H" * len(t)] for t in texts])
    found = compare_runs([good, bad])
    assert found.num_records == COUNT and found.runs[0].value == 1 and " is worse than " in found.words()[0]
    with pytest.raises(InputError, match="whose probabilities"):
        compare_runs([good, bad], metric="cross_entropy")


def test_masked_residues_do_not_count(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    write_table(table, ("sequence", "label", "counts"), [("AA", "EH", "11")] * 10 + [("AA", "EH", "10")] * 20)
    task = {"kind": "residue", "columns": ["label"], "classes": ["E", "H"]}
    settings: dict[str, Any] = {"mask": "counts", "table": str(table), "digest": sha256_of(table)}
    labels = [["EH"]] * 20
    one = run_of(tmp_path / "one", task, labels, ["prediction"], [["EE"]] * 20, **settings)
    other = run_of(tmp_path / "other", task, labels, ["prediction"], [["HH"]] * 20, **settings)
    assert [run.value for run in compare_runs([one, other]).runs] == [1, 0]
    table.write_text("sequence,label,counts\n")
    with pytest.raises(InputError, match="not the one that it was trained on"):
        compare_runs([one, other])
    table.unlink()
    with pytest.raises(InputError, match="which is not there"):
        compare_runs([one, other])


def test_records_are_matched_whatever_their_order(tmp_path: Path) -> None:
    # One table, by row: names may repeat. Other tables, by name and label.
    names = [f"r{i // 2}" for i in range(COUNT)]
    one, other = (classes_of(tmp_path / f"{k}", 0.9, k, names=names) for k in (1, 2))
    assert compare_runs([one, other]).num_records == COUNT
    moved = classes_of(tmp_path / "3", 0.9, 2, names=names, digest="another", first_row=500)
    found, same = compare_runs([one, moved]), compare_runs([one, other])
    assert found.runs[1].value == same.runs[1].value


def test_other_test_sets_are_refused_unless_asked_for(tmp_path: Path) -> None:
    one = classes_of(tmp_path / "one", 0.9, 1, simple={"majority class": {"accuracy": 0.4}})
    part = classes_of(tmp_path / "part", 0.9, 2, slice(0, 50))
    with pytest.raises(
        InputError, match=r"part and .*one: differ in set 'test' \(50 and 80 records, 50 in both\).*--common"
    ):
        compare_runs([one, part])
    found = compare_runs([one, part], common=True)
    assert found.num_records == 50 and found.simple == {}
    strange = classes_of(tmp_path / "strange", 0.9, 3, names=[f"x{i}" for i in range(COUNT)], digest="1")
    with pytest.raises(InputError, match="have no record of set 'test' in common, by identifier and label"):
        compare_runs([one, strange], common=True)


def test_what_cannot_be_compared(tmp_path: Path) -> None:
    one = classes_of(tmp_path / "one", 0.9, 1)
    unfinished = classes_of(tmp_path / "unfinished", 0.9, 2, finished=False)
    pretrained = classes_of(tmp_path / "pretrained", 0.9, 2, kind="pretrain")
    number = numbers_of(tmp_path / "number", 0.3, 1)
    other = classes_of(tmp_path / "other", 0.9, 2)
    text = (other / "task.json").read_text()
    (other / "task.json").write_text(text.replace('"c"]', '"d"]'))
    broken = classes_of(tmp_path / "broken", 0.9, 2)
    table = (broken / "predictions.csv").read_text()
    (broken / "predictions.csv").write_text(table.replace("r7,test", "r70,test"))
    for folders, words in (
        ([one], "1 run to compare; name two or more"),
        ([one, one], "named twice"),
        ([one, unfinished], "unfinished: the training is not finished; rerun its command"),
        ([one, pretrained], "pretrained: was pretrained without labels"),
        ([one, number], r"number: is a regression of y; .*one a 3-class classification"),
        ([one, other], "other: has other classes or label columns"),
        ([one, tmp_path / "none"], "no such run directory"),
        ([one, tmp_path], "is not a run directory"),
        ([one, broken], "split.csv and predictions.csv do not fit together"),
    ):
        with pytest.raises(InputError, match=words) as refusal:
            compare_runs(folders)
        assert "\n" not in str(refusal.value)
    with pytest.raises(InputError, match="has no set 'valid' but test; choose one with --set"):
        compare_runs([one, one.parent / "other"], test_set="valid")
    (one / "predictions.csv").unlink()
    with pytest.raises(InputError, match=r"has no predictions\.csv"):
        compare_runs([one, other])


def test_the_page_tells_it_all(tmp_path: Path) -> None:
    runs = [classes_of(tmp_path / "good", 0.9, 1), classes_of(tmp_path / "bad", 0.2, 2)]
    found = compare_runs(runs)
    write_comparison(tmp_path / "page.html", found, "seqtrain compare good bad")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert all(
        words in page for words in ("2 runs compared", "is worse than", "All runs", "Confusions", "bad</h3>")
    ) or ("is worse than" in page and "All runs" in page and str(runs[1]) in page)
    assert "http://" not in page.replace("http://www.w3.org", "") and "https://" not in page
    numbers = compare_runs([numbers_of(tmp_path / "n1", 0.3, 1), numbers_of(tmp_path / "n2", 1.0, 2)])
    write_comparison(tmp_path / "numbers.html", numbers)
    assert "What each run says" in (tmp_path / "numbers.html").read_text(encoding="utf-8")
