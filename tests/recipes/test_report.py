"""What is gathered for report.html is what was predicted: classes, curves, lengths, neighbours, maps, sets."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, f1_score

from seqtrain.alphabet import PROTEIN
from seqtrain.diagnosis import Remark
from seqtrain.evaluation.embedding_map import embedding_map
from seqtrain.evaluation.leakage import find_leakage
from seqtrain.io.columns import find_columns
from seqtrain.io.delimited import read_table, write_table
from seqtrain.io.ledger import Ledger
from seqtrain.io.records import RecordReader
from seqtrain.labeled import LabeledData, read_labeled
from seqtrain.recipes.calibration import reliabilities
from seqtrain.recipes.findings import Findings
from seqtrain.recipes.leakage import packed
from seqtrain.recipes.report import finetune_report
from seqtrain.recipes.reported_classes import calibration_of, classes_of, rankings_of
from seqtrain.recipes.reported_data import map_section, split_section
from seqtrain.recipes.reported_diagnosis import diagnosis_section
from seqtrain.recipes.reported_predictions import (
    Predicted,
    confusions_of,
    lengths_of,
    mistakes_of,
    record_losses,
    residuals_of,
    worst_of,
)
from seqtrain.report.records import Bars, Curve, Points
from seqtrain.scoring import score_set
from seqtrain.tasks import TaskKind

RNG = np.random.default_rng(11)
NUM = 90
LETTERS = list("ACDEFGHIKLMNPQRSTVWY")


def _data(folder: Path, kind: TaskKind, labels: list[str], *, test: bool = True) -> LabeledData:
    sequences = ["".join(RNG.choice(LETTERS, int(RNG.integers(8, 30)))) for _ in labels]
    if kind == "residue":
        labels = ["".join(RNG.choice(list("HEC"), len(each))) for each in sequences]
    sets = [("train", "valid", "test" if test else "train")[i % 3] for i in range(len(labels))]
    columns = {"id": [f"r{i}" for i in range(len(labels))], "sequence": sequences, "label": labels, "split": sets}
    write_table(folder / "t.csv", list(columns), zip(*columns.values(), strict=True))
    table = read_table(folder / "t.csv")
    reader = RecordReader(PROTEIN, "error", Ledger(), keep_bad=True)
    return read_labeled(table, find_columns(table, targets=("label",)), kind, reader, seed=0)


def _outputs(data: LabeledData) -> NDArray[np.float32]:
    rows = len(data.store.letters) if data.task.per_residue else len(data.store)
    return RNG.normal(size=(rows, data.task.outputs)).astype(np.float32)


def _predicted(data: LabeledData, outputs: NDArray[np.float32]) -> Predicted:
    names = [name for name in ("valid", "test") if (data.split.sets == name).any()]
    return Predicted.of(data, outputs, [score_set(n, data.task, data, outputs, data.split.indices(n)) for n in names])


@pytest.fixture
def classes(tmp_path: Path) -> Predicted:
    data = _data(tmp_path, "classification", [f"class {i % 4}" for i in range(NUM)])
    outputs = _outputs(data)
    outputs[:, 3] = -9  # never predicted
    return _predicted(data, outputs)


def test_test_sets_are_shown_and_never_validation_instead(classes: Predicted, tmp_path: Path) -> None:
    assert [each.name for each in classes.scored] == ["test"]
    without = _data(tmp_path, "classification", ["a", "b"] * 45, test=False)
    assert [each.name for each in _predicted(without, _outputs(without)).scored] == ["valid"]
    section = split_section(without, None)
    assert section.remarks[0].severity == "warning" and "no test set" in section.remarks[0].words
    uses = {row[0]: row[1] for row in section.tables[0].rows}
    assert uses == {"train": "learnt from", "valid": "chose the weights"}
    assert not split_section(classes.data, None).remarks


def test_classes_have_their_rates_and_marks(classes: Predicted) -> None:
    table = classes_of(classes)
    assert table is not None
    assert table.header == ("class", "train", "test", "valid", "precision", "recall", "F1", "note")
    true, said = classes.classes("test")
    expected = f1_score(true, said, average=None, labels=range(4))
    assert [row[6] for row in table.rows] == pytest.approx(expected)
    assert [row[7] for row in table.rows] == ["", "", "", "never predicted"]
    assert sum(int(row[2]) for row in table.rows) == 30
    data = classes.data
    moved = replace(data, split=replace(data.split, sets=np.where(data.targets == 0, "test", data.split.sets)))
    table = classes_of(replace(classes, data=moved))
    assert table is not None and table.rows[0][-1] == "no training record"


def test_curves_of_classes_say_their_average_precision(classes: Predicted) -> None:
    section = rankings_of(classes)
    assert section is not None
    precision, operating = section.charts
    assert isinstance(precision, Curve) and isinstance(operating, Curve) and operating.diagonal
    rows = classes.rows("test")
    expected = average_precision_score(classes.true[rows] == 1, classes.values[rows, 1])
    assert precision.series[1].name.startswith(f"class 1 ({expected:.3f}, by chance 0.")
    assert all(each.x[0] == 0 and each.x[-1] == 1 for each in (*precision.series, *operating.series))


def test_two_classes_have_one_curve_and_chance(tmp_path: Path) -> None:
    data = _data(tmp_path, "classification", ["no", "no", "yes", "yes", "no"] * 18)
    section = rankings_of(_predicted(data, _outputs(data)))
    assert section is not None
    curve = section.charts[0]
    assert isinstance(curve, Curve) and len(curve.series) == 1 and curve.title.startswith("Precision and recall of yes")
    share = float((data.targets[data.split.indices("test")] == 1).mean())
    assert curve.levels == ((f"chance, {share:.3f}", share),)


def test_many_classes_are_ranked_together_and_confused_by_pairs(tmp_path: Path) -> None:
    data = _data(tmp_path, "classification", [f"{i % 30:02d}" for i in range(NUM * 2)])
    outputs = np.zeros((NUM * 2, 30), np.float32)
    outputs[np.arange(NUM * 2), np.where(data.targets == 2, 5, data.targets)] = 3
    predicted = _predicted(data, outputs)
    section = rankings_of(predicted)
    assert section is not None and isinstance(section.charts[0], Curve)
    assert "all classes together" in section.charts[0].title
    mistakes = mistakes_of(confusions_of(predicted))
    assert mistakes is not None
    true = predicted.classes("test")[0]
    assert mistakes.tables[0].rows == (("02", "05", int((true == 2).sum()), "100 %"),)


def test_labels_are_counted_each_by_itself(tmp_path: Path) -> None:
    data = _data(tmp_path, "multilabel", [";".join(RNG.choice(["x", "y", "z"], 2)) for _ in range(NUM)])
    predicted = _predicted(data, _outputs(data))
    table, section = classes_of(predicted), rankings_of(predicted)
    rows = predicted.rows("test")
    true = predicted.true[rows] > 0.5
    assert table is not None and [row[2] for row in table.rows] == true.sum(axis=0).tolist()
    expected = f1_score(true, predicted.values[rows] >= 0.5, average=None)
    assert [row[6] for row in table.rows] == pytest.approx(expected)
    assert section is not None and len(section.charts[0].series) == 3  # type: ignore[union-attr]


def test_worst_records_are_those_with_the_largest_loss(classes: Predicted) -> None:
    rows = classes.rows("test")
    losses = -np.log(classes.values[rows, classes.true[rows].astype(int)])
    assert record_losses(classes, rows) == pytest.approx(losses)
    data = classes.data
    leakage = find_leakage(packed(data), data.split.sets, ["test"], alphabet=PROTEIN)
    worst = worst_of(classes, leakage)
    assert len(worst) == 20 and worst[0].identifier == data.store.name(int(rows[losses.argmax()]))
    assert worst[0].loss == pytest.approx(losses.max()) and not any(each.nearest == each.identifier for each in worst)


def test_wrong_residues_and_squared_errors(tmp_path: Path) -> None:
    data = _data(tmp_path, "residue", [""] * 30)
    predicted = _predicted(data, _outputs(data))
    records = data.split.indices("test")
    expected = []
    for index in records:
        own = slice(data.store.offsets[index], data.store.offsets[index + 1])
        expected.append(float((predicted.values[own].argmax(axis=1) != data.targets[own]).mean()))
    assert record_losses(predicted, records) == pytest.approx(expected)
    numbers = _data(tmp_path, "regression", [f"{x:.3f}" for x in RNG.normal(5, 2, NUM)])
    outputs = _outputs(numbers)
    predicted = _predicted(numbers, outputs)
    records = numbers.split.indices("test")
    errors = outputs[records, 0] - np.asarray(numbers.targets)[records, 0].astype(float)
    assert record_losses(predicted, records) == pytest.approx(errors**2, rel=1e-4)
    residuals = residuals_of(predicted)
    assert residuals is not None and isinstance(residuals.charts[0], Points) and residuals.charts[0].zero
    assert rankings_of(predicted) is None and classes_of(predicted) is None


def test_lengths_are_quartered(classes: Predicted) -> None:
    section = lengths_of(classes)
    assert section is not None
    rows = section.tables[0].rows
    assert sum(int(row[2]) for row in rows) == 30 and len(rows) == 4
    records = classes.data.split.indices("test")
    lengths = classes.data.store.lengths[records]
    shortest = records[lengths <= np.quantile(lengths, 0.25)]
    right = classes.values[shortest].argmax(axis=1) == classes.true[shortest]
    assert rows[0][2:] == (len(shortest), pytest.approx(right.mean()))


@pytest.mark.parametrize("kind", ["classification", "multilabel", "regression", "residue"])
def test_maps_show_every_record_in_its_colour(tmp_path: Path, kind: TaskKind) -> None:
    labels = [str(i % 12) for i in range(NUM)]
    data = _data(tmp_path, kind, labels)
    predicted = _predicted(data, _outputs(data))
    records = np.flatnonzero(data.split.sets != "train")[:40]
    found = embedding_map(records, RNG.normal(size=(40, 8)), 0)
    section = map_section(predicted, found)
    assert section is not None and section.charts
    for chart in section.charts:
        assert isinstance(chart, Points) and len(chart.x) == len(chart.names) == 40 and chart.colour is not None
        assert int(chart.colour.max()) < len(chart.colours) and chart.shapes == ("valid", "test")
    first = section.charts[0]
    assert isinstance(first, Points) and first.names[0].startswith("r1")
    if kind == "classification":
        assert first.colours[-1] == "3 others" and len(first.colours) == 10
    assert map_section(predicted, None) is None


def test_nearness_is_counted_once_per_record(classes: Predicted) -> None:
    data = classes.data
    leakage = find_leakage(packed(data), data.split.sets, ["valid", "test"], alphabet=PROTEIN)
    assert leakage is not None
    section = split_section(data, leakage)
    bars = section.charts[0]
    assert isinstance(bars, Bars) and np.asarray(bars.counts).sum(axis=1).tolist() == [30, 30]
    assert len(section.sentences) == 3


def test_diagnosis_shows_remarks_and_what_was_measured(tmp_path: Path) -> None:
    remarks = (
        Remark(severity="fine", check="order", words="as by chance"),
        Remark(severity="warning", check="dead units", words="3 of 4 say nothing", advice="lower the rate"),
    )
    bars = {"title": "layer", "x_label": "x", "y_label": "y", "edges": [0, 1, 2], "counts": [3, 4], "names": []}
    kept = {"overfit_one_batch": [2.0, None, 0.1], "histograms": [bars] * 30}
    (tmp_path / "debug.json").write_text(json.dumps(kept), encoding="utf-8")
    section = diagnosis_section(tmp_path, remarks)
    assert section is not None and len(section.charts) == 25 and "6 of 30 layers" in section.note
    assert [each.severity for each in section.remarks] == ["warning", "fine"]
    assert (
        section.remarks[0].words == "Dead units: 3 of 4 say nothing." and section.remarks[0].advice == "Lower the rate."
    )
    assert diagnosis_section(tmp_path, None) is None


def test_a_whole_report(classes: Predicted, tmp_path: Path) -> None:
    data, outputs = classes.data, classes.outputs
    (tmp_path / "ledger.csv").write_text("source,event\nt.csv,read\n", encoding="utf-8")
    (tmp_path / "metrics.jsonl").write_text("", encoding="utf-8")
    record = {"command": "seqtrain finetune t.csv", "facts": {"kind": "finetune", "seed": 0}, "environment": {}}
    (tmp_path / "run.json").write_text(json.dumps(record), encoding="utf-8")
    scored = [score_set(name, data.task, data, outputs, data.split.indices(name)) for name in ("valid", "test")]
    reliability = reliabilities(data, outputs, ["valid", "test"])
    section = calibration_of(reliability)
    assert section is not None and [chart.title for chart in section.charts] == ["test", "valid"]
    findings = Findings(scored=scored, reliability=reliability)
    finetune_report(tmp_path, {"seconds": 1.0}, data, outputs, findings, ["A remark."])
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    for title in ("Split and leakage", "Confusions", "Classes", "Precision and recall", "Calibration", "By length"):
        assert f"<h2>{title}</h2>" in text
    assert text.index("<h3>test</h3>") < text.index("<h3>valid (helped to choose the weights)</h3>")
    assert "A remark." in text and "There is no test set" not in text
