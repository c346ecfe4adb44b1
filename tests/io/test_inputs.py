"""FASTA and tables are told apart by what is in them, and rows keep their names and places."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from seqtrain.errors import InputError
from seqtrain.io.columns import Columns
from seqtrain.io.delimited import read_table
from seqtrain.io.inputs import raw_rows, read_input

FASTA = b">one first\nMKLV\nAC\n>two\nmk*\n"
TABLE = b"name,sequence,note\na,MKLVAC,x\nb,m k*,y\n"


@pytest.mark.parametrize("name", ["x.fasta", "x.csv", "x.txt"])
@pytest.mark.parametrize("before", [b"", b"\n \r\n", b"\xef\xbb\xbf"])
def test_a_fasta_is_told_by_its_first_character(tmp_path: Path, name: str, before: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(before + FASTA)
    found = read_input(path)
    records = list(found.records)
    assert [(r.identifier, r.sequence, r.source) for r in records] == [("one", b"MKLVAC", name), ("two", b"mk*", name)]
    assert records[0].place == f"{path}:{1 + before.count(10)}"
    assert found.table is None and found.columns is None


@pytest.mark.parametrize("name", ["x.csv", "x.dat"])
def test_a_table_keeps_its_rows(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(TABLE)
    found = read_input(path)
    records = list(found.records)
    assert [(r.identifier, r.sequence) for r in records] == [("a", b"MKLVAC"), ("b", b"mk*")]
    assert [r.place for r in records] == [f"{path}:2", f"{path}:3"]
    assert {r.source for r in records} == {name} and {r.problem for r in records} == {""}
    assert found.table is not None and len(found.table) == 2
    assert found.columns == Columns(sequence="sequence", identifier="name")


def test_the_column_of_the_training_is_taken_if_the_table_has_it(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("heavy,light\nMKLVAC,AAAAAC\nMKLVAD,AAAAAD\n")
    for usual, asked, taken in (("light", None, b"AAAAAC"), ("light", "heavy", b"MKLVAC")):
        found = read_input(path, usual_column=usual, sequence_column=asked)
        assert next(found.records).sequence == taken
    with pytest.raises(InputError, match="heavy, light could hold the sequences"):
        read_input(path, usual_column="sequence")


def test_packed_files_are_read_alike(tmp_path: Path) -> None:
    for content, names in ((FASTA, ["one", "two"]), (TABLE, ["a", "b"])):
        path = tmp_path / "x.gz"
        path.write_bytes(gzip.compress(content))
        assert [record.identifier for record in read_input(path).records] == names


def test_rows_without_names_are_numbered(tmp_path: Path) -> None:
    path = tmp_path / "x.tsv"
    path.write_text("peptide\ty\nNA\t1\nMKLV\t2\n")
    found = read_input(path, sequence_column="peptide")
    assert [(r.identifier, r.sequence) for r in found.records] == [("row-1", b"NA"), ("row-2", b"MKLV")]


def test_problems_go_with_their_rows(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(TABLE)
    rows = list(raw_rows(read_table(path), Columns(sequence="sequence"), ["no label", ""]))
    assert [row.problem for row in rows] == ["no label", ""]


def test_a_missing_column_or_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(TABLE)
    with pytest.raises(InputError, match=r"no column 'sequences'.*did you mean 'sequence'"):
        read_input(path, sequence_column="sequences")
    with pytest.raises(InputError, match="no such file"):
        read_input(tmp_path / "y.csv")
