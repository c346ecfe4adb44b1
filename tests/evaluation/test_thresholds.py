"""Thresholds are the best there are, by scikit-learn's scores at every possible one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from seqtrain.errors import InputError
from seqtrain.evaluation.thresholds import Rule, best_threshold, read_threshold, scores_at

SCORES: dict[Rule, Callable[[np.ndarray, np.ndarray], float]] = {
    "f1": lambda t, p: reference.f1_score(t, p, zero_division=0),
    "mcc": reference.matthews_corrcoef,
    "balanced-accuracy": reference.balanced_accuracy_score,
    "youden": lambda t, p: reference.balanced_accuracy_score(t, p, adjusted=True),
}


@pytest.mark.parametrize("rule", SCORES)
def test_no_threshold_is_better(rule: Rule) -> None:
    rng = np.random.default_rng(0)
    for size in (2, 9, 40):
        positive = rng.random(size) < 0.3
        positive[:2] = True, False
        probabilities = np.round(np.clip(0.3 * positive + 0.7 * rng.random(size), 0.05, 0.95), 1)  # with ties
        found = best_threshold(positive, probabilities, rule)
        tried = np.linspace(0.001, 1.0, 112)  # with those of which all and none is predicted
        expected = [SCORES[rule](positive, probabilities >= each) for each in tried]
        assert scores_at(positive, probabilities, tried, rule) == pytest.approx(expected)
        assert found.score == pytest.approx(max(expected))
        assert found.score == pytest.approx(SCORES[rule](positive, probabilities >= found.value))
        assert found.score_at_half == pytest.approx(SCORES[rule](positive, probabilities >= 0.5))


@given(st.lists(st.tuples(st.booleans(), st.floats(0.01, 0.99)), min_size=2, max_size=12))
@settings(max_examples=60, deadline=None)
def test_any_records(pairs: list[tuple[bool, float]]) -> None:
    positive, probabilities = (np.array(each) for each in zip(*pairs, strict=True))
    if positive.all() or not positive.any():
        with pytest.raises(ValueError, match="one kind"):
            best_threshold(positive, probabilities, "mcc")
        return
    found = best_threshold(positive, probabilities, "mcc")
    assert found.score >= found.score_at_half and 0 <= found.value <= 1
    assert found.score >= scores_at(positive, probabilities, probabilities, "mcc").max() - 1e-12


def test_of_equals_the_one_nearest_to_a_half_is_taken() -> None:
    positive, probabilities = np.array([False, True]), np.array([0.1, 0.9])
    assert best_threshold(positive, probabilities, "f1").value == 0.5
    found = best_threshold(np.array([False, True, True]), np.array([0.1, 0.3, 0.4]), "f1")
    assert found.value == pytest.approx(0.2) and found.score == 1 and found.score_at_half == 0
    assert found.words() == "threshold 0.2 for F1 1.000 on 3 validation records; 0.5 would give 0.000"


def test_words_are_rules_or_numbers_between_0_and_1() -> None:
    assert read_threshold("mcc") == "mcc" and read_threshold("0.3") == 0.3
    for text in ("f2", "0", "1", "1.5", "-0.2", "nan", ""):
        with pytest.raises(InputError, match="f1, mcc, balanced-accuracy, youden, or a number between 0 and 1"):
            read_threshold(text)
