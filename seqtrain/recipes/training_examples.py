"""From words in the configuration to what a network is shown: sampling, augmentation, mixing and curriculum."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from seqtrain.batching import Examples
from seqtrain.config import FinetuneConfig, settled
from seqtrain.curriculum import Curriculum, EasiestFirst, LengthGrowth
from seqtrain.encode import Tokens
from seqtrain.errors import InputError
from seqtrain.imbalance import sampled
from seqtrain.labeled import LabeledData
from seqtrain.mixing import Mixing
from seqtrain.orders import EasyFirst, Order, Weighted
from seqtrain.recipes.augmentation import training_augmenter
from seqtrain.spans import Spans
from seqtrain.step_count import num_steps_for
from seqtrain.tasks import Classification, Task
from seqtrain.words import read_words


def labeled_examples(config: FinetuneConfig, data: LabeledData, records: NDArray[np.int64]) -> Examples:
    """Some records as they are, in windows."""
    return Examples(
        store=data.store,
        spans=Spans.windows(records, data.store.lengths[records], config.max_length),
        encoder=Tokens(data.store.alphabet),
        targets=data.targets,
        per_residue=data.task.per_residue,
        weights=data.weights,
        max_length=config.max_length,
        seed=config.seed,
    )


def training_examples(config: FinetuneConfig, data: LabeledData, records: NDArray[np.int64]) -> Examples:
    """Training records as the configuration wants them shown; with --long crop in random crops, else in windows.

    Raises:
        InputError: words that do not fit each other or the task.
    """
    plain = labeled_examples(config, data, records)
    crop = config.long == "crop"
    spans = Spans.whole(records, data.store.lengths[records]) if crop else plain.spans
    examples = replace(
        plain,
        spans=spans,
        order=_order(config, data, spans),
        augmenter=training_augmenter(config.augment, data.store.alphabet, config.max_length, crop=crop),
        mixing=mixing_of(config.mix, data.task),
        # What is sampled by its weight must not be weighted again.
        weights=None if config.sampling == "weights" else data.weights,
    )
    if config.curriculum is None:
        return examples
    if config.steps is not None:
        tokens_per_step = min(settled(config.tokens_per_step), int(examples.num_tokens.sum()))
        return with_curriculum_of_steps(config.curriculum, examples, config.steps, tokens_per_step, data)
    return with_curriculum(config.curriculum, examples, settled(config.epochs) * len(examples), data)


def with_curriculum_of_steps(
    words: str, examples: Examples, num_steps: int, tokens_per_step: int, data: LabeledData | None = None
) -> Examples:
    """:func:`with_curriculum` for a training of so many steps, however many examples it then consumes.

    Raises:
        InputError: see there.
    """
    num_examples = num_steps * tokens_per_step / float(examples.num_tokens.mean())
    # Short sequences at the beginning make for more examples in a step; what is needed grows in proportion.
    trial = with_curriculum(words, examples, num_examples, data)
    needed = num_steps_for(trial, tokens_per_step, num_examples, examples.seed)
    return with_curriculum(words, examples, num_examples * num_steps / needed, data)


def with_curriculum(words: str, examples: Examples, num_examples: float, data: LabeledData | None = None) -> Examples:
    """Examples that come in the order, or at the lengths, of a curriculum.

    Args:
        num_examples: that the training consumes.
        data: the table that the examples are from, if they are from one.

    Raises:
        InputError: words that name no curriculum or do not fit it, or a second opinion on the order.
    """
    try:
        curriculum: Curriculum = read_words(words, Curriculum, "curriculum")[0]
    except InputError as error:
        raise InputError(f"--curriculum {words}: {error}") from None
    if isinstance(curriculum, LengthGrowth):
        growth, full = curriculum, examples.max_length or int(examples.spans.lengths.max())
        return replace(examples, length_at=lambda position: growth.length_at(position / num_examples, full))
    if examples.order is not None:
        raise InputError(f"--curriculum {words}: --sampling decides the order, too; leave one of the two out")
    difficulties: NDArray[np.float64] = examples.spans.lengths.astype(np.float64)
    if isinstance(curriculum, EasiestFirst):
        difficulties = _numbers(words, curriculum.column, data)[examples.spans.records]
    order = EasyFirst(
        np.argsort(difficulties, kind="stable"),
        curriculum.first_fraction,
        round(curriculum.until * num_examples),
        examples.seed,
    )
    return replace(examples, order=order)


def _numbers(words: str, column: str, data: LabeledData | None) -> NDArray[np.float64]:
    """(N,) the numbers in a column of the table, one per record."""
    if data is None:
        raise InputError(f"--curriculum {words}: a FASTA has no columns; use shortest-first or length-growth")
    if column not in data.table.columns:
        raise InputError(f"--curriculum {words}: no such column; there are {', '.join(data.table.columns)}")
    cells = data.table.columns[column]
    try:
        values = np.array([float(cells[row]) for row in data.rows])
    except ValueError as error:
        raise InputError(f"--curriculum {words}: {error}; the column must hold a number in every row") from None
    if not np.isfinite(values).all():
        raise InputError(f"--curriculum {words}: the column holds nan or infinity; give finite numbers")
    return values


def mixing_of(words: str | None, task: Task) -> Mixing | None:
    """How pairs of training sequences are mixed, if at all.

    Raises:
        InputError: words that name none or do not fit it, or a task whose labels or loss cannot be shared.
    """
    if words is None:
        return None
    try:
        mixing: Mixing = read_words(words, Mixing, "mixing")[0]
    except InputError as error:
        raise InputError(f"--mix {words}: {error}") from None
    if task.per_residue:
        raise InputError(f"--mix {words}: mixes sequences with one label each, and this is {task.words}; leave it out")
    if not task.loss.separable:
        raise InputError(f"--mix {words}: this loss compares records with each other; choose another --loss")
    if mixing.only_classes and task.loss.kind != "classes":
        raise InputError(f"--mix {words}: compares the sizes of classes, and this is {task.words}; use mixup")
    return mixing


def _order(config: FinetuneConfig, data: LabeledData, spans: Spans) -> Order | None:
    """The order in which classes or records get the shares that --sampling asks for; None for the natural ones."""
    if config.sampling == "natural":
        return None
    if config.sampling == "weights":
        if data.weights is None:
            raise InputError("--sampling weights: the table has no weights; name their --weight-column")
        return Weighted(data.weights[spans.records].astype(np.float64), config.seed)
    if not isinstance(data.task, Classification):
        raise InputError(
            f"--sampling {config.sampling}: needs one class per sequence, and this is {data.task.words}; leave it out"
        )
    return sampled(data.targets[spans.records].astype(np.int64), config.sampling, config.seed)
