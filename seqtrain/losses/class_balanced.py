"""Losses whose terms weigh more the fewer training records their class has."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torch.nn.functional import logsigmoid

from seqtrain.imbalance import effective_number_weights, inverse_frequency
from seqtrain.losses.class_counts import (
    check_counts,
    known_counts,
)
from seqtrain.losses.elements import ClassLoss, LabelLoss, check_at_least, check_share, row_of
from seqtrain.losses.focal import binary_focal_terms


@dataclass(frozen=True)
class InverseFrequency(ClassLoss):
    """When every class should count alike: -w_y log p_y with w_c ∝ n_c^-power, of mean 1 over the training records.

    Power 1 is scikit-learn's "balanced" weights, 0.5 the square root, which is gentler with very rare classes.
    """

    power: float = 1.0
    class_counts: tuple[float, ...] | None = None
    """(C,) training records of each class."""

    def __post_init__(self) -> None:
        check_at_least("power", self.power, 0)
        check_counts(self.class_counts)

    def per_class(self, outputs: Tensor) -> Tensor:
        """outputs (N, C) -> losses (N, C)."""
        weights = inverse_frequency(known_counts(self.class_counts, "inverse-frequency"), self.power)
        return -outputs.log_softmax(dim=1) * row_of(weights, outputs, "class_counts")


@dataclass(frozen=True)
class ClassBalanced(ClassLoss):
    """When classes are long-tailed and their records overlap: w_y L with w_c ∝ (1 - β) / (1 - β^n_c), of mean 1 over C.

    Cui et al. 2019, arXiv:1901.05555. (1 - β^n) / (1 - β) is the effective number of n records out of 1 / (1 - β)
    distinct ones. L is softmax cross-entropy, or the sum over classes of sigmoid cross-entropies or focal losses.

    Sigmoids are those of the outputs less ln(C - 1), so that outputs of 0 mean a chance of 1 / C for each class, where
    the paper lets biases start: else training begins by lowering all of them.
    """

    beta: float = 0.999
    """0: all classes alike; towards 1: by inverse frequency. The paper tries 0.9, 0.99, 0.999 and 0.9999."""
    form: Literal["softmax", "sigmoid", "focal"] = "softmax"
    gamma: float = 2.0
    """Of the focal form."""
    class_counts: tuple[float, ...] | None = None
    """(C,) training records of each class."""

    def __post_init__(self) -> None:
        check_share("beta", self.beta)
        check_at_least("gamma", self.gamma, 0)
        check_counts(self.class_counts)

    def per_class(self, outputs: Tensor) -> Tensor:
        """outputs (N, C) -> losses (N, C)."""
        weights = effective_number_weights(known_counts(self.class_counts, "class-balanced"), self.beta)
        if self.form == "softmax":
            losses = -outputs.log_softmax(dim=1)
        else:
            on, off = binary_focal_terms(_less_prior(outputs), self.gamma if self.form == "focal" else 0.0)
            losses = on - off + off.sum(dim=1, keepdim=True)
        return losses * row_of(weights, outputs, "class_counts")

    def value(self, outputs: Tensor) -> Tensor:
        """outputs (N, C) -> logits (N, C); of sigmoids those whose softmax are the sigmoids, scaled to sum to 1."""
        return outputs if self.form == "softmax" else logsigmoid(_less_prior(outputs))


def _less_prior(outputs: Tensor) -> Tensor:
    return outputs - math.log(max(outputs.shape[1] - 1, 1))


@dataclass(frozen=True)
class BinaryClassBalanced(LabelLoss):
    """For labels of very different frequency: w_k times the sigmoid cross-entropy or focal loss of label k.

    Weights as in :class:`ClassBalanced`, by the number of training records that have the label, for records with and
    without it.
    """

    beta: float = 0.999
    form: Literal["sigmoid", "focal"] = "sigmoid"
    gamma: float = 2.0
    """Of the focal form."""
    class_counts: tuple[float, ...] | None = None
    """(K,) training records that have each label."""

    def __post_init__(self) -> None:
        check_share("beta", self.beta)
        check_at_least("gamma", self.gamma, 0)
        check_counts(self.class_counts)

    def per_label(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """outputs (N, K), targets (N, K) -> losses (N, K)."""
        weights = effective_number_weights(known_counts(self.class_counts, "binary-class-balanced"), self.beta)
        on, off = binary_focal_terms(outputs, self.gamma if self.form == "focal" else 0.0)
        return (targets * on + (1 - targets) * off) * row_of(weights, outputs, "class_counts")
