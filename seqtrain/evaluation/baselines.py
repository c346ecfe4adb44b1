"""What a score is worth: the predictions of simple models on the same split, in seconds on one core.

A sequence is seen as its counts of short words of letters (k-mers, weighted by TF-IDF) and, where all sequences have
about one length, as one column per position and letter. What does not look at sequences at all is in
:mod:`seqtrain.evaluation.chance`, neighbours, linear models and trees in modules of their names. Training rows are
capped so that a fit takes seconds; a cap that was reached is part of the baseline's name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from seqtrain.draws import fold, permuted
from seqtrain.evaluation.chance import CONSTANTS, Kind, constant_guess, random_guesses
from seqtrain.evaluation.features import Letters, aligned
from seqtrain.evaluation.linear import Model, fit_least_squares_classes, fit_logistic, fit_ridge
from seqtrain.evaluation.neighbour import (
    MAX_PAIRS,
    MAX_PRODUCTS,
    MAX_SPARSE_PRODUCTS,
    hamming_products,
    nearest_by_cosine,
    nearest_by_hamming,
)
from seqtrain.evaluation.trees import fit_boosting, fit_forest, related_columns, rounds_of_boosting
from seqtrain.evaluation.variant_baselines import mutation_numbers, variants_of
from seqtrain.evaluation.views import View, views_of

Array = NDArray[Any]
Which = Literal["all", "linear", "none"]
"""All baselines; chance and linear models only; or none."""
MAX_LOGISTIC_CLASSES = 20
"""With more classes, least squares on class indicators replaces logistic regression."""
_MAX_OPERATIONS = 100_000_000
"""Cap on training rows × stored features per row × outputs of an iterative fit: about 10 seconds of one core."""
_MAX_ROWS = 50_000
_MIN_ROWS = 1_000
_MAX_TREE_ROWS = 20_000
_MAX_DENSE_COLUMNS = 5_000
_CHUNK = 10_000


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """What a simple model predicts for the test records."""

    name: str
    """In words, for a report."""
    predictions: NDArray[np.float64]
    """(M,) numbers, or (M, K) numbers, probabilities of classes or probabilities of labels, by kind."""


@dataclass(frozen=True, kw_only=True)
class Given:
    """N training sequences with known targets, and M to predict."""

    train: Sequence[str]
    targets: Array
    """(N,) classes, or (N, K) numbers or labels, without nan."""
    test: Sequence[str]
    kind: Kind
    width: int
    """K."""
    seed: int

    def indicators(self, rows: Array) -> NDArray[np.float64]:
        """(n, K) targets of some training records, classes as indicators."""
        chosen = self.targets[rows]
        return np.eye(self.width)[chosen] if self.kind == "classification" else np.asarray(chosen, np.float64)

    def predicted(self, transform: Callable[[Sequence[str]], Any], model: Model) -> NDArray[np.float64]:
        """(M, K) what a model says of features of the test sequences, some at a time."""
        chunks = [self.test[start : start + _CHUNK] for start in range(0, len(self.test), _CHUNK)]
        return np.concatenate([model(transform(chunk)) for chunk in chunks] or [np.zeros((0, self.width))])


Found = Iterator[tuple[str, Array]]
"""Name and (M, K) predictions of each baseline."""


def sequence_baselines(
    train_sequences: Sequence[str],
    train_targets: Array,
    test_sequences: Sequence[str],
    *,
    kind: Kind,
    num_classes: int | None = None,
    which: Which = "all",
    seed: int,
) -> list[Baseline]:
    """Baselines for one target per sequence; at most about 40 seconds for 20,000 proteins of 300 residues.

    Args:
        train_sequences: N training sequences.
        train_targets: (N,) numbers, (N, K) numbers, (N,) class indices, or (N, K) labels 0 or 1, by kind. Records
            without any target (nan, or a negative class) are left out; a single nan counts as its column's mean.
        test_sequences: M sequences to predict.
        kind: What the targets are.
        num_classes: K of a classification; None: the highest class in training + 1.
        which: linear leaves out neighbours and trees.
        seed: Key of the draws.

    Returns:
        The majority class or the mean, and two that are drawn; of variants of one wild type the count and the BLOSUM62
        score of their mutations; the nearest neighbour; a linear model of k-mers and, where all lengths are within
        20 %, of one-hot letters; boosting and bagging. One whose fit could not afford 1,000 training records is left
        out; so are all that look at sequences where the training targets do not vary.
    """
    if which == "none":
        return []
    targets = np.asarray(train_targets)
    known = np.flatnonzero(targets >= 0 if kind == "classification" else ~np.isnan(_columns(targets)).all(axis=1))
    sequences, targets = [train_sequences[i] for i in known.tolist()], targets[known]
    constant, targets = constant_guess(targets, kind == "classification", num_classes)
    given = Given(train=sequences, targets=targets, test=test_sequences, kind=kind, width=len(constant), seed=seed)
    found: dict[str, Array] = {CONSTANTS[kind]: np.repeat(constant[None], len(test_sequences), axis=0)}
    found |= random_guesses(targets, constant, len(test_sequences), kind, seed)
    if len(targets) > 1 and np.ptp(targets, axis=0).any():
        views = views_of(sequences, test_sequences)
        if which == "all":
            letters = Letters.of(sequences)
            variants = variants_of(sequences, test_sequences, letters)
            if variants is not None:
                found |= dict(_of_mutations(given, letters, *variants))
            tables = variants or _of_one_length(given, letters)
            found |= dict(_of_neighbours(given, views[0], tables, letters.count))
        found |= dict(_linear(given, views))
        if which == "all":
            found |= dict(_of_trees(given, views))
    if kind == "multilabel":
        found = {name: np.clip(predictions, 0, 1) for name, predictions in found.items()}
    return [
        Baseline(name=name, predictions=predictions[:, 0] if kind == "regression" else predictions)
        for name, predictions in found.items()
    ]


def _linear(given: Given, views: Sequence[View]) -> Found:
    """A linear model on each view."""
    count = len(given.train)
    logistic = given.kind == "classification" and given.width <= MAX_LOGISTIC_CLASSES
    for view in views:
        # Dense least squares are solved directly, so outputs cost little.
        iterative = logistic or not view.dense
        cap = min(_MAX_ROWS, _MAX_OPERATIONS // max(view.stored * given.width, 1)) if iterative else _MAX_ROWS
        if cap < min(_MIN_ROWS, count):
            continue
        rows = subsample(count, cap, given.seed)
        transform = view.prepare([given.train[i] for i in rows])
        words, model = _fit_linear(given, transform([given.train[i] for i in rows]), rows, view.inverse_strength)
        name = f"{view.name} {words}{cap_in_words(len(rows), count, 'training records')}"
        yield name, given.predicted(transform, model)


def _fit_linear(given: Given, features: Any, rows: Array, inverse_strength: float) -> tuple[str, Model]:
    """The model in words, and the model."""
    if given.kind == "classification":
        return fit_classes(features, given.targets[rows], given.width, inverse_strength, given.seed)
    return "ridge regression", fit_ridge(features, _columns(given.targets[rows]), given.seed)


def _of_mutations(given: Given, letters: Letters, learnt: Array, asked: Array) -> Found:
    """The number of mutations and how drastic they are, of variants (N, L) and (M, L) of one wild type."""
    rows = np.arange(len(learnt))
    of_test = mutation_numbers(learnt, asked, letters)
    for name, numbers in mutation_numbers(learnt, learnt, letters).items():
        if np.ptp(numbers):
            centre, spread = numbers.mean(), numbers.std()
            words, model = _fit_linear(given, (numbers - centre) / spread, rows, 1.0)
            words = "linear regression" if words == "ridge regression" else words
            yield f"{name} {words}", model((of_test[name] - centre) / spread)


def _of_neighbours(given: Given, words: View, tables: tuple[Array, Array] | None, num_letters: int) -> Found:
    """The nearest training record, by Hamming distance where there are tables (N, L) and (M, L), else by k-mers."""
    count, num_test = len(given.train), max(len(given.test), 1)
    if tables is not None:
        affordable = MAX_SPARSE_PRODUCTS / max(hamming_products(*tables, num_letters), 1)
    else:
        affordable = MAX_PRODUCTS / num_test / words.stored
    rows = subsample(count, int(min(affordable, MAX_PAIRS / num_test)), given.seed)
    if len(rows) < min(_MIN_ROWS, count):
        return
    name = f"{'Hamming distance' if tables else 'k-mers'}{cap_in_words(len(rows), count, 'training records')}"
    if tables is not None:
        found = nearest_by_hamming(tables[0][rows], given.indicators(rows), tables[1], num_letters)
    else:
        sequences = [given.train[i] for i in rows]
        transform = words.prepare(sequences)
        found = nearest_by_cosine(transform(sequences), given.indicators(rows), transform(given.test))
    yield f"nearest neighbour by {name}", found


def _of_one_length(given: Given, letters: Letters) -> tuple[Array, Array] | None:
    """(N, L) and (M, L) codes where all sequences have one length."""
    lengths = {len(sequence) for sequence in (*given.train, *given.test)}
    if len(lengths) != 1 or not letters.count:
        return None
    width = lengths.pop()
    return aligned(letters.pack(given.train), letters, width), aligned(letters.pack(given.test), letters, width)


def _of_trees(given: Given, views: Sequence[View]) -> Found:
    """Boosting and bagging, on positions where there are few enough, else on words."""
    view = views[-1] if views[-1].dense or views[-1].stored * 20 <= _MAX_DENSE_COLUMNS else views[0]
    count = len(given.train)
    rows = subsample(count, _MAX_TREE_ROWS, given.seed)
    transform = view.prepare([given.train[i] for i in rows])

    def dense(some: Sequence[str]) -> Array:
        features = transform(some)
        return np.asarray(features if view.dense else features.toarray(), np.float32)

    features = dense([given.train[i] for i in rows])
    columns = related_columns(features, given.indicators(rows))
    if not len(columns):
        return
    features, targets = np.ascontiguousarray(features[:, columns]), given.targets[rows]
    targets = targets if given.kind == "classification" else _columns(targets)

    def chosen(some: Sequence[str]) -> Array:
        return np.ascontiguousarray(dense(some)[:, columns])

    cap = cap_in_words(len(rows), count, "training records")
    rounds = rounds_of_boosting(len(rows), len(columns), given.width)
    if rounds:
        model = fit_boosting(features, targets, given.kind, given.width, rounds, given.seed)
        yield f"{view.name} gradient boosting{cap}", given.predicted(chosen, model)
    model = fit_forest(features, targets, given.kind, given.width, given.seed)
    yield f"{view.name} random forest{cap}", given.predicted(chosen, model)


def fit_classes(
    features: Any, classes: Array, num_classes: int, inverse_strength: float, seed: int
) -> tuple[str, Model]:
    """The model in words, and the model."""
    if num_classes <= MAX_LOGISTIC_CLASSES and len(np.unique(classes)) > 1:
        return "logistic regression", fit_logistic(features, classes, num_classes, inverse_strength)
    return "least-squares classifier", fit_least_squares_classes(features, classes, num_classes, seed)


def subsample(count: int, cap: int, seed: int) -> NDArray[np.int64]:
    """All of range(count) or a keyed choice of cap, increasing."""
    if count <= cap:
        return np.arange(count)
    return np.sort(permuted(np.arange(cap), count, fold(seed, "baselines")))


def cap_in_words(used: int, count: int, unit: str) -> str:
    """How many of all were used, where not all were."""
    return f", {used:,} of {count:,} {unit}" if used < count else ""


def _columns(targets: Array) -> NDArray[np.float64]:
    return targets.astype(np.float64).reshape(len(targets), -1)
