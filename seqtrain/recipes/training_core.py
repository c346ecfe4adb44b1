"""From words in the configuration to what trains a network: optimiser, schedule, regularisers, averaging, stopping."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import nn

from seqtrain.alphabet import Alphabet
from seqtrain.averaging import Averaging
from seqtrain.config import FinetuneConfig, RunConfig, settled
from seqtrain.errors import InputError
from seqtrain.fitting import Listener, Training
from seqtrain.imbalance import class_counts
from seqtrain.io.run_directory import write_json_atomically, write_text_atomically
from seqtrain.io.splits import TRAIN
from seqtrain.labeled import LabeledData
from seqtrain.losses import Loss, OnlineHardExamples, Quantized, check_loss, read_loss
from seqtrain.lr_range import RangeTest, range_picture
from seqtrain.mixing import Mixing
from seqtrain.models.checkpointing import checkpoint_layers
from seqtrain.models.compiling import compile_layers
from seqtrain.models.network import Network
from seqtrain.models.spectral import normalise_layers
from seqtrain.objectives import Attack
from seqtrain.optimizers import Optimizer
from seqtrain.recipes.augmentation import training_augmenter
from seqtrain.recipes.training_examples import curriculum_of
from seqtrain.regularization import ClipNorm, Regularization
from seqtrain.schedules import Plateau, Schedule, has_momentum, momentum_at, shortened
from seqtrain.stopping import Stopping
from seqtrain.tasks import MultiLabel, Regression, Task
from seqtrain.words import read_words

_PROVISIONAL_RATE = 1e-3
"""Of an optimiser whose rate is still to be found; only its ratio to other rates counts."""
_FOUND_RATE = "lr_range.json"
_ASSUMED_STEPS = 10**12
"""Of a training whose steps are not known yet, for words that are checked before the data are read: more than any."""
_ASKED_MOMENTUM = re.compile(r"(low|high)_momentum\s*=|cycle_momentum\s*=\s*true")
_OWN_STEPS = re.compile(r"\bnum_steps\s*=")


def check_words(config: RunConfig, alphabet: Alphabet | None = None) -> None:
    """Refuse words that no data could make right, before any are read.

    Args:
        alphabet: that the network reads, which augmenters must fit; None where it is not known yet, and then only the
            words of the others are looked at.

    Raises:
        InputError: words that name nothing, or do not fit it, of the optimiser, the schedule, the regularisers, the
            average, the stopping criterion, the curriculum, the augmenters or the mixing.
    """
    rate = config.learning_rate or _PROVISIONAL_RATE
    # Words that say how many steps there are can only be judged when that is known.
    unknown = config.steps is None
    fields = ("optimizer", "schedule", "average")
    own = {name for name in fields if unknown and _OWN_STEPS.search(getattr(config, name) or "")}
    kept = {name: getattr(RunConfig, name) for name in own}
    judged = replace(config, learning_rate=rate, **kept)
    num_steps = config.steps or _ASSUMED_STEPS
    optimizer_of(judged, num_steps)
    schedule_of(judged, num_steps)
    regularizers_of(judged, num_steps)
    averaging_of(judged, num_steps)
    stopping_of(judged, has_valid=True)
    if config.curriculum is not None:
        curriculum_of(config.curriculum)
    if alphabet is not None:
        training_augmenter(config.augment, alphabet, config.max_length, crop=False)
    if isinstance(config, FinetuneConfig) and config.mix is not None:
        _read("mix", config.mix, Mixing, "mixing", {})
    attack_of(config)


def prepare_layers(network: Network, config: RunConfig) -> None:
    """Normalise the layers of a network, compile them, or let them keep less in memory, as the configuration says.

    Raises:
        InputError: layers that cannot be normalised or compiled, or no compiler.
    """
    if config.spectral_norm is not None:
        if config.lora is not None:
            raise InputError(f"--spectral-norm {config.spectral_norm:g}: adapters add to layers; leave --lora out")
        if config.compile:
            # Twenty products per layer, unrolled: on a CPU tracing one layer took a minute.
            raise InputError(f"--spectral-norm {config.spectral_norm:g}: cannot be compiled; leave --compile out")
        normalise_layers(network, config.spectral_norm, trained=config.init_from is not None)
    if config.compile:
        compile_layers(network.body)
    if config.activation_checkpointing:
        checkpoint_layers(network.body)


def peak_rate(rate: float | Literal["auto"]) -> float:
    """The rate, or one to begin with while it is still to be found."""
    return _PROVISIONAL_RATE if rate == "auto" else rate


def with_found_rate(training: Training, folder: Path, listener: Listener) -> Training:
    """The training with the peak rate that a range test proposes; its result is kept in the folder and used again.

    Raises:
        RunError: the loss never fell in the test.
    """
    path = folder / _FOUND_RATE
    if path.exists():
        rate = float(json.loads(path.read_text(encoding="utf-8"))["proposed"])
    else:
        listener.say("looking for the learning rate by a range test")
        result = RangeTest()(replace(training, loop=replace(training.loop, warn=listener.say)))
        rate = result.proposed
        write_text_atomically(folder / "lr_range.svg", range_picture(result))
        write_json_atomically(path, result.to_json())
    listener.say(f"learning rate: {rate:.3g}, by the range test in {path}")
    optimizer = training.optimizer
    head = optimizer.head_learning_rate
    scaled = None if head is None else head * rate / optimizer.learning_rate
    return replace(training, optimizer=replace(optimizer, learning_rate=rate, head_learning_rate=scaled))


def optimizer_of(config: RunConfig, num_steps: int) -> Optimizer:
    """The optimiser with the configuration's rates and decay, where the words do not say otherwise.

    Raises:
        InputError: words that name no optimiser or do not fit it.
    """
    given = {
        "learning_rate": peak_rate(settled(config.learning_rate)),
        "head_learning_rate": getattr(config, "head_learning_rate", None),
        "weight_decay": config.weight_decay,
        "num_steps": num_steps,
    }
    optimizer: Optimizer = _read("optimizer", config.optimizer, Optimizer, "optimizer", given)
    if optimizer.learning_rate != given["learning_rate"]:
        # The head's rate and a range test go by the option.
        raise InputError(
            f"--optimizer {config.optimizer}: the rate is --learning-rate {optimizer.learning_rate:g}; write it so"
        )
    return optimizer


def schedule_of(config: RunConfig, num_steps: int, *, has_valid: bool = True) -> Schedule:
    """The schedule of a training of so many steps of the first size.

    Raises:
        InputError: words that name no schedule or do not fit it; nothing is held out for one that looks at it; a
            momentum for an optimiser that has none.
    """
    given = {"num_steps": num_steps, "warmup_fraction": config.warmup_fraction, "seed": config.seed}
    schedule: Schedule = _read("schedule", config.schedule, Schedule, "schedule", given)
    if isinstance(schedule, Plateau) and not has_valid:
        raise InputError(f"--schedule {config.schedule}: no validation records to judge by; hold some out")
    if _ASKED_MOMENTUM.search(config.schedule) and momentum_at(schedule, 0) is not None:
        # Built for some layer or other: which groups have a momentum does not depend on the network.
        optimizer = replace(optimizer_of(config, num_steps), layer_decay=1.0).build(nn.Linear(1, 1))
        if not has_momentum(optimizer.param_groups):
            raise InputError(
                f"--schedule {config.schedule}: --optimizer {config.optimizer} has no momentum to cycle; leave that "
                "out, or take one that has, such as adamw or sgd:momentum=0.9"
            )
    return shortened(schedule)


def regularizers_of(config: RunConfig, num_steps: int) -> tuple[Regularization, ...]:
    """What is done at every step, in turn: gradients are clipped to a norm of 1 first, unless a clip is asked for.

    Raises:
        InputError: words that name no regulariser or do not fit it.
    """
    given = {"seed": config.seed, "num_steps": num_steps}
    asked = tuple(_read("regularize", words, Regularization, "regulariser", given) for words in config.regularize)
    return asked if any(isinstance(each, ClipNorm) for each in asked) else (ClipNorm(), *asked)


def attack_of(config: RunConfig) -> Attack | None:
    """How embeddings are moved against the network in training, if at all.

    Raises:
        InputError: words that name no attack or do not fit it.
    """
    words: str | None = getattr(config, "adversarial", None)
    attack: Attack | None = None if words is None else _read("adversarial", words, Attack, "attack", {})
    return attack


def averaging_of(config: RunConfig, num_steps: int) -> Averaging | None:
    """The average of the weights that is kept, if any.

    Raises:
        InputError: words that name none or do not fit it.
    """
    if config.average is None:
        return None
    averaging: Averaging = _read("average", config.average, Averaging, "average", {"num_steps": num_steps})
    return averaging


def stopping_of(config: RunConfig, *, has_valid: bool) -> Stopping | None:
    """When to end early, if at all.

    Raises:
        InputError: words that name none or do not fit it; nothing is held out to judge by.
    """
    if config.stop_early is None:
        return None
    if not has_valid:
        raise InputError(f"--stop-early {config.stop_early}: no validation records to judge by; hold some out")
    stopping: Stopping = _read("stop_early", config.stop_early, Stopping, "criterion", {})
    return stopping


def task_with_loss(words: str | None, data: LabeledData, records: NDArray[np.int64] | None = None) -> Task:
    """The task of some data with the loss that words choose, fitted to the training records; as it is without words.

    Args:
        records: whose classes are counted; None for all training records.

    Raises:
        InputError: words that name no loss, or one that is not for such targets.
    """
    task = data.task
    if words is None:
        return task
    counts = None if isinstance(task, Regression) else tuple(training_counts(data, records).tolist())
    names = None if isinstance(task, Regression) else task.classes
    try:
        loss = read_loss(words, class_counts=counts, class_names=names)
        loss = _with_bins(loss, data)
        check_loss(loss, task.loss.kind, task.words, task.outputs)
    except ValueError as error:
        raise InputError(f"--loss {words}: {error}") from None
    return replace(task, trained_loss=loss)


def _with_bins(loss: Loss, data: LabeledData) -> Loss:
    """The loss, fitted to the training targets where it goes by bins of them."""
    by_bins = loss.loss if isinstance(loss, OnlineHardExamples) else loss
    if not isinstance(by_bins, Quantized):
        return loss
    fitted = by_bins.fitted(np.asarray(data.targets, np.float64)[data.split.indices(TRAIN)])
    return replace(loss, loss=fitted) if isinstance(loss, OnlineHardExamples) else fitted


def training_counts(data: LabeledData, records: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """(C,) training records, or residues, of each class or label; of some records, or of all that are trained on."""
    train, task = data.split.indices(TRAIN) if records is None else records, data.task
    if isinstance(task, MultiLabel):
        return np.asarray(np.nansum(data.targets[train], axis=0), np.int64)
    targets = data.targets.astype(np.int64)
    if task.per_residue:
        offsets = data.store.offsets
        return class_counts(np.concatenate([targets[offsets[i] : offsets[i + 1]] for i in train]), task.outputs)
    return class_counts(targets[train], task.outputs)


def _read(name: str, words: str, union: Any, what: str, given: dict[str, Any]) -> Any:
    said = f"--{name.replace('_', '-')} {words}"
    try:
        value = read_words(words, union, what, given=given)[0]
    except InputError as error:
        raise InputError(f"{said}: {error}") from None
    num_steps = given.get("num_steps")
    if getattr(value, "num_steps", num_steps) != num_steps:
        raise InputError(f"{said}: num_steps is that of the training, {num_steps}; leave it out, or give --steps")
    return value
