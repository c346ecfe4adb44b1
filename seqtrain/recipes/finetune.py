"""Finetuning: a table in, a model of its labels out."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqtrain.batching import Examples
from seqtrain.config import FinetuneConfig
from seqtrain.config_files import to_toml
from seqtrain.errors import InputError
from seqtrain.fitting import Listener, Training, fit
from seqtrain.io.delimited import unique_names, write_table
from seqtrain.io.ledger import HEADER
from seqtrain.io.run_directory import sha256_of
from seqtrain.io.splits import TRAIN, VALID
from seqtrain.labeled import LabeledData
from seqtrain.models.network import Network
from seqtrain.recipes.adapters import finished_adapter
from seqtrain.recipes.augmentation import digests_of_words
from seqtrain.recipes.bagging import bagged
from seqtrain.recipes.calibration import with_readings
from seqtrain.recipes.chosen_split import digests_of_split
from seqtrain.recipes.diagnosis import fit_diagnosed, subject_of
from seqtrain.recipes.features import with_features
from seqtrain.recipes.findings import Findings, findings_of
from seqtrain.recipes.finetuning import FinetuningJob, prepare_finetuning
from seqtrain.recipes.held_out import outputs_of
from seqtrain.recipes.networks import (
    describe,
    digests_of,
)
from seqtrain.recipes.report import finetune_report
from seqtrain.recipes.similarity import without_module
from seqtrain.recipes.training_core import (
    with_found_rate,
)
from seqtrain.recipes.training_examples import labeled_examples
from seqtrain.recipes.transfer import say_frozen
from seqtrain.run import load_run, save_ensemble, save_model
from seqtrain.run_record import finish_run, opened_run
from seqtrain.scoring import rows_of
from seqtrain.tasks import Classification

_SHOWN_CLASSES = 12


def finetune(
    config: FinetuneConfig, listener: Listener, *, command: str = "", overwrite: bool = False, dry_run: bool = False
) -> dict[str, Any]:
    """Finetune, or continue, or find it done; returns the results that ``run.json`` keeps.

    Raises:
        InputError: input or options that cannot be used, before anything is trained.
        RunError: the training or the writing failed.
        Stopped: a signal came; the training was saved.
    """
    if config.bagging != "none" and config.members == 1 and config.member is None:
        raise InputError(f"--bagging {config.bagging}: is for ensembles; give --members 2 or more")
    if config.members > 1:
        return finetune_members(config, listener, command=command, overwrite=overwrite, dry_run=dry_run)
    started = time.monotonic()
    job = prepare_finetuning(config, listener)
    config, data, training = job.config, job.data, job.training
    output = Path(str(config.output))
    say_plan(config, data, training, listener)
    if dry_run:
        listener.say(to_toml(config).rstrip())
        return {}
    with opened_run(output, "finetune", config, digests(job), command, overwrite=overwrite) as finished:
        if finished is not None:
            listener.say(f"{output}: this run is finished; predict with it, or pass --overwrite to start it anew")
            return finished
        write_inputs(output, job)
        job, outputs = train(job, output, listener)
        findings = findings_of(job, job.training.network, outputs, listener)
        results = write_results(output, job, outputs, findings, started)
    say_findings(output, data, findings, listener)
    return results


def train(
    job: FinetuningJob, output: Path, listener: Listener, *, judged: Examples | None = None
) -> tuple[FinetuningJob, NDArray[np.float32]]:
    """Train to the end, or go on, and save the model.

    Args:
        judged: the records whose outputs are computed at the end, validation among them; None: all that are held out.

    Returns:
        The job, whose task knows its temperature and threshold where they were asked for, and logits for all records of
        the table, 0 for those trained on or not judged.

    Raises:
        RunError, Stopped: as in :func:`finetune`.
    """
    config, data, training = job.config, job.data, with_features(job, output, listener)
    if config.learning_rate == "auto" and training.num_steps:
        training = with_found_rate(training, output, listener)
    if config.debug:
        fit_diagnosed(subject_of(job), training, output, listener, tensorboard=config.tensorboard)
    else:
        fit(training, output, listener, tensorboard=config.tensorboard)
    without_module(training.network)
    assert isinstance(training.network, Network)
    adapter = finished_adapter(training.network, config, job.origin)
    shown = held_out(job) if judged is None else judged
    outputs = outputs_of(training.network, data.task, shown, training.loop)
    data = with_readings(config, data, outputs, listener)
    columns = asdict(job.given.columns)
    save_model(output, training.network, data.store.alphabet, data.task, config.max_length, columns, adapter)
    return replace(job, data=data), outputs


def finetune_members(
    config: FinetuneConfig, listener: Listener, *, command: str = "", overwrite: bool = False, dry_run: bool = False
) -> dict[str, Any]:
    """Finetune the members of an ensemble one after the other, each a run of its own, and the run that joins them.

    Raises:
        InputError, RunError, Stopped: as in :func:`finetune`.
    """
    started = time.monotonic()
    job = prepare_finetuning(config, listener)
    bagged(replace(job.config, member=0), job.data)  # refuses what cannot be done before anything is written
    output = Path(str(job.config.output))
    if dry_run:
        say_plan(job.config, job.data, job.training, listener)
        listener.say(f"{config.members} members like this\n{to_toml(job.config).rstrip()}")
        return {}
    with opened_run(output, "ensemble", job.config, digests(job), command, overwrite=overwrite) as finished:
        if finished is not None:
            listener.say(f"{output}: this ensemble is finished; predict with it, or pass --overwrite to start it anew")
            return finished
        write_inputs(output, job)
        folders = [output / "members" / str(number + 1) for number in range(config.members)]
        for number, folder in enumerate(folders):
            listener.say(f"member {number + 1} of {config.members}")
            # A name on the hub means the same commit to all members, whatever is published in between.
            member = replace(config, members=1, member=number, output=str(folder), revision=job.config.revision)
            finetune(member, listener, command=command, overwrite=overwrite)
        save_ensemble(output, [f"members/{folder.name}" for folder in folders])
        run = load_run(output)
        run.network.to(job.training.loop.device)
        outputs = outputs_of(run.network, job.data.task, held_out(job), job.training.loop)
        listener.say(f"the {config.members} members together")
        job = replace(job, data=with_readings(config, job.data, outputs, listener))
        save_ensemble(output, [f"members/{folder.name}" for folder in folders], job.data.task)
        findings = findings_of(job, run.network, outputs, listener)
        results = write_results(output, job, outputs, findings, started)
    say_findings(output, job.data, findings, listener)
    return results


def digests(job: FinetuningJob) -> dict[str, str]:
    """SHA-256 of what a finetuning reads, by name."""
    path = Path(job.config.table)
    read = {path.name: sha256_of(path)} | digests_of_split(job.config, job.data) | digests_of(job.origin)
    return read | digests_of_words(job.config.augment)


def write_inputs(output: Path, job: FinetuningJob) -> None:
    """Write into a run directory what became of each record."""
    write_table(output / "ledger.csv", HEADER, job.given.ledger.rows())
    write_table(output / "split.csv", ("row", "identifier", "set"), _split_rows(job.data))


def held_out(job: FinetuningJob) -> Examples:
    """The records that are scored at the end."""
    return labeled_examples(job.config, job.data, np.flatnonzero(job.data.split.sets != TRAIN))


def write_results(
    output: Path,
    job: FinetuningJob,
    outputs: NDArray[np.float32],
    findings: Findings,
    started: float,
    *,
    more: Mapping[str, Any] | None = None,
    remarks: Sequence[str] = (),
) -> dict[str, Any]:
    """Write what a finished run shows; returns its results, with ``more`` among them, and ``remarks`` in the report."""
    results = {
        **findings.as_results(),
        **(more or {}),
        "seconds": round(time.monotonic() - started, 1),
    }
    write_table(output / "predictions.csv", *_predictions(job.data, outputs))
    finetune_report(output, results, job.data, outputs, findings, remarks)
    finish_run(output, results)
    return results


def say_findings(output: Path, data: LabeledData, findings: Findings, listener: Listener) -> None:
    """Say the scores of each set, and what to do next.

    Of validation records, which chose the weights, nothing but the score is said where a test set can say more; the
    report has the rest.
    """
    judging = set(data.split.test_sets) or {VALID}
    for each in findings.scored:
        lines = each.words(data.task)
        for line in lines if each.name in judging else lines[:1]:
            listener.say(line)
    for found in findings.reliability:
        if found.test_set in judging:
            listener.say(found.words())
    for line in findings.leakage.words() if findings.leakage else ():
        listener.say(line)
    if not data.split.test_sets:
        listener.say("there is no test set: nothing here says how the model does on records it was not chosen by")
    listener.say(f"wrote {output}: predict with  seqtrain predict {quote(str(output))} FILE")


def _split_rows(data: LabeledData) -> Iterator[tuple[int, str, str]]:
    for index, (row, name) in enumerate(zip(data.rows.tolist(), data.split.sets.tolist(), strict=True)):
        yield row + 1, data.store.name(index), name


def _predictions(data: LabeledData, outputs: NDArray[np.float32]) -> tuple[list[str], Iterator[list[str | float]]]:
    """Header and rows of ``predictions.csv``: every record that was not trained on, beside its label."""
    task = data.task

    def rows() -> Iterator[list[str | float]]:
        for index in np.flatnonzero(data.split.sets != TRAIN).tolist():
            logits = outputs[rows_of(task, data, np.array([index]))]
            yield [data.store.name(index), str(data.split.sets[index]), *data.labels[index], *task.rows(logits)[0]]

    return unique_names(["identifier", "set", *task.columns, *task.header]), rows()


def say_plan(config: FinetuneConfig, data: LabeledData, training: Training, listener: Listener) -> None:
    """Say what will be trained, and for how long."""
    epochs = f" ({config.epochs} {'epoch' if config.epochs == 1 else 'epochs'})" if config.epochs else ""
    assert isinstance(training.network, Network)
    listener.say(f"model: {describe(training.network)}")
    say_frozen(training, listener)
    if config.bagging != "none" and config.member is not None:
        shown, train = len(np.unique(training.examples.spans.records)), len(data.split.indices(TRAIN))
        listener.say(f"bag: {shown:,} of the {train:,} training records ({config.bagging})")
    listener.say(f"{training.num_steps:,} steps of up to {training.tokens_per_step:,} tokens" + epochs)
    order, task = training.examples.order, data.task
    if config.sampling != "natural" and order is not None and isinstance(task, Classification):
        units, _ = order(np.arange(len(training.examples)))
        spans = training.examples.spans
        sizes = np.bincount(data.targets[spans.records[units]], spans.record_shares[units], task.outputs)
        shares = [f"{name} {size / sizes.sum():.1%}" for name, size in zip(task.classes, sizes, strict=True)]
        listener.say(
            f"classes in an epoch of {config.sampling} sampling: {', '.join(shares[:_SHOWN_CLASSES])}"
            + (f" and {len(shares) - _SHOWN_CLASSES} more" if len(shares) > _SHOWN_CLASSES else "")
        )
