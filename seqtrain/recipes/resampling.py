"""From --resample to what makes classes more alike in the space of hidden states, and what it cannot go with."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqtrain.batching import Examples
from seqtrain.config import FinetuneConfig
from seqtrain.errors import InputError
from seqtrain.features import fixed_pooling
from seqtrain.freezing import Body
from seqtrain.labeled import LabeledData
from seqtrain.models.network import Network
from seqtrain.recipes.transfer import freezing_of
from seqtrain.resampling import Making, Resampling, check_resampling
from seqtrain.tasks import Classification, Task
from seqtrain.words import read_words


def resampling_of(config: FinetuneConfig) -> Resampling | None:
    """How the training records are resampled, if at all.

    Raises:
        InputError: words that name no way or do not fit it, or options that do not go with it.
    """
    if config.resample is None:
        return None
    said = f"--resample {config.resample}"
    try:
        resampling: Resampling = read_words(config.resample, Resampling, "resampling")[0]
    except InputError as error:
        raise InputError(f"{said}: {error}") from None
    for option, value, usual in (("sampling", config.sampling, "natural"), ("bagging", config.bagging, "none")):
        if value != usual:
            raise InputError(
                f"{said}: --{option} {value} changes how often classes come, too; leave one of the two out"
            )
    if config.steps == 0:
        raise InputError(f"{said}: with --steps 0 nothing is trained; leave one of the two out")
    if config.init_from is None:
        raise InputError(
            f"{said}: goes by what a trained body makes of sequences; name trained weights with --from, or take "
            "--sampling balanced"
        )
    return resampling


def check_resample(config: FinetuneConfig, data: LabeledData, network: Network, examples: Examples) -> None:
    """Refuse, before anything is trained, a resampling that does not fit the table, the network or what it is shown.

    Raises:
        InputError: no classes; a class with too few members; a network of which more than the head is trained, where
            points are made; a loss or an order that goes by the records of the table.
    """
    resampling = resampling_of(config)
    if resampling is None:
        return
    said = f"--resample {config.resample}"
    task = data.task
    if not isinstance(task, Classification):
        raise InputError(f"{said}: needs one class per sequence, and this is {task.words}; leave it out")
    if isinstance(resampling, Making):
        _check_made(said, config, task, network, examples)
    if examples.order is not None:
        raise InputError(
            f"{said}: --curriculum {config.curriculum} ranks the records of the table; leave one of the two out"
        )
    if _has_counts(task.loss):
        raise InputError(
            f"{said}: --loss {config.loss} goes by the sizes of the classes, too; leave one of the two out"
        )
    try:
        check_resampling(resampling, np.bincount(classes_of(data, examples)[1], minlength=task.outputs), task.classes)
    except InputError as error:
        raise InputError(f"{said}: {error}") from None


def classes_of(data: LabeledData, examples: Examples) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The records (n,) that are trained on, increasing, and their classes (n,)."""
    records = np.unique(examples.spans.records)
    return records, data.targets[records].astype(np.int64)


def obstacle_to_features(config: FinetuneConfig, task: Task, network: Network, examples: Examples) -> str | None:
    """Why hidden states of a frozen body cannot be computed once for the whole training, in half a sentence."""
    if task.per_residue:
        return "labels of residues need the hidden states of all of them"
    if fixed_pooling(network.head) is None:
        return "this head learns how to pool (others do not: --head pooled-head:pooling=mean, or max)"
    if config.augment:
        return "--augment changes the sequences in every epoch"
    if examples.augmenter is not None:
        return "--long crop cuts the sequences anew in every epoch"
    if config.adversarial is not None:
        return "--adversarial moves the embeddings in every step"
    if examples.mixing is not None:
        return "--mix mixes the sequences anew in every epoch"
    if examples.length_at is not None:
        return "--curriculum cuts the sequences to lengths that change"
    return None


def _check_made(said: str, config: FinetuneConfig, task: Task, network: Network, examples: Examples) -> None:
    """Refuse points that are made where more than the head is trained, or where they would not stay what they are."""
    if not isinstance(freezing_of(config), Body) or fixed_pooling(network.head) is None:
        missing = [] if isinstance(freezing_of(config), Body) else ["--freeze body"]
        missing += [] if fixed_pooling(network.head) is not None else ["--head pooled-head:pooling=mean (or max)"]
        raise InputError(
            f"{said}: makes points that have no letters, which only a head on a frozen body can learn from; "
            f"add {' '.join(missing)}, or take tomek-links or cluster-centroids"
        )
    obstacle = obstacle_to_features(config, task, network, examples)
    if obstacle is not None:
        raise InputError(f"{said}: goes by hidden states that stay what they are, and {obstacle}; leave one out")


def _has_counts(loss: Any) -> bool:
    """Whether a loss, or a part of it, weighs by class counts."""
    if not is_dataclass(loss):
        return isinstance(loss, tuple) and any(map(_has_counts, loss))
    if getattr(loss, "class_counts", None) is not None:
        return True
    return any(_has_counts(getattr(loss, field.name)) for field in fields(loss))
