"""Classes of unequal size: what they are, and what each method would do to them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from seqtrain.orders import Resampled, shares_by_size
from seqtrain.resampling import Smote, grown, thinned

POWERS = {"natural": 1.0, "square-root": 0.5, "balanced": 0.0}
"""Ways of sampling, as powers of the class sizes."""

_LONG_TAILED = 20
_TO_TRY = {
    "sequences": "--sampling balanced, --loss logit-adjusted or, of few classes, --loss class-balanced:form=focal",
    "labels": "--loss binary-class-balanced or --loss asymmetric",
    "residues": "--loss logit-adjusted or, of few classes, --loss class-balanced:form=focal",
}
"""For sequences what did best in docs/results.md; else what is made for it."""


def class_counts(targets: NDArray[np.int64], num_classes: int) -> NDArray[np.int64]:
    """(N,) class indices, -100 where there is none -> (C,) counts."""
    return np.bincount(targets[targets >= 0], minlength=num_classes)


Counts = NDArray[np.int64] | NDArray[np.float64]


def inverse_frequency(counts: Counts, power: float = 1.0) -> NDArray[np.float64]:
    """(C,) weights n_c^-power, scaled to a mean of 1 over the examples; 0 for a class without members.

    With power 1 scikit-learn's "balanced", N / (C n_c): all classes weigh alike.
    """
    present = counts > 0
    weights = np.zeros(len(counts))
    weights[present] = counts[present].astype(np.float64) ** -power
    scaled: NDArray[np.float64] = weights * (counts.sum() / (counts @ weights))
    return scaled


def effective_number_weights(counts: Counts, beta: float) -> NDArray[np.float64]:
    """(C,) weights (1 - β) / (1 - β^n_c), scaled to a mean of 1 over the classes that have members (Cui et al. 2019,
    arXiv:1901.05555, eq. 9): near inverse frequency for β near 1, all alike for β = 0; 0 for a class without members.
    """
    if not 0 <= beta < 1:
        raise ValueError(f"beta must be at least 0 and less than 1, not {beta}")
    present = counts > 0
    weights = np.zeros(len(counts))
    # expm1: 1 - β^n loses its digits where β is close to 1 and n is small.
    weights[present] = -1 / np.expm1(counts[present] * math.log(beta)) if beta else 1.0
    scaled: NDArray[np.float64] = weights * present.sum() / weights.sum()
    return scaled


def ldam_margins(counts: Counts, largest: float = 0.5) -> NDArray[np.float64]:
    """(C,) margins in proportion to n_c^-1/4, the largest of them given (Cao et al. 2019, arXiv:1906.07413); 0 for a
    class without members.
    """
    present = counts > 0
    margins = np.zeros(len(counts))
    margins[present] = largest * (counts[present].min() / counts[present]) ** 0.25
    return margins


def log_priors(counts: Counts) -> NDArray[np.float64]:
    """(C,) ln of each class's share, which logit adjustment adds to the logits in training (Menon et al. 2021,
    arXiv:2007.07314); minus infinity for a class without members.
    """
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(counts / counts.sum()))


def sampled(
    targets: NDArray[np.int64], sampling: str, seed: int, record_shares: NDArray[np.float64] | None = None
) -> Resampled:
    """An order of examples whose classes have the shares of an epoch that a way of sampling asks for.

    Parameters:
        targets: (N,) class of each example.
        record_shares: (N,) part of its record that each example is, and its weight in the loss; None: all are whole.
            Classes are as large as their records, and their shares are shares of these weights.

    Raises:
        ValueError: no way of sampling is called so.
    """
    if sampling not in POWERS:
        raise ValueError(f"no sampling is called {sampling!r}; choose from {', '.join(POWERS)}")
    classes, groups = np.unique(targets, return_inverse=True)
    examples = np.bincount(groups, minlength=len(classes))
    records = examples if record_shares is None else np.bincount(groups, record_shares)
    shares = shares_by_size(records, POWERS[sampling]) * examples / records
    return Resampled(groups.astype(np.int64), shares, seed)


@dataclass(frozen=True)
class ClassTable:
    """The classes of a training set."""

    names: tuple[str, ...]
    counts: NDArray[np.int64]
    """(C,) training examples of each class, at least one in all."""
    of: Literal["sequences", "labels", "residues"] = "sequences"
    """What has a class: each sequence one, each sequence any number, or each residue one."""

    @property
    def ratio(self) -> float:
        """Members of the largest class for each member of the smallest one that has any."""
        return float(self.counts.max() / self.counts[self.counts > 0].min())

    def columns(self, beta: float = 0.999) -> dict[str, NDArray[np.float64]]:
        """(C,) each: what every method does to every class, under the heading that shows it."""
        counts = self.counts
        columns = {
            "share": counts / counts.sum(),
            "weight: inverse frequency": inverse_frequency(counts),
            f"weight: effective number, beta {beta:g}": effective_number_weights(counts, beta),
            "margin: ldam": ldam_margins(counts),
            "logit adjustment": log_priors(counts),
        }
        present = counts > 0
        for name, power in POWERS.items() if self.of == "sequences" else ():
            shares = np.zeros(len(counts))
            shares[present] = shares_by_size(counts[present], power)
            if name != "natural":
                columns[f"times per epoch: {name} sampling"] = np.divide(
                    shares * counts.sum(), counts, out=np.zeros(len(counts)), where=present
                )
        if self.of == "sequences":
            after = np.where(self._too_small_for_smote(), np.nan, grown(counts, 1.0))
            columns["after smote"] = after.astype(np.float64)
            columns["after cluster-centroids"] = thinned(counts, 1.0).astype(np.float64)
        return columns

    def _too_small_for_smote(self) -> NDArray[np.bool_]:
        """(C,) classes that would grow and have too few members to have their neighbours among."""
        few: NDArray[np.bool_] = (self.counts > 0) & (self.counts <= Smote().neighbours)
        return few & (grown(self.counts, 1.0) > self.counts)

    def advice(self) -> list[str]:
        """Sentences on what these classes need; rules of thumb, to be checked by the score."""
        lines = [f"{self.counts.max():,} in the largest class, {self.ratio:.3g} times the smallest"]
        rare = [name for name, count in zip(self.names, self.counts.tolist(), strict=True) if 0 < count < 5]
        absent = [name for name, count in zip(self.names, self.counts.tolist(), strict=True) if count == 0]
        if absent:
            lines.append(f"no training example of {_some(absent)}: no method can learn these; they count as missed")
        if rare:
            lines.append(
                f"fewer than 5 training examples of {_some(rare)}: weights and sampling repeat the same few; "
                "augmentation or merging classes helps more, and their scores have wide intervals"
            )
        lines += self._resampling_advice() if self.of == "sequences" and self.ratio >= 3 else []
        if self.ratio < 3:
            lines.append("nearly balanced: the plain loss is usually best")
            return lines
        words = "try" if self.ratio < _LONG_TAILED else "long-tailed: try"
        lines.append(f"{words} {_TO_TRY[self.of]}, and look at the macro-F1 beside accuracy")
        if absent:
            lines.append("losses that go by the sizes of classes need a record of each: drop the absent classes first")
        return lines

    def _resampling_advice(self) -> list[str]:
        few = self._too_small_for_smote()
        names = [name for name, small in zip(self.names, few.tolist(), strict=True) if small]
        smallest = int(self.counts[few].min()) if names else 0
        limit = ""
        if names:
            least = "drop or merge these first" if smallest == 1 else f"take smote:neighbours={smallest - 1}"
            limit = f"; smote by {Smote().neighbours} neighbours cannot grow {_some(names)}: {least}"
        return [
            "with a pretrained body, --resample makes classes more alike among hidden states: smote, interpolation or "
            f"extrapolation for a head on --freeze body, tomek-links or cluster-centroids for the whole network{limit}"
        ]


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
