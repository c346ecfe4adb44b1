"""The nearest training record, against scikit-learn's and against distances computed one by one."""

from __future__ import annotations

import numpy as np
import pytest

from seqtrain.evaluation import neighbour
from seqtrain.evaluation.neighbour import consensus, hamming_products, nearest_by_cosine, nearest_by_hamming


@pytest.mark.parametrize("cells", [50, 10**6])
def test_cosine_equals_scikit_learn(cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.neighbors import KNeighborsRegressor

    monkeypatch.setattr(neighbour, "_CELLS", cells)
    rng = np.random.default_rng(0)
    train, test = (rng.normal(size=(count, 12)).astype(np.float32) for count in (40, 30))
    train, test = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (train, test))
    targets = rng.normal(size=(40, 2))
    expected = KNeighborsRegressor(n_neighbors=1, metric="cosine").fit(train, targets).predict(test)
    assert nearest_by_cosine(train, targets, test) == pytest.approx(expected)


@pytest.mark.parametrize("letters", [2, 20])
def test_hamming_equals_one_by_one_and_averages_ties(letters: int) -> None:
    rng = np.random.default_rng(1)
    # A gap (the code behind the last letter) is a letter like others when it comes to distances.
    train, test = (rng.integers(0, letters + 1, (count, 9)) for count in (60, 50))
    targets = rng.normal(size=(60, 3))
    expected = []
    for row in test:
        distances = (train != row).sum(axis=1)
        expected.append(targets[distances == distances.min()].mean(axis=0))
    assert nearest_by_hamming(train, targets, test, letters) == pytest.approx(np.array(expected), rel=1e-5)


def test_products_count_what_variants_share() -> None:
    wild_type = np.zeros((10, 5), np.int64)
    train, test = wild_type.copy(), wild_type[:4].copy()
    train[0, 0] = train[1, 0] = train[2, 1] = 1
    test[0, 0] = 2
    assert (consensus(train, 3) == 0).all()
    assert hamming_products(train, test, 3) * len(train) == 2 * 2
