"""Arrays that take long to compute, kept in a run directory for when the run goes on, and used only when whole."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqtrain.io.run_directory import replacing_folder, sha256_of, write_json_atomically

Arrays = dict[str, NDArray[Any]]
_INDEX = "index.json"


def kept_arrays(folder: Path, made_from: str, compute: Callable[[], Mapping[str, NDArray[Any]]]) -> tuple[Arrays, bool]:
    """Arrays by name, out of ``folder`` or computed and written there, and whether they were there.

    Each is a file NAME.npy. They are computed again if they were made from something else, or if a file is missing or
    has changed.

    Args:
        made_from: digest of all that decides what is computed.

    Raises:
        RunError: the disk is full.
    """
    found = _whole(folder, made_from)
    if found is not None:
        return found, True
    arrays = dict(compute())
    with replacing_folder(folder) as partial:
        for name, array in arrays.items():
            np.save(partial / f"{name}.npy", array, allow_pickle=False)
        files = {name: sha256_of(partial / f"{name}.npy") for name in arrays}
        write_json_atomically(partial / _INDEX, {"made_from": made_from, "files": files})
    return arrays, False


def _whole(folder: Path, made_from: str) -> Arrays | None:
    """The arrays of a folder, if they are what they were and were made from the same."""
    try:
        index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
        if index["made_from"] != made_from:
            return None
        paths = {str(name): (folder / f"{name}.npy", digest) for name, digest in index["files"].items()}
        if any(sha256_of(path) != digest for path, digest in paths.values()):
            return None
        return {name: np.load(path, allow_pickle=False) for name, (path, _) in paths.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
