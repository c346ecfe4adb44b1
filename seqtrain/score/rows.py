"""From a table of mutations, or of mutated sequences, to variants of wild types: every row, in order, checked first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NoReturn

from seqtrain.alphabet import Alphabet
from seqtrain.errors import InputError
from seqtrain.io.delimited import Table
from seqtrain.score.mutations import Change, Edit, MismatchError, Notation, Variant, best_offset
from seqtrain.score.wild_types import some_names

_MUTATION_NAMES = ("mutation", "mutations", "mutant", "mutants", "variant", "variants", "aa_mutations", "hgvs", "mut")
_SEQUENCE_NAMES = ("mutated_sequence", "mutant_sequence", "sequence", "seq", "protein_sequence", "aa_seq")
_NAME_NAMES = ("protein", "wild_type", "name", "identifier", "id", "protein_id", "uniprot_id", "uniprot", "accession")
_SAMPLE = 200
_FITTING = 0.9


@dataclass(frozen=True, kw_only=True)
class MutationColumns:
    """The part that columns of a table of mutations play."""

    mutation: str | None
    """Of mutations as text; None where whole sequences are given."""
    sequence: str | None
    """Of whole mutated sequences, looked at where there are no mutations."""
    name: str | None
    """Of the names of wild types; None where there is one wild type only."""

    def words(self) -> str:
        """Which column was taken for what."""
        parts = {"mutations": self.mutation, "mutated sequences": self.sequence, "wild types": self.name}
        return "; ".join(f"{part} from column {name!r}" for part, name in parts.items() if name)


@dataclass(frozen=True, kw_only=True)
class Row:
    """A variant with what the output says of it."""

    identifier: str
    """Of its wild type."""
    mutation: str
    """As it stands in the table; of a whole sequence the replacements, "" where its length differs."""
    variant: Variant


def find_mutation_columns(
    table: Table,
    wild_types: Mapping[str, bytes],
    notation: Notation,
    *,
    mutation: str | None = None,
    sequence: str | None = None,
    name: str | None = None,
) -> MutationColumns:
    """Take the columns that were named, and find the others.

    Raises:
        InputError: a column that is not there, none that holds mutations or sequences, or several wild types without a
            column that says which of them a row is of.
    """
    for given in filter(None, (mutation, sequence, name)):
        table.column(given)
    if mutation and sequence:
        raise InputError("--mutation-column and --sequence-column: both say what the variants are; give one of the two")
    if mutation is None and sequence is None:
        mutation = _find_mutations(table, notation)
    if mutation is None and sequence is None:
        sequence = _usual(table, _SEQUENCE_NAMES)
    if mutation is None and sequence is None:
        raise InputError(
            f"{table.path}: no column holds mutations such as A24G, nor mutated sequences (columns: "
            f"{', '.join(table.columns)}); name one: --mutation-column or --sequence-column"
        )
    if name is None and len(wild_types) > 1:
        name = _find_names(table, wild_types)
    return MutationColumns(mutation=mutation, sequence=sequence, name=name)


@dataclass(frozen=True, kw_only=True)
class VariantTable:
    """A table whose rows are variants of wild types."""

    table: Table
    columns: MutationColumns
    wild_types: Mapping[str, bytes]
    notation: Notation
    offset: int = 0
    """Added to the positions of the table."""

    def check(self, *, takes_indels: bool) -> int:
        """Read every row once before anything is computed; returns how many insert or delete letters.

        Raises:
            InputError: a row that cannot be used, by its line; where letters do not match, with the offset at which
                they would.
        """
        indels = 0
        for index in range(len(self.table)):
            variant = self.row(index).variant
            if variant.substitutions is None:
                indels += 1
                if not takes_indels:
                    self._refuse_indel(index, variant)
        return indels

    def rows(self) -> Iterator[Row]:
        """Every row, in order."""
        return (self.row(index) for index in range(len(self.table)))

    def row(self, index: int) -> Row:
        """One row as a variant.

        Raises:
            InputError: it cannot be used.
        """
        name = self._name(index)
        if self.columns.mutation is None:
            variant = self._of_sequence(index, name)
            return Row(identifier=name, mutation=self.notation.written(variant), variant=variant)
        text = self.table.columns[self.columns.mutation][index].strip()
        try:
            changes = self.notation.parse(text)
            variant = self.notation.placed(changes, name, self.wild_types[name], self.offset)
        except InputError as error:
            advice = self._advice(name) if isinstance(error, MismatchError) else ""
            raise InputError(f"{self.table.place(index)}: {error}{advice}") from None
        return Row(identifier=name, mutation=text, variant=variant)

    def _name(self, index: int) -> str:
        if self.columns.name is None:
            return next(iter(self.wild_types))
        name = self.table.columns[self.columns.name][index].strip()
        if name not in self.wild_types:
            raise InputError(
                f"{self.table.place(index)}: {name!r} in column {self.columns.name!r} is none of the wild types "
                f"({some_names(dict(self.wild_types))}); add it to the FASTA, or leave the row out"
            )
        return name

    def _of_sequence(self, index: int, name: str) -> Variant:
        assert self.columns.sequence is not None
        alphabet, wild_type = self.notation.alphabet, self.wild_types[name]
        text = "".join(self.table.columns[self.columns.sequence][index].upper().split())
        text = text.removesuffix("*") if alphabet.name == "protein" else text
        place = f"{self.table.place(index)}: column {self.columns.sequence!r}"
        if not text or len(text) % alphabet.bases_per_letter:
            what = "is empty" if not text else f"has {len(text)} bases, which is no whole number of codons"
            raise InputError(f"{place} {what}; correct the row, or leave it out")
        self._refuse_odd(place, text, alphabet, wild_type)
        letters = alphabet.pack(text.encode()).tobytes()
        if len(letters) != len(wild_type):
            return Variant(wild_type=wild_type, edits=(Edit(start=0, stop=len(wild_type), inserted=letters),))
        differing = [i for i, (old, new) in enumerate(zip(wild_type, letters, strict=True)) if old != new]
        odd = next((i for i in differing if self.notation.letter(self.notation.text(wild_type[i])) is None), None)
        if odd is not None:
            raise InputError(
                f"{place} differs at position {odd + 1}, where {name} has the odd letter "
                f"{self.notation.text(wild_type[odd])}, which has no probability; leave the row out"
            )
        edits = tuple(Edit(start=i, stop=i + 1, inserted=letters[i : i + 1]) for i in differing)
        return Variant(wild_type=wild_type, edits=edits)

    def _refuse_odd(self, place: str, text: str, alphabet: Alphabet, wild_type: bytes) -> None:
        """Letters without a probability, unless the wild type has the same one there."""
        size = alphabet.bases_per_letter
        for i in range(0, len(text), size):
            at = i // size
            letter = text[i : i + size]
            same = at < len(wild_type) and self.notation.text(wild_type[at]) == letter
            if not same and self.notation.letter(letter) is None:
                raise InputError(
                    f"{place} has {letter!r} at position {at + 1}, which is no standard {alphabet.name} letter; "
                    "correct the row, or leave it out"
                )

    def _refuse_indel(self, index: int, variant: Variant) -> NoReturn:
        sizes = f"{len(variant.sequence):,} letters, its wild type {len(variant.wild_type):,}"
        raise InputError(
            f"{self.table.place(index)}: this variant inserts or deletes letters ({sizes}), which marginals cannot "
            "compare; add --method pseudo-log-likelihood, or leave the row out"
        )

    def _advice(self, name: str) -> str:
        """The offset at which most stated letters of this wild type match, if it is not the one in use."""
        stated: dict[tuple[int, int], int] = {}
        for index in range(len(self.table)):
            for change in self._changes(index, name):
                for position, text in change.stated:
                    letter = self.notation.letter(text)
                    if letter is not None:
                        stated[position, letter] = stated.get((position, letter), 0) + 1
        total = sum(stated.values())
        offset, matching = best_offset(stated, self.wild_types[name]) if stated else (0, 0)
        if offset != self.offset and matching > total / 2 and total > 1:
            which = f"all {total:,}" if matching == total else f"{matching:,} of {total:,}"
            return f"; at --offset {offset} {which} stated letters would match"
        return "; correct the row, or check that the FASTA holds the protein that the table is of"

    def _changes(self, index: int, name: str) -> tuple[Change, ...]:
        """The changes of a row that is of a wild type and can be read; else none."""
        assert self.columns.mutation is not None
        if self.columns.name is not None and self.table.columns[self.columns.name][index].strip() != name:
            return ()
        try:
            return self.notation.parse(self.table.columns[self.columns.mutation][index])
        except InputError:
            return ()


def _find_mutations(table: Table, notation: Notation) -> str | None:
    """A column with a usual name in which some sampled cell is a mutation, else the first in which nearly all are."""
    usual = [name for name in table.columns if name.lower().strip() in _MUTATION_NAMES]
    usual.sort(key=lambda name: _MUTATION_NAMES.index(name.lower().strip()))
    for name in usual:
        if _parsed_fraction(table.columns[name], notation) > 0:
            return name
    rest = [name for name in table.columns if _parsed_fraction(table.columns[name], notation) >= _FITTING]
    if rest or not usual or _usual(table, _SEQUENCE_NAMES):
        return rest[0] if rest else None
    return usual[0]  # what stands in it is then refused by its line


def _parsed_fraction(cells: list[str], notation: Notation) -> float:
    sample = [cell for cell in cells[:_SAMPLE] if cell.strip()]
    return sum(map(notation.can_parse, sample)) / len(sample) if sample else 0.0


def _find_names(table: Table, wild_types: Mapping[str, bytes]) -> str:
    """The column whose cells are the names of wild types; one with a usual name first."""

    def known(name: str) -> float:
        cells = table.columns[name][:_SAMPLE]
        return sum(cell.strip() in wild_types for cell in cells) / len(cells)

    usual = [name for name in table.columns if name.lower().strip() in _NAME_NAMES and known(name) > 0]
    fitting = usual or [name for name in table.columns if known(name) >= _FITTING]
    if not fitting:
        raise InputError(
            f"{table.path}: the FASTA has {len(wild_types):,} wild types ({some_names(dict(wild_types))}), and no "
            "column says which of them each row is of; add a column with their names, or name it: --name-column"
        )
    return max(fitting, key=known)


def _usual(table: Table, names: tuple[str, ...]) -> str | None:
    by_lower = {column.lower().strip(): column for column in reversed(table.columns)}
    return next((by_lower[name] for name in names if name in by_lower), None)
