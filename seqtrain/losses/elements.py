"""What every loss keeps to: a weighted sum over what has a target, and the weight of it all."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

IGNORED_CLASS = -100
LossKind = Literal["classes", "labels", "numbers", "several"]
"""What the targets are: one of C classes, any of K labels, K numbers, or several of these side by side."""


class LossFunction(ABC):
    """A pure function of outputs and targets, whose sum divided by its count is the mean over what has a target.

    Targets that are not to be scored (nan, or -100 for classes) add nothing to either. 16-bit outputs are computed in
    float32. The count is the weight of the targets alone, whatever a loss multiplies its terms by.
    """

    @property
    @abstractmethod
    def kind(self) -> LossKind:
        """What the targets are."""

    @property
    @abstractmethod
    def separable(self) -> bool:
        """True where the loss of a batch is the sum of the losses of its parts."""

    @abstractmethod
    def __call__(self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """outputs (N, K), targets (N, K) or of classes (N,), weights (N,) -> weighted sum (), sum of weights ()."""

    def width(self, num_targets: int) -> int:
        """Outputs that a network has to give for so many classes, labels or numbers."""
        return num_targets

    def value(self, outputs: Tensor) -> Tensor:
        """What the outputs say: K numbers, or logits whose softmax (of labels: sigmoid) are probabilities.

        outputs (N, width) -> (N, K)
        """
        return outputs


class ElementLoss(LossFunction):
    """A loss that is a sum over its elements: rows for classes, cells for labels and numbers."""

    separable: ClassVar[bool] = True

    @abstractmethod
    def elements(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """outputs as the network gave them, targets -> losses (N,) or (N, K), bool which of them have a target."""

    def __call__(self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """outputs (N, K), targets (N, K) or of classes (N,), weights (N,) -> weighted sum (), sum of weights ()."""
        losses, scored = self.elements(outputs, targets)
        each = element_weights(scored, weights, losses.dtype)
        return (losses * each).sum(), each.sum()


class ClassLoss(ElementLoss):
    """A loss of one class per row: (N,) int64 indices, or (N, C) probabilities, over which the loss is averaged."""

    kind: ClassVar[LossKind] = "classes"

    @abstractmethod
    def per_class(self, outputs: Tensor) -> Tensor:
        """outputs (N, C), float32 or wider -> (N, C) the loss that each class would have as the target."""

    def elements(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """outputs (N, C), targets (N,) with -100 ignored or (N, C) with nan ignored -> losses (N,), bool (N,)."""
        outputs, scored = scored_rows(outputs, targets)
        losses = self.per_class(outputs)
        if targets.ndim == 1:
            return losses.gather(1, targets.masked_fill(~scored, 0)[:, None]).squeeze(1), scored
        return (losses * class_probabilities(outputs, targets, scored)).sum(dim=1), scored


class LabelLoss(ElementLoss):
    """A loss of K labels per row, each a probability in [0, 1] and by itself."""

    kind: ClassVar[LossKind] = "labels"

    @abstractmethod
    def per_label(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """outputs (N, K), float32 or wider, targets (N, K) without nan -> losses (N, K)."""

    def elements(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """outputs (N, K), targets (N, K) in [0, 1] with nan ignored -> losses (N, K), bool (N, K)."""
        outputs, targets, scored = scored_cells(outputs, targets)
        return self.per_label(outputs, targets), scored


def widened(outputs: Tensor) -> Tensor:
    """16-bit outputs in float32, in which sums of many losses stay exact enough; wider ones as they are."""
    return outputs if outputs.dtype == torch.float64 else outputs.float()


def element_weights(scored: Tensor, weights: Tensor | None, dtype: torch.dtype) -> Tensor:
    """Weight of each element: that of its row (N,), and 0 where it is not scored. scored (N, …) -> (N, …)."""
    each = scored.to(dtype)
    return each if weights is None else each * weights.to(dtype).reshape(-1, *[1] * (scored.ndim - 1))


def scored_cells(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs and targets (N, K) with 0 where there is no target, and bool (N, K) where there is.

    Raises:
        ValueError: shapes that differ, which broadcasting would turn into a table of all pairs.
    """
    if outputs.shape != targets.shape:
        raise ValueError(f"outputs {tuple(outputs.shape)} for targets {tuple(targets.shape)}; they need the same shape")
    scored = ~targets.isnan()
    outputs = widened(outputs)
    return outputs.masked_fill(~scored, 0), targets.to(outputs.dtype).masked_fill(~scored, 0), scored


def scored_rows(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Outputs (N, C) with rows of 0 where there is no class, and bool (N,) where there is.

    Raises:
        ValueError: targets that are neither (N,) indices nor (N, C) probabilities.
    """
    if targets.shape not in (outputs.shape, outputs.shape[:1]):
        raise ValueError(
            f"outputs {tuple(outputs.shape)} for targets {tuple(targets.shape)}; "
            "give one class index or one probability per class for each row"
        )
    scored = targets != IGNORED_CLASS if targets.ndim == 1 else ~targets.isnan().any(dim=1)
    return widened(outputs).masked_fill(~scored[:, None], 0), scored


def class_probabilities(outputs: Tensor, targets: Tensor, scored: Tensor) -> Tensor:
    """Targets (N,) or (N, C) as probabilities (N, C) in the precision of the outputs, 0 in rows without a class."""
    if targets.ndim == 2:
        return targets.to(outputs.dtype).masked_fill(~scored[:, None], 0)
    hot = torch.zeros_like(outputs).scatter(1, targets.masked_fill(~scored, 0)[:, None], 1)
    return hot * scored[:, None]


def row_of(values: Sequence[float] | NDArray[np.float64], outputs: Tensor, what: str) -> Tensor:
    """One number per output (K,), on the device and in the precision of outputs (N, K).

    Raises:
        ValueError: there are more or fewer numbers than outputs.
    """
    if len(values) != outputs.shape[1]:
        raise ValueError(f"{len(values)} {what} for {outputs.shape[1]} outputs; give one each, in the order of classes")
    return torch.as_tensor(values, dtype=outputs.dtype, device=outputs.device)


def log_sum_others(logits: Tensor) -> Tensor:
    """log Σ exp over all classes but this one, exact also where this one outweighs them: (N, C) -> (N, C)."""
    total = logits.logsumexp(dim=1, keepdim=True)
    top = torch.zeros_like(logits, dtype=torch.bool).scatter(1, logits.argmax(dim=1, keepdim=True), True)
    # The largest class has no share that could be subtracted without losing the digits of the rest.
    shares = (logits - total).masked_fill(top, -1).exp()
    beside_top = logits.masked_fill(top, -torch.inf).logsumexp(dim=1, keepdim=True)
    return torch.where(top, beside_top, total + torch.log1p(-shares))


def softplus(values: Tensor) -> Tensor:
    """log(1 + exp(x)) without the cut that torch's own makes at x = 20; any shape."""
    return -torch.nn.functional.logsigmoid(-values)


def check_at_least(name: str, value: float, least: float) -> None:
    """Raises: ValueError for a number below the least, infinity, or nan."""
    if not least <= value < math.inf:
        raise ValueError(f"{name}={value:g} is not a number of at least {least:g}")


def check_above(name: str, value: float, bound: float) -> None:
    """Raises: ValueError for a number that is not above the bound, infinity, or nan."""
    if not bound < value < math.inf:
        raise ValueError(f"{name}={value:g} is not a number above {bound:g}")


def check_share(name: str, value: float) -> None:
    """Raises: ValueError for a number outside 0 ≤ value < 1."""
    if not 0 <= value < 1:
        raise ValueError(f"{name}={value:g} is not a number from 0 to below 1")


def check_weights(name: str, values: tuple[float, ...] | None) -> None:
    """Raises: ValueError naming the first weight that is negative, infinite or nan."""
    for index, value in enumerate(values or ()):
        if not 0 <= value < float("inf"):
            raise ValueError(f"{name}: weight {value:g} of class {index} (counting from 0) is not a number ≥ 0")
