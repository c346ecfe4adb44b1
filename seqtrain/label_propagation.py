"""Labels spread from labelled to unlabelled records over a graph of nearest neighbours (Iscen et al. 2019, CVPR,
"Label propagation for deep semi-supervised learning", arXiv:1904.04717; Zhou et al. 2003, NIPS 16, for the diffusion).

W_ij = max(⟨v_i, v_j⟩, 0)^γ where j is among the k nearest neighbours of i, made symmetric as W + Wᵀ, without loops;
𝒲 = D^-½ W D^-½; Z solves (I - α 𝒲) Z = Y by conjugate gradients, Y holding the labels as one-hot rows. The row of Z,
divided by its sum, is shared among the classes, and its certainty is 1 - entropy / ln C. What differs from the paper:
vectors are centred before they are scaled to length 1, as the mean over residues gives all proteins a large component
in common; and nothing is weighed by the size of its class, which is what ``--loss class-balanced`` does in training.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ROWS_AT_ONCE = 512
_TOLERANCE = 1e-6
_MOST_ITERATIONS = 2000


@dataclass(frozen=True, kw_only=True)
class LabelPropagation:
    """The diffusion with its three constants, whose defaults are those of the paper."""

    neighbours: int = 50
    """k, of each record."""
    alpha: float = 0.99
    """Share of a record's labels that comes from its neighbours."""
    gamma: float = 3.0
    """Power of similarities: the higher, the less do far neighbours count."""

    def __post_init__(self) -> None:
        if self.neighbours < 1:
            raise ValueError(f"neighbours is {self.neighbours}; give at least 1")
        if not 0 < self.alpha < 1:
            raise ValueError(f"alpha is {self.alpha:g}; give a number between 0 and 1")
        if not self.gamma > 0:
            raise ValueError(f"gamma is {self.gamma:g}; give a number above 0")

    def __call__(
        self, vectors: NDArray[np.floating[Any]], classes: NDArray[np.int64], num_classes: int
    ) -> NDArray[np.float64]:
        """vectors (N, D), classes (N,) with -1 for unlabelled records -> (N, C) shares of the classes.

        A row adds up to 1, or is 0 where no path of neighbours leads to a labelled record.
        """
        from scipy.sparse import identity
        from scipy.sparse.linalg import cg

        count = len(vectors)
        system = identity(count, format="csr") - self.alpha * self.graph(vectors)
        spread = np.zeros((count, num_classes))
        for each in range(num_classes):
            seeds = (classes == each).astype(np.float64)
            if seeds.any():
                spread[:, each] = cg(system, seeds, rtol=_TOLERANCE, maxiter=_MOST_ITERATIONS)[0]
        # What conjugate gradients leave of a true 0 is noise of the tolerance, of either sign.
        spread[spread < _TOLERANCE * spread.max(initial=0.0)] = 0
        sums = spread.sum(axis=1, keepdims=True)
        return np.asarray(spread / np.where(sums > 0, sums, 1))

    def graph(self, vectors: NDArray[np.floating[Any]]) -> Any:
        """(N, D) -> 𝒲, a sparse (N, N) matrix."""
        from scipy.sparse import csr_array, diags

        unit = vectors - vectors.mean(axis=0)
        unit = (unit / np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)).astype(np.float32)
        count, near = len(unit), min(self.neighbours, len(unit) - 1)
        columns, values = np.zeros((count, near), np.int64), np.zeros((count, near))
        for start in range(0, count if near else 0, _ROWS_AT_ONCE):
            rows = np.arange(start, min(start + _ROWS_AT_ONCE, count))
            similar = unit[rows] @ unit.T
            similar[np.arange(len(rows)), rows] = -np.inf
            columns[rows] = np.argpartition(-similar, near - 1, axis=1)[:, :near]
            values[rows] = np.take_along_axis(similar, columns[rows], axis=1)
        weights = np.maximum(values, 0).ravel() ** self.gamma
        one_way = csr_array((weights, (np.repeat(np.arange(count), near), columns.ravel())), shape=(count, count))
        both_ways = one_way + one_way.T
        degrees = np.asarray(both_ways.sum(axis=1)).ravel()
        scale = diags(1 / np.sqrt(np.where(degrees > 0, degrees, 1)))
        return (scale @ both_ways @ scale).tocsr()


def certainty(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, C) shares of classes -> (N,) 1 - entropy / ln C: 1 for one class alone, 0 for all alike or none."""
    logs = np.log(np.where(shares > 0, shares, 1))
    entropy = -(shares * logs).sum(axis=1)
    return np.asarray(np.where(shares.sum(axis=1) > 0, 1 - entropy / np.log(max(shares.shape[1], 2)), 0.0))
