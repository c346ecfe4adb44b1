"""Writing so that nothing is ever half written, and keeping two processes out of one run directory."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from seqtrain.errors import InputError, RunError
from seqtrain.io.compressed import replacing


def write_text_atomically(path: Path, text: str) -> None:
    """Write beside the target, sync, rename: the old file stays until the new one is whole.

    Raises:
        InputError: the folder is not writable.
        RunError: the disk is full.
    """
    with replacing(path) as file:
        file.write(text.encode())


def write_json_atomically(path: Path, value: Any) -> None:
    """JSON with one key per line; a number that is not finite, which JSON does not know, becomes null."""
    write_text_atomically(path, json.dumps(finite(value), indent=1, allow_nan=False) + "\n")


def finite(value: Any) -> Any:
    """The same value with None for every float that is not finite, in dicts and lists too."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    return [finite(item) for item in value] if isinstance(value, list | tuple) else value


@contextlib.contextmanager
def replacing_folder(target: Path) -> Iterator[Path]:
    """A folder to write into that takes its name only when the block ends well; until then the old one stays.

    Files go to a hidden folder beside it, which is flushed to disk and renamed, or removed on any failure.

    Raises:
        RunError: the disk is full, or another fault of the disk.
    """
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        yield partial
        for path in filter(Path.is_file, partial.rglob("*")):
            with path.open("rb") as file:
                os.fsync(file.fileno())
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
    except (OSError, SafetensorError) as error:
        cause = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise RunError(f"{target}: cannot save: {cause}; free some space and rerun to continue") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Create the run directory and hold it: a second process that wants it is refused.

    The lock is the operating system's and ends with the process, so a killed run leaves nothing to clean up.

    Raises:
        InputError: the path is a file, is not writable, or is held by another process.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("a+", encoding="utf-8")
    except (FileExistsError, NotADirectoryError):
        raise InputError(f"{folder}: is a file, not a folder; choose another -o") from None
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror}; choose another -o") from None
    with lock:
        if not _try_lock(lock.fileno()):
            lock.seek(0)
            holder = lock.read().strip() or "another process"
            raise InputError(f"{folder}: in use by {holder}; wait for it, or choose another -o")
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {socket.gethostname()}")
        lock.flush()
        yield


def _try_lock(descriptor: int) -> bool:
    try:
        import fcntl
    except ModuleNotFoundError:  # Windows has no advisory locks; there the second process is not refused
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
