"""Curves of precision and recall are scikit-learn's, ties and all."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import precision_recall_curve, roc_auc_score, roc_curve

from seqtrain.evaluation.metrics import pr_auc
from seqtrain.evaluation.ranking_curves import precision_recall, receiver_operating


@pytest.mark.parametrize("levels", [3, 20, 10_000])
def test_curves_are_those_of_scikit_learn(levels: int) -> None:
    rng = np.random.default_rng(levels)
    positive = rng.random(200) < 0.3
    scores = rng.integers(0, levels, 200) / levels + 0.2 * positive
    recall, precision = precision_recall(positive, scores)
    theirs = precision_recall_curve(positive, scores)
    # Theirs goes on until everything is taken, from the other end.
    assert precision == pytest.approx(theirs[0][::-1]) and recall == pytest.approx(theirs[1][::-1])
    assert float(np.sum(np.diff(recall) * precision[1:])) == pytest.approx(pr_auc(positive, scores))
    false, true = receiver_operating(positive, scores)
    theirs = roc_curve(positive, scores, drop_intermediate=False)
    assert false == pytest.approx(theirs[0]) and true == pytest.approx(theirs[1])
    assert np.trapezoid(true, false) == pytest.approx(roc_auc_score(positive, scores))


def test_what_has_no_curve() -> None:
    nothing = np.zeros(0)
    for positive in (np.zeros(4, bool), np.zeros(0, bool)):
        for curve in (precision_recall, receiver_operating):
            assert all(len(axis) == 0 for axis in curve(positive, nothing if not len(positive) else np.arange(4.0)))
    recall, precision = precision_recall(np.ones(2, bool), np.array([0.1, 0.9]))
    assert recall.tolist() == [0, 0.5, 1] and precision.tolist() == [1, 1, 1]
    assert not len(receiver_operating(np.ones(2, bool), np.array([0.1, 0.9]))[0])
