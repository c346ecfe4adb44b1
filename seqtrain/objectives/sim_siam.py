"""SimSiam: predict the other view of a sequence, with nothing to tell it from (Chen & He 2021, arXiv:2011.10566)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn import functional

from seqtrain.batch import Batch
from seqtrain.objectives.objective import Score
from seqtrain.objectives.views import TwoViews, partners, standardised, weights_of


@dataclass(frozen=True, kw_only=True)
class SimSiam(TwoViews):
    """The negative cosine between what is predicted from a view and the projection of the other, which stands still.

    No negatives and no second network. Two things keep all sequences from getting one and the same answer: gradients
    stop at the projections, and these are standardised over the views of the step, as by the batch norm that ends the
    projector of the paper. Here it is part of the score, so that no output depends on other sequences and no gradient
    on how a step is cut; the predictor sees projections before it. With layer norm in its place, networks collapsed
    within some 30 updates.
    """

    separable = False
    has_predictor: ClassVar[bool] = True

    def score(self, outputs: Tensor, batch: Batch) -> Score:
        """outputs (B, 2 K), projections beside predictions, two views of each example one behind the other."""
        projections, predictions = outputs.chunk(2, dim=1)
        targets = standardised(projections.detach())[partners(len(batch), outputs.device)]
        cosines = functional.cosine_similarity(predictions, targets, dim=1)
        weights = weights_of(batch, outputs)
        return Score(-(cosines * weights).sum(), weights.sum())
