"""A table that synthetic rows are added to: its classes, their training members, and how it is written again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from seqtrain.alphabet import PROTEIN
from seqtrain.config import FinetuneConfig
from seqtrain.errors import InputError
from seqtrain.fitting import Listener
from seqtrain.generate.star_alignment import is_aligned
from seqtrain.io.columns import PROVENANCE, Columns
from seqtrain.io.compressed import Source, is_dash
from seqtrain.io.delimited import Table, read_table, unique_names
from seqtrain.io.splits import TRAIN, VALID, set_of
from seqtrain.labeled import LabeledData
from seqtrain.recipes.finetuning import read_training_table
from seqtrain.tasks import Classification, kind_of

if TYPE_CHECKING:
    from seqtrain.recipes.synthesize import SynthesizeConfig

ADDED = ("source", "parent", "identity")
"""Columns: given or synthetic; the identifier of the row that was varied; identity to the nearest training member."""
GIVEN, SYNTHETIC = "given", "synthetic"
_SET_NAMES = ("set", "split", "stage")
_MAX_LISTED = 20
_UNLIMITED = 1 << 40
_NEW_SET = "\n"
"""Stands for the column of sets that is added; no column of a file can be called so."""
Row = Sequence[str | int | float]


class MembersOfClass(TypedDict):
    """Training members of a class."""

    identifiers: list[str]
    sequences: list[str]


@dataclass(frozen=True)
class SyntheticTable:
    """A table of classes, as finetuning reads it."""

    table: Table
    columns: Columns
    data: LabeledData

    @classmethod
    def read(cls, path: Path, config: SynthesizeConfig, listener: Listener) -> SyntheticTable:
        """Read a table through the reader of finetuning, so that columns, sets and ledger are the same.

        Raises:
            InputError: a table that cannot be used, labels that are no classes, other letters than of proteins, or a
                table that synthetic rows were added to before.
        """
        settings = FinetuneConfig(
            table=str(path),
            target=config.target,
            task=config.task,
            sequence_column=config.sequence_column,
            split_column=config.split_column,
            split=config.split,
            fold=config.fold,
            weight_column=config.weight_column,
            alphabet=config.alphabet,
            bad_records=config.bad_records,
            seed=config.seed,
            max_length=_UNLIMITED,
        )
        table = read_table(path)
        if SYNTHETIC in table.columns.get(ADDED[0], ()):
            raise InputError(
                f"{path}: synthetic rows were added to this table before; start from the table without them, and name "
                "all classes at once"
            )
        given = read_training_table(settings, table, None, listener)
        task = given.data.task
        if not isinstance(task, Classification):
            raise InputError(
                f"{path}: {task.words} has no families to model: synthesize adds members to classes, one per sequence; "
                "--task classification takes the labels as such"
            )
        alphabet = given.data.store.alphabet
        if alphabet.name != PROTEIN.name:
            raise InputError(
                f"{path}: {alphabet.name} sequences; families are modelled as proteins: translate them, or use "
                "seqtrain augment"
            )
        return cls(table, given.columns, given.data)

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def counts(self) -> dict[str, int]:
        """Training rows of each class that has any, the largest first; augmented copies are none."""
        counted = Counter(self.data.labels[index][0] for index in self._train())
        return dict(sorted(counted.items(), key=lambda item: (-item[1], item[0])))

    def chosen(self, names: Sequence[str], below: int | None) -> list[str]:
        """The classes to add to, in the order of the table's counts.

        Raises:
            InputError: none or both ways of choosing, a class that does not exist, or none that is small enough.
        """
        column = self.data.task.columns[0]
        listed = _listed(self.counts)
        if bool(names) == (below is not None):
            what = "give one of the two" if names else "say which classes are rare"
            raise InputError(f"{self.table.path}: --class NAME or --below N: {what}; column {column!r} has {listed}")
        for name in names:
            if name not in self.counts:
                raise InputError(
                    f"{self.table.path}: no training row of class {name!r} in column {column!r}; it has {listed}"
                )
        if below is None:
            return [name for name in self.counts if name in names]
        found = [name for name, count in self.counts.items() if count < below]
        if not found:
            raise InputError(f"--below {below}: no class has so few training rows; {self.table.path} has {listed}")
        return found

    def members(self, name: str) -> MembersOfClass:
        """The training rows of a class.

        Raises:
            InputError: one has gaps.
        """
        identifiers, sequences = [], []
        for index in self._train():
            if self.data.labels[index][0] != name:
                continue
            text = self.data.text(index)
            if is_aligned([text]):
                place = self.table.place(int(self.data.rows[index]))
                raise InputError(
                    f"{place}: a gap in a sequence of class {name!r}; take the gaps out of the table, or give the "
                    "alignment of this family by itself as FASTA"
                )
            identifiers.append(self.data.store.name(index))
            sequences.append(text)
        return MembersOfClass(identifiers=identifiers, sequences=sequences)

    def every_sequence(self) -> Iterator[str]:
        """The sequences of all rows, whatever their set, and those that were dropped too."""
        for cell in self.table.column(self.columns.sequence):
            yield "".join(cell.split()).upper().removesuffix("*")

    @property
    def header(self) -> list[str]:
        """All columns; a set, if the table has none, and where each row is from."""
        return unique_names([*self.table.columns, *([] if self.columns.split else [self._set_name]), *ADDED])

    def given_rows(self) -> Iterator[Row]:
        """The rows as they stand, with their set where the table does not say it.

        Rows taken for validation out of those marked as train are marked so: otherwise finetuning would take others,
        and synthetic ones, which are made of rows that then would be held out.
        """
        sets = [""] * len(self.table)
        for row, name in zip(self.data.rows.tolist(), self.data.split.sets.tolist(), strict=True):
            sets[row] = name
        for row in range(len(self.table)):
            cells = {name: column[row] for name, column in self.table.columns.items()}
            if self.columns.split is None:
                cells[_NEW_SET] = sets[row]
            elif sets[row] == VALID and set_of(cells[self.columns.split]) != VALID:
                cells[self.columns.split] = VALID
            yield [*cells.values(), GIVEN, "", ""]

    def row(self, name: str, number: int, sequence: str, parent: str, identity: float) -> Row:
        """A synthetic row of a class: sequence, class, set, a name and a weight; other columns stay empty."""
        cells = dict.fromkeys(self.table.columns, "")
        cells[self.columns.sequence] = sequence
        cells[self.data.task.columns[0]] = name
        if self.columns.identifier is not None:
            cells[self.columns.identifier] = self._free_name(f"{name}|synthetic-{number}")
        if self.columns.weight is not None and self.data.weights is not None:
            own = [index for index in self._train() if self.data.labels[index][0] == name]
            cells[self.columns.weight] = f"{float(np.mean(self.data.weights[own])):.6g}"
        cells[self.columns.split or _NEW_SET] = TRAIN
        return [*cells.values(), SYNTHETIC, parent, f"{identity:.4f}"]

    def advice(self, output: Source) -> list[str]:
        """What was changed in the table, and how to train on it."""
        lines = []
        split = self.columns.split
        if split is None:
            lines.append(f"column {self._set_name!r} was added: {self.data.split.made_how}")
        else:
            moved = sum(set_of(self.table.columns[split][int(row)]) != VALID for row in self.data.rows[self._valid()])
            if moved:
                lines.append(
                    f"column {split!r}: {moved:,} train rows are now marked {VALID}, as finetune would have taken them "
                    f"for validation; no model saw them"
                )
        column = f" --split-column {quote(split or self._set_name)}"
        shown = column if split not in (None, *_SET_NAMES) or (split is None and self._set_name != "set") else ""
        if is_dash(output):
            return lines
        target = quote(self.data.task.columns[0])
        weight = f" --weight-column {quote(self.columns.weight)}" if self.columns.weight else ""
        read_as = f" --sequence-column {quote(self.columns.sequence)} --task {kind_of(self.data.task)}"
        options = f"--target {target}{read_as}{shown}{weight}"
        lines.append(f"train on it with  seqtrain finetune {quote(str(output))} {options}")
        return lines

    def _train(self) -> list[int]:
        copied = self.table.columns.get(PROVENANCE[0])
        return [
            index
            for index in self.data.split.indices(TRAIN).tolist()
            if copied is None or not copied[int(self.data.rows[index])].strip()
        ]

    def _valid(self) -> list[int]:
        found: list[int] = self.data.split.indices(VALID).tolist()
        return found

    @property
    def _set_name(self) -> str:
        taken = {name.lower() for name in self.table.columns}
        return next(name for name in (*_SET_NAMES, "set_by_seqtrain") if name not in taken)

    def _free_name(self, name: str) -> str:
        assert self.columns.identifier is not None
        while name in self._names:
            name += "-new"
        return name

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(self.table.columns[self.columns.identifier]) if self.columns.identifier else frozenset()


def _listed(counts: dict[str, int]) -> str:
    shown = ", ".join(f"{name} ({count:,})" for name, count in list(counts.items())[:_MAX_LISTED])
    return shown + (f" and {len(counts) - _MAX_LISTED} more" if len(counts) > _MAX_LISTED else "")
