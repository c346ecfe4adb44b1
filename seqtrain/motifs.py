"""Motifs of sequences in the notation of PROSITE, looked for in all sequences of a batch at once."""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from torch import Tensor

from seqtrain.errors import InputError
from seqtrain_data.tables import table_path

_ELEMENT = re.compile(r"(x|[A-Z]|\[[A-Z]+\]|\{[A-Z]+\})(?:\((\d+)(?:(?:,|\.\.)(\d+))?\))?")
_MOST = 100
"""Letters that one element may match in a row."""


@dataclass(frozen=True, kw_only=True)
class Element:
    """Some letters in a row, each of them one of a few."""

    letters: frozenset[str] | None
    """None for any."""
    excluded: bool = False
    """The letters are those that may not stand here."""
    least: int = 1
    most: int = 1

    def table(self) -> Tensor:
        """(256,) bool: whether each byte may stand here; never 0, which stands between sequences."""
        allowed = torch.ones(256, dtype=torch.bool)
        if self.letters is not None:
            given = torch.tensor([ord(letter) for letter in sorted(self.letters)])
            allowed[:] = self.excluded
            allowed[given] = not self.excluded
        allowed[0] = False
        return allowed


@dataclass(frozen=True, kw_only=True)
class Motif:
    """A pattern such as ``N-{P}-[ST]-{P}``."""

    name: str
    elements: tuple[Element, ...]
    at_start: bool = False
    """Only at the beginning of a sequence."""
    at_end: bool = False

    @classmethod
    def from_text(cls, text: str, letters: str, name: str | None = None) -> Motif:
        """A pattern in the notation of PROSITE; ``(2..4)`` may be written for ``(2,4)``, where a comma ends a field.

        Args:
            letters: those that sequences are written in.

        Raises:
            InputError: what is no pattern, or a letter that sequences do not have.
        """
        pattern = text.strip().rstrip(".")
        inner = pattern.removeprefix("<").removesuffix(">")
        elements = tuple(_element(part.strip(), text, letters) for part in inner.split("-"))
        return cls(
            name=name or text.strip(),
            elements=elements,
            at_start=pattern.startswith("<"),
            at_end=pattern.endswith(">"),
        )

    def present(self, letters: Tensor, segments: Tensor, num_sequences: int) -> Tensor:
        """Which sequences have it.

        Args:
            letters: (T,) uint8 of packed sequences, with a 0 before and behind each of them.
            segments: (T,) int64 the sequence of each position.

        Returns:
            (B,) bool.
        """
        found = torch.zeros(num_sequences, dtype=torch.bool, device=letters.device)
        found[segments[self.ends(letters)]] = True
        return found

    def ends(self, letters: Tensor) -> Tensor:
        """letters (T,) as in :meth:`present` -> (T,) bool, where an occurrence has its last letter."""
        index = letters.int()
        # What may come next: True where everything up to here has matched and the next element would begin.
        open_at = letters != 0
        if self.at_start:
            open_at = open_at & _shifted(letters == 0, first=True)
        for element in self.elements:
            allowed = element.table().to(letters.device)[index]
            reached = open_at
            for _ in range(element.least):
                reached = _shifted(reached & allowed)
            open_at = reached
            for _ in range(element.most - element.least):
                reached = _shifted(reached & allowed)
                open_at = open_at | reached
        if self.at_end:
            open_at = open_at & (letters == 0)
        return torch.cat((open_at[1:], open_at[:1]))


def _shifted(flags: Tensor, first: bool = False) -> Tensor:
    """(T,) moved on by one position; a 0 stands behind the last sequence, so that nothing is lost at the end."""
    return torch.cat((torch.full_like(flags[:1], first), flags[:-1]))


def _element(part: str, text: str, letters: str) -> Element:
    match = _ELEMENT.fullmatch(part)
    if match is None:
        raise InputError(
            f"motif {text!r}: {part!r} is no element of a pattern; write one letter, x, [ST] or {{P}}, with (2) or "
            "(2..4) for several in a row, joined by hyphens"
        )
    body, least, most = match[1], int(match[2] or 1), int(match[3] or match[2] or 1)
    if not 0 <= least <= most <= _MOST or most == 0:
        raise InputError(f"motif {text!r}: {part!r} must stand for 1 to {_MOST} letters, the smaller number first")
    given = None if body == "x" else frozenset(body.strip("[]{}"))
    for letter in sorted(given or ()):
        if letter not in letters:
            raise InputError(f"motif {text!r}: {letter} is none of the letters {letters}; write x for any")
    return Element(letters=given, excluded=body.startswith("{"), least=least, most=most)


def known_motifs() -> dict[str, str]:
    """The patterns that ship with the toolkit, for proteins, by name."""
    lines = table_path("motifs.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.partition(":") for line in lines if line and not line.startswith("#"))
    return {name.strip(): pattern.strip() for name, _, pattern in pairs}
