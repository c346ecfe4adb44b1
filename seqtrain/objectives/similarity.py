"""Distillation of similarities: how alike a teacher finds augmented sequences to the ones that they were made from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from seqtrain.batch import Batch
from seqtrain.draws import Draws
from seqtrain.losses.elements import widened
from seqtrain.objectives.distillation import Distillation, kl_of_classes
from seqtrain.objectives.objective import Score
from seqtrain.objectives.sim_clr import check_temperature, retrieval
from seqtrain.objectives.views import weights_of

TEMPERATURE = 0.5
"""τ, which cosines are divided by, as in the code that Xu et al. published (github.com/xuguodong03/SSKD)."""
KEPT_FRACTION = 0.75
"""Of the augmented sequences that the teacher takes for others, those that are learnt from; from the same code."""


@dataclass(frozen=True, kw_only=True)
class OriginalRetrieval:
    """Tell the sequence that an augmented one was made from, from all other sequences of a step, by their cosines.

    Contrastive prediction as Xu et al. train the module of a teacher (arXiv:2006.07114). Other windows of
    the same record are left out of the comparison. Batches hold two views of each example: as it is, and augmented.
    """

    pooled: Callable[[Batch], Tensor]
    """What the frozen teacher makes of a batch, (B, F) without a gradient; asked in ``prepare``."""
    temperature: float = TEMPERATURE

    separable: ClassVar[bool] = False
    num_views: ClassVar[int] = 2

    def __post_init__(self) -> None:
        check_temperature(self.temperature)

    def prepare(self, batch: Batch, draws: Draws) -> Batch:
        """The batch with ``features``, which the module learns from."""
        with torch.no_grad():
            return replace(batch, features=self.pooled(batch))

    def score(self, outputs: Tensor, batch: Batch) -> Score:
        """outputs (2 B, P) -> nats per augmented sequence, and how many of them were told."""
        logits = similarities(outputs, batch.records) / self.temperature
        wanted = torch.arange(len(logits), device=outputs.device)
        return retrieval(logits, wanted, weights_of(batch, outputs)[1::2])


@dataclass(frozen=True, kw_only=True)
class SimilarityDistillation:
    """Distillation, and w · τ² KL between the softmax over similarities of the teacher and of the student.

    Batches hold two views of each example: as it is, and augmented. The labels are learnt from the first, what the
    teacher says of classes or numbers from both, one as much as the other, and in each row of similarities how alike
    the augmented sequence is to all unchanged ones of the step (Xu et al. 2020, arXiv:2006.07114). Of these rows are
    kept all in which the teacher finds the sequence that the augmented one was made from, and of the others those in
    which it ranks that one best; their mean weighs w, whatever their number.

    Where the authors have one weight for each of four terms and three augmented images, here the labels weigh h,
    what the teacher says 1 - h for each of the two views, and similarities w.
    """

    teacher: Callable[[Batch], Tensor]
    """What is said of a batch, (2 B, K + P): as ``distillation.teacher`` says it, and the teacher's projections."""
    distillation: Distillation
    """The parts of the labels and of what the teacher says, of one answer per sequence."""
    weight: float
    """w"""
    projections: tuple[int, int]
    """P of the student, which are the last of its outputs, and of the teacher."""
    temperature: float = TEMPERATURE
    kept_fraction: float = KEPT_FRACTION

    separable: ClassVar[bool] = False
    num_views: ClassVar[int] = 2

    def __post_init__(self) -> None:
        check_temperature(self.temperature)
        if not 0 <= self.kept_fraction <= 1:
            raise ValueError(f"kept_fraction={self.kept_fraction:g} is not between 0 and 1")
        if not 0 < self.weight < float("inf"):
            raise ValueError(f"weight={self.weight:g} is not above 0")

    def prepare(self, batch: Batch, draws: Draws) -> Batch:
        """The batch with ``teacher_outputs``: what the teacher says of its inputs, and its projections of them."""
        prepared = self.distillation.supervised.prepare(batch, draws)
        with torch.no_grad():
            return replace(prepared, teacher_outputs=self.teacher(prepared))

    def score(self, outputs: Tensor, batch: Batch) -> Score:
        """outputs (2 B, width + P) -> the weighted sum of all parts, per record (of numbers and labels: cell).

        The sums are ``label_loss`` and ``teacher_divergence`` of the unchanged sequences, ``augmented_divergence`` of
        the others, and ``similarity_divergence``, all before they are weighed.
        """
        assert batch.teacher_outputs is not None, "prepare asks the teacher"
        own, theirs = self.projections
        answers, projected = outputs[:, :-own], widened(outputs[:, -own:])
        said, their_projected = batch.teacher_outputs[:, :-theirs], widened(batch.teacher_outputs[:, -theirs:])
        plain = self.distillation.score(answers[::2], _first_views(batch, said))
        count, weights = plain.count, weights_of(batch, projected)[1::2]
        share, augmented = 1 - self.distillation.hard_fraction, torch.zeros_like(plain.loss)
        if share:
            augmented = count * _mean(self.distillation.divergences(answers[1::2], said[1::2]), weights)
        wanted = similarities(their_projected, batch.records)
        rows = row_divergences(similarities(projected, batch.records), wanted, self.temperature)
        similarity = count * _mean(rows, weights * trusted(wanted, self.kept_fraction))
        parts = {"augmented_divergence": augmented.detach(), "similarity_divergence": similarity.detach()}
        return Score(plain.loss + share * augmented + self.weight * similarity, count, {**plain.sums, **parts})


def similarities(projections: Tensor, records: Tensor) -> Tensor:
    """Cosines of augmented sequences with unchanged ones, which stand before them in turns.

    Args:
        projections: (2 B, P)
        records: (2 B,) of each; another window of the same record is not compared, and has -inf.

    Returns:
        (B, B) rows of augmented sequences, columns of unchanged ones
    """
    directions = functional.normalize(projections, dim=1)
    found = directions[1::2] @ directions[::2].T
    others = (records[1::2, None] == records[None, ::2]).fill_diagonal_(False)
    return found.masked_fill(others, -torch.inf)


def row_divergences(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Similarities (B, B) of both -> (B,) τ² KL(softmax of the teacher's row / τ | that of the student), in nats."""
    # Both have -inf in the same places; a number far below all cosines instead leaves no nan in their difference.
    lowest = -1e4 * temperature
    return kl_of_classes(student.clamp_min(lowest), teacher, temperature)


def trusted(teacher: Tensor, kept_fraction: float) -> Tensor:
    """Similarities (B, B) of the teacher -> (B,) 1 for the rows that are learnt from, 0 for the others.

    Those are all rows whose own column has the highest similarity, and a fraction of the others, rounded down: the ones
    whose own column ranks highest, of equals the first ("selective transfer" of the paper).
    """
    ranks = (teacher > teacher.diagonal()[:, None]).sum(dim=1)
    num_right = int((ranks == 0).sum())
    num_kept = num_right + int((len(ranks) - num_right) * kept_fraction)
    kept = torch.zeros_like(teacher[:, 0])
    kept[ranks.argsort(stable=True)[:num_kept]] = 1
    return kept


def _first_views(batch: Batch, said: Tensor) -> Batch:
    """What the score of every other sequence reads: labels, weights and what the teacher says, not the positions."""
    return replace(
        batch,
        records=batch.records[::2],
        keys=batch.keys[::2],
        targets=None if batch.targets is None else batch.targets[::2],
        weights=None if batch.weights is None else batch.weights[::2],
        teacher_outputs=said[::2],
    )


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean; 0 where there is no weight."""
    return (values * weights).sum() / weights.sum().clamp_min(1e-12)
