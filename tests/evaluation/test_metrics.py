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
            "macro_precision": reference.precision_score(true, predicted, average="macro"),
            "macro_f1": reference.f1_score(true, predicted, average="macro"),
            "macro_iou": reference.jaccard_score(true, predicted, average="macro"),
            "mcc": reference.matthews_corrcoef(true, predicted),
            "cross_entropy": reference.log_loss(true, probabilities),
            "brier": reference.brier_score_loss(true, scores),
            "roc_auc": reference.roc_auc_score(true, scores),
            "pr_auc": reference.average_precision_score(true, scores),
            "f1": reference.f1_score(true, predicted),
            "precision": reference.precision_score(true, predicted),
            "recall": reference.recall_score(true, predicted),
            "iou": reference.jaccard_score(true, predicted),
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
        "macro_precision": reference.precision_score(true, predicted, average="macro"),
        "macro_f1": reference.f1_score(true, predicted, average="macro"),
        "macro_iou": reference.jaccard_score(true, predicted, average="macro"),
        "mcc": reference.matthews_corrcoef(true, predicted),
        "cross_entropy": reference.log_loss(true, probabilities),
        "brier": reference.brier_score_loss(true, probabilities, labels=list(range(num_classes))),
        "macro_pr_auc": reference.average_precision_score(np.eye(num_classes)[true], probabilities, average="macro"),
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
            "micro_iou": reference.jaccard_score(true, predicted, average="micro"),
            "macro_f1": reference.f1_score(true, predicted, average="macro"),
            "macro_iou": reference.jaccard_score(true, predicted, average="macro"),
            "macro_roc_auc": reference.roc_auc_score(true, probabilities, average="macro"),
            "macro_pr_auc": reference.average_precision_score(true, probabilities, average="macro"),
            "cross_entropy": reference.log_loss(true.ravel(), probabilities.ravel()),
            "brier": reference.brier_score_loss(true.ravel(), probabilities.ravel()),
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
    assert len(found) == 6 * 3 + 1


def test_perplexity_is_the_exponential_of_the_log_loss() -> None:
    from sklearn import metrics as reference

    true, probabilities = _probabilities(50, 4, 7)
    assert m.perplexity(true, probabilities) == pytest.approx(np.exp(reference.log_loss(true, probabilities)))
    assert m.perplexity(true, np.full((50, 4), 0.25)) == pytest.approx(4)


def test_cosine_is_scikit_learns() -> None:
    from sklearn.metrics.pairwise import paired_cosine_distances

    rng = np.random.default_rng(8)
    true, predicted = rng.normal(size=(2, 40, 3))
    assert m.cosine_similarity(true, predicted) == pytest.approx(1 - paired_cosine_distances(true, predicted).mean())
    unknown = true.copy()
    unknown[:4, 1], unknown[4] = np.nan, 0
    assert m.cosine_similarity(unknown, predicted) == m.cosine_similarity(true[5:], predicted[5:])
    assert m.cosine_similarity(true, -2 * true) == pytest.approx(-1)
    assert np.isnan(m.cosine_similarity(np.zeros((3, 2)), np.ones((3, 2))))


@pytest.mark.parametrize("seed", range(8))
def test_any_classes_equal_references(seed: int) -> None:
    """With classes that nobody has, that nobody predicts, and with one class only."""
    from sklearn import metrics as reference

    rng = np.random.default_rng(seed)
    num_classes, num_rows = int(rng.integers(2, 7)), int(rng.integers(1, 30))
    true = rng.integers(0, rng.integers(1, num_classes + 1), num_rows)
    predicted = rng.integers(0, rng.integers(1, num_classes + 1), num_rows)
    names = list(range(num_classes))
    rates = m.per_class(true, predicted, num_classes)
    scores = reference.precision_recall_fscore_support(true, predicted, labels=names, zero_division=np.nan)
    iou = reference.jaccard_score(true, predicted, labels=names, average=None, zero_division=0)
    for name, expected in zip(("precision", "recall", "f1"), scores, strict=False):
        np.testing.assert_allclose(rates[name], expected)
    np.testing.assert_allclose(np.nan_to_num(rates["iou"]), iou)
    assert m.micro_iou(true, predicted) == pytest.approx(reference.jaccard_score(true, predicted, average="micro"))
    found = m.label_metrics(true, predicted)
    assert found["macro_f1"] == pytest.approx(reference.f1_score(true, predicted, average="macro", zero_division=0))
    expected_precision = reference.precision_score(true, predicted, average="macro", zero_division=0)
    assert found["macro_precision"] == pytest.approx(expected_precision)
    probabilities = rng.dirichlet(np.ones(num_classes), num_rows)
    for k in range(1, num_classes):
        top = reference.top_k_accuracy_score(true, probabilities, k=k, labels=names) if num_classes > 2 else None
        assert top is None or m.top_accuracy(true, probabilities, k) == pytest.approx(top)
    decided = m.classification_metrics(true, probabilities, predicted)
    assert decided["accuracy"] == pytest.approx((true == predicted).mean())


def _overlap_by_sets(true: str, predicted: str) -> float:
    """SOV'99 by its definition, segments as sets of positions."""

    def segments(text: str) -> list[tuple[str, set[int]]]:
        found: list[tuple[str, set[int]]] = []
        for place, letter in enumerate(text):
            if place and letter == text[place - 1]:
                found[-1][1].add(place)
            else:
                found.append((letter, {place}))
        return [each for each in found if each[0] != "."]

    gained = weight = 0.0
    for letter, one in segments(true):
        partners = [other for name, other in segments(predicted) if name == letter and one & other]
        for other in partners:
            shared, covered = len(one & other), len(one | other)
            delta = min(covered - shared, shared, len(one) // 2, len(other) // 2)
            gained += (shared + delta) / covered * len(one)
        weight += len(one) * max(1, len(partners))
    return gained / weight if weight else float("nan")


def test_segment_overlap_equals_its_definition() -> None:
    rng = np.random.default_rng(9)
    texts = []
    for _ in range(40):
        true = "".join(letter * int(rng.integers(1, 7)) for letter in rng.choice(list("HEC."), 8))
        moved = "".join(true[int(np.clip(i + rng.integers(-2, 3), 0, len(true) - 1))] for i in range(len(true)))
        decided = "".join("." if t == "." else p.replace(".", "C") for t, p in zip(true, moved, strict=True))
        texts.append((true, decided))
    index = {"H": 0, "E": 1, "C": 2, ".": -100}
    codes = [[np.array([index[letter] for letter in text]) for text in pair] for pair in texts]
    records = np.repeat(np.arange(40), [len(true) for true, _ in texts])
    found = m.segment_overlap(*(np.concatenate(side) for side in zip(*codes, strict=True)), records)
    assert found == pytest.approx(np.nanmean([_overlap_by_sets(*pair) for pair in texts]))
    assert m.segment_overlap(codes[0][0], codes[0][0], np.zeros(len(codes[0][0]))) == 1
    # Ends that are off by one are forgiven, a helix in two is not.
    assert _overlap_by_sets("CCHHHHHHCC", "CCCHHHHHCC") == 1 > _overlap_by_sets("CCHHHHHHCC", "CCHHCCHHCC")
    assert np.isnan(m.segment_overlap(np.zeros(0), np.zeros(0), np.zeros(0)))
    assert np.isnan(m.segment_overlap(np.full(3, -1), np.zeros(3), np.zeros(3)))


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
        "import sys, seqtrain.evaluation.baselines, seqtrain.evaluation.intervals, seqtrain.report.html;"
        "print(*{'torch', 'transformers', 'sklearn', 'scipy', 'pandas'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []
