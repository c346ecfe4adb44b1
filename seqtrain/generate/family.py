"""The members of a family on common columns, and what each has between the columns.

Symbols: 0 to 19 the standard residues in alphabetical order, 20 a gap, 21 an odd letter such as X. Shapes: N members, C
columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from seqtrain.alphabet import PROTEIN
from seqtrain.augment.profile_alignment import Alignment
from seqtrain.errors import InputError

GAP, UNKNOWN = 20, 21
NUM_SYMBOLS = 21
"""Letters and the gap; an odd letter is none of them, but a letter not known."""
_BLOCK = 1 << 24
"""Pairs of symbols that are compared at once."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Family:
    """N aligned members."""

    name: str
    """As messages show it."""
    identifiers: tuple[str, ...]
    """N names."""
    symbols: NDArray[np.uint8] = field(repr=False)
    """(N, C)."""
    insertions: tuple[tuple[str, ...], ...] = field(repr=False)
    """N times the C + 1 pieces of standard letters before, between and after the columns; most are empty."""
    reference: str
    """C letters that new sequences are aligned to."""
    mean_identity: float
    """Of the members to the one that the others were aligned to, or to the consensus of a given alignment."""

    def __len__(self) -> int:
        return len(self.symbols)

    @classmethod
    def from_alignment(cls, alignment: Alignment) -> Family:
        """The columns in which fewer than half of the rows have a gap; letters of the others become insertions.

        Raises:
            InputError: another alphabet than that of proteins, or no such column.
        """
        if alignment.alphabet.name != "protein":
            raise InputError(f"{alignment.name}: an alignment of {alignment.alphabet.name}; give one of proteins")
        kept = (alignment.letters == ord("-")).sum(axis=0) * 2 < len(alignment.letters)
        if not kept.any():
            raise InputError(f"{alignment.name}: every column is at least half gaps; align closer relatives")
        symbols = symbols_of(alignment.letters)
        insertions = tuple(_pieces(row, kept) for row in symbols)
        symbols = symbols[:, kept]
        counts = np.stack([(symbols == index).sum(axis=0) for index in range(GAP)])
        reference = "".join(PROTEIN.standard[index] for index in counts.argmax(axis=0))
        consensus = symbols_of(np.frombuffer(reference.encode(), np.uint8)[None])
        same = (symbols == consensus).sum(axis=1) / np.maximum((symbols != GAP).sum(axis=1), 1)
        return cls(
            name=alignment.name,
            identifiers=alignment.identifiers,
            symbols=symbols,
            insertions=insertions,
            reference=reference,
            mean_identity=float(same.mean()),
        )

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """The members without gaps and odd letters."""
        return tuple(map(written, self.symbols, self.insertions))

    @cached_property
    def weights(self) -> NDArray[np.float64]:
        """(N,) that sum to 1, by :meth:`Alignment.position_weights`: twins share the weight of one."""
        letters = np.frombuffer(f"{PROTEIN.standard}-X".encode(), np.uint8)[self.symbols]
        aligned = Alignment(name=self.name, identifiers=self.identifiers, letters=letters, alphabet=PROTEIN)
        return aligned.position_weights()

    def chosen(self, rows: NDArray[np.int64]) -> Family:
        """Some of the members, on the same columns."""
        return Family(
            name=self.name,
            identifiers=tuple(self.identifiers[row] for row in rows.tolist()),
            symbols=self.symbols[rows],
            insertions=tuple(self.insertions[row] for row in rows.tolist()),
            reference=self.reference,
            mean_identity=self.mean_identity,
        )


def symbols_of(letters: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Letters as bytes, of any shape, to symbols; ``-`` and ``.`` are gaps."""
    table = np.full(256, UNKNOWN, dtype=np.uint8)
    table[PROTEIN.standard_letters] = np.arange(GAP)
    table[[ord("-"), ord(".")]] = GAP
    symbols: NDArray[np.uint8] = table[letters]
    return symbols


def written(symbols: NDArray[np.uint8], insertions: Sequence[str]) -> str:
    """(C,) symbols and C + 1 pieces between them -> the sequence, without gaps and odd letters."""
    letters = f"{PROTEIN.standard}\0\0"
    pieces = [insertions[0]]
    for symbol, piece in zip(symbols.tolist(), insertions[1:], strict=True):
        pieces += (letters[symbol], piece)
    return "".join(pieces).replace("\0", "")


def identities(
    first: NDArray[np.uint8],
    first_lengths: NDArray[np.int64],
    second: NDArray[np.uint8],
    second_lengths: NDArray[np.int64],
    shared: NDArray[np.int64] | int = 0,
) -> NDArray[np.float64]:
    """(M, N) identities of M sequences with N others: equal letters in the same column over the longer length.

    Args:
        first: (M, C) symbols.
        first_lengths: (M,) letters of the whole sequences, insertions included.
        shared: letters between columns that two sequences have in common, (M, N) or one number.
    """
    equal = np.zeros((len(first), len(second)), dtype=np.int64)
    step = max(1, _BLOCK // max(second.size, 1))
    for start in range(0, len(first), step):
        block = first[start : start + step, None]
        equal[start : start + step] = ((block == second[None]) & (block < GAP)).sum(axis=2)
    longest = np.maximum(first_lengths[:, None], second_lengths[None])
    found: NDArray[np.float64] = (equal + shared) / np.maximum(longest, 1)
    return found


def _pieces(row: NDArray[np.uint8], kept: NDArray[np.bool_]) -> tuple[str, ...]:
    """The standard letters of a row outside of the columns that are kept, by the column they stand before."""
    pieces = [""] * (int(kept.sum()) + 1)
    before = np.cumsum(kept)
    for place in np.flatnonzero(~kept & (row < GAP)).tolist():
        pieces[int(before[place])] += PROTEIN.standard[int(row[place])]
    return tuple(pieces)
