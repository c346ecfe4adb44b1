"""What a score is worth: the predictions of simple models on the same split, in seconds on one core.

A sequence is seen as its counts of short words of letters (k-mers, weighted by TF-IDF) and, where all sequences have
about one length, as one column per position and letter. Either goes into a linear model. Training rows are capped so
that a fit takes seconds; a cap that was reached is part of the baseline's name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from seqtrain.draws import fold, permuted
from seqtrain.evaluation.features import Letters, count_words, inverse_document_frequency, one_hot, tf_idf, windows
from seqtrain.evaluation.linear import Model, fit_least_squares_classes, fit_logistic, fit_ridge

Array = NDArray[Any]
Kind = Literal["regression", "multi_regression", "classification", "multilabel"]
ResidueKind = Literal["regression", "classification"]
MAX_POSITIONS = 100_000
WINDOW_REACH = 7
"""Residues on either side of the one that is predicted."""
MAX_LOGISTIC_CLASSES = 20
"""With more classes, least squares on class indicators replaces logistic regression."""
_MAX_OPERATIONS = 100_000_000
"""Cap on training rows × stored features per row × outputs of an iterative fit: about 10 seconds of one core."""
_MAX_ROWS = 50_000
_MIN_ROWS = 1_000
_MAX_LENGTH_DIFFERENCE = 0.2
_MAX_ONE_HOT_LENGTH = 1_000
_CHUNK = 10_000
_CONSTANTS = {
    "regression": "training mean",
    "multi_regression": "training mean",
    "classification": "majority class",
    "multilabel": "label frequencies",
}


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """What a simple model predicts for the test records."""

    name: str
    """In words, for a report."""
    predictions: NDArray[np.float64]
    """(M,) numbers, or (M, K) numbers, probabilities of classes or probabilities of labels, by kind."""


def sequence_baselines(
    train_sequences: Sequence[str],
    train_targets: Array,
    test_sequences: Sequence[str],
    *,
    kind: Kind,
    num_classes: int | None = None,
    seed: int,
) -> list[Baseline]:
    """Baselines for one target per sequence; at most about 20 seconds for 20,000 proteins of 300 residues.

    Args:
        train_sequences: N training sequences.
        train_targets: (N,) numbers, (N, K) numbers, (N,) class indices, or (N, K) labels 0 or 1, by kind. Records
            without any target (nan, or a negative class) are left out; a single nan counts as its column's mean.
        test_sequences: M sequences to predict.
        kind: What the targets are.
        num_classes: K of a classification; None: the highest class in training + 1.
        seed: Key of the draws.

    Returns:
        The majority class or the mean; k-mers; one-hot, where all lengths are within 20 % and so few outputs that 1,000
        training records can be afforded. Only the first where the training targets do not vary.
    """
    targets = np.asarray(train_targets)
    known = np.flatnonzero(targets >= 0 if kind == "classification" else ~np.isnan(_columns(targets)).all(axis=1))
    sequences, targets = [train_sequences[i] for i in known.tolist()], targets[known]
    constant, targets = _constant(targets, kind == "classification", num_classes)
    outputs = len(constant)

    def baseline(name: str, predictions: Array) -> Baseline:
        if kind == "multilabel":
            predictions = np.clip(predictions, 0, 1)
        return Baseline(name=name, predictions=predictions[:, 0] if kind == "regression" else predictions)

    baselines = [baseline(_CONSTANTS[kind], np.repeat(constant[None], len(test_sequences), axis=0))]
    if len(targets) < 2 or not np.ptp(targets, axis=0).any():
        return baselines
    for view in _views(sequences, test_sequences):
        cap = view.max_rows(outputs, kind)
        if cap < min(_MIN_ROWS, len(sequences)):
            continue
        rows = _subsample(len(sequences), cap, seed)
        transform = view.prepare([sequences[i] for i in rows])
        features = transform([sequences[i] for i in rows])
        if kind == "classification":
            words, model = _fit_classes(features, targets[rows], outputs, view.inverse_strength, seed)
        else:
            words, model = "ridge regression", fit_ridge(features, _columns(targets[rows]), seed)
        chunks = [test_sequences[start : start + _CHUNK] for start in range(0, len(test_sequences), _CHUNK)]
        predictions = [model(transform(chunk)) for chunk in chunks] or [np.zeros((0, outputs))]
        name = f"{view.name} {words}{_cap_in_words(len(rows), len(sequences), 'training records')}"
        baselines.append(baseline(name, np.concatenate(predictions)))
    return baselines


def residue_baselines(
    train_sequences: Sequence[str],
    train_targets: Sequence[Array],
    test_sequences: Sequence[str],
    *,
    kind: ResidueKind,
    num_classes: int | None = None,
    seed: int,
) -> list[Baseline]:
    """Baselines for one target per residue.

    Args:
        train_sequences: N training sequences.
        train_targets: For each its (L,) class indices, or numbers; negative or nan is not learnt from.
        test_sequences: M sequences to predict.
        kind: What the targets are.
        num_classes: K of a classification; None: the highest class in training + 1.
        seed: Key of the draws.

    Returns:
        The majority class or the mean, then a linear model of the one-hot letters within 7 residues, learnt from at
        most 100,000 of them. Predictions cover all T residues of the test sequences, end to end.
    """
    letters = Letters.of(train_sequences)
    train, test = letters.pack(train_sequences), letters.pack(test_sequences)
    targets = np.concatenate([np.asarray(target) for target in train_targets])
    known = np.flatnonzero(targets >= 0 if kind == "classification" else ~np.isnan(targets))
    constant, targets = _constant(targets[known], kind == "classification", num_classes)
    flat = kind == "regression"
    same = np.repeat(constant[None], len(test.codes), axis=0)
    baselines = [Baseline(name=_CONSTANTS[kind], predictions=same[:, 0] if flat else same)]
    if len(targets) < 2 or not np.ptp(targets):
        return baselines
    rows = _subsample(len(known), MAX_POSITIONS, seed)
    features = windows(train, letters, known[rows], WINDOW_REACH)
    if flat:
        words, model = "ridge regression", fit_ridge(features, _columns(targets[rows]), seed)
    else:
        words, model = _fit_classes(features, targets[rows], len(constant), 1.0, seed)
    positions = np.array_split(np.arange(len(test.codes)), len(test.codes) // MAX_POSITIONS + 1)
    predictions = np.concatenate([model(windows(test, letters, some, WINDOW_REACH)) for some in positions])
    name = f"window of ±{WINDOW_REACH} {words}{_cap_in_words(len(rows), len(known), 'training residues')}"
    return [*baselines, Baseline(name=name, predictions=predictions[:, 0] if flat else predictions)]


@dataclass(frozen=True, kw_only=True)
class _View:
    """One way to see a sequence as a row of numbers."""

    name: str
    stored: int
    """Features per row that are not zero."""
    dense: bool
    inverse_strength: float
    """Of the logistic regression."""
    prepare: Callable[[Sequence[str]], Callable[[Sequence[str]], Any]]
    """Training sequences -> (sequences -> features)."""

    def max_rows(self, outputs: int, kind: Kind) -> int:
        """Training rows that can be afforded; dense least squares are solved directly, so outputs cost little."""
        logistic = kind == "classification" and outputs <= MAX_LOGISTIC_CLASSES
        if self.dense and not logistic:
            return _MAX_ROWS
        return min(_MAX_ROWS, _MAX_OPERATIONS // max(self.stored * outputs, 1))


def _views(sequences: Sequence[str], test_sequences: Sequence[str]) -> list[_View]:
    """The views that suit these sequences."""
    letters = Letters.of(sequences)

    def prepare_words(train: Sequence[str]) -> Callable[[Sequence[str]], Any]:
        weights = inverse_document_frequency(count_words(letters.pack(train), letters))
        return lambda some: tf_idf(count_words(letters.pack(some), letters), weights)

    longest = letters.word_length
    words = _View(
        name=f"k-mer (1 to {longest})",
        stored=sum(letters.count**length for length in range(1, longest + 1)),
        dense=True,
        inverse_strength=10.0,
        prepare=prepare_words,
    )
    lengths = [len(sequence) for sequence in (*sequences, *test_sequences)]
    width = max(lengths)
    if width - min(lengths) > width * _MAX_LENGTH_DIFFERENCE or width > _MAX_ONE_HOT_LENGTH:
        return [words]

    def prepare_positions(train: Sequence[str]) -> Callable[[Sequence[str]], Any]:
        return lambda some: one_hot(letters.pack(some), letters, width)

    one_hots = _View(name="one-hot", stored=width, dense=False, inverse_strength=1.0, prepare=prepare_positions)
    return [words, one_hots]


def _fit_classes(
    features: Any, classes: Array, num_classes: int, inverse_strength: float, seed: int
) -> tuple[str, Model]:
    """The model in words, and the model."""
    if num_classes <= MAX_LOGISTIC_CLASSES and len(np.unique(classes)) > 1:
        return "logistic regression", fit_logistic(features, classes, num_classes, inverse_strength)
    return "least-squares classifier", fit_least_squares_classes(features, classes, num_classes, seed)


def _constant(targets: Array, classes: bool, num_classes: int | None) -> tuple[NDArray[np.float64], Array]:
    """(K,) what is predicted without looking at a sequence, and the targets without nan."""
    if classes:
        targets = targets.astype(np.int64)
        width = num_classes or int(targets.max(initial=0)) + 1
        return np.bincount(targets, minlength=width) / max(len(targets), 1), targets
    columns = _columns(targets)
    known = ~np.isnan(columns)
    means = np.where(known, columns, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return means, np.where(known, columns, means)


def _columns(targets: Array) -> NDArray[np.float64]:
    return targets.astype(np.float64).reshape(len(targets), -1)


def _subsample(count: int, cap: int, seed: int) -> NDArray[np.int64]:
    """All of range(count) or a keyed choice of cap, increasing."""
    if count <= cap:
        return np.arange(count)
    return np.sort(permuted(np.arange(cap), count, fold(seed, "baselines")))


def _cap_in_words(used: int, count: int, unit: str) -> str:
    return f", {used:,} of {count:,} {unit}" if used < count else ""
