"""Embeddings to a file, written in a stream: memory does not grow, and the file appears whole or not at all."""

from __future__ import annotations

from pathlib import Path

from seqtrain.embed.form import Entry, FloatName, Form, Rows, entries
from seqtrain.embed.hdf5 import write_hdf5
from seqtrain.embed.npz import write_npz
from seqtrain.embed.parquet import write_parquet
from seqtrain.errors import InputError

__all__ = ["Entry", "FloatName", "Form", "Rows", "write_embeddings"]

_WRITERS = {".npz": write_npz, ".h5": write_hdf5, ".hdf5": write_hdf5, ".parquet": write_parquet}


def write_embeddings(path: Path, rows: Rows, form: Form) -> int:
    """Write one entry for each record, in their order, in the format that the path ends in; returns N.

    A record that was dropped stays visible: nan per sequence, nothing per residue. See :func:`write_npz`,
    :func:`write_hdf5` and :func:`write_parquet` for what is inside.

    Raises:
        InputError: another ending, a package that is not installed, or a file that cannot be written.
        RunError: the disk is full.
    """
    writer = _WRITERS.get(path.suffix.lower())
    if writer is None:
        raise InputError(f"{path}: embeddings are written as .npz, .h5 or .parquet; end the name of -o in one of them")
    return writer(path, entries(rows, form), form)
