"""Scores of chunks equal those of everything at once, however it is cut, merged and ordered."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqtrain.evaluation import metrics as m
from seqtrain.evaluation.calibration import reliability
from seqtrain.evaluation.streaming import ClassScores, LabelScores, NumberScores

Case = tuple[Any, tuple[np.ndarray, ...], dict[str, float]]


def of_classes(num_classes: int) -> Case:
    rng = np.random.default_rng(num_classes)
    true = rng.integers(-1, num_classes, 80)
    probabilities = rng.dirichlet(np.ones(num_classes), 80)
    probabilities[::3] = probabilities[0]  # ties
    expected = m.classification_metrics(true, probabilities)
    expected["calibration_error"] = reliability(true, probabilities).expected_calibration_error
    return ClassScores(num_classes=num_classes, ranked=True), (true, probabilities), expected


def of_numbers() -> Case:
    rng = np.random.default_rng(0)
    true = np.round(rng.normal(size=80), 1) + 1e6
    true[::9] = np.nan
    predicted = true + rng.normal(size=80)
    return NumberScores(ranked=True), (true, predicted), m.regression_metrics(true, predicted)


def of_labels() -> Case:
    rng = np.random.default_rng(1)
    true = np.where(rng.random((80, 4)) < 0.1, np.nan, rng.integers(0, 2, (80, 4)))
    true[5] = np.nan
    probabilities = rng.random((80, 4))
    expected = m.multilabel_metrics(true, probabilities)
    counted = {name: value for name, value in expected.items() if "auc" not in name}
    return LabelScores(num_labels=4), (true, probabilities), counted


CASES: dict[str, Callable[[], Case]] = {
    "two classes": lambda: of_classes(2),
    "five classes": lambda: of_classes(5),
    "numbers": of_numbers,
    "labels": of_labels,
}


@pytest.mark.parametrize("case", CASES)
@given(cuts=st.lists(st.integers(0, 80), max_size=6), joined=st.integers(0, 6))
@settings(max_examples=25, deadline=None)
def test_any_cut_gives_the_same(case: str, cuts: list[int], joined: int) -> None:
    empty, arrays, expected = CASES[case]()
    edges = [0, *sorted(cuts), 80]
    parts = [tuple(array[a:b] for array in arrays) for a, b in pairwise(edges)]
    front, back = empty, empty
    for number, part in enumerate(parts):
        if number < joined:
            front = front.update(*part)
        else:
            back = back.update(*part)
    for found in (front.merge(back), back.merge(front)):
        assert found.result() == pytest.approx(expected, nan_ok=True, rel=1e-9, abs=1e-9)
    assert np.isnan(list(empty.result().values())).all(), "what was added to others is not changed itself"


def test_what_was_decided_on_counts() -> None:
    _, (true, probabilities), _ = of_classes(2)
    predicted = (probabilities[:, 1] > 0.2).astype(int)
    found = ClassScores(num_classes=2).update(true, probabilities, predicted).result()
    expected = m.classification_metrics(true, probabilities, predicted)
    assert "roc_auc" not in found
    assert {name: found[name] for name in expected if "auc" not in name} == pytest.approx(
        {name: value for name, value in expected.items() if "auc" not in name}
    )


def test_nothing_is_kept_unless_ranks_are_wanted() -> None:
    rng = np.random.default_rng(2)
    scores = NumberScores()
    for _ in range(5):
        scores = scores.update(rng.normal(size=9), rng.normal(size=9))
    assert scores.kept == () and scores.count == 45 and "spearman" not in scores.result()
    single = ClassScores(num_classes=3, ranked=True).update(np.zeros(4, int), np.full((4, 3), 1 / 3, np.float32))
    assert single.kept[0][1].dtype == np.float32


def test_what_does_not_belong_together_is_refused() -> None:
    with pytest.raises(ValueError, match="classes"):
        ClassScores(num_classes=2).merge(ClassScores(num_classes=3))
    with pytest.raises(ValueError, match="ranks"):
        NumberScores(ranked=True).merge(NumberScores())
    with pytest.raises(ValueError, match="2 and of 3 labels"):
        LabelScores(num_labels=2).merge(LabelScores(num_labels=3))
