"""How originals and copies are written: as FASTA with the provenance in the header, or as rows with it in columns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, TypeVar

import numpy as np

from seqtrain.alphabet import UNKNOWN_CODON, Alphabet
from seqtrain.copies.copies import Copy
from seqtrain.copies.entries import Entry
from seqtrain.errors import InputError
from seqtrain.io.columns import PROVENANCE, TRANSLATED_FROM, Columns
from seqtrain.io.delimited import Table
from seqtrain.io.fasta import FastaRecord
from seqtrain.io.residue_columns import ResidueColumns

Row: TypeAlias = Sequence[str | int | float]
"""A row of a table."""
_Written = TypeVar("_Written")
_COPY_NAME = re.compile(r"(.*)\|augmented-(\d+)")


class Form(Protocol[_Written]):
    """How records are written."""

    def original(self, entry: Entry) -> _Written:
        """A record as it came."""
        ...

    def copies(self, entry: Entry, copies: list[Copy]) -> list[_Written]:
        """Its copies."""
        ...


@dataclass(frozen=True, kw_only=True)
class Spelling:
    """Letters of copies to text."""

    before: Alphabet
    after: Alphabet

    def __call__(self, entry: Entry, copy: Copy) -> str:
        """The copy as text. In coding sequences U stays U, and unknown codons keep the bases they were given with."""
        if self.before != self.after or self.after.bases_per_letter == 1:
            return self.after.text(copy.letters)
        given = entry.raw.sequence.upper().decode("ascii")
        text = self.after.text(copy.letters)
        if "U" in given:
            text = text.replace("T", "U")
        unknown = np.flatnonzero(copy.letters == UNKNOWN_CODON)
        if not len(unknown):
            return text
        codons = [text[place : place + 3] for place in range(0, len(text), 3)]
        origin = np.arange(len(copy.letters)) if copy.origin is None else copy.origin
        for place in unknown.tolist():
            source = int(origin[place])
            if source >= 0 and entry.record.letters[source] == UNKNOWN_CODON:
                codons[place] = given[3 * source : 3 * source + 3]
        return "".join(codons)


@dataclass
class Identifiers:
    """Names for copies that no other record of the output has. Keeps a hash per record."""

    copies: int
    """Of each record."""
    keep_original: bool
    _seen: set[int] = field(default_factory=set)
    _marked: set[int] = field(default_factory=set)

    def stem(self, entry: Entry) -> str:
        """What the copies of a record are named after: its identifier, with its number where that was seen before.

        Raises:
            InputError: an original has the name of another one's copy.
        """
        identifier = entry.raw.identifier
        repeated = hash(identifier) in self._seen
        self._seen.add(hash(identifier))
        if not self.keep_original:
            return f"{identifier}|record-{entry.index + 1}" if repeated else identifier
        found = _COPY_NAME.fullmatch(identifier)
        if found:
            self._marked.add(hash(identifier))
        names = (f"{identifier}|augmented-{number}" for number in range(1, self.copies + 1))
        if (found and hash(found[1]) in self._seen and 1 <= int(found[2]) <= self.copies) or (
            self._marked and any(hash(name) in self._marked for name in names)
        ):
            raise InputError(
                f"{entry.raw.place}: record {identifier!r} and a copy would have one name, as copies were made of this "
                "input before; augment the originals once with several --with, rename them, or pass --no-original"
            )
        return f"{identifier}|record-{entry.index + 1}" if repeated else identifier


@dataclass(frozen=True, kw_only=True)
class FastaForm:
    """Copies as FASTA records."""

    words: str
    seed: int
    spelling: Spelling
    identifiers: Identifiers

    def original(self, entry: Entry) -> FastaRecord:
        """The record as it stood in the file."""
        return FastaRecord(entry.raw.identifier, entry.description, entry.raw.sequence, 0)

    def copies(self, entry: Entry, copies: list[Copy]) -> list[FastaRecord]:
        """The copies of a record, their provenance at the end of the header."""
        stem = self.identifiers.stem(entry)
        quoted = self.words.replace('"', "'")
        records = []
        for copy in copies:
            drawn = f" draw={copy.draw}" if copy.draw > 1 else ""
            origin = f'augmented_from={entry.raw.identifier} copy={copy.number} seed={self.seed}{drawn} with="{quoted}"'
            sequence = self.spelling(entry, copy).encode()
            description = f"{entry.description} {origin}".lstrip()
            records.append(FastaRecord(f"{stem}|augmented-{copy.number}", description, sequence, 0))
        return records


@dataclass(frozen=True, kw_only=True)
class TableForm:
    """Copies as rows: every column of the table, then the provenance."""

    table: Table
    columns: Columns
    residue: ResidueColumns
    words: str
    seed: int
    spelling: Spelling
    identifiers: Identifiers

    def __post_init__(self) -> None:
        for name in self.added:
            if name in self.table.columns:
                raise InputError(
                    f"{self.table.path}: column {name!r} is there already, and would be written; rename or remove it "
                    "(to augment in several ways, give several --with at once)"
                )

    @property
    def added(self) -> list[str]:
        """Columns that the table does not have."""
        protein = [TRANSLATED_FROM] if self.spelling.before != self.spelling.after else []
        mask = [self.residue.new] if self.residue.new else []
        # Copies are told from their originals by these names, wherever the rows stand in a later file.
        identifier = [] if self.columns.identifier is not None else ["identifier"]
        return [*mask, *protein, *identifier, *PROVENANCE]

    @property
    def header(self) -> list[str]:
        """All columns."""
        return [*self.table.columns, *self.added]

    def original(self, entry: Entry) -> Row:
        """The row as it stood in the table, with a name; originals are written only where the alphabet stays."""
        cells = [
            column[entry.index] or (entry.raw.identifier if name == self.columns.identifier else "")
            for name, column in self.table.columns.items()
        ]
        mask = [self.residue.mask_of(None, len(entry.record.letters))] if self.residue.new else []
        identifier = [] if self.columns.identifier is not None else [entry.raw.identifier]
        return [*cells, *mask, *identifier, "", 0, ""]

    def copies(self, entry: Entry, copies: list[Copy]) -> list[Row]:
        """The copies of a row: another name, sequence and labels per residue, everything else as it was."""
        stem = self.identifiers.stem(entry)
        given = {name: cells[entry.index] for name, cells in self.table.columns.items()}
        rows: list[Row] = []
        for copy in copies:
            cells = {**given, **self.residue.carried(given, copy.origin)}
            cells[self.columns.sequence] = self.spelling(entry, copy)
            identifier = [f"{stem}|augmented-{copy.number}"]
            if self.columns.identifier is not None:
                cells[self.columns.identifier] = identifier.pop()
            mask = [self.residue.mask_of(copy.origin, len(copy.letters))] if self.residue.new else []
            protein = [given[self.columns.sequence]] if TRANSLATED_FROM in self.added else []
            drawn = f", draw {copy.draw}" if copy.draw > 1 else ""
            origin: Row = [entry.raw.identifier, copy.number, f"{self.words} (seed {self.seed}{drawn})"]
            rows.append([*cells.values(), *mask, *protein, *identifier, *origin])
        return rows
