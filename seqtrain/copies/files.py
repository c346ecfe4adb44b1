"""Writing originals and copies: FASTA or a table, as the input was."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import TypeVar

from seqtrain.errors import InputError
from seqtrain.io.compressed import Source, is_dash
from seqtrain.io.delimited import write_table
from seqtrain.io.fasta import FastaRecord, write_fasta

_TABLE_ENDINGS = (".csv", ".tsv", ".tab")
_FASTA_ENDINGS = (".fasta", ".fa", ".faa", ".fna", ".ffn")
_LINE_LETTERS = 60
_Item = TypeVar("_Item")


def write_rows(output: Source, origin: str, header: Sequence[str], rows: Iterator[Sequence[str | int | float]]) -> None:
    """Write a table, see :func:`seqtrain.io.delimited.write_table`.

    Raises:
        InputError: a name of another format, or a path that cannot be written.
    """
    advice = f"{origin} is a table, and so is what is written; name it .csv or .tsv"
    _refuse_endings(output, (*_FASTA_ENDINGS, ".parquet"), advice)
    write_table(output, header, _begun(rows))


def write_records(output: Source, origin: str, records: Iterator[FastaRecord]) -> None:
    """Write FASTA, see :func:`seqtrain.io.fasta.write_fasta`; "-" is standard output.

    Raises:
        InputError: a name of another format, or a path that cannot be written.
    """
    advice = f"{origin} is FASTA, and so is what is written; name it .fasta"
    _refuse_endings(output, (*_TABLE_ENDINGS, ".parquet"), advice)
    if is_dash(output):
        _print_fasta(_begun(records))
    else:
        write_fasta(_begun(records), Path(output))


def _begun(items: Iterator[_Item]) -> Iterator[_Item]:
    """The same, of which the first was made: input that is refused at once leaves nothing on standard output."""
    return chain(list(islice(items, 1)), items)


def _print_fasta(records: Iterable[FastaRecord]) -> None:
    for record in records:
        sequence = record.sequence.decode()
        lines = [f">{record.identifier} {record.description}".rstrip()]
        lines += [sequence[start : start + _LINE_LETTERS] for start in range(0, len(sequence), _LINE_LETTERS)]
        sys.stdout.write("\n".join([*lines, ""]))
    sys.stdout.flush()


def _refuse_endings(output: Source, endings: tuple[str, ...], advice: str) -> None:
    if str(output).lower().removesuffix(".gz").endswith(endings):
        raise InputError(f"{output}: {advice}")
