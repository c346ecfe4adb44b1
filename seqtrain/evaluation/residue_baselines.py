"""Simple models of one target per residue, which see the letters around it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from seqtrain.evaluation.baselines import Baseline, Which, cap_in_words, fit_classes, subsample
from seqtrain.evaluation.chance import CONSTANTS, constant_guess, random_guesses
from seqtrain.evaluation.features import Letters, Packed, window_codes, windows
from seqtrain.evaluation.linear import Model, fit_ridge
from seqtrain.evaluation.trees import fit_boosting, rounds_of_boosting

Array = NDArray[Any]
ResidueKind = Literal["regression", "classification"]
MAX_POSITIONS = 100_000
MAX_TREE_POSITIONS = 50_000
WINDOW_REACH = 7
"""Residues on either side of the one that is predicted."""


def residue_baselines(
    train_sequences: Sequence[str],
    train_targets: Sequence[Array],
    test_sequences: Sequence[str],
    *,
    kind: ResidueKind,
    num_classes: int | None = None,
    which: Which = "all",
    seed: int,
) -> list[Baseline]:
    """Baselines for one target per residue.

    Args:
        train_sequences: N training sequences.
        train_targets: For each its (L,) class indices, or numbers; negative or nan is not learnt from.
        test_sequences: M sequences to predict.
        kind: What the targets are.
        num_classes: K of a classification; None: the highest class in training + 1.
        which: linear leaves out trees.
        seed: Key of the draws.

    Returns:
        The majority class or the mean, two that are drawn, then a linear model of the one-hot letters within 7
        residues, learnt from at most 100,000 of them, and gradient boosting on these letters, from at most 50,000.
        Predictions cover all T residues of the test sequences, end to end.
    """
    if which == "none":
        return []
    letters = Letters.of(train_sequences)
    train, test = letters.pack(train_sequences), letters.pack(test_sequences)
    targets = np.concatenate([np.zeros(0, np.int64), *(np.asarray(target) for target in train_targets)])
    known = np.flatnonzero(targets >= 0 if kind == "classification" else ~np.isnan(targets))
    constant, targets = constant_guess(targets[known], kind == "classification", num_classes)
    found: dict[str, Array] = {CONSTANTS[kind]: np.repeat(constant[None], len(test.codes), axis=0)}
    found |= random_guesses(targets, constant, len(test.codes), kind, seed)
    if len(targets) > 1 and np.ptp(targets):
        rows = subsample(len(known), MAX_POSITIONS, seed)
        features = windows(train, letters, known[rows], WINDOW_REACH)
        if kind == "regression":
            words, model = "ridge regression", fit_ridge(features, targets[rows].reshape(len(rows), -1), seed)
        else:
            words, model = fit_classes(features, targets[rows], len(constant), 1.0, seed)
        name = f"window of ±{WINDOW_REACH} {words}{cap_in_words(len(rows), len(known), 'training residues')}"
        found[name] = _predicted(test, lambda some: model(windows(test, letters, some, WINDOW_REACH)))
        if which == "all":
            found |= _boosted(train, test, letters, known, targets, kind, len(constant), seed)
    return [
        Baseline(name=name, predictions=predictions[:, 0] if kind == "regression" else predictions)
        for name, predictions in found.items()
    ]


def _boosted(
    train: Packed,
    test: Packed,
    letters: Letters,
    known: Array,
    targets: Array,
    kind: ResidueKind,
    width: int,
    seed: int,
) -> dict[str, Array]:
    """Boosting on the letters of windows as categories; nothing where it cannot be afforded."""
    rows = subsample(len(known), MAX_TREE_POSITIONS, seed)
    rounds = rounds_of_boosting(len(rows), 2 * WINDOW_REACH + 1, width)
    if not rounds:
        return {}
    features = window_codes(train, letters, known[rows], WINDOW_REACH)
    aims = targets[rows] if kind == "classification" else targets[rows].reshape(len(rows), -1)
    model = fit_boosting(features, aims, kind, width, rounds, seed, categories=True)
    name = f"window of ±{WINDOW_REACH} gradient boosting{cap_in_words(len(rows), len(known), 'training residues')}"
    return {name: _predicted(test, lambda some: model(window_codes(test, letters, some, WINDOW_REACH)))}


def _predicted(test: Packed, model: Model) -> NDArray[np.float64]:
    """(T, K) what a model says of all positions of the test sequences, some at a time."""
    positions = np.array_split(np.arange(len(test.codes)), len(test.codes) // MAX_POSITIONS + 1)
    return np.concatenate([model(some) for some in positions])
