"""The two ways in which a command fails: what came in is wrong, or the run itself went wrong.

Messages are one line: the place (file, line, record), the value, the next move.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """A file, a table, an option or a label that cannot be used as it is. The command ends with exit code 2."""


class RunError(RuntimeError):
    """Training or writing failed after the input was accepted. The command ends with exit code 1."""


class Stopped(Exception):
    """The user or the system asked the process to end; what was done is saved. Exit code 128 + signal."""

    def __init__(self, signal_number: int, message: str) -> None:
        super().__init__(message)
        self.signal_number = signal_number


def nearest_name(given: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The known name that was probably meant: the only one that begins with what was given, else the most alike.

    Args:
        cutoff: least similarity of the latter, from 0 to 1.
    """
    names = list(known)
    longer = [name for name in names if given and name.startswith(given)]
    if len(longer) == 1:
        return longer[0]
    return next(iter(difflib.get_close_matches(given, names, n=1, cutoff=cutoff)), None)


def did_you_mean(given: str, known: Iterable[str], otherwise: str | None = None) -> str:
    """The next move after a name that is not known: the nearest one, else ``otherwise``, else all there are."""
    names = list(known)
    near = nearest_name(given, names)
    if near is not None:
        return f"did you mean {near!r}?"
    return otherwise or f"choose from {', '.join(names)}"
