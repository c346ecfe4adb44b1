"""Two predictions of the same records: how far their scores are apart, and whether that may be chance."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqtrain.evaluation import weighted
from seqtrain.evaluation.intervals import Weighted, bootstrap_interval, weighted_intervals
from seqtrain.evaluation.metrics import LOWER_IS_BETTER, brier, cross_entropy, ranks
from seqtrain.evaluation.paired_test import SIGNIFICANT, called_swap_test, shuffle_test, swap_test
from seqtrain.evaluation.weighted import Summed
from seqtrain.losses import IGNORED_CLASS
from seqtrain.tasks import MultiLabel, Regression, Task, as_trained

Array = NDArray[Any]
_LABELS = ("accuracy", "balanced_accuracy", "macro_precision", "macro_f1", "macro_iou", "mcc")
_CELLS = ("micro_f1", "micro_iou")
_MEANS = ("cross_entropy", "brier")
_NUMBERS = ("pearson", "r2", "mse", "mae", "rmse")
DEALT = "its own predictions, dealt to the records at random"
"""What stands for chance where numbers are predicted."""


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a model says of N rows, each a record or one of its residues."""

    values: NDArray[np.float64]
    """(N, K) numbers or probabilities."""
    decided: Array
    """(N,) classes or (N, K) labels that it decides on; the numbers themselves."""

    @classmethod
    def by(cls, task: Task, values: Array) -> Said:
        """Values (N, K) of a task and what it decides by them."""
        values = np.asarray(values, np.float64)
        return cls(values=values, decided=values if isinstance(task, Regression) else task.decide(values))

    @classmethod
    def by_simple_model(cls, task: Task, values: Array) -> Said:
        """The same of a simple model, which has no threshold."""
        return cls.by(as_trained(task), values.reshape(len(values), -1))


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Of two scores on the same records, the first less the second."""

    low: float
    """95 % interval, by paired bootstrap."""
    high: float
    p: float
    """Two-sided, by swapping the predictions of records at random."""

    def sign(self, metric: str) -> int:
        """1 where the first is better, -1 where it is worse, 0 where they cannot be told apart.

        Both the test (at 5 %) and the interval have to say so, so that words never contradict a figure beside them.
        """
        if math.isnan(self.low) or not self.p <= SIGNIFICANT:
            return 0
        above = int(self.low > 0) - int(self.high < 0)
        return -above if metric.partition("[")[0] in LOWER_IS_BETTER else above

    def words(self) -> str:
        """The interval and p."""
        if math.isnan(self.low):
            return "too few records for an interval of the difference"
        return f"difference {self.low:+.3f} to {self.high:+.3f}, {p_in_words(self.p)}"


@dataclass(frozen=True, kw_only=True)
class Lead:
    """How much better the network's main metric is than another one, on the same records."""

    over: str
    """The simple model, or what stands for chance."""
    its_score: float
    low: float
    """95 % interval of the difference, by paired bootstrap; over predictions dealt at random, of the score itself."""
    high: float
    p: float = math.nan
    """Two-sided, of a permutation test: predictions swapped between the two, or dealt to records anew."""

    @property
    def difference(self) -> Difference:
        """The interval and p alone."""
        return Difference(low=self.low, high=self.high, p=self.p)

    def words(self) -> str:
        """Whether the network is better, as a phrase."""
        verdict = ("not better than", "better than", "worse than")[self.difference.sign("")]
        reached = f"which reaches {self.its_score:.3f} ({self.difference.words()})"
        return f"{verdict} the best simple model, {self.over}, {reached}"

    def chance_words(self) -> str:
        """That the network is no better than chance, as a phrase; nothing where it is."""
        if self.difference.sign("") > 0:
            return ""
        reached = f", which reaches {self.its_score:.3f}" * (self.over != DEALT)
        return f"no better than chance: {self.over}{reached} ({self.difference.words()})"


def p_in_words(p: float) -> str:
    """p to two digits."""
    if math.isnan(p):
        return "p not defined"
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def weighted_measures(task: Task, true: Array, said: Said, groups: Array | None) -> Weighted:
    """The metrics of a task that are resampled, under weights of records.

    Args:
        groups: (N,) 0 to G - 1, the record of each row; None: rows are records.
    """
    if isinstance(task, Regression):
        columns = {name: _numbers(true[:, k], said.values[:, k]) for k, name in enumerate(task.columns)}
        return columns[task.columns[0]] if task.outputs == 1 else weighted.averaged(columns)
    if isinstance(task, MultiLabel):
        return weighted.cells(true, said.decided)
    measured: Callable[[Array], weighted.Values] = weighted.labels(true, said.decided, groups, task.outputs)
    if task.outputs != 2:
        return measured
    kept = np.asarray(true) != IGNORED_CLASS
    rows = np.arange(len(true)) if groups is None else groups
    areas = weighted.areas(np.asarray(true)[kept] == 1, said.values[kept, 1])
    return weighted.together(measured, _expanded(areas, rows[kept], one_by_one=groups is not None))


def _numbers(true: Array, predicted: Array) -> Callable[[Array], weighted.Values]:
    return weighted.together(weighted.ranked(true, predicted), weighted.numbers(true, predicted))


def _expanded(
    measured: Callable[[Array], weighted.Values], rows: Array, *, one_by_one: bool
) -> Callable[[Array], weighted.Values]:
    """A function of weights of records, from one of the weights of rows; ``one_by_one`` where rows are far more."""

    def expanded(weights: Array) -> weighted.Values:
        if not one_by_one:
            return measured(weights[:, rows])
        found = [measured(each[None, rows]) for each in weights]
        return {name: np.concatenate([each[name] for each in found]) for name in found[0]}

    return expanded


def difference(
    task: Task,
    metric: str,
    true: Array,
    one: Said,
    other: Said,
    *,
    measured: Callable[[Array, Said], float],
    groups: Array | None = None,
    num_resamples: int,
    seed: int,
) -> Difference:
    """How far two predictions of the same N rows are apart in one metric.

    Args:
        true: (N,) or (N, K) labels, as :func:`seqtrain.scoring.true_values` gives them.
        measured: the metric of some rows, for metrics that are not known in a faster form.
        groups: (N,) the record of each row: those of one record are drawn and swapped together.
    """
    records = None if groups is None else np.unique(groups, return_inverse=True)[1]
    count = len(true) if records is None else int(records.max(initial=-1)) + 1
    fast = [_weighted(task, metric, true, each, records) for each in (one, other)]
    summed = [_summed(task, metric, true, each, records) for each in (one, other)]
    if fast[0] is not None and fast[1] is not None:
        first, second = fast[0], fast[1]
        low, high = weighted_intervals(
            lambda weights: {metric: first(weights)[metric] - second(weights)[metric]},
            count,
            num_resamples=num_resamples,
            seed=seed,
        )[metric]
    else:
        low, high = bootstrap_interval(
            lambda t, *parts: (
                measured(t, Said(values=parts[0], decided=parts[1]))
                - measured(t, Said(values=parts[2], decided=parts[3]))
            ),
            (true, one.values, one.decided, other.values, other.decided),
            groups=records,
            num_resamples=num_resamples,
            seed=seed,
        )
    if summed[0] is not None and summed[1] is not None:
        p = swap_test(summed[0], summed[1], num_swaps=num_resamples, seed=seed)[metric]
    else:
        p = _called(task, true, one, other, measured, records, num_resamples, seed)
    return Difference(low=low, high=high, p=p)


def _weighted(task: Task, metric: str, true: Array, said: Said, records: Array | None) -> Weighted | None:
    """One metric under weights of records; None where it is known in no such form."""
    name, _, column = metric.partition("[")
    if isinstance(task, Regression) and name == "spearman":
        places = range(task.outputs) if not column else [task.columns.index(column.removesuffix("]"))]
        found = {task.columns[k]: weighted.ranked(true[:, k], said.values[:, k]) for k in places}
        return weighted.averaged(found)
    if metric == "roc_auc" and not isinstance(task, Regression) and records is None:
        return weighted.areas(np.asarray(true) == 1, said.values[:, 1])
    return _summed(task, metric, true, said, records)


def _summed(task: Task, metric: str, true: Array, said: Said, records: Array | None) -> Summed | None:
    """One metric as a function of sums over records; None where it is none."""
    name = metric.partition("[")[0]
    if isinstance(task, Regression):
        if name != "spearman" and name not in _NUMBERS:
            return None
        columns = [(each, true[:, k], said.values[:, k]) for k, each in enumerate(task.columns)]
        if name == "spearman":
            return weighted.joined({each: weighted.rank_numbers(t, v) for each, t, v in columns})
        return weighted.joined({each: weighted.numbers(t, v) for each, t, v in columns})
    if isinstance(task, MultiLabel):
        return weighted.cells(true, said.decided) if metric in _CELLS else None
    if metric in _LABELS:
        return weighted.labels(true, said.decided, records, task.outputs)
    return weighted.means(_per_record(true, said, metric)) if metric in _MEANS and records is None else None


def _per_record(true: Array, said: Said, metric: str) -> dict[str, Array]:
    """What each of N records adds to a mean, nan where it does not count."""
    known = np.asarray(true) != IGNORED_CLASS
    found = np.full(len(true), np.nan)
    rows = np.flatnonzero(known)
    measured = cross_entropy if metric == "cross_entropy" else brier
    found[rows] = [measured(np.asarray(true)[[row]], said.values[[row]]) for row in rows]
    return {metric: found}


def _called(
    task: Task,
    true: Array,
    one: Said,
    other: Said,
    measured: Callable[[Array, Said], float],
    records: Array | None,
    num_swaps: int,
    seed: int,
) -> float:
    """p of any metric. Values and decisions stand side by side, so that a swap exchanges both."""
    width = one.values.shape[1]

    def split(sides: Array) -> Said:
        decided = sides[:, width:]
        return Said(values=sides[:, :width], decided=decided[:, 0] if one.decided.ndim == 1 else decided)

    def side(said: Said) -> Array:
        return np.concatenate([said.values, said.decided.reshape(len(said.values), -1)], axis=1)

    def metric(t: Array, sides: Array) -> float:
        said = split(sides)
        kind = bool if isinstance(task, MultiLabel) else np.float64 if isinstance(task, Regression) else np.int64
        return measured(t, Said(values=said.values, decided=said.decided.astype(kind)))

    return called_swap_test(metric, true, side(one), side(other), groups=records, num_swaps=num_swaps, seed=seed)


def chance_of_ranks(true: Array, values: Array, *, num_shuffles: int, seed: int) -> float:
    """p of the rank correlations of (N, K) numbers with their predictions, when these are dealt to records anew.

    The statistic is the sum over columns of the products of ranks; a number that is missing counts nothing.
    """
    x, y = np.zeros(true.shape), np.zeros(true.shape)
    if np.isnan(values).any():
        return float("nan")
    for k in range(true.shape[1]):
        known = ~np.isnan(true[:, k])
        x[known, k] = _standard(ranks(true[known, k]))
        y[:, k] = _standard(ranks(values[:, k]))
    if not x.any() or not y.any():
        return float("nan")
    return shuffle_test(lambda order: float((x * y[order]).sum()), len(x), num_shuffles=num_shuffles, seed=seed)


def _standard(values: Array) -> Array:
    centred = values - values.mean() if len(values) else values
    norm = float(np.linalg.norm(centred))
    return np.asarray(centred / norm if norm else centred)
