"""The two linear models behind the baselines: logistic regression, and ridge regression with a strength of its own."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqtrain.draws import fold, permuted

Array = NDArray[Any]
Model = Callable[[Any], NDArray[np.float64]]
"""Features (M, F), dense or sparse -> (M, K)."""
_ITERATIONS = 100
_STRENGTHS = (0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)
_HELD_OUT_FRACTION = 0.1
_MIN_HELD_OUT = 5
_FREQUENCY_SHARE = 0.1


def fit_logistic(features: Any, classes: NDArray[np.int64], num_classes: int, inverse_strength: float) -> Model:
    """Multinomial logistic regression of (N, F) features on (N,) classes; gives probabilities (M, K).

    A class that training does not show gets probability 0. At least two classes must be shown.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=inverse_strength, max_iter=_ITERATIONS)
    with warnings.catch_warnings():
        # A baseline that has not settled to the last digit after 100 iterations is still the baseline.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(features, classes)

    def predict(rows: Any) -> NDArray[np.float64]:
        probabilities = np.zeros((rows.shape[0], num_classes))
        probabilities[:, model.classes_] = model.predict_proba(rows)
        return probabilities

    return predict


def fit_ridge(features: Any, targets: Array, seed: int) -> Model:
    """Ridge regression of (N, F) features on (N, K) targets; gives numbers (M, K).

    The strength is the best of six on a keyed tenth of the rows, then all rows are used; below 50 rows it is 1.
    """
    from sklearn.linear_model import Ridge

    scale = targets.std(axis=0)
    scale[scale == 0] = 1

    def fit(rows: Any, strength: float) -> Any:
        # float32 features keep a dense fit at half its time; tol only matters to the iterative solver of sparse ones.
        return Ridge(alpha=strength, tol=1e-3).fit(features[rows], (targets[rows] / scale).astype(np.float32))

    count = len(targets)
    held_out = permuted(np.arange(int(count * _HELD_OUT_FRACTION)), count, fold(seed, "held out"))
    strength = 1.0
    if len(held_out) >= _MIN_HELD_OUT:
        rest = np.setdiff1d(np.arange(count), held_out)
        aims = (targets[held_out] / scale).reshape(len(held_out), -1)
        errors = []
        for candidate in _STRENGTHS:
            found = fit(rest, candidate).predict(features[held_out]).reshape(aims.shape)
            errors.append(float(np.mean((found - aims) ** 2)))
        strength = _STRENGTHS[int(np.argmin(errors))]
    model = fit(np.arange(count), strength)

    def predict(rows: Any) -> NDArray[np.float64]:
        found: NDArray[np.float64] = np.asarray(model.predict(rows), np.float64).reshape(rows.shape[0], -1) * scale
        return found

    return predict


def fit_least_squares_classes(features: Any, classes: NDArray[np.int64], num_classes: int, seed: int) -> Model:
    """Ridge regression on class indicators, cut at 0 and scaled to add up to 1 (Sugiyama 2010); gives (M, K).

    Its cost hardly grows with K, so it stands in for logistic regression where there are many classes. A tenth of the
    class frequencies is mixed in, so that no class of the training set is thought impossible.
    """
    ridge = fit_ridge(features, np.eye(num_classes, dtype=np.float32)[classes], seed)
    frequencies = np.bincount(classes, minlength=num_classes) / len(classes)

    def predict(rows: Any) -> NDArray[np.float64]:
        scores = np.clip(ridge(rows), 0, None)
        totals = scores.sum(axis=1, keepdims=True)
        shares = np.where(totals > 0, scores / np.where(totals > 0, totals, 1), frequencies)
        mixed: NDArray[np.float64] = (1 - _FREQUENCY_SHARE) * shares + _FREQUENCY_SHARE * frequencies
        return mixed

    return predict
