"""Local alignments of many pairs at once: score, identical columns, and what of the shorter sequence is covered."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqtrain.errors import InputError
from seqtrain.homology.in_order import in_order
from seqtrain.homology.scoring import Scoring
from seqtrain.letters import PackedLetters

_FIELD = 20
"""Bits of a field of the key; what an alignment of up to 2^20 - 1 letters can count."""
LONGEST = (1 << _FIELD) - 1
"""Letters of a sequence that can be aligned; BLOSUM62 scores of such a one would also still fit."""
_CELLS_AT_ONCE = 1 << 15
"""Of an anti-diagonal over all pairs of a block: seven arrays of so many int64 stay in the cache of a core."""
_CELLS_IN_BAND = 1 << 13
"""The same in a band, the arrays of which are much longer than what is computed at a time."""


@dataclass(frozen=True, kw_only=True)
class Alignments:
    """What the best local alignment of each of P pairs is like."""

    score: NDArray[np.int64]
    """(P,)"""
    identical: NDArray[np.int64]
    """(P,) columns with the same letter on both sides."""
    covered: NDArray[np.int64]
    """(P,) letters of the shorter sequence from the first to the last column."""


def local_alignments(
    first: PackedLetters,
    second: PackedLetters,
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    scoring: Scoring,
    *,
    offsets: NDArray[np.int64] | None = None,
    band: int = 0,
    threads: int = 1,
) -> Alignments:
    """Codes of two sets and P pairs of a sequence of the first and one of the second -> the best alignment of each.

    Affine gaps (Smith & Waterman 1981, J Mol Biol 147:195; Gotoh 1982, J Mol Biol 162:705). Of alignments with the
    highest score it is the one with most identical columns, and of these one that covers most of the shorter side: the
    three numbers are fields of one integer, so that the largest integer is that alignment, and nothing is traced back.
    The shorter of two equally long sequences is the one of the first set. Memory grows with the length, not its square.

    Args:
        offsets: (P,) position in the second less position in the first, to align only near them; None: everywhere.
        band: letters on both sides of these.

    Raises:
        InputError: a sequence of more than 1,048,575 letters.
    """
    _check_lengths(first, second)
    starts, others = first.boundaries[rows], second.boundaries[columns] + len(first.letters)
    lengths, other_lengths = first.lengths[rows], second.lengths[columns]
    letters = np.concatenate([first.letters, second.letters])
    swap = other_lengths < lengths
    sides = _Sides(
        letters=letters,
        shorter=np.where(swap, others, starts),
        height=np.minimum(lengths, other_lengths),
        longer=np.where(swap, starts, others),
        width=np.maximum(lengths, other_lengths),
        offset=None if offsets is None else np.where(swap, -offsets, offsets),
        band=band,
    )
    best = np.zeros(len(starts), np.int64)
    with ThreadPoolExecutor(threads) as pool:
        blocks = _blocks(sides)
        for block, keys in in_order(pool, lambda block: (block, _block(sides, block, scoring)), blocks, threads + 1):
            best[block] = keys
    return Alignments(score=best >> 2 * _FIELD, identical=(best >> _FIELD) & LONGEST, covered=best & LONGEST)


@dataclass(frozen=True, kw_only=True)
class _Sides:
    """Pairs as the aligner sees them: the shorter side goes down, the longer one across."""

    letters: NDArray[np.uint8]
    shorter: NDArray[np.int64]
    height: NDArray[np.int64]
    longer: NDArray[np.int64]
    width: NDArray[np.int64]
    offset: NDArray[np.int64] | None
    band: int


def _check_lengths(first: PackedLetters, second: PackedLetters) -> None:
    longest = max(int(first.lengths.max(initial=0)), int(second.lengths.max(initial=0)))
    if longest > LONGEST:
        raise InputError(
            f"a sequence of {longest:,} letters cannot be aligned; cut sequences into parts of at most {LONGEST:,}"
        )


def _blocks(sides: _Sides) -> Iterator[NDArray[np.int64]]:
    """Pairs of nearly the same shape, as many as are aligned together: a block is as large as its largest pair."""
    # Heights that differ by a tenth are one: else the widths of neighbours would differ at random.
    tenths = np.floor(np.log(np.maximum(sides.height, 1)) / np.log(1.1)).astype(np.int64)
    order = np.lexsort((sides.width, tenths) if sides.offset is None else (sides.height,))
    tenths, height, width = tenths[order], sides.height[order], sides.width[order]
    first = 0
    while first < len(order):
        if sides.offset is None:
            last = first + max(1, _CELLS_AT_ONCE // max(int(height[first]), 1))
            alike = (tenths[first:last] == tenths[first]) & (width[first:last] <= width[first] * 1.25 + 8)
        else:
            last = first + max(1, _CELLS_IN_BAND // max(min(int(height[first]), sides.band), 1))
            alike = height[first:last] <= height[first] * 1.1 + 4
        last = first + (int(alike.argmin()) if not alike.all() else len(alike))
        yield order[first:last]
        first = last


def _field_and_type(num_rows: int, best_score: int) -> tuple[int, type[np.int32] | type[np.int64]]:
    """Bits of a field, and the smallest integer that holds three of them."""
    bits = num_rows.bit_length()
    if num_rows * best_score << 2 * bits < 1 << 31:
        return bits, np.int32
    return _FIELD, np.int64


def _table(scoring: Scoring, field: int, kind: type[np.int32] | type[np.int64]) -> NDArray[Any]:
    """(C + 1)^2 what the key gains by a column of two codes; the last code is the filler, which ends any alignment."""
    size = len(scoring.scores) + 1
    table = np.full((size, size), -(1 << 9) << 2 * field if kind is np.int64 else np.iinfo(np.int32).min // 2, kind)
    table[:-1, :-1] = scoring.scores << 2 * field
    standard = np.arange(scoring.num_standard)
    table[standard, standard] += 1 << field
    return table.ravel()


def _laid_out(
    letters: NDArray[np.uint8],
    starts: NDArray[np.int64],
    lengths: NDArray[np.int64],
    places: NDArray[np.int64],
    filler: int,
) -> NDArray[np.intp]:
    """Codes at places (L, P) of P sequences, and the filler where a place is outside of its sequence."""
    inside = (places >= 0) & (places < lengths)
    return np.where(inside, letters[np.where(inside, starts + places, 0)], filler).astype(np.intp)


def _block(sides: _Sides, block: NDArray[np.int64], scoring: Scoring) -> NDArray[np.int64]:
    """(P,) the best key of each pair of a block.

    Keys are kept less the row they stand in, so that going down a row counts a covered letter for nothing; a fresh
    alignment then begins at minus its row.
    """
    height, width = sides.height[block], sides.width[block]
    num_rows = int(height.max(initial=0))
    if not num_rows:
        return np.zeros(len(block), np.int64)
    field, kind = _field_and_type(num_rows, int(scoring.scores.max()))
    size = len(scoring.scores) + 1
    down_places = np.arange(num_rows)[:, None] + np.zeros(len(block), np.int64)
    across_places: NDArray[np.int64] = np.arange(int(width.max()))[::-1, None] + np.zeros(len(block), np.int64)
    if sides.offset is not None:
        across_places = np.arange(num_rows + 2 * sides.band)[::-1, None] + (sides.offset[block] - sides.band)
    keys = _best_keys(
        _laid_out(sides.letters, sides.shorter[block], height, down_places, size - 1) * size,
        _laid_out(sides.letters, sides.longer[block], width, across_places, size - 1),
        _table(scoring, field, kind),
        kind(scoring.gap_open << 2 * field),
        kind(scoring.gap_extend << 2 * field),
        None if sides.offset is None else 2 * sides.band,
    )
    part = (1 << field) - 1
    return keys >> 2 * field << 2 * _FIELD | (keys >> field & part) << _FIELD | keys & part


def _best_keys(
    down: NDArray[np.intp],
    across: NDArray[np.intp],
    table: NDArray[Any],
    open_cost: Any,
    extend_cost: Any,
    band: int | None,
) -> NDArray[np.int64]:
    """Rows (R, P) and reversed columns (C, P) of P pairs -> (P,) best keys, anti-diagonal by anti-diagonal.

    Args:
        band: if given, only cells in columns row … row + band.
    """
    num_rows, num_columns, kind = len(down), len(across), table.dtype.type
    # Row r is letter r - 1 of the shorter side; row 0 is the edge.
    fresh = np.repeat(-np.arange(num_rows + 1, dtype=kind)[:, None], down.shape[1], axis=1)
    before, last, new, best = (fresh.copy() for _ in range(4))
    opened, stepped, index = np.empty_like(fresh), np.empty_like(fresh), np.empty(fresh.shape, np.intp)
    gap_across = np.full_like(fresh, np.iinfo(kind).min // 2)
    gap_down, new_gap_down = gap_across.copy(), gap_across.copy()
    for diagonal in range(num_rows + num_columns - 1):
        low, high = max(0, diagonal - num_columns + 1), min(num_rows - 1, diagonal) + 1
        if band is not None:
            low, high = max(low, (diagonal - band + 1) // 2), min(high, diagonal // 2 + 1)
            # Above the topmost cell may be what was left by a cell of three diagonals ago.
            last[low], gap_down[low] = fresh[low], gap_across.dtype.type(np.iinfo(kind).min // 2)
        here, above = slice(low + 1, high + 1), slice(low, high)
        shift = num_columns - 1 - diagonal
        np.add(down[low:high], across[low + shift : high + shift], out=index[here])
        np.take(table, index[here], out=stepped[here], mode="clip")
        stepped[here] += before[above]
        np.subtract(last[low : high + 1], open_cost, out=opened[low : high + 1])
        gap_across[here] -= extend_cost
        np.maximum(gap_across[here], opened[here], out=gap_across[here])
        np.subtract(gap_down[above], extend_cost, out=new_gap_down[here])
        np.maximum(new_gap_down[here], opened[above], out=new_gap_down[here])
        np.maximum(stepped[here], gap_across[here], out=stepped[here])
        np.maximum(stepped[here], new_gap_down[here], out=stepped[here])
        np.maximum(stepped[here], fresh[here], out=new[here])
        np.maximum(best[here], new[here], out=best[here])
        before, last, new = last, new, before
        gap_down, new_gap_down = new_gap_down, gap_down
    found: NDArray[np.int64] = (best - fresh).max(axis=0).astype(np.int64)
    return found
