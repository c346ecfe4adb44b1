"""Who is at work in the folder of a study: locks of the operating system, which end with their process.

A heartbeat in the database would have to be waited for before a killed trial is known to be dead; a lock tells at once.
Windows has no such locks: there a study takes one process at a time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path

try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None  # type: ignore[assignment]


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold a lock, waiting until nobody else does."""
    with path.open("a+", encoding="utf-8") as file:
        if fcntl is not None:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX)
        yield


def taken(path: Path) -> TextIOWrapper | None:
    """Take a lock for as long as the file stays open; None where somebody holds it."""
    file = path.open("a+", encoding="utf-8")
    if fcntl is None:
        return file
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file
