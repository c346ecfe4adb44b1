"""Input of predict and embed: a FASTA or a table, told apart by its first character."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import repeat

from seqtrain.io.columns import Columns, find_columns
from seqtrain.io.compressed import Source, open_bytes
from seqtrain.io.delimited import Table, read_table
from seqtrain.io.fasta import read_fasta
from seqtrain.io.records import RawRecord


@dataclass(frozen=True)
class Input:
    """Records to predict, and the table they stand in, if it is one."""

    records: Iterator[RawRecord]
    table: Table | None
    columns: Columns | None


def read_input(path: Source, *, sequence_column: str | None = None) -> Input:
    """The records of a FASTA (told by ``>``) or of a table; "-" is standard input.

    Raises:
        InputError: neither of the two, or a table without an obvious column of sequences.
    """
    if _is_fasta(path):
        source = str(path).rpartition("/")[2]
        records = (
            RawRecord(each.identifier, each.sequence, source, f"{path}:{each.line}") for each in read_fasta(path)
        )
        return Input(records, None, None)
    table = read_table(path)
    columns = find_columns(table, sequence=sequence_column, want_targets=False)
    return Input(raw_rows(table, columns), table, columns)


def raw_rows(table: Table, columns: Columns, problems: Iterable[str] = repeat("")) -> Iterator[RawRecord]:
    """The rows of a table as raw records.

    Args:
        problems: for each row, why it cannot be used whatever its sequence is, or "".
    """
    identifiers = table.column(columns.identifier) if columns.identifier is not None else None
    source = table.path.rpartition("/")[2]
    for row, (sequence, problem) in enumerate(zip(table.column(columns.sequence), problems, strict=False)):
        yield RawRecord(
            identifier=identifiers[row] if identifiers is not None else f"row-{row + 1}",
            sequence="".join(sequence.split()).encode(),
            source=source,
            place=table.place(row),
            problem=problem,
        )


def _is_fasta(path: Source) -> bool:
    """True when the first character that is not blank is ``>``; standard input is looked at without being consumed."""
    with open_bytes(path) as stream:
        return stream.peek(1024).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b">")
