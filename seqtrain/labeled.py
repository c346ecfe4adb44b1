"""From a table to something to learn from: sequences, targets, sets and weights, row by row accounted for."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seqtrain.alphabet import Alphabet
from seqtrain.errors import InputError
from seqtrain.io.cells import is_missing
from seqtrain.io.columns import Columns, originals_of
from seqtrain.io.delimited import Table
from seqtrain.io.inputs import raw_rows
from seqtrain.io.records import Record, RecordReader
from seqtrain.io.split_file import SplitFile
from seqtrain.io.splits import TRAIN, Split, linked, make_split, set_of, split_from_column
from seqtrain.io.store import SequenceStore
from seqtrain.letters import PackedLetters
from seqtrain.losses import IGNORED_CLASS
from seqtrain.splitting import Say, Splittable, Splitting
from seqtrain.strata import Strata, strata_of
from seqtrain.task_fitting import fit_task
from seqtrain.tasks import MultiLabel, Regression, Task, TaskKind, is_number, split_labels

_MAX_LISTED = 5


@dataclass(frozen=True, kw_only=True)
class LabeledData:
    """N labelled sequences."""

    table: Table
    """Where they are from."""
    store: SequenceStore
    rows: NDArray[np.int64]
    """(N,) the row of the table that each sequence comes from."""
    labels: list[list[str]]
    """N rows of label cells, as they stand in the table."""
    task: Task
    targets: NDArray[np.generic]
    """(N,) or (N, K), or (total letters,) for per-residue tasks."""
    weights: NDArray[np.float32] | None
    """(N,)."""
    split: Split
    warnings: list[str]

    def text(self, index: int) -> str:
        """Sequence i as it would stand in a file."""
        return self.store.alphabet.text(self.store[index])


@dataclass(frozen=True)
class _Rows:
    """The usable rows of a table."""

    records: list[Record]
    rows: NDArray[np.int64]

    def cells(self, table: Table, column: str) -> list[str]:
        column_cells = table.column(column)
        return [column_cells[row] for row in self.rows]


def read_labeled(
    table: Table,
    columns: Columns,
    kind: TaskKind,
    reader: RecordReader,
    *,
    seed: int,
    task: Task | None = None,
    split: SplitFile | Splitting | None = None,
    say: Say = lambda text: None,
) -> LabeledData:
    """Read the labelled rows of a table.

    Args:
        reader: judges the sequences; must yield bad records (``keep_bad``), so that rows and records stay aligned.
        task: a task fitted before, for scoring new data; None fits one to the training rows.
        split: the sets, or how they are made; None takes them from the column, else makes them.

    Raises:
        InputError: a row that cannot be used (unless the reader drops such rows), or labels that cannot be learnt, or
            a split of other rows.
    """
    numbered = _are_numbers(table.column(columns.targets[0]))
    judge = _RowJudge(table, columns, kind, reader.alphabet.bases_per_letter, numbered)
    judged = list(reader(raw_rows(table, columns, map(judge, range(len(table))))))
    kept = np.array([row for row, record in enumerate(judged) if len(record.letters)], dtype=np.int64)
    if not len(kept):
        raise InputError(
            f"{table.path}: no usable rows are left of {len(judged):,}; see the ledger for what was dropped"
        )
    rows = _Rows([judged[row] for row in kept], kept)
    labels = [[table.columns[name][row].strip() for name in columns.targets] for row in kept]
    if not any(map(any, labels)):
        raise InputError(f"{table.path}: column {columns.targets[0]!r} is empty in every row; choose another --target")
    if isinstance(split, SplitFile):
        sets = split.matched(table.path, len(table), kept, [record.identifier for record in rows.records])
    elif split is not None:
        sets = split.split(
            _splittable(table, columns, rows, reader.alphabet, strata_of(kind, [row[0] for row in labels])), say
        )
    try:
        if split is None:
            sets = _split(table, columns, kind, rows, labels, seed, given=task is not None)
        train = sets.sets == TRAIN
        fitted = task or fit_task(kind, columns.targets, labels, train)
    except InputError as error:
        raise InputError(f"{table.path}: {error}") from None
    if task is not None:
        _check_known(task, labels, [record.place for record in rows.records])
    targets, weights = fitted.encode(labels), None
    if columns.mask is not None and fitted.per_residue:
        masks = [cell.strip() for cell in rows.cells(table, columns.mask)]
        targets = np.where(np.frombuffer("".join(masks).encode(), np.uint8) == ord("1"), targets, IGNORED_CLASS)
        if task is None and not any("1" in mask for mask, learnt in zip(masks, train, strict=True) if learnt):
            raise InputError(f"{table.path}: column {columns.mask!r} masks every training label; mark some with 1")
    if columns.weight is not None:
        weights = np.array([float(cell) for cell in rows.cells(table, columns.weight)], dtype=np.float32)
        if task is None and not weights[train].any():
            raise InputError(
                f"{table.path}: column {columns.weight!r} is 0 in every training row; there is nothing to learn"
            )
    return LabeledData(
        table=table,
        store=SequenceStore.in_memory(rows.records, reader.alphabet),
        rows=kept,
        labels=labels,
        task=fitted,
        targets=targets,
        weights=weights,
        split=sets,
        warnings=[*_class_warnings(fitted, kind, labels, train), *_shared_sequences(rows.records, sets)],
    )


@dataclass(frozen=True)
class _RowJudge:
    """Says why a row of a table cannot be used, apart from its sequence; "" when it can."""

    table: Table
    columns: Columns
    kind: TaskKind
    bases_per_letter: int
    numbered: bool
    """The classes are numbers, so that NA is no class but a missing label."""

    def __call__(self, row: int) -> str:
        cells = [self._cell(name, row) for name in self.columns.targets]
        if not any(cells) and self.kind != "multilabel":
            return f"no label: column {', '.join(map(repr, self.columns.targets))} is empty"
        if self.kind == "residue":
            found = self._residue_problem(row)
        else:
            found = next(filter(None, map(self._label_problem, self.columns.targets, cells)), "")
        return found or self._set_problem(row) or self._weight_problem(row)

    def _cell(self, name: str, row: int) -> str:
        return self.table.columns[name][row].strip()

    def _label_problem(self, name: str, cell: str) -> str:
        if self.kind == "regression" and cell and not _fits_float32(cell):
            hint = " (a decimal comma? write a point)" if is_number(cell.replace(",", ".", 1)) else ""
            hint = " (too large for 32 bits)" if is_number(cell) else hint
            return f"a label that is not a finite number: {cell!r} in column {name!r}{hint}"
        not_a_class = cell.lower() in ("nan", "inf", "-inf") or (self.numbered and is_missing(cell))
        if self.kind == "classification" and not_a_class:
            return f"a label that is not a finite number: {cell!r} in column {name!r}"
        return ""

    def _residue_problem(self, row: int) -> str:
        sequence = "".join(self.table.columns[self.columns.sequence][row].split())
        length = len(sequence.removesuffix("*")) // self.bases_per_letter
        for name in filter(None, (self.columns.targets[0], self.columns.mask)):
            found = len(self._cell(name, row))
            if found != length:
                return f"labels and residues differ in number: {found} in column {name!r} for {length} residues"
        if self.columns.mask is not None and self._cell(self.columns.mask, row).strip("01"):
            return f"a mask of other signs than 0 and 1: column {self.columns.mask!r}"
        return ""

    def _set_problem(self, row: int) -> str:
        name = self.columns.split
        if name is None or set_of(self.table.columns[name][row]) is not None:
            return ""
        return f"a set that is neither train, valid nor test: {self.table.columns[name][row]!r}"

    def _weight_problem(self, row: int) -> str:
        name = self.columns.weight
        if name is None or (_fits_float32(self._cell(name, row)) and float(self._cell(name, row)) >= 0):
            return ""
        return f"a weight that is not a number of at least 0: {self._cell(name, row)!r}"


def _are_numbers(cells: Sequence[str]) -> bool:
    """Whether nearly all labels that are there are numbers."""
    known = [cell for cell in set(cells) if cell and not is_missing(cell)]
    return sum(map(is_number, known)) >= 0.9 * len(known)


def _split(
    table: Table, columns: Columns, kind: TaskKind, rows: _Rows, labels: list[list[str]], seed: int, *, given: bool
) -> Split:
    """The sets of the usable rows; a ``given`` task takes them as they stand, as nothing is trained or held out."""
    if given and columns.split is not None:
        sets = [set_of(cell) for cell in rows.cells(table, columns.split)]
        return Split(np.array(sets, dtype=np.str_), "as the table says")
    strata = [row[0] for row in labels] if kind == "classification" else None
    sequences = [zlib.crc32(record.letters.tobytes()) for record in rows.records]
    originals = _originals(table, columns, rows)
    groups = linked(sequences, originals) if originals is not None else sequences
    if columns.split is None:
        return make_split(len(labels), strata, seed, groups=groups)
    return split_from_column(rows.cells(table, columns.split), strata, seed, groups=groups)


def _originals(table: Table, columns: Columns, rows: _Rows) -> list[str] | None:
    return originals_of(table, columns, rows.rows.tolist(), [record.identifier for record in rows.records])


def _splittable(table: Table, columns: Columns, rows: _Rows, alphabet: Alphabet, strata: Strata) -> Splittable:
    return Splittable(
        place=table.path,
        identifiers=[record.identifier for record in rows.records],
        sequences=PackedLetters.from_sequences([record.letters for record in rows.records]),
        alphabet=alphabet,
        originals=_originals(table, columns, rows),
        strata=strata if strata.names else None,
        column=lambda name: rows.cells(table, name),
    )


def _fits_float32(cell: str) -> bool:
    """True for text that is a finite number also with 32 bits."""
    return is_number(cell) and abs(float(cell)) <= float(np.finfo(np.float32).max)


def _check_known(task: Task, labels: list[list[str]], places: list[str]) -> None:
    """Labels to be scored must be among those that the model was trained on."""
    if isinstance(task, Regression):
        return
    for place, row in zip(places, labels, strict=True):
        names = set(row[0]) if task.per_residue else {row[0]}
        if isinstance(task, MultiLabel):
            names = set(split_labels(row[0], task.separator))
        unknown = sorted(names - set(task.classes))
        if unknown:
            raise InputError(
                f"{place}: label {unknown[0]!r} is not among the classes of this run ({', '.join(task.classes[:10])}"
                f"{', …' if len(task.classes) > 10 else ''}); correct it, or finetune again with it"
            )


def _class_warnings(task: Task, kind: TaskKind, labels: list[list[str]], train: NDArray[np.bool_]) -> list[str]:
    """What the label counts make impossible, in words."""
    if kind != "classification":
        return []
    counts: dict[str, int] = {}
    in_train: set[str] = set()
    for row, learnt in zip(labels, train.tolist(), strict=True):
        counts[row[0]] = counts.get(row[0], 0) + 1
        if learnt:
            in_train.add(row[0])
    warnings = []
    single = [name for name, count in counts.items() if count == 1]
    if single:
        warnings.append(f"{_list(single)} with one member: either learnt or scored, never both")
    unseen = [name for name in counts if name not in in_train]
    if unseen:
        warnings.append(f"{_list(unseen)} without a training record: every such record will be missed")
    return warnings


def _shared_sequences(records: Sequence[Record], split: Split) -> list[str]:
    """A warning where held-out records have the very sequence of a training record."""
    learnt = {record.letters.tobytes() for record, name in zip(records, split.sets, strict=True) if name == TRAIN}
    held_out = [record for record, name in zip(records, split.sets, strict=True) if name != TRAIN]
    shared = sum(record.letters.tobytes() in learnt for record in held_out)
    if not shared or not learnt:
        return []
    return [f"{shared:,} of {len(held_out):,} held-out records have the very sequence of a training record"]


def _list(names: list[str]) -> str:
    shown = ", ".join(map(repr, names[:_MAX_LISTED])) + (", …" if len(names) > _MAX_LISTED else "")
    return f"class {shown}" if len(names) == 1 else f"{len(names)} classes ({shown})"
