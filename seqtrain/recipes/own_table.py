"""The labelled records that a run was trained and scored on, read again from its table, with the sets that they had."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqtrain.errors import InputError
from seqtrain.io.columns import Columns
from seqtrain.io.delimited import Table, read_table
from seqtrain.io.inputs import raw_rows
from seqtrain.io.ledger import Ledger
from seqtrain.io.records import Record, RecordReader
from seqtrain.io.run_directory import sha256_of
from seqtrain.run import Run, load_run, settings_of_run
from seqtrain.run_record import DAMAGED, RECORD


@dataclass(frozen=True, kw_only=True)
class OwnTable:
    """N labelled records that a run was trained and scored on."""

    path: Path
    columns: Columns
    sets: NDArray[np.str_]
    """(N,)."""
    records: list[Record]
    """N."""
    labels: list[list[str]]
    """N rows of label cells."""
    weights: list[str]
    """N cells of the weight column, "1" without one."""
    texts: list[str]
    """N sequences as they stand in the table."""

    def indices(self, name: str) -> NDArray[np.int64]:
        """Those of one set."""
        return np.flatnonzero(self.sets == name)


def own_table(
    run: Run, sets_of: str | None, path: str | None, only_source: str, say: Callable[[str], None]
) -> OwnTable:
    """The labelled rows of a run's own table with the sets that they had.

    Args:
        sets_of: another run, whose table and sets are taken instead.
        path: where the table is now, if it was moved.
        only_source: of a table with a column ``source`` only the rows that say this: its others were labelled by a
            model in an earlier round.

    Raises:
        InputError: the run keeps no sets, its table is not there, or it was changed since.
    """
    source = load_run(Path(sets_of)) if sets_of else run
    split_path = source.folder / "split.csv"
    if not split_path.exists():
        raise InputError(
            f"{source.folder}: keeps no split.csv, as ensembles that were joined from runs do not; say whose table and "
            "sets to take: --sets-of with one of these runs"
        )
    if source.task is None or run.task is None or source.task.columns != run.task.columns:
        raise InputError(f"--sets-of {source.folder}: learnt other labels than {run.folder}; give a run of its task")
    table = _found(source.folder, path)
    names = source.columns
    columns = Columns(
        sequence=names["sequence"],
        targets=tuple(names["targets"]),
        identifier=names.get("identifier"),
        weight=names.get("weight"),
    )
    split = read_table(split_path)
    pairs = [(int(row) - 1, name) for row, name in zip(split.column("row"), split.column("set"), strict=True)]
    labelled = [
        pair for pair in pairs if "source" not in table.columns or table.columns["source"][pair[0]] == only_source
    ]
    if labelled and len(labelled) < len(pairs):
        say(
            f"{table.path}: {len(pairs) - len(labelled):,} pseudo-labels of an earlier round left out, to be given anew"
        )
        pairs = labelled
    reader = RecordReader(run.alphabet, "drop", Ledger(), keep_bad=True)
    records = list(reader(raw_rows(table, columns)))
    rows = [row for row, _ in pairs]
    weights = table.columns[columns.weight] if columns.weight else ["1"] * len(table)
    say(f"{table.path}: {len(rows):,} labelled records with the sets of {source.folder}")
    return OwnTable(
        path=Path(table.path),
        columns=columns,
        sets=np.array([name for _, name in pairs], dtype=np.str_),
        records=[records[row] for row in rows],
        labels=[[table.column(name)[row].strip() for name in columns.targets] for row in rows],
        weights=[weights[row].strip() for row in rows],
        texts=[table.column(columns.sequence)[row] for row in rows],
    )


def sets_of_rows(folder: Path, table: str) -> dict[int, str]:
    """Which set of a run each row of a table was in, from 0; empty for a table or a run of which that is not known."""
    try:
        facts = json.loads((folder / RECORD).read_text(encoding="utf-8"))["facts"]
        split = read_table(folder / "split.csv")
        sets = {int(row) - 1: name for row, name in zip(split.column("row"), split.column("set"), strict=True)}
        return sets if sha256_of(Path(table)) in facts.values() else {}
    except (InputError, OSError, *DAMAGED):
        return {}


def _found(folder: Path, moved_to: str | None) -> Table:
    """The table that a run was trained on, found and compared with what it was."""
    known = settings_of_run(folder).get("table")
    path = Path(moved_to or str(known or ""))
    if not known or not path.is_file():
        raise InputError(f"{folder}: its table {path} is not there any more; say where it is: --table FILE")
    facts: dict[str, Any] = {}
    try:
        facts = dict(json.loads((folder / "run.json").read_text(encoding="utf-8"))["facts"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder / 'run.json'}: damaged ({error}); use another copy of the run") from None
    if facts.get(f"data {Path(str(known)).name}") != sha256_of(path):
        raise InputError(
            f"{path}: is not what {folder} was trained on (its SHA-256 differs); give that table: --table FILE"
        )
    return read_table(path)
