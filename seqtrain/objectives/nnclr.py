"""NNCLR: the positive of a view is the nearest neighbour of the other view (Dwibedi et al. 2021, arXiv:2104.14548)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from seqtrain.batch import Batch
from seqtrain.objectives.objective import Score
from seqtrain.objectives.sim_clr import check_temperature, retrieval
from seqtrain.objectives.views import TwoViews, others_of_record, partners, standardised, weights_of


class Support(Protocol):
    """Projections of earlier sequences, which a head keeps."""

    records: Tensor
    """(Q,) int64 the record of each entry, -1 where there is none."""

    @property
    def directions(self) -> Tensor:
        """(Q, K) of unit length."""
        ...


@dataclass(frozen=True, kw_only=True)
class NNCLR(TwoViews):
    """As SimCLR, but what a view is to be told from others by is a neighbour of its other view, of an earlier step.

    Entries of the records of the present step are left out, so that nothing depends on how the step is cut; while no
    other is there, the other view itself is the positive. The loss is the paper's, with both views in both roles.
    What neighbours are compared by is standardised over the step, as in SimSiam and for the same reason: the batch
    norms of the paper are layer norms here, and without it all neighbours became one.
    """

    temperature: float = 0.1
    """What cosines are divided by."""
    support_size: int = 4096
    """Q, projections of the latest sequences among which a neighbour is looked for."""
    support: Support | None = None
    """Those of the head; None finds no neighbours."""

    separable = False
    has_predictor: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_temperature(self.temperature)
        if self.support_size < 1:
            raise ValueError(f"support_size is {self.support_size}; give a whole number above 0, such as 4096")

    def score(self, outputs: Tensor, batch: Batch) -> Score:
        """outputs (B, 2 K), projections beside predictions, two views of each example one behind the other.

        Row i of the logits compares the neighbour of view i with the predictions of the views on the other side.
        """
        projections, predictions = outputs.chunk(2, dim=1)
        with torch.no_grad():
            neighbours, found = self._neighbours(functional.normalize(projections.detach(), dim=1), batch)
            neighbours = functional.normalize(standardised(neighbours), dim=1)
        logits = neighbours @ functional.normalize(predictions, dim=1).T / self.temperature
        side = torch.arange(len(batch), device=outputs.device) % 2
        logits = logits.masked_fill((side[:, None] == side) | others_of_record(batch), -torch.inf)
        weights = weights_of(batch, outputs)
        score = retrieval(logits, partners(len(batch), outputs.device), weights)
        return Score(score.loss, score.count, {**score.sums, "with_neighbour": found * weights.sum()})

    def _neighbours(self, directions: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """directions (B, K) -> (B, K) their nearest neighbours or, without any, themselves; () 1 if there are some."""
        if self.support is None:
            return directions, directions.new_zeros(())
        left_out = (self.support.records < 0) | torch.isin(self.support.records, batch.records)
        entries = self.support.directions.to(directions.dtype)
        cosines = (directions @ entries.T).masked_fill(left_out, -torch.inf)
        found = (~left_out).any()
        return torch.where(found, entries[cosines.argmax(1)], directions), found.to(directions.dtype)
