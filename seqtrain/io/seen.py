"""Which texts were met before, in 16 to 32 bytes for each."""

from __future__ import annotations

from array import array

_FIRST_PLACES = 1 << 12
_KEY_BITS = (1 << 64) - 1


class Seen:
    """Hashes of texts in an open table; a set of Python's numbers takes 100 bytes for each.

    Two of N texts that differ are taken for one with a probability of about N^2 / 2^65: one in four hundred thousand
    for ten million texts.
    """

    def __init__(self) -> None:
        self._places = array("Q", bytes(8 * _FIRST_PLACES))
        self._count = 0

    def add(self, text: str | bytes) -> bool:
        """Remember a text; True if it was met before."""
        key = hash(text) & _KEY_BITS or 1
        place = self._place_of(key)
        if self._places[place]:
            return True
        self._places[place] = key
        self._count += 1
        if 2 * self._count > len(self._places):
            self._grow()
        return False

    def _place_of(self, key: int) -> int:
        """Where a key stands, or the free place (0) where it belongs."""
        places, last = self._places, len(self._places) - 1
        place = key & last
        while places[place] not in (0, key):
            place = (place + 1) & last
        return place

    def _grow(self) -> None:
        old, self._places = self._places, array("Q", bytes(16 * len(self._places)))
        for key in old:
            if key:
                self._places[self._place_of(key)] = key
