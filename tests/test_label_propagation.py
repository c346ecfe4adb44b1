"""Labels spread over a graph: against the closed form, scikit-learn's label spreading, and clusters that are known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from seqtrain.label_propagation import LabelPropagation, certainty


def clusters(sizes: tuple[int, ...] = (30, 20, 10), spread: float = 0.3, width: int = 8) -> tuple[NDArray, NDArray]:
    """Points (N, D) around one centre for each class, and their classes (N,)."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(len(sizes), width)) * 2
    classes = np.repeat(np.arange(len(sizes)), sizes)
    return centres[classes] + spread * rng.normal(size=(len(classes), width)), classes


def dense_graph(vectors: NDArray, neighbours: int, gamma: float) -> NDArray:
    """W before it is normalised, record by record as the paper writes it."""
    unit = vectors - vectors.mean(0)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    affinity = np.zeros((len(unit), len(unit)))
    for i in range(len(unit)):
        similar = unit @ unit[i]
        similar[i] = -2
        for j in np.argsort(-similar)[:neighbours]:
            affinity[i, j] = max(similar[j], 0) ** gamma
    return affinity + affinity.T


def seeds(classes: NDArray, per_class: int = 2) -> NDArray:
    """The first records of each class, -1 for the others."""
    known = np.full(len(classes), -1)
    for each in np.unique(classes):
        members = np.flatnonzero(classes == each)[:per_class]
        known[members] = each
    return known


@pytest.mark.parametrize(("neighbours", "alpha", "gamma"), [(5, 0.99, 3.0), (3, 0.5, 1.0), (500, 0.9, 2.0)])
def test_the_spread_is_the_closed_form(neighbours: int, alpha: float, gamma: float) -> None:
    vectors, classes = clusters(spread=1.5)
    affinity = dense_graph(vectors, neighbours, gamma)
    root = np.sqrt(affinity.sum(1))
    system = np.eye(len(vectors)) - alpha * affinity / root[:, None] / root
    known = seeds(classes)
    expected = np.linalg.solve(system, np.eye(3)[known] * (known >= 0)[:, None])
    expected /= expected.sum(1, keepdims=True)
    found = LabelPropagation(neighbours=neighbours, alpha=alpha, gamma=gamma)(vectors, known, 3)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_spread_is_that_of_scikit_learn() -> None:
    from sklearn.semi_supervised import LabelSpreading

    vectors, classes = clusters(spread=1.5)
    known, affinity = seeds(classes), dense_graph(vectors, 6, 3.0)
    peer = LabelSpreading(kernel=lambda *_: affinity.copy(), alpha=0.9, max_iter=10_000, tol=1e-12).fit(vectors, known)
    found = LabelPropagation(neighbours=6, alpha=0.9)(vectors, known, 3)
    np.testing.assert_allclose(found, peer.label_distributions_, atol=1e-4)


def test_clusters_are_found_from_two_labels_each() -> None:
    vectors, classes = clusters()
    shares = LabelPropagation(neighbours=6)(vectors, seeds(classes), 3)
    assert (shares.argmax(1) == classes).mean() > 0.95
    np.testing.assert_allclose(shares.sum(1), 1)


def test_what_no_path_reaches_stays_without_a_label() -> None:
    vectors = np.array([[1.0, 0.1], [1, 0.2], [1, 0], [-1, 0.1], [-1, 0.2], [-1, 0]])
    shares = LabelPropagation(neighbours=2)(vectors, np.array([0, -1, -1, -1, -1, -1]), 2)
    assert (shares[:3] == [1, 0]).all() and (shares[3:] == 0).all()
    assert certainty(shares).tolist() == [1, 1, 1, 0, 0, 0]


def test_certainty_is_one_minus_relative_entropy() -> None:
    shares = np.array([[1.0, 0, 0], [1 / 3, 1 / 3, 1 / 3], [0.5, 0.5, 0]])
    np.testing.assert_allclose(certainty(shares), [1, 0, 1 - np.log(2) / np.log(3)], atol=1e-12)


def test_a_single_record_has_no_neighbours() -> None:
    assert LabelPropagation()(np.ones((1, 4)), np.array([0]), 2).tolist() == [[1, 0]]


@pytest.mark.parametrize("fields", [{"neighbours": 0}, {"alpha": 1.0}, {"alpha": 0.0}, {"gamma": 0.0}])
def test_constants_out_of_range(fields: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(fields))):
        LabelPropagation(**fields)  # type: ignore[arg-type]
