"""Pseudo-labels: a finetuned run and unlabelled sequences in; a table to finetune a student on out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from seqtrain.device import choose_device, choose_precision
from seqtrain.errors import InputError, RunError
from seqtrain.fitting import Listener
from seqtrain.inference import InferenceConfig
from seqtrain.io.compressed import Source, is_dash
from seqtrain.io.delimited import unique_names, write_table
from seqtrain.io.inputs import read_input
from seqtrain.io.ledger import Ledger
from seqtrain.io.outputs import check_output
from seqtrain.io.records import BadRecords, Record, RecordReader, nucleotide_fraction
from seqtrain.io.splits import TRAIN, VALID
from seqtrain.label_propagation import LabelPropagation, certainty
from seqtrain.models.ensemble import Ensemble
from seqtrain.models.network import Network
from seqtrain.predict import Predictor
from seqtrain.pseudo_labels import KEPT, Labelled, Selection, of_classes, of_outputs
from seqtrain.recipes.own_table import OwnTable, own_table
from seqtrain.run import Run, load_run
from seqtrain.tasks import Classification, MultiLabel, Regression, Task, kind_of

LABELLED, PSEUDO = "labelled", "pseudo"
_THRESHOLDS = {"model": 0.9, "propagation": 0.0}
_SHOWN_CLASSES = 20
_NEIGHBOURS = 50

Labelling = Classification | MultiLabel | Regression
"""Tasks with labels of whole sequences."""


@dataclass(frozen=True, kw_only=True)
class PseudoLabelConfig:
    """Who labels what, and which labels are taken."""

    run: str
    """A finetuned run or an ensemble: the teacher."""
    sequences: str
    """FASTA or table of unlabelled sequences."""
    by: Literal["model", "propagation"] = "model"
    threshold: float | None = None
    """Least confidence; None: 0.9 by the model where the number of each class is not limited, else 0."""
    per_class: int | None = None
    balance: bool = False
    neighbours: int | None = None
    """Of each record in the graph of the propagation; None: 50."""
    sets_of: str | None = None
    """The run whose table and sets are taken; None: ``run``."""
    table: str | None = None
    """Where that run's table is now, if it was moved."""
    sequence_column: str | None = None
    bad_records: BadRecords = "error"
    device: str = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"


def pseudo_label_file(config: PseudoLabelConfig, output: Source, listener: Listener) -> dict[str, int]:
    """Write the labelled rows of a run's table, with their sets, and pseudo-labelled rows of its training set.

    Unlabelled sequences are held in memory. One that is also a validation or test record is never added.

    Returns:
        How many unlabelled records were kept, and left out for each reason.

    Raises:
        InputError: a run without labels of whole sequences, a table that is not the one of the run, unlabelled
            sequences that cannot be read, or settings by which nothing is kept.
    """
    check_output(output, "-" if config.sequences == "-" else Path(config.sequences))
    run, task = _teacher(config)
    selection = _selection(config, task, run)
    base = own_table(run, config.sets_of, config.table, LABELLED, listener.say)
    check_output(output, base.path)
    columns = base.columns
    ledger = Ledger()
    fresh, left_out = _fresh(_unlabelled(config, run, ledger), base)
    for line in ledger.lines():
        listener.say(line)
    if not fresh:
        raise InputError(f"{config.sequences}: nothing is left to label ({_words(left_out)}); give other sequences")
    predictor = _predictor(config, run, listener)
    if config.by == "propagation":
        assert isinstance(task, Classification)
        given = _propagated(config, predictor, task, base, fresh)
    else:
        given = _predicted(predictor, task, fresh)
    fates = selection(given, _class_sizes(task, base))
    chosen = np.flatnonzero(fates == KEPT)
    for name, count in zip(*np.unique(fates[fates != KEPT], return_counts=True), strict=True):
        left_out[str(name)] = int(count)
    if not len(chosen):
        raise InputError(
            f"no pseudo-label is left ({_words(left_out)}; the highest confidence is {given.confidence.max():.3f}); "
            "lower --threshold, or use --per-class"
        )
    _check_sum(ledger, len(chosen), left_out)
    if config.by == "model":
        _say_precision(predictor, task, base, selection, listener)
    _say_counts(task, base, given, chosen, left_out, listener)
    header = unique_names(["identifier", columns.sequence, *columns.targets, "set", "source", "confidence", "weight"])
    write_table(output, header, _rows(base, fresh, given, chosen, run))
    if not is_dash(output):
        split, weight = header[-4], header[-1]
        targets = " ".join(f"--target {quote(name)}" for name in columns.targets)
        listener.say(
            f"wrote {output}: train a student with  seqtrain finetune {quote(str(output))} {targets} --sequence-column "
            f"{quote(columns.sequence)} --split-column {split} --weight-column {weight} --task {kind_of(task)} "
            f"--alphabet {run.alphabet.name}"
        )
    return {KEPT: len(chosen), **left_out}


def _teacher(config: PseudoLabelConfig) -> tuple[Run, Labelling]:
    """The run and its task.

    Raises:
        InputError: it has no labels, or labels per residue.
    """
    run = load_run(Path(config.run))
    if run.task is None:
        raise InputError(
            f"{run.folder}: was pretrained without labels and has none to give; finetune it first: "
            f"seqtrain finetune TABLE --from {run.folder}"
        )
    if not isinstance(run.task, Classification | MultiLabel | Regression):
        raise InputError(
            f"{run.folder}: labels residues ({run.task.words}), and a table holds one confidence per sequence; "
            "pseudo-labels are for labels of whole sequences"
        )
    if isinstance(run.task, Regression) and not isinstance(run.network, Ensemble):
        raise InputError(
            f"{run.folder}: one network says no confidence of a number; train an ensemble, whose members' spread does: "
            "seqtrain finetune TABLE --members 5"
        )
    return run, run.task


def _selection(config: PseudoLabelConfig, task: Task, run: Run) -> Selection:
    """What is asked of a label.

    Raises:
        InputError: values out of range, or what is for classes only.
    """
    if config.threshold is not None and not 0 <= config.threshold <= 1:
        raise InputError(f"--threshold {config.threshold:g}: is a confidence; give a number from 0 to 1")
    if config.per_class is not None and config.per_class < 1:
        raise InputError(f"--per-class {config.per_class}: give at least 1")
    if config.per_class is not None and config.balance:
        raise InputError("--per-class and --balance: both limit each class; give one of the two")
    if config.neighbours is not None and config.neighbours < 1:
        raise InputError(f"--neighbours {config.neighbours}: give at least 1")
    if config.neighbours is not None and config.by != "propagation":
        raise InputError(f"--neighbours {config.neighbours}: is for --by propagation; leave it out")
    limited = config.per_class is not None or config.balance
    if not isinstance(task, Classification):
        for option, given in (("--per-class", config.per_class), ("--balance", config.balance)):
            if given:
                raise InputError(
                    f"{option}: needs one class per sequence, and {run.folder} is {task.words}; use --threshold"
                )
        if config.by == "propagation":
            raise InputError(
                f"--by propagation: spreads one class per sequence, and {run.folder} is {task.words}; use --by model"
            )
    threshold = config.threshold if config.threshold is not None else 0.0 if limited else _THRESHOLDS[config.by]
    return Selection(threshold=threshold, per_class=config.per_class, balance=config.balance)


def _unlabelled(config: PseudoLabelConfig, run: Run, ledger: Ledger) -> list[Record]:
    """The unlabelled records.

    Raises:
        InputError: none, or letters of another alphabet.
    """
    source: Source = "-" if config.sequences == "-" else Path(config.sequences)
    given = read_input(source, sequence_column=config.sequence_column, usual_column=run.columns.get("sequence"))
    raw_records = list(given.records)
    if not raw_records:
        raise InputError(f"{config.sequences}: holds no sequences; give some to label")
    fraction = nucleotide_fraction(raw.sequence for raw in raw_records[:1000])
    if fraction > 0.9 and run.alphabet.name == "protein":
        raise InputError(
            f"{raw_records[0].place}: {fraction:.0%} of the letters are A, C, G, T, U or N, but {run.folder} reads "
            "proteins; translate them first"
        )
    reader = RecordReader(run.alphabet, config.bad_records, ledger, max_length=run.max_length)
    return list(reader(raw_records))


def _fresh(records: list[Record], base: OwnTable) -> tuple[list[Record], dict[str, int]]:
    """The records that are neither labelled nor held out nor there twice; how many others there are, by reason."""
    held_out = {record.letters.tobytes() for record, name in zip(base.records, base.sets, strict=True) if name != TRAIN}
    learnt = {record.letters.tobytes() for record in base.records} - held_out
    seen: set[bytes] = set()
    fresh: list[Record] = []
    left_out: dict[str, int] = {}
    for record in records:
        key = record.letters.tobytes()
        reason = (
            "the very sequence of a validation or test record"
            if key in held_out
            else "labelled already"
            if key in learnt
            else "seen before in the input"
            if key in seen
            else ""
        )
        seen.add(key)
        if reason:
            left_out[reason] = left_out.get(reason, 0) + 1
        else:
            fresh.append(record)
    return fresh, left_out


def _predictor(config: PseudoLabelConfig, run: Run, listener: Listener) -> Predictor:
    device, why = choose_device(config.device)
    listener.say(f"device: {why}")
    precision = choose_precision(config.precision, device)
    return Predictor.of_run(run, InferenceConfig(device=device, precision=precision))


def _outputs(predictor: Predictor, records: list[Record]) -> NDArray[np.float32]:
    """(N, K) logits."""
    return np.concatenate([rows for _, rows in predictor.outputs(records) if rows is not None])


def _predicted(predictor: Predictor, task: Labelling, records: list[Record]) -> Labelled:
    """Labels by the network, or by all members of an ensemble together."""
    if isinstance(task, Regression):
        assert isinstance(predictor.network, Ensemble)
        networks = [member for member in predictor.network.members if isinstance(member, Network)]
        members = np.stack([_outputs(replace(predictor, network=network), records) for network in networks])
        return of_outputs(task, members.mean(axis=0), members)
    return of_outputs(task, _outputs(predictor, records), None)


def _propagated(
    config: PseudoLabelConfig, predictor: Predictor, task: Classification, base: OwnTable, fresh: list[Record]
) -> Labelled:
    """Labels spread from the training records over the nearest neighbours of the body's mean hidden states."""
    train = base.indices(TRAIN)
    records = [*(base.records[index] for index in train), *fresh]
    vectors = np.concatenate([rows for _, rows in predictor.embed(records) if rows is not None])
    classes = np.concatenate([task.encode([base.labels[index] for index in train]), np.full(len(fresh), -1)])
    shares = LabelPropagation(neighbours=config.neighbours or _NEIGHBOURS)(vectors, classes, task.outputs)[len(train) :]
    return of_classes(task, shares, certainty(shares))


def _class_sizes(task: Labelling, base: OwnTable) -> NDArray[np.int64]:
    """(C,) labelled training records of each class; empty where records have no one class."""
    if not isinstance(task, Classification):
        return np.zeros(0, np.int64)
    classes = task.encode([base.labels[index] for index in base.indices(TRAIN)])
    return np.bincount(classes, minlength=task.outputs)


def _check_sum(ledger: Ledger, kept: int, left_out: dict[str, int]) -> None:
    """Every record that was read is kept or left out for a reason."""
    ledger.check()
    accounted = kept + sum(left_out.values()) + ledger.total("dropped")
    if ledger.total("read") != accounted:
        raise RunError(f"{ledger.total('read')} records read, {accounted} accounted for; please report this as a bug")


def _say_precision(
    predictor: Predictor, task: Labelling, base: OwnTable, selection: Selection, listener: Listener
) -> None:
    """How right such labels are on validation records, which chose the weights but were not trained on."""
    valid = base.indices(VALID)
    if not isinstance(task, Classification) or not len(valid):
        return
    given = _predicted(predictor, task, [base.records[index] for index in valid])
    sure = given.confidence >= selection.threshold
    right = [given.labels[i] == base.labels[index] for i, index in enumerate(valid.tolist()) if sure[i]]
    share = f", of which {sum(right) / len(right):.0%} are right" if right else ""
    records = f"{len(right):,} of {len(valid):,} validation records"
    listener.say(f"at a confidence of {selection.threshold:g} or more: {records}{share}")


def _say_counts(
    task: Labelling,
    base: OwnTable,
    given: Labelled,
    chosen: NDArray[np.int64],
    left_out: dict[str, int],
    listener: Listener,
) -> None:
    """One line per class, and one with the reasons for leaving records out."""
    if isinstance(task, Classification):
        assert given.classes is not None
        sizes, added = _class_sizes(task, base), np.bincount(given.classes[chosen], minlength=task.outputs)
        for index, name in list(enumerate(task.classes))[:_SHOWN_CLASSES]:
            listener.say(f"{name}: {sizes[index]:,} labelled, {added[index]:,} pseudo-labelled")
        if task.outputs > _SHOWN_CLASSES:
            listener.say(f"and {task.outputs - _SHOWN_CLASSES:,} more classes")
    listener.say(f"{len(chosen):,} pseudo-labels; {_words(left_out) or 'nothing'} left out")


def _words(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in counts.items())


def _rows(
    base: OwnTable, fresh: list[Record], given: Labelled, chosen: NDArray[np.int64], run: Run
) -> Iterator[list[str | float]]:
    """The labelled rows with their sets, then the pseudo-labelled ones, in the order of their files."""
    for record, text, labels, name, weight in zip(
        base.records, base.texts, base.labels, base.sets.tolist(), base.weights, strict=True
    ):
        yield [record.identifier, text, *labels, name, LABELLED, "", weight]
    for index in chosen.tolist():
        confidence = round(float(given.confidence[index]), 6)
        text = run.alphabet.text(fresh[index].letters)
        yield [fresh[index].identifier, text, *given.labels[index], TRAIN, PSEUDO, confidence, confidence]
