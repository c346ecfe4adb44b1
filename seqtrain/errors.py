"""The two ways in which a command fails: what came in is wrong, or the run itself went wrong.

Messages are one line: the place (file, line, record), the value, the next move.
"""

from __future__ import annotations


class InputError(ValueError):
    """A file, a table, an option or a label that cannot be used as it is. The command ends with exit code 2."""


class RunError(RuntimeError):
    """Training or writing failed after the input was accepted. The command ends with exit code 1."""


class Stopped(Exception):
    """The user or the system asked the process to end; what was done is saved. Exit code 128 + signal."""

    def __init__(self, signal_number: int, message: str) -> None:
        super().__init__(message)
        self.signal_number = signal_number
