"""Configurations as frozen dataclasses: read from TOML, written back as TOML, compared when a run goes on."""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import tomllib
import types
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from seqtrain.errors import InputError
from seqtrain.io.records import BadRecords, Long


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What pretraining and finetuning share. None means: chosen for the data and the device, and written down."""

    output: str | None = None
    """The run directory."""
    alphabet: str = "auto"
    model: str | None = None
    """The network, in words; what they leave out, ``size`` decides."""
    size: str | None = None
    """Parameters of the body: the name of a size, such as 8M, or any number, such as 20M."""
    initialise: Literal["glorot", "he", "lecun", "orthogonal", "fixup"] | None = None
    """Where fresh weights start (see :mod:`seqtrain.models.initialisation`); None: where each network starts them."""
    spectral_norm: float | None = None
    """What the largest singular value of each layer of the body is kept at (see :mod:`seqtrain.models.spectral`)."""
    init_from: str | None = None
    """A run directory, a model folder or a name on the Hugging Face hub to take the weights from."""
    revision: str | None = None
    """Branch, tag or commit on the hub; None: the main branch, and once resolved the commit that it meant."""
    lora: str | None = None
    """Low-rank adapters in the place of training every weight, in words (see :mod:`seqtrain.models.adapters`)."""
    freeze: str | None = None
    """What stays as it was in ``init_from``, or for how long, in words (see :mod:`seqtrain.freezing`)."""
    layer_decay: float | None = None
    """Factor on the rate per layer away from the head; None: what the words of the optimiser say, else 1."""
    max_length: int = 1022
    """Letters; longer sequences are handled as ``long`` says."""
    long: Long = "window"
    bad_records: BadRecords = "error"
    optimizer: str = "adamw"
    """In words, see :mod:`seqtrain.words`; rates and decay are fields of their own."""
    schedule: str = "warmup-cosine"
    """In words."""
    regularize: tuple[str, ...] = ()
    """What is done to gradients and weights at every step, in words."""
    average: str | None = None
    """Average of the weights that is evaluated and kept, in words."""
    stop_early: str | None = None
    """When to end before the last step, in words."""
    on_nan: Literal["stop", "skip", "rollback"] = "stop"
    """What happens when a loss or gradient is not finite."""
    curriculum: str | None = None
    """What is shown first, or how long the crops are, in words (see :mod:`seqtrain.curriculum`)."""
    augment: tuple[str, ...] = ()
    """Augmenters of the training sequences, in words (see :mod:`seqtrain.augment.policy`), one after the other."""
    steps: int | None = None
    """Optimiser updates."""
    tokens_per_step: int | None = None
    tokens_per_microbatch: int | Literal["auto"] | None = None
    """Computed at once; auto finds the most that fit by trying, before the training."""
    learning_rate: float | Literal["auto"] | None = None
    """Peak rate; auto finds it by a range test before the training."""
    weight_decay: float = 0.01
    warmup_fraction: float = 0.1
    dropout: float | None = None
    num_evaluations: int | None = None
    """Evenly spread over the training, the last one at its end."""
    seed: int = 0
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    compile: bool = False
    """Compile the layers of transformers, which takes a minute at first."""
    activation_checkpointing: bool = False
    """Compute layers twice instead of keeping what happened inside them: less memory, about a third more time."""
    tensorboard: bool = False
    debug: bool = False
    """Look for faults before, during and after the training, and say in words what is found."""


@dataclass(frozen=True, kw_only=True)
class PretrainConfig(RunConfig):
    """Self-supervised learning on unlabelled sequences."""

    inputs: tuple[str, ...] = ()
    """FASTA files or globs."""
    valid: str | None = None
    """FASTA of held-out sequences; None holds some of the inputs out."""
    long: Long = "crop"
    schedule: str = "warmup-cosine:final_fraction=0.05"
    residues: int | None = None
    """Budget of letters to train on, counted with repetitions."""
    objective: str = "masked-lm"
    """What is asked of the sequences, in words (see :mod:`seqtrain.objectives`)."""
    masked_fraction: float | None = None
    """Of the residues, for objectives that hide some; None: as many as is usual for the objective."""
    sampling: str = "natural"
    """How often each sequence comes, in words: natural, or families:power=0.5 (see :mod:`seqtrain.families`)."""
    families: str | None = None
    """Table of families, representative and member; None: they are found by the k-mers that sequences share."""


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig(RunConfig):
    """Supervised learning from a table."""

    table: str = ""
    target: tuple[str, ...] = ()
    sequence_column: str | None = None
    split_column: str | None = None
    split: str | None = None
    """A file that says which row is in which set, as ``seqtrain split`` writes it."""
    fold: int | None = None
    """Which fold of it, from 1 on."""
    split_by: str | None = None
    """How the sets are made where nothing names them, in words (see :mod:`seqtrain.splitting`)."""
    mask_column: str | None = None
    weight_column: str | None = None
    task: Literal["auto", "regression", "classification", "multilabel", "residue"] = "auto"
    loss: str | None = None
    """In words; None: the loss of the task."""
    disturbed_fraction: float = 0.0
    """Of the class labels, replaced by others drawn anew each epoch (DisturbLabel)."""
    sampling: Literal["natural", "square-root", "balanced", "weights"] = "natural"
    """Shares of the classes in an epoch: as they are, by the square root of their sizes, or all alike; or records by
    their weights, which are then left out of the loss."""
    mix: str | None = None
    """How pairs of training sequences are mixed, in words (see :mod:`seqtrain.mixing`)."""
    resample: str | None = None
    """How classes are made more alike in the space of hidden states, in words (see :mod:`seqtrain.resampling`)."""
    members: int = 1
    """Networks of an ensemble, which predicts by their mean."""
    calibrate: Literal["temperature", "none"] | None = None
    """How probabilities are corrected on the validation records when the training is done; None: not at all."""
    threshold: str | None = None
    """From which probability on something is predicted (see :mod:`seqtrain.evaluation.thresholds`); None: 0.5."""
    baselines: Literal["all", "linear", "none"] = "all"
    """Simple models that stand beside each score; linear leaves out neighbours and trees."""
    leakage: Literal["none", "sampled", "full"] = "sampled"
    """Whether the nearest training record of held-out ones is looked for: of about 2,000 by draw, or of all."""
    bagging: Literal["none", "bootstrap", "balanced"] = "none"
    """Records that each member is trained on: all, a bootstrap sample, or as many of each class as the rarest has."""
    member: int | None = None
    """Which member of an ensemble this run is, from 0 on; set by the ensemble."""
    epochs: int | None = None
    head: str | None = None
    """What turns hidden states into one answer per sequence, in words; None: pooled-head."""
    head_learning_rate: float | None = None
    keep_head: bool | None = None
    """Go on with the head of ``init_from``, which must be a run on labels of the same meaning; None: a new head."""


@dataclass(frozen=True, kw_only=True)
class DistillConfig(FinetuneConfig):
    """A small network that learns from a teacher, and from the labels of a table."""

    teacher: tuple[str, ...] = ()
    """Finished runs, which teach together."""
    unlabeled: tuple[str, ...] = ()
    """FASTA files or globs of sequences that only the teacher has a say on."""
    temperature: float | None = None
    """That both outputs are softened by; None: 2, where there are probabilities to soften."""
    hard_fraction: float = 0.5
    """Of the loss, that of the labels; the rest is that of the teacher."""
    teacher_input: Literal["same", "clean"] = "same"
    """Whether the teacher sees the sequence as the student does, or without augmentation."""
    teacher_mean: Literal["logits", "probabilities"] = "logits"
    """What is averaged over several networks."""
    cache_teacher: bool = False
    """Ask the teacher once about every input and keep its answers in the run directory."""
    similarity: float | None = None
    """Weight of the similarities of augmented to unchanged sequences, learnt from the teacher; None: not learnt."""
    similarity_steps: int | None = None
    """Updates of the module that the teacher compares by; None: a quarter of the student's."""


@dataclass(frozen=True, kw_only=True)
class TuneConfig(FinetuneConfig):
    """A search for the settings of a finetuning; what is set here of a finetuning stays, the rest may be varied."""

    trials: int = 30
    """Of all processes that are at work on the search together."""
    sampler: str = "tpe"
    """How settings are chosen, in words (see :mod:`seqtrain.tune.samplers`)."""
    pruner: str | None = None
    """When a trial is ended early, in words (see :mod:`seqtrain.tune.pruners`); None: median, where that can be."""
    search: tuple[str, ...] = ()
    """What is varied out of the box: settings, architecture, augmentation, none; empty: settings."""
    vary: tuple[str, ...] = ()
    """More to vary, or other ranges, in words (see :mod:`seqtrain.tune.reading`)."""
    space: str | None = None
    """TOML file of what is varied, in the place of what is varied out of the box."""
    fixed: tuple[str, ...] = ()
    """Settings that stay although they have their default."""
    metric: str | None = None
    """Of the validation records, that trials are judged by; None: the main one of the task."""
    also: tuple[Literal["latency", "parameters", "memory"], ...] = ()
    """Further objectives, to be made small."""
    timeout: float | None = None
    """Seconds after which no trial is begun."""
    keep: int = 3
    """Of the best trials, whose models are kept."""


Config = TypeVar("Config", bound=RunConfig)
Value = TypeVar("Value")


def read_config(kind: type[Config], path: Path | None, options: Mapping[str, Any]) -> Config:
    """A configuration from a TOML file, overridden by the options that were given on the command line.

    Raises:
        InputError: a file that is missing or not TOML; a key (with the nearest match), type or value that does not fit.
    """
    values: dict[str, Any] = {}
    if path is not None:
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}; check the path of --config") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: not TOML: {error}; correct it") from None
    where = f"{path}: " if path is not None else ""
    hints = get_type_hints(kind)
    for name, value in values.items():
        if name not in hints:
            near = difflib.get_close_matches(name, hints, n=1)
            meant = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(sorted(hints))}"
            raise InputError(f"{where}unknown key {name!r}; {meant}")
        values[name] = _fitted(f"{where}{name}", value, hints[name])
    values |= {name: value for name, value in options.items() if value is not None and value != ()}
    config = kind(**values)
    _check_ranges(config)
    return config


def settled(value: Value | None) -> Value:
    """A setting that was left open and has been chosen since."""
    assert value is not None, "a recipe chooses every open setting before it uses one"
    return value


def _fitted(name: str, value: Any, hint: Any) -> Any:
    """The value in the type of its field; whole numbers pass as floats, and lists as tuples."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        kinds = [argument for argument in arguments if argument is not type(None)]
        words = [word for kind in kinds if get_origin(kind) is Literal for word in get_args(kind)]
        return value if value in words else _fitted(name, value, kinds[0])
    if origin is Literal:
        if value not in arguments:
            raise InputError(f"{name} = {value!r}: choose from {', '.join(map(str, arguments))}")
        return value
    if origin is tuple:
        if isinstance(value, str):
            return (value,)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise InputError(f"{name} = {value!r}: must be a list of texts")
        return tuple(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise InputError(f"{name} = {value!r}: must be {_TYPE_NAMES[hint]}")
    return value


_TYPE_NAMES = {int: "a whole number", float: "a number", str: "a text in quotes", bool: "true or false"}
_POSITIVE = (
    "max_length", "steps", "tokens_per_step", "tokens_per_microbatch", "learning_rate", "head_learning_rate",
    "num_evaluations", "residues", "epochs", "members", "spectral_norm", "temperature", "similarity",
    "similarity_steps", "trials", "timeout",
)  # fmt: skip
_FRACTIONS = ("warmup_fraction", "dropout", "masked_fraction", "disturbed_fraction")


def _check_ranges(config: RunConfig) -> None:
    for name in _POSITIVE:
        value = getattr(config, name, None)
        if name == "steps" and value == 0 and _starts_trained(config):
            continue
        if value not in (None, "auto") and not 0 < value < math.inf:
            kind = "whole" if isinstance(value, int) else "finite"
            raise InputError(f"{option(name)} {value}: must be a {kind} number greater than 0")
    for name in _FRACTIONS:
        value = getattr(config, name, None)
        if value is not None and not 0 <= value < 1:
            raise InputError(f"{option(name)} {value}: must be at least 0 and less than 1")
    for name in ("residues", "epochs"):
        if config.steps is not None and getattr(config, name, None) is not None:
            raise InputError(f"--steps and {option(name)}: both are budgets; give one of them")
    if config.steps == 0 and config.curriculum is not None:
        raise InputError(f"--curriculum {config.curriculum}: nothing is shown in --steps 0; leave one of the two out")
    if config.layer_decay is not None and not 0 < config.layer_decay <= 1:
        raise InputError(f"--layer-decay {config.layer_decay}: must be above 0 and at most 1; 0.8 is usual")
    if not 0 <= config.weight_decay < math.inf:
        raise InputError(f"--weight-decay {config.weight_decay}: must be a finite number, at least 0")
    if not 0 <= getattr(config, "hard_fraction", 0) <= 1:
        raise InputError(f"--hard-fraction {getattr(config, 'hard_fraction', 0)}: must be between 0 and 1")
    if getattr(config, "masked_fraction", None) == 0:
        raise InputError("--masked-fraction 0: nothing would be asked for; 0.15 is usual")


def _starts_trained(config: RunConfig) -> bool:
    """Whether a training without steps has a result: classes that are imprinted before the first one."""
    return (getattr(config, "head", None) or "").partition(":")[0].strip() == "imprinted-head"


def option(name: str) -> str:
    """The command-line spelling of a field."""
    return {"init_from": "--from"}.get(name, f"--{name.replace('_', '-')}")


def to_toml(config: RunConfig) -> str:
    """TOML text of all fields that are set; :func:`read_config` reads it back to an equal configuration."""
    lines = []
    for field in fields(config):
        value = getattr(config, field.name)
        if value is None:
            continue
        # TOML's basic strings, numbers, booleans and arrays are JSON's, for every value that occurs here.
        lines.append(
            f"{field.name} = {json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)}"
        )
    return "\n".join(lines) + "\n"


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What changed between two sets of facts, in words."""
    return [
        f"{name}: {before.get(name)!r} then, {now.get(name)!r} now"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]


_NOT_DECIDING = (
    "output", "tensorboard", "inputs", "valid", "table", "init_from", "activation_checkpointing", "teacher",
    "unlabeled", "families", "split", "debug", "leakage", "baselines",
)  # fmt: skip
"""Where things lie does not matter: the contents of the inputs are compared by their hashes. Nor does what is kept in
memory: activation checkpointing changes no number."""


def facts(config: RunConfig) -> dict[str, Any]:
    """The fields that decide what a training computes, as plain values."""
    values = dataclasses.asdict(config)
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in values.items()
        if name not in _NOT_DECIDING
    }
