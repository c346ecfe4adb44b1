"""How far the predictions of a finetuned model move when its input is augmented, at several strengths."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seqtrain.augment import Augmenter, keyed
from seqtrain.evaluation.augmentation_audit import Estimate, scaled, strength_words
from seqtrain.evaluation.intervals import bootstrap_interval
from seqtrain.inference import InferenceConfig
from seqtrain.io.records import Record
from seqtrain.io.splits import VALID
from seqtrain.letters import PackedLetters
from seqtrain.predict import Predictor
from seqtrain.run import Run
from seqtrain.tasks import Classification, Regression, Task

MODEL_HEADER = (
    "augmenter", "magnitude", "rate", "moves", "target", "change", "change_low", "change_high", "validation_error",
    "between_sequences", "proposed",
)  # fmt: skip
_LADDER = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001)
_MIN_ROWS = 3


@dataclass(frozen=True, kw_only=True)
class Shift:
    """How far predictions moved at one strength."""

    magnitude: float
    rate: float
    """Letters replaced, inserted or left out, per letter."""
    moves: float
    """The same per copy."""
    changes: dict[str, Estimate]
    """By target."""
    errors: dict[str, float]
    """The model's own error on held-out records, by target, in the same units; nan where it is not known."""
    between: dict[str, float]
    """How far the predictions for two different records of the file are apart, by target, in the same units."""

    @property
    def is_small(self) -> bool:
        """Whether every change is within the model's own error."""
        return all(change.value <= self.errors[target] for target, change in self.changes.items())

    @property
    def can_tell(self) -> bool:
        """Whether the model tells records apart by more than its own error; false too where that is not known."""
        return all(self.errors[target] < self.between[target] for target in self.errors)

    def rows(self, name: str, *, proposed: bool) -> Iterator[list[str | int | float | None]]:
        """Cells under :data:`MODEL_HEADER`."""
        for target, change in self.changes.items():
            yield [
                name, self.magnitude, self.rate, self.moves, target, change.value, change.low, change.high,
                self.errors[target], self.between[target], int(proposed),
            ]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ModelAudit:
    """An augmenter, and the model that is asked what its copies are."""

    predictor: Predictor
    task: Task
    errors: dict[str, float]
    """The model's own, by target; see :class:`Shift`."""
    augmenter: Augmenter
    num_copies: int
    """Of each record, at each strength."""
    seed: int

    @classmethod
    def of_run(
        cls, run: Run, task: Task, inference: InferenceConfig, augmenter: Augmenter, *, num_copies: int, seed: int
    ) -> ModelAudit:
        """Ask the model of a run, whose task this is."""
        return cls(
            predictor=Predictor.of_run(run, inference),
            task=task,
            errors=_validation_errors(run.folder, task),
            augmenter=augmenter,
            num_copies=num_copies,
            seed=seed,
        )

    def shifts(self, records: Sequence[Record]) -> Iterator[Shift]:
        """From the strength that was given down to one that changes little, for N records."""
        before = self._values(records)
        others = [self._change(before, np.roll(before, step, axis=0)) for step in range(1, len(before))]
        between = np.mean(others, axis=(0, 1)) if others else np.zeros(len(self.errors))
        num_letters = sum(len(record.letters) for record in records)
        small = False
        for number, magnitude in enumerate(_LADDER):
            weaker = self.augmenter if magnitude == 1 else scaled(self.augmenter, magnitude)
            if weaker is None or (small and number >= _MIN_ROWS):
                return
            changes, moves = self._changes(weaker, records, before)
            shift = Shift(
                magnitude=magnitude,
                rate=moves / num_letters,
                moves=moves / len(records),
                changes={name: _mean_estimate(changes[:, k], self.seed) for k, name in enumerate(self.errors)},
                errors=self.errors,
                between=dict(zip(self.errors, between.tolist(), strict=True)),
            )
            small = shift.is_small or not shift.can_tell
            yield shift

    def _changes(
        self, augmenter: Augmenter, records: Sequence[Record], before: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], float]:
        """(N, K) how far predictions moved, and how many letters of all records did; on average over the copies."""
        packed = PackedLetters.from_sequences([record.letters for record in records])
        moves, totals = 0, []
        for copy in range(self.num_copies):
            augmented = augmenter(packed, keyed(len(packed), seed=self.seed, epoch=copy))
            moves += _count_moves(packed, augmented.packed, augmented.origin)
            copies = [
                Record(record.identifier, augmented.packed[index], record.source, record.place)
                for index, record in enumerate(records)
            ]
            totals.append(self._change(before, self._values(copies)))
        return np.mean(totals, axis=0), moves / self.num_copies

    def _values(self, records: Sequence[Record]) -> NDArray[np.float64]:
        """(N, K) predictions of N records; those without any letters left count as nan."""
        outputs = [values for _, values in self.predictor.outputs(records)]
        width = next(values.shape[1] for values in outputs if values is not None)
        empty = np.full((1, width), np.nan, np.float32)
        return self.task.values(np.concatenate([empty if values is None else values for values in outputs]))

    def _change(self, before: NDArray[np.float64], after: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, 1) whether the class or any label changed, or (N, K) by how much each number did."""
        lost = np.isnan(after).any(axis=1, keepdims=True)
        if isinstance(self.task, Regression):
            moved: NDArray[np.float64] = np.abs(after - before)
            return moved
        differs = self.task.decide(before) != self.task.decide(after)
        changed = differs.reshape(len(before), -1).any(axis=1, keepdims=True)
        return np.asarray(changed | lost, dtype=np.float64)


def _validation_errors(folder: Path, task: Task) -> dict[str, float]:
    """The run's own error on records it was not trained on, by target: mean absolute, or the share that is wrong."""
    try:
        sets = json.loads((folder / "run.json").read_text(encoding="utf-8"))["results"]["sets"]
    except (OSError, ValueError, KeyError, TypeError):
        sets = []
    found = [each for each in sets if each["name"] == VALID] or sets
    metrics = found[0]["metrics"] if found else {}

    def number(name: str) -> float:
        return math.nan if metrics.get(name) is None else float(metrics[name])

    if isinstance(task, Regression):
        if task.outputs == 1:
            return {task.columns[0]: number("mae")}
        return {name: number(f"mae[{name}]") for name in task.columns}
    return {task.columns[0]: 1 - number("accuracy" if isinstance(task, Classification) else "subset_accuracy")}


def model_words(
    name: str, augmenter: Augmenter, shifts: Sequence[Shift], proposed: Shift | None, narrow: str
) -> Iterator[str]:
    """How far predictions moved at every strength, and which one is proposed, or why none is.

    ``narrow`` says why the model knows little about augmented records, or is "".
    """
    for shift in shifts:
        parts = []
        for target, change in shift.changes.items():
            error = shift.errors[target]
            own = "unknown" if math.isnan(error) else f"{error:.3g}"
            parts.append(
                f"{target} changes by {change.value:.3g} ({change.low:.3g} to {change.high:.3g}; the model's own error "
                f"{own}, between sequences {shift.between[target]:.3g})"
            )
        yield f"{name} × {shift.magnitude:g}, {shift.moves:.3g} moves per copy: {'; '.join(parts)}"
    if any(math.isnan(error) for error in shifts[0].errors.values()):
        yield "the run has no held-out scores to compare with, so that no strength is proposed"
    elif not shifts[0].can_tell:
        yield (
            "the model tells these sequences apart by less than its own error: that it answers alike for copies means "
            "nothing, and no strength is proposed; train it better, or give measured variants"
        )
    elif narrow:
        yield (
            f"{narrow}: a model that was trained on their like has never seen what a move elsewhere does, and no "
            "strength is proposed; give measured variants"
        )
    elif proposed is None:
        yield "every strength that was tried moves predictions by more than the model's own error"
    else:
        yield (
            "largest strength tried that moves predictions by no more than the model's own error on held-out records: "
            f"{strength_words(augmenter, proposed.magnitude)}"
        )
    yield "a model knows only what it learned: prefer measured variants where there are any"


def _count_moves(packed: PackedLetters, augmented: PackedLetters, origin: NDArray[np.int64]) -> int:
    """Letters replaced or inserted, and those left out."""
    kept = origin >= 0
    replaced = (augmented.letters[kept] != packed.letters[origin[kept]]).sum()
    return int(replaced + (~kept).sum() + len(packed.letters) - len(np.unique(origin[kept])))


def _mean_estimate(values: NDArray[np.float64], seed: int) -> Estimate:
    low, high = bootstrap_interval(lambda drawn: float(np.nanmean(drawn)), (values,), seed=seed)
    return Estimate(value=float(np.nanmean(values)), low=low, high=high)
