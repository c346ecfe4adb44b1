"""Planted wrong labels are found, and few right ones are named."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from seqtrain.evaluation.label_quality import (
    Suspicion,
    confident_issues,
    exchanged,
    flipped,
    judge_classes,
    judge_values,
    named,
    outlying_values,
    trial_of,
)
from seqtrain.evaluation.out_of_fold import folds_of, out_of_fold_probabilities
from tests.corpora import RESIDUES

NUM_RECORDS, NUM_CLASSES = 400, 4


def families(count: int, seed: int, sharpness: float = 2.0) -> tuple[list[str], NDArray[np.int64]]:
    """Proteins of classes that like other residues; ``sharpness`` says how much."""
    rng = np.random.default_rng(seed)
    tastes = np.random.default_rng(7).normal(size=(NUM_CLASSES, 20)) * sharpness
    classes = rng.integers(0, NUM_CLASSES, count)
    shares = np.exp(tastes) / np.exp(tastes).sum(axis=1, keepdims=True)
    texts = ["".join(rng.choice(list(RESIDUES), rng.integers(40, 90), p=shares[each])) for each in classes]
    return texts, classes


def test_the_confident_joint_by_hand() -> None:
    # Thresholds: class 0 (0.9 + 0.8 + 0.1) / 3 = 0.6, class 1 (0.7 + 0.6) / 2 = 0.65.
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.3, 0.7], [0.4, 0.6], [0.62, 0.38]])
    classes = np.array([0, 0, 0, 1, 1, -1])
    found = confident_issues(classes, probabilities)
    assert found.suspicious.tolist() == [False, False, True, False, False, False]
    assert found.score[:5] == pytest.approx([-0.8, -0.6, 0.8, -0.4, -0.2]) and np.isnan(found.score[5])
    assert found.predicted.tolist() == [0, 0, 1, 1, 1, 0]
    # A record that reaches no threshold is no issue, although another class is more probable.
    unsure = confident_issues(np.array([0, 0, 1, 1]), np.array([[0.9, 0.1], [0.45, 0.55], [0.2, 0.8], [0.1, 0.9]]))
    assert not unsure.suspicious.any()


def test_the_confident_joint_is_that_of_cleanlab() -> None:
    # Issues by find_label_issues(filter_by="confident_learning") of cleanlab 2.9.0, and by their normalised margins.
    rng = np.random.default_rng(0)
    probabilities = (1 + rng.integers(0, 9, (60, 3))).astype(float)
    classes = rng.integers(0, 3, 60)
    probabilities[np.arange(60), classes] += 6
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    given = np.where(rng.random(60) < 0.2, rng.integers(0, 3, 60), classes)
    found = confident_issues(given, probabilities)
    assert np.flatnonzero(found.suspicious).tolist() == [23, 30, 35]
    assert found.order().tolist() == [30, 23, 35]


def test_planted_labels_are_found_and_few_others_named() -> None:
    texts, classes = families(NUM_RECORDS, seed=0)
    groups = np.arange(NUM_RECORDS)
    clean = judge_classes(texts, classes, NUM_CLASSES, groups, seed=0)
    assert clean.skill > 0.95
    assert clean.suspicion.suspicious.mean() <= 0.01
    wrong = flipped(classes, NUM_CLASSES, 0.05, 1)
    planted = wrong != classes
    assert 10 <= planted.sum() <= 30
    found = judge_classes(texts, wrong, NUM_CLASSES, groups, seed=0)
    hits = int((found.suspicion.suspicious & planted).sum())
    assert hits >= 0.9 * planted.sum()
    assert hits >= 0.9 * found.suspicion.suspicious.sum()
    # What the trial promises is what happens.
    assert found.trial.found == pytest.approx(hits / planted.sum(), abs=0.15)
    assert planted[found.suspicion.order()[:10]].all()
    right = found.suspicion.predicted[planted] == classes[planted]
    assert right.mean() >= 0.9


def test_hard_labels_are_mostly_let_be() -> None:
    texts, classes = families(NUM_RECORDS, seed=1, sharpness=0.12)
    alone = confident_issues(
        classes, out_of_fold_probabilities(texts, classes, NUM_CLASSES, np.arange(NUM_RECORDS), seed=0)
    )
    judged = judge_classes(texts, classes, NUM_CLASSES, np.arange(NUM_RECORDS), seed=0)
    assert judged.skill < 0.7
    # All are right; by itself the method names a good part of them.
    assert alone.suspicious.mean() > 0.15
    assert judged.suspicion.suspicious.mean() < 0.03


def test_random_labels_cannot_be_judged() -> None:
    texts, _ = families(300, seed=2)
    classes = np.random.default_rng(0).integers(0, NUM_CLASSES, 300)
    judged = judge_classes(texts, classes, NUM_CLASSES, np.arange(300), seed=0)
    assert judged.skill < 0.4
    assert judged.suspicion.suspicious.mean() < 0.03


def test_numbers_that_were_exchanged_are_found() -> None:
    rng = np.random.default_rng(3)
    (wild_type,) = ["".join(rng.choice(list(RESIDUES), 12))]
    effects = rng.normal(size=(12, 20))
    rows = np.array([[RESIDUES.index(letter) for letter in wild_type]] * 500)
    for row in rows:
        row[rng.choice(12, 6, replace=False)] += rng.integers(0, 4, 6)
    rows %= 20
    values = effects[np.arange(12), rows].sum(axis=1) + 0.05 * rng.normal(size=500)
    texts = ["".join(RESIDUES[code] for code in row) for row in rows]
    _, groups = np.unique(texts, return_inverse=True)
    clean = judge_values(texts, values, groups, seed=0)
    assert clean.skill > 0.95 and clean.suspicion.suspicious.mean() <= 0.02
    wrong = exchanged(values, 0.05, 4)
    planted = np.abs(wrong - values) > 1
    found = judge_values(texts, wrong, groups, seed=0)
    assert (found.suspicion.suspicious & planted).sum() >= 0.7 * planted.sum()
    assert planted[found.suspicion.order()[:8]].all()


def test_outliers_by_median_and_deviation() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=2001)
    values[0], values[1] = 50, np.nan
    found = outlying_values(values, np.zeros(2001))
    known = ~np.isnan(values)
    middle = np.median(values[known])
    assert found.score[0] == pytest.approx((50 - middle) / (1.4826 * np.median(np.abs(values[known] - middle))))
    assert found.suspicious[0] and not found.suspicious[1] and np.isnan(found.score[1])
    assert not outlying_values(np.ones(5), np.ones(5)).suspicious.any()


def test_a_trial_keeps_what_finds_most_and_names_least_for_nothing() -> None:
    suspicious = np.array([True] * 6 + [False] * 4)
    score = np.array([0.9, 0.8, 0.7, 0.5, 0.3, 0.2, 0.1, 0, 0, 0])
    wrong = np.array([True, True, True, False, False, False, True, False, False, False])
    trial = trial_of([(Suspicion(suspicious=suspicious, score=score, predicted=score), wrong)])
    assert (trial.planted, trial.found, trial.right, trial.least_score) == (4, 0.75, 1.0, 0.7)
    kept = named(Suspicion(suspicious=suspicious, score=score, predicted=score), trial)
    assert kept.order().tolist() == [0, 1, 2]
    nothing = trial_of([(Suspicion(suspicious=suspicious, score=score, predicted=score), np.zeros(10, dtype=bool))])
    assert nothing.least_score == np.inf and nothing.planted == 0


def test_folds_keep_groups_together_and_are_of_one_size() -> None:
    groups = np.random.default_rng(0).integers(0, 60, 300)
    folds = folds_of(groups, 0)
    assert all(len(set(folds[groups == group])) == 1 for group in range(60))
    sizes = np.bincount(folds)
    assert len(sizes) == 5 and sizes.min() >= 45 and sizes.max() <= 75
    assert (folds == folds_of(groups, 0)).all() and (folds != folds_of(groups, 1)).any()
    assert folds_of(np.array([0, 1, 0]), 0).max() == 1
    with pytest.raises(ValueError, match="fewer than two different sequences"):
        folds_of(np.zeros(4, np.int64), 0)


def test_a_record_is_never_judged_by_its_equals() -> None:
    # Every text is there twice with labels of pure chance: seen in training, its twin would give the answer away.
    texts, _ = families(150, seed=5)
    classes = np.random.default_rng(1).integers(0, NUM_CLASSES, 150)
    twice, groups = texts * 2, np.tile(np.arange(150), 2)
    found = out_of_fold_probabilities(twice, np.tile(classes, 2), NUM_CLASSES, groups, seed=0)
    assert (found.argmax(axis=1) == np.tile(classes, 2)).mean() < 0.4
    leaking = out_of_fold_probabilities(twice, np.tile(classes, 2), NUM_CLASSES, np.arange(300), seed=0)
    assert (leaking.argmax(axis=1) == np.tile(classes, 2)).mean() > 0.6


def test_judgements_are_functions_of_the_seed() -> None:
    texts, classes = families(120, seed=6)
    one, other = (judge_classes(texts, classes, NUM_CLASSES, np.arange(120), seed=3) for _ in range(2))
    assert (one.suspicion.score == other.suspicion.score).all() and one.trial == other.trial


@pytest.mark.parametrize("fraction", [0.05, 0.3])
def test_wrong_labels_are_as_many_as_asked(fraction: float) -> None:
    classes = np.random.default_rng(0).integers(-1, 3, 4000)
    wrong = flipped(classes, 3, fraction, 0)
    assert ((wrong == -1) == (classes == -1)).all() and wrong.max() <= 2
    assert (wrong != classes)[classes >= 0].mean() == pytest.approx(fraction, abs=0.02)
    values = np.where(classes < 0, np.nan, np.random.default_rng(1).normal(size=4000))
    moved = exchanged(values, fraction, 0)
    assert (np.isnan(moved) == np.isnan(values)).all()
    assert np.isin(moved[~np.isnan(moved)], values).all()
    assert (moved != values)[~np.isnan(values)].mean() == pytest.approx(fraction, abs=0.02)
