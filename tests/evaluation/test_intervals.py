"""Intervals hold what they promise, by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from seqtrain.evaluation import intervals, metrics, weighted
from seqtrain.evaluation.intervals import (
    bootstrap_interval,
    bootstrap_intervals,
    difference_interval,
    weighted_intervals,
)


def _mean(values: np.ndarray) -> float:
    return float(values.mean())


def test_coverage_of_the_mean() -> None:
    rng = np.random.default_rng(0)
    simulations = 300
    hits = 0
    for seed in range(simulations):
        mean = weighted.means({"mean": rng.normal(size=80)})
        low, high = weighted_intervals(mean, 80, num_resamples=200, seed=seed)["mean"]
        hits += low <= 0 <= high
    # 95 % promised; 3 standard errors of 300 simulations are 3.8 points, and percentiles of 80 records lose about 1.
    assert 0.90 <= hits / simulations <= 0.985


def test_coverage_with_groups_needs_groups() -> None:
    rng = np.random.default_rng(1)
    hits = {True: 0, False: 0}
    groups = np.repeat(np.arange(50), 20)
    for seed in range(60):
        values = np.repeat(rng.normal(size=50), 20) + 0.1 * rng.normal(size=1000)
        for grouped in hits:
            low, high = bootstrap_interval(
                _mean, [values], groups=groups if grouped else None, num_resamples=100, method="percentile", seed=seed
            )
            hits[grouped] += low <= 0 <= high
    assert hits[True] >= 50
    assert hits[False] <= 36


def test_agrees_with_scipy() -> None:
    from scipy import stats

    rng = np.random.default_rng(2)
    true = rng.normal(size=200)
    predicted = true + rng.normal(size=200)
    left = np.array([metrics.pearson(np.delete(true, i), np.delete(predicted, i)) for i in range(200)])
    # Ours is as wide as one of Student's, which scipy's is at a higher level.
    widened = 1 - 2 * intervals._widened(0.025, left.mean() - left)
    assert 0.95 < widened < 0.97
    for method, level in (("percentile", 0.95), ("bca", widened)):
        low, high = bootstrap_interval(metrics.pearson, [true, predicted], seed=3, method=method)
        reference = stats.bootstrap(
            (true, predicted),
            lambda x, y: metrics.pearson(x, y),
            paired=True,
            vectorized=False,
            n_resamples=1000,
            confidence_level=level,
            method={"bca": "BCa"}.get(method, method),
            rng=np.random.default_rng(4),
        ).confidence_interval
        assert (low, high) == pytest.approx((reference.low, reference.high), abs=0.015), method


@pytest.mark.parametrize("method", ["bca", "percentile"])
def test_weights_and_repeats_are_one(method: intervals.Method) -> None:
    rng = np.random.default_rng(15)
    groups = rng.permutation(np.repeat(np.arange(40), rng.integers(1, 5, 40)))
    true = rng.integers(0, 3, len(groups))
    predicted = np.where(rng.random(len(groups)) < 0.7, true, 0)
    called = bootstrap_intervals(
        metrics.label_metrics, [true, predicted], groups=groups, num_resamples=80, method=method, seed=1
    )
    measured = weighted.labels(true, predicted, groups)
    found = weighted_intervals(measured, 40, num_resamples=80, method=method, seed=1)
    assert {name: pytest.approx(each) for name, each in found.items()} == called
    assert np.isnan(weighted_intervals(weighted.labels(true[:1], predicted[:1]), 1, seed=0)["accuracy"]).all()


def test_many_records_are_left_out_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(16)
    values = rng.exponential(size=1000)
    one = bootstrap_interval(_mean, [values], num_resamples=400, seed=2)
    monkeypatch.setattr(intervals, "_MAX_BLOCKS", 1000)
    each = bootstrap_interval(_mean, [values], num_resamples=400, seed=2)
    assert one == pytest.approx(each, abs=0.01)


def test_coverage_where_percentiles_fall_short() -> None:
    """A small form of benchmarks/benchmark_honesty.py: exponential numbers with errors of heavy tails."""
    rng = np.random.default_rng(17)
    held = {"bca": 0, "percentile": 0}
    simulations = 150
    truth = 1 - (0.4**2 + 0.25 * 5 / 3 + 0.4**2) / 1.0  # var of t with 5 degrees is 5 / 3; mean error is 0.4
    for seed in range(simulations):
        true = rng.exponential(size=100)
        measured = weighted.numbers(true, 0.6 * true + 0.5 * rng.standard_t(5, size=100))
        for method in ("bca", "percentile"):
            low, high = weighted_intervals(measured, 100, num_resamples=200, method=method, seed=seed)["r2"]
            held[method] += low <= truth <= high
    # 95 % promised; the benchmark finds 93 to 94 of ours at 100 records, and a standard error here is 1.4.
    assert held["bca"] / simulations >= 0.88
    assert held["bca"] > held["percentile"]


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

    bootstrap_interval(note, [groups], groups=groups, num_resamples=20, method="percentile", seed=8)
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
    assert set(found) == set(metrics.label_metrics(true, predicted))


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


@pytest.mark.parametrize("method", ["bca", "percentile"])
def test_what_does_not_vary_has_no_interval(method: intervals.Method) -> None:
    values = np.arange(10.0)
    perfect = bootstrap_interval(metrics.pearson, [values, 2 * values], method=method, seed=1)
    # A single positive: what ranks it first does so in every resample that has it.
    true, scores = np.arange(101) == 100, np.linspace(0, 1, 101)
    single = bootstrap_interval(metrics.roc_auc, [true, scores], method=method, seed=1)
    assert perfect == pytest.approx((1, 1)) and single == (1, 1), "differences of 0 keep theirs"
    found = intervals.of_scores({"pearson": perfect, "roc_auc": single, "r2": (0.5, 0.9)})
    assert np.isnan([found["pearson"], found["roc_auc"]]).all() and found["r2"] == (0.5, 0.9)


@pytest.mark.parametrize("method", ["bca", "percentile"])
def test_mostly_undefined_gives_nan(method: intervals.Method) -> None:
    true = np.array([0] * 100 + [1])  # the one positive is absent from 37 % of resamples, which are left out
    scores = np.random.default_rng(0).permutation(np.append(np.linspace(0, 1, 100), 0.9))
    low, high = bootstrap_interval(metrics.roc_auc, [true == 1, scores], num_resamples=200, method=method, seed=1)
    assert 0 <= low < high <= 1
    assert np.isnan(bootstrap_interval(metrics.pearson, [true, np.ones(101)], num_resamples=20, seed=1)).all()
