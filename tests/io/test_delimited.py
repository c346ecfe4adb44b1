"""Tables come in as the text that stands in the file, with the line of every row, and go out whole or not at all."""

from __future__ import annotations

import builtins
import csv
import errno
import gzip
import io
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqtrain.errors import InputError, RunError
from seqtrain.io import compressed, delimited
from seqtrain.io.delimited import Table, read_table, write_table


def saved(folder: Path, content: bytes, name: str = "x.csv") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def refusal(path: Path) -> str:
    """The message with which a file is refused: one line that begins with the file."""
    with pytest.raises(InputError) as caught:
        read_table(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(path))
    return message[len(str(path)) :]


VALUE = st.text(alphabet="ab,;\t\"'\n\r é0NA.", max_size=5)
NAMES = st.lists(
    st.text(alphabet='xyzé ,;"', min_size=1, max_size=4).filter(str.strip), min_size=2, max_size=5, unique=True
)


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(
    data=st.data(),
    names=NAMES,
    separator=st.sampled_from("\t,;"),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    mark=st.sampled_from([b"", b"\xef\xbb\xbf"]),
    pack=st.sampled_from([bytes, gzip.compress]),
)
def test_same_values_as_written(
    data: st.DataObject, names: list[str], separator: str, end: str, mark: bytes, pack: Any
) -> None:
    """csv.writer is the reference: every value comes back as it was, and so does the line of its row."""
    rows = data.draw(st.lists(st.tuples(*[VALUE] * len(names)), min_size=1, max_size=5))
    text, lines = io.StringIO(), []
    writer = csv.writer(text, delimiter=separator, lineterminator=end, quoting=csv.QUOTE_ALL)
    for row in [names, *rows]:
        text.write(data.draw(st.sampled_from(["", end, f"  {end}"])))
        written = text.getvalue()
        lines.append(len(io.StringIO(written, newline=None).readlines()) + 1)
        writer.writerow(row)
    with tempfile.TemporaryDirectory() as folder:
        table = read_table(saved(Path(folder), pack(mark + text.getvalue().encode())))
    assert list(table.columns) == names
    assert list(zip(*table.columns.values(), strict=True)) == rows
    assert table.lines == lines[1:]


def test_nothing_is_converted(tmp_path: Path) -> None:
    path = saved(tmp_path, b'peptide,label\nNA,1.50\nnull,007\n,nan\nINF,1e5\nTRUE,"1,5"\n -1 ,\n')
    table = read_table(path)
    assert table.column("peptide") == ["NA", "null", "", "INF", "TRUE", " -1 "]
    assert table.column("label") == ["1.50", "007", "nan", "1e5", "1,5", ""]
    assert len(table) == 6
    assert table.place(4) == f"{path}:6"


@pytest.mark.parametrize(
    ("content", "columns"),
    [
        (b"a\tb,c\n1\t2,3\n", {"a": ["1"], "b,c": ["2,3"]}),
        (b"a;b\n1,5;2\n", {"a": ["1,5"], "b": ["2"]}),
        (b'"a;b;c",d\n1,2\n', {"a;b;c": ["1"], "d": ["2"]}),
        (b"sequence\nMKT\n", {"sequence": ["MKT"]}),
        (b'sequence\nMKT\n\n""\n', {"sequence": ["MKT", ""]}),
        (b",a\n0,MK\n", {"": ["0"], "a": ["MK"]}),
        (b"\n\r\na,b\r\n1,2", {"a": ["1"], "b": ["2"]}),
    ],
)
def test_separator_and_header(tmp_path: Path, content: bytes, columns: dict[str, list[str]]) -> None:
    assert read_table(saved(tmp_path, content)).columns == columns


def test_value_longer_than_the_default_limit_of_csv(tmp_path: Path) -> None:
    sequence = "M" * 300_000
    assert read_table(saved(tmp_path, f"a,b\n{sequence},1\n".encode())).column("a") == [sequence]


def test_value_or_line_above_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "_MAX_FIELD", 1000)
    assert ":2: this line is longer than 1,000" in refusal(saved(tmp_path, b"a,b\n" + b"M" * 1001 + b",1\n"))
    allowed = csv.field_size_limit(1000)
    try:
        lines = b"\n".join([b"M" * 900] * 3)
        assert ":2: field larger than field limit" in refusal(saved(tmp_path, b'a,b\n"' + lines + b'",1\n'))
    finally:
        csv.field_size_limit(allowed)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_standard_input(monkeypatch: pytest.MonkeyPatch, pack: Any) -> None:
    standard_input = io.TextIOWrapper(io.BytesIO(pack(b"a,b\n1,2\n")))
    monkeypatch.setattr("sys.stdin", standard_input)
    table = read_table("-")
    assert table.place(0) == "<stdin>:2"
    assert not standard_input.buffer.closed


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", ": this file is empty"),
        (b"\n  \n", ": this file is empty"),
        (b"a,b\n\n", ": this table has a header but no rows"),
        (b"a,b\n1,2\n\n3\n", ":4: 1 field, but the header has 2 (parted by commas)"),
        (b"a\tb\n1\t2\t3\n", ":2: 3 fields, but the header has 2 (parted by tabs)"),
        (b'a,b\n"x\ny",2\n1,2,3\n', ":4: 3 fields"),
        (b"sequence\nMKT,1\n", ":2: 2 fields, but the header has 1"),
        (b'a,b\n1,2\n"3,4\n5,6\n', ":3: a quote that opens in this row is never closed"),
        (b'a,b\n1,2\n"3"x,4\n', ":3: ',' expected after '\"'"),
        (b"a,b,a\n1,2,3\n", ":1: columns 1 and 3 are both called 'a'"),
        (b"\na,,b\n1,2,3\n", ":2: column 2 has no name"),
        (b"a,b,\n1,2,3\n", ":1: column 3 has no name"),
        (b">a\nMK\n", ":1: this is FASTA"),
        (b"<html>\n", ":1: this looks like a web page"),
        (b"a,b\n1,2\ncaf\xe9,2\n", ":3: byte 0xe9 after 'caf' is not UTF-8"),
        ("a,b\r1,é\r".encode() + b"\x80,2\r", ":3: byte 0x80"),
        ("a,b\n1,2\n".encode("utf-16"), ":1: this is UTF-16"),
        ("a,b\n1,2\n".encode("utf-16-le"), ":1: this is UTF-16"),
        (b"a,b\n1,2\n3,\x004\n", ":3: this is UTF-16 or binary"),
        (b"PK\x03\x04 xlsx", ": this is a zip archive or an Excel workbook"),
    ],
)
def test_refused(tmp_path: Path, content: bytes, message: str) -> None:
    assert refusal(saved(tmp_path, content)).startswith(message)


def test_missing_file(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "x.csv")


def test_damaged_gzip_names_the_last_good_line(tmp_path: Path) -> None:
    packed = gzip.compress(b"a,b\n" + b"".join(b"%d,%d\n" % (i, i * i) for i in range(20_000)))
    message = refusal(saved(tmp_path, packed[: len(packed) // 2]))
    number = int(message.removeprefix(": the gzip data is cut short after line ").split(";")[0])
    assert 5000 < number < 15_000
    assert "no complete line" in refusal(saved(tmp_path, packed[:15]))


def test_missing_column_lists_those_there_and_the_nearest() -> None:
    table = Table(path="x.csv", columns={"Sequence": ["M"], "target": ["1"]}, lines=[2])
    with pytest.raises(
        InputError, match=r"x\.csv: no column 'sequnce'; .*'Sequence', 'target'; did you mean 'Sequence'"
    ):
        table.column("sequnce")
    wide = Table(path="x.csv", columns={f"c{i}": ["M"] for i in range(50)}, lines=[2])
    with pytest.raises(InputError, match="'c19' and 30 more; name one of these"):
        wide.column("label")


@pytest.mark.parametrize("name", ["x.parquet", "x.XLSX", "x.npz.gz"])
def test_a_table_of_text_does_not_pass_for_another_format(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"written as CSV or TSV; end the name of -o in \.csv or \.tsv"):
        write_table(tmp_path / name, ("a",), [("1",)])
    assert not list(tmp_path.iterdir())


def test_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = {
        "sequence": ["MK", "NA", None],
        "label": [0.1, math.nan, 1e300],
        "count": [2**62, None, -1],
        "kept": [True, False, None],
        "labels": [[1, 2], [], None],
        "raw": [b"MK", b"", None],
    }
    path = tmp_path / "x.anything"
    parquet.write_table(pyarrow.table(columns), path)
    table = read_table(path)
    assert table.columns == {
        "sequence": ["MK", "NA", ""],
        "label": ["0.1", "nan", "1e+300"],
        "count": [str(2**62), "", "-1"],
        "kept": ["1", "0", ""],
        "labels": ["1;2", "", ""],
        "raw": ["MK", "", ""],
    }
    assert table.lines == [1, 2, 3]
    path.write_bytes(path.read_bytes()[:-20])
    assert "Parquet file is damaged" in refusal(path)
    times = pyarrow.array([1, 1_700_000_000_123_456_789], pyarrow.timestamp("ns"))
    parquet.write_table(pyarrow.table({"a": ["x", "y"], "at": times}), path)
    assert read_table(path).columns["at"][1].endswith("20.123456789")
    parquet.write_table(pyarrow.table({"a": [b"\xff"]}), path)
    assert "column 'a', row 1" in refusal(path)
    parquet.write_table(pyarrow.table({"a": pyarrow.array([], pyarrow.string())}), path)
    assert "no rows" in refusal(path)


def test_parquet_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def without_pyarrow(name: str, *args: Any) -> Any:
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real_import(name, *args)

    monkeypatch.setattr(builtins, "__import__", without_pyarrow)
    assert "pip install seqtrain[parquet]" in refusal(saved(tmp_path, b"PAR1 and so on"))


ROWS = [("a", 1, 0.1), ('b,\t"c"', -2, 1e-7), ("", 3, 2 / 3), ("é\n", 0, math.inf)]


@pytest.mark.parametrize("name", ["out.csv", "out.tsv", "out.csv.gz", "out.tsv.gz", "out"])
def test_written_rows_are_read_back(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write_table(path, ["name", "count", "score"], iter(ROWS))
    table = read_table(path)
    assert table.column("name") == [row[0] for row in ROWS]
    assert [int(value) for value in table.column("count")] == [row[1] for row in ROWS]
    assert [float(value) for value in table.column("score")] == [row[2] for row in ROWS]
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    assert content.startswith(b"name\tcount\tscore\na\t1\t0.1\n" if ".tsv" in name else b"name,count,score\na,1,0.1\n")
    assert list(tmp_path.iterdir()) == [path]


def test_rows_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    write_table("-", ["a", "b"], [("x,y", 0.5)])
    write_table(Path("-"), ["a"], [])
    assert capsys.readouterr().out == 'a,b\n"x,y",0.5\na\n'


@pytest.mark.parametrize("fault", [KeyboardInterrupt(), RuntimeError("the model failed"), GeneratorExit()])
def test_failure_while_writing_leaves_the_old_file_alone(tmp_path: Path, fault: BaseException) -> None:
    path = saved(tmp_path, b"old")
    seen = []

    def rows() -> Iterator[tuple[int]]:
        yield from ((i,) for i in range(100_000))
        seen.extend(file.name for file in tmp_path.iterdir() if file != path)
        raise fault

    with pytest.raises(type(fault)):
        write_table(path, ["a"], rows())
    assert [name.startswith("x.csv.tmp-") for name in seen] == [True]
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_disk_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def full(_: int) -> None:
        raise OSError(code, "full")

    monkeypatch.setattr(compressed.os, "fsync", full)
    with pytest.raises(RunError, match=r"x\.csv: No space left"):
        write_table(tmp_path / "x.csv", ["a"], [(1,)])
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_full_device() -> None:
    with pytest.raises(RunError, match="No space left"):
        write_table(Path("/dev/full"), ["a"], ((i,) for i in range(100_000)))


def test_row_of_another_width(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a row of 1 fields under a header of 2"):
        write_table(tmp_path / "x.csv", ["a", "b"], [(1,)])
    assert not list(tmp_path.iterdir())


def test_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        write_table(tmp_path / "missing" / "x.csv", ["a"], [])
