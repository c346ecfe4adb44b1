"""Whether the examples come shuffled: neither in the order of the file, nor class by class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from seqtrain.diagnosis.remarks import Remark, fine, shown, warning
from seqtrain.draws import GOLDEN, fold, mix

CHECK = "order"
_IN_FILE_ORDER = 0.3
"""Of the examples, beside their neighbour in the file; shuffled, two of all are."""
_LEAST = 8
_DEVIATIONS = 6.0
_PERMUTATIONS = 100


def order_of_examples(units: NDArray[np.int64], labels: NDArray[np.generic] | None = None, *, seed: int = 0) -> Remark:
    """Look whether neighbours in the stream of examples are neighbours in the file, or have more alike labels than by
    chance, as runs tests do (Wald & Wolfowitz 1940), here by permutations.

    Args:
        units: (n,) the examples of one epoch as they come, by their place in the file.
        labels: (N,) classes or numbers of the examples in the order of the file; None: they have none.
    """
    steps = np.abs(np.diff(units))
    beside = int((steps == 1).sum())
    if beside >= max(_LEAST, _IN_FILE_ORDER * len(units)):
        return warning(
            CHECK,
            f"{beside:,} of {len(units):,} examples come right beside their neighbour in the file: they are not "
            "shuffled",
            "shuffle them, as seqtrain does unless an order is asked for",
            beside / len(units),
        )
    said = f"{beside:,} of {len(units):,} examples come right beside their neighbour in the file"
    if labels is None or len(units) < _LEAST:
        return fine(CHECK, said, beside / max(len(units), 1))
    score = _deviations(np.asarray(labels)[units], seed)
    if score > _DEVIATIONS:
        return warning(
            CHECK,
            f"labels that follow each other are more alike than by chance, by {shown(score)} standard deviations: "
            "steps see one kind of record after the other",
            "shuffle the examples; with a curriculum, show it for a shorter part of the training",
            score,
        )
    return fine(CHECK, f"{said}, and their labels come as by chance ({score:+.1f} standard deviations)", score)


def permutations(count: int, number: int, seed: int) -> NDArray[np.int64]:
    """(number, count) keyed permutations of range(count): the order of as many hashes."""
    # Not by seqtrain.draws.permuted, which needs no table, and takes ten times as long for one.
    keys = np.array([fold(seed, "permutation", each) for each in range(number)], np.int64)
    return np.argsort(mix(np.arange(count) * GOLDEN + keys[:, None]), axis=1, kind="stable")


def _deviations(labels: NDArray[np.generic], seed: int) -> float:
    """How much more alike neighbours are than after permutations, in standard deviations of these."""
    alike = _equal if labels.dtype.kind in "iub" else _close
    chance = np.array([alike(labels[order]) for order in permutations(len(labels), _PERMUTATIONS, seed)])
    deviation = float(chance.std())
    return (alike(labels) - float(chance.mean())) / deviation if deviation > 0 else 0.0


def _equal(labels: NDArray[np.generic]) -> float:
    return float((labels[1:] == labels[:-1]).mean())


def _close(labels: NDArray[np.generic]) -> float:
    values = labels.astype(np.float64)
    return -float(np.nanmean(np.abs(np.diff(values))))
