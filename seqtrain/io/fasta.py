"""Reads FASTA as a stream of records, each with the line it begins on, and writes it.

Letters are not judged here: a sequence is what stands in the file without line ends and blanks, in its own case.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from seqtrain.errors import InputError
from seqtrain.io.compressed import DAMAGE, ByteStream, Source, damaged, open_bytes, replacing, shown

MAX_RECORD_BYTES = 200_000_000
_BLOCK_BYTES = 1 << 18
_LINE_LETTERS = 60

_OTHER_FORMATS = (
    (b"@", "looks like FASTQ; convert it to FASTA first, for example with `seqtk seq -A`"),
    (b"<", "looks like a web page or XML; download the file itself"),
    (b"LOCUS ", "looks like GenBank; convert it to FASTA first, for example with Bio.SeqIO.convert"),
    (b"ID   ", "looks like EMBL or Swiss-Prot; convert it to FASTA first, for example with Bio.SeqIO.convert"),
    (b"# STOCKHOLM", "looks like Stockholm; convert it to FASTA first, for example with Bio.SeqIO.convert"),
    (b"CLUSTAL", "looks like Clustal; convert it to FASTA first, for example with Bio.SeqIO.convert"),
    (b";", "is a comment; delete the lines before the first '>'"),
)
_NUL = re.compile(rb"\0")
_NUL_OR_NOT_ASCII = re.compile(rb"[\0\x80-\xff]")


@dataclass(frozen=True)
class FastaRecord:
    """One sequence as it stands in the file."""

    identifier: str
    """The first word of the header."""
    description: str
    """The header after the identifier, without the blanks around it; may be empty."""
    sequence: bytes
    """L letters, ASCII, in the case of the file; may be empty."""
    line: int
    """The line of the header, from 1."""


def read_fasta(path: Source, *, max_record_bytes: int = MAX_RECORD_BYTES) -> Iterator[FastaRecord]:
    """Records in the order of the file, plain or gzip, "-" for standard input; memory stays at a block and a record.

    Lines end in LF, CRLF or CR. Wrapped lines are joined and every ASCII white space inside a sequence is dropped:
    the letters are those that Biopython's ``SimpleFastaParser`` gives, save that it keeps a tab between letters.
    With damaged gzip the records before the damage are given first, so keep nothing until the end is reached.

    Raises:
        InputError: no file, an empty file, another format, text before the first header, a header without a name,
            a NUL or non-ASCII byte, a record of more than ``max_record_bytes``, damaged gzip.
    """
    name = shown(path)
    record: FastaRecord | None = None
    try:
        with open_bytes(path) as stream:
            _skip_byte_order_mark(stream, name)
            blocks = _blocks(stream)
            line, start = _first_record(blocks, name)
            for chunk in _chunks(start, blocks, max_record_bytes):
                too_long = len(chunk) > max_record_bytes
                suspect = not chunk.isascii() or chunk.find(b"\0") >= 0
                tabbed = any(chunk.find(blank) >= 0 for blank in (b"\t", b"\v", b"\f"))
                for text in _texts(chunk):
                    if too_long and len(text) - 1 > max_record_bytes:
                        raise _too_long(f"{name}:{line}", text, max_record_bytes)
                    if suspect:
                        _refuse_bytes(text, name, line)
                    header, _, body = text.partition(b"\n")
                    words = header.decode("utf-8", "replace").split(None, 1)
                    if not words:
                        raise InputError(f"{name}:{line}: this header has no name; write one after '>'")
                    sequence = body.replace(b"\n", b"")
                    num_lines = 1 + len(body) - len(sequence)
                    sequence = sequence.translate(None, b" \t\v\f") if tabbed else sequence.replace(b" ", b"")
                    record = FastaRecord(words[0], words[1].rstrip() if len(words) > 1 else "", sequence, line)
                    yield record
                    line += num_lines
    except DAMAGE as error:
        after = f"record {record.identifier!r} on line {record.line}" if record else "no complete record"
        raise damaged(name, error, after) from error


def write_fasta(records: Iterable[FastaRecord], path: Path) -> None:
    """Write records with lines of 60 letters, gzip if the name ends in ``.gz``; the file appears whole or not at all.

    Raises:
        InputError: the path cannot be written.
        RunError: the disk is full.
        ValueError: an identifier that is empty or holds white space, or a description of several lines.
    """
    with replacing(path) as out:
        for record in records:
            if record.identifier.split() != [record.identifier] or {"\n", "\r"} & set(record.description):
                raise ValueError(f"not one word and one line: {record.identifier!r}, {record.description!r}")
            lines = [f">{record.identifier} {record.description}".rstrip().encode()]
            for start in range(0, len(record.sequence), _LINE_LETTERS):
                lines.append(record.sequence[start : start + _LINE_LETTERS])
            out.write(b"\n".join([*lines, b""]))


def _skip_byte_order_mark(stream: ByteStream, name: str) -> None:
    start = stream.peek(4)[:4]
    if start.startswith(codecs.BOM_UTF8):
        stream.read(len(codecs.BOM_UTF8))
    elif start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in start:
        raise InputError(f"{name}:1: this is UTF-16 or binary, not plain text; save the file as ASCII or UTF-8 text")


def _blocks(stream: ByteStream) -> Iterator[bytes]:
    """The text with every line end as LF, in blocks that part neither CRLF nor the LF and > of a new record."""
    held = b""
    while block := stream.read1(_BLOCK_BYTES):
        block = held + block
        held = next((end for end in (b"\r\n", b"\r", b"\n") if block.endswith(end)), b"")
        block = block[: len(block) - len(held)]
        if block.find(b"\r") >= 0:
            block = block.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if block:
            yield block


def _first_record(blocks: Iterator[bytes], name: str) -> tuple[int, bytes]:
    """Line of the first header, and the text of its block after the '>'."""
    line, text = 1, b""
    for block in blocks:
        text += block
        num_blank = len(text) - len(text.lstrip())
        start = text.rfind(b"\n", 0, num_blank) + 1
        line += text.count(b"\n", 0, start)
        if num_blank == len(text):
            text = text[start : start + 1]  # that the line is indented is all that matters, however long it is
        elif text.startswith(b">", start):
            return line, text[start + 1 :]
        else:
            raise _not_fasta(f"{name}:{line}", text[start:].partition(b"\n")[0])
    raise InputError(f"{name}: this file is empty; expected '>name' and a sequence")


def _chunks(start: bytes, blocks: Iterator[bytes], max_record_bytes: int) -> Iterator[bytes]:
    """Whole records without the first '>', with the last line end; one above the limit is cut off and comes last."""
    pieces: list[bytes] = []
    size = 0
    for block in chain((start,), blocks):
        cut = block.rfind(b"\n>")
        if cut >= 0:
            yield b"".join((*pieces, block[: cut + 1]))
            pieces, size, block = [], 0, block[cut + 2 :]
        pieces.append(block)
        size += len(block)
        if size > max_record_bytes:
            break
    yield b"".join((*pieces, b"\n"))


def _texts(chunk: bytes) -> list[bytes]:
    """The records of a chunk, each without its '>' and with its last line end."""
    texts = chunk.split(b">")  # twice as fast as looking for two bytes, and right unless a '>' stands inside a line
    if all(text.endswith(b"\n") for text in texts):
        return texts
    return [text + b"\n" for text in chunk[:-1].split(b"\n>")]


def _not_fasta(place: str, line: bytes) -> InputError:
    found = repr(line[:40].decode("utf-8", "replace")) + ("…" if len(line) > 40 else "")
    for prefix, explanation in _OTHER_FORMATS:
        if line.startswith(prefix):
            return InputError(f"{place}: a FASTA file begins with '>', this line ({found}) {explanation}")
    if re.search(rb"[\t,;]", line):
        move = "looks like a table; name the file .csv or .tsv, or give it where a table is expected"
    else:
        move = "is no header; write '>name' on a line of its own before the sequence"
    return InputError(f"{place}: a FASTA file begins with '>', this line ({found}) {move}")


def _too_long(place: str, text: bytes, max_record_bytes: int) -> InputError:
    words = text[:100].split(b"\n", 1)[0].decode("utf-8", "replace").split()
    return InputError(
        f"{place}: record {words[0] if words else ''!r} is larger than {max_record_bytes:,} bytes; "
        "check the file, or raise max_record_bytes"
    )


def _refuse_bytes(text: bytes, name: str, line: int) -> None:
    header, newline, _ = text.partition(b"\n")
    found = _NUL.search(header) or _NUL_OR_NOT_ASCII.search(text, len(header) + len(newline))
    if found:
        words = header.decode("utf-8", "replace").split()
        place = f"{name}:{line + text.count(bytes([10]), 0, found.start())}"
        raise InputError(
            f"{place}: byte 0x{found[0][0]:02x} in record {words[0] if words else ''!r} is not a letter; "
            "correct the line, or save the file as ASCII text"
        )
