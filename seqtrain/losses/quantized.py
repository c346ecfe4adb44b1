"""Regression as classification: bins of the training targets, and the expectation over them as the number."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqtrain.losses.elements import ElementLoss, LossKind, check_at_least, widened


@dataclass(frozen=True)
class Quantized(ElementLoss):
    """When numbers have several modes or long tails: cross-entropy over bins, and Σ_b p_b centre_b as the value.

    Rothe, Timofte & Van Gool 2015, ICCV workshops ("DEX: Deep EXpectation of apparent age"). Of K numbers each has
    bins of its own, as equally full of training targets as equal targets let them be (:meth:`fitted`). Where there are
    fewer different targets than bins some stay empty, which costs outputs and does no harm.
    """

    num_bins: int = 20
    edges: tuple[float, ...] | None = None
    """K rows of num_bins - 1, row after row: a bin holds what is at its lower edge or above it."""
    centres: tuple[float, ...] | None = None
    """K rows of num_bins: the mean of the training targets in each bin."""

    kind: ClassVar[LossKind] = "numbers"

    def __post_init__(self) -> None:
        check_at_least("num_bins", self.num_bins, 2)
        if (self.edges is None) != (self.centres is None):
            raise ValueError("edges and centres belong together; give both, or fit both with Quantized.fitted")
        if self.edges is not None and self.centres is not None:
            columns = len(self.edges) // (self.num_bins - 1)
            if not columns or (len(self.edges), len(self.centres)) != (
                columns * (self.num_bins - 1),
                columns * self.num_bins,
            ):
                raise ValueError(
                    f"{len(self.edges)} edges and {len(self.centres)} centres do not make {self.num_bins} bins per "
                    "column; give num_bins - 1 edges and num_bins centres for each"
                )

    def fitted(self, targets: NDArray[np.floating]) -> Self:
        """The same with bins from training targets (N, K), nan left out.

        Raises:
            ValueError: naming the column that has no target.
        """
        edges, centres = [], []
        for column, values in enumerate(np.asarray(targets, dtype=np.float64).T):
            known = values[~np.isnan(values)]
            if not len(known):
                raise ValueError(f"column {column} (counting from 0) has no training target to fit bins to")
            cuts = _cuts(known, self.num_bins)
            bins = np.searchsorted(cuts, known, side="right")
            full = np.bincount(bins, minlength=self.num_bins)
            means = np.bincount(bins, known, minlength=self.num_bins) / np.maximum(full, 1)
            edges.append(cuts)
            centres.append(np.where(full, means, np.append(cuts, cuts[-1])))
        return replace(
            self, edges=tuple(np.concatenate(edges).tolist()), centres=tuple(np.concatenate(centres).tolist())
        )

    def width(self, num_targets: int) -> int:
        """Outputs that a network has to give for so many numbers."""
        return num_targets * self.num_bins

    def value(self, outputs: Tensor) -> Tensor:
        """outputs (N, K · bins) -> (N, K) expectations over the bins."""
        logits = self._logits(outputs)
        return (logits.softmax(dim=2) * self._rows(self.centres, logits)).sum(dim=2)

    def elements(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """outputs (N, K · bins), targets (N, K) with nan ignored -> losses (N, K), bool (N, K).

        Raises:
            ValueError: the bins were not fitted, or shapes that do not fit.
        """
        logits = self._logits(outputs)
        if targets.shape != logits.shape[:2]:
            raise ValueError(f"targets {tuple(targets.shape)} for bins of {tuple(logits.shape[:2])} numbers")
        scored = ~targets.isnan()
        bins = (targets.to(logits.dtype)[:, :, None] >= self._rows(self.edges, logits)).sum(dim=2, keepdim=True)
        losses = -logits.masked_fill(~scored[:, :, None], 0).log_softmax(dim=2).gather(2, bins).squeeze(2)
        return losses, scored

    def _logits(self, outputs: Tensor) -> Tensor:
        """outputs (N, K · bins) -> (N, K, bins)"""
        if self.edges is None:
            raise ValueError(
                "quantized has no bins yet; training fits them, from Python use Quantized().fitted(targets)"
            )
        columns = len(self.edges) // (self.num_bins - 1)
        if outputs.shape[1] != columns * self.num_bins:
            raise ValueError(f"{outputs.shape[1]} outputs for {columns} numbers of {self.num_bins} bins each")
        return widened(outputs).reshape(outputs.shape[0], columns, self.num_bins)

    def _rows(self, values: tuple[float, ...] | None, logits: Tensor) -> Tensor:
        """Edges or centres as (K, bins or bins - 1)."""
        return torch.tensor(values, dtype=logits.dtype, device=logits.device).reshape(logits.shape[1], -1)


def _cuts(values: NDArray[np.float64], num_bins: int) -> NDArray[np.float64]:
    """Edges between bins that are about equally full: values (n,) -> (num_bins - 1,), increasing.

    Plain quantiles would put all edges on the one value that most targets have. Here it gets a bin, and the others
    share what is left.
    """
    distinct, counts = np.unique(values, return_counts=True)
    # Values that more than fill a bin count as one full bin: the level at which counts cut off there fill all bins.
    masses, level = counts.astype(np.float64), np.inf
    while masses.sum() / num_bins < level and level > 1:
        level = max(masses.sum() / num_bins, 1)
        masses = np.minimum(counts, level)
    filled = np.cumsum(masses)
    edges = []
    start = 0
    for bins_left in range(num_bins, 1, -1):
        before = filled[start - 1] if start else 0
        wanted = before + (filled[-1] - before) / bins_left
        end = int(np.searchsorted(filled, wanted))
        if end and wanted - filled[end - 1] < filled[end] - wanted:
            end -= 1
        # At least one value here, and one for each bin to come as long as there are so many.
        end = min(max(end, start), max(len(distinct) - bins_left, start), len(distinct) - 2)
        edges.append((distinct[end] + distinct[end + 1]) / 2 if end >= 0 else distinct[0])
        start = min(end + 1, len(distinct) - 1)
    return np.array(edges)
