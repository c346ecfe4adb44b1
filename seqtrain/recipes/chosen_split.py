"""Which sets a labelled table is read with: those of a file, of a way to split, or of its own column."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from seqtrain.config import FinetuneConfig
from seqtrain.errors import InputError
from seqtrain.io.columns import Columns
from seqtrain.io.delimited import Table
from seqtrain.io.run_directory import sha256_of
from seqtrain.io.split_file import SplitFile, read_split
from seqtrain.labeled import LabeledData
from seqtrain.split_ways import read_split_by
from seqtrain.splitting import Say, Splitting


def chosen_split(
    split: str | None, fold: int | None, split_column: str | None, *, split_by: str | None = None, seed: int = 0
) -> SplitFile | Splitting | None:
    """The split that was asked for; None leaves it to the table.

    Raises:
        InputError: more than one was asked for, a file that is no split, a fold that it does not have, or words that
            name no way to split.
    """
    asked = {"--split": split, "--split-column": split_column, "--split-by": split_by}
    given = [f"{option} {value}" for option, value in asked.items() if value is not None]
    if len(given) > 1:
        raise InputError(f"{' and '.join(given)}: each says which record is in which set; leave one")
    if fold is not None and split is None:
        raise InputError(f"--fold {fold}: is for a split with folds; give it too: --split FILE")
    if split is not None:
        return read_split(Path(split), fold)
    return None if split_by is None else Splitting(by=read_split_by(split_by), seed=seed)


def without_own_sets(columns: Columns, chosen: SplitFile | Splitting | None, say: Say) -> Columns:
    """The columns without that of the sets, where a split was asked for."""
    if chosen is None or columns.split is None:
        return columns
    say(f"column {columns.split!r}: names sets too; they are left aside for the split that was asked for")
    return replace(columns, split=None)


def warn_of_other_rows(table: Table, columns: Columns, chosen: SplitFile | Splitting | None, say: Say) -> None:
    """Say so where nobody can tell whether the rows are those that were split."""
    if isinstance(chosen, SplitFile) and Path(table.path).is_file():
        for line in chosen.warnings(Path(table.path), named=columns.identifier is not None):
            say(line)


def digests_of_split(config: FinetuneConfig, data: LabeledData) -> dict[str, str]:
    """SHA-256 of the split file, or of the sets that were made: another version or MMseqs2 may find other relatives."""
    if config.split is not None:
        return {"split": sha256_of(Path(config.split))}
    if config.split_by is None:
        return {}
    return {"sets": hashlib.sha256("\n".join(map(str, data.split.sets.tolist())).encode()).hexdigest()}
