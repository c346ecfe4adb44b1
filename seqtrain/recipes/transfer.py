"""From words to what is taken over from trained weights: what is frozen, rates by depth, where heads start."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from seqtrain.batch import Batch
from seqtrain.config import FinetuneConfig, RunConfig
from seqtrain.errors import InputError
from seqtrain.fitting import Listener, Training
from seqtrain.freezing import Body, Freezing, Thawing, freeze
from seqtrain.inference import InferenceConfig, embeddings
from seqtrain.io.splits import TRAIN
from seqtrain.labeled import LabeledData
from seqtrain.losses import Loss, OnlineHardExamples, Quantized
from seqtrain.models.heads import LanguageModelHeadConfig
from seqtrain.models.imprinted_head import ImprintedHead
from seqtrain.models.network import Head, HeadConfig, Network, head_from_dict
from seqtrain.models.pretrained import HEAD_CONFIG, HEAD_WEIGHTS
from seqtrain.models.weights import check_state, read_json, read_weights
from seqtrain.optimizers import Optimizer
from seqtrain.recipes.bagging import bagged
from seqtrain.recipes.networks import Origin
from seqtrain.recipes.training_core import optimizer_of
from seqtrain.recipes.training_examples import labeled_examples
from seqtrain.run_record import DAMAGED, TASK, damaged
from seqtrain.task_file import task_from_json, task_to_json
from seqtrain.tasks import TASKS, Classification, Task, as_trained
from seqtrain.training import LoopConfig
from seqtrain.words import name_of, read_words


def freezing_of(config: RunConfig) -> Freezing | None:
    """What a configuration freezes, if anything.

    Raises:
        InputError: words that do not fit; a fresh body; adapters in a body that is frozen whole.
    """
    if config.freeze is None:
        return None
    try:
        freezing: Freezing = read_words(config.freeze, Freezing, "part to freeze")[0]
    except InputError as error:
        raise InputError(f"--freeze {config.freeze}: {error}") from None
    if config.init_from is None:
        raise InputError(
            f"--freeze {config.freeze}: a fresh body has learnt nothing that could be kept; name trained weights with "
            "--from, or leave it out"
        )
    if isinstance(freezing, Body) and config.lora is not None:
        raise InputError(
            f"--freeze {config.freeze}: would freeze the adapters of --lora, too; leave one of the two out"
        )
    return freezing


def frozen(config: RunConfig, network: nn.Module, num_steps: int) -> Thawing | None:
    """Freeze what the configuration says, before an optimiser is built, and plan the rest of so many steps.

    Raises:
        InputError: see :func:`freezing_of`; also more layers than there are, or nothing that would be frozen.
    """
    freezing = freezing_of(config)
    if freezing is None:
        return None
    try:
        return freeze(network, freezing, num_steps)
    except ValueError as error:
        raise InputError(f"--freeze {config.freeze}: {error}") from None


def say_frozen(training: Training, listener: Listener) -> None:
    """Say what stays frozen and until when, where anything does."""
    if isinstance(training.loop.freezing, Thawing):
        listener.say(f"freezing: {training.loop.freezing.words}")


def trained_by(config: RunConfig, network: nn.Module, num_steps: int) -> Optimizer:
    """The optimiser of a configuration with its --layer-decay, tried on the network that it is to train.

    Raises:
        InputError: words that do not fit, or a network that the optimiser cannot train.
    """
    optimizer = optimizer_of(config, num_steps)
    if config.layer_decay is not None:
        if optimizer.layer_decay not in (1, config.layer_decay):
            said = f"--layer-decay {config.layer_decay:g}"
            raise InputError(f"{said}: --optimizer says layer_decay={optimizer.layer_decay:g}; keep one of them")
        optimizer = replace(optimizer, layer_decay=config.layer_decay)
    try:
        optimizer.build(network)
    except ValueError as error:
        raise InputError(f"--optimizer {config.optimizer}: {error}") from None
    return optimizer


def kept_head(config: FinetuneConfig, task: Task, origin: Origin | None) -> HeadConfig | None:
    """The head of the run to start from, where it is to be kept; None where a new one is wanted.

    Raises:
        InputError: no run on labels to start from, labels or outputs that mean something else, or another --head.
    """
    if not config.keep_head:
        return None
    if config.head is not None:
        raise InputError(f"--keep-head: the head comes from --from; leave --head {config.head} out")
    if origin is None or not (origin.place / TASK).exists() or not (origin.folder / HEAD_CONFIG).exists():
        raise InputError("--keep-head: goes on with the head of a finetuned run; name one with --from, or leave it out")
    path = origin.place / TASK
    try:
        values = json.loads(path.read_text(encoding="utf-8"))["task"]
        before = task_from_json(values) if values["kind"] in TASKS else None
    except DAMAGED as error:
        raise damaged(path, error) from error
    if before is None or _meaning(before) != _meaning(task):
        words = "no labels" if before is None else before.words
        raise InputError(
            f"--keep-head: {origin.place} learnt {words}, and this is {task.words}; classes, units and scaling must be "
            "the same; leave it out for a new head"
        )
    if not _same_outputs(before.loss, task.loss):
        raise InputError(
            f"--keep-head: {origin.place} learnt by the loss {name_of(type(before.loss))}, whose outputs do not mean "
            f"what those of {name_of(type(task.loss))} do here; give the same --loss, or leave it out for a new head"
        )
    return head_from_dict(read_json(origin.folder / HEAD_CONFIG), str(origin.folder / HEAD_CONFIG))


def _meaning(task: Task) -> dict[str, Any]:
    """What outputs mean, whatever the columns are called."""
    values = task_to_json(as_trained(task))
    return {name: value for name, value in values.items() if name not in ("columns", "trained_loss")}


def _same_outputs(before: Loss, now: Loss) -> bool:
    """Whether outputs mean the same by two losses of the same task; by bins they do if the bins are the same."""
    return before == now if isinstance(now, Quantized | OnlineHardExamples) else type(before) is type(now)


def start_head(
    network: Network, config: FinetuneConfig, data: LabeledData, origin: Origin | None, loop: LoopConfig
) -> None:
    """Give the head the weights that are kept, or imprint it; a new head of another kind stays as it was drawn.

    Raises:
        InputError: see :func:`imprint`; also a kept head whose weights are damaged.
    """
    if config.keep_head and origin is not None:
        path = origin.folder / HEAD_WEIGHTS
        state = read_weights(path)
        check_state(state, {name: tensor.shape for name, tensor in network.head.state_dict().items()}, {}, path)
        network.head.load_state_dict(state)
    elif isinstance(network.head, ImprintedHead):
        imprint(network, config, data, loop)


def imprint(network: Network, config: FinetuneConfig, data: LabeledData, loop: LoopConfig) -> None:
    """Let an imprinted head start from the training records, embedded by the body as it is.

    The embedding of a record is the mean of its residues' hidden states, over all its windows. Records count by their
    weights, and a member of an ensemble takes those of its bag, or all of a class that its bag has none of.

    Raises:
        InputError: labels other than one class per sequence, or a class without a training record.
    """
    assert isinstance(network.head, ImprintedHead)
    said, task = f"--head {config.head}", data.task
    if not isinstance(task, Classification):
        raise InputError(f"{said}: needs one class per sequence, and this is {task.words}; take another head")
    drawn, bag = bagged(config, data)
    classes = data.targets.astype(np.int64)
    train = _counting(data, data.split.indices(TRAIN))
    missing = np.setdiff1d(np.arange(task.outputs), classes[train])
    if len(missing):
        more = f" and {len(missing) - 1} more classes" if len(missing) > 1 else ""
        raise InputError(
            f"{said}: class {task.classes[missing[0]]!r}{more} without a training record to start from; leave such "
            "records out, or take another head"
        )
    records = _counting(drawn, bag)
    left_out = ~np.isin(classes[train], classes[records])
    weights = np.ones(len(classes), np.float32) if drawn.weights is None else drawn.weights.copy()
    others = train[left_out]
    weights[others] = 1 if data.weights is None else data.weights[others]
    records = np.concatenate([records, others])
    rows = embeddings(
        network,
        labeled_examples(config, data, records),
        InferenceConfig(device=loop.device, precision=loop.precision),
        lambda batch: _hidden(network, batch),
        "mean",
    )
    network.head.imprint(*(torch.from_numpy(each[records]) for each in (rows, classes, weights)))


def _counting(data: LabeledData, records: NDArray[np.int64]) -> NDArray[np.int64]:
    """The records, (n,) indices, that have a weight above 0."""
    return records if data.weights is None else records[data.weights[records] > 0]


def _hidden(network: Network, batch: Batch) -> torch.Tensor:
    """(T, D)"""
    hidden: torch.Tensor = network.body(batch.inputs, batch.boundaries)
    return hidden


def say_head(config: FinetuneConfig, origin: Origin | None, head: Head, say: Callable[[str], None]) -> None:
    """Say whether the head of the weights to start from is kept, or which one is not, if they have one."""
    if origin is None:
        return
    if config.keep_head:
        say(f"{origin.place}: its {name_of(type(head.config))} is kept")
        return
    path, meaning = origin.folder / HEAD_CONFIG, ""
    before = head_from_dict(read_json(path), str(path)) if path.exists() else origin.body.lm_head_config
    if isinstance(before, LanguageModelHeadConfig) and origin.body.lm_head_state is None:
        return
    try:
        meaning = f" ({task_from_json(json.loads((origin.place / TASK).read_text(encoding='utf-8'))['task']).words})"
    except (OSError, *DAMAGED):
        pass  # a folder of others, or a run without labels: the name of the head says it all
    old, new = (name_of(type(config)) for config in (before, head.config))
    say(f"{origin.place}: its {old}{meaning} is left behind; a new {new} is trained")
