"""The two families of trees behind the baselines: gradient boosting (Friedman 2001) and bagging (Breiman 1996).

Both are scikit-learn's: ``HistGradientBoosting…``, and ``RandomForest…``, which is bagging of trees that look at a few
columns per split (Breiman 2001). They see the columns that are most related to the training labels, as their time grows
with columns.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqtrain.draws import generator_seed
from seqtrain.evaluation.chance import Kind
from seqtrain.evaluation.linear import Model

Array = NDArray[Any]
MAX_COLUMNS = 100
_MAX_OPERATIONS = 400_000_000
"""Cap on rows × columns × trees of a boosting: about 10 seconds of one core."""
_OPERATIONS_PER_ROW = 400_000
"""The same for tables of few rows, which are done in a fraction of a second."""
_OPERATIONS_PER_TREE = 300_000
"""What a tree costs beside looking at its rows."""
_ROUNDS = (10, 100)
"""Fewest and most rounds of boosting."""
_MAX_LEAVES = 15
_NUM_BINS = 63
_NUM_TREES = (20, 100)
"""Of a forest: for 200 records, and for 1,000 and more."""
_MAX_OUTPUTS = 6_000
"""Cap on trees × outputs of a forest, whose leaves hold a number for each; 20 trees are always grown."""
_MAX_BAG = 2_000
"""Records that each tree of a forest is grown on."""
_SEEDS = 2**31


def related_columns(features: Array, targets: Array, count: int = MAX_COLUMNS) -> NDArray[np.int64]:
    """Up to ``count`` columns of (N, F) features that correlate most with (N, K) targets, increasing.

    By the sum of squared correlations over the targets; columns that do not vary are never taken.
    """
    x = features - features.mean(axis=0)
    y = targets - targets.mean(axis=0)
    spread = np.sqrt((x**2).sum(axis=0))
    y = y / np.maximum(np.sqrt((y**2).sum(axis=0)), 1e-12)
    related = (((x / np.where(spread > 1e-6, spread, np.inf)).T @ y) ** 2).sum(axis=1)
    order = np.argsort(-related, kind="stable")[:count]
    return np.sort(order[spread[order] > 1e-6])


def rounds_of_boosting(num_rows: int, num_columns: int, outputs: int) -> int:
    """Rounds that can be afforded, 0 where they are too few; fewer for few rows, which are learnt by heart at once."""
    budget = min(_MAX_OPERATIONS, num_rows * _OPERATIONS_PER_ROW)
    afforded = budget // (outputs * (num_rows * num_columns + _OPERATIONS_PER_TREE))
    return 0 if afforded < _ROUNDS[0] else min(afforded, max(_ROUNDS[0], num_rows // 4), _ROUNDS[1])


def fit_boosting(
    features: Array, targets: Array, kind: Kind, width: int, rounds: int, seed: int, *, categories: bool = False
) -> Model:
    """Gradient boosting of (N, F) features, or codes of categories, on (N,) classes or (N, K) numbers or labels.

    Gives (M, K); numbers and labels by squared error, each column apart.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    settings = {
        "max_iter": rounds,
        "max_leaf_nodes": _MAX_LEAVES,
        "max_bins": _NUM_BINS,
        "min_samples_leaf": int(np.clip(len(features) // 20, 1, 20)),
        "early_stopping": False,
        "categorical_features": list(range(features.shape[1])) if categories else None,
        "random_state": generator_seed(seed, "boosting") % _SEEDS,
    }
    if kind == "classification":
        return _probabilities(HistGradientBoostingClassifier(**settings).fit(features, targets), width)
    columns = [targets[:, k] for k in range(targets.shape[1])]
    models = [HistGradientBoostingRegressor(**settings).fit(features, column) for column in columns]
    return lambda rows: np.stack([model.predict(rows) for model in models], axis=1).astype(np.float64)


def fit_forest(features: Array, targets: Array, kind: Kind, width: int, seed: int) -> Model:
    """A random forest of (N, F) features on (N,) classes or (N, K) numbers or labels; gives (M, K)."""
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    settings = {
        "n_estimators": int(np.clip(min(len(features) // 10, _MAX_OUTPUTS // width), *_NUM_TREES)),
        "max_samples": min(len(features), _MAX_BAG),
        "random_state": generator_seed(seed, "forest") % _SEEDS,
        "n_jobs": 1,
    }
    if kind == "classification":
        return _probabilities(RandomForestClassifier(**settings).fit(features, targets), width)
    targets = targets[:, 0] if width == 1 else targets
    model = RandomForestRegressor(**settings, max_features=1 / 3).fit(features, targets)
    return lambda rows: np.asarray(model.predict(rows), np.float64).reshape(len(rows), -1)


def _probabilities(model: Any, width: int) -> Model:
    """A class that training does not show gets probability 0."""

    def predict(rows: Any) -> NDArray[np.float64]:
        found = np.zeros((rows.shape[0], width))
        found[:, model.classes_] = model.predict_proba(rows)
        return found

    return predict
