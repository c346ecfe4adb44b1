"""Embeddings as HDF5: one data set per record under its identifier, as UniProt and ProtTrans publish theirs.

Read with ``file[identifier][:]``. One matrix of all records would be smaller for many short vectors, but that is what
``.npz`` and Parquet are for; who asks for HDF5 has code that looks records up by their names.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

from seqtrain.embed.form import Entry, Form
from seqtrain.errors import InputError
from seqtrain.io.compressed import replacing

_MARGIN_BYTES = 1 << 20
"""For the names, attributes and indices that HDF5 still holds in memory."""
_RESERVED_BYTES = 1 << 24
"""Taken ahead, so that not every record asks the file system."""


def write_hdf5(path: Path, entries: Iterable[Entry], form: Form) -> int:
    """Write one data set per record, (D,) or per residue (L, D), in the order of the records; returns N.

    A data set is called as its record, with "_" for what HDF5 cannot hold in a name ("/"), and with "~2", "~3" … behind
    a name that is taken; its attributes hold the identifier itself (``original_id``, as in bio_embeddings) and the
    ``length``. Facts are attributes of the file.

    Raises:
        InputError: h5py is not installed, or the file cannot be written.
        RunError: the disk is full.
    """
    try:
        import h5py
    except ImportError:
        raise InputError(f'{path}: writing HDF5 needs h5py; run pip install "seqtrain[hdf5]"') from None
    count = reserved = 0
    with replacing(path) as target:
        # HDF5 wants the name of a file, and truncates the one that is there already: the file stays the same.
        with h5py.File(target.name, "w", track_order=True) as file:
            for name, value in form.facts.items():
                file.attrs[name] = value if isinstance(value, str | int | float) else json.dumps(value)
            for entry in entries:
                needed = file.id.get_filesize() + entry.vectors.nbytes + _MARGIN_BYTES
                if needed > reserved:
                    reserved = _reserve(target, needed)
                place = file.create_dataset(_free_name(file, entry.identifier), data=entry.vectors)
                place.attrs["original_id"] = entry.identifier.replace("\0", "_")
                place.attrs["length"] = entry.length
                count += 1
        # Opened and closed once more, HDF5 gives back what was reserved and not used.
        h5py.File(target.name, "r+").close()
    return count


def _reserve(file: BinaryIO, needed: int) -> int:
    """Take room on the disk for so many bytes, or some more, and return how many.

    When a disk is full HDF5 does not raise an error, or not only: it ends the process. So that it never meets one, room
    is taken before it writes. Where the system cannot do that (macOS) nothing is taken.

    Raises:
        OSError: there is no room.
    """
    if not hasattr(os, "posix_fallocate"):
        return needed
    try:
        os.posix_fallocate(file.fileno(), 0, needed + _RESERVED_BYTES)
        return needed + _RESERVED_BYTES
    except OSError:
        os.posix_fallocate(file.fileno(), 0, needed)
        return needed


def _free_name(file: Any, identifier: str) -> str:
    plain = identifier.replace("/", "_").replace("\0", "_") or "_"
    plain = "_" if plain == "." else plain
    name, number = plain, 1
    while name in file:
        number += 1
        name = f"{plain}~{number}"
    return name
