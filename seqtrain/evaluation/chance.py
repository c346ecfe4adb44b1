"""Predictions that look at no sequence: the constant one, and two that are drawn."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from seqtrain.draws import fold, mix

Array = NDArray[Any]
Kind = Literal["regression", "multi_regression", "classification", "multilabel"]
CONSTANTS: dict[Kind, str] = {
    "regression": "training mean",
    "multi_regression": "training mean",
    "classification": "majority class",
    "multilabel": "label frequencies",
}
UNIFORM = "uniform random"
FREQUENT = "class-frequency random"
DEALT = "random training label"
CHANCE = frozenset({*CONSTANTS.values(), UNIFORM, FREQUENT, DEALT})
"""Names of all of them: what is no better than these has learnt nothing."""
_UNIT = 2.0**-62


def constant_guess(targets: Array, classes: bool, num_classes: int | None) -> tuple[NDArray[np.float64], Array]:
    """(K,) what is predicted without looking at a sequence, and the targets without nan."""
    if classes:
        targets = targets.astype(np.int64)
        width = num_classes or int(targets.max(initial=0)) + 1
        return np.bincount(targets, minlength=width) / max(len(targets), 1), targets
    columns = targets.astype(np.float64).reshape(len(targets), -1)
    known = ~np.isnan(columns)
    means = np.where(known, columns, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return means, np.where(known, columns, means)


def random_guesses(
    targets: Array, constant: Array, num_rows: int, kind: Kind, seed: int
) -> dict[str, NDArray[np.float64]]:
    """What keyed draws predict for M rows, by name.

    Args:
        targets: (N,) training classes, or (N, K) numbers or labels, without nan.
        constant: (K,) frequencies of the classes or labels, or means.
        num_rows: M.

    Returns:
        (M, K) numbers: one drawn evenly between the least and the largest of training, and the label of a training
        record drawn for each row. Or (M, K) probabilities: halfway between what was drawn, evenly or by the
        frequencies of training, and the probabilities it was drawn with; so what was drawn is what is predicted.
    """
    if kind in ("regression", "multi_regression"):
        columns = targets.reshape(len(targets), -1)
        low, high = (columns.min(axis=0), columns.max(axis=0)) if len(columns) else (constant, constant)
        even = low + (high - low) * _uniform(num_rows, len(constant), seed, UNIFORM)
        picked = (_uniform(num_rows, 1, seed, DEALT)[:, 0] * len(columns)).astype(np.int64)
        dealt = columns[picked] if len(columns) else np.repeat(constant[None], num_rows, axis=0)
        return {UNIFORM: even, DEALT: dealt.astype(np.float64)}
    width = len(constant)
    even = np.full(width, 1 / width if kind == "classification" else 0.5)
    drawn_by = {UNIFORM: even, FREQUENT: constant}
    return {name: _drawn(each, num_rows, kind, seed, name) for name, each in drawn_by.items()}


def _drawn(probabilities: Array, num_rows: int, kind: Kind, seed: int, purpose: str) -> NDArray[np.float64]:
    width = len(probabilities)
    if kind == "multilabel":
        drawn = (_uniform(num_rows, width, seed, purpose) < probabilities).astype(np.float64)
    else:
        edges = np.cumsum(probabilities) / max(float(probabilities.sum()), 1e-300)
        places = np.searchsorted(edges, _uniform(num_rows, 1, seed, purpose)[:, 0], side="right")
        drawn = np.eye(width)[np.minimum(places, width - 1)]
    return np.asarray((drawn + probabilities) / 2)


def _uniform(num_rows: int, width: int, seed: int, purpose: str) -> NDArray[np.float64]:
    """(M, K) keyed numbers from 0 up to but not 1."""
    bits = mix(np.arange(num_rows * width, dtype=np.int64) + fold(seed, purpose))
    return np.asarray(((bits >> 2) & 0x3FFFFFFFFFFFFFFF) * _UNIT).reshape(num_rows, width).clip(0, 1 - 1e-12)
