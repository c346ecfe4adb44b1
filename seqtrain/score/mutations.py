"""The notation of mutations, and what it makes of a wild type.

``A24G`` replaces the A at position 24 by G, and several are joined by ``:``, ``,``, ``;`` or ``/``. Deletions and
insertions are written as in HGVS with one-letter codes (den Dunnen et al. 2016, Hum Mutat 37:564-569): ``A24del``,
``A24_L30del``, ``A24_L25insGG``, ``A24delinsGG``, ``A24_L30delinsGG``. ``WT`` and ``_wt`` are the wild type itself, and
``A24A`` or ``A24=`` change nothing. A letter of codons is three bases, as in ``ATG1GTG``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from seqtrain.alphabet import Alphabet
from seqtrain.errors import InputError

WILD_TYPE = "WT"
_WILD_TYPE_WORDS = ("wt", "_wt", "wildtype", "wild_type", "wild-type")
_SEPARATORS = re.compile(r"[:,;/]")
_FORMS = "write A24G, A24G:L30V, A24del, A24_L30del, A24_L25insGG, A24_L30delinsGG or WT"
_MOST_COMPARED = 4000


class MismatchError(InputError):
    """A mutation that does not fit its wild type; at another offset it might."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """Letters ``first`` to ``last`` of a wild type, counted from 1 as its author does, replaced by others."""

    text: str
    first: int
    last: int
    """first - 1 for an insertion before ``first``."""
    stated: tuple[tuple[int, str], ...]
    """(position, letter) that the text says the wild type has."""
    inserted: tuple[str, ...] | None
    """The new letters; None: those that were there."""


@dataclass(frozen=True, kw_only=True)
class Edit:
    """Letters start to stop of a wild type, counted from 0, replaced by others."""

    start: int
    stop: int
    inserted: bytes


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A wild type with edits, which are in order and do not overlap; without any it is the wild type."""

    wild_type: bytes
    """L letters."""
    edits: tuple[Edit, ...] = ()

    @cached_property
    def sequence(self) -> bytes:
        """The letters after all edits."""
        parts, at = [], 0
        for edit in self.edits:
            parts += [self.wild_type[at : edit.start], edit.inserted]
            at = edit.stop
        return b"".join([*parts, self.wild_type[at:]])

    @cached_property
    def substitutions(self) -> tuple[tuple[int, int], ...] | None:
        """(position from 0, new letter) where letters are only replaced; None where some are inserted or deleted."""
        if any(edit.stop - edit.start != len(edit.inserted) for edit in self.edits):
            return None
        pairs = [(edit.start + i, letter) for edit in self.edits for i, letter in enumerate(edit.inserted)]
        return tuple((position, letter) for position, letter in pairs if self.wild_type[position] != letter)


@dataclass(frozen=True, kw_only=True)
class Notation:
    """Reads and writes mutations in the letters of one alphabet."""

    alphabet: Alphabet

    @cached_property
    def _patterns(self) -> tuple[re.Pattern[str], re.Pattern[str]]:
        letter = r"[A-Z]{3}" if self.alphabet.bases_per_letter == 3 else r"[A-Z*]"
        replaced = re.compile(rf"({letter})(\d+)((?!del){letter}|[=\-.?])", re.IGNORECASE)
        ranged = re.compile(
            rf"({letter})(\d+)(?:_({letter})(\d+))?(?:(del)|(ins|delins)((?:{letter})+))", re.IGNORECASE
        )
        return replaced, ranged

    def parse(self, text: str) -> tuple[Change, ...]:
        """The changes of a text, none for the wild type.

        Raises:
            InputError: a text of another form; says which forms there are.
        """
        text = text.strip()
        if text.lower() in _WILD_TYPE_WORDS:
            return ()
        return tuple(self._change(part.strip(), text) for part in _SEPARATORS.split(text.removeprefix("p.")))

    def can_parse(self, text: str) -> bool:
        """Whether a text has one of the forms."""
        try:
            self.parse(text)
        except InputError:
            return False
        return True

    def _change(self, part: str, text: str) -> Change:
        replaced, ranged = self._patterns
        found = replaced.fullmatch(part)
        if found:
            position, new = int(found[2]), found[3].upper()
            return Change(
                text=part,
                first=position,
                last=position,
                stated=((position, found[1].upper()),),
                inserted=None if new == "=" else (new,),
            )
        found = ranged.fullmatch(part)
        if not found:
            raise InputError(f"{text!r} is no mutation; {_FORMS}" if text else f"an empty mutation; {_FORMS}")
        first, last = int(found[2]), int(found[4] or found[2])
        stated = ((first, found[1].upper()), (last, (found[3] or found[1]).upper()))[: 2 if found[4] else 1]
        new_letters = self._letters((found[7] or "").upper())
        if (found[6] or "").lower() == "ins":
            if not found[4] or last != first + 1:
                raise InputError(f"{part}: letters are inserted between two neighbours; write it as A24_L25insGG")
            return Change(text=part, first=last, last=first, stated=stated, inserted=new_letters)
        if last < first:
            raise InputError(f"{part}: ends at {last}, before it begins at {first}; write the smaller position first")
        return Change(text=part, first=first, last=last, stated=stated, inserted=new_letters)

    def _letters(self, text: str) -> tuple[str, ...]:
        size = self.alphabet.bases_per_letter
        return tuple(text[i : i + size] for i in range(0, len(text), size))

    def letter(self, text: str) -> int | None:
        """The letter that a text stands for; None where it is none of the alphabet's standard letters."""
        if set(text.encode()) - set(self.alphabet.accepted):
            return None
        letter = int(self.alphabet.pack(text.encode())[0])
        return letter if letter in self.alphabet.standard_letters else None

    def text(self, letters: bytes | int) -> str:
        """Letters as they are written."""
        raw = bytes([letters]) if isinstance(letters, int) else letters
        return self.alphabet.text(np.frombuffer(raw, np.uint8))

    def written(self, variant: Variant) -> str:
        """A variant that only replaces letters, as text; "" where it inserts or deletes some."""
        if variant.substitutions is None:
            return ""
        parts = [
            f"{self.text(variant.wild_type[position])}{position + 1}{self.text(letter)}"
            for position, letter in variant.substitutions
        ]
        return ":".join(parts) or WILD_TYPE

    def placed(self, changes: Sequence[Change], name: str, wild_type: bytes, offset: int) -> Variant:
        """The variant that changes make of a wild type; ``offset`` is added to their positions.

        Raises:
            InputError: a position that is not there, a letter that does not match or is not standard, changes that
                overlap, or nothing left of the sequence.
        """
        edits = []
        for change in changes:
            self._check(change, name, wild_type, offset)
            start, stop = change.first - 1 + offset, change.last + offset
            new = wild_type[start:stop] if change.inserted is None else self._packed(change)
            edits.append(Edit(start=start, stop=stop, inserted=new))
        edits.sort(key=lambda edit: (edit.start, edit.stop))
        for one, other in pairwise(edits):
            if other.start < one.stop or other.start == one.start:
                raise InputError(
                    f"{':'.join(each.text for each in changes)}: position {other.start + 1 - offset} is changed twice; "
                    "write each change once"
                )
        variant = Variant(wild_type=wild_type, edits=tuple(edits))
        if not variant.sequence:
            raise InputError(f"{changes[0].text}: nothing is left of {name}; delete less of it")
        return variant

    def _packed(self, change: Change) -> bytes:
        assert change.inserted is not None
        letters = [self.letter(text) for text in change.inserted]
        for letter, text in zip(letters, change.inserted, strict=True):
            if letter is None:
                standard = "" if self.alphabet.bases_per_letter == 3 else f" ({self.alphabet.standard})"
                raise InputError(
                    f"{change.text}: {text!r} is none of the standard {self.alphabet.name} letters{standard}, and only "
                    "those have a probability here; leave the row out"
                )
        return bytes(letter for letter in letters if letter is not None)

    def _check(self, change: Change, name: str, wild_type: bytes, offset: int) -> None:
        for position, text in change.stated:
            index = position + offset - 1
            if not 0 <= index < len(wild_type):
                shifted = f" ({position + offset} with --offset {offset})" if offset else ""
                side = "beyond the end" if index >= 0 else "before the beginning"
                raise MismatchError(f"{change.text}: position {position}{shifted} is {side} of {name}, which has "
                                 f"{len(wild_type):,} letters")  # fmt: skip
            if self.letter(self.text(wild_type[index])) is None:
                raise InputError(
                    f"{change.text}: {name} has the odd letter {self.text(wild_type[index])} at position {index + 1}, "
                    "which has no probability; leave the row out"
                )
            if self.letter(text) != wild_type[index]:
                shifted = f" (position {position} with --offset {offset})" if offset else ""
                raise MismatchError(
                    f"{change.text} expects {text} at position {index + 1} of {name}{shifted}, which has "
                    f"{self.text(wild_type[index])} there"
                )


def singles(wild_type: bytes, alphabet: Alphabet) -> Iterable[Variant]:
    """Every replacement of one standard letter by another, 19 per residue, position by position.

    Odd letters are not replaced. Of codons those that stop in the standard code are neither replaced nor put in.
    """
    letters = [int(letter) for letter in alphabet.standard_letters if alphabet.replaceable[letter]]
    for position, old in enumerate(wild_type):
        if old in letters:
            for new in letters:
                if new != old:
                    edit = Edit(start=position, stop=position + 1, inserted=bytes([new]))
                    yield Variant(wild_type=wild_type, edits=(edit,))


def best_offset(stated: Mapping[tuple[int, int], int], wild_type: bytes) -> tuple[int, int]:
    """What added to positions makes most stated letters match, the nearest to 0 of several, and how many then do.

    Args:
        stated: how often each (position from 1, letter) is stated; the most frequent 4,000 are compared.
    """
    common = sorted(stated.items(), key=lambda item: -item[1])[:_MOST_COMPARED]
    there = np.frombuffer(wild_type, np.uint8)
    places = {letter: np.flatnonzero(there == letter).tolist() for letter in {letter for (_, letter), _ in common}}
    # Only offsets by which something matches, however far apart the positions are.
    matching: Counter[int] = Counter()
    for (position, letter), count in common:
        for place in places[letter]:
            matching[place + 1 - position] += count
    return min(matching.items(), key=lambda item: (-item[1], abs(item[0]), item[0]), default=(0, 0))
