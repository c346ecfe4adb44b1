"""Which unlabelled records get the label that a model gives them, and how sure it is.

A threshold on the confidence (Lee 2013, ICML workshop on challenges in representation learning; Xie et al. 2020, CVPR,
arXiv:1911.04252) and the most confident K of each class (Yalniz et al. 2019, arXiv:1905.00546) or as many as a class
lacks to the largest one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqtrain.tasks import Classification, MultiLabel, Regression

KEPT, BELOW, BEYOND = "kept", "below the threshold", "beyond the most confident of its class"


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """What a model says of N records."""

    labels: list[list[str]]
    """N rows of label cells, as a table would hold them."""
    classes: NDArray[np.int64] | None
    """(N,) indices of classes, where each record has one."""
    confidence: NDArray[np.float64]
    """(N,) between 0 and 1."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What is asked of a pseudo-label."""

    threshold: float = 0.0
    """The least confidence; a record of none at all, which no label reaches, is never kept."""
    per_class: int | None = None
    """At most so many of each class, the most confident."""
    balance: bool = False
    """At most as many of each class as it lacks to the class with most labelled records."""

    def __call__(self, given: Labelled, class_sizes: NDArray[np.int64]) -> NDArray[np.str_]:
        """(N,) what becomes of each record: KEPT, BELOW or BEYOND. Of equal confidences the first comes first.

        Args:
            class_sizes: (C,) labelled training records of each class.
        """
        fates = np.where((given.confidence >= self.threshold) & (given.confidence > 0), KEPT, BELOW).astype(
            f"<U{len(BEYOND)}"
        )
        limits = self._limits(class_sizes)
        if limits is None or given.classes is None:
            return fates
        order = np.argsort(-given.confidence, kind="stable")
        for each, limit in enumerate(limits.tolist()):
            members = order[(given.classes[order] == each) & (fates[order] == KEPT)]
            fates[members[limit:]] = BEYOND
        return fates

    def _limits(self, class_sizes: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """(C,) the most of each class; None for no limit."""
        if self.per_class is not None:
            return np.full(len(class_sizes), self.per_class)
        return class_sizes.max() - class_sizes if self.balance else None


def of_classes(
    task: Classification,
    shares: NDArray[np.float64],
    confidence: NDArray[np.float64],
    classes: NDArray[np.int64] | None = None,
) -> Labelled:
    """The class of each record: those given (N,), or the ones with the largest shares (N, C)."""
    classes = shares.argmax(axis=1).astype(np.int64) if classes is None else classes
    labels = [[task.classes[index]] for index in classes.tolist()]
    return Labelled(labels=labels, classes=classes, confidence=confidence)


def of_outputs(
    task: Classification | MultiLabel | Regression, outputs: NDArray[np.float32], members: NDArray[Any] | None
) -> Labelled:
    """What logits (N, K) say, and how sure they are.

    Labels are those that are predicted, by the threshold of the task where it has one. For classes the confidence is
    the probability of the one that is predicted; for several labels that of what is said of the label that is least
    sure, p or 1 - p; for numbers 1 - (standard deviation between the members of an ensemble) / (standard deviation of
    the training labels), not below 0, the mean over several numbers.

    Args:
        members: (M, N, K) of the M members of an ensemble; numbers have no confidence without.
    """
    values = task.values(outputs)
    if isinstance(task, Classification):
        decided = task.decide(values)
        return of_classes(task, values, values[np.arange(len(values)), decided], decided)
    if isinstance(task, MultiLabel):
        said = task.decide(values)
        chosen = [[name for name, kept in zip(task.classes, row, strict=True) if kept] for row in said]
        labels = [[task.separator.join(names)] for names in chosen]
        return Labelled(labels=labels, classes=None, confidence=np.where(said, values, 1 - values).min(axis=1))
    assert members is not None, "the recipe refuses a single network"
    spread = np.stack([task.values(each) for each in members]).std(axis=0) / np.array(task.scale)
    confidence = np.clip(1 - spread, 0, 1).mean(axis=1)
    return Labelled(labels=[[repr(float(v)) for v in row] for row in values], classes=None, confidence=confidence)
