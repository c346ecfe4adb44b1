"""``--debug``: what is looked at before, during and after a training, said in words and kept in ``debug.json``."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from seqtrain.batch import Batch
from seqtrain.batching import steps_from
from seqtrain.checkpoint import Progress
from seqtrain.config import RunConfig
from seqtrain.diagnosis import (
    Curves,
    Gain,
    Remark,
    Watch,
    first_loss,
    frozen_parameters,
    gradient_check,
    hidden_letters,
    initial_weights,
    judge_capacity,
    judge_fit,
    judge_gradients,
    judge_learning,
    judge_memory,
    judge_rate,
    judge_units,
    judge_updates,
    look_at_units,
    neighbours,
    not_finite,
    order_of_examples,
    overfit_one_batch,
)
from seqtrain.diagnosis import labels as label_check
from seqtrain.diagnosis.finiteness import failed_update
from seqtrain.diagnosis.histograms import gradient_histograms, histograms
from seqtrain.diagnosis.overfitting_one_batch import can_be_memorised
from seqtrain.diagnosis.remarks import fine, worst_first
from seqtrain.diagnosis.updates import as_json
from seqtrain.fitting import Listener, Training, fit
from seqtrain.io.columns import Columns
from seqtrain.io.run_directory import finite, write_json_atomically
from seqtrain.labeled import LabeledData
from seqtrain.metrics_log import read_metrics
from seqtrain.objectives import Contrastive, Supervised, unattacked
from seqtrain.orders import ByProgress, EasyFirst, Shuffled
from seqtrain.recipes.diagnosed_data import guesses, labels_in_order, look_at_data
from seqtrain.recipes.finetuning import FinetuningJob
from seqtrain.training import NotFinite, StepReport

FILE_NAME = "debug.json"
_LOOKED_AT, _SMALL = 4096, 1024
"""Tokens of the batch that is looked at, and of the one that is learnt by heart."""
_FEW, _FEW_HIDDEN = 8, 3
"""Records of the latter, where there is one label for each, and where there are many hidden letters."""
_EARLY = 0.5
"""Of the steps, before which no alarm is given."""
_ORDERED = 4000
"""Examples whose order is looked at."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is to be diagnosed: a training as it was prepared, and what was asked of it."""

    training: Training
    config: RunConfig
    data: LabeledData | None = None
    """Of a finetuning."""
    columns: Columns | None = None

    @property
    def num_targets(self) -> int:
        """Labels that are trained on, or letters of a pretraining."""
        examples = self.training.examples
        if self.data is not None and not self.data.task.per_residue:
            return len(np.unique(examples.spans.records)) * int(np.prod(self.data.targets.shape[1:]))
        return int(examples.spans.lengths.sum())


def subject_of(job: FinetuningJob) -> Subject:
    """A finetuning or distillation, to be diagnosed."""
    training = replace(job.training, objective=unattacked(job.training.objective))
    return Subject(training=training, config=job.config, data=job.data, columns=job.given.columns)


def fit_diagnosed(
    subject: Subject, training: Training, folder: Path, listener: Listener, *, tensorboard: bool = False
) -> Progress:
    """:func:`seqtrain.fitting.fit` with a diagnosis before, during and behind it; the weights are those without it.

    Args:
        training: the one that is run, which may be on features of that of the subject.

    Raises:
        Stopped, RunError: as in ``fit``.
    """
    kept = _read(folder)
    if "before" not in kept:
        listener.say("looking for faults before training")
        started = time.monotonic()
        with _uncompiled(subject):
            kept = look_before(subject)
        kept["seconds_before"] = round(time.monotonic() - started, 2)
        _write(folder, kept)
    say_remarks(_remarks(kept, "before"), listener, f"before training, in {kept['seconds_before']} seconds")
    watch = Watch(network=training.network, num_steps=training.num_steps)
    loop = replace(training.loop, regularizers=(*training.loop.regularizers, watch))
    alarm = Alarm(listener=listener, watch=watch)
    try:
        progress = fit(replace(training, loop=loop), folder, alarm, tensorboard=tensorboard)
    except NotFinite as error:
        found = [failed_update(training.network, str(error)), *judge_updates(watch)]
        say_remarks(found, listener, "at the update that failed")
        _write(folder, {**kept, "during": [each.to_json() for each in found]})
        raise
    started = time.monotonic()
    with _uncompiled(subject):
        units = look_at_units(training.network, unattacked(training.objective), [_batch(training, _LOOKED_AT)])
    kept |= {
        "during": [each.to_json() for each in [*judge_updates(watch), *judge_units(units)]],
        "layers": as_json(watch),
        "histograms": [*histograms(units, "at the end"), *gradient_histograms(watch)],
        "seconds_after": round(time.monotonic() - started, 2),
    }
    _write(folder, kept)
    return progress


def look_before(subject: Subject) -> dict[str, Any]:
    """Everything that is looked at before the first step, as ``debug.json`` keeps it: remarks, losses, histograms."""
    training, config = subject.training, subject.config
    network, objective = training.network, training.objective
    asked = config.freeze is not None or config.lora is not None
    few = _FEW if subject.data is not None else _FEW_HIDDEN
    large, small = _batch(training, _LOOKED_AT), _batch(training, _SMALL, few)
    frozen = frozen_parameters(network, asked=asked)
    broken = not_finite(network, objective, large)
    remarks = [broken, frozen, _order(subject)]
    kept: dict[str, Any] = {}
    if (hidden := hidden_letters(objective, large)) is not None:
        remarks.append(hidden)
    if subject.data is not None:
        remarks += look_at_data(subject.data, subject.columns, config.seed)
    if broken.severity == "fine":
        imprinted = (getattr(config, "head", None) or "").startswith("imprinted-head")
        known = config.init_from is not None or imprinted
        remarks.append(first_loss(network, objective, large, is_trained=known))
        if not isinstance(objective, Contrastive):
            remarks.append(neighbours(network, _batch(training, _LOOKED_AT, 2 * _FEW)))
        if training.num_steps:
            remarks.append(judge_gradients(gradient_check(network, objective, small, seed=config.seed)))
        unmoved: Sequence[str] = ()
        if training.num_steps and can_be_memorised(objective):
            memorised = overfit_one_batch(network, objective, small)
            unmoved = memorised.unmoved
            remarks.append(judge_memory(memorised, frozen=asked))
            kept["overfit_one_batch"] = finite(list(memorised.losses))
        remarks.append(initial_weights(network, unmoved))
        units = look_at_units(network, objective, [large])
        remarks += judge_units(units)
        kept["histograms_before"] = histograms(units, "before training")
    return {"before": [each.to_json() for each in remarks], **kept}


def diagnosis_of(
    subject: Subject,
    folder: Path,
    listener: Listener,
    *,
    outputs: NDArray[np.float32] | None = None,
    guess: float = float("nan"),
) -> tuple[Remark, ...] | None:
    """All remarks on a finished training, the worst first, said and kept; None where it was not diagnosed.

    Args:
        outputs: of a finetuning, for all records, as it scores them.
        guess: the loss of a constant answer, of a pretraining.
    """
    kept = _read(folder)
    if not subject.config.debug or "before" not in kept:
        return None
    gain: Gain | None = None
    train_guess = valid_guess = guess
    if subject.data is not None and outputs is not None:
        train_guess, valid_guess, gain = guesses(subject.data, outputs, _records_shown(subject))
        if not isinstance(subject.training.objective, Supervised):
            train_guess = float("nan")  # a loss that teachers take part in is not that of labels alone
    curves = Curves.of(read_metrics(folder), train_guess=train_guess, valid_guess=valid_guess)
    above = [each.value for each in _remarks(kept, "before") if each.check == label_check.CHECK]
    trained = sum(each.numel() for each in subject.training.network.parameters() if each.requires_grad)
    after = [
        judge_rate(curves),
        judge_learning(curves, gain, above[0] if above else None),
        judge_fit(curves),
        judge_capacity(curves, trained, subject.num_targets),
    ]
    if not subject.training.num_steps:
        after = [fine("learning", "no step was made")]
    kept["after"] = [each.to_json() for each in after]
    _write(folder, kept)
    remarks = worst_first([each for stage in ("before", "during", "after") for each in _remarks(kept, stage)])
    said = {each.line for each in _remarks(kept, "before")}
    say_remarks([each for each in remarks if each.line not in said], listener, "after training")
    return tuple(remarks)


def say_remarks(remarks: Iterable[Remark], listener: Listener, when: str) -> None:
    """One line for each warning and note, and one that counts them all."""
    ordered = worst_first(remarks)
    counts = {name: sum(each.severity == name for each in ordered) for name in ("warning", "note", "fine")}
    parts = [f"{counts[name]} {name}{'s' * (counts[name] != 1)}" for name in ("warning", "note")]
    listener.say(f"diagnosis {when}: {', '.join(parts)}, {counts['fine']} fine")
    for each in ordered:
        if each.severity != "fine":
            listener.say(f"  {each.line}")


@dataclass(kw_only=True)
class Alarm:
    """A listener that passes everything on, and says at an evaluation what is alarming, once for each kind of fault."""

    listener: Listener
    watch: Watch
    said: set[str] = field(default_factory=set, init=False)

    def say(self, text: str) -> None:
        """One line of text."""
        self.listener.say(text)

    def step_done(self, report: StepReport, num_steps: int) -> None:
        """An update was made."""
        self.listener.step_done(report, num_steps)

    def evaluated(self, step: int, num_steps: int, measures: dict[str, float]) -> None:
        """The held-out records were scored."""
        self.listener.evaluated(step, num_steps, measures)
        # Not before the warm-up is over, as it begins with next to nothing.
        for each in judge_updates(self.watch) if step >= num_steps * _EARLY else []:
            if each.severity == "warning" and each.check not in self.said:
                self.said.add(each.check)
                self.listener.say(f"step {step}: {each.line}")


def _order(subject: Subject) -> Remark:
    examples = subject.training.examples
    if isinstance(examples.order, EasyFirst | ByProgress):
        return fine("order", "as the curriculum asks")
    units = _first_units(subject.training)
    labels = None
    if subject.data is not None:
        records = examples.spans.records
        labels = labels_in_order(subject.data, records) if records.max() < len(subject.data.targets) else None
    return order_of_examples(units, labels, seed=subject.config.seed)


def _records_shown(subject: Subject) -> NDArray[np.int64]:
    """The records of an epoch, or of its beginning, as often as they come in it."""
    records = subject.training.examples.spans.records[_first_units(subject.training)]
    assert subject.data is not None
    # Those behind the table's own have no label.
    return records[records < len(subject.data.labels)]


def _first_units(training: Training) -> NDArray[np.int64]:
    """The examples of an epoch, or the first of many, as they come."""
    examples = training.examples
    order = None if isinstance(examples.order, EasyFirst | ByProgress) else examples.order
    order = order or Shuffled(len(examples), training.loop.seed)
    return order(np.arange(min(len(examples), _ORDERED)))[0]


def _uncompiled(subject: Subject) -> AbstractContextManager[Any]:
    """Compiled layers as they were written: compiling them for a few batches of other kinds would take minutes."""
    return torch.compiler.set_stance("force_eager") if subject.config.compile else nullcontext()


def _batch(training: Training, tokens: int, most: int | None = None) -> Batch:
    """The first examples of the training, as many as fit."""
    examples = training.examples
    if isinstance(examples.order, ByProgress):
        examples = replace(examples, order=None)
    step = next(steps_from(examples, min(tokens, int(examples.num_tokens.sum())), 0, training.loop.seed))
    return examples.batch(step.units[:most], step.epochs[:most], step.cropped_to)


def _remarks(kept: dict[str, Any], stage: str) -> list[Remark]:
    return [Remark.from_json(each) for each in kept.get(stage, [])]


def _read(folder: Path) -> dict[str, Any]:
    path = folder / FILE_NAME
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}
    except ValueError:
        return {}  # written by somebody else: it is made anew


def _write(folder: Path, kept: dict[str, Any]) -> None:
    write_json_atomically(folder / FILE_NAME, finite(kept))
