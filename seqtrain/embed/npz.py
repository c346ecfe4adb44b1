"""Embeddings as ``.npz``: plain arrays, read with numpy alone."""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from seqtrain.embed.form import Entry, Form
from seqtrain.io.compressed import replacing

_BLOCK_NAMES = 1 << 14
_BLOCK_BYTES = 1 << 22


def write_npz(path: Path, entries: Iterable[Entry], form: Form) -> int:
    """Write ``identifiers`` (N,), ``lengths`` (N,), ``embeddings``, per residue ``boundaries`` (N + 1,), and ``facts``.

    Per sequence, ``embeddings`` is (N, D). Per residue it is (total residues, D), and record i has the rows
    boundaries[i] to boundaries[i + 1]. ``facts`` is a string of JSON. Returns N.
    """
    lengths, name_sizes = array("q"), array("q")
    longest = rows = 0
    folder = path.resolve().parent
    with (
        replacing(path) as file,
        tempfile.TemporaryFile(dir=folder) as vectors,
        tempfile.TemporaryFile(dir=folder) as names,
    ):
        for entry in entries:
            vectors.write(entry.vectors.data)
            rows += len(entry.vectors) if form.per_residue else 1
            name = entry.identifier.encode()
            names.write(name)
            name_sizes.append(len(name))
            longest = max(longest, len(entry.identifier))
            lengths.append(entry.length)
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            kind, blocks = np.dtype(f"<U{max(1, longest)}"), _name_blocks(names, name_sizes, max(1, longest))
            _add_pieces(archive, "identifiers", kind, (len(lengths),), blocks)
            _add(archive, "lengths", np.frombuffer(lengths, np.int64))
            if form.per_residue:
                _add(archive, "boundaries", np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]))
            _add(archive, "facts", np.array(json.dumps(dict(form.facts))))
            vectors.seek(0)
            blocks = iter(lambda: vectors.read(_BLOCK_BYTES), b"")
            _add_pieces(archive, "embeddings", np.dtype(form.dtype), (rows, form.width), blocks)
    return len(lengths)


def _name_blocks(names: IO[bytes], sizes: array[int], longest: int) -> Iterator[bytes]:
    """The identifiers as numpy keeps them, some thousand at once: each takes as much room as the longest of all."""
    names.seek(0)
    for start in range(0, len(sizes), _BLOCK_NAMES):
        block = [names.read(size).decode() for size in sizes[start : start + _BLOCK_NAMES]]
        yield np.array(block, dtype=f"<U{longest}").tobytes()


def _add_pieces(
    archive: zipfile.ZipFile, name: str, dtype: np.dtype[Any], shape: tuple[int, ...], pieces: Iterable[bytes]
) -> None:
    """An array whose bytes come in pieces."""
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        header = {"descr": dtype.newbyteorder("<").str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_2_0(member, header)
        for piece in pieces:
            member.write(piece)


def _add(archive: zipfile.ZipFile, name: str, array_: NDArray[np.generic]) -> None:
    buffer = io.BytesIO()
    np.save(buffer, array_, allow_pickle=False)
    archive.writestr(f"{name}.npy", buffer.getvalue())
