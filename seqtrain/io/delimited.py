"""Reads tables (CSV, TSV, Parquet) as text without converting anything, and writes CSV and TSV row by row."""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from seqtrain.errors import InputError, nearest_name
from seqtrain.io.compressed import DAMAGE, ByteStream, Source, damaged, is_dash, open_bytes, replacing, shown

if TYPE_CHECKING:
    from _csv import Reader

_MAX_FIELD = 200_000_000  # characters, also of a line: what a damaged or hostile file may make us hold at once
_SEPARATORS = {"\t": "tab", ",": "comma", ";": "semicolon"}
_SHOWN_COLUMNS = 20
_OTHER_FORMATS = (".parquet", ".xlsx", ".xls", ".npz", ".h5", ".json")
"""Endings under which nobody looks for a table of text."""


@dataclass(frozen=True)
class Table:
    """N rows of text by column."""

    path: str
    """The file, as shown in messages."""
    columns: dict[str, list[str]]
    """Column name -> N values, as they stand in the file. The first column may be called "" (a row index)."""
    lines: list[int]
    """(N,) the line in the file on which each row begins, from 1; for Parquet, the number of the row."""

    def __len__(self) -> int:
        return len(self.lines)

    def place(self, index: int) -> str:
        """Where row ``index`` stands, as "file:line"."""
        return f"{self.path}:{self.lines[index]}"

    def column(self, name: str) -> list[str]:
        """(N,) values of a column.

        Raises:
            InputError: no such column; lists those there are and the nearest.
        """
        if name in self.columns:
            return self.columns[name]
        by_lower = {column.lower(): column for column in self.columns}
        nearest = nearest_name(name.lower(), by_lower, cutoff=0.5)
        suggestion = f"; did you mean {by_lower[nearest]!r}?" if nearest else "; name one of these"
        names = ", ".join(repr(column) for column in list(self.columns)[:_SHOWN_COLUMNS])
        more = f" and {len(self.columns) - _SHOWN_COLUMNS} more" if len(self.columns) > _SHOWN_COLUMNS else ""
        raise InputError(f"{self.path}: no column {name!r}; the columns are {names}{more}{suggestion}")


def read_table(path: Source) -> Table:
    """A table with a header line, plain or gzip, "-" for standard input, in UTF-8.

    The separator (tab, comma or semicolon) is the one that parts the header into most fields. Blank lines are
    skipped; no value is converted, so the peptide ``NA`` stays ``NA``. Parquet is told by its first bytes and its
    values become text: null "", booleans 0 and 1, numbers so that they read back the same, lists joined by ";".

    Raises:
        InputError: no file, an empty file, no rows, another format or encoding, a row with too many or too few
            fields, a quote that is not closed, column names that are missing or given twice, damaged gzip.
    """
    name = shown(path)
    with open_bytes(path) as stream:
        try:
            if stream.peek(4)[:4] == b"PAR1":
                return _read_parquet(stream.read(), name)
        except DAMAGE as error:
            raise damaged(name, error, "no complete line") from error
        return _read_delimited(stream, name)


def write_table(path: Source, header: Sequence[str], rows: Iterable[Sequence[str | int | float]]) -> None:
    """Write rows as they come, so that memory stays at one row; "-" is standard output.

    Tab-separated if the name ends in ``.tsv`` or ``.tab``, else CSV; gzip if it goes on with ``.gz``. Floats are
    written with as many digits as read back the same number. A file appears whole or not at all.

    Raises:
        InputError: the path cannot be written, or its name ends like that of a format which is not written.
        RunError: the disk is full.
        ValueError: a row with another number of fields than the header.
    """
    if is_dash(path):
        _write_rows(sys.stdout, ",", header, rows)
        sys.stdout.flush()
        return
    path = Path(path)
    endings = [ending for ending in path.suffixes if ending != ".gz"]
    if endings and endings[-1].lower() in _OTHER_FORMATS:
        raise InputError(f"{path}: tables are written as CSV or TSV; end the name of -o in .csv or .tsv")
    with replacing(path) as raw:
        text = io.TextIOWrapper(raw, encoding="utf-8", newline="")
        try:
            _write_rows(text, "\t" if endings and endings[-1] in (".tsv", ".tab") else ",", header, rows)
            text.flush()
        finally:
            _let_go(text)


def unique_names(names: Sequence[str]) -> list[str]:
    """Column names with "_by_seqtrain" after each that stood before, so that the table can be read again."""
    unique: list[str] = []
    for name in names:
        while name in unique:
            name += "_by_seqtrain"
        unique.append(name)
    return unique


def _write_rows(
    out: TextIO, separator: str, header: Sequence[str], rows: Iterable[Sequence[str | int | float]]
) -> None:
    writer = csv.writer(out, delimiter=separator, lineterminator="\n")
    writer.writerow(header)
    for row in rows:
        if len(row) != len(header):
            raise ValueError(f"a row of {len(row)} fields under a header of {len(header)}: {row!r:.200}")
        writer.writerow(row)


def _read_delimited(stream: ByteStream, name: str) -> Table:
    # The limit is one number for the whole process: raised for good, as lowering it again could hit another thread.
    csv.field_size_limit(max(csv.field_size_limit(), _MAX_FIELD))
    with closing(_text_lines(stream, name)) as lines:
        num_blank = 0
        for first in lines:
            if first.strip():
                break
            num_blank += 1
        else:
            raise InputError(f"{name}: this file is empty; expected a table with a header line")
        _refuse_other_formats(first, f"{name}:{num_blank + 1}")
        separator = _separator(first)
        rows = _rows(csv.reader(chain([first], lines), delimiter=separator, strict=True), num_blank, name)
        line, header = next(rows)
        _check_names(header, f"{name}:{line}")
        columns: list[list[str]] = [[] for _ in header]
        starts: list[int] = []
        for line, row in rows:
            if len(row) != len(header):
                raise InputError(
                    f"{name}:{line}: {_fields(len(row))}, but the header has {len(header)} (parted by "
                    f"{_SEPARATORS[separator]}s); complete the row, or quote a value that holds one of them"
                )
            starts.append(line)
            for column, value in zip(columns, row, strict=True):
                column.append(value)
    if not starts:
        raise InputError(f"{name}: this table has a header but no rows; add rows below it")
    return Table(path=name, columns=dict(zip(header, columns, strict=True)), lines=starts)


def _text_lines(stream: ByteStream, name: str) -> Generator[str]:
    """Lines with their ends, checked to be text; undecodable bytes pass as surrogates so that their line is known."""
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
    number = 0
    try:
        while line := text.readline(_MAX_FIELD + 1):
            number += 1
            place = f"{name}:{number}"
            if len(line) > _MAX_FIELD:
                raise InputError(f"{place}: this line is longer than {_MAX_FIELD:,} characters; check the file")
            if "\0" in line or (number == 1 and line.startswith(("\udcff\udcfe", "\udcfe\udcff"))):
                raise InputError(f"{place}: this is UTF-16 or binary, not plain text; save the table as UTF-8 CSV")
            if not line.isascii():
                _refuse_undecoded(line, place)
            yield line
    except DAMAGE as error:
        raise damaged(name, error, f"line {number}" if number else "no complete line") from error
    finally:
        _let_go(text)


def _let_go(text: io.TextIOWrapper) -> None:
    """Part a text layer from its bytes, which it would close when collected, and with them standard input."""
    if not text.closed:
        text.detach()


def _refuse_undecoded(line: str, place: str) -> None:
    try:
        line.encode()
    except UnicodeEncodeError as error:
        before = line[: error.start][-20:]
        raise InputError(
            f"{place}: byte 0x{ord(line[error.start]) - 0xDC00:02x} after {before!r} is not UTF-8; "
            "save the table as UTF-8, for example with `iconv -f cp1252 -t utf-8`"
        ) from None


def _refuse_other_formats(line: str, place: str) -> None:
    if line.startswith(">"):
        raise InputError(
            f"{place}: this is FASTA, not a table; give it where FASTA is expected, or write a table "
            "with a header line and one sequence per row"
        )
    if line.startswith("<"):
        raise InputError(f"{place}: this looks like a web page or XML, not a table; download the file itself")


def _separator(line: str) -> str:
    """The separator that stands most often outside quotes; a tab before a comma before a semicolon."""
    bare = re.sub(r'"[^"]*("|$)', "", line)
    return max(_SEPARATORS, key=bare.count) if any(separator in bare for separator in _SEPARATORS) else ","


def _rows(reader: Reader, num_skipped: int, name: str) -> Iterator[tuple[int, list[str]]]:
    """(line on which the row begins, fields) of every row that is not blank."""
    while True:
        line = num_skipped + reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "unexpected end of data" in str(error):
                raise InputError(f"{name}:{line}: a quote that opens in this row is never closed; close it") from error
            raise InputError(
                f"{name}:{line}: {error}; quote a value as a whole, and write a quote inside it twice"
            ) from error
        if row and not (len(row) == 1 and row[0].isspace()):
            yield line, row


def _check_names(names: Sequence[str], place: str) -> None:
    seen: dict[str, int] = {}
    for number, column in enumerate(names, start=1):
        if not column.strip() and number > 1:
            raise InputError(f"{place}: column {number} has no name; name it, or remove the separator before it")
        if column in seen:
            raise InputError(f"{place}: columns {seen[column]} and {number} are both called {column!r}; rename one")
        seen[column] = number


def _fields(count: int) -> str:
    return f"{count} field" if count == 1 else f"{count} fields"


def _read_parquet(content: bytes, name: str) -> Table:
    try:
        from pyarrow import ArrowException, BufferReader
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise InputError(
            f"{name}: reading Parquet needs pyarrow; run `pip install seqtrain[parquet]`, or save the table as CSV"
        ) from None
    try:
        file = ParquetFile(BufferReader(content))
        _check_names(file.schema_arrow.names, name)
        columns: dict[str, list[str]] = {column: [] for column in file.schema_arrow.names}
        for batch in file.iter_batches():
            for column, values in zip(columns, batch.columns, strict=True):
                try:
                    cells = values.to_pylist()
                except ValueError as error:
                    if isinstance(error, ArrowException | UnicodeDecodeError):
                        raise
                    # Python has no times finer than a microsecond.
                    cells = values.cast("string").to_pylist()
                columns[column].extend(map(_text, cells))
    except UnicodeDecodeError as error:
        place = f"{name}: column {column!r}, row {len(columns[column]) + 1} or a later one"
        raise InputError(f"{place}: bytes that are not UTF-8; write the column as text") from error
    except (ArrowException, OSError) as error:
        raise InputError(f"{name}: this Parquet file is damaged ({error}); copy or download it again") from error
    num_rows = file.metadata.num_rows
    if not num_rows:
        raise InputError(f"{name}: this table has columns but no rows; add rows")
    return Table(path=name, columns=columns, lines=list(range(1, num_rows + 1)))


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, list):
        return ";".join(_text(item) for item in value)
    return str(value)
