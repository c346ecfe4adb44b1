"""The data of a table before anything is trained: duplicates, labels in conflict or in doubt, and leakage."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from seqtrain.config import FinetuneConfig
from seqtrain.errors import InputError
from seqtrain.evaluation.agreement import Agreement, agreement_of
from seqtrain.evaluation.conflicts import Spread, class_conflicts, first_equal, value_conflicts
from seqtrain.evaluation.label_quality import Judged, judge_classes, judge_values
from seqtrain.evaluation.leakage import MAX_SAMPLED, NEAR_DUPLICATE, Leakage, find_leakage
from seqtrain.evaluation.variant_distance import common_wild_type
from seqtrain.fitting import Listener
from seqtrain.homology import Pairs, Similarity, similar_pairs
from seqtrain.io.columns import Columns, find_columns
from seqtrain.io.delimited import Table, read_table
from seqtrain.io.splits import VALID
from seqtrain.labeled import LabeledData
from seqtrain.losses import IGNORED_CLASS
from seqtrain.recipes.finetuning import Input, read_training_table
from seqtrain.recipes.leakage import packed
from seqtrain.scoring import true_values
from seqtrain.tasks import Classification, MultiLabel, Regression, split_labels


@dataclass(frozen=True, kw_only=True)
class CheckConfig:
    """What is looked at. Rows that cannot be used are counted, and stay in what is written."""

    table: FinetuneConfig
    """The table, its columns, task, sets and seed, as a finetuning would take them."""
    annotators: tuple[str, ...] = ()
    """Columns of labels of the same records."""
    identity: float = 0.3
    """From which on a training record counts as similar to a held-out one."""
    leakage: Literal["none", "sampled", "full"] = "full"
    doubtful: bool = True
    """Look for labels that a simple model contradicts."""


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What N usable records of a table are like."""

    data: LabeledData
    columns: Columns
    first: NDArray[np.int64]
    """(N,) the first record with the same sequence."""
    conflicting: NDArray[np.bool_]
    """(N,) records among whose equals labels differ; numbers, if by a standard deviation or more."""
    spread: Spread | None
    """Of numbers."""
    variants: bool
    """All sequences are variants of one, so that near duplicates say nothing and were not looked for."""
    near: Pairs
    """Near duplicates among different sequences, each sequence by its first record."""
    near_conflicting: NDArray[np.bool_]
    """(N,) records whose near duplicate has another label, by two standard deviations if these are numbers."""
    judged: Judged | None
    """None for several labels per record, labels of residues, or fewer than two sequences."""
    agreement: Agreement | None
    leakage: Leakage | None


def check_table(config: CheckConfig, listener: Listener) -> Checked:
    """Look at the data of a table; nothing is changed or written.

    Raises:
        InputError: a table or an option that cannot be used.
    """
    if len(config.annotators) == 1:
        raise InputError(f"--annotator {config.annotators[0]}: one alone cannot disagree; give two or more")
    Similarity(least_identity=config.identity)  # refuses what is out of range before anything is read
    table = read_table(Path(config.table.table))
    given = read_usable(_with_target(config, table), table, listener)
    data = given.data
    sequences = packed(data)
    first = first_equal(sequences)
    variants = common_wild_type(sequences) is not None
    spread, conflicting = _conflicts(data, first)
    near = _no_pairs()
    if not variants:
        listener.say("looking for near duplicates")
        near = _near_duplicates(data, first, listener)
    judged = None
    if config.doubtful:
        listener.say("asking a simple model about every label, in folds")
        judged = _judged(data, first, config.table.seed)
    leakage = None
    if config.leakage != "none":
        listener.say("looking for the nearest training record of held-out ones")
        leakage = find_leakage(
            sequences,
            data.split.sets,
            [VALID, *data.split.test_sets],
            alphabet=data.store.alphabet,
            least_identity=config.identity,
            limit=MAX_SAMPLED if config.leakage == "sampled" else None,
            seed=config.table.seed,
            say=listener.say,
        )
    return Checked(
        data=data,
        columns=given.columns,
        first=first,
        conflicting=conflicting,
        spread=spread,
        variants=variants,
        near=near,
        near_conflicting=_near_conflicts(data, first, near),
        judged=judged,
        agreement=_agreement(config, data),
        leakage=leakage,
    )


def read_usable(config: FinetuneConfig, table: Table, listener: Listener) -> Input:
    """Read a table, leaving out rows that cannot be used.

    Raises:
        InputError: the table cannot be used, or none of its rows; then the first of them is named.
    """
    try:
        return read_training_table(config, table, None, listener)
    except InputError as error:
        if config.bad_records == "drop" and "no usable rows" in str(error):
            read_training_table(replace(config, bad_records="error"), table, None, listener)
        raise


def _with_target(config: CheckConfig, table: Table) -> FinetuneConfig:
    """The settings with the label column found as if the annotators' columns were not there."""
    for name in config.annotators:
        table.column(name)
    if not config.annotators or config.table.target:
        return config.table
    others = {name: cells for name, cells in table.columns.items() if name not in config.annotators}
    found = find_columns(
        replace(table, columns=others),
        sequence=config.table.sequence_column,
        split=config.table.split_column,
        mask=config.table.mask_column,
        weight=config.table.weight_column,
    )
    return replace(config.table, target=found.targets)


def _conflicts(data: LabeledData, first: NDArray[np.int64]) -> tuple[Spread | None, NDArray[np.bool_]]:
    if isinstance(data.task, Regression):
        spread = value_conflicts(first, true_values(data.task, data).astype(np.float64))
        return spread, spread.conflicting
    if data.task.per_residue:
        offsets, targets = data.store.offsets, data.targets
        known: dict[int, NDArray[np.int64]] = {}
        apart = set()
        for index, of in enumerate(first.tolist()):
            own = targets[offsets[index] : offsets[index + 1]].astype(np.int64)
            others = known.setdefault(of, own)
            # What a mask hides is in conflict with nothing, and known from the first record that shows it.
            if ((own != others) & (own != IGNORED_CLASS) & (others != IGNORED_CLASS)).any():
                apart.add(of)
            known[of] = np.where(others == IGNORED_CLASS, own, others)
        return None, np.isin(first, list(apart))
    return None, class_conflicts(first, _classes_of(data))


def _near_duplicates(data: LabeledData, first: NDArray[np.int64], listener: Listener) -> Pairs:
    """Pairs of different sequences of at least 90 % identity, by the index of their first records."""
    unique = np.flatnonzero(first == np.arange(len(first)))
    found = similar_pairs(
        packed(data).selected(unique)[0],
        Similarity(least_identity=NEAR_DUPLICATE),
        listener.say,
        alphabet=data.store.alphabet,
    )
    return Pairs(first=unique[found.first], second=unique[found.second], identity=found.identity)


def _near_conflicts(data: LabeledData, first: NDArray[np.int64], near: Pairs) -> NDArray[np.bool_]:
    """(N,) records of a pair of near duplicates whose labels differ, those of their first records being compared."""
    if isinstance(data.task, Regression):
        values = true_values(data.task, data).astype(np.float64)
        apart = np.abs(values[near.first] - values[near.second])
        differ = (apart >= 2 * np.nanstd(values, axis=0)).any(axis=1) & (apart > 0).any(axis=1)
    elif data.task.per_residue:
        # Labels of residues follow the residues, of which near duplicates have others.
        differ = np.zeros(len(near), dtype=bool)
    else:
        labels = _classes_of(data)
        differ = np.array([labels[i] != labels[j] for i, j in zip(near.first, near.second, strict=True)], dtype=bool)
    involved = np.concatenate([near.first[differ], near.second[differ]])
    return np.isin(first, involved)


def _classes_of(data: LabeledData) -> list[Hashable]:
    """(N,) the class of each record, or its labels, in whatever order they stand."""
    if isinstance(data.task, MultiLabel):
        return [frozenset(split_labels(row[0], data.task.separator)) for row in data.labels]
    return [row[0] for row in data.labels]


def _judged(data: LabeledData, first: NDArray[np.int64], seed: int) -> Judged | None:
    if len(np.unique(first)) < 2:
        return None
    texts = [data.text(index) for index in range(len(data.store))]
    if isinstance(data.task, Classification):
        classes = np.asarray(data.targets, np.int64)
        return judge_classes(texts, classes, data.task.outputs, first, seed=seed)
    if isinstance(data.task, Regression) and data.task.outputs == 1:
        values = true_values(data.task, data)[:, 0].astype(np.float64)
        return judge_values(texts, values, first, seed=seed)
    return None


def _agreement(config: CheckConfig, data: LabeledData) -> Agreement | None:
    if not config.annotators:
        return None
    columns = [[data.table.column(name)[row] for row in data.rows] for name in config.annotators]
    try:
        if isinstance(data.task, Regression):
            return agreement_of(config.annotators, columns, level="interval")
        return agreement_of(config.annotators, columns, level="nominal", classes=data.task.classes)
    except ValueError as error:
        names = ", ".join(map(repr, config.annotators))
        raise InputError(
            f"{data.table.path}: the labels are numbers, and one of the columns {names} holds something else "
            f"({error}); correct it, or say --task classification"
        ) from None


def _no_pairs() -> Pairs:
    nothing = np.zeros(0, np.int64)
    return Pairs(first=nothing, second=nothing, identity=np.zeros(0))


def names_of(data: LabeledData, records: Sequence[int], limit: int = 3) -> str:
    """The first few of some records, as "name (row 3)"."""
    shown = [f"{data.store.name(index)} (row {data.rows[index] + 1:,})" for index in records[:limit]]
    return ", ".join(shown) + (", …" if len(records) > limit else "")
