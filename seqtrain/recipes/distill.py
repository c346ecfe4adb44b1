"""Distillation: one or several finished runs and a table in, one small model out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from seqtrain.batching import Examples
from seqtrain.config import DistillConfig
from seqtrain.config_files import to_toml
from seqtrain.fitting import Listener
from seqtrain.inference import InferenceConfig
from seqtrain.io.records import expand_paths
from seqtrain.io.run_directory import sha256_of
from seqtrain.io.splits import TRAIN
from seqtrain.labeled import LabeledData
from seqtrain.models.network import FreshConfig, Network
from seqtrain.objectives import Distillation, Supervised
from seqtrain.recipes.distillation_checks import check_examples, check_options, settled_temperature
from seqtrain.recipes.findings import findings_of
from seqtrain.recipes.finetune import (
    digests,
    held_out,
    say_findings,
    say_plan,
    train,
    write_inputs,
    write_results,
)
from seqtrain.recipes.finetuning import FinetuningJob, Input, prepare_finetuning
from seqtrain.recipes.similarity import check_steps, with_similarity
from seqtrain.recipes.student_and_teacher import as_results, beside_teacher, speeds
from seqtrain.recipes.teacher_answers import (
    Answers,
    answers_of_inputs,
    answers_of_records,
    digest_of_inputs,
    save_answers,
    saved_answers,
)
from seqtrain.recipes.teachers import (
    Teacher,
    TeacherRun,
    check_teacher,
    ensemble_words,
    load_teachers,
    num_parameters,
    num_seen,
    teacher_length,
)
from seqtrain.recipes.training_examples import labeled_examples
from seqtrain.recipes.unlabelled import read_unlabelled, with_unlabelled
from seqtrain.run_record import opened_run
from seqtrain.words import name_of, names_of

_SMALLEST = 100_000
"""Parameters of the body of a student that was given no size."""


@dataclass(frozen=True)
class DistillationJob:
    """A distillation before its first step."""

    config: DistillConfig
    job: FinetuningJob
    """The student's; trained by an objective that asks the teacher."""
    runs: list[TeacherRun]
    teacher: Teacher
    shown: LabeledData
    """The records of the table, and behind them those without labels."""


def distill(
    config: DistillConfig, listener: Listener, *, command: str = "", overwrite: bool = False, dry_run: bool = False
) -> dict[str, Any]:
    """Distil, or continue, or find it done; returns the results that ``run.json`` keeps.

    Raises:
        InputError: input or options that cannot be used, before anything is trained.
        RunError: the training or the writing failed.
        Stopped: a signal came; the training was saved.
    """
    started = time.monotonic()
    prepared = prepare_distillation(config, listener)
    config, job = prepared.config, prepared.job
    output = Path(str(config.output))
    say_plan(config, job.data, job.training, listener)
    listener.say(f"teacher: {ensemble_words(prepared.runs, config.teacher_mean)}, {_size_of(prepared)}")
    if dry_run:
        listener.say(to_toml(config).rstrip())
        return {}
    facts = digests(job) | _digests(prepared)
    with opened_run(output, "distill", config, facts, command, overwrite=overwrite) as finished:
        if finished is not None:
            listener.say(f"{output}: this run is finished; predict with it, or pass --overwrite to start it anew")
            return finished
        write_inputs(output, job)
        trained, outputs = train(_as_taught(prepared, output, listener), output, listener)
        job = replace(job, data=trained.data)
        student, loop = job.training.network, job.training.loop
        findings = findings_of(job, student, outputs, listener)
        listener.say("asking the teacher about the same records")
        scored, kept = beside_teacher(findings.scored, job.data, outputs, prepared.teacher, _in_windows(prepared), loop)
        findings = replace(findings, scored=scored)
        own = replace(job.training.examples, augmenter=None, mixing=None, length_at=None)
        examples = held_out(job) if len(held_out(job)) else own
        speed = speeds(student, examples, prepared.teacher, _in_windows(prepared), loop)
        remarks = [*(each.words() for each in kept), speed.words(loop.device)]
        about = {
            "networks": len(prepared.teacher.members),
            "parameters": num_parameters(prepared.teacher),
            "student_parameters": num_parameters(student),
        }
        sentences = [f"{line[0].upper()}{line[1:]}." for line in remarks]
        results = write_results(
            output, job, outputs, findings, started, more=as_results(kept, speed, about), remarks=sentences
        )
    for line in remarks:
        listener.say(line)
    say_findings(output, job.data, findings, listener)
    return results


def prepare_distillation(config: DistillConfig, listener: Listener) -> DistillationJob:
    """Load the teacher, read the input, settle what was left open, and build the student's training.

    Raises:
        InputError: input or options that cannot be used, a teacher that says something else among them.
    """
    check_options(config)
    output = config.output or f"runs/distill-{Path(config.table).name.partition('.')[0]}"
    runs = load_teachers(config.teacher, Path(output))
    config = _with_size(replace(config, output=output), runs, listener)
    shown: list[LabeledData] = []

    def extend(given: Input) -> LabeledData:
        for run in runs:
            check_teacher(run, given.data.task, given.data.store.alphabet, config.table)
            if seen := num_seen(run, given.data):
                listener.say(
                    f"--teacher {run.name}: was trained on {seen:,} of the records that are held out here, so that its "
                    "score is too good; train both with one --seed, or name the --split-column"
                )
        data = given.data
        if config.unlabeled:
            data = with_unlabelled(data, read_unlabelled(config, config.unlabeled, data, given.ledger, listener))
        shown.append(data)
        return data

    job = prepare_finetuning(config, listener, extend)
    settled_config = job.config
    assert isinstance(settled_config, DistillConfig)
    temperature = settled_temperature(config, job.data.task, runs)
    teacher = Teacher(runs, job.data.task, config.teacher_mean, temperature or 1.0)
    settled_config = replace(settled_config, temperature=temperature)
    student = job.training.network
    assert isinstance(student, Network)
    check_examples(settled_config, runs, student, job.training.examples)
    teacher.to(job.training.loop.device)
    supervised = job.training.objective
    assert isinstance(supervised, Supervised)
    objective = Distillation(
        teacher=teacher,
        supervised=supervised,
        temperature=temperature or 1.0,
        hard_fraction=config.hard_fraction,
        by_bins=teacher.by_bins,
    )
    training = replace(job.training, objective=objective)
    if config.similarity is not None:
        check_steps(config, training)
    job = replace(job, config=settled_config, training=training)
    return DistillationJob(settled_config, job, runs, teacher, shown[0])


def _with_size(config: DistillConfig, runs: Sequence[TeacherRun], listener: Listener) -> DistillConfig:
    """The configuration with a network for the student, smaller than the teacher's where none was asked for."""
    if config.init_from is not None or (config.model is not None and config.size is not None):
        return config
    largest = max((network for run in runs for network in run.networks), key=lambda each: num_parameters(each.body))
    kind = name_of(type(largest.body.config))
    model = config.model or (kind if kind in names_of(FreshConfig) else "transformer")
    size = config.size or f"{max(_SMALLEST, num_parameters(largest.body) // 4) // 1000}K"
    listener.say(
        f"student: {model} of {size}"
        + ("" if config.size else ", a quarter of the largest network of the teacher, or 100K if that is more")
        + "; choose another with --model and --size"
    )
    return replace(config, model=model, size=size)


def _as_taught(prepared: DistillationJob, output: Path, listener: Listener) -> FinetuningJob:
    """The student's job, with all that is learnt of or asked of the teacher before the first step."""
    config, job = prepared.config, prepared.job
    if config.similarity is None:
        return _with_known_answers(prepared, output, listener)
    made_from = {**_digests(prepared), "inputs": digest_of_inputs(job.training.examples)}
    training = with_similarity(config, job.training, prepared.teacher, made_from, output, listener)
    return replace(job, training=training)


def _with_known_answers(prepared: DistillationJob, output: Path, listener: Listener) -> FinetuningJob:
    """The student's job, whose teacher's answers to inputs that never change are computed beforehand or read back."""
    config, job, training = prepared.config, prepared.job, prepared.job.training
    if config.hard_fraction == 1 or (config.teacher_input == "same" and not config.cache_teacher):
        return job
    device = training.loop.device
    asking = InferenceConfig(device=device)
    examples = training.examples
    if config.teacher_input == "clean":
        # In windows that every teacher can read.
        windows = replace(config, max_length=teacher_length(prepared.runs))
        examples = labeled_examples(windows, prepared.shown, prepared.shown.split.indices(TRAIN))
    facts = {**_digests(prepared), "inputs": digest_of_inputs(examples), "mean": config.teacher_mean}
    facts |= {"temperature": str(config.temperature), "input": config.teacher_input}
    answers: Answers | None = saved_answers(output, facts) if config.cache_teacher else None
    if answers is None:
        listener.say(f"asking the teacher about {len(examples):,} inputs")
        ask = answers_of_records if config.teacher_input == "clean" else answers_of_inputs
        answers = ask(prepared.teacher, examples, asking)
        if config.cache_teacher:
            save_answers(answers, output, facts)
    objective = training.objective
    assert isinstance(objective, Distillation)
    return replace(job, training=replace(training, objective=replace(objective, teacher=answers)))


def _digests(prepared: DistillationJob) -> dict[str, str]:
    """SHA-256 of the teacher's weights and of the sequences without labels, by name."""
    found = {
        f"teacher {i + 1} {key}": value for i, run in enumerate(prepared.runs) for key, value in run.digests.items()
    }
    paths = _unlabelled_paths(prepared.config)
    return found | {f"unlabeled {i + 1} {path.name}": sha256_of(path) for i, path in enumerate(paths)}


def _unlabelled_paths(config: DistillConfig) -> list[Path]:
    return expand_paths(config.unlabeled) if config.unlabeled else []


def _in_windows(prepared: DistillationJob) -> Examples:
    """The records that are scored, or all where none is, in windows that every teacher can read."""
    sets = prepared.job.data.split.sets
    records = np.flatnonzero(sets != TRAIN) if (sets != TRAIN).any() else np.arange(len(sets))
    length = teacher_length(prepared.runs)
    return labeled_examples(replace(prepared.config, max_length=length), prepared.job.data, records)


def _size_of(prepared: DistillationJob) -> str:
    teacher, student = num_parameters(prepared.teacher), num_parameters(_network(prepared))
    return f"{teacher:,} parameters, {teacher / student:.1f} times the student's"


def _network(prepared: DistillationJob) -> nn.Module:
    return prepared.job.training.network
