"""Labels become targets and come back in their own units, and a task survives JSON."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, softmax

from seqtrain.errors import InputError
from seqtrain.losses import BinaryCrossEntropy, CrossEntropy, MeanSquaredError
from seqtrain.task_file import task_from_json, task_to_json
from seqtrain.task_fitting import fit_task
from seqtrain.tasks import (
    Classification,
    MultiLabel,
    Regression,
    ResidueClassification,
    Task,
    TaskKind,
    as_trained,
    is_number,
    kind_of,
    logits_of,
    read_by,
    split_labels,
)

LABELS: dict[TaskKind, list[list[str]]] = {
    "regression": [["350.5", "-1"], ["372", ""], ["341.25", "3e2"]],
    "classification": [["nucleus"], ["membrane"], ["nucleus"]],
    "multilabel": [["b;a"], [""], ["c; a"]],
    "residue": [["HHEC"], ["EE"], ["C"]],
}


def fitted(kind: TaskKind, labels: Sequence[Sequence[str]] | None = None, train: list[bool] | None = None) -> Task:
    labels = LABELS[kind] if labels is None else labels
    columns = [f"y{i}" for i in range(len(labels[0]))]
    return fit_task(kind, columns, labels, np.array(train or [True] * len(labels)))


@pytest.mark.parametrize("kind", list(LABELS))
def test_json_round_trip(kind: TaskKind) -> None:
    task = fitted(kind)
    assert task_from_json(json.loads(json.dumps(task_to_json(task)))) == task
    assert kind_of(task) == kind


def test_regression_is_standardised_on_the_training_records_alone() -> None:
    labels = [["10"], ["20"], ["30"], ["1000"]]
    task = fitted("regression", labels, [True, True, True, False])
    assert isinstance(task, Regression)
    assert task.mean == (20.0,) and task.scale == pytest.approx((np.std([10, 20, 30]),))
    targets = task.encode(labels)
    assert targets.dtype == np.float32 and targets.shape == (4, 1)
    assert targets[:3].mean() == pytest.approx(0, abs=1e-7) and targets[:3].std() == pytest.approx(1, rel=1e-6)
    assert task.values(targets)[:, 0] == pytest.approx([10, 20, 30, 1000], rel=1e-6)


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(values=st.lists(st.integers(-(10**6), 10**6), min_size=2, max_size=20, unique=True), unit=st.floats(1e-3, 1e3))
def test_regression_comes_back_in_its_units(values: list[int], unit: float) -> None:
    numbers = np.array(values) * unit
    task = fitted("regression", [[repr(float(number))] for number in numbers])
    back = task.values(task.encode([[repr(float(number))] for number in numbers]).astype(np.float32))[:, 0]
    assert np.abs(back - numbers).max() <= 1e-5 * np.abs(numbers).max()
    assert task.rows(np.array([[0.0]], np.float32)) == [[pytest.approx(numbers.mean(), rel=1e-9, abs=1e-9)]]


def test_missing_numbers_are_nan_and_do_not_shift_the_others() -> None:
    task = fitted("regression")
    targets = task.encode(LABELS["regression"])
    assert np.isnan(targets[1, 1]) and np.isfinite(np.delete(targets.ravel(), 3)).all()
    assert isinstance(task, Regression) and task.mean == pytest.approx((354.58333, 149.5))
    assert task.header == ["prediction_y0", "prediction_y1"] and task.outputs == 2


@pytest.mark.parametrize("number", ["0.1", "350", "-1e-9", "0"])
def test_labels_that_are_all_the_same_number_are_refused(number: str) -> None:
    with pytest.raises(InputError, match=r"^column 'y0': all training labels are the same number; there is nothing"):
        fitted("regression", [[number]] * 7 + [["5"]], [True] * 7 + [False])


def test_a_column_without_training_labels_is_refused_quietly() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(
            InputError, match=r"^column 'y1': all training labels are empty; there is nothing to learn$"
        ):
            fitted("regression", [["1", ""], ["2", ""], ["3", "4"]], [True, True, False])


def test_classes_are_in_order_and_come_from_all_records() -> None:
    task = fitted("classification", [["b"], ["a"], ["c"]], [True, True, False])
    assert isinstance(task, Classification) and task.classes == ("a", "b", "c")
    assert fitted("classification", [["10"], ["9"], ["-1"]]) == Classification(
        columns=("y0",), classes=("-1", "9", "10")
    )
    same = fitted("classification", [["1.0"], ["01"], ["1"], ["0"]])
    assert isinstance(same, Classification) and same.classes == ("0", "01", "1", "1.0")
    assert task.encode([["c"], ["a"]]).tolist() == [2, 0]


def test_classes_are_predicted_with_their_probabilities() -> None:
    task = fitted("classification")
    logits = np.array([[1.0, 3.0], [800.0, -800.0]], np.float32)
    assert task.values(logits) == pytest.approx(softmax(logits.astype(float), axis=1))
    assert task.header == ["prediction", "probability_membrane", "probability_nucleus"]
    rows = task.rows(logits)
    assert rows[0] == ["nucleus", pytest.approx(0.119203), pytest.approx(0.880797)]
    assert rows[1] == ["membrane", 1.0, 0.0]
    assert "binary" in task.words


def test_several_labels_come_back_joined_as_in_the_table() -> None:
    task = fitted("multilabel")
    assert isinstance(task, MultiLabel) and task.classes == ("a", "b", "c") and task.separator == ";"
    assert task.encode(LABELS["multilabel"]).tolist() == [[1, 1, 0], [0, 0, 0], [1, 0, 1]]
    logits = np.array([[2.0, -1.0, 0.5], [-1.0, -2.0, -3.0]], np.float32)
    assert task.values(logits) == pytest.approx(expit(logits.astype(float)))
    assert [row[0] for row in task.rows(logits)] == ["a;c", ""]
    piped = fitted("multilabel", [["x|y"], ["y"]])
    assert isinstance(piped, MultiLabel) and piped.separator == "|" and piped.classes == ("x", "y")


def test_residue_labels_are_one_letter_each() -> None:
    task = fitted("residue")
    assert isinstance(task, ResidueClassification) and task.classes == ("C", "E", "H")
    assert task.encode(LABELS["residue"]).tolist() == [2, 2, 1, 0, 1, 1, 0]
    assert task.encode([["EH"]]).dtype == np.int64
    assert task.rows(np.eye(3, dtype=np.float32)[[2, 0, 1]]) == [["HCE"]]


def test_residue_labels_may_be_any_character() -> None:
    labels = [["αβ~α"], [".β"], ["𝛼"]]
    task = fitted("residue", labels)
    assert isinstance(task, ResidueClassification)
    assert "".join(task.classes[index] for index in task.encode(labels)) == "αβ~α.β𝛼"


@pytest.mark.parametrize(
    ("kind", "labels"),
    [("classification", [["a"], ["a"]]), ("residue", [["HH"], ["H"]]), ("multilabel", [["a"], [""]])],
)
def test_a_single_class_is_refused(kind: TaskKind, labels: list[list[str]]) -> None:
    with pytest.raises(InputError, match=r"column 'y0': only one class, '[aH]'; there is nothing to learn"):
        fitted(kind, labels)


@pytest.mark.parametrize(
    ("kind", "loss", "outputs", "per_residue"),
    [
        ("regression", MeanSquaredError(), 2, False), ("classification", CrossEntropy(), 2, False),
        ("multilabel", BinaryCrossEntropy(), 3, False), ("residue", CrossEntropy(), 3, True),
    ],
)  # fmt: skip
def test_each_kind_has_its_loss_and_as_many_outputs_as_it_needs(
    kind: TaskKind, loss: object, outputs: int, per_residue: bool
) -> None:
    task = fitted(kind)
    assert (task.loss, task.outputs, task.per_residue) == (loss, outputs, per_residue)
    rows = task.rows(np.zeros((1, outputs), np.float32))
    assert [len(row) for row in rows] == [len(task.header)]


def test_numbers_and_joined_labels() -> None:
    assert all(is_number(cell) for cell in ("1", "-2.5", "1e-3", " 3 ", "+4"))
    assert not any(is_number(cell) for cell in ("", "nan", "inf", "-inf", "1,5", "a", "1e999"))
    assert split_labels(" a; b;;c ", ";") == ["a", "b", "c"] and split_labels("", ";") == []


@pytest.mark.parametrize("kind", ["classification", "multilabel", "residue"])
def test_readings_survive_json_scale_logits_and_decide(kind: TaskKind) -> None:
    two = [["ab"], ["a"]] if kind == "residue" else [["a"], ["b"]]
    trained = fitted(kind, two)
    assert set(task_to_json(trained)) == {"kind", "columns", "classes", *(["separator"] * (kind == "multilabel"))}
    task = read_by(
        trained, [2.0, 0.5][: 2 if kind == "multilabel" else 1], [0.3, 0.6][: 2 if kind == "multilabel" else 1]
    )
    assert not isinstance(task, Regression)
    assert task_from_json(json.loads(json.dumps(task_to_json(task)))) == task and as_trained(task) == trained
    logits = np.random.default_rng(0).normal(size=(9, 2)).astype(np.float32)
    values = task.values(logits)
    if kind == "multilabel":
        assert values == pytest.approx(expit(logits / np.array([2.0, 0.5])))
        assert (task.decide(values) == (values >= np.array([0.3, 0.6]))).all()
    else:
        assert values == pytest.approx(softmax(logits / 2, axis=1))
        assert (task.decide(values) == (values[:, 1] >= 0.3)).all()
        said = "".join(str(row[0]) for row in task.rows(logits))
        assert said == "".join("ab"[index] for index in task.decide(values))
    assert (logits_of(task, logits) == logits.astype(np.float64)).all()


@pytest.mark.parametrize(
    ("temperature", "threshold"),
    [([0.0], []), ([-1.0], []), ([1.0, 1.0], []), ([], [float("nan")]), ([], [0.0]), ([float("inf")], [])],
)
def test_readings_that_cannot_be_are_refused(temperature: list[float], threshold: list[float]) -> None:
    with pytest.raises(InputError, match=r"temperature|threshold"):
        read_by(fitted("classification"), temperature, threshold)
    values = {**task_to_json(fitted("classification")), "temperature": temperature, "threshold": threshold}
    with pytest.raises(InputError, match="restore the file"):
        task_from_json(values)


def test_a_threshold_needs_two_classes_and_numbers_have_none() -> None:
    with pytest.raises(InputError, match="needs two classes, and there are 3"):
        read_by(fitted("classification", [["a"], ["b"], ["c"]]), [], [0.5])
    numbers = fitted("regression")
    assert read_by(numbers, [2.0], [0.5]) is numbers is as_trained(numbers)
