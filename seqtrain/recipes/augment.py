"""Augmented copies of the records of a FASTA or a table, written beside the originals or instead of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from seqtrain.copies.before_after import before_and_after
from seqtrain.copies.copies import Copy, CopyMaker, Tally
from seqtrain.copies.entries import (
    Entry,
    first_entries,
    judged_rows,
    labels_per_residue,
    num_letters,
    raw_entries,
    refuse_columns,
    row_problems,
    usable_entries,
    without_internal_stops,
)
from seqtrain.copies.files import write_records, write_rows
from seqtrain.copies.forms import FastaForm, Form, Identifiers, Spelling, TableForm
from seqtrain.copies.plan import Plan, read_plan
from seqtrain.errors import InputError
from seqtrain.io.columns import TRANSLATED_FROM
from seqtrain.io.compressed import Source, shown
from seqtrain.io.inputs import Input, read_input
from seqtrain.io.ledger import Ledger
from seqtrain.io.outputs import check_output
from seqtrain.io.protected_positions import Ranges, last_position, read_ranges
from seqtrain.io.records import BadRecords, RecordReader, find_alphabet
from seqtrain.io.splits import TRAIN, set_of
from seqtrain.letters import PackedLetters

if TYPE_CHECKING:
    from seqtrain.fitting import Listener

_BLOCK_LETTERS = 1 << 20
_MAX_BLOCK_RECORDS = 4096
_SHOWN_RECORDS = 3
_SHOWN_COPIES = 2
_Written = TypeVar("_Written")


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """What is made of each record."""

    words: tuple[str, ...]
    """One augmenter after the other, see :func:`seqtrain.copies.plan.read_plan`."""
    copies: int = 1
    keep_original: bool | None = None
    """None: unless the copies are written in another alphabet."""
    unique: bool = False
    """No copy equals its original or another copy of it."""
    seed: int = 0
    protect: str = ""
    """Positions of every record that stay, from 1: "1-20,45"."""
    protect_column: str | None = None
    """A column of such positions, for each row its own."""
    sequence_column: str | None = None
    per_residue: tuple[str, ...] = ()
    """Columns with one character per residue; without any, those that have that are found."""
    alphabet: str = "auto"
    bad_records: BadRecords = "error"


def augment_file(source: Source, output: Source, config: AugmentConfig, listener: Listener) -> None:
    """Write every record of a FASTA or table, followed by its copies; "-" is standard input or output.

    Memory holds a block of records and hashes of the others (a table is read whole). Copy c of record i is what the
    augmenter makes of it in epoch c, whatever else the input holds.

    Raises:
        InputError: words, options or input that cannot be used, or an output that cannot be written.
    """
    check_output(output, source)
    job = _job(source, config, listener)
    if isinstance(job.form, TableForm):
        write_rows(output, job.name, job.form.header, job.written(job.form))
    else:
        write_records(output, job.name, job.written(job.form))
    job.close(listener)


def show_copies(source: Source, config: AugmentConfig, listener: Listener) -> None:
    """Say what becomes of the first records, and write nothing.

    Raises:
        InputError: words, options or input that cannot be used.
    """
    job = _job(source, config, listener)
    maker = replace(job.maker, copies=min(config.copies, _SHOWN_COPIES))
    entries = list(islice(job.entries, _SHOWN_RECORDS))
    if not entries:
        raise job.nothing_left()
    for entry, copies in zip(entries, job.copies_of(entries, maker), strict=True):
        for copy in copies:
            listener.say(f"{entry.raw.identifier}, copy {copy.number}")
            alphabets = maker.input_alphabet, maker.output_alphabet
            for line in before_and_after(entry.record.letters, copy.letters, copy.origin, alphabets):
                listener.say(line)
    listener.say("dry run: nothing was written (* changed, + inserted, - deleted)")


@dataclass(frozen=True, kw_only=True)
class _Job:
    """What one call works with."""

    name: str
    """The input, as shown in messages."""
    entries: Iterator[Entry]
    maker: CopyMaker
    form: FastaForm | TableForm
    keep_original: bool
    protected: Ranges
    """In every record."""
    protected_rows: list[str] | None
    """In each row of the table, as its cell says."""
    ledger: Ledger
    tally: Tally

    def written(self, form: Form[_Written]) -> Iterator[_Written]:
        """Each record and its copies, in order."""
        for block in _blocks(self.entries, _BLOCK_LETTERS // (self.maker.copies + 1)):
            # A whole block is made before any of it goes out, so that what is refused early leaves no output.
            made: list[_Written] = []
            for entry, copies in zip(block, self.copies_of(block, self.maker), strict=True):
                self.tally.add(entry.raw.identifier, entry.record.letters, copies, self.maker.copies)
                if self.keep_original:
                    self.tally.originals += 1
                    made.append(form.original(entry))
                made += form.copies(entry, copies)
            yield from made
        if not self.ledger.total("kept"):
            raise self.nothing_left()

    def nothing_left(self) -> InputError:
        """What to raise where no record could be used."""
        dropped = [(reason, examples) for _, event, reason, *_, examples in self.ledger.rows() if event == "dropped"]
        why = f", dropped first for: {dropped[0][0]} ({dropped[0][1]})" if dropped else ""
        return InputError(f"{self.name}: no usable record is left of {self.ledger.total('read'):,}{why}; correct them")

    def copies_of(self, block: list[Entry], maker: CopyMaker) -> list[list[Copy]]:
        """The copies of each record of a block.

        Raises:
            InputError: a record that the augmenter refuses.
        """
        try:
            return maker(self._packed(block), np.array([entry.index for entry in block], dtype=np.int64))
        except ValueError as error:
            if len(block) > 1:  # one by one, so that the culprit is named
                return [self.copies_of([entry], maker)[0] for entry in block]
            raw = block[0].raw
            raise InputError(f"{raw.place}: record {raw.identifier!r}: {error}") from None

    def _packed(self, block: list[Entry]) -> PackedLetters:
        packed = PackedLetters.from_sequences([entry.record.letters for entry in block])
        if not self.protected and self.protected_rows is None:
            return packed
        mask = np.zeros(len(packed.letters), dtype=bool)
        for place, entry in enumerate(block):
            own = mask[packed.boundaries[place] : packed.boundaries[place + 1]]
            ranges = read_ranges(self.protected_rows[entry.index]) if self.protected_rows is not None else ()
            for first, last in (*self.protected, *ranges):
                own[first - 1 : last] = True
            self.tally.shorter += len(own) < last_position(self.protected)
        return replace(packed, protected=mask)

    def close(self, listener: Listener) -> None:
        """Say what was read and what was written."""
        self.ledger.check()
        for line in (*self.ledger.lines(), *self.tally.lines(iterated=self.maker.iterated is not None)):
            listener.say(line)


def _job(source: Source, config: AugmentConfig, listener: Listener) -> _Job:
    """Read the beginning of the input, and settle all that does not depend on single records."""
    if config.copies < 1:
        raise InputError(f"--copies {config.copies}: must be greater than 0")
    try:
        protected = read_ranges(config.protect)
    except ValueError as error:
        raise InputError(f"--protect {config.protect}: {error}") from None
    given = read_input(source, sequence_column=config.sequence_column)
    raws = raw_entries(source, given)
    ahead = first_entries(raws)
    alphabet = find_alphabet(config.alphabet, (raw.sequence for raw, _ in ahead), ahead[0][0].place)
    plan = read_plan(config.words, alphabet)
    keep = _keeps_original(config, plan, listener, is_table=given.table is not None)
    form = _form(given, config, plan, Identifiers(copies=config.copies, keep_original=keep), listener)
    if isinstance(form, TableForm):
        lengths = num_letters(form.table, form.columns, alphabet)
        problems = row_problems(form.table, lengths, form.residue, config.protect_column)
        judged = judged_rows(form.table, form.columns, problems)
    else:
        named = {"--sequence-column": config.sequence_column, "--protect-column": config.protect_column}
        refuse_columns({**named, "--per-residue": ", ".join(config.per_residue)}, shown(source))
        judged = chain(ahead, raws)
    if plan.code_read is not None:
        judged = without_internal_stops(judged, plan.code_read)
    ledger = Ledger()
    return _Job(
        name=shown(source),
        entries=usable_entries(judged, RecordReader(alphabet, config.bad_records, ledger, keep_bad=True)),
        maker=CopyMaker(
            augmenter=plan.augmenter,
            iterated=plan.order,
            input_alphabet=plan.before,
            output_alphabet=plan.after,
            copies=config.copies,
            seed=config.seed,
            unique=config.unique,
        ),
        form=form,
        keep_original=keep,
        protected=protected,
        protected_rows=given.table.column(config.protect_column) if given.table and config.protect_column else None,
        ledger=ledger,
        tally=Tally(same_alphabet=plan.before == plan.after),
    )


def _keeps_original(config: AugmentConfig, plan: Plan, listener: Listener, *, is_table: bool) -> bool:
    if plan.before == plan.after:
        return config.keep_original is not False
    if config.keep_original:
        raise InputError(
            f"--keep-original: the originals are {plan.before.name} and the copies {plan.after.name} sequences, which "
            "cannot stand in one file; leave it out"
        )
    where = f"; each {plan.before.name} stands beside its copies in column {TRANSLATED_FROM!r}" if is_table else ""
    listener.say(f"the copies are {plan.after.name} sequences, so the originals are left out{where}")
    return False


def _form(
    given: Input, config: AugmentConfig, plan: Plan, identifiers: Identifiers, listener: Listener
) -> FastaForm | TableForm:
    """How the copies are written, with what was taken for what said."""
    spelling = Spelling(before=plan.before, after=plan.after)
    if given.table is None or given.columns is None:
        return FastaForm(words=plan.text, seed=config.seed, spelling=spelling, identifiers=identifiers)
    table, columns = given.table, given.columns
    if config.protect_column is not None:
        table.column(config.protect_column)
    residue = labels_per_residue(
        table,
        columns,
        num_letters(table, columns, plan.before),
        named=config.per_residue,
        apart=config.protect_column,
        inserts=plan.inserts,
    )
    listener.say(f"{table.path}: {columns.words()}")
    for name, mark in residue.marks.items():
        new = f", and inserted ones get {mark!r}" if plan.inserts else ""
        listener.say(f"column {name!r}: one character per residue; they follow their residues{new}")
    if residue.mask is not None and plan.inserts:
        made = "is added; it says" if residue.new else "says"
        listener.say(f"column {residue.mask!r} {made} with 0 that the label of an inserted residue does not count")
    for name, reason in residue.unsure.items():
        listener.say(
            f"column {name!r}: almost one character per residue, but {reason}; name it with --per-residue if so"
        )
    if columns.split is not None and not {set_of(cell) for cell in table.column(columns.split)} <= {TRAIN, None}:
        listener.say(f"column {columns.split!r}: copies of held-out records are made too; score on the originals alone")
    return TableForm(
        table=table,
        columns=columns,
        residue=residue,
        words=plan.text,
        seed=config.seed,
        spelling=spelling,
        identifiers=identifiers,
    )


def _blocks(entries: Iterator[Entry], max_letters: int) -> Iterator[list[Entry]]:
    """Records in lists of about so many letters."""
    block: list[Entry] = []
    letters = 0
    for entry in entries:
        block.append(entry)
        letters += len(entry.record.letters)
        if letters >= max_letters or len(block) == _MAX_BLOCK_RECORDS:
            yield block
            block, letters = [], 0
    if block:
        yield block
