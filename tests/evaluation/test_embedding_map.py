"""Maps of embeddings are the same every time, keep what belongs together, and say what they cannot show."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from seqtrain.evaluation.embedding_map import LEAST_FOR_TSNE, embedding_map, principal_components

RNG = np.random.default_rng(2)


def _clouds(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Vectors around four centres, and which centre each is around."""
    kinds = RNG.integers(0, 4, count)
    return (4 * RNG.normal(size=(4, 24)))[kinds] + RNG.normal(size=(count, 24)), kinds


def test_components_are_those_of_scikit_learn() -> None:
    vectors, _ = _clouds(40)
    places, shares = principal_components(vectors, 3)
    theirs = PCA(3, svd_solver="full").fit(vectors)
    assert np.abs(places) == pytest.approx(np.abs(theirs.transform(vectors)))
    assert shares == pytest.approx(theirs.explained_variance_ratio_)
    flipped, _ = principal_components(vectors[::-1], 3)
    assert flipped[::-1] == pytest.approx(places), "signs do not hang on the order"


def test_few_records_are_laid_out_by_components() -> None:
    vectors, _ = _clouds(LEAST_FOR_TSNE - 1)
    found = embedding_map(np.arange(100, 100 + len(vectors)), vectors, seed=0)
    assert found is not None and found.method == "PCA" and found.records[0] == 100
    assert found.places == pytest.approx(principal_components(vectors, 2)[0])
    assert found.explained == pytest.approx(tuple(principal_components(vectors, 2)[1]))


def test_many_records_keep_their_neighbours_and_come_out_the_same() -> None:
    vectors, kinds = _clouds(80)
    found, again = (embedding_map(np.arange(80), vectors, seed=3) for _ in range(2))
    assert found is not None and again is not None and found.method == "t-SNE"
    assert np.array_equal(found.places, again.places)
    _, near = NearestNeighbors(n_neighbors=2).fit(found.places).kneighbors(found.places)
    assert (kinds[near[:, 1]] == kinds).mean() > 0.95


def test_what_cannot_be_laid_out() -> None:
    vectors, _ = _clouds(10)
    assert embedding_map(np.arange(2), vectors[:2], seed=0) is None
    assert embedding_map(np.arange(10), np.ones((10, 4)), seed=0) is None
    vectors[3, 1] = np.nan
    assert embedding_map(np.arange(10), vectors, seed=0) is None
    line = embedding_map(np.arange(5), np.arange(5.0)[:, None], seed=0)
    assert line is not None and not line.places[:, 1].any() and line.explained == pytest.approx((1, 0))
