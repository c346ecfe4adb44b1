"""What is taken of the labels that a model gives: threshold, most confident of a class, balance; and confidences."""

from __future__ import annotations

import numpy as np
import pytest

from seqtrain.pseudo_labels import BELOW, BEYOND, KEPT, Labelled, Selection, of_outputs
from seqtrain.tasks import Classification, MultiLabel, Regression

CLASSES = np.array([0, 0, 0, 1, 1, 0, 2])
CONFIDENCE = np.array([0.9, 0.5, 0.9, 0.95, 0.6, 0.99, 0.2])
GIVEN = Labelled(labels=[[str(each)] for each in CLASSES], classes=CLASSES, confidence=CONFIDENCE)
SIZES = np.array([5, 4, 2])


def fates(selection: Selection, given: Labelled = GIVEN) -> str:
    """One letter per record: k(ept), b(elow), x for beyond."""
    return "".join({KEPT: "k", BELOW: "b", BEYOND: "x"}[str(fate)] for fate in selection(given, SIZES))


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(), "kkkkkkk"),
        (Selection(threshold=0.9), "kbkkbkb"),
        (Selection(threshold=1.0), "bbbbbbb"),
        (Selection(per_class=1), "xxxkxkk"),
        (Selection(per_class=2), "kxxkkkk"),
        (Selection(per_class=2, threshold=0.6), "kbxkkkb"),
        (Selection(balance=True), "xxxkxxk"),
    ],
)
def test_which_are_kept(selection: Selection, expected: str) -> None:
    assert fates(selection) == expected


def test_what_no_label_reaches_is_never_kept() -> None:
    given = Labelled(labels=GIVEN.labels, classes=CLASSES, confidence=CONFIDENCE * (CLASSES > 0))
    assert fates(Selection(), given) == "bbbkkbk"


def test_records_without_one_class_have_a_threshold_only() -> None:
    given = Labelled(labels=GIVEN.labels, classes=None, confidence=CONFIDENCE)
    assert fates(Selection(threshold=0.9, per_class=1), given) == "kbkkbkb"


def test_the_confidence_of_a_class_is_its_probability() -> None:
    task = Classification(columns=("y",), classes=("a", "b"))
    found = of_outputs(task, np.log(np.array([[0.2, 0.8], [0.9, 0.1]], np.float32)), None)
    assert found.labels == [["b"], ["a"]] and found.classes is not None and found.classes.tolist() == [1, 0]
    np.testing.assert_allclose(found.confidence, [0.8, 0.9], atol=1e-6)


def test_labels_are_those_that_are_predicted_where_there_is_a_threshold() -> None:
    task = Classification(columns=("y",), classes=("a", "b"), threshold=(0.3,))
    found = of_outputs(task, np.log(np.array([[0.6, 0.4], [0.9, 0.1]], np.float32)), None)
    assert found.labels == [["b"], ["a"]] and found.classes is not None and found.classes.tolist() == [1, 0]
    np.testing.assert_allclose(found.confidence, [0.4, 0.9], atol=1e-6)
    several = MultiLabel(columns=("y",), classes=("a", "b"), separator=";", threshold=(0.2, 0.8))
    p = np.array([[0.3, 0.7]])
    said = of_outputs(several, np.log(p / (1 - p)).astype(np.float32), None)
    assert said.labels == [["a"]]
    np.testing.assert_allclose(said.confidence, [0.3], atol=1e-6)


def test_the_confidence_of_several_labels_is_that_of_the_least_sure_one() -> None:
    task = MultiLabel(columns=("y",), classes=("a", "b", "c"), separator=";")
    p = np.array([[0.9, 0.2, 0.99], [0.1, 0.45, 0.01]])
    found = of_outputs(task, np.log(p / (1 - p)).astype(np.float32), None)
    assert found.labels == [["a;c"], [""]]
    np.testing.assert_allclose(found.confidence, [0.8, 0.55], atol=1e-6)


def test_the_confidence_of_a_number_falls_with_the_spread_of_the_members() -> None:
    task = Regression(columns=("y",), mean=(10.0,), scale=(4.0,))
    members = np.array([[[0.0], [0.0], [-9.0]], [[0.0], [1.0], [9.0]]], np.float32)
    found = of_outputs(task, members.mean(0), members)
    assert [float(row[0]) for row in found.labels] == [10, 12, 10]
    np.testing.assert_allclose(found.confidence, [1, 0.5, 0])
