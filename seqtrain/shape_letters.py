"""Shapes in letters: T positions, L positions of one sequence, D width, B sequences, V ids, K outputs."""

from __future__ import annotations

from dataclasses import dataclass

_MOST_TIMES = 16
_MOST_SPECIAL = 2
_PARTS = (2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class ShapeLetters:
    """What the numbers of a shape stand for."""

    positions: int
    width: int
    last: tuple[int, str] | None = None
    """Of the head: its outputs and their letter."""

    def letters(self, shape: tuple[int, ...]) -> tuple[str, ...]:
        """Each number as a letter, a multiple or an even part of one, or itself."""
        return tuple(self._letter(size, index, len(shape)) for index, size in enumerate(shape))

    def width_letter(self, size: int) -> str:
        """A number that is a width for certain."""
        return _multiple(size, self.width, "D") or str(size)

    def _letter(self, size: int, index: int, dimensions: int) -> str:
        if self.last is not None and index == dimensions - 1 and size == self.last[0]:
            return self.last[1]
        if index == 0 and size == 1:
            return "B"
        letter = "T" if dimensions < 3 else "L"
        # Models of others may have fewer special tokens.
        is_whole = self.positions - _MOST_SPECIAL <= size <= self.positions
        position = letter if is_whole else _multiple(size, self.positions, letter)
        width = _multiple(size, self.width, "D")
        return (position or width if index == 0 else width or position) or str(size)


def _multiple(size: int, unit: int, letter: str) -> str | None:
    """A small multiple, or an even part, of what the letter stands for."""
    if size == unit:
        return letter
    if size % unit == 0 and size // unit <= _MOST_TIMES:
        return f"{size // unit}{letter}"
    # Halves are rounded up.
    return next((f"{letter}/{part}" for part in _PARTS if size == -(-unit // part)), None)
