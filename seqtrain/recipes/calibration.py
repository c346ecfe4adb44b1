"""What is chosen on validation records when a training is done: temperatures and thresholds; how sure outputs are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqtrain.config import FinetuneConfig
from seqtrain.errors import InputError
from seqtrain.evaluation.calibration import HOTTEST, Reliability, best_temperature, best_temperatures, reliability
from seqtrain.evaluation.thresholds import RULE_TITLES, Rule, Threshold, best_threshold, read_threshold
from seqtrain.fitting import Listener
from seqtrain.io.splits import VALID
from seqtrain.labeled import LabeledData
from seqtrain.scoring import rows_of, true_values
from seqtrain.tasks import Classification, MultiLabel, Regression, ResidueClassification, Task, logits_of

_SHOWN_LABELS = 8


def check_calibration(config: FinetuneConfig, data: LabeledData) -> None:
    """Refuse, before anything is trained, what could not be chosen afterwards.

    Raises:
        InputError: a task without probabilities, no validation records, or none of both kinds.
    """
    task = data.task
    valid = rows_of(task, data, data.split.indices(VALID))
    if config.calibrate == "temperature":
        if isinstance(task, Regression):
            raise InputError(
                "--calibrate temperature: numbers have no probabilities to calibrate; leave it out (how unsure they "
                "are is told by seqtrain predict --uncertainty)"
            )
        if not len(valid):
            raise InputError(
                "--calibrate temperature: temperatures are chosen on validation records, and there are none; name some "
                "in --split-column, or leave it out"
            )
    if config.threshold is None:
        return
    said, rule = f"--threshold {config.threshold}", read_threshold(config.threshold)
    if isinstance(task, Regression) or (not isinstance(task, MultiLabel) and task.outputs != 2):
        raise InputError(f"{said}: is for two classes or several labels, and this is {task.words}; leave it out")
    if isinstance(rule, float):
        return
    if not len(valid):
        raise InputError(
            f"{said}: thresholds are chosen on validation records, and there are none; name some in --split-column, or "
            "give a number"
        )
    true = np.asarray(data.targets)[valid]
    columns = true.T if isinstance(task, MultiLabel) else [true[true >= 0]]
    if not any(len(np.unique(column[~np.isnan(column.astype(float))])) == 2 for column in columns):
        what = "has both values of any label" if isinstance(task, MultiLabel) else "are of both classes"
        raise InputError(f"{said}: no validation records {what}; take other records for validation, or give a number")


def with_readings(
    config: FinetuneConfig, data: LabeledData, outputs: NDArray[np.float32], listener: Listener
) -> LabeledData:
    """The data, whose task reads outputs as the configuration asks: by temperatures and thresholds.

    Args:
        outputs: (N, K) or (letters, K) of all records; those of the validation records are looked at.
    """
    if isinstance(data.task, Regression) or (config.calibrate != "temperature" and config.threshold is None):
        return data
    task: Classification | MultiLabel | ResidueClassification = data.task
    rows = rows_of(task, data, data.split.indices(VALID))
    true = np.asarray(true_values(task, data)[rows])
    if config.calibrate == "temperature":
        task = replace(task, temperature=_temperature(task, true, outputs[rows], listener))
    if config.threshold is not None:
        task = replace(task, threshold=_threshold(task, true, outputs[rows], config.threshold, listener))
    return replace(data, task=task)


def _temperature(
    task: Classification | MultiLabel | ResidueClassification,
    true: NDArray[Any],
    outputs: NDArray[np.float32],
    listener: Listener,
) -> tuple[float, ...]:
    logits = logits_of(task, outputs)
    if isinstance(task, MultiLabel):
        several = best_temperatures(true, logits)
        found = tuple(several.tolist())
        said = _listed(task.classes, [f"{value:.3g}" for value in found])
    else:
        best = best_temperature(true, logits)
        found = (1.0 if best is None else best,)
        said = f"{found[0]:.3g}"
        if best is None:
            said += " (all of them are right, so that they cannot tell how sure to be)"
        if best == HOTTEST:
            said += " (the highest: what the network says of them is worth nothing)"
    before, after = (_nats(replace(task, temperature=each), true, outputs) for each in ((), found))
    listener.say(
        f"temperature {said}, chosen on the validation records: cross-entropy {before:.4f} before, {after:.4f} after"
    )
    return found


def _nats(task: Task, true: NDArray[Any], outputs: NDArray[np.float32]) -> float:
    return reliability(true, task.values(outputs)).cross_entropy


def _threshold(
    task: Classification | MultiLabel | ResidueClassification,
    true: NDArray[Any],
    outputs: NDArray[np.float32],
    asked: str,
    listener: Listener,
) -> tuple[float, ...]:
    rule = read_threshold(asked)
    count = task.outputs if isinstance(task, MultiLabel) else 1
    if isinstance(rule, float):
        listener.say(f"threshold {rule:g}, as asked")
        return (rule,) * count
    values = task.values(outputs)
    if not isinstance(task, MultiLabel):
        kept = true >= 0
        found = best_threshold(true[kept] == 1, values[kept, 1], rule)
        noun = "residue" if isinstance(task, ResidueClassification) else "record"
        listener.say(f"{found.words(noun)} (from there on {task.classes[1]!r} is predicted)")
        return (found.value,)
    several = [_of_label(true[:, k].astype(np.float64), values[:, k], rule) for k in range(count)]
    shown = _listed(task.classes, ["0.5" if each is None else f"{each.value:.3g}" for each in several])
    untold = sum(each is None for each in several)
    known = [each for each in several if each is not None]
    listener.say(
        f"thresholds for {RULE_TITLES[rule]} on {len(true):,} validation records: {shown}; mean "
        f"{np.mean([each.score for each in known]):.3f}, where 0.5 would give "
        f"{np.mean([each.score_at_half for each in known]):.3f}"
        + (f"; 0.5 for {untold:,} that all or none of them have" if untold else "")
    )
    return tuple(0.5 if each is None else each.value for each in several)


def _of_label(true: NDArray[np.float64], probabilities: NDArray[np.float64], rule: Rule) -> Threshold | None:
    known = ~np.isnan(true)
    positive = true[known] > 0.5
    return best_threshold(positive, probabilities[known], rule) if 0 < positive.sum() < len(positive) else None


def _listed(names: Sequence[str], values: Sequence[str]) -> str:
    shown = [f"{name} {value}" for name, value in zip(names, values, strict=True)][:_SHOWN_LABELS]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more else "")


def reliabilities(data: LabeledData, outputs: NDArray[np.float32], names: Sequence[str]) -> tuple[Reliability, ...]:
    """How sure the outputs of each named set are, and how right; () where there are no probabilities.

    Args:
        outputs: (N, K) or (letters, K) of all records.
    """
    if isinstance(data.task, Regression):
        return ()
    return tuple(reliability_of(data, outputs, name, data.split.indices(name)) for name in names)


def reliability_of(
    data: LabeledData, outputs: NDArray[np.float32], name: str, records: NDArray[np.int64]
) -> Reliability:
    """How sure the outputs of some records are, and how right; arguments as in :func:`reliabilities`."""
    task = data.task
    rows = rows_of(task, data, records)
    temperature = getattr(task, "temperature", ())
    return reliability(
        true_values(task, data)[rows],
        task.values(outputs[rows]),
        test_set=name,
        temperature=float(np.mean(temperature)) if temperature else None,
    )
