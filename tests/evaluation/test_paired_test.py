"""Permutation tests, against closed forms and against all permutations; their level holds."""

from __future__ import annotations

import itertools
from math import comb

import numpy as np
import pytest
from sklearn.metrics import mean_squared_error

from seqtrain.evaluation import metrics, weighted
from seqtrain.evaluation.paired_test import called_swap_test, holm, shuffle_test, swap_test


def mcnemar(one_right: int, other_right: int) -> float:
    """Exact two-sided p of the discordant records (McNemar 1947)."""
    total = one_right + other_right
    tail = sum(comb(total, k) for k in range(min(one_right, other_right) + 1)) / 2**total
    return min(1.0, 2 * tail)


@pytest.mark.parametrize(("one_right", "other_right"), [(9, 2), (12, 11), (25, 9), (3, 0), (0, 0)])
def test_accuracy_is_mcnemars_test(one_right: int, other_right: int) -> None:
    true = np.zeros(80, np.int64)
    one, other = np.ones(80, np.int64), np.ones(80, np.int64)
    one[:one_right] = 0
    other[one_right : one_right + other_right] = 0
    one[70:] = other[70:] = 0
    found = swap_test(weighted.labels(true, one), weighted.labels(true, other), num_swaps=20_000, seed=0)
    expected = mcnemar(one_right, other_right)
    assert found["accuracy"] == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / 20_000) + 1e-4)


def test_numbers_equal_all_swaps() -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(size=10)
    one, other = true + rng.normal(size=10), true + 2 * rng.normal(size=10)
    observed = abs(metrics.pearson(true, one) - metrics.pearson(true, other))
    differences = []
    for swaps in itertools.product([False, True], repeat=10):
        first, second = np.where(swaps, other, one), np.where(swaps, one, other)
        differences.append(abs(metrics.pearson(true, first) - metrics.pearson(true, second)))
    exact = np.mean(np.array(differences) >= observed - 1e-9)
    found = swap_test(weighted.numbers(true, one), weighted.numbers(true, other), num_swaps=20_000, seed=1)
    assert found["pearson"] == pytest.approx(exact, abs=0.015)


@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e6])
def test_units_do_not_matter(unit: float) -> None:
    rng = np.random.default_rng(3)
    true = rng.normal(size=60)
    one, other = true + 0.1 * rng.normal(size=60), true + rng.normal(size=60)
    found = swap_test(weighted.numbers(true * unit, one * unit), weighted.numbers(true * unit, other * unit), seed=1)
    assert found["mse"] == found["mae"] == pytest.approx(1 / 1001)
    called = called_swap_test(mean_squared_error, true * unit, one * unit, other * unit, num_swaps=100, seed=1)
    assert called == pytest.approx(1 / 101)


def test_called_and_summed_are_one_test() -> None:
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(15), rng.integers(1, 6, 15))
    true = rng.integers(0, 3, len(groups))
    one, other = (np.where(rng.random(len(true)) < share, true, 0) for share in (0.7, 0.4))
    summed = swap_test(
        weighted.labels(true, one, groups, 3), weighted.labels(true, other, groups, 3), num_swaps=300, seed=2
    )
    for name in ("accuracy", "macro_f1", "mcc"):
        called = called_swap_test(
            lambda t, p, name=name: metrics.label_metrics(t, p)[name],
            true,
            one,
            other,
            groups=groups,
            num_swaps=300,
            seed=2,
        )
        assert called == pytest.approx(summed[name])


def test_residues_are_swapped_with_their_records() -> None:
    # Two records decide; were their residues swapped one by one, p would be tiny.
    groups = np.repeat([0, 1], 50)
    true, one, other = np.zeros(100, np.int64), np.zeros(100, np.int64), np.ones(100, np.int64)
    p = swap_test(weighted.labels(true, one, groups, 2), weighted.labels(true, other, groups, 2), seed=0)["accuracy"]
    assert p == pytest.approx(0.5, abs=0.05)


def test_level_and_power() -> None:
    rng = np.random.default_rng(3)
    rejected = {0.0: 0, 1.5: 0}
    for seed in range(200):
        for noise in rejected:
            true = rng.normal(size=60)
            one, other = true + rng.normal(size=60), true + (1 + noise) * rng.normal(size=60)
            summed = [weighted.rank_numbers(true, each) for each in (one, other)]
            rejected[noise] += swap_test(*summed, num_swaps=200, seed=seed)["spearman"] <= 0.05
    # 5 % promised: 10 of 200, give or take three standard errors of 3.
    assert rejected[0.0] <= 19
    assert rejected[1.5] >= 110


def test_undefined_scores_have_no_p() -> None:
    true, constant = np.arange(9.0), np.ones(9)
    assert np.isnan(swap_test(weighted.numbers(true, true), weighted.numbers(true, constant), seed=0)["pearson"])
    assert np.isnan(called_swap_test(metrics.pearson, true, true, constant, seed=0))
    assert np.isnan(shuffle_test(lambda order: float("nan"), 5, seed=0))


def test_shuffles_equal_all_orders() -> None:
    rng = np.random.default_rng(4)
    true = rng.normal(size=6)
    predicted = true + rng.normal(size=6)
    observed = abs(metrics.spearman(true, predicted))
    orders = [np.array(order) for order in itertools.permutations(range(6))]
    exact = np.mean([abs(metrics.spearman(true, predicted[order])) >= observed - 1e-9 for order in orders])
    found = shuffle_test(lambda order: metrics.spearman(true, predicted[order]), 6, num_shuffles=1000, seed=0)
    assert found == pytest.approx(exact, abs=0.05)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.9]) == [1, 1]
    assert holm([]) == []
    found = holm([0.02, float("nan"), 0.01])
    assert found[0] == pytest.approx(0.02) and np.isnan(found[1]) and found[2] == pytest.approx(0.02)
