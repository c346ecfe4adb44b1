"""How letters score against each other in an alignment, per alphabet."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from seqtrain.alphabet import Alphabet

_AS_CYSTEINE_AND_LYSINE = {"U": "C", "O": "K"}
_MATCH_MISMATCH_OPEN_EXTEND = {"dna": (2, -3, 5, 2), "rna": (2, -3, 5, 2), "codon": (5, -1, 8, 1)}


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """Substitution scores and gap costs, over codes instead of letters."""

    codes: NDArray[np.uint8]
    """(256,) code of each letter byte, 0 … A - 1 for the standard letters, above them for odd ones."""
    scores: NDArray[np.int64]
    """(C, C) score of two codes."""
    num_standard: int
    """A: only codes below it can be identical columns; two unknown letters are not known to be the same."""
    gap_open: int
    """Cost of the first letter of a gap, …"""
    gap_extend: int
    """… and of each further one."""


@cache
def scoring_of(alphabet: Alphabet) -> Scoring:
    """Proteins: BLOSUM62 (Henikoff & Henikoff 1992, PNAS 89:10915), gaps 11 and 1; U is scored as C, O as K, and what
    the matrix does not know as X. DNA and RNA: 2 and -3, gaps 5 and 2, the reward, penalty and costs of BLASTN (Camacho
    et al. 2009, BMC Bioinformatics 10:421), here with the first letter of a gap costing 5. Codons: 5 and -1, gaps 8 and
    1, so that an alignment goes on where 3 of 10 codons are the same and stops where they agree by chance.
    """
    standard = alphabet.standard_letters
    if alphabet.name != "protein":
        match, mismatch, gap_open, gap_extend = _MATCH_MISMATCH_OPEN_EXTEND[alphabet.name]
        codes = np.full(256, len(standard), np.uint8)
        codes[standard] = np.arange(len(standard))
        scores = np.full((len(standard) + 1,) * 2, mismatch, np.int64)
        np.fill_diagonal(scores[:-1, :-1], match)
        # An unknown letter is neither for nor against: below 0, or unknown stretches would be aligned for nothing.
        scores[-1, :] = scores[:, -1] = -1
        return Scoring(codes=codes, scores=scores, num_standard=len(standard), gap_open=gap_open, gap_extend=gap_extend)
    from Bio.Align import substitution_matrices

    matrix = substitution_matrices.load("BLOSUM62")  # type: ignore[no-untyped-call]
    letters = alphabet.standard + "BZX"
    codes = np.full(256, letters.index("X"), np.uint8)
    for code, letter in enumerate(letters):
        codes[ord(letter)] = code
    for letter, stand_in in _AS_CYSTEINE_AND_LYSINE.items():
        codes[ord(letter)] = letters.index(stand_in)
    scores = np.array([[int(matrix[one, other]) for other in letters] for one in letters], np.int64)
    return Scoring(codes=codes, scores=scores, num_standard=len(standard), gap_open=11, gap_extend=1)
