"""Which column is what: sequences, labels, sets, masks and weights are found when they are obvious, else asked for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from seqtrain.errors import InputError
from seqtrain.io.cells import as_number, is_missing
from seqtrain.io.delimited import Table
from seqtrain.io.splits import set_of

_SEQUENCE_NAMES = (
    "sequence", "seq", "protein", "protein_sequence", "aa_seq", "aa_sequence", "mutated_sequence", "primary",
)  # fmt: skip
_TARGET_NAMES = ("target", "label", "labels", "y", "fitness", "score", "dms_score", "class")
_IDENTIFIER_NAMES = ("id", "identifier", "name", "accession", "entry", "uniprot", "uniprot_id", "pdb_id", "mutant", "")
_SPLIT_NAMES = ("set", "split", "stage", "partition", "subset")
_MASK_NAMES = ("mask", "resolved")
_ADDED = ("source", "parent", "identity", "confidence", "weight")
"""Columns that synthetic sequences and pseudo-labels come with."""
_SOURCES = {"given", "synthetic", "labelled", "pseudo"}
PROVENANCE = ("augmented_from", "copy", "augmentation")
"""Columns of a table of augmented copies: the identifier of the original, the number of the copy, what was done."""
TRANSLATED_FROM = "translated_from"
"""The protein that a coding sequence was written from."""
_MAX_INTEGER_CLASSES = 20
_MAX_SIGNS = 40
_MANY_DIGITS = 20


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The part that each column of a table plays."""

    sequence: str
    targets: tuple[str, ...] = ()
    identifier: str | None = None
    split: str | None = None
    mask: str | None = None
    weight: str | None = None

    def words(self) -> str:
        """Which column was taken for what."""
        parts = {
            "sequences": self.sequence, "labels": ", ".join(self.targets), "names": self.identifier,
            "sets": self.split, "mask": self.mask, "weights": self.weight,
        }  # fmt: skip
        return "; ".join(f"{part} from column {name!r}" for part, name in parts.items() if name)


def find_columns(
    table: Table,
    *,
    sequence: str | None = None,
    targets: Sequence[str] = (),
    split: str | None = None,
    mask: str | None = None,
    weight: str | None = None,
    want_targets: bool = True,
) -> Columns:
    """Take the columns that were named, and find the others.

    Raises:
        InputError: a named column that does not exist, or a part that more than one column, or none, could play.
    """
    named = [name for name in (sequence, split, mask, weight, *targets) if name is not None]
    for name in named:
        table.column(name)
        if named.count(name) > 1:
            raise InputError(f"{table.path}: column {name!r} was named for two parts; name each column once")
    sequence = sequence or _find_sequence_column(table)
    identifier = _named(table, _IDENTIFIER_NAMES, {sequence, *targets})
    split = split or _find_split_column(table, {sequence, *targets})
    if want_targets and not targets:
        targets = (_find_target_column(table, {sequence, identifier, split, mask, weight}),)
    if mask is None and len(targets) == 1:
        mask = _find_mask_column(table, {sequence, *targets}, sequence)
    return Columns(
        sequence=sequence, targets=tuple(targets), identifier=identifier, split=split, mask=mask, weight=weight
    )


def infer_task_kind(table: Table, columns: Columns) -> tuple[str, str]:
    """The kind of task that the label columns look like, and why, in words.

    Raises:
        InputError: labels that could be more than one kind.
    """
    if len(columns.targets) > 1:
        return "regression", "several label columns"
    name = columns.targets[0]
    cells = [cell for cell in table.column(name) if cell and not is_missing(cell)]
    if not cells:
        raise InputError(f"{table.path}: column {name!r} is empty; choose another --target")
    if _are_per_residue(table, columns.sequence, name):
        return "residue", "each label is as long as its sequence"
    distinct = sorted(set(cells))
    numbers = [cell for cell in distinct if as_number(cell) is not None]
    if len(numbers) >= 0.9 * len(distinct):
        return _numeric_kind(table.path, name, distinct)
    comma = [cell for cell in distinct if as_number(cell) is None and as_number(cell.replace(",", ".", 1)) is not None]
    if len(comma) + len(numbers) >= 0.9 * len(distinct):
        raise InputError(
            f"{table.path}: column {name!r} has decimal commas, such as {comma[0]!r}; write points, "
            "or say --task classification if these are classes"
        )
    if _are_lists_per_residue(table, columns.sequence, name):
        raise InputError(
            f"{table.path}: column {name!r} has lists with an entry for each residue; write each as one text of single "
            "signs, such as HHEC"
        )
    if any(mark in cell for mark in ";|" for cell in distinct):
        return "multilabel", "labels joined by ; or |"
    if len(distinct) > max(20, len(cells) // 2):
        raise InputError(
            f"{table.path}: column {name!r} has {len(distinct):,} different texts in {len(cells):,} rows; "
            "choose another --target, or say --task classification if they are classes"
        )
    return "classification", f"{len(distinct)} different texts"


def originals_of(table: Table, columns: Columns, rows: Sequence[int], identifiers: Sequence[str]) -> list[str] | None:
    """The name of the original of each of some rows, with which augmented copies are kept; None where there are none.

    Raises:
        InputError: copies beside originals that have no names.
    """
    if PROVENANCE[0] not in table.columns:
        return None
    sources = [table.columns[PROVENANCE[0]][row].strip() for row in rows]
    if columns.identifier is None and any(sources) and not all(sources):
        raise InputError(
            f"{table.path}: column {PROVENANCE[0]!r} names the originals of augmented copies, and no column names the "
            "rows; augment the table again, which writes one, or add a column 'identifier'"
        )
    return [source or identifier for source, identifier in zip(sources, identifiers, strict=True)]


def _are_per_residue(table: Table, sequence: str, target: str) -> bool:
    """Whether labels are as long as their sequences and made of few signs.

    Raises:
        InputError: digits as many as the residues of sequences of one length, which may be numbers as well.
    """
    pairs = [(s, c) for s, c in zip(table.column(sequence), table.column(target), strict=True) if c]
    same_length = sum(len(s) == len(c) for s, c in pairs)
    signs = set().union(*(set(c) for _, c in pairs[:1000]))
    longest = max(len(c) for _, c in pairs)
    if len(signs) > _MAX_SIGNS or same_length < 0.9 * len(pairs) or longest == 1:
        return False
    if not all(as_number(c) is not None for _, c in pairs[:1000]):
        return True
    if signs & set(".eE+-"):
        return False
    if len({len(c) for _, c in pairs}) == 1 and longest < _MANY_DIGITS:
        raise InputError(
            f"{table.path}: column {target!r} has as many digits as residues; "
            "say --task residue if each is a label, else --task regression or classification"
        )
    return True


def _are_lists_per_residue(table: Table, sequence: str, target: str) -> bool:
    """Whether labels are joined by ; and as many as the residues, as lists in a Parquet file are."""
    pairs = [(c.count(";") + 1, s) for s, c in zip(table.column(sequence), table.column(target), strict=True) if c]
    return sum(entries > 1 for entries, _ in pairs) >= 0.9 * len(pairs) and _are_residues(pairs)


def _are_residues(pairs: Sequence[tuple[int, str]]) -> bool:
    """Whether nearly all numbers are those of the residues, or codons, of the sequences beside them."""
    fitting = 0
    for number, text in pairs:
        letters = len("".join(text.split()).removesuffix("*"))
        fitting += number == letters or 3 * number == letters
    return fitting >= 0.9 * len(pairs)


def _numeric_kind(path: str, name: str, distinct: list[str]) -> tuple[str, str]:
    if not all(_is_integer(cell) for cell in distinct):
        return "regression", "the labels are numbers"
    if len(distinct) <= _MAX_INTEGER_CLASSES:
        return "classification", f"{len(distinct)} different whole numbers"
    raise InputError(
        f"{path}: column {name!r} has {len(distinct):,} different whole numbers; "
        "say --task regression if they are amounts, --task classification if they are classes"
    )


def _is_integer(cell: str) -> bool:
    return re.fullmatch(r"[+-]?\d+(\.0*)?", cell.strip()) is not None


def _named(table: Table, names: Sequence[str], taken: set[str]) -> str | None:
    """The column with the first of some usual names that is not taken yet."""
    by_lower = {column.lower().strip(): column for column in reversed(table.columns) if column not in taken}
    return next((by_lower[name] for name in names if name in by_lower), None)


def _find_sequence_column(table: Table) -> str:
    usual = [column for column in table.columns if column.lower().strip() in _SEQUENCE_NAMES]
    candidates = usual or [column for column, cells in table.columns.items() if _look_like_sequences(cells)]
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        raise InputError(
            f"{table.path}: no column looks like sequences (columns: {', '.join(table.columns)}); "
            "name it: --sequence-column"
        )
    raise InputError(
        f"{table.path}: columns {', '.join(candidates)} could hold the sequences; choose: --sequence-column"
    )


def _look_like_sequences(cells: Sequence[str]) -> bool:
    sample = [cell for cell in cells[:200] if cell]
    lettered = [cell for cell in sample if len(cell) >= 5 and cell.replace("*", "").replace("-", "").isalpha()]
    upper = [cell for cell in lettered if cell.isupper() or len(cell) >= 30]
    return bool(sample) and len(upper) >= 0.9 * len(sample) and len(set(sample)) > 0.5 * len(sample)


def _find_split_column(table: Table, taken: set[str]) -> str | None:
    """A column with a usual name in which some cell says train, or every cell names a set."""
    name = _named(table, _SPLIT_NAMES, taken)
    sets = {set_of(cell) for cell in set(table.columns[name])} if name else set()
    return name if "train" in sets or None not in sets else None


def _find_target_column(table: Table, taken: set[str | None]) -> str:
    free = [column for column in table.columns if column not in taken]
    usual = [column for column in free if column.lower().strip() in _TARGET_NAMES]
    if len(usual) == 1:
        return usual[0]
    reserved = {
        *_IDENTIFIER_NAMES, *_SPLIT_NAMES, *_MASK_NAMES, *_SEQUENCE_NAMES, *PROVENANCE, TRANSLATED_FROM,
    }  # fmt: skip
    if set(table.columns.get("source", ["no"])) <= _SOURCES:
        reserved |= {*_ADDED}
    unreserved = [column for column in free if column.lower().strip() not in reserved]
    rest = usual or [column for column in unreserved if not _look_like_sequences(table.columns[column])]
    if len(rest) == 1:
        return rest[0]
    if not rest:
        raise InputError(
            f"{table.path}: no column is left to be the label (columns: {', '.join(table.columns)}); "
            "choose one with --target, or add one"
        )
    raise InputError(f"{table.path}: columns {', '.join(rest)} could be the label; choose one with --target")


def _find_mask_column(table: Table, taken: set[str], sequence: str) -> str | None:
    """A column of 0 and 1, one for each residue of nearly every row; the others are then refused by their row."""
    name = _named(table, _MASK_NAMES, taken)
    if name is None:
        return None
    masks = [mask.strip() for mask in table.columns[name]]
    if any(mask.strip("01") for mask in masks):
        return None
    return name if _are_residues(list(zip(map(len, masks), table.columns[sequence], strict=True))) else None
