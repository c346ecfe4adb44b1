"""Metrics equal scikit-learn's and scipy's, and what is undefined is nan without a warning."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Iterator

import numpy as np
import pytest

from seqtrain.evaluation import metrics as m


@pytest.fixture(autouse=True)
def _warnings_are_errors() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def _probabilities(num_rows: int, num_classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Classes and probabilities that know something about them; coarse, so that scores are tied."""
    rng = np.random.default_rng(seed)
    true = rng.integers(0, num_classes, num_rows)
    logits = rng.normal(size=(num_rows, num_classes)) + 1.5 * np.eye(num_classes)[true]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return true, probabilities


@pytest.mark.parametrize("ties", [False, True])
def test_regression_equals_references(ties: bool) -> None:
    from scipy import stats
    from sklearn import metrics as reference

    rng = np.random.default_rng(1)
    true = rng.normal(size=200)
    predicted = true + rng.normal(size=200)
    if ties:
        true, predicted = np.round(true), np.round(predicted)
    found = m.regression_metrics(true, predicted)
    assert found == pytest.approx(
        {
            "spearman": stats.spearmanr(true, predicted).statistic,
            "pearson": stats.pearsonr(true, predicted).statistic,
            "r2": reference.r2_score(true, predicted),
            "mse": reference.mean_squared_error(true, predicted),
            "mae": reference.mean_absolute_error(true, predicted),
            "rmse": reference.root_mean_squared_error(true, predicted),
        }
    )
    assert m.ranks(true) == pytest.approx(stats.rankdata(true))


@pytest.mark.parametrize("ties", [False, True])
def test_binary_equals_references(ties: bool) -> None:
    from sklearn import metrics as reference

    true, probabilities = _probabilities(300, 2, 2)
    if ties:
        probabilities[:, 1] = np.round(probabilities[:, 1], 1) * 0.98 + 0.011
        probabilities[:, 0] = 1 - probabilities[:, 1]
    predicted, scores = probabilities.argmax(axis=1), probabilities[:, 1]
    assert m.classification_metrics(true, probabilities) == pytest.approx(
        {
            "accuracy": reference.accuracy_score(true, predicted),
            "balanced_accuracy": reference.balanced_accuracy_score(true, predicted),
            "macro_f1": reference.f1_score(true, predicted, average="macro"),
            "mcc": reference.matthews_corrcoef(true, predicted),
            "cross_entropy": reference.log_loss(true, probabilities),
            "roc_auc": reference.roc_auc_score(true, scores),
            "pr_auc": reference.average_precision_score(true, scores),
            "f1": reference.f1_score(true, predicted),
            "precision": reference.precision_score(true, predicted),
            "recall": reference.recall_score(true, predicted),
        }
    )


@pytest.mark.parametrize("num_classes", [3, 12])
def test_multi_class_equals_references(num_classes: int) -> None:
    from sklearn import metrics as reference

    true, probabilities = _probabilities(400, num_classes, 3)
    predicted = probabilities.argmax(axis=1)
    expected = {
        "accuracy": reference.accuracy_score(true, predicted),
        "balanced_accuracy": reference.balanced_accuracy_score(true, predicted),
        "macro_f1": reference.f1_score(true, predicted, average="macro"),
        "mcc": reference.matthews_corrcoef(true, predicted),
        "cross_entropy": reference.log_loss(true, probabilities),
        "macro_roc_auc": reference.roc_auc_score(true, probabilities, multi_class="ovr", average="macro"),
    }
    if num_classes > m.TOP_K_FROM:
        expected["top_5_accuracy"] = reference.top_k_accuracy_score(true, probabilities, k=5)
    assert m.classification_metrics(true, probabilities) == pytest.approx(expected)
    assert (m.confusion_matrix(true, predicted, num_classes) == reference.confusion_matrix(true, predicted)).all()


def test_multilabel_equals_references() -> None:
    from sklearn import metrics as reference

    rng = np.random.default_rng(4)
    true = rng.integers(0, 2, (150, 6))
    probabilities = np.clip(rng.random((150, 6)) * 0.6 + 0.4 * true, 0, 1)
    predicted = probabilities >= 0.5
    assert m.multilabel_metrics(true, probabilities) == pytest.approx(
        {
            "micro_f1": reference.f1_score(true, predicted, average="micro"),
            "macro_f1": reference.f1_score(true, predicted, average="macro"),
            "macro_roc_auc": reference.roc_auc_score(true, probabilities, average="macro"),
            "subset_accuracy": reference.accuracy_score(true, predicted),
        }
    )


def test_multi_regression_is_per_column_and_mean() -> None:
    rng = np.random.default_rng(5)
    true = rng.normal(size=(50, 2))
    predicted = true + rng.normal(size=(50, 2))
    true[:10, 1] = np.nan
    found = m.multi_regression_metrics(true, predicted, ["heat", "acid"])
    assert found["mse[heat]"] == pytest.approx(np.mean((true[:, 0] - predicted[:, 0]) ** 2))
    assert found["mse[acid]"] == pytest.approx(np.mean((true[10:, 1] - predicted[10:, 1]) ** 2))
    assert found["mse"] == pytest.approx((found["mse[heat]"] + found["mse[acid]"]) / 2)
    assert len(found) == 6 * 3


def test_unscored_targets_are_left_out() -> None:
    true, probabilities = _probabilities(60, 3, 6)
    hidden = np.where(np.arange(60) % 4 == 0, -100, true)
    kept = hidden >= 0
    assert m.classification_metrics(hidden, probabilities) == m.classification_metrics(true[kept], probabilities[kept])
    assert m.confusion_matrix(hidden, true, 3).sum() == kept.sum()
    assert m.accuracy(hidden, true) == 1
    labels = (np.arange(60)[:, None] % (np.arange(3) + 2) == 0).astype(float)
    unknown = labels.copy()
    unknown[::5] = np.nan
    known = ~np.isnan(unknown[:, 0])
    assert m.multilabel_metrics(unknown, probabilities) == m.multilabel_metrics(labels[known], probabilities[known])


def test_regression_degenerate() -> None:
    one = np.ones(5)
    varied = np.arange(5.0)
    for true, predicted in ((one, varied), (varied, one), (varied[:1], varied[:1]), (varied[:0], varied[:0])):
        found = m.regression_metrics(true, predicted)
        assert np.isnan(found["spearman"]) and np.isnan(found["pearson"])
    assert m.regression_metrics(varied, one)["r2"] == pytest.approx(-0.5)
    assert np.isnan(m.r2(one, varied)) and np.isnan(m.r2(varied[:1], varied[:1]))
    assert all(np.isnan(value) for value in m.regression_metrics(varied[:0], varied[:0]).values())
    assert np.isnan(m.spearman(varied, np.array([1.0, 2, np.nan, 3, 4])))


def test_classification_degenerate() -> None:
    halves = np.full((4, 2), 0.5)
    empty = m.classification_metrics(np.zeros(0, int), np.zeros((0, 2)))
    assert all(np.isnan(value) for value in empty.values())
    one_class = m.classification_metrics(np.zeros(4, int), halves)
    assert one_class["accuracy"] == 1 and np.isnan(one_class["roc_auc"]) and np.isnan(one_class["mcc"])
    assert np.isnan(one_class["precision"]) and np.isnan(one_class["pr_auc"])
    constant = m.classification_metrics(np.array([0, 1, 0, 1]), halves)
    assert constant["mcc"] == 0 and constant["roc_auc"] == 0.5 and np.isnan(constant["precision"])
    assert constant["recall"] == 0
    single = m.classification_metrics(np.array([2]), np.eye(3)[[2]])
    assert single["accuracy"] == 1 and np.isnan(single["macro_roc_auc"]) and single["cross_entropy"] == 0
    ties = m.top_accuracy(np.arange(12), np.full((12, 12), 1 / 12), 5)
    assert ties == pytest.approx(5 / 12)
    nothing = m.multilabel_metrics(np.zeros((0, 3)), np.zeros((0, 3)))
    assert all(np.isnan(value) for value in nothing.values())
    assert np.isnan(m.multilabel_metrics(np.zeros((3, 2)), np.zeros((3, 2)))["micro_f1"])


def test_is_better_knows_directions_and_nan() -> None:
    assert m.is_better("mse", 1, 2) and not m.is_better("spearman", 1, 2)
    assert m.is_better("mse[heat]", 1, 2)
    assert m.is_better("mcc", -1, float("nan")) and not m.is_better("mcc", float("nan"), -1)


def test_evaluation_is_light_to_import() -> None:
    program = (
        "import sys, seqtrain.evaluation.baselines, seqtrain.evaluation.intervals, seqtrain.evaluation.report;"
        "print(*{'torch', 'transformers', 'sklearn', 'scipy', 'pandas'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []
