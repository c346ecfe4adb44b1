"""Input of predict and embed: a FASTA or a table, told apart by its first character."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

from seqtrain.io.columns import Columns, find_columns
from seqtrain.io.compressed import DAMAGE, Source, damaged, is_dash, open_bytes, shown
from seqtrain.io.delimited import Table, read_table
from seqtrain.io.fasta import read_fasta
from seqtrain.io.records import RawRecord

_FASTA_ENDINGS = (".fasta", ".fa", ".faa", ".fna", ".ffn")


@dataclass(frozen=True)
class Input:
    """Records to predict, and the table they stand in, if it is one."""

    records: Iterator[RawRecord]
    table: Table | None
    columns: Columns | None


def read_input(path: Source, *, sequence_column: str | None = None, usual_column: str | None = None) -> Input:
    """The records of a FASTA (told by ``>`` or by its name) or of a table; "-" is standard input.

    Args:
        sequence_column: the column of a table that was asked for.
        usual_column: the one to take, if the table has it, when none was asked for.

    Raises:
        InputError: neither of the two, or a table without an obvious column of sequences.
    """
    if _is_fasta(path):
        name = shown(path)
        source = name.rpartition("/")[2]
        records = (
            RawRecord(each.identifier, each.sequence, source, f"{name}:{each.line}") for each in read_fasta(path)
        )
        return Input(records, None, None)
    table = read_table(path)
    if sequence_column is None and usual_column in table.columns:
        sequence_column = usual_column
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
            identifier=(identifiers[row] if identifiers is not None else "") or f"row-{row + 1}",
            sequence="".join(sequence.split()).encode(),
            source=source,
            place=table.place(row),
            problem=problem,
        )


def _is_fasta(path: Source) -> bool:
    """True for a usual name, or when the first character that is not blank is ``>``.

    Standard input is looked at without being consumed.
    """
    if not is_dash(path) and Path(path).name.lower().removesuffix(".gz").endswith(_FASTA_ENDINGS):
        return True
    with open_bytes(path) as stream:
        try:
            start = _peek_packed(stream) if isinstance(stream, gzip.GzipFile) else stream.peek(1024)
        except DAMAGE as error:
            raise damaged(shown(path), error, "its first bytes") from error
        return start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b">")


def _peek_packed(stream: gzip.GzipFile) -> bytes:
    """The first bytes of gzip data; GzipFile.peek would consume them, and standard input has them only once."""
    plain = stream.fileobj
    assert isinstance(plain, io.BufferedReader)
    return zlib.decompressobj(wbits=zlib.MAX_WBITS | 16).decompress(plain.peek(1024), 1024)
