"""From words in the configuration to what a network is shown: sampling, augmentation, mixing and curriculum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from seqtrain.alphabet import Alphabet
from seqtrain.bandit import Exp3S
from seqtrain.batching import Examples
from seqtrain.config import FinetuneConfig, settled
from seqtrain.curriculum import MOST_GROUPS, Automatic, Curriculum, EasiestFirst, LengthGrowth
from seqtrain.encode import Tokens
from seqtrain.errors import InputError
from seqtrain.imbalance import sampled
from seqtrain.labeled import LabeledData
from seqtrain.mixing import Mixing
from seqtrain.orders import ByProgress, EasyFirst, Order, Weighted
from seqtrain.recipes.augmentation import moving_words, training_augmenter
from seqtrain.spans import Spans
from seqtrain.step_count import num_steps_for
from seqtrain.tasks import Classification, Task
from seqtrain.words import read_words

_BY_LENGTH = "length"
"""What an automatic curriculum groups by if it is not a column."""


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


def option_that_moves(config: FinetuneConfig, alphabet: Alphabet) -> str | None:
    """The option by which letters of training sequences are at other places than in the table, if there is one.

    Windows and crops to --max-length are not looked at: whether there are any, the lengths of the records say.
    """
    if config.curriculum is not None and isinstance(curriculum_of(config.curriculum), LengthGrowth):
        return f"--curriculum {config.curriculum}"
    words = moving_words(config.augment, alphabet)
    return None if words is None else f"--augment {words}"


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


def curriculum_of(words: str) -> Curriculum:
    """The curriculum that words describe.

    Raises:
        InputError: words that name none or do not fit it.
    """
    try:
        curriculum: Curriculum = read_words(words, Curriculum, "curriculum")[0]
    except InputError as error:
        raise InputError(f"--curriculum {words}: {error}") from None
    return curriculum


def goes_by_column(curriculum: Curriculum) -> bool:
    """Whether it needs a column of a table, and not only the sequences."""
    return isinstance(curriculum, EasiestFirst) or (isinstance(curriculum, Automatic) and curriculum.by != _BY_LENGTH)


def with_curriculum(words: str, examples: Examples, num_examples: float, data: LabeledData | None = None) -> Examples:
    """Examples that come in the order, or at the lengths, of a curriculum.

    Args:
        num_examples: that the training consumes.
        data: the table that the examples are from, if they are from one.

    Raises:
        InputError: words that name no curriculum or do not fit it, or a second opinion on the order.
    """
    curriculum = curriculum_of(words)
    if isinstance(curriculum, LengthGrowth):
        growth, full = curriculum, examples.max_length or int(examples.spans.lengths.max())
        return replace(examples, length_at=lambda position: growth.length_at(position / num_examples, full))
    if examples.order is not None:
        raise InputError(f"--curriculum {words}: --sampling decides the order, too; leave one of the two out")
    if isinstance(curriculum, Automatic):
        if examples.mixing is not None:
            raise InputError(f"--curriculum {words}: a step shows one group, and --mix joins several; leave one out")
        groups, names = _groups(words, curriculum, examples, data)
        bandit = Exp3S(rate=curriculum.rate, epsilon=curriculum.epsilon, seed=examples.seed)
        return replace(examples, order=ByProgress(groups, names, bandit, examples.seed))
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


def _groups(
    words: str, curriculum: Automatic, examples: Examples, data: LabeledData | None
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """(N,) the group of each example, and what the groups are called."""
    records = examples.spans.records
    if curriculum.by == _BY_LENGTH:
        return _parts(words, "length", examples.spans.lengths.astype(np.float64), curriculum.groups)
    cells = _cells(words, curriculum.by, data)
    assert data is not None
    texts = np.array([cells[row].strip() for row in data.rows])[records]
    names = np.unique(texts)
    if len(names) > curriculum.groups and _all_numbers(names):
        return _parts(words, curriculum.by, _numbers(words, curriculum.by, data)[records], curriculum.groups)
    if not 2 <= len(names) <= MOST_GROUPS:
        raise InputError(
            f"--curriculum {words}: the column has {len(names):,} different values among the training records; name a "
            f"column of 2 to {MOST_GROUPS} classes, or of numbers"
        )
    classes = tuple(f"{curriculum.by} {name or '(empty)'}" for name in names.tolist())
    return np.searchsorted(names, texts).astype(np.int64), classes


def _parts(
    words: str, name: str, values: NDArray[np.float64], number: int
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """(N,) numbers -> (N,) which of so many parts of equal size each is in, the smallest first, and their names."""
    if len(values) < number:
        raise InputError(f"--curriculum {words}: {len(values)} training examples are too few for {number} groups")
    ranks = np.empty(len(values), np.int64)
    ranks[np.argsort(values, kind="stable")] = np.arange(len(values))
    parts = ranks * number // len(values)
    ends = [(values[parts == part].min(), values[parts == part].max()) for part in range(number)]
    # Where values are equal two parts may end alike, so they are numbered.
    names = tuple(f"{name} {low:g} to {high:g} (group {part + 1})" for part, (low, high) in enumerate(ends))
    return parts, names


def _all_numbers(texts: NDArray[np.str_]) -> bool:
    try:
        return bool(np.isfinite(texts.astype(np.float64)).all())
    except ValueError:
        return False


def _cells(words: str, column: str, data: LabeledData | None) -> Sequence[str]:
    """The cells of a column of the table."""
    if data is None:
        raise InputError(
            f"--curriculum {words}: a FASTA has no columns; use shortest-first, length-growth or automatic:by=length"
        )
    if column not in data.table.columns:
        raise InputError(f"--curriculum {words}: no such column; there are {', '.join(data.table.columns)}")
    return data.table.columns[column]


def _numbers(words: str, column: str, data: LabeledData | None) -> NDArray[np.float64]:
    """(N,) the numbers in a column of the table, one per record."""
    cells = _cells(words, column, data)
    assert data is not None
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
    classes = data.targets[spans.records].astype(np.int64)
    return sampled(classes, config.sampling, config.seed, spans.record_shares)
