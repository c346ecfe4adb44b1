"""Embeddings are read back by plain numpy, one entry for every record in either form."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from seqtrain.embed import write_embeddings
from seqtrain.errors import InputError
from seqtrain.io.records import Record
from tests.corpora import record_of

Rows = list[tuple[Record, NDArray[np.float32] | None]]
NAMES = ["a", "sp|P1|é→", "", "a"]


def rows_of(lengths: list[int | None], width: int = 3) -> Rows:
    """Random vectors, as many per record as given; None for a record that was dropped."""
    rng = np.random.default_rng(0)
    return [
        (record_of("MK", name), None if length is None else rng.normal(size=(length, width)).astype(np.float32))
        for name, length in zip(NAMES, lengths, strict=True)
    ]


def read(path: Path) -> dict[str, NDArray[np.generic]]:
    with np.load(path, allow_pickle=False) as archive:
        return dict(archive)


def test_one_vector_per_sequence(tmp_path: Path) -> None:
    rows = rows_of([1, 1, None, 1])
    assert write_embeddings(tmp_path / "e.npz", iter(rows), width=3, per_residue=False) == 4
    found = read(tmp_path / "e.npz")
    assert set(found) == {"identifiers", "embeddings"}
    assert found["identifiers"].tolist() == NAMES
    assert found["embeddings"].dtype == np.float32 and found["embeddings"].shape == (4, 3)
    assert np.isnan(found["embeddings"][2]).all()
    for i in (0, 1, 3):
        assert np.array_equal(found["embeddings"][i], np.ravel(np.asarray(rows[i][1])))


def test_one_vector_per_residue(tmp_path: Path) -> None:
    rows = rows_of([5, None, 1, 300])
    assert write_embeddings(tmp_path / "e.npz", iter(rows), width=3, per_residue=True) == 4
    found = read(tmp_path / "e.npz")
    assert found["boundaries"].tolist() == [0, 5, 5, 6, 306] and found["embeddings"].shape == (306, 3)
    for i, (_, vectors) in enumerate(rows):
        stretch = found["embeddings"][found["boundaries"][i] : found["boundaries"][i + 1]]
        assert np.array_equal(stretch, np.zeros((0, 3)) if vectors is None else vectors)


@pytest.mark.parametrize("per_residue", [False, True])
def test_no_records_make_an_empty_file(tmp_path: Path, per_residue: bool) -> None:
    assert write_embeddings(tmp_path / "e.npz", [], width=3, per_residue=per_residue) == 0
    assert read(tmp_path / "e.npz")["embeddings"].shape == (0, 3)


def test_double_and_strided_vectors_are_written_as_float32(tmp_path: Path) -> None:
    vectors = np.arange(12.0).reshape(3, 4).T
    write_embeddings(tmp_path / "e.npz", [(record_of("MKLV"), vectors)], width=3, per_residue=True)  # type: ignore[list-item]
    assert np.array_equal(read(tmp_path / "e.npz")["embeddings"], vectors)


def test_a_failure_on_the_way_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "e.npz"
    write_embeddings(path, rows_of([1, 1, 1, 1]), width=3, per_residue=False)
    before = path.read_bytes()

    def failing() -> Iterator[tuple[Record, NDArray[np.float32] | None]]:
        yield rows_of([1, 1, 1, 1])[0]
        raise InputError("x.fasta:9: bad")

    with pytest.raises(InputError, match=r"^x\.fasta:9: bad$"):
        write_embeddings(path, failing(), width=3, per_residue=False)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_other_names_and_missing_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"e\.csv: embeddings are written as \.npz; end the name of -o in \.npz"):
        write_embeddings(tmp_path / "e.csv", [], width=3, per_residue=False)
    with pytest.raises(InputError, match="cannot be written"):
        write_embeddings(tmp_path / "none" / "e.npz", [], width=3, per_residue=False)
