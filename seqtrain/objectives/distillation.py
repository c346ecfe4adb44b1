"""Distillation: learn from what a teacher says of the very same inputs, and from their labels (Hinton et al. 2015)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from seqtrain.batch import Batch
from seqtrain.draws import Draws
from seqtrain.errors import InputError
from seqtrain.losses import Quantized
from seqtrain.losses.elements import softplus, widened
from seqtrain.objectives.objective import Score
from seqtrain.objectives.supervised import Supervised

Teacher = Callable[[Batch], Tensor]
"""What a teacher says of a batch: (B, K) or (T, K) without a gradient, in the units of the student's targets."""


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """h · loss of the labels + (1 - h) · divergence from the teacher, over the records of a step.

    The divergence is T² KL(q_T | p_T) of classes softened by the temperature T (Hinton, Vinyals & Dean 2015,
    arXiv:1503.02531), of each label by itself where there are several, and the squared difference of numbers, or the KL
    of each number's bins where teacher and student have the same. Of K labels or numbers a record has the mean. The
    teacher is asked about the batch as the student gets it, letter by letter (Beyer et al. 2021, arXiv:2106.05237).

    A record without a label has the second part only, and counts like any other: with many such records the labels
    weigh less than h. A loss that is no sum over records is scaled to its mean over the labelled records of a step, and
    weighs h whatever their number.
    """

    teacher: Teacher
    supervised: Supervised
    """The part of the labels."""
    temperature: float = 2.0
    """T; above 1 the small probabilities of the teacher count for more."""
    hard_fraction: float = 0.5
    """h; at 1 nobody asks the teacher, at 0 nobody looks at the labels."""
    by_bins: bool = False
    """The teacher says logits of the bins of a quantised loss, which the student has, too; else it says numbers."""

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"temperature={self.temperature:g} is not above 0")
        if not 0 <= self.hard_fraction <= 1:
            raise ValueError(f"hard_fraction={self.hard_fraction:g} is not between 0 and 1")
        if self.by_bins and not isinstance(self.supervised.loss, Quantized):
            raise ValueError("by_bins needs a loss with bins")
        if self.supervised.loss.kind == "several":
            raise InputError("a loss of several tasks cannot be distilled; distil one task at a time")

    @property
    def separable(self) -> bool:
        """As the loss of the labels is."""
        return self.supervised.separable

    def prepare(self, batch: Batch, draws: Draws) -> Batch:
        """The batch with ``teacher_outputs``, what the teacher says of its inputs."""
        prepared = self.supervised.prepare(batch, draws)
        if self.hard_fraction == 1:
            return prepared
        with torch.no_grad():
            said = self.teacher(prepared)
        return replace(prepared, teacher_outputs=said)

    def score(self, outputs: Tensor, batch: Batch) -> Score:
        """outputs (B, width) or (T, width) -> the weighted sum of both parts, per record (of numbers and labels: cell).

        The sums ``label_loss`` and ``teacher_divergence`` are the two parts before they are weighed.
        """
        hard = self.supervised.score(outputs, batch)
        if self.hard_fraction == 1:
            return hard
        assert batch.teacher_outputs is not None, "prepare asks the teacher"
        rows, said, weights = _scored_rows(outputs, batch.teacher_outputs, batch)
        # As many as the loss of the labels counts for a row that has them all, so that both are divided by the same.
        cells = 1 if self.supervised.loss.kind == "classes" or not self.separable else self._cells(said)
        soft = (self.divergences(rows, said) * weights).sum() * cells
        count = weights.sum() * cells
        labels = hard.loss
        if not self.separable and float(hard.count):
            labels = labels * (count / hard.count)
        loss = self.hard_fraction * labels + (1 - self.hard_fraction) * soft
        return Score(loss, count, {"label_loss": labels.detach(), "teacher_divergence": soft.detach()})

    def divergences(self, outputs: Tensor, said: Tensor) -> Tensor:
        """outputs (N, width), what the teacher says (N, K), or (N, width) by bins -> (N,) divergence of each row."""
        loss, temperature = self.supervised.loss, self.temperature
        if self.by_bins:
            assert isinstance(loss, Quantized)
            shape = len(outputs), -1, loss.num_bins
            return kl_of_classes(widened(outputs).reshape(shape), widened(said).reshape(shape), temperature).mean(dim=1)
        values = loss.value(widened(outputs))
        if values.shape != said.shape:
            raise ValueError(f"{tuple(values.shape)} of the student for {tuple(said.shape)} of the teacher")
        said = said.to(values.dtype)
        if loss.kind == "classes":
            return kl_of_classes(values, said, temperature)
        if loss.kind == "labels":
            return kl_of_labels(values, said, temperature).mean(dim=1)
        return (values - said).square().mean(dim=1)

    def _cells(self, said: Tensor) -> int:
        """K of what a teacher says (N, K), or (N, width) by bins."""
        loss = self.supervised.loss
        return said.shape[1] // loss.num_bins if self.by_bins and isinstance(loss, Quantized) else said.shape[1]


def kl_of_classes(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T² KL(softmax(z / T) | softmax(s / T)) in nats. Logits s and z (…, C) -> (…)."""
    true = (teacher / temperature).log_softmax(dim=-1)
    logs = (student / temperature).log_softmax(dim=-1)
    # A class that the teacher excludes has -inf there, and adds nothing.
    differences = torch.where(true.isneginf(), 0.0, true - logs)
    return temperature**2 * (true.exp() * differences).sum(dim=-1)


def kl_of_labels(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T² KL of each label by itself, between σ(z / T) and σ(s / T), in nats. Logits s and z (N, K) -> (N, K)."""
    true, said = teacher / temperature, student / temperature
    # log σ(x) = -softplus(-x), and of the other answer -softplus(x).
    with_it = true.sigmoid() * (softplus(-said) - softplus(-true))
    without = (-true).sigmoid() * (softplus(said) - softplus(true))
    return temperature**2 * (with_it + without)


def _scored_rows(outputs: Tensor, said: Tensor, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of outputs and of the teacher, residues alone where there is one per position, and their weights (N,)."""
    per_residue = len(outputs) == len(batch.inputs)
    if not per_residue:
        weights = outputs.new_ones(len(outputs)) if batch.weights is None else batch.weights
        return outputs, said, weights
    residues = batch.residues
    rows = outputs[residues]
    weights = rows.new_ones(len(rows)) if batch.weights is None else batch.weights[batch.segments[residues]]
    return rows, said[residues], weights
