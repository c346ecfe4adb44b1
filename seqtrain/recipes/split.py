"""A table or FASTA in, a file that says which record is in which set out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from shlex import quote
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from seqtrain.errors import InputError
from seqtrain.io.columns import Columns, find_columns, infer_task_kind, originals_of
from seqtrain.io.compressed import Source, is_dash
from seqtrain.io.delimited import Table
from seqtrain.io.inputs import read_input
from seqtrain.io.ledger import Ledger
from seqtrain.io.outputs import check_output
from seqtrain.io.records import BadRecords, RecordReader, find_alphabet
from seqtrain.io.run_directory import sha256_of
from seqtrain.io.split_file import MADE_HOW, MADE_OF, facts_beside, write_split
from seqtrain.io.splits import TEST, TRAIN, VALID
from seqtrain.letters import PackedLetters
from seqtrain.split_ways import Stratified
from seqtrain.splitting import MadeSplit, Splittable, Splitting
from seqtrain.strata import Strata, strata_of

_SHOWN_STRATA = 12
_NAMED = 4
_SAMPLED = 1000


class Sayer(Protocol):
    """Whoever shows the user what happens."""

    def say(self, text: str) -> None:
        """One line of text."""
        ...


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """What is split, and how it is read."""

    splitting: Splitting
    target: str | None = None
    """Column of labels; None: found when it is obvious, and done without when it is not."""
    task: Literal["auto", "regression", "classification", "multilabel", "residue"] = "auto"
    sequence_column: str | None = None
    alphabet: str = "auto"
    bad_records: BadRecords = "error"


@dataclass(frozen=True)
class _Read:
    """What stands in the file."""

    splittable: Splittable
    rows: NDArray[np.int64]
    table: Table | None


def split_file(source: Path, output: Source, config: SplitConfig, listener: Sayer) -> MadeSplit:
    """Split the records of a table or FASTA, and write and say what came out.

    Raises:
        InputError: a file or options that cannot be used, or a split that cannot be made.
    """
    if is_dash(source):
        raise InputError("-: the file is read again when it is trained on; standard input cannot be split, name a file")
    check_output(output, source)
    read = _read(source, config, listener)
    made = config.splitting(read.splittable, listener.say)
    for line in summary(read.splittable, made, config.splitting):
        listener.say(line)
    facts = {
        MADE_HOW: made.made_how,
        "file": source.name,
        MADE_OF: sha256_of(source),
        "records": len(read.splittable),
        f"{made.noun}s": len(made.groups),
        "largest": int(made.groups.sizes.max()),
        "sets": {name: _sizes(sets) for name, sets in made.columns.items()},
    }
    write_split(output, read.rows, read.splittable.identifiers, made.columns, facts)
    if not is_dash(output):
        fold = " --fold 1" if config.splitting.num_folds else ""
        target = f" --target {quote(config.target)}" if config.target is not None else ""
        named = [("--sequence-column", config.sequence_column), ("--task", config.task)]
        named.append(("--alphabet", config.alphabet))
        asked = "".join(f" {option} {quote(value)}" for option, value in named if value not in (None, "auto"))
        use = f"; train with  seqtrain finetune {quote(str(source))}{target}{asked} --split {quote(str(output))}{fold}"
        use = use if read.table is not None else ""
        listener.say(f"wrote {output}, and {facts_beside(Path(output))} on how it was made{use}")
    return made


def _read(source: Path, config: SplitConfig, listener: Sayer) -> _Read:
    given = read_input(source, sequence_column=config.sequence_column)
    table, columns = given.table, given.columns
    raw = list(given.records)
    if table is None:
        for option, value in (("--target", config.target), ("--sequence-column", config.sequence_column)):
            if value is not None:
                raise InputError(f"{option} {value}: {source} is FASTA, which has no columns; leave it out")
    alphabet = find_alphabet(config.alphabet, (each.sequence for each in raw[:_SAMPLED]), str(source))
    ledger = Ledger()
    judged = list(RecordReader(alphabet, config.bad_records, ledger, keep_bad=True)(raw))
    ledger.check()
    for line in ledger.lines():
        listener.say(line)
    rows = np.array([row for row, record in enumerate(judged) if len(record.letters)], dtype=np.int64)
    if not len(rows):
        raise InputError(f"{source}: no usable records are left of {len(judged):,}; see what was dropped above")
    records = [judged[row] for row in rows.tolist()]
    strata = None if table is None else _strata(table, rows, config, listener)
    identifiers = [record.identifier for record in records]
    originals = None if table is None or columns is None else originals_of(table, columns, rows.tolist(), identifiers)
    splittable = Splittable(
        place=str(source),
        identifiers=identifiers,
        sequences=PackedLetters.from_sequences([record.letters for record in records]),
        alphabet=alphabet,
        originals=originals,
        strata=strata,
        column=None if table is None else partial(_cells, table, rows),
    )
    return _Read(splittable, rows, table)


def _cells(table: Table, rows: NDArray[np.int64], name: str) -> list[str]:
    cells = table.column(name)
    return [cells[row] for row in rows.tolist()]


def _strata(table: Table, rows: NDArray[np.int64], config: SplitConfig, listener: Sayer) -> Strata | None:
    """What the labels of a table are, or None where they are not asked for and not obvious.

    Raises:
        InputError: labels are asked for, and cannot be found or be told what they are.
    """
    needed = config.target is not None or config.task != "auto" or isinstance(config.splitting.by, Stratified)
    try:
        columns = find_columns(
            table, sequence=config.sequence_column, targets=(config.target,) if config.target is not None else ()
        )
        kind, reason = (config.task, "as asked") if config.task != "auto" else infer_task_kind(table, columns)
    except InputError as error:
        if needed:
            raise
        listener.say(f"without labels ({str(error).removeprefix(f'{table.path}: ')})")
        return None
    _say_columns(columns, kind, reason, listener)
    cells = table.column(columns.targets[0])
    strata = strata_of(kind, [cells[row].strip() for row in rows.tolist()])  # type: ignore[arg-type]
    if needed and not strata.names:
        raise InputError(f"{table.path}: column {columns.targets[0]!r} holds no label that can be read; see --task")
    return strata if strata.names else None


def _say_columns(columns: Columns, kind: str, reason: str, listener: Sayer) -> None:
    listener.say(f"{columns.words()}; {kind} ({reason})")


def summary(records: Splittable, made: MadeSplit, splitting: Splitting) -> Iterator[str]:
    """What a split looks like, in lines: groups, sizes, shares of the strata, and what is furthest off."""
    sizes, total = made.groups.sizes, len(records)
    if made.noun != "sequence" or len(sizes) < total:
        noun = "different sequence" if made.noun == "sequence" else made.noun
        yield (
            f"{total:,} records in {len(sizes):,} {noun}s that are not parted; the largest has {int(sizes.max()):,} "
            f"({sizes.max() / total:.1%})"
        )
    if made.noun != "sequence" and not splitting.num_folds and sizes.max() > splitting.test_fraction * total > 0:
        yield f"the largest {made.noun} is larger than the test set is to be, and stands in {_set_of_largest(made)}"
    asked = splitting.fractions()
    for name, sets in made.columns.items():
        if name == "set" and len(made.columns) > 1:
            continue
        counts = _sizes(sets)
        shares = ", ".join(
            f"{each} {count:,} ({count / total:.1%}, asked {100 * asked[each]:.4g}%)" for each, count in counts.items()
        )
        worst = _worst(records.strata, sets) if records.strata is not None else ""
        yield f"{'sets' if name == 'set' else name}: {shares}{worst}"
    if records.strata is not None and not splitting.num_folds:
        yield from _table(records.strata, made.columns["set"])


def _sizes(sets: NDArray[np.str_]) -> dict[str, int]:
    counts = {name: int((sets == name).sum()) for name in (TRAIN, VALID, TEST)}
    return {name: count for name, count in counts.items() if count}


def _set_of_largest(made: MadeSplit) -> str:
    return str(made.columns["set"][made.groups.group == made.groups.sizes.argmax()][0])


def _amounts(strata: Strata, sets: NDArray[np.str_]) -> dict[str, NDArray[np.float64]]:
    """For each set that has records (K,) amounts of the strata."""
    width = len(strata.names)
    return {
        name: np.bincount(strata.strata, strata.amounts * (sets[strata.records] == name), width).astype(np.float64)
        for name in _sizes(sets)
    }


def _worst(strata: Strata, sets: NDArray[np.str_]) -> str:
    """Where the share of a stratum in a set differs most from that in all records, in words; whole groups are dealt."""
    everywhere = strata.totals / strata.totals.sum()
    shares = {name: held / max(held.sum(), 1) for name, held in _amounts(strata, sets).items()}
    name = max(shares, key=lambda each: float(np.abs(shares[each] - everywhere).max()))
    worst = int(np.abs(shares[name] - everywhere).argmax())
    lacking = {each: np.flatnonzero(held == 0) for each, held in _amounts(strata, sets).items() if (held == 0).any()}
    words = f"; share furthest off: {strata.names[worst]!r} is {shares[name][worst]:.1%} of {name}"
    words += f", {everywhere[worst]:.1%} of all"
    return words + "".join(f"; {each} has no {_names(strata, absent)}" for each, absent in lacking.items())


def _names(strata: Strata, absent: NDArray[np.int64]) -> str:
    """The first of them by name, and how many more there are."""
    more = f" and {len(absent) - _NAMED:,} more of {len(strata.names):,}" if len(absent) > _NAMED else ""
    return ", ".join(repr(strata.names[i]) for i in absent[:_NAMED].tolist()) + more


def _table(strata: Strata, sets: NDArray[np.str_]) -> Iterator[str]:
    """Shares of the largest strata in all records and in each set, in columns."""
    amounts = {"all": strata.totals, **_amounts(strata, sets)}
    shown = np.argsort(-strata.totals, kind="stable")[:_SHOWN_STRATA]
    width = max(5, *(len(strata.names[i]) for i in shown))
    yield f"{'share':<{width}}" + "".join(f"  {name:>7}" for name in amounts)
    for i in sorted(shown.tolist()):
        cells = "".join(f"  {held[i] / max(held.sum(), 1):7.1%}" for held in amounts.values())
        yield f"{strata.names[i]:<{width}}{cells}"
    if len(strata.names) > _SHOWN_STRATA:
        yield f"and {len(strata.names) - _SHOWN_STRATA:,} smaller ones"
