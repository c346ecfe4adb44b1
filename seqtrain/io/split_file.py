"""Splits as files: a row for each record with its set, and one column for each fold; matched by row and name."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqtrain.errors import InputError
from seqtrain.io.compressed import Source, is_dash
from seqtrain.io.delimited import Table, read_table, write_table
from seqtrain.io.run_directory import sha256_of, write_json_atomically
from seqtrain.io.splits import TEST, TRAIN, VALID, Split, set_of

_ROW, _IDENTIFIER, _SET, _FOLD = "row", "identifier", "set", "fold_"
MADE_HOW, MADE_OF = "made_how", "sha256"


@dataclass(frozen=True, kw_only=True)
class SplitFile:
    """The sets of N records of another file."""

    path: str
    rows: NDArray[np.int64]
    """(N,) from 0 on; the file counts from 1."""
    identifiers: Sequence[str]
    sets: NDArray[np.str_]
    """(N,)."""
    made_how: str
    made_of: str | None = None
    """SHA-256 of the file that was split, if that is known."""

    def matched(self, place: str, num_rows: int, rows: NDArray[np.int64], identifiers: Sequence[str]) -> Split:
        """The sets of n records that can be used, of the ``num_rows`` of a table.

        Args:
            place: the table.
            rows: (n,) where the records stand, from 0 on.

        Raises:
            InputError: the split is of another table: other rows, or other names in them.
        """
        index = {row: i for i, row in enumerate(self.rows.tolist())}
        last = max(index)
        if last >= num_rows:
            raise InputError(
                f"{self.path}: names row {last + 1:,}, and {place} has {num_rows:,}; give the table that was split, or "
                f"split this one: seqtrain split {place} -o {self.path}"
            )
        found = []
        for row, identifier in zip(rows.tolist(), identifiers, strict=True):
            if row not in index:
                raise InputError(
                    f"{self.path}: has no set for row {row + 1:,} ({identifier!r}) of {place}; give the table that was "
                    f"split, or split this one: seqtrain split {place} -o {self.path}"
                )
            name = self.identifiers[index[row]]
            if name != identifier:
                raise InputError(
                    f"{self.path}: row {row + 1:,} is {name!r} there and {identifier!r} in {place}; give the table "
                    "that was split, or split this one anew"
                )
            found.append(index[row])
        return Split(self.sets[found], self.made_how)

    def warnings(self, place: Path, *, named: bool) -> list[str]:
        """A warning where records without names may be others than those that were split."""
        if named or self.made_of is None or self.made_of == sha256_of(place):
            return []
        return [
            f"{self.path}: {place} has changed since it was split, and its rows have no names to know them by: if rows "
            "were added, left out or moved, split it anew"
        ]


def write_split(
    path: Source,
    rows: NDArray[np.int64],
    identifiers: Sequence[str],
    columns: Mapping[str, NDArray[np.str_]],
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Write rows (N,), from 0 on, names and columns of sets (N,); and the facts as JSON beside it, if there are any.

    A CSV has no place for how it was made but in every row. It is read without the JSON as well, which is for people
    and for the report.

    Raises:
        InputError, RunError: see :func:`seqtrain.io.delimited.write_table`.
    """
    lists = [sets.tolist() for sets in columns.values()]
    cells = zip((rows + 1).tolist(), identifiers, *lists, strict=True)
    if facts is not None and not is_dash(path):
        # The facts first: a split whose facts are those of another one would say what is not true.
        facts_beside(Path(path)).unlink(missing_ok=True)
    write_table(path, (_ROW, _IDENTIFIER, *columns), cells)
    if facts is not None and not is_dash(path):
        write_json_atomically(facts_beside(Path(path)), dict(facts))


def facts_beside(path: Path) -> Path:
    """Where the facts of a split file stand: ``split.csv.json`` beside ``split.csv``."""
    return path.with_name(f"{path.name}.json")


def read_split(path: Path, fold: int | None = None) -> SplitFile:
    """The split in a file, or in one of its folds, from 1 on.

    Raises:
        InputError: no such file, other columns, rows that are no numbers or given twice, cells that name no set, a fold
            that is not there, or no training record.
    """
    table = read_table(path)
    _check_columns(table)
    folds = [name for name in table.columns if name.startswith(_FOLD)]
    name = _SET if fold is None else f"{_FOLD}{fold}"
    if name not in table.columns:
        advice = f"give --fold 1 to {len(folds)}" if folds else "it has no folds: leave --fold out"
        raise InputError(f"--fold {fold}: {path} has no such fold; {advice}")
    rows = np.empty(len(table), dtype=np.int64)
    seen: set[int] = set()
    sets = []
    for i, (row, cell) in enumerate(zip(table.columns[_ROW], table.columns[name], strict=True)):
        if not row.strip().isdecimal() or int(row) < 1:
            raise InputError(f"{table.place(i)}: row {row!r} is no number from 1 on; correct it")
        rows[i] = int(row) - 1
        if int(row) in seen:
            raise InputError(f"{table.place(i)}: row {row} is named twice; leave one")
        seen.add(int(row))
        found = set_of(cell)
        if found is None:
            raise InputError(f"{table.place(i)}: {cell!r} in column {name!r} names no set; use train, valid or test")
        sets.append(found)
    if TRAIN not in sets:
        raise InputError(f"{path}: column {name!r} marks no record as train; mark some")
    facts = _facts(path)
    return SplitFile(
        path=str(path),
        rows=rows,
        identifiers=table.columns[_IDENTIFIER],
        sets=np.array(sets, dtype=np.str_),
        made_how=_how(path, fold, len(folds), set(sets), facts.get(MADE_HOW)),
        made_of=facts.get(MADE_OF),
    )


def _check_columns(table: Table) -> None:
    missing = [name for name in (_ROW, _IDENTIFIER, _SET) if name not in table.columns]
    if missing:
        raise InputError(
            f"{table.path}: is no split: it has no column {missing[0]!r}; make one with seqtrain split, or name the "
            "column of a table that has the sets itself with --split-column"
        )


def _facts(path: Path) -> dict[str, str]:
    """What the file beside a split says in words; nothing where there is none."""
    try:
        facts = json.loads(facts_beside(path).read_text(encoding="utf-8"))
        return {name: facts[name] for name in (MADE_HOW, MADE_OF) if isinstance(facts.get(name), str)}
    except (OSError, ValueError, AttributeError):
        return {}


def _how(path: Path, fold: int | None, num_folds: int, sets: set[str], made_how: str | None) -> str:
    words = f"as {path.name} says"
    if num_folds:
        words += f", fold {fold or 1} of {num_folds}"
    words += f" ({made_how})" if made_how else ""
    lacking = [name for name in (VALID,) if name not in sets]
    if not any(name.startswith(TEST) for name in sets):
        lacking.append(TEST)
    return words + "".join(f"; without a {name} set" for name in lacking)
