"""Embeddings to a file: one ``.npz`` that any numpy reads, written in a stream."""

from __future__ import annotations

import io
import shutil
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seqtrain.errors import InputError
from seqtrain.io.compressed import replacing
from seqtrain.io.records import Record


def write_embeddings(
    path: Path, rows: Iterable[tuple[Record, NDArray[np.float32] | None]], *, width: int, per_residue: bool
) -> int:
    """Write ``identifiers`` (N,), ``embeddings`` and, per residue, ``boundaries`` (N + 1,); returns N.

    Per sequence, ``embeddings`` is (N, D), with nan for a record that was dropped. Per residue it is
    (total residues, D), and record i has the rows boundaries[i] to boundaries[i + 1].

    Raises:
        InputError: the name does not end in .npz, or the file cannot be written.
        RunError: the disk is full.
    """
    if path.suffix != ".npz":
        raise InputError(f"{path}: embeddings are written as .npz; end the name of -o in .npz")
    identifiers: list[str] = []
    boundaries = [0]
    nothing = np.full((0 if per_residue else 1, width), np.nan, np.float32)
    with replacing(path) as file, tempfile.TemporaryFile(dir=path.resolve().parent) as body:
        for record, vectors in rows:
            values = nothing if vectors is None else np.ascontiguousarray(vectors, np.float32)
            body.write(values.tobytes())
            identifiers.append(record.identifier)
            boundaries.append(boundaries[-1] + len(values))
        body.seek(0)
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            _add(archive, "identifiers", np.array(identifiers, dtype=np.str_))
            if per_residue:
                _add(archive, "boundaries", np.array(boundaries, dtype=np.int64))
            header = {"descr": "<f4", "fortran_order": False, "shape": (boundaries[-1], width)}
            with archive.open("embeddings.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array_header_2_0(entry, header)
                shutil.copyfileobj(body, entry, 1 << 22)
    return len(identifiers)


def _add(archive: zipfile.ZipFile, name: str, array: NDArray[np.generic]) -> None:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    archive.writestr(f"{name}.npy", buffer.getvalue())
