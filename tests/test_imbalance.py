"""Weights, margins and shares against scikit-learn and the papers' formulas."""

from __future__ import annotations

import re
from typing import Literal

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from seqtrain.imbalance import (
    POWERS,
    ClassTable,
    class_counts,
    effective_number_weights,
    inverse_frequency,
    ldam_margins,
    log_priors,
    sampled,
)
from seqtrain.losses import check_loss, read_loss

COUNTS = np.array([500, 40, 4, 1])
TARGETS = np.random.default_rng(1).permutation(np.repeat(np.arange(4), COUNTS))


def test_counts_leave_out_what_has_no_class() -> None:
    assert class_counts(np.array([0, 2, -100, 2]), 4).tolist() == [1, 0, 2, 0]


def test_inverse_frequency_is_that_of_scikit_learn() -> None:
    expected = compute_class_weight("balanced", classes=np.arange(4), y=TARGETS)
    assert inverse_frequency(COUNTS) == pytest.approx(expected)
    assert inverse_frequency(np.array([3, 0, 1])).tolist() == pytest.approx([2 / 3, 0, 2])


def test_effective_numbers_count_a_class_by_what_its_members_add() -> None:
    # The effective number of n examples is the sum of beta^i for i < n (Cui et al. 2019, proposition 1).
    effective = np.array([sum(0.9**i for i in range(n)) for n in COUNTS])
    expected = (1 / effective) / (1 / effective).mean()
    assert effective_number_weights(COUNTS, 0.9) == pytest.approx(expected)
    assert effective_number_weights(COUNTS, 0.0) == pytest.approx(np.ones(4))
    nearly = effective_number_weights(COUNTS, 1 - 1e-9)
    assert nearly == pytest.approx(inverse_frequency(COUNTS) / inverse_frequency(COUNTS).mean(), rel=1e-4)
    assert effective_number_weights(np.array([9, 0, 1]), 0.9)[1] == 0
    with pytest.raises(ValueError, match=r"beta must be at least 0 and less than 1, not 1\.0"):
        effective_number_weights(COUNTS, 1.0)


def test_margins_grow_with_the_fourth_root_of_rarity() -> None:
    margins = ldam_margins(COUNTS)
    assert margins.max() == margins[3] == 0.5
    assert margins[0] / margins[3] == pytest.approx((1 / 500) ** 0.25)


def test_priors_are_shares() -> None:
    assert np.exp(log_priors(COUNTS)).sum() == pytest.approx(1)
    assert log_priors(np.array([5, 0])).tolist() == [0, -np.inf]


@pytest.mark.parametrize(("sampling", "power"), [("natural", 1.0), ("square-root", 0.5), ("balanced", 0.0)])
def test_the_shares_of_a_sampled_epoch(sampling: str, power: float) -> None:
    units, _ = sampled(TARGETS, sampling, seed=0)(np.arange(len(TARGETS)))
    shares = COUNTS**power / (COUNTS**power).sum()
    assert np.abs(np.bincount(TARGETS[units]) - shares * len(TARGETS)).max() < 1


@pytest.mark.parametrize(("sampling", "power"), [("natural", 1.0), ("square-root", 0.5), ("balanced", 0.0)])
def test_records_in_several_windows_are_single_members_of_their_class(sampling: str, power: float) -> None:
    # 20 records of one window, 20 of three and 5 of ten: what counts is the weight of their windows in the loss.
    classes, windows = np.repeat([0, 1, 2], [20, 20, 5]), np.repeat([1, 3, 10], [20, 20, 5])
    targets, shares = np.repeat(classes, windows), np.repeat(1 / windows, windows)
    units, _ = sampled(targets, sampling, 0, shares)(np.arange(len(targets)))
    weight = np.bincount(targets[units], shares[units])
    wanted = np.array([20, 20, 5]) ** power
    assert weight / weight.sum() == pytest.approx(wanted / wanted.sum(), abs=0.015)


def test_classes_without_training_examples_are_no_groups() -> None:
    order = sampled(np.array([0, 0, 3, 3, 3]), "balanced", seed=0)
    assert order.quotas.sum() == 5 and len(order.quotas) == 2


def test_an_unknown_sampling_lists_the_ways() -> None:
    with pytest.raises(ValueError, match="no sampling is called 'even'; choose from natural, square-root, balanced"):
        sampled(TARGETS, "even", 0)


def test_the_table_says_what_each_method_does_and_advises() -> None:
    table = ClassTable(("a", "b", "c", "d"), COUNTS)
    columns = table.columns()
    assert table.ratio == 500
    assert columns["times per epoch: balanced sampling"] == pytest.approx(545 / 4 / COUNTS)
    assert "long-tailed" in table.advice()[-1] and any("fewer than 5" in line for line in table.advice())
    assert "nearly balanced" in ClassTable(("a", "b"), np.array([10, 8])).advice()[-1]
    absent = ClassTable(("a", "b", "c"), np.array([30, 1, 0])).advice()
    assert any("no training example of c" in line for line in absent) and "drop the absent" in absent[-1]


@pytest.mark.parametrize("of", ["sequences", "labels", "residues"])
@pytest.mark.parametrize("counts", [(100, 20, 10), (500, 40, 4)])
def test_what_is_advised_is_not_refused(
    of: Literal["sequences", "labels", "residues"], counts: tuple[int, ...]
) -> None:
    advice = ClassTable(("a", "b", "c"), np.array(counts), of).advice()[-1]
    losses = re.findall(r"--loss (\S+?)(?=[, ]|$)", advice)
    assert losses
    for words in losses:
        check_loss(read_loss(words, class_counts=counts), "labels" if of == "labels" else "classes", of, 3)
    assert set(re.findall(r"--sampling (\S+?)(?=[, ]|$)", advice)) <= (set(POWERS) if of == "sequences" else set())


def test_the_table_says_what_resampling_would_do_and_for_whom_not() -> None:
    names = ("a", "b", "c", "d")
    columns = ClassTable(names, COUNTS).columns()
    np.testing.assert_array_equal(columns["after smote"], [500, 500, np.nan, np.nan])
    assert columns["after cluster-centroids"].tolist() == [1, 1, 1, 1]
    assert not any(
        "after smote" in name or "sampling" in name for name in ClassTable(names, COUNTS, "labels").columns()
    )
    (advice,) = (line for line in ClassTable(names, COUNTS).advice() if "--resample" in line)
    assert advice.endswith("smote by 5 neighbours cannot grow c, d: drop or merge these first")
    (advice,) = (line for line in ClassTable(names[:3], COUNTS[:3]).advice() if "--resample" in line)
    assert advice.endswith("cannot grow c: take smote:neighbours=3")
    assert not any("--resample" in line for line in ClassTable(names, COUNTS, "residues").advice())
    assert not any("--resample" in line for line in ClassTable(("a", "b"), np.array([10, 8])).advice())
