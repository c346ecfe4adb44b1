"""Supervised learning: compare the outputs with the labels."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from seqtrain.batch import Batch
from seqtrain.draws import Draws
from seqtrain.losses import Loss
from seqtrain.objectives.objective import Score


@dataclass(frozen=True)
class Supervised:
    """The loss of one task, for one target per sequence or one per residue."""

    loss: Loss

    separable = True

    def prepare(self, batch: Batch, draws: Draws) -> Batch:
        """The batch as it is."""
        return batch

    def score(self, outputs: Tensor, batch: Batch) -> Score:
        """outputs (B, K) or (T, K)."""
        assert batch.targets is not None
        weights = batch.weights
        if weights is not None and len(batch.targets) == len(batch.inputs):
            weights = weights[batch.segments]
        return Score(*self.loss(outputs, batch.targets, weights))
