"""Checks that the configs of models share: each refuses a value in one line."""

from __future__ import annotations

from seqtrain.errors import InputError


def require_whole(owner: str, name: str, value: object, least: int) -> None:
    """Refuse anything but a whole number of at least ``least``."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InputError(f"{owner}: {name} is {value!r}; give a whole number of at least {least}")


def require_choice(owner: str, name: str, value: object, choices: tuple[str, ...]) -> None:
    """Refuse anything but one of some words."""
    if value not in choices:
        raise InputError(f"{owner}: {name} is {value!r}; choose one of {', '.join(choices)}")


def require_fraction(owner: str, name: str, value: object) -> None:
    """Refuse anything but a number in [0, 1)."""
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value < 1:
        raise InputError(f"{owner}: {name} is {value!r}; give a number from 0 up to, but not including, 1")


def require_positive(owner: str, name: str, value: object) -> None:
    """Refuse anything but a finite number above 0."""
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value < float("inf"):
        raise InputError(f"{owner}: {name} is {value!r}; give a number above 0")
