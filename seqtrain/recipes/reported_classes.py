"""What a report shows of classes and labels: rates of each, precision against recall, calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seqtrain.evaluation.calibration import Reliability
from seqtrain.evaluation.metrics import per_class, per_label, pr_auc, roc_auc
from seqtrain.evaluation.ranking_curves import precision_recall, receiver_operating
from seqtrain.io.splits import TRAIN, VALID
from seqtrain.losses import IGNORED_CLASS
from seqtrain.recipes.reported_predictions import Predicted
from seqtrain.report.line_chart import thinned
from seqtrain.report.records import Calibration, Curve, Section, Series, Table
from seqtrain.tasks import MultiLabel, Regression

_MAX_SETS_IN_FULL = 1
"""Above it, only F1 is shown of each."""
_MAX_CURVES = 10
_MAX_CURVE_POINTS = 300
_MAX_TOGETHER = 20_000_000
"""Probabilities that are ranked for a curve of all classes together; sorting more takes many seconds."""
_SURE_DIGITS = 3


def classes_of(predicted: Predicted) -> Table | None:
    """Records (or residues) of each class in each set, and how well it is found in the sets that are shown."""
    task, data = predicted.task, predicted.data
    if isinstance(task, Regression):
        return None
    names = [TRAIN, *sorted(set(data.split.sets.tolist()) - {TRAIN})]
    counts = {name: _support(predicted, name) for name in names}
    in_full = len(predicted.scored) <= _MAX_SETS_IN_FULL
    header = ["class", *names]
    columns: list[Sequence[str | int | float]] = [list(map(int, counts[name])) for name in names]
    never = np.zeros(task.outputs, dtype=bool)
    for each in predicted.scored:
        rates, said = _rates(predicted, each.name)
        never |= (said == 0) & (counts[each.name] > 0)
        for rate in ("precision", "recall", "f1") if in_full else ("f1",):
            title = "F1" if rate == "f1" else rate
            header.append(title if in_full else f"{title}, {each.name}")
            columns.append(rates[rate].tolist())
    marks = ["never predicted" if missed else "" for missed in never]
    marks = [
        "no training record" if not count else mark for mark, count in zip(marks, counts[TRAIN].tolist(), strict=True)
    ]
    if any(marks):
        header, columns = [*header, "note"], [*columns, marks]
    return Table(header=tuple(header), rows=tuple(zip(task.classes, *columns, strict=True)))


def _support(predicted: Predicted, name: str) -> NDArray[np.int64]:
    """(K,) rows of each class in a set."""
    task, rows = predicted.task, predicted.rows(name)
    targets = np.asarray(predicted.data.targets)[rows]
    if isinstance(task, MultiLabel):
        return np.asarray((targets > 0.5).sum(axis=0), np.int64)
    targets = targets.astype(np.int64)
    return np.bincount(targets[targets != IGNORED_CLASS], minlength=task.outputs)


def _rates(predicted: Predicted, name: str) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.int64]]:
    """precision, recall and f1, each (K,), and how often each class is predicted, (K,)."""
    task = predicted.task
    if isinstance(task, MultiLabel):
        rows = predicted.rows(name)
        values = predicted.values[rows]
        said = task.decide(values)
        return per_label(predicted.true[rows], values, said), np.asarray(said.sum(axis=0), np.int64)
    true, guessed = predicted.classes(name)
    return per_class(true, guessed, task.outputs), np.bincount(guessed, minlength=task.outputs)


@dataclass(frozen=True)
class _Ranked:
    """One question of yes or no, with its answers and the scores for yes."""

    name: str
    positive: NDArray[np.bool_]
    scores: NDArray[np.float64]


def rankings_of(predicted: Predicted) -> Section | None:
    """Precision against recall, and the ROC, of every class against the others, or of all together."""
    if isinstance(predicted.task, Regression):
        return None
    charts = tuple(
        chart for each in predicted.scored for chart in _ranking_charts(each.name, _ranked(predicted, each.name))
    )
    note = (
        "Of what is called a class from a probability on, precision is the share that is one, and recall the share of "
        "the class that is found. In brackets: average precision, by chance the share of the class, and the area "
        "below the ROC, which by chance is 0.5."
    )
    return Section(title="Precision and recall", charts=charts, note=note) if charts else None


def _ranked(predicted: Predicted, name: str) -> list[_Ranked]:
    task, rows = predicted.task, predicted.rows(name)
    assert not isinstance(task, Regression)
    true, values = np.asarray(predicted.true[rows]), predicted.values[rows]
    if isinstance(task, MultiLabel):
        positive, known = true > 0.5, ~np.isnan(true.astype(np.float64))
    else:
        known = np.repeat((true != IGNORED_CLASS)[:, None], task.outputs, axis=1)
        positive = true[:, None] == np.arange(task.outputs)
    classes = range(task.outputs)
    if task.outputs == 2 and not isinstance(task, MultiLabel):
        classes = range(1, 2)
    often = sorted(classes, key=lambda k: -int(positive[known[:, k], k].sum()))
    together = task.outputs > _MAX_CURVES
    # Of many classes each has few records, and its curve is mostly chance; of many labels the common ones have enough.
    shown = sorted(often[: (_MAX_CURVES - 1) * isinstance(task, MultiLabel)] if together else often)
    ranked = [_Ranked(task.classes[k], positive[known[:, k], k], values[known[:, k], k]) for k in shown]
    if together and known.size <= _MAX_TOGETHER:
        ranked.insert(0, _Ranked("all classes together", positive[known], values[known]))
    return [each for each in ranked if each.positive.any() and not each.positive.all()]


def _ranking_charts(name: str, ranked: Sequence[_Ranked]) -> list[Curve]:
    if not ranked:
        return []
    one = len(ranked) == 1
    precision, operating = [], []
    for each in ranked:
        share = float(each.positive.mean())
        chance = "" if one else f", by chance {share:.2f}"
        words = f"{each.name} ({pr_auc(each.positive, each.scores):.3f}{chance})"
        precision.append(_series(words, *precision_recall(each.positive, each.scores)))
        words = f"{each.name} ({roc_auc(each.positive, each.scores):.3f})"
        operating.append(_series(words, *receiver_operating(each.positive, each.scores)))
    share = float(ranked[0].positive.mean())
    return [
        Curve(
            title=f"Precision and recall of {precision[0].name}, {name}" if one else f"Precision and recall, {name}",
            x_label="recall",
            y_label="precision",
            series=tuple(precision),
            levels=((f"chance, {share:.3f}", share),) if one else (),
            unit_square=True,
        ),
        Curve(
            title=f"ROC of {operating[0].name}, {name}" if one else f"ROC, {name}",
            x_label="false positive rate",
            y_label="true positive rate",
            series=tuple(operating),
            diagonal="chance",
            unit_square=True,
        ),
    ]


def _series(name: str, x: NDArray[np.float64], y: NDArray[np.float64]) -> Series:
    return thinned(Series(name=name, x=x, y=y), _MAX_CURVE_POINTS)


def calibration_of(reliability: Sequence[Reliability]) -> Section | None:
    """How sure predictions are, and how often they are right."""
    if not reliability:
        return None
    reliability = sorted(reliability, key=lambda each: each.test_set == VALID)
    charts = tuple(
        Calibration(title=each.test_set, confidence=each.confidence, observed=each.observed, counts=each.counts)
        for each in reliability
    )
    header = ("set", "calibration error (ECE)", "Brier score", "cross-entropy (nats)", "temperature")
    rows = tuple(
        (
            each.test_set,
            each.expected_calibration_error,
            each.brier,
            each.cross_entropy,
            "none" if each.temperature is None else round(each.temperature, _SURE_DIGITS),
        )
        for each in reliability
    )
    return Section(
        title="Calibration",
        sentences=tuple(f"{words[0].upper()}{words[1:]}." for words in (each.words() for each in reliability)),
        charts=charts,
        tables=(Table(header=header, rows=rows),),
        note="Below the diagonal predictions are surer than they are right. The calibration error is the mean distance "
        "from it, each bin counted by its predictions.",
    )
