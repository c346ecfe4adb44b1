"""Metrics of weighted records are those of repeated records, and of many rows of weights at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from seqtrain.evaluation import metrics, weighted
from seqtrain.evaluation.weighted import Values

COUNT = 60


def repeated(weights: NDArray[np.float64], *arrays: NDArray[np.generic]) -> list[NDArray[np.generic]]:
    rows = np.repeat(np.arange(len(weights)), weights.astype(int))
    return [array[rows] for array in arrays]


def weights_of(seed: int, count: int = COUNT) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    drawn = np.array([np.bincount(rng.integers(0, count, count), minlength=count) for _ in range(8)])
    return np.concatenate([np.ones((1, count)), np.eye(count)[:1] * 3, drawn]).astype(float)


def check(
    measured: Callable[[NDArray[np.float64]], Values],
    reference: Callable[..., dict[str, float]],
    arrays: list[NDArray[np.generic]],
) -> None:
    weights = weights_of(0, len(arrays[0]))
    found = measured(weights)
    for row, each in enumerate(weights):
        expected = reference(*repeated(each, *arrays))
        assert {name: values[row] for name, values in found.items()} == pytest.approx(
            {name: expected[name] for name in found}, nan_ok=True, rel=1e-6, abs=1e-9
        )


@pytest.mark.parametrize("num_classes", [1, 2, 5])
def test_classes(num_classes: int) -> None:
    rng = np.random.default_rng(num_classes)
    true, predicted = rng.integers(0, num_classes, COUNT), rng.integers(0, num_classes, COUNT)
    true[rng.random(COUNT) < 0.1] = -100
    check(weighted.labels(true, predicted), metrics.label_metrics, [true, predicted])
    check(weighted.labels(true, predicted, None, num_classes + 2), metrics.label_metrics, [true, predicted])
    # A single class predicted.
    check(weighted.labels(true, np.zeros_like(true)), metrics.label_metrics, [true, np.zeros_like(true)])


def test_residues_count_with_their_records() -> None:
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(12), rng.integers(1, 9, 12))
    true, predicted = rng.integers(0, 3, len(groups)), rng.integers(0, 3, len(groups))
    weights = weights_of(2, 12)
    found = weighted.labels(true, predicted, groups)(weights)
    for row, each in enumerate(weights):
        expected = metrics.label_metrics(*repeated(each[groups], true, predicted))
        assert {name: values[row] for name, values in found.items()} == pytest.approx(expected, nan_ok=True)


def test_labels_of_records() -> None:
    rng = np.random.default_rng(3)
    true, probabilities = rng.integers(0, 2, (COUNT, 4)).astype(float), rng.random((COUNT, 4))
    true[:7, 1] = np.nan

    def reference(t: NDArray[np.float64], p: NDArray[np.float64]) -> dict[str, float]:
        return metrics.multilabel_metrics(t, p)

    check(weighted.cells(true, probabilities >= 0.5), reference, [true, probabilities])


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_numbers(offset: float) -> None:
    rng = np.random.default_rng(4)
    true = (rng.normal(size=COUNT).round(1) + offset).astype(float)
    predicted = (0.5 * (true - offset) + offset + rng.normal(size=COUNT)).round(1)
    true[3:6] = np.nan
    measured = weighted.together(weighted.ranked(true, predicted), weighted.numbers(true, predicted))
    check(measured, metrics.regression_metrics, [true, predicted])
    constant = np.full(COUNT, 0.1)
    measured = weighted.together(weighted.ranked(true, constant), weighted.numbers(true, constant))
    check(measured, metrics.regression_metrics, [true, constant])


def test_several_columns() -> None:
    rng = np.random.default_rng(5)
    true, predicted = rng.normal(size=(COUNT, 2)), rng.normal(size=(COUNT, 2))
    true[:20, 0] = np.nan
    columns = {str(k): weighted.numbers(true[:, k], predicted[:, k]) for k in range(2)}

    def reference(t: NDArray[np.float64], p: NDArray[np.float64]) -> dict[str, float]:
        return metrics.multi_regression_metrics(t, p, ["0", "1"])

    check(weighted.averaged(columns), reference, [true, predicted])
    check(weighted.joined(columns), reference, [true, predicted])


def test_areas() -> None:
    rng = np.random.default_rng(6)
    positive = rng.random(COUNT) < 0.3
    scores = (positive + rng.normal(size=COUNT)).round(1)
    check(weighted.areas(positive, scores), lambda p, s: {"roc_auc": metrics.roc_auc(p, s)}, [positive, scores])


def test_ranks_as_numbers_give_spearman() -> None:
    rng = np.random.default_rng(7)
    true, predicted = rng.normal(size=COUNT), rng.normal(size=COUNT).round(1)
    true[:4] = np.nan
    found = weighted.rank_numbers(true, predicted)(np.ones((1, COUNT)))["spearman"][0]
    assert found == pytest.approx(metrics.spearman(true, predicted))


def test_what_is_not_finite_is_undefined() -> None:
    true, predicted = np.arange(5.0), np.array([1, 2, np.nan, 4, 5])
    ones = np.ones((2, 5))
    assert np.isnan(weighted.ranked(true, predicted)(ones)["spearman"]).all()
    assert np.isnan(weighted.rank_numbers(true, predicted)(ones)["spearman"]).all()
    assert np.isnan(weighted.areas(true > 2, predicted)(ones)["roc_auc"]).all()
