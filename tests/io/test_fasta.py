"""FASTA is read as Biopython reads it, and what is not FASTA is refused with the file and the line."""

from __future__ import annotations

import errno
import gzip
import io
import os
import random
import tempfile
import tracemalloc
from pathlib import Path

import pytest
from Bio.SeqIO.FastaIO import SimpleFastaParser
from hypothesis import given, settings
from hypothesis import strategies as st

from seqtrain.errors import InputError, RunError
from seqtrain.io import compressed, fasta
from seqtrain.io.fasta import FastaRecord, read_fasta, write_fasta


def saved(folder: Path, content: bytes, name: str = "x.fasta") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def refusal(path: Path, **options: int) -> str:
    """The message with which a file is refused: one line that begins with the file."""
    with pytest.raises(InputError) as caught:
        list(read_fasta(path, **options))
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(path))
    return message[len(str(path)) :]


def biopython(content: bytes) -> list[tuple[list[str], str]]:
    """(words of the header, sequence) by Biopython, less the tabs between letters, which it alone keeps."""
    text = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig", errors="replace")
    return [(title.split(None, 1), sequence.replace("\t", "")) for title, sequence in SimpleFastaParser(text)]


def ours(path: Path) -> list[tuple[list[str], str]]:
    return [
        ([record.identifier, *([record.description] if record.description else [])], record.sequence.decode())
        for record in read_fasta(path)
    ]


WORD = st.text(alphabet="abXYZ09|>_é→;", min_size=1, max_size=6)
LINE = st.text(alphabet="ACDEFGHIKLMNPQRSTVWYacx*-.XUO0 \t;", max_size=12).map(lambda line: line.replace(">", ""))
RECORD = st.tuples(
    st.sampled_from([">", "> ", ">\t"]), st.lists(WORD, min_size=1, max_size=3), st.lists(LINE, max_size=4)
)


@st.composite
def fasta_bytes(draw: st.DrawFn) -> bytes:
    """A file with every quirk that is still FASTA."""
    ends = draw(st.sampled_from([["\n"], ["\r\n"], ["\r"], ["\n", "\r\n", "\r"]]))
    lines = draw(st.lists(st.sampled_from(["", "  "]), max_size=2))
    for start, words, sequence in draw(st.lists(RECORD, min_size=1, max_size=6)):
        lines += [start + draw(st.sampled_from([" ", "  ", "\t"])).join(words), *sequence]
    text = "".join(line + draw(st.sampled_from(ends)) for line in lines)
    if draw(st.booleans()):
        text = text.rstrip("\r\n")
    return (b"\xef\xbb\xbf" if draw(st.booleans()) else b"") + text.encode()


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(content=fasta_bytes(), block_bytes=st.sampled_from([1, 2, 7, 1 << 18]), packed=st.booleans())
def test_same_records_as_biopython(content: bytes, block_bytes: int, packed: bool) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(fasta, "_BLOCK_BYTES", block_bytes)
        path = saved(Path(folder), gzip.compress(content) if packed else content)
        assert ours(path) == biopython(content)
        lines = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig").readlines()  # universal line ends
        headers = [number for number, line in enumerate(lines, start=1) if line.startswith(">")]
        assert [record.line for record in read_fasta(path)] == headers


def test_letters_stay_as_they_stand(tmp_path: Path) -> None:
    path = saved(tmp_path, b">a first  words \nMKt\nV L*\n\n>b\n> c\nX-.9\n")
    assert list(read_fasta(path)) == [
        FastaRecord("a", "first  words", b"MKtVL*", 1),
        FastaRecord("b", "", b"", 5),
        FastaRecord("c", "", b"X-.9", 6),
    ]


def test_greater_than_inside_a_line_begins_no_record(tmp_path: Path) -> None:
    path = saved(tmp_path, b">a A>G\nMK>L\n>>b\nM")
    assert ours(path) == [(["a", "A>G"], "MK>L"), ([">b"], "M")]


def test_header_of_another_encoding_is_read(tmp_path: Path) -> None:
    assert ours(saved(tmp_path, b">a caf\xe9\nMK\n")) == [(["a", "caf�"], "MK")]


def test_gzip_is_told_by_content_and_may_have_many_members(tmp_path: Path) -> None:
    plain_under_gz = saved(tmp_path, b">a\nMK\n", "plain.gz")
    members = gzip.compress(b">a\nM") + gzip.compress(b"K\n>b\nL\n")
    assert ours(plain_under_gz) == [(["a"], "MK")]
    assert ours(saved(tmp_path, members, "packed.fa")) == [(["a"], "MK"), (["b"], "L")]


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_standard_input(monkeypatch: pytest.MonkeyPatch, pack: type[bytes]) -> None:
    standard_input = io.TextIOWrapper(io.BytesIO(pack(b">a\nMK\n")))
    monkeypatch.setattr("sys.stdin", standard_input)
    assert ours(Path("-")) == [(["a"], "MK")]
    assert not standard_input.buffer.closed


def test_standard_input_through_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.write(writing, gzip.compress(b">a\nMK\n"))
    os.close(writing)
    with os.fdopen(reading) as standard_input:
        monkeypatch.setattr("sys.stdin", standard_input)
        assert [record.sequence for record in read_fasta("-")] == [b"MK"]


def test_messages_about_standard_input_name_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"MK\n")))
    with pytest.raises(InputError, match=r"^<stdin>:1: "):
        list(read_fasta("-"))
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(InputError, match="no standard input"):
        list(read_fasta("-"))


@pytest.mark.parametrize(
    ("content", "line", "found", "move"),
    [
        (b"MKTAYIAK\n", 1, "MKTAYIAK", "write '>name'"),
        (b"\n\r\n  \r\nMKT\n>a\nM\n", 4, "MKT", "write '>name'"),
        (b"  >a\nMK\n", 1, "  >a", "write '>name'"),
        (b"@read1\nACGT\n+\nIIII\n", 1, "@read1", "FASTQ"),
        (b"<!DOCTYPE html>\n<html>", 1, "<!DOCTYPE", "web page"),
        (b"LOCUS       NC_000932\n", 1, "LOCUS", "GenBank"),
        (b"ID   001R_FRG3G\n", 1, "ID", "Swiss-Prot"),
        (b"# STOCKHOLM 1.0\n", 1, "STOCKHOLM", "Stockholm"),
        (b"; a comment\n>a\nMK\n", 1, "; a comment", "delete the lines"),
        (b"id,sequence\na,MK\n", 1, "id,sequence", "table"),
        (b"id\tsequence\na\tMK\n", 1, "sequence", "table"),
    ],
)
def test_text_before_the_first_header(tmp_path: Path, content: bytes, line: int, found: str, move: str) -> None:
    message = refusal(saved(tmp_path, content))
    assert message.startswith(f":{line}: ")
    assert found in message
    assert move in message


@pytest.mark.parametrize("content", [b"", b"\n \r\n\t\n", b"\xef\xbb\xbf\n", gzip.compress(b"", mtime=0)])
def test_empty_file(tmp_path: Path, content: bytes) -> None:
    assert "empty" in refusal(saved(tmp_path, content))


@pytest.mark.parametrize(
    ("content", "line"), [(b">\nMK\n", 1), (b">a\nMK\n>  \t\nMK\n", 3), (b"\n>a\nM\n\n>", 5), (b">\n>b\nM\n", 1)]
)
def test_header_without_a_name(tmp_path: Path, content: bytes, line: int) -> None:
    message = refusal(saved(tmp_path, content))
    assert message.startswith(f":{line}: ")
    assert "no name" in message


@pytest.mark.parametrize(
    ("content", "line", "byte"),
    [
        (b">a\nMK\n>b\nMK\nM\0K\n", 5, "0x00"),
        (b">a\r\nMK\r\nM\xc3\xa9K\r\n>b\r\nM\r\n", 3, "0xc3"),
        ("\n>é\nM\n>b\nMéK".encode(), 5, "0xc3"),
        (b">a\nM\n>b\0c\nM\n", 3, "0x00"),
    ],
)
def test_bytes_that_are_no_letters(tmp_path: Path, content: bytes, line: int, byte: str) -> None:
    message = refusal(saved(tmp_path, content))
    assert message.startswith(f":{line}: ")
    assert byte in message


def test_records_before_a_fault_are_given(tmp_path: Path) -> None:
    records = read_fasta(saved(tmp_path, b">a\nMK\n>b\nM\xffK\n"))
    assert next(records).identifier == "a"
    with pytest.raises(InputError, match="'b'"):
        next(records)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16(tmp_path: Path, encoding: str) -> None:
    assert "UTF-16" in refusal(saved(tmp_path, ">a\nMK\n".encode(encoding)))


@pytest.mark.parametrize("block_bytes", [1, 5, 1 << 18])
def test_record_above_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_bytes: int) -> None:
    monkeypatch.setattr(fasta, "_BLOCK_BYTES", block_bytes)
    path = saved(tmp_path, b">a\nMK\n>b\n" + b"M" * 100 + b"\n>c\nM\n")
    message = refusal(path, max_record_bytes=101)
    assert message.startswith(":3: record 'b' is larger than 101 bytes")
    assert len(list(read_fasta(path, max_record_bytes=102))) == 3


def test_gzip_bomb_is_refused_in_little_memory(tmp_path: Path) -> None:
    path = saved(tmp_path, gzip.compress(b">a\n" + b"A" * 50_000_000, compresslevel=1))
    tracemalloc.start()
    message = refusal(path, max_record_bytes=1_000_000)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert message.startswith(":1: record 'a' is larger")
    assert peak_bytes < 6_000_000


def damaged_gzip(kind: str) -> bytes:
    draws = random.Random(3)
    content = b"".join(b">record%d\n%s\n" % (i, draws.randbytes(30).hex().encode()) for i in range(3000))
    packed = bytearray(gzip.compress(content))
    if kind == "cut":
        return bytes(packed[: len(packed) // 2])
    if kind == "checksum":
        packed[-8] ^= 1
    elif kind == "garbage behind":
        packed += b"garbage"
    else:
        packed[len(packed) // 2 : len(packed) // 2 + 50] = bytes(50)
    return bytes(packed)


def test_gzip_overwritten_in_the_middle_never_passes(tmp_path: Path) -> None:
    refusal(saved(tmp_path, damaged_gzip("overwritten")))  # what unpacks to nonsense may be refused before the checksum


@pytest.mark.parametrize("kind", ["cut", "checksum", "garbage behind"])
def test_damaged_gzip_names_the_last_good_record(tmp_path: Path, kind: str) -> None:
    path = saved(tmp_path, damaged_gzip(kind))
    good = []
    with pytest.raises(InputError) as caught:
        for record in read_fasta(path):
            good.append(record)
    message = str(caught.value)
    last = good[-1]
    assert message.startswith(f"{path}: the gzip data is ")
    assert f"after record {last.identifier!r} on line {last.line};" in message
    assert [record.identifier for record in good] == [f"record{i}" for i in range(len(good))]
    assert all(len(record.sequence) == 60 for record in good)
    assert len(good) > 1000


def test_damage_in_the_first_bytes(tmp_path: Path) -> None:
    assert "cut short after no complete record" in refusal(saved(tmp_path, gzip.compress(b">a\nMK\n")[:12]))
    assert "damaged" in refusal(saved(tmp_path, b"\x1f\x8b\x07not gzip at all"))


@pytest.mark.parametrize(
    ("start", "format"),
    [(b"PK\x03\x04", "zip"), (b"BZh91AY&SY", "bzip2"), (b"\xfd7zXZ\x00", "xz"), (b"\x28\xb5\x2f\xfd", "zstd")],
)
def test_other_compression(tmp_path: Path, start: bytes, format: str) -> None:
    assert format in refusal(saved(tmp_path, start + bytes(20)))


def test_no_file(tmp_path: Path) -> None:
    saved(tmp_path, b">a\nMK\n", "proteins.fasta")
    assert f"did you mean {tmp_path / 'proteins.fasta'}?" in refusal(tmp_path / "protein.fasta")
    assert f"no folder {tmp_path / 'b'} either" in refusal(tmp_path / "b" / "c.fasta")
    assert "folder" in refusal(tmp_path)
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    assert "cannot be opened" in refusal(loop)


def test_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    path = saved(tmp_path, b">a\nMK\n")
    monkeypatch.setattr(Path, "open", refuse)  # permissions themselves do not bind root
    assert "permissions" in refusal(path)


RECORDS = [
    FastaRecord("a", "two words", b"M" * 150, 1),
    FastaRecord("b", "", b"", 5),
    FastaRecord("c", "é", b"K" * 60, 6),
]


@pytest.mark.parametrize("name", ["out.fasta", "out.fasta.gz"])
def test_written_records_are_read_back(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write_fasta(RECORDS, path)
    assert list(read_fasta(path)) == RECORDS
    content = path.read_bytes()
    assert (content[:2] == b"\x1f\x8b") == (path.suffix == ".gz")
    write_fasta(RECORDS, path)
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_lines_are_wrapped_at_60(tmp_path: Path) -> None:
    write_fasta(RECORDS[:1], tmp_path / "out.fasta")
    expected = ">a two words\n" + "M" * 60 + "\n" + "M" * 60 + "\n" + "M" * 30 + "\n"
    assert (tmp_path / "out.fasta").read_text() == expected


@pytest.mark.parametrize(
    "record", [FastaRecord("a b", "", b"M", 1), FastaRecord("", "", b"M", 1), FastaRecord("a", "\n>b", b"M", 1)]
)
def test_header_that_would_not_read_back(tmp_path: Path, record: FastaRecord) -> None:
    path = saved(tmp_path, b"old", "out.fasta")
    with pytest.raises(ValueError, match="one word"):
        write_fasta([*RECORDS, record], path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_link_is_followed_and_device_is_written_directly(tmp_path: Path) -> None:
    target = saved(tmp_path, b"old", "target.fasta")
    (tmp_path / "link.fasta").symlink_to(target)
    write_fasta(RECORDS[1:2], tmp_path / "link.fasta")
    assert target.read_bytes() == b">b\n"
    assert (tmp_path / "link.fasta").is_symlink()
    write_fasta(RECORDS, Path(os.devnull))
    assert Path(os.devnull).is_char_device()


def test_disk_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = saved(tmp_path, b"old", "out.fasta")
    monkeypatch.setattr(compressed.os, "fsync", full)
    with pytest.raises(RunError, match=r"out\.fasta: No space left"):
        write_fasta(RECORDS, path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_full_device() -> None:
    with pytest.raises(RunError, match="No space left"):
        write_fasta(RECORDS * 1000, Path("/dev/full"))


def test_no_folder_to_write_in(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        write_fasta(RECORDS, tmp_path / "missing" / "out.fasta")
    with pytest.raises(InputError, match="this is a folder"):
        write_fasta(RECORDS, tmp_path)
