"""SimCLR: tell the other view of a sequence from all views of others (Chen et al. 2020, arXiv:2002.05709)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from seqtrain.batch import Batch
from seqtrain.objectives.objective import Score
from seqtrain.objectives.views import TwoViews, others_of_record, partners, weights_of


@dataclass(frozen=True, kw_only=True)
class SimCLR(TwoViews):
    """The normalised, temperature-scaled cross-entropy (NT-Xent, equation 1) over all views of a step.

    Where the paper has distinct images, a step may hold several windows of one protein: views of the same record are
    not told apart.
    """

    temperature: float = 0.1
    """What cosines are divided by."""

    separable = False
    has_predictor: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_temperature(self.temperature)

    def score(self, outputs: Tensor, batch: Batch) -> Score:
        """outputs (B, K), two views of each example one behind the other -> nats per view, and how many were found."""
        directions = functional.normalize(outputs, dim=1)
        logits = directions @ directions.T / self.temperature
        itself = torch.eye(len(batch), dtype=torch.bool, device=outputs.device)
        logits = logits.masked_fill(itself | others_of_record(batch), -torch.inf)
        return retrieval(logits, partners(len(batch), outputs.device), weights_of(batch, outputs))


def check_temperature(temperature: float) -> None:
    """Refuse what cosines cannot be divided by."""
    if not 0 < temperature < float("inf"):
        raise ValueError(f"temperature is {temperature:g}; give a number above 0, such as 0.1")


def retrieval(logits: Tensor, wanted: Tensor, weights: Tensor) -> Score:
    """Cross-entropy of finding, for each row of logits (B, C), the column wanted (B,); weights (B,)."""
    losses = functional.cross_entropy(logits, wanted, reduction="none")
    found = (logits.argmax(1) == wanted).to(weights.dtype)
    return Score((losses * weights).sum(), weights.sum(), {"accuracy": (found * weights).sum()})
