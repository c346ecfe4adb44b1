"""Trees see the columns that matter, say probabilities of all classes, and cost what they may."""

from __future__ import annotations

import numpy as np
import pytest

from seqtrain.evaluation.trees import fit_boosting, fit_forest, related_columns, rounds_of_boosting


def test_related_columns_are_those_that_correlate() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(300, 30)).astype(np.float32)
    features[:, 5] = 1
    targets = np.stack([features[:, 3] + 0.1 * rng.normal(size=300), -features[:, 17]], axis=1)
    assert related_columns(features, targets, 2).tolist() == [3, 17]
    assert 5 not in related_columns(features, targets, 30)
    assert len(related_columns(np.ones((4, 3)), np.arange(4.0)[:, None])) == 0


def test_an_interaction_that_no_line_shows() -> None:
    rng = np.random.default_rng(1)
    features = rng.integers(0, 2, (600, 6)).astype(np.float32)
    classes = (features[:, 0] != features[:, 1]).astype(int) * 2
    numbers = np.stack([classes + 0.1 * rng.normal(size=600), -classes], axis=1)
    for fit in (lambda *a: fit_boosting(*a, 30, 0), lambda *a: fit_forest(*a, 0)):
        probabilities = fit(features[:400], classes[:400], "classification", 3)(features[400:])
        assert probabilities.shape == (200, 3) and (probabilities[:, 1] == 0).all()
        assert probabilities.sum(axis=1) == pytest.approx(1)
        assert (probabilities.argmax(axis=1) == classes[400:]).mean() > 0.95
        found = fit(features[:400], numbers[:400], "multi_regression", 2)(features[400:])
        assert all(np.corrcoef(found[:, k], numbers[400:, k])[0, 1] > 0.95 for k in (0, 1))


def test_categories_are_no_quantities() -> None:
    codes = np.arange(2000) % 20
    classes = np.isin(codes, [1, 4, 9, 16, 18]).astype(int)
    model = fit_boosting(codes[:, None], classes, "classification", 2, 30, 0, categories=True)
    assert (model(codes[:, None]).argmax(axis=1) == classes).all()


@pytest.mark.parametrize(("rows", "columns", "outputs"), [(60, 100, 1), (20_000, 100, 7), (20_000, 100, 300)])
def test_rounds_are_what_can_be_afforded(rows: int, columns: int, outputs: int) -> None:
    rounds = rounds_of_boosting(rows, columns, outputs)
    assert rows * columns * outputs * rounds <= 4e8
    assert rounds == {60: 15}.get(rows, 0 if outputs == 300 else rounds) and rounds <= 100
    assert (rounds == 0) == (outputs == 300)


def test_keyed_by_seed() -> None:
    rng = np.random.default_rng(2)
    features, targets = rng.normal(size=(100, 5)), rng.normal(size=(100, 1))
    first, again, other = (fit_forest(features, targets, "regression", 1, seed)(features) for seed in (0, 0, 1))
    assert (first == again).all() and (first != other).any()
