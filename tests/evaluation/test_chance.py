"""Guesses: drawn as they say, keyed, and what was drawn is what is predicted."""

from __future__ import annotations

import numpy as np
import pytest

from seqtrain.evaluation.chance import CHANCE, DEALT, FREQUENT, UNIFORM, constant_guess, random_guesses

COUNT = 20_000


def test_classes_are_drawn_by_their_frequencies() -> None:
    targets = np.repeat([0, 1, 2], [80, 15, 5])
    constant, targets = constant_guess(targets, True, 4)
    found = random_guesses(targets, constant, COUNT, "classification", seed=1)
    assert set(found) == {UNIFORM, FREQUENT} <= CHANCE
    shares = {name: np.bincount(each.argmax(axis=1), minlength=4) / COUNT for name, each in found.items()}
    # Four standard errors of a share of 20,000 draws are at most 0.014.
    assert shares[UNIFORM] == pytest.approx([0.25] * 4, abs=0.014)
    assert shares[FREQUENT] == pytest.approx([0.8, 0.15, 0.05, 0], abs=0.014)
    for each in found.values():
        assert each.sum(axis=1) == pytest.approx(1)
        assert (each.max(axis=1) >= 0.5).all()


def test_labels_are_drawn_each_by_itself() -> None:
    targets = np.array([[1.0, 0, 0], [1, 1, 0], [1, 0, 0], [1, 0, 0]])
    constant, _ = constant_guess(targets, False, None)
    found = random_guesses(targets, constant, COUNT, "multilabel", seed=1)
    assert (found[UNIFORM] >= 0.5).mean(axis=0) == pytest.approx([0.5] * 3, abs=0.014)
    assert (found[FREQUENT] >= 0.5).mean(axis=0) == pytest.approx([1, 0.25, 0], abs=0.014)


def test_numbers_are_spread_or_dealt() -> None:
    targets = np.random.default_rng(0).exponential(size=(500, 2))
    constant, targets = constant_guess(targets, False, None)
    found = random_guesses(targets, constant, COUNT, "multi_regression", seed=1)
    low, high = targets.min(axis=0), targets.max(axis=0)
    assert (found[UNIFORM] >= low).all() and (found[UNIFORM] <= high).all()
    assert found[UNIFORM].mean(axis=0) == pytest.approx((low + high) / 2, rel=0.02)
    rows = {tuple(row) for row in targets.tolist()}
    assert {tuple(row) for row in found[DEALT].tolist()} <= rows
    assert found[DEALT].mean(axis=0) == pytest.approx(constant, abs=0.05)


def test_draws_are_keyed() -> None:
    constant, targets = constant_guess(np.arange(10) % 3, True, None)
    first, again, other = (random_guesses(targets, constant, 50, "classification", seed=s)[UNIFORM] for s in (0, 0, 1))
    assert (first == again).all() and (first != other).any()
    longer = random_guesses(targets, constant, 80, "classification", seed=0)[UNIFORM]
    assert (longer[:50] == first).all()
