"""Intervals hold what they promise, by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from seqtrain.evaluation import metrics
from seqtrain.evaluation.intervals import bootstrap_interval, bootstrap_intervals, difference_interval


def _mean(values: np.ndarray) -> float:
    return float(values.mean())


def test_coverage_of_the_mean() -> None:
    rng = np.random.default_rng(0)
    simulations = 300
    hits = 0
    for seed in range(simulations):
        low, high = bootstrap_interval(_mean, [rng.normal(size=80)], num_resamples=200, seed=seed)
        hits += low <= 0 <= high
    # 95 % promised; 3 standard errors of 300 simulations are 3.8 points, and percentiles of 80 records lose about 1.
    assert 0.90 <= hits / simulations <= 0.985


def test_coverage_with_groups_needs_groups() -> None:
    rng = np.random.default_rng(1)
    hits = {True: 0, False: 0}
    groups = np.repeat(np.arange(50), 20)
    for seed in range(100):
        values = np.repeat(rng.normal(size=50), 20) + 0.1 * rng.normal(size=1000)
        for grouped in hits:
            low, high = bootstrap_interval(
                _mean, [values], groups=groups if grouped else None, num_resamples=100, seed=seed
            )
            hits[grouped] += low <= 0 <= high
    assert hits[True] >= 86
    assert hits[False] <= 60


def test_agrees_with_scipy() -> None:
    from scipy import stats

    rng = np.random.default_rng(2)
    true = rng.normal(size=200)
    predicted = true + rng.normal(size=200)
    low, high = bootstrap_interval(metrics.pearson, [true, predicted], seed=3)
    reference = stats.bootstrap(
        (true, predicted),
        lambda x, y: metrics.pearson(x, y),
        paired=True,
        vectorized=False,
        n_resamples=1000,
        method="percentile",
        rng=np.random.default_rng(4),
    ).confidence_interval
    assert (low, high) == pytest.approx((reference.low, reference.high), abs=0.015)


def test_groups_of_one_equal_records_in_that_order() -> None:
    values = np.random.default_rng(5).normal(size=40)
    plain = bootstrap_interval(_mean, [values], num_resamples=50, seed=6)
    assert bootstrap_interval(_mean, [values], groups=np.arange(40), num_resamples=50, seed=6) == plain
    shuffled = np.random.default_rng(7).permutation(40)
    assert bootstrap_interval(_mean, [values[shuffled]], groups=shuffled, num_resamples=50, seed=6) == plain


def test_whole_records_are_drawn() -> None:
    groups = np.repeat(np.arange(4), [1, 2, 3, 4])
    seen = []

    def note(drawn: np.ndarray) -> float:
        seen.append(np.bincount(drawn, minlength=4))
        return 0.0

    bootstrap_interval(note, [groups], groups=groups, num_resamples=20, seed=8)
    assert all((counts % [1, 2, 3, 4] == 0).all() and (counts // [1, 2, 3, 4]).sum() == 4 for counts in seen)


def test_repeatable_and_keyed_by_seed() -> None:
    values = np.random.default_rng(9).normal(size=30)
    first, again, other = (bootstrap_interval(_mean, [values], num_resamples=40, seed=s) for s in (1, 1, 2))
    assert first == again != other


def test_higher_level_is_wider() -> None:
    values = np.random.default_rng(10).normal(size=30)
    narrow = bootstrap_interval(_mean, [values], level=0.5, seed=1)
    wide = bootstrap_interval(_mean, [values], level=0.99, seed=1)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_several_metrics_share_resamples() -> None:
    rng = np.random.default_rng(11)
    true = rng.integers(0, 3, 90)
    predicted = np.where(rng.random(90) < 0.7, true, 0)
    found = bootstrap_intervals(metrics.label_metrics, [true, predicted], num_resamples=100, seed=12)
    alone = bootstrap_interval(metrics.accuracy, [true, predicted], num_resamples=100, seed=12)
    assert found["accuracy"] == alone
    assert set(found) == {"accuracy", "balanced_accuracy", "macro_f1", "mcc"}


def test_paired_difference_is_sharper() -> None:
    rng = np.random.default_rng(13)
    true = rng.normal(size=300)
    shared = true + rng.normal(size=300)
    worse = shared + 0.8 * rng.normal(size=300)
    low, high = difference_interval(metrics.pearson, true, shared, worse, seed=14)
    assert 0 < low < high
    own = bootstrap_interval(metrics.pearson, [true, shared], seed=14)
    assert high - low < own[1] - own[0]


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_records_give_nan(count: int) -> None:
    values = np.ones(count)
    assert np.isnan(bootstrap_interval(metrics.pearson, [values, values], seed=0)).all()


def test_mostly_undefined_gives_nan() -> None:
    true = np.array([0] * 100 + [1])  # the one positive is absent from 37 % of resamples, which are left out
    scores = np.linspace(0, 1, 101)
    low, high = bootstrap_interval(metrics.roc_auc, [true == 1, scores], num_resamples=200, seed=1)
    assert low <= high == 1
    assert np.isnan(bootstrap_interval(metrics.pearson, [true, np.ones(101)], num_resamples=20, seed=1)).all()
