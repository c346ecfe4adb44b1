"""Whether labels depend on the sequences at all: a cheap model, cross-validated, beside it on permuted labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqtrain.diagnosis.order import permutations
from seqtrain.diagnosis.remarks import Remark, fine, note
from seqtrain.draws import fold, permuted
from seqtrain.evaluation.features import (
    Letters,
    count_words,
    inverse_document_frequency,
    one_hot,
    tf_idf,
    windows,
)

CHECK = "labels"
MOST_RECORDS = 600
FEW_DEVIATIONS = 2.6
"""Fewer above chance are taken for chance: 1 in 200 sets of labels that depend on nothing exceeds them."""
_FOLDS = 5
_PERMUTATIONS = 200
_STRENGTH = 0.1
"""Of the ridge, times the mean of the kernel's diagonal."""
_LENGTH_DIFFERENCE = 0.2
_REACH = 3


def labels_of_sequences(sequences: Sequence[str], targets: NDArray[np.floating], *, seed: int = 0) -> Remark:
    """Judge whether the labels of sequences can be told from these better than permuted labels can.

    The model is a ridge on k-mers, on positions where all lengths are alike, and on the length. It can miss what only a
    network sees, so that by itself a score within chance is no more than a note.

    Args:
        sequences: N; some of many are enough.
        targets: (N, K) numbers, labels or indicators of classes, without nan.
    """
    deviations = above_chance(_kernel(sequences), targets, seed=seed)
    return _judged(deviations, f"k-mers of {len(sequences):,} training records")


def labels_of_residues(
    sequences: Sequence[str], targets: NDArray[np.floating], positions: NDArray[np.int64], *, seed: int = 0
) -> Remark:
    """The same for labels of residues, told from the letters within three of each.

    Args:
        sequences: N.
        targets: (n, K) of the residues at ``positions``.
        positions: (n,) in all sequences laid end to end.
    """
    letters = Letters.of(sequences)
    features = windows(letters.pack(sequences), letters, positions, _REACH)
    deviations = above_chance(_dense(features @ features.T), targets, seed=seed)
    return _judged(deviations, f"the neighbourhood of {len(positions):,} training residues")


def above_chance(kernel: NDArray[np.float64], targets: NDArray[np.floating], *, seed: int = 0) -> float:
    """How much better a kernel ridge predicts held-out targets than permuted ones, in standard deviations of these.

    The prediction of each fold is a fixed matrix times the targets, so that a permutation costs two products.

    Args:
        kernel: (N, N) products of features.
        targets: (N, K).
    """
    count = len(kernel)
    scale = targets.std(axis=0)
    aims = ((targets - targets.mean(axis=0)) / np.where(scale > 0, scale, 1)).astype(np.float64)
    folds = permuted(np.arange(count), count, fold(seed, "folds")) % min(_FOLDS, count)
    matrix = np.zeros((count, count))
    ridge = _STRENGTH * float(np.trace(kernel)) / count
    for number in np.unique(folds):
        out, kept = folds == number, folds != number
        inner = kernel[np.ix_(kept, kept)] + ridge * np.eye(int(kept.sum()))
        matrix[np.ix_(out, kept)] = np.linalg.solve(inner, kernel[np.ix_(kept, out)]).T

    def agreement(rows: NDArray[np.float64]) -> float:
        return float((matrix @ rows * rows).sum())

    chance = np.array([agreement(aims[order]) for order in permutations(count, _PERMUTATIONS, seed)])
    deviation = float(chance.std())
    return (agreement(aims) - float(chance.mean())) / deviation if deviation > 0 else 0.0


def _judged(deviations: float, what: str) -> Remark:
    said = f"a simple model of {what} predicts labels {deviations:+.1f} standard deviations above chance"
    if deviations >= FEW_DEVIATIONS:
        return fine(CHECK, said, deviations)
    return note(
        CHECK,
        f"{said}: they may not depend on the sequences",
        "if the network does no better, look whether labels and sequences belong to the same rows",
        deviations,
    )


def _kernel(sequences: Sequence[str]) -> NDArray[np.float64]:
    """(N, N): k-mers, positions where lengths are alike, and lengths, each with a mean diagonal of 1."""
    letters = Letters.of(sequences)
    packed = letters.pack(sequences)
    counts = count_words(packed, letters)
    words = tf_idf(counts, inverse_document_frequency(counts)).astype(np.float64)
    parts = [_centred(words @ words.T)]
    lengths = packed.lengths.astype(np.float64)
    if lengths.max() - lengths.min() <= _LENGTH_DIFFERENCE * lengths.max():
        features = one_hot(packed, letters, int(lengths.max()))
        parts.append(_centred(_dense(features @ features.T)))
    logs = np.log(np.maximum(lengths, 1))
    if np.ptp(logs):
        parts.append(_centred(np.outer(logs - logs.mean(), logs - logs.mean())))
    total: NDArray[np.float64] = np.sum([part / max(np.trace(part) / len(part), 1e-12) for part in parts], axis=0)
    return total


def _centred(kernel: NDArray[np.float64]) -> NDArray[np.float64]:
    means = kernel.mean(axis=0)
    centred: NDArray[np.float64] = kernel - means - means[:, None] + means.mean()
    return centred


def _dense(matrix: Any) -> NDArray[np.float64]:
    return np.asarray(matrix.toarray() if hasattr(matrix, "toarray") else matrix, np.float64)
