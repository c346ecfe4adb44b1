"""Finished runs side by side, on the records that all of them were tested on."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from seqtrain.errors import InputError, nearest_name
from seqtrain.evaluation.intervals import bootstrap_interval, of_scores, weighted_intervals
from seqtrain.evaluation.metrics import (
    classification_metrics,
    is_better,
    label_metrics,
    multi_regression_metrics,
    multilabel_metrics,
    regression_metrics,
)
from seqtrain.evaluation.paired_test import holm
from seqtrain.paired import Difference, Said, difference, weighted_measures
from seqtrain.recipes.run_answers import Answers, matched, read_answers
from seqtrain.scoring import MAIN_METRIC
from seqtrain.tasks import MultiLabel, Regression, Task, kind_of

Array = NDArray[Any]
Against = Literal["first", "best"]
_NUM_RESAMPLES = 1000
_MAX_RESAMPLED = 20_000_000
HEADER = (
    *("run", "records", "metric", "value", "low", "high", "rank"),
    *("compared_with", "difference_low", "difference_high", "p"),
)


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One run among those compared."""

    folder: Path
    value: float
    """Of the metric."""
    low: float
    """95 % interval, by bootstrap over records."""
    high: float
    rank: int
    """1 for the best; equal values share a rank."""
    difference: Difference | None
    """This run less the one it is compared with, with p after Holm's correction; None for that one."""
    metrics: dict[str, float]
    """All metrics that predictions.csv allows."""
    intervals: dict[str, tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Runs on the same N records of one test set."""

    task: Task
    test_set: str
    metric: str
    num_records: int
    runs: tuple[Compared, ...]
    """In the order they were named."""
    reference: int
    """Which of them the others are compared with."""
    simple: dict[str, float]
    """The metric of the simple models that stand beside the first run; none on a part of its records."""
    true: Array
    """Labels of the records, or of their residues."""
    said: tuple[Said, ...]
    """What each run says of them."""
    names: tuple[str, ...]
    """N identifiers."""

    def words(self) -> list[str]:
        """One sentence per comparison."""
        return [self._sentence(run) for run in self.runs if run.difference is not None]

    def _sentence(self, run: Compared) -> str:
        other, found = self.runs[self.reference], run.difference
        assert found is not None
        counted = f"{self.num_records:,} record{'s' * (self.num_records != 1)}"
        sign = found.sign(self.metric)
        several = " after Holm's correction" if len(self.runs) > 2 and not math.isnan(found.p) else ""
        values = f"{self.metric} {run.value:.3f} against {other.value:.3f}, {found.words()}{several}"
        if sign == 0:
            return f"{run.folder} and {other.folder} cannot be told apart on {counted}: {values}"
        return f"{run.folder} is {'better' if sign > 0 else 'worse'} than {other.folder} on {counted}: {values}"

    def rows(self) -> list[tuple[str | int | float, ...]]:
        """Cells under :data:`HEADER`: the runs, then the simple models beside the first of them."""
        less = str(self.runs[self.reference].folder)
        found: list[tuple[str | int | float, ...]] = []
        for run in self.runs:
            gap = run.difference
            beside = ("",) * 4 if gap is None else (less, _cell(gap.low), _cell(gap.high), _cell(gap.p))
            numbers = (_cell(run.value), _cell(run.low), _cell(run.high), run.rank)
            found.append((str(run.folder), self.num_records, self.metric, *numbers, *beside))
        empty = ("",) * 7
        return [*found, *((name, self.num_records, self.metric, _cell(v), *empty) for name, v in self.simple.items())]


def compare_runs(
    folders: Sequence[Path],
    *,
    test_set: str = "test",
    metric: str | None = None,
    against: Against = "first",
    common: bool = False,
    seed: int = 0,
) -> Comparison:
    """Compare finished runs by what they predicted for the same records.

    Records are the same where the row of the table is, if all runs were made of one table, else where identifier and
    label are. Differences are paired; p values are corrected for the number of comparisons (Holm 1979). To compare
    with the best makes the others look worse than they are, as chance helped to choose it.

    Args:
        folders: two or more run directories.
        test_set: its name, in all of them.
        metric: None for the main metric of the task.
        against: which run the others are compared with.
        common: only the records that all have in this set; else all must have the same ones.

    Raises:
        InputError: runs that cannot be compared, or an unknown metric.
    """
    answers = _read(folders, test_set)
    places = matched(answers, test_set, common)
    task, count = answers[0].task, len(places[0])
    read = [each.some(chosen) for each, chosen in zip(answers, places, strict=True)]
    _check_labels(answers, [each[0] for each in read])
    found = [_metrics(task, true, said) for true, said, _ in read]
    name = metric or MAIN_METRIC[type(task)]
    if name not in found[0]:
        raise InputError(f"--metric {name}: {_known(task, name, found[0])}")
    values = [metrics[name] for metrics in found]
    ranks = [1 + sum(is_better(name, other, value) for other in values) for value in values]
    reference = 0 if against == "first" else ranks.index(1)
    others = [said for _, said, _ in read]
    differences = _differences(task, name, read[0][0], others, reference, read[0][2], seed)
    intervals = [_intervals(task, name, *each, count, seed) for each in read]
    whole = count == len(answers[0])
    return Comparison(
        task=task,
        test_set=test_set,
        metric=name,
        num_records=count,
        runs=tuple(
            Compared(
                folder=each.folder,
                value=values[index],
                low=intervals[index][name][0],
                high=intervals[index][name][1],
                rank=ranks[index],
                difference=differences[index],
                metrics=found[index],
                intervals=intervals[index],
            )
            for index, each in enumerate(answers)
        ),
        reference=reference,
        simple={other: each[name] for other, each in answers[0].simple.items() if name in each} if whole else {},
        true=read[0][0],
        said=tuple(others),
        names=tuple(answers[0].names[i] for i in places[0]),
    )


def _read(folders: Sequence[Path], test_set: str) -> list[Answers]:
    """The answers of all runs, which mean the same."""
    if len(folders) < 2:
        raise InputError(f"{len(folders)} run{'s' * (len(folders) != 1)} to compare; name two or more")
    twice = [place for place, count in Counter(Path(folder).resolve() for folder in folders).items() if count > 1]
    if twice:
        raise InputError(f"{twice[0]}: named twice; a run compared with itself says nothing")
    answers = [read_answers(Path(folder), test_set) for folder in folders]
    first = answers[0]
    for each in answers[1:]:
        if kind_of(each.task) != kind_of(first.task):
            what = f"{each.task.words}; {first.folder} a {first.task.words}"
            raise InputError(f"{each.folder}: is a {what}; compare runs of one task")
        if _meaning(each.task) != _meaning(first.task):
            raise InputError(
                f"{each.folder}: has other classes or label columns ({each.task.words}) than {first.folder} "
                f"({first.task.words}); compare runs on the same labels"
            )
    return answers


def _meaning(task: Task) -> tuple[str, ...]:
    return task.columns if isinstance(task, Regression) else task.classes


def _check_labels(answers: Sequence[Answers], true: Sequence[Array]) -> None:
    for each, labels in zip(answers, true, strict=True):
        if not np.array_equal(np.asarray(true[0], np.float64), np.asarray(labels, np.float64), equal_nan=True):
            raise InputError(
                f"{each.folder} and {answers[0].folder}: give the same records other labels; one of them was changed"
            )


def _metrics(task: Task, true: Array, said: Said) -> dict[str, float]:
    """All metrics that predictions.csv allows."""
    if isinstance(task, Regression):
        if task.outputs == 1:
            return regression_metrics(true[:, 0], said.values[:, 0])
        return multi_regression_metrics(true, said.values, task.columns)
    if isinstance(task, MultiLabel):
        return multilabel_metrics(true, said.values, said.decided)
    if task.per_residue:
        return label_metrics(true, said.decided)
    return classification_metrics(true, said.values, said.decided)


def _known(task: Task, name: str, metrics: dict[str, float]) -> str:
    """Why there is no such metric, and what there is."""
    near = nearest_name(name, metrics)
    meant = f"did you mean {near}? " if near else ""
    why = " of classes per residue, whose probabilities predictions.csv does not hold" if task.per_residue else ""
    return f"there is no such metric{why}; {meant}choose from {', '.join(metrics)}"


def _num_resamples(count: int) -> int:
    return int(np.clip(_MAX_RESAMPLED // max(count, 1), 200, _NUM_RESAMPLES))


def _differences(
    task: Task, name: str, true: Array, said: Sequence[Said], reference: int, groups: Array | None, seed: int
) -> list[Difference | None]:
    """Each run less the reference, with corrected p; None for the reference."""
    found = [
        difference(
            task,
            name,
            true,
            each,
            said[reference],
            measured=lambda rows, some: _metrics(task, rows, some)[name],
            groups=groups,
            num_resamples=_num_resamples(len(true)),
            seed=seed,
        )
        for index, each in enumerate(said)
        if index != reference
    ]
    corrected = [replace(each, p=p) for each, p in zip(found, holm([each.p for each in found]), strict=True)]
    return [*corrected[:reference], None, *corrected[reference:]]


def _intervals(
    task: Task, name: str, true: Array, said: Said, groups: Array | None, count: int, seed: int
) -> dict[str, tuple[float, float]]:
    """95 % intervals of the metrics that are resampled anyway, and of the one that was asked for."""
    num_resamples = _num_resamples(len(true))
    found = weighted_intervals(
        weighted_measures(task, true, said, groups), count, num_resamples=num_resamples, seed=seed
    )
    if name not in found:
        found[name] = bootstrap_interval(
            lambda t, values, decided: _metrics(task, t, Said(values=values, decided=decided))[name],
            (true, said.values, said.decided),
            groups=groups,
            num_resamples=num_resamples,
            seed=seed,
        )
    return of_scores(found)


def _cell(value: float | str) -> float | str:
    """A number to six digits, or nothing where it is not defined."""
    return value if isinstance(value, str) else "" if math.isnan(value) else round(value, 6)
