"""Embeddings are read back by numpy, h5py and pyarrow alone, one entry for every record, in their order."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow.parquet
import pytest
from numpy.typing import NDArray

from seqtrain.embed import Form, write_embeddings
from seqtrain.errors import InputError
from seqtrain.io.records import Record
from tests.corpora import record_of

Rows = list[tuple[Record, NDArray[np.float32] | None]]
Found = list[tuple[str, int, NDArray[Any]]]
NAMES = ["a", "sp|P1|é/→", "", "a"]
FACTS = {"run": "runs/x", "layers": [3, 6], "max_length": 1022, **{f"more{i}": "text" for i in range(9)}}


def form_of(per_residue: bool, dtype: Any = "float32") -> Form:
    return Form(width=3, per_residue=per_residue, dtype=dtype, facts=FACTS)


def rows_of(lengths: list[int | None], per_residue: bool = True) -> Rows:
    """Random vectors of records of these lengths; None for a record that was dropped."""
    rng = np.random.default_rng(0)

    def vectors(length: int | None) -> NDArray[np.float32] | None:
        return None if length is None else rng.normal(size=(length if per_residue else 1, 3)).astype(np.float32)

    return [(record_of("M" * (n or 0), name), vectors(n)) for name, n in zip(NAMES, lengths, strict=True)]


def read_npz(path: Path) -> tuple[Found, dict[str, Any]]:
    with np.load(path, allow_pickle=False) as file:
        vectors = list(file["embeddings"])
        if "boundaries" in file:
            bounds = file["boundaries"]
            vectors = [file["embeddings"][a:z] for a, z in pairwise(bounds)]
        rows = zip(file["identifiers"].tolist(), file["lengths"].tolist(), vectors, strict=True)
        return list(rows), json.loads(file["facts"].item())


def read_hdf5(path: Path) -> tuple[Found, dict[str, Any]]:
    with h5py.File(path) as file:
        rows = [(each.attrs["original_id"], int(each.attrs["length"]), each[()]) for each in file.values()]
        facts = dict(file.attrs)
        return rows, {**facts, "layers": json.loads(facts["layers"])}


def read_parquet(path: Path) -> tuple[Found, dict[str, Any]]:
    table = pyarrow.parquet.read_table(path)
    floats = table.schema.field("embedding").type
    while hasattr(floats, "value_type"):
        floats = floats.value_type
    rows = [
        (row["identifier"], row["length"], np.array(row["embedding"], floats.to_pandas_dtype()))
        for row in table.to_pylist()
    ]
    return rows, json.loads(table.schema.metadata[b"seqtrain"])


FORMATS: dict[str, Callable[[Path], tuple[Found, dict[str, Any]]]] = {
    ".npz": read_npz,
    ".h5": read_hdf5,
    ".parquet": read_parquet,
}


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("per_residue", [False, True], ids=["sequence", "residue"])
@pytest.mark.parametrize("ending", FORMATS)
def test_what_is_read_back_is_what_was_given(ending: str, per_residue: bool, dtype: str, tmp_path: Path) -> None:
    path, rows = tmp_path / f"e{ending}", rows_of([5, None, 1, 300], per_residue)
    assert write_embeddings(path, iter(rows), form_of(per_residue, dtype)) == 4
    found, facts = FORMATS[ending](path)
    assert facts == FACTS and list(tmp_path.iterdir()) == [path]
    assert [name for name, _, _ in found] == NAMES and [length for _, length, _ in found] == [5, 0, 1, 300]
    for (record, given), (_, _, vectors) in zip(rows, found, strict=True):
        if given is None and per_residue:
            assert vectors.size == 0
        elif given is None:
            assert vectors.shape == (3,) and np.isnan(vectors).all()
        else:
            assert vectors.dtype == dtype
            assert np.array_equal(vectors, (given if per_residue else given[0]).astype(dtype)), record.identifier


@pytest.mark.parametrize("per_residue", [False, True])
@pytest.mark.parametrize("ending", FORMATS)
def test_no_records_make_an_empty_file(ending: str, per_residue: bool, tmp_path: Path) -> None:
    path = tmp_path / f"e{ending}"
    assert write_embeddings(path, [], form_of(per_residue)) == 0
    assert FORMATS[ending](path) == ([], FACTS)


def test_arrays_of_npz_are_one_matrix_and_its_boundaries(tmp_path: Path) -> None:
    write_embeddings(tmp_path / "e.npz", rows_of([5, None, 1, 300]), form_of(True))
    with np.load(tmp_path / "e.npz", allow_pickle=False) as file:
        assert file["boundaries"].tolist() == [0, 5, 5, 6, 306] and file["embeddings"].shape == (306, 3)


def test_names_of_data_sets_are_unique_and_hold_no_slash(tmp_path: Path) -> None:
    vector = np.ones((1, 3), np.float32)
    names = ["a/b", "a_b", "a/b", "", ".", "x.1", "nul\0"]
    write_embeddings(tmp_path / "e.h5", [(record_of("M", name), vector) for name in names], form_of(False))
    with h5py.File(tmp_path / "e.h5") as file:
        assert list(file) == ["a_b", "a_b~2", "a_b~3", "_", "_~2", "x.1", "nul_"]
        assert file["a_b~3"].attrs["original_id"] == "a/b"


def test_double_and_strided_vectors_are_written_as_float32(tmp_path: Path) -> None:
    vectors = np.arange(12.0).reshape(3, 4).T
    for ending, read in FORMATS.items():
        path = tmp_path / f"e{ending}"
        write_embeddings(path, [(record_of("MKLV"), vectors)], form_of(True))  # type: ignore[list-item]
        assert np.array_equal(read(path)[0][0][2], vectors)


@pytest.mark.parametrize("ending", FORMATS)
def test_a_failure_on_the_way_leaves_the_old_file_and_nothing_else(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"e{ending}"
    write_embeddings(path, rows_of([1, 1, 1, 1]), form_of(False))
    before = path.read_bytes()

    def failing() -> Iterator[tuple[Record, NDArray[np.float32] | None]]:
        yield rows_of([1, 1, 1, 1])[0]
        raise InputError("x.fasta:9: bad")

    with pytest.raises(InputError, match=r"^x\.fasta:9: bad$"):
        write_embeddings(path, failing(), form_of(False))
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_row_groups_are_written_as_they_fill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqtrain.embed.parquet._GROUP_BYTES", 100)
    vector = np.ones((1, 3), np.float32)
    rows = [(record_of("M", f"r{i}"), vector * i) for i in range(50)]
    write_embeddings(tmp_path / "e.parquet", rows, form_of(False))
    assert pyarrow.parquet.ParquetFile(tmp_path / "e.parquet").num_row_groups == 6
    assert [name for name, _, _ in read_parquet(tmp_path / "e.parquet")[0]] == [f"r{i}" for i in range(50)]


def test_other_names_and_missing_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"e\.csv: embeddings are written as \.npz, \.h5 or \.parquet; end the name"):
        write_embeddings(tmp_path / "e.csv", [], form_of(False))
    for ending in FORMATS:
        with pytest.raises(InputError, match="cannot be written"):
            write_embeddings(tmp_path / "none" / f"e{ending}", [], form_of(False))


@pytest.mark.parametrize(("ending", "package", "extra"), [("h5", "h5py", "hdf5"), ("parquet", "pyarrow", "parquet")])
def test_a_missing_package_is_named(
    ending: str, package: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(InputError, match=rf'needs {package}; run pip install "seqtrain\[{extra}\]"'):
        write_embeddings(tmp_path / f"e.{ending}", [], form_of(False))
    assert not list(tmp_path.iterdir())
