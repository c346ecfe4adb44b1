"""What labels mean: label text → targets, outputs, head and loss; logits → predictions in the label's own units."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from seqtrain.errors import InputError
from seqtrain.io.cells import as_number
from seqtrain.losses import BinaryCrossEntropy, CrossEntropy, Loss, MeanSquaredError


@dataclass(frozen=True, kw_only=True)
class Regression:
    """One or several numbers per sequence, standardised inside and given back in their units."""

    columns: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    """Standard deviation on the training records."""

    trained_loss: Loss | None = None
    """None: the loss that is usual for such a task."""

    per_residue: ClassVar[bool] = False

    @property
    def outputs(self) -> int:
        return len(self.columns)

    @property
    def loss(self) -> Loss:
        return self.trained_loss or MeanSquaredError()

    def encode(self, labels: Sequence[Sequence[str]]) -> NDArray[np.float32]:
        """(N rows of K cells) -> (N, K) standardised; an empty cell is nan."""
        values = np.array([[float(cell) if cell else math.nan for cell in row] for row in labels], dtype=np.float64)
        standardised = (values.reshape(len(labels), len(self.columns)) - np.array(self.mean)) / np.array(self.scale)
        return np.asarray(standardised, np.float32)

    def values(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """(N, K) logits -> (N, K) in the units of the labels."""
        return self.in_units(_said(self, logits))

    def in_units(self, standardised: NDArray[np.floating]) -> NDArray[np.float64]:
        """(N, K) targets, as :meth:`encode` makes them -> (N, K) in the units of the labels."""
        return np.asarray(standardised.astype(np.float64) * np.array(self.scale) + np.array(self.mean))

    @property
    def header(self) -> list[str]:
        return ["prediction"] if len(self.columns) == 1 else [f"prediction_{column}" for column in self.columns]

    def rows(self, logits: NDArray[np.float32]) -> list[list[str | float]]:
        """Cells under :attr:`header`, for each of N sequences."""
        return [[float(value) for value in row] for row in self.values(logits)]

    @property
    def words(self) -> str:
        return f"regression of {', '.join(self.columns)}"


@dataclass(frozen=True, kw_only=True)
class Classification:
    """One of C classes per sequence."""

    columns: tuple[str, ...]
    classes: tuple[str, ...]

    trained_loss: Loss | None = None
    """None: the loss that is usual for such a task."""

    temperature: tuple[float, ...] = ()
    """What outputs are divided by before they become probabilities; (): as the network gives them."""
    threshold: tuple[float, ...] = ()
    """Of two classes, the probability from which on it is the second; (): the most probable class."""

    per_residue: ClassVar[bool] = False

    @property
    def outputs(self) -> int:
        return len(self.classes)

    @property
    def loss(self) -> Loss:
        return self.trained_loss or CrossEntropy()

    def encode(self, labels: Sequence[Sequence[str]]) -> NDArray[np.int64]:
        """(N rows of one cell) -> (N,) class indices."""
        return np.array([self.classes.index(row[0]) for row in labels], dtype=np.int64)

    def values(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """(N, C) logits -> (N, C) probabilities."""
        return _softmax(_said(self, logits))

    def decide(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        """(N, C) probabilities -> (N,) class indices."""
        return _decided(values, self.threshold)

    @property
    def header(self) -> list[str]:
        return ["prediction", *(f"probability_{name}" for name in self.classes)]

    def rows(self, logits: NDArray[np.float32]) -> list[list[str | float]]:
        """Cells under :attr:`header`: the class that is decided on, then the probability of each."""
        probabilities = self.values(logits)
        return [
            [self.classes[index], *(round(float(p), 6) for p in row)]
            for index, row in zip(self.decide(probabilities), probabilities, strict=True)
        ]

    @property
    def words(self) -> str:
        kind = "binary" if len(self.classes) == 2 else f"{len(self.classes)}-class"
        return f"{kind} classification of {self.columns[0]}"


@dataclass(frozen=True, kw_only=True)
class MultiLabel:
    """Any number of K labels per sequence."""

    columns: tuple[str, ...]
    classes: tuple[str, ...]
    separator: str

    trained_loss: Loss | None = None
    """None: the loss that is usual for such a task."""

    temperature: tuple[float, ...] = ()
    """What the outputs of each label are divided by before they become probabilities; (): as the network gives them."""
    threshold: tuple[float, ...] = ()
    """The probability from which on each label is predicted; (): 0.5."""

    per_residue: ClassVar[bool] = False

    @property
    def outputs(self) -> int:
        return len(self.classes)

    @property
    def loss(self) -> Loss:
        return self.trained_loss or BinaryCrossEntropy()

    def encode(self, labels: Sequence[Sequence[str]]) -> NDArray[np.float32]:
        """(N rows of one cell of joined labels) -> (N, K) of 0 and 1."""
        index = {name: i for i, name in enumerate(self.classes)}
        targets = np.zeros((len(labels), len(self.classes)), dtype=np.float32)
        for row, cells in enumerate(labels):
            for name in split_labels(cells[0], self.separator):
                targets[row, index[name]] = 1
        return targets

    def values(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """(N, K) logits -> (N, K) probabilities, each by itself."""
        # exp of more than 709 would be said to overflow.
        return 1 / (1 + np.exp(-np.maximum(_said(self, logits), -700)))

    def decide(self, values: NDArray[np.float64]) -> NDArray[np.bool_]:
        """(N, K) probabilities -> (N, K), the labels that are predicted."""
        return np.asarray(values >= np.array(self.threshold or 0.5))

    @property
    def header(self) -> list[str]:
        return ["prediction", *(f"probability_{name}" for name in self.classes)]

    def rows(self, logits: NDArray[np.float32]) -> list[list[str | float]]:
        """Cells under :attr:`header`: the labels that are decided on, joined as in the table, then each probability."""
        rows: list[list[str | float]] = []
        values = self.values(logits)
        for row, said in zip(values, self.decide(values), strict=True):
            chosen = self.separator.join(name for name, kept in zip(self.classes, said, strict=True) if kept)
            rows.append([chosen, *(round(float(p), 6) for p in row)])
        return rows

    @property
    def words(self) -> str:
        return f"multi-label classification of {self.columns[0]} ({len(self.classes)} labels)"


@dataclass(frozen=True, kw_only=True)
class ResidueClassification:
    """One of C one-letter classes per residue."""

    columns: tuple[str, ...]
    classes: tuple[str, ...]

    trained_loss: Loss | None = None
    """None: the loss that is usual for such a task."""

    temperature: tuple[float, ...] = ()
    """What outputs are divided by before they become probabilities; (): as the network gives them."""
    threshold: tuple[float, ...] = ()
    """Of two classes, the probability from which on it is the second; (): the most probable class."""

    per_residue: ClassVar[bool] = True

    @property
    def outputs(self) -> int:
        return len(self.classes)

    @property
    def loss(self) -> Loss:
        return self.trained_loss or CrossEntropy()

    def encode(self, labels: Sequence[Sequence[str]]) -> NDArray[np.int64]:
        """(N rows of one cell with a letter per residue) -> (total letters,) class indices, end to end."""
        characters = [ord(name) for name in self.classes]
        lookup = np.zeros(max(characters) + 1, dtype=np.int64)
        lookup[characters] = np.arange(len(characters))
        text = "".join(row[0] for row in labels)
        targets: NDArray[np.int64] = lookup[np.frombuffer(text.encode("utf-32-le"), dtype="<u4")]
        return targets

    def values(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """(L, C) logits -> (L, C) probabilities."""
        return _softmax(_said(self, logits))

    def decide(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        """(L, C) probabilities -> (L,) class indices."""
        return _decided(values, self.threshold)

    @property
    def header(self) -> list[str]:
        return ["prediction"]

    def rows(self, logits: NDArray[np.float32]) -> list[list[str | float]]:
        """One row for one sequence of (L, C) logits: a string with one class letter per residue."""
        return [["".join(self.classes[index] for index in self.decide(self.values(logits)))]]

    @property
    def words(self) -> str:
        return f"per-residue classification of {self.columns[0]} ({' '.join(self.classes)})"


Task = Regression | Classification | MultiLabel | ResidueClassification
TaskKind = Literal["regression", "classification", "multilabel", "residue"]
TASKS: dict[TaskKind, type[Task]] = {
    "regression": Regression,
    "classification": Classification,
    "multilabel": MultiLabel,
    "residue": ResidueClassification,
}


def kind_of(task: Task) -> TaskKind:
    """The name of a task's kind."""
    return next(name for name, cls in TASKS.items() if isinstance(task, cls))


READINGS = ("temperature", "threshold")
"""Fields that are chosen on validation records after the training, where they were asked for."""


def as_trained(task: Task) -> Task:
    """The task without what was chosen after the training: probabilities and decisions as the network gives them."""
    return task if isinstance(task, Regression) else replace(task, temperature=(), threshold=())


def read_by(task: Task, temperature: Sequence[float], threshold: Sequence[float]) -> Task:
    """The task with temperatures and thresholds, see :class:`Classification` and :class:`MultiLabel`.

    Raises:
        InputError: a number of them, or a value, that cannot be.
    """
    if isinstance(task, Regression):
        return task
    found = replace(task, temperature=tuple(map(float, temperature)), threshold=tuple(map(float, threshold)))
    check_readings(found)
    return found


def check_readings(task: Task) -> None:
    """Refuse temperatures and thresholds that cannot be.

    Raises:
        InputError: names which.
    """
    if isinstance(task, Regression):
        return
    count = task.outputs if isinstance(task, MultiLabel) else 1
    for name, values in (("temperature", task.temperature), ("threshold", task.threshold)):
        if values and (len(values) != count or not all(0 < value < math.inf for value in values)):
            raise InputError(f"{name} {values}: must be {count} positive number{'s' * (count > 1)}; restore the file")
    if task.threshold and not isinstance(task, MultiLabel) and task.outputs != 2:
        raise InputError(f"threshold {task.threshold}: needs two classes, and there are {task.outputs}")


def split_labels(cell: str, separator: str) -> list[str]:
    """The labels in a multi-label cell; an empty cell has none."""
    return [name.strip() for name in cell.split(separator) if name.strip()]


def is_number(cell: str) -> bool:
    """True for text that is a finite number."""
    value = as_number(cell)
    return value is not None and math.isfinite(value)


def logits_of(task: Task, outputs: NDArray[np.float32]) -> NDArray[np.float64]:
    """What the outputs (N, width) of a network say by the loss that it was trained with, before any temperature."""
    return _said(as_trained(task), outputs)


def _said(task: Task, outputs: NDArray[np.float32]) -> NDArray[np.float64]:
    """What the outputs of a network say, by the loss that it was trained with and its temperature: (N, K)."""
    wide = outputs.astype(np.float64)
    if task.trained_loss is not None:
        wide = np.asarray(task.trained_loss.value(torch.from_numpy(wide)).numpy())
    return wide / np.array(temperature) if (temperature := getattr(task, "temperature", ())) else wide


def _decided(probabilities: NDArray[np.float64], threshold: tuple[float, ...]) -> NDArray[np.int64]:
    """(N, C) -> (N,): the most probable class, or of two the second from a probability on."""
    if threshold:
        return (probabilities[:, 1] >= threshold[0]).astype(np.int64)
    return np.asarray(probabilities.argmax(axis=1), np.int64)


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))
