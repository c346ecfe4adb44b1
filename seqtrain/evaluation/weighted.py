"""Metrics of weighted records: what a thousand resamples cost when they are products of matrices.

Each function takes true and predicted values once, and gives a function of weights (R, N) of N records, such as how
often each is in a resample, whose values are those that :mod:`seqtrain.evaluation.metrics` has on repeated records.
Most metrics are functions of sums over records (:class:`Summed`); ranks are counted anew under each row of weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqtrain.evaluation.metrics import ranks

Array = NDArray[Any]
Values = dict[str, Array]


@dataclass(frozen=True, kw_only=True)
class Summed:
    """Metrics that depend on sums over records only."""

    columns: Any
    """(N, C) what each record adds, a matrix dense or sparse."""
    result: Callable[[Array], Values]
    """(R, C) sums -> (R,) values of each metric."""

    def __call__(self, weights: Array) -> Values:
        """(R, N) weights -> (R,) values of each metric."""
        return self.result(np.asarray((self.columns.T @ weights.T).T))


def labels(true: Array, predicted: Array, groups: Array | None = None, num_classes: int | None = None) -> Summed:
    """What ``label_metrics`` gives, of (N,) and (N,) class indices; negative true ones do not count.

    groups: (N,) 0 to G - 1, the record of each row, for one row per residue; weights are then (R, G). num_classes:
    None for as many as occur.
    """
    from scipy.sparse import csr_matrix

    true, predicted = np.asarray(true, np.int64), np.asarray(predicted, np.int64)
    records = np.arange(len(true)) if groups is None else np.asarray(groups)
    count = int(records.max(initial=-1)) + 1
    kept = true >= 0
    true, predicted, records = true[kept], predicted[kept], records[kept]
    width = num_classes or int(max(true.max(initial=0), predicted.max(initial=0))) + 1
    right = true == predicted
    cells = np.concatenate([true[right], width + true, 2 * width + predicted])
    rows = np.concatenate([records[right], records, records])
    columns = csr_matrix((np.ones(len(rows)), (rows, cells)), shape=(count, 3 * width))
    return Summed(columns=columns, result=_label_values)


def _label_values(sums: Array) -> Values:
    hits, in_true, in_predicted = np.split(sums, 3, axis=1)
    total, right = in_true.sum(axis=1), hits.sum(axis=1)
    spread_true = total**2 - (in_true**2).sum(axis=1)
    spread_predicted = total**2 - (in_predicted**2).sum(axis=1)
    covariance = right * total - (in_true * in_predicted).sum(axis=1)
    mcc = _ratio(covariance, np.sqrt(spread_true * spread_predicted))
    sizes = in_true + in_predicted
    return {
        "accuracy": _ratio(right, total),
        "balanced_accuracy": _mean_where(hits, in_true),
        "macro_precision": _mean_where(hits / np.maximum(in_predicted, 1) * sizes, sizes),
        "macro_f1": _mean_where(2 * hits, sizes),
        "macro_iou": _mean_where(hits / np.where(sizes > hits, sizes - hits, 1) * sizes, sizes),
        "mcc": np.where((spread_true > 0) & (spread_predicted <= 0), 0.0, mcc),
    }


def cells(true: Array, predicted: Array) -> Summed:
    """micro_f1 and micro_iou of (N, K) labels, 0 or 1 or nan, and (N, K) bool, which of them were predicted."""
    known = ~np.isnan(np.asarray(true, np.float64))
    positive, said = known & (np.asarray(true) > 0.5), known & np.asarray(predicted, bool)
    columns = np.stack([(positive & said).sum(axis=1), positive.sum(axis=1) + said.sum(axis=1)], axis=1)

    def result(sums: Array) -> Values:
        hits, sizes = sums.T
        return {"micro_f1": _ratio(2 * hits, sizes), "micro_iou": _ratio(hits, sizes - hits)}

    return Summed(columns=columns.astype(np.float64), result=result)


def numbers(true: Array, predicted: Array) -> Summed:
    """pearson, r2, mse, mae and rmse of (N,) and (N,); nan in true does not count."""
    true, predicted = np.asarray(true, np.float64), np.asarray(predicted, np.float64)
    known = ~np.isnan(true)
    true = np.where(known, true, 0.0)
    # Sums of squares about a point near the mean lose no digits. One point for all: swapped, predictions share sums.
    centre = true[known].mean() if known.any() else 0.0
    x, y, errors = (true - centre) * known, (predicted - centre) * known, (predicted - true) * known
    columns = np.stack([known, x, y, x * x, y * y, x * y, np.abs(errors), errors**2], axis=1)
    return Summed(columns=columns, result=_number_values)


def _number_values(sums: Array) -> Values:
    total, x, y, xx, yy, xy, absolute, squared = sums.T
    spread_x, spread_y, joint = xx - _ratio(x * x, total), yy - _ratio(y * y, total), xy - _ratio(x * y, total)
    mse = _ratio(squared, total)
    pearson = np.clip(_ratio(joint, np.sqrt(_above_rounding(spread_x, xx) * _above_rounding(spread_y, yy))), -1, 1)
    return {
        "pearson": pearson,
        "r2": 1 - _ratio(squared, _above_rounding(spread_x, xx)),
        "mse": mse,
        "mae": _ratio(absolute, total),
        "rmse": np.sqrt(mse),
    }


def ranked(true: Array, predicted: Array) -> Callable[[Array], Values]:
    """spearman of (N,) and (N,), ranked anew under each row of weights, ties sharing their mean rank."""
    known = ~np.isnan(np.asarray(true, np.float64))
    true, predicted = np.asarray(true, np.float64)[known], np.asarray(predicted, np.float64)[known]
    orders = _Order.of(true), _Order.of(predicted)
    broken = bool(np.isnan(predicted).any())

    def measured(weights: Array) -> Values:
        weights = weights[:, known]
        if broken or not len(true):
            return {"spearman": np.full(len(weights), np.nan)}
        total = weights.sum(axis=1, keepdims=True)
        # The mean of all ranks is known: (total + 1) / 2.
        x, y = (order.ranks(weights) - (total + 1) / 2 for order in orders)
        xw = x * weights
        spreads = [np.einsum("rn,rn->r", xw, x), np.einsum("rn,rn,rn->r", y, y, weights)]
        joint = np.einsum("rn,rn->r", xw, y)
        return {"spearman": np.clip(_ratio(joint, np.sqrt(spreads[0] * spreads[1])), -1, 1)}

    return measured


def areas(positive: Array, scores: Array) -> Callable[[Array], Values]:
    """roc_auc of (N,) bool and (N,) scores, ties counting one half."""
    positive = np.asarray(positive, bool)
    order = _Order.of(np.asarray(scores, np.float64))
    broken = bool(np.isnan(scores).any())

    def measured(weights: Array) -> Values:
        if broken or not len(positive):
            return {"roc_auc": np.full(len(weights), np.nan)}
        hits, misses = order.totals(weights * positive), order.totals(weights * ~positive)
        below = np.cumsum(misses, axis=1) - misses / 2
        pairs = hits.sum(axis=1) * misses.sum(axis=1)
        return {"roc_auc": _ratio(np.einsum("rg,rg->r", hits, below), pairs)}

    return measured


def averaged(columns: Mapping[str, Callable[[Array], Values]]) -> Callable[[Array], Values]:
    """Metrics of several columns: the mean of each over the columns where it is defined, then ``metric[column]``."""

    def measured(weights: Array) -> Values:
        found = {name: column(weights) for name, column in columns.items()}
        values: Values = {}
        for metric in next(iter(found.values())):
            table = np.stack([each[metric] for each in found.values()], axis=1)
            values[metric] = _mean_where(np.nan_to_num(table), (~np.isnan(table)).astype(np.float64))
        for name, each in found.items():
            values |= {f"{metric}[{name}]": value for metric, value in each.items()}
        return values

    return measured


def joined(columns: Mapping[str, Summed]) -> Summed:
    """As :func:`averaged`, of metrics that are functions of sums."""
    cuts = np.cumsum([0, *(each.columns.shape[1] for each in columns.values())])

    def part(each: Summed, start: int, stop: int) -> Callable[[Array], Values]:
        return lambda sums: each.result(sums[:, start:stop])

    parts = zip(columns.items(), cuts[:-1], cuts[1:], strict=True)
    results = {name: part(each, int(start), int(stop)) for (name, each), start, stop in parts}
    return Summed(columns=np.concatenate([each.columns for each in columns.values()], axis=1), result=averaged(results))


def means(values: Mapping[str, Array]) -> Summed:
    """Metrics that are means of one number per record (N,), nan where a record does not count."""
    table = np.stack(list(values.values()), axis=1).astype(np.float64)
    known = ~np.isnan(table)
    columns, names, width = np.concatenate([np.where(known, table, 0), known], axis=1), list(values), len(values)
    return Summed(
        columns=columns,
        result=lambda sums: {name: _ratio(sums[:, k], sums[:, width + k]) for k, name in enumerate(names)},
    )


def together(*parts: Callable[[Array], Values]) -> Callable[[Array], Values]:
    """The metrics of several functions of the same weights."""

    def measured(weights: Array) -> Values:
        return {name: values for part in parts for name, values in part(weights).items()}

    return measured


def rank_numbers(true: Array, predicted: Array) -> Summed:
    """spearman of (N,) and (N,) as the correlation of the ranks they have among all N: what a swap leaves as it is."""
    known = ~np.isnan(np.asarray(true, np.float64))
    found = np.full((2, len(known)), np.nan)
    for row, values in zip(found, (true, predicted), strict=True):
        row[known] = ranks(np.asarray(values, np.float64)[known])
    summed = numbers(found[0], np.where(known, found[1], 0.0))
    broken = bool(np.isnan(np.asarray(predicted, np.float64)[known]).any())
    return Summed(
        columns=summed.columns,
        result=lambda sums: {"spearman": np.where(broken, np.nan, summed.result(sums)["pearson"])},
    )


@dataclass(frozen=True)
class _Order:
    """The order of N values, and where equal ones stand."""

    order: NDArray[np.int64]
    first: NDArray[np.int64]
    """(G,) where each group of equal values begins."""
    group: NDArray[np.int64]
    """(N,) the group of each value, in the order they came in."""

    @classmethod
    def of(cls, values: Array) -> _Order:
        order = np.argsort(values, kind="stable")
        arranged = values[order]
        changes = np.append(True, arranged[1:] != arranged[:-1]) if len(values) else np.zeros(0, bool)
        group = np.empty(len(values), np.int64)
        group[order] = np.cumsum(changes) - 1
        return cls(order, np.flatnonzero(changes), group)

    def totals(self, weights: Array) -> Array:
        """(R, N) weights -> (R, G) of each group, in increasing order."""
        arranged = weights[:, self.order]
        whole = len(self.first) == len(self.order)
        return arranged if whole else np.asarray(np.add.reduceat(arranged, self.first, axis=1))

    def ranks(self, weights: Array) -> Array:
        """(R, N) mean ranks of repeated values."""
        totals = self.totals(weights)
        return np.asarray((np.cumsum(totals, axis=1) - (totals - 1) / 2)[:, self.group])


def _above_rounding(spread: Array, square: Array) -> Array:
    """Sums of squares about the mean, 0 where rounding is all that is left of them."""
    return np.where(spread > 1e-12 * square, spread, 0.0)


def _ratio(above: Array, below: Array) -> Array:
    """above / below, nan where below is not above 0."""
    return np.where(below > 0, above / np.where(below > 0, below, 1.0), np.nan)


def _mean_where(above: Array, below: Array) -> Array:
    """(R,) mean over the columns of above / below (R, K) where below is more than 0."""
    there = below > 0
    return _ratio((above / np.where(there, below, 1.0) * there).sum(axis=1), there.sum(axis=1))
