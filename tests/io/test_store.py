"""A store gives back what was written, is mapped, appears whole or not at all, and is refused if damaged."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from seqtrain.alphabet import CODON, PROTEIN
from seqtrain.errors import InputError, RunError
from seqtrain.io.records import Record
from seqtrain.io.store import SequenceStore, open_store, write_store
from tests.corpora import proteins, record_of, store_of

TEXTS = [*proteins([5, 1, 300, 40]), "MXJ*-U"]
NAMES = ["a", "sp|P1|é→", "", "a", "b" * 500]


def records() -> Iterator[Record]:
    return (record_of(text, name) for text, name in zip(TEXTS, NAMES, strict=True))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_store(records(), tmp_path / "store", PROTEIN, {"sources": {"a.fasta": "00ff"}})
    return tmp_path / "store"


def check(store: SequenceStore) -> None:
    assert len(store) == len(TEXTS)
    assert [store[i].tobytes().decode() for i in range(len(store))] == TEXTS
    assert [store.name(i) for i in range(len(store))] == NAMES
    assert store.lengths.tolist() == [len(text) for text in TEXTS]
    assert store.alphabet is PROTEIN


def test_what_was_written_comes_back(folder: Path) -> None:
    store = open_store(folder)
    check(store)
    assert store.manifest == {
        "alphabet": "protein", "sequences": 5, "letters": sum(map(len, TEXTS)), "sources": {"a.fasta": "00ff"},
    }  # fmt: skip


def test_in_memory_is_the_same() -> None:
    check(SequenceStore.in_memory(records(), PROTEIN))
    assert len(store_of([])) == 0 and len(store_of([]).letters) == 0


def test_letters_are_mapped_and_cannot_be_written_to(folder: Path) -> None:
    store = open_store(folder)
    assert isinstance(store.letters.base, np.memmap) and isinstance(store.offsets.base, np.memmap)
    assert type(store.letters) is np.ndarray
    with pytest.raises(ValueError, match="read-only"):
        store.letters[0] = 0
    assert (folder / "letters.bin").stat().st_size == sum(map(len, TEXTS))


def test_codons_keep_their_bytes(tmp_path: Path) -> None:
    store = write_store([record_of("ATGGCCNNN", "g", CODON)], tmp_path / "store", CODON, {})
    assert CODON.text(store[0]) == "ATGGCCNNN" and store.alphabet is CODON


def test_a_second_writing_replaces_the_first(folder: Path) -> None:
    store = write_store([record_of("MK")], folder, PROTEIN, {})
    assert len(store) == 1 and store[0].tobytes() == b"MK"


def test_a_failure_on_the_way_leaves_the_old_store_and_nothing_else(folder: Path) -> None:
    def failing() -> Iterator[Record]:
        yield record_of("MKL")
        raise InputError("x.fasta:9: bad")

    with pytest.raises(InputError, match=r"^x\.fasta:9: bad$"):
        write_store(failing(), folder, PROTEIN, {})
    check(open_store(folder))
    assert [path.name for path in folder.parent.iterdir()] == ["store"]


def test_a_full_disk_is_a_run_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(RunError, match="cannot save: No space left on device; free some space"):
        write_store(records(), folder, PROTEIN, {})
    monkeypatch.undo()
    check(open_store(folder))
    assert [path.name for path in folder.parent.iterdir()] == ["store"]


def test_no_records_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no sequences are left to train on"):
        write_store([], tmp_path / "store", PROTEIN, {})
    assert list(tmp_path.iterdir()) == []


def _cut(name: str, keep: int) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:keep])


def _manifest(text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / "manifest.json").write_text(text)


def _offsets(name: str, values: object) -> Callable[[Path], object]:
    return lambda folder: np.save(folder / name, np.array(values))


@pytest.mark.parametrize(
    "harm",
    [
        _cut("letters.bin", 100), _cut("letters.bin", 0), _cut("names.bin", 1), _cut("offsets.npy", 140),
        _cut("offsets.npy", 0), _cut("name_offsets.npy", 3), _cut("manifest.json", 20),
        _manifest("[]"), _manifest("{}"), _manifest(json.dumps({"alphabet": "klingon"})), _manifest("null"),
        _offsets("offsets.npy", []), _offsets("offsets.npy", 352), _offsets("name_offsets.npy", [0, 513]),
        _offsets("offsets.npy", [[0, 1], [2, 352]]), _offsets("offsets.npy", [1, 2, 3, 4, 5, 352]),
        lambda folder: (folder / "names.bin").unlink(),
        lambda folder: (folder / "letters.bin").write_bytes(b"A" * 353),
    ],
)  # fmt: skip
def test_a_damaged_store_is_refused(folder: Path, harm: Callable[[Path], object]) -> None:
    harm(folder)
    with pytest.raises(InputError, match=r"store: .*delete it and rerun$"):
        open_store(folder)


def test_no_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a readable sequence store"):
        open_store(tmp_path / "nowhere")
