"""The settings of every kind of run, as frozen dataclasses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeVar

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
    adversarial: str | None = None
    """How embeddings are moved against the network in training, in words (see :mod:`seqtrain.objectives.adversarial`).
    """
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


Value = TypeVar("Value")


def settled(value: Value | None) -> Value:
    """A setting that was left open and has been chosen since."""
    assert value is not None, "a recipe chooses every open setting before it uses one"
    return value


def option(name: str) -> str:
    """The command-line spelling of a field."""
    return {"init_from": "--from"}.get(name, f"--{name.replace('_', '-')}")
