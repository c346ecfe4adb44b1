"""A finetuning before its first step: the table read, what was left open settled, and the training built."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch

from seqtrain.config import FinetuneConfig, settled
from seqtrain.device import choose_device, choose_precision
from seqtrain.errors import InputError
from seqtrain.fitting import Listener, Training
from seqtrain.inference import tokens_per_batch
from seqtrain.io.columns import Columns, find_columns, infer_task_kind
from seqtrain.io.delimited import Table, read_table
from seqtrain.io.ledger import Ledger
from seqtrain.io.records import RecordReader
from seqtrain.io.splits import TRAIN, VALID
from seqtrain.labeled import LabeledData, read_labeled
from seqtrain.models.aligned_head import AlignedHeadConfig
from seqtrain.models.network import HeadConfig, Network
from seqtrain.objectives import Adversarial, Objective, Supervised
from seqtrain.recipes.adapters import lora_of
from seqtrain.recipes.bagging import bagged, training_seed
from seqtrain.recipes.calibration import check_calibration
from seqtrain.recipes.chosen_split import chosen_split, warn_of_other_rows, without_own_sets
from seqtrain.recipes.held_out import measures_of, outputs_of
from seqtrain.recipes.networks import (
    Origin,
    body_config,
    check_origin,
    choose_alphabet,
    label_head_config,
    make_network,
    origin_of,
    same_origin_as_before,
)
from seqtrain.recipes.resampling import check_resample, resampling_of
from seqtrain.recipes.training_core import (
    attack_of,
    averaging_of,
    check_words,
    peak_rate,
    prepare_layers,
    regularizers_of,
    schedule_of,
    stopping_of,
    task_with_loss,
)
from seqtrain.recipes.training_examples import labeled_examples, option_that_moves, training_examples
from seqtrain.recipes.transfer import freezing_of, frozen, kept_head, say_head, start_head, trained_by
from seqtrain.step_count import num_steps_for
from seqtrain.tasks import Task, TaskKind, kind_of
from seqtrain.training import LoopConfig

_DEFAULT_RESIDUES = {"cpu": 6_000_000, "gpu": 100_000_000}
_EPOCHS = (2, 30)
"""Fewest and most epochs that the default budget of residues is turned into."""
_HEAD_DROPOUT = 0.1


@dataclass(frozen=True)
class Input:
    """What a table turned out to hold."""

    data: LabeledData
    columns: Columns
    ledger: Ledger


@dataclass(frozen=True)
class FinetuningJob:
    """A finetuning before its first step."""

    config: FinetuneConfig
    given: Input
    data: LabeledData
    origin: Origin | None
    training: Training


def prepare_finetuning(
    config: FinetuneConfig, listener: Listener, extend: Callable[[Input], LabeledData] | None = None
) -> FinetuningJob:
    """Read the input, settle what was left open, and build what is trained.

    Args:
        extend: gives the records of the table with others behind them, which are trained on and never scored.

    Raises:
        InputError: input or options that cannot be used.
    """
    check_words(config)
    lora_of(config)
    freezing_of(config)
    resampling_of(config)
    table = read_table(Path(config.table))
    origin = origin_of(config, listener.say)
    check_origin(origin, config.alphabet, config.model, config.size, config.initialise)
    given = read_training_table(config, table, origin, listener)
    # A balanced bag needs no loss that balances the classes of all records once more.
    bag = bagged(config, given.data)[1] if config.bagging == "balanced" else None
    data = replace(given.data, task=task_with_loss(config.loss, given.data, bag))
    check_calibration(config, data)
    shown = data if extend is None else extend(replace(given, data=data))
    device, why = choose_device(config.device)
    listener.say(f"device: {why}")
    settled_config = _settle(config, replace(given, data=shown), origin)
    origin = same_origin_as_before(origin, config, Path(str(settled_config.output)), listener.say)
    config = replace(settled_config, revision=origin.commit if origin else None)
    training = _prepare(config, data, shown, origin, device)
    assert isinstance(training.network, Network)
    say_head(config, origin, training.network.head, listener.say)
    return FinetuningJob(config, given, data, origin, training)


def read_training_table(config: FinetuneConfig, table: Table, origin: Origin | None, listener: Listener) -> Input:
    """Read a table as the configuration says, telling what was found."""
    chosen = chosen_split(config.split, config.fold, config.split_column, split_by=config.split_by, seed=config.seed)
    columns = find_columns(
        table,
        sequence=config.sequence_column,
        targets=config.target,
        split=config.split_column,
        mask=config.mask_column,
        weight=config.weight_column,
    )
    columns = without_own_sets(columns, chosen, listener.say)
    listener.say(f"{table.path}: {columns.words()}")
    warn_of_other_rows(table, columns, chosen, listener.say)
    kind, reason = (config.task, "as asked") if config.task != "auto" else infer_task_kind(table, columns)
    if len(columns.targets) > 1 and kind != "regression":
        raise InputError(f"--task {kind}: takes one --target; several are a regression of several numbers")
    if columns.mask is not None and kind != "residue":
        if config.mask_column is not None:
            raise InputError(f"--mask-column {config.mask_column}: only labels per residue can be masked")
        columns = replace(columns, mask=None)
    sequences = (cell.encode() for cell in table.column(columns.sequence))
    alphabet = choose_alphabet(origin, config.alphabet, sequences, f"{table.path}, column {columns.sequence!r}")
    ledger = Ledger()
    reader = RecordReader(
        alphabet, config.bad_records, ledger, max_length=config.max_length, long=config.long, keep_bad=True
    )
    data = read_labeled(table, columns, cast(TaskKind, kind), reader, seed=config.seed, split=chosen, say=listener.say)
    ledger.check()
    for line in [*ledger.lines(), *data.warnings]:
        listener.say(line)
    listener.say(f"task: {data.task.words} ({reason})")
    listener.say(
        f"sets: {', '.join(f'{name} {count:,}' for name, count in set_sizes(data).items())}; {data.split.made_how}"
    )
    return Input(data, columns, ledger)


def set_sizes(data: LabeledData) -> dict[str, int]:
    """Records of each set, train and valid first."""
    return {name: int((data.split.sets == name).sum()) for name in (TRAIN, VALID, *data.split.test_sets)}


def _settle(config: FinetuneConfig, given: Input, origin: Origin | None) -> FinetuneConfig:
    """Choose what was left open, by the data and the device."""
    device, _ = choose_device(config.device)
    small, precision = device.type != "cuda", choose_precision(config.precision, device)
    data, task = given.data, given.data.task
    train_letters = int(data.store.lengths[data.split.indices(TRAIN)].sum())
    epochs = config.epochs or int(np.clip(_DEFAULT_RESIDUES["cpu" if small else "gpu"] // train_letters, *_EPOCHS))
    stem = Path(config.table).name.partition(".")[0]
    rate = 5e-4 if origin else 1e-3
    return replace(
        config,
        output=config.output or f"runs/finetune-{stem}-{'-'.join(task.columns)}",
        alphabet=data.store.alphabet.name,
        target=given.columns.targets,
        sequence_column=given.columns.sequence,
        split_column=given.columns.split,
        mask_column=given.columns.mask,
        task=kind_of(task),
        model=None if origin else config.model or "transformer",
        size=None if origin else config.size or ("1M" if small else "8M"),
        device=device.type if ":" not in config.device else config.device,
        precision=precision,
        epochs=None if config.steps is not None else epochs,
        tokens_per_step=config.tokens_per_step or (2048 if small else 16_384),
        tokens_per_microbatch=config.tokens_per_microbatch or (2048 if small else tokens_per_batch(device, precision)),
        learning_rate=config.learning_rate or rate,
        head_learning_rate=config.head_learning_rate or 2 * peak_rate(config.learning_rate or rate),
        dropout=_HEAD_DROPOUT if config.dropout is None else config.dropout,
        num_evaluations=config.num_evaluations or 10,
        calibrate=None if config.calibrate == "none" else config.calibrate,
    )


def _prepare(
    config: FinetuneConfig, data: LabeledData, shown: LabeledData, origin: Origin | None, device: torch.device
) -> Training:
    task = data.task
    dropout, head = settled(config.dropout), _head(config, data, origin)
    fresh = None if origin else body_config(str(config.model), str(config.size), data.store.alphabet, dropout)
    seed = training_seed(config)
    network = make_network(origin, fresh, head, seed, dropout, lora_of(config), config.initialise)
    network.to(device)
    prepare_layers(network, config)
    examples = training_examples(replace(config, seed=seed), *bagged(config, shown))
    if examples.mixing is not None and getattr(network.body.config, "input", None) == "ngram":
        raise InputError(
            f"--mix {config.mix}: n-grams cannot be mixed; take a model with input=tokens or input=one-hot"
        )
    check_resample(config, data, network, examples)
    loop = LoopConfig(
        device=device,
        precision=choose_precision(config.precision, device),
        seed=seed,
        on_nan=config.on_nan,
        name_of=shown.store.name,
    )
    num_tokens = int(examples.num_tokens.sum())
    tokens_per_step = min(settled(config.tokens_per_step), num_tokens)
    # Without a step, whose schedule is that of one, a head stays as it was imprinted.
    num_steps = (
        num_steps_for(examples, tokens_per_step, settled(config.epochs) * len(examples), seed)
        if config.steps is None
        else max(1, config.steps)
    )
    schedule = schedule_of(config, num_steps, has_valid=data.split.indices(VALID).size > 0)
    num_steps = schedule.num_steps
    start_head(network, config, data, origin, loop)
    freezing = frozen(config, network, num_steps)
    valid = data.split.indices(VALID)

    def evaluate() -> dict[str, float]:
        return measures_of(data, outputs_of(network, task, labeled_examples(config, data, valid), loop), valid)

    return Training(
        network=network,
        objective=_objective(config, task, network, loop),
        examples=examples,
        optimizer=trained_by(config, network, num_steps),
        schedule=schedule,
        averaging=averaging_of(config, num_steps),
        stopping=stopping_of(config, has_valid=len(valid) > 0),
        loop=replace(loop, regularizers=regularizers_of(config, num_steps), freezing=freezing),
        num_steps=0 if config.steps == 0 else num_steps,
        tokens_per_step=tokens_per_step,
        tokens_per_microbatch=settled(config.tokens_per_microbatch),
        num_evaluations=min(settled(config.num_evaluations), num_steps) if len(valid) else 1,
        evaluate=evaluate if len(valid) else dict,
        judged_by="loss" if len(valid) else None,
        keep_best=True,
    )


def _objective(config: FinetuneConfig, task: Task, network: Network, loop: LoopConfig) -> Objective:
    """The loss of the task, alone or against an adversary.

    Raises:
        InputError: an adversary for a loss that is no sum over records, whose worst shift would hang on the microbatch.
    """
    supervised = Supervised(task.loss, config.disturbed_fraction, task.outputs)
    attack = attack_of(config)
    if attack is None:
        return supervised
    if not task.loss.separable:
        raise InputError(
            f"--adversarial {config.adversarial}: this loss compares records with each other; choose another --loss"
        )
    precision = torch.bfloat16 if loop.precision == "bf16" else None
    return Adversarial(objective=supervised, network=network, attack=attack, precision=precision)


def _head(config: FinetuneConfig, data: LabeledData, origin: Origin | None) -> HeadConfig:
    """The head that is kept or asked for.

    Raises:
        InputError: it does not fit the labels, or has weights for places where letters would not stay.
    """
    task, longest = data.task, int(data.store.lengths.max())
    head = kept_head(config, task, origin) or label_head_config(
        config.head, task.per_residue, task.loss.width(task.outputs), settled(config.dropout), longest
    )
    if not isinstance(head, AlignedHeadConfig):
        return head
    said = "--keep-head" if config.keep_head else f"--head {config.head}"
    if longest > head.length:
        raise InputError(
            f"{said}: has weights for {head.length:,} positions, and the longest sequence here has {longest:,} "
            "letters; leave such records out, or take another head"
        )
    if longest > config.max_length:
        raise InputError(
            f"{said}: positions of windows are not those of the sequence, and the longest here has {longest:,} "
            "letters; raise --max-length to that, or take another head"
        )
    if option := option_that_moves(config, data.store.alphabet):
        raise InputError(f"{said}: has weights for positions, and {option} moves letters; leave one of the two out")
    return head
