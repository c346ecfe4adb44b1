"""Supervised learning: compare the outputs with the labels."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from seqtrain.batch import Batch
from seqtrain.draws import Draws, below, chance
from seqtrain.errors import InputError
from seqtrain.losses import IGNORED_CLASS, Loss
from seqtrain.objectives.objective import Score


@dataclass(frozen=True)
class Supervised:
    """The loss of one task, for one target per sequence or one per residue."""

    loss: Loss
    disturbed_fraction: float = 0.0
    """Chance of each label to be replaced by a class drawn evenly from all, its own included, for as long as the epoch
    lasts: DisturbLabel (Xie et al. 2016, arXiv:1605.00055), against overfitting to labels."""
    num_classes: int = 0
    """C, to draw from; needed where labels are disturbed."""

    def __post_init__(self) -> None:
        if not 0 <= self.disturbed_fraction <= 1:
            raise ValueError(f"disturbed_fraction={self.disturbed_fraction:g} is not between 0 and 1")
        if self.disturbed_fraction and self.loss.kind != "classes":
            raise InputError(
                f"disturbed_fraction={self.disturbed_fraction:g} replaces a class by another, and the targets are "
                f"{self.loss.kind}; leave it at 0"
            )
        if self.disturbed_fraction and self.num_classes < 2:
            raise ValueError("disturbed_fraction needs num_classes, the number of classes to draw from")

    @property
    def separable(self) -> bool:
        """As its loss is."""
        return self.loss.separable

    def prepare(self, batch: Batch, draws: Draws) -> Batch:
        """The batch as it is, or with some of its labels replaced."""
        if not self.disturbed_fraction:
            return batch
        assert batch.targets is not None
        others = batch.other_targets
        if others is not None:
            others = self._disturbed(batch, others, draws.derived("other target"))
        return replace(batch, targets=self._disturbed(batch, batch.targets, draws), other_targets=others)

    def _disturbed(self, batch: Batch, targets: Tensor, draws: Draws) -> Tensor:
        """Targets of a batch, some of them replaced."""

        def bits(purpose: str) -> Tensor:
            if _per_residue(batch):
                drawn: Tensor = draws.per_position(purpose, batch.segments, batch.positions)
            else:
                drawn = draws.per_sequence(purpose)
            return drawn

        classes = below(bits("disturbed class"), self.num_classes)
        disturbed = chance(bits("disturb label"), self.disturbed_fraction)
        if targets.ndim == 1:
            disturbed = disturbed & (targets != IGNORED_CLASS)
        else:
            disturbed = (disturbed & ~targets.isnan().any(dim=1))[:, None]
            classes = torch.nn.functional.one_hot(classes, self.num_classes)
        return torch.where(disturbed, classes.to(targets.dtype), targets)

    def score(self, outputs: Tensor, batch: Batch) -> Score:
        """outputs (B, K) or (T, K).

        Where sequences are mixed, each counts by its share for its own label, and by the rest for the other's.
        """
        assert batch.targets is not None
        weights = batch.weights
        if batch.target_shares is not None:
            assert batch.other_targets is not None
            own = batch.target_shares if weights is None else batch.target_shares * weights
            other = 1 - batch.target_shares if weights is None else weights - own
            parts = self.loss(outputs, batch.targets, own), self.loss(outputs, batch.other_targets, other)
            return Score(parts[0][0] + parts[1][0], parts[0][1] + parts[1][1])
        if weights is not None and _per_residue(batch):
            weights = weights[batch.segments]
        return Score(*self.loss(outputs, batch.targets, weights))


def _per_residue(batch: Batch) -> bool:
    """True where there is a target for each position; special tokens make these more than the sequences."""
    return batch.targets is not None and len(batch.targets) == len(batch.inputs)
