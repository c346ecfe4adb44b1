"""A map of embeddings in two dimensions: principal components, and t-SNE where it says more and is quick.

t-SNE (van der Maaten & Hinton 2008) keeps neighbours together and starts from the principal components (Kobak & Berens
2019, who show that this keeps the large distances too). Few points have too few neighbours for it, and many take long.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from seqtrain.draws import generator_seed

LEAST_FOR_TSNE, MOST_FOR_TSNE = 50, 1000
"""Records: fewer have no neighbourhoods, more take above 5 seconds of a core."""
_COMPONENTS = 50
"""Kept before t-SNE, as van der Maaten & Hinton do."""
_PERPLEXITY = 30
_ITERATIONS = 500


@dataclass(frozen=True, kw_only=True)
class EmbeddingMap:
    """Where records lie."""

    records: NDArray[np.int64]
    """(M,) indices."""
    places: NDArray[np.float64]
    """(M, 2)."""
    method: Literal["PCA", "t-SNE"]
    explained: tuple[float, float]
    """Share of the variance of the embeddings that the first and the second principal component hold."""


def embedding_map(records: NDArray[np.int64], vectors: NDArray[Any], seed: int) -> EmbeddingMap | None:
    """Lay records out in a plane by their embeddings; the same for the same input.

    Args:
        records: (M,) indices of the records.
        vectors: (M, D), D at least 1.
        seed: key of the draws of t-SNE.

    Returns:
        None with fewer than 3 records, with vectors that are not all finite, or with vectors that are all the same.
    """
    vectors = np.asarray(vectors, np.float64)
    if len(records) < 3 or not np.isfinite(vectors).all() or not np.ptp(vectors, axis=0).any():
        return None
    components, shares = principal_components(vectors, _COMPONENTS)
    explained = (float(shares[0]), float(shares[1]))
    if not LEAST_FOR_TSNE <= len(records) <= MOST_FOR_TSNE:
        return EmbeddingMap(records=records, places=components[:, :2], method="PCA", explained=explained)
    places = _tsne(components, generator_seed(seed, "embedding map") % 2**31)
    return EmbeddingMap(records=records, places=places, method="t-SNE", explained=explained)


def principal_components(vectors: NDArray[np.float64], count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(M, C) places of (M, D) vectors on their first components, and the shares (C,) of the variance that these hold.

    C is at least 2 (a missing one is 0) and at most ``count``. The largest weight of each component is positive, so
    that no sign is left to chance.
    """
    centred = vectors - vectors.mean(axis=0)
    left, sizes, right = np.linalg.svd(centred, full_matrices=False)
    signs = np.sign(right[np.arange(len(right)), np.abs(right).argmax(axis=1)])
    kept = min(count, len(sizes))
    places = (left * sizes * np.where(signs == 0, 1, signs))[:, :kept]
    shares = sizes[:kept] ** 2 / max(float((sizes**2).sum()), np.finfo(np.float64).tiny)
    missing = max(2 - kept, 0)
    return np.pad(places, ((0, 0), (0, missing))), np.pad(shares, (0, missing))


def _tsne(vectors: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    # One thread: sums over several would depend on how many there are.
    with threadpool_limits(1):
        tsne = TSNE(
            perplexity=min(_PERPLEXITY, (len(vectors) - 1) / 3),
            init=_start(vectors),
            max_iter=_ITERATIONS,
            random_state=seed,
            n_jobs=1,
        )
        return np.asarray(tsne.fit_transform(vectors.astype(np.float32)), np.float64)


def _start(vectors: NDArray[np.float64]) -> NDArray[np.float32]:
    """(M, 2) the first two components, so close together that all directions are still open (Kobak & Berens 2019)."""
    spread = float(vectors[:, 0].std()) or 1.0
    start: NDArray[np.float32] = (vectors[:, :2] / spread * 1e-4).astype(np.float32)
    return start
