"""Uncertainties equal their definitions, and their worth that of hand-made orders."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from seqtrain.evaluation.uncertainty import (
    area_under_risk_coverage,
    entropy_of_classes,
    entropy_of_labels,
    risk_coverage,
    spread,
    worth_of,
)


def test_spread_is_the_sample_deviation() -> None:
    values = np.random.default_rng(0).normal(size=(5, 7, 2))
    assert spread(values) == pytest.approx(np.sqrt(((values - values.mean(0)) ** 2).sum(0) / 4))


def test_entropies_of_classes_are_scipys() -> None:
    rng = np.random.default_rng(1)
    answers = rng.dirichlet(np.ones(4), size=(6, 30))
    whole, mutual = entropy_of_classes(answers)
    assert whole == pytest.approx(stats.entropy(answers.mean(0), axis=1))
    assert mutual == pytest.approx(whole - stats.entropy(answers, axis=2).mean(0))
    # The mutual information is the mean divergence of the answers from their mean.
    assert mutual == pytest.approx(stats.entropy(answers, answers.mean(0, keepdims=True), axis=2).mean(0))
    whole, mutual = entropy_of_classes(np.stack([np.eye(3), np.eye(3)]))
    assert (whole == 0).all() and (mutual == 0).all()
    whole, mutual = entropy_of_classes(np.stack([np.eye(2), np.eye(2)[::-1]]))
    assert whole == pytest.approx(np.log(2)) and mutual == pytest.approx(np.log(2))


def test_entropies_of_labels_are_those_of_their_two_classes_summed() -> None:
    answers = np.random.default_rng(2).random((5, 20, 3))
    parts = [entropy_of_classes(np.stack([answers[..., k], 1 - answers[..., k]], axis=-1)) for k in range(3)]
    whole, mutual = entropy_of_labels(answers)
    assert whole == pytest.approx(sum(part[0] for part in parts))
    assert mutual == pytest.approx(sum(part[1] for part in parts))


def test_risk_coverage_by_hand() -> None:
    assert risk_coverage(np.array([0.3, 0.1, 0.2]), np.array([3.0, 0, 0])) == pytest.approx([0, 0, 1])
    assert area_under_risk_coverage(np.array([0.3, 0.1, 0.2]), np.array([3.0, 0, 0])) == pytest.approx(1 / 3)
    # One that says the same of all is worth as much as none.
    assert risk_coverage(np.ones(4), np.array([0, 0, 0, 4.0])) == pytest.approx([1, 1, 1, 1])
    assert np.isnan(area_under_risk_coverage(np.zeros(0), np.zeros(0)))


def test_worth_says_whether_uncertainty_goes_with_errors() -> None:
    rng = np.random.default_rng(3)
    sigma = rng.uniform(0.1, 2, 400)
    errors = np.abs(sigma * rng.normal(size=400))
    good, none = worth_of("std", sigma, errors), worth_of("std", rng.permutation(sigma), errors)
    assert good.rank_correlation == pytest.approx(stats.spearmanr(sigma, errors).statistic)
    assert 0 < good.low < good.rank_correlation < good.high and "is higher where errors are" in good.words()
    assert good.best_risk_coverage < good.risk_coverage < good.risk
    assert none.low < 0 < none.high and "does not clearly tell" in none.words()
    assert "do not go by it" in worth_of("std", -sigma, errors).words()
    errors[:5] = np.nan
    assert worth_of("std", sigma, errors).risk == pytest.approx(np.nanmean(errors))
