"""A student beside its teacher: scores on the same records, and sequences per second measured in turns."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from seqtrain.batch import Batch
from seqtrain.batching import Examples
from seqtrain.inference import evaluation_batches, tokens_per_batch
from seqtrain.labeled import LabeledData
from seqtrain.recipes.held_out import outputs_of
from seqtrain.recipes.teachers import Teacher
from seqtrain.scoring import MAIN_METRIC, Scored, rows_of, score_set
from seqtrain.spans import Spans
from seqtrain.tasks import as_trained
from seqtrain.training import LoopConfig, Precision, autocast

_ROUNDS = 3
_TIMED_LETTERS = 20_000
TEACHER = "teacher"
"""What it is called among the models that stand beside a score."""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What a student keeps of its teacher's score on one set of records."""

    name: str
    """Of the set."""
    metric: str
    student: float
    teacher: float
    low: float
    """95 % interval of the difference, student less teacher, by paired bootstrap."""
    high: float
    at_half: bool = False
    """The student has a threshold, and stands here with what it would decide at 0.5, as the teacher does."""

    @property
    def share(self) -> float | None:
        """Of the teacher's score; None where that is not above 0."""
        return self.student / self.teacher if self.teacher > 0 else None

    def _difference(self) -> str:
        if math.isnan(self.low):
            return "too few records for an interval of the difference"
        return f"difference {self.low:+.3f} to {self.high:+.3f}"

    def words(self) -> str:
        """Both scores, their difference, and the share."""
        share = "" if self.share is None else f", {self.share:.1%} of the teacher's"
        name = f"{self.name}, both deciding at 0.5" if self.at_half else self.name
        return (
            f"{name}: {self.metric} {self.student:.3f} of the student, {self.teacher:.3f} of the teacher "
            f"({self._difference()}){share}"
        )


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Sequences per second, the best of several rounds in turns."""

    student: float
    teacher: float

    @property
    def ratio(self) -> float:
        """How many times as fast the student is."""
        return self.student / self.teacher

    def words(self, device: torch.device) -> str:
        """Both speeds and their ratio."""
        return (
            f"the student is {self.ratio:.1f} times as fast as the teacher: {self.student:,.0f} sequences a second on "
            f"this {device.type.upper()}, against {self.teacher:,.0f}"
        )


def beside_teacher(
    scored: Sequence[Scored],
    data: LabeledData,
    outputs: NDArray[np.float32],
    teacher: Teacher,
    examples: Examples,
    loop: LoopConfig,
) -> tuple[list[Scored], list[Kept]]:
    """The scores of the student with the teacher's among the models beside them, and what it keeps of those.

    Args:
        outputs: (N, width) or (letters, width) logits of the student.
        examples: of the scored records, in the windows of the teacher.
    """
    # At temperature 1, whatever was learnt at: as it would answer by itself.
    own = teacher.at_temperature(1.0)
    said = own.task.values(outputs_of(own, own.task, examples, loop))
    metric, found, kept = MAIN_METRIC[type(data.task)], [], []
    # Neither by temperatures nor by thresholds: those of one network say nothing of what another answers.
    plain, at_half = as_trained(data.task), bool(getattr(data.task, "threshold", ()))
    for each in scored:
        records = data.split.indices(each.name)
        values = said[rows_of(data.task, data, records)]
        again = score_set(each.name, plain, data, outputs, records, baselines={TEACHER: values}, seed=loop.seed)
        found.append(replace(each, baselines={**each.baselines, **again.baselines}))
        low, high = (again.lead.low, again.lead.high) if again.lead else (float("nan"), float("nan"))
        theirs = again.baselines[TEACHER][metric]
        kept.append(
            Kept(
                name=each.name,
                metric=metric,
                student=again.metrics[metric],
                teacher=theirs,
                low=low,
                high=high,
                at_half=at_half,
            )
        )
    return found, kept


def speeds(
    student: nn.Module, examples: Examples, teacher: Teacher, their_examples: Examples, loop: LoopConfig
) -> Speed:
    """Both networks on the same sequences, up to 20,000 letters of them, one after the other in several rounds."""
    own, theirs = (_batches(each, loop) for each in (examples, their_examples))
    num_sequences = len({int(record) for batch in own for record in batch.records})

    def seconds(network: nn.Module, batches: list[Batch], precision: Precision) -> float:
        started = time.perf_counter()
        with torch.no_grad(), autocast(loop.device, precision):
            for batch in batches:
                network(batch).cpu()
        return time.perf_counter() - started

    was_training = student.training
    student.eval()
    rounds = [(seconds(student, own, loop.precision), seconds(teacher, theirs, "fp32")) for _ in range(_ROUNDS)]
    student.train(was_training)
    return Speed(
        student=num_sequences / min(row[0] for row in rounds), teacher=num_sequences / min(row[1] for row in rounds)
    )


def _batches(examples: Examples, loop: LoopConfig) -> list[Batch]:
    """The first records, up to a number of letters, on the device."""
    spans = examples.spans
    letters = np.diff(examples.store.offsets)[np.unique(spans.records)]
    records = np.unique(spans.records)[: max(1, int(np.searchsorted(np.cumsum(letters), _TIMED_LETTERS, "right")))]
    chosen = np.isin(spans.records, records)
    some = Spans(
        *(each[chosen] for each in (spans.records, spans.starts, spans.stops, spans.own_starts, spans.own_stops))
    )
    budget = tokens_per_batch(loop.device, loop.precision)
    return [batch.to(loop.device) for batch in evaluation_batches(replace(examples, spans=some), budget)]


def as_results(kept: Sequence[Kept], speed: Speed, about: dict[str, Any]) -> dict[str, Any]:
    """What ``run.json`` keeps of the comparison."""
    return {
        TEACHER: {
            **about,
            "sets": [{**asdict(each), "share": each.share} for each in kept],
            "sequences_per_second": {"student": speed.student, "teacher": speed.teacher, "ratio": speed.ratio},
        }
    }
