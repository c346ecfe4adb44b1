"""The sequence store: letters on disk, one byte each, memory-mapped, so that a corpus may be larger than memory."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqtrain.alphabet import ALPHABETS, Alphabet
from seqtrain.errors import InputError
from seqtrain.io.records import Record
from seqtrain.io.run_directory import replacing_folder

_MANIFEST = "manifest.json"
_BLOCK = 1 << 22


@dataclass(frozen=True)
class SequenceStore:
    """N sequences: letters end to end, where each begins, and what each is called."""

    alphabet: Alphabet
    letters: NDArray[np.uint8]
    """(total letters,) read-only view of the file."""
    offsets: NDArray[np.int64]
    """(N + 1,) sequence i is letters[offsets[i] : offsets[i + 1]]."""
    names: NDArray[np.uint8]
    """(total bytes of the identifiers,) UTF-8."""
    name_offsets: NDArray[np.int64]
    """(N + 1,)."""
    manifest: dict[str, Any]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        return self.letters[self.offsets[index] : self.offsets[index + 1]]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(N,) letters of each sequence."""
        return np.diff(self.offsets)

    def name(self, index: int) -> str:
        """The identifier of sequence i."""
        return self.names[self.name_offsets[index] : self.name_offsets[index + 1]].tobytes().decode()

    @classmethod
    def in_memory(cls, records: Iterable[Record], alphabet: Alphabet) -> SequenceStore:
        """A store of records that are held in memory; for a few thousand at a time."""
        records = list(records)
        names = [record.identifier.encode() for record in records]
        return cls(
            alphabet=alphabet,
            letters=np.concatenate([np.zeros(0, np.uint8), *(record.letters for record in records)]),
            offsets=_offsets([len(record.letters) for record in records]),
            names=np.frombuffer(b"".join(names), np.uint8),
            name_offsets=_offsets([len(name) for name in names]),
            manifest={},
        )


def write_store(records: Iterable[Record], folder: Path, alphabet: Alphabet, manifest: dict[str, Any]) -> SequenceStore:
    """Stream records into a folder and open it. The folder appears complete or not at all.

    Args:
        manifest: facts to keep beside the letters (sources, hashes); JSON-serialisable.

    Raises:
        InputError: there were no records.
        RunError: the disk is full.
    """
    with replacing_folder(folder) as partial:
        lengths, name_lengths = _write_letters(records, partial)
        if not lengths:
            raise InputError("no sequences are left to train on; see the ledger above for what was dropped")
        # np.save writes through a plain file: a full disk is an error, where a memory map would die by SIGBUS.
        np.save(partial / "offsets.npy", _offsets(lengths))
        np.save(partial / "name_offsets.npy", _offsets(name_lengths))
        facts = {"alphabet": alphabet.name, "sequences": len(lengths), "letters": sum(lengths), **manifest}
        (partial / _MANIFEST).write_text(json.dumps(facts, indent=1))
    return open_store(folder)


def _write_letters(records: Iterable[Record], folder: Path) -> tuple[array[int], array[int]]:
    lengths, name_lengths = array("q"), array("q")
    with (folder / "letters.bin").open("wb", _BLOCK) as letters, (folder / "names.bin").open("wb", _BLOCK) as names:
        for record in records:
            name = record.identifier.encode()
            letters.write(record.letters.tobytes())
            names.write(name)
            lengths.append(len(record.letters))
            name_lengths.append(len(name))
    return lengths, name_lengths


def open_store(folder: Path) -> SequenceStore:
    """Memory-map a store.

    Raises:
        InputError: the folder is not a store, or its files do not fit together.
    """
    try:
        manifest = json.loads((folder / _MANIFEST).read_text())
        store = SequenceStore(
            alphabet=ALPHABETS[manifest["alphabet"]],
            letters=_mapped(folder / "letters.bin"),
            offsets=np.asarray(np.load(folder / "offsets.npy", mmap_mode="r", allow_pickle=False)),
            names=_mapped(folder / "names.bin"),
            name_offsets=np.asarray(np.load(folder / "name_offsets.npy", mmap_mode="r", allow_pickle=False)),
            manifest=manifest,
        )
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder}: not a readable sequence store ({error}); delete it and rerun") from error
    whole = _bounded(store.offsets, store.letters) and _bounded(store.name_offsets, store.names)
    if not whole or len(store.offsets) != len(store.name_offsets):
        raise InputError(f"{folder}: the letters and their offsets do not fit together; delete it and rerun")
    return store


def _bounded(offsets: NDArray[np.int64], items: NDArray[np.uint8]) -> bool:
    """True when the offsets lead from the first of the items to the last."""
    return bool(offsets.ndim == 1 and len(offsets) and offsets[0] == 0 and offsets[-1] == len(items))


def _mapped(path: Path) -> NDArray[np.uint8]:
    # A plain ndarray view: indexing np.memmap objects is three times slower.
    if path.stat().st_size == 0:
        return np.zeros(0, np.uint8)
    return np.asarray(np.memmap(path, dtype=np.uint8, mode="r"))


def _offsets(lengths: Sequence[int]) -> NDArray[np.int64]:
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets
