"""Unaligned members of a family on common columns: a centre star on the medoid.

Every member is aligned to the one that is most like all others (Gusfield 1993, Bull Math Biol 55:141-154), with the
matrix and the gap costs of EMBOSS needle: BLOSUM62, 10 for the first letter of a gap, 0.5 for each further one, nothing
at the ends. Its letters are the columns. Programs for multiple alignment go on from there and correct themselves by
profiles; for a family below 40 % identity give their alignment instead.
"""

# mypy: allow-untyped-calls
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqtrain.alphabet import PROTEIN
from seqtrain.augment.profile_alignment import Alignment
from seqtrain.draws import fold, permuted
from seqtrain.errors import InputError
from seqtrain.generate.family import GAP, Family, symbols_of

LEAST_IDENTITY = 0.3
"""Of the letters of the shorter one. In the twilight zone, 20 to 35 % (Rost 1999, Protein Eng 12:85-94), most pairs are
not related; of global alignments of unrelated proteins, one in twenty reaches 0.3."""
LONGEST = 4_000
"""Letters. Time and memory grow with the square: two of these take 16 M cells."""
_MAX_CANDIDATES = 30


def align_family(
    sequences: Sequence[str],
    identifiers: Sequence[str],
    name: str,
    *,
    least_identity: float = LEAST_IDENTITY,
    seed: int = 0,
) -> tuple[Family, list[int]]:
    """The members that can be aligned, and which ones these are; the others are less alike, or too long.

    Raises:
        InputError: fewer than two can be aligned; says what identity was found.
    """
    usable = [index for index, text in enumerate(sequences) if 0 < len(text) <= LONGEST]
    if len(usable) < 2:
        raise InputError(
            f"{name}: {len(usable)} of {len(sequences)} members have at most {LONGEST:,} letters; give their common "
            "domain"
        )
    texts = [_scorable(sequences[index]) for index in usable]
    aligner = _aligner()
    centre = _medoid(texts, aligner, fold(seed, "medoid", name))
    rows, insertions, alike = [], [], []
    for text, index in zip(texts, usable, strict=True):
        columns, pieces, same = _on_reference(texts[centre], text, sequences[index].upper(), aligner)
        rows.append(columns)
        insertions.append(pieces)
        alike.append(same / min(len(text), len(texts[centre])))
    near = [place for place, identity in enumerate(alike) if identity >= least_identity]
    others = [identity for place, identity in enumerate(alike) if place != centre]
    if len(near) < 2:
        raise InputError(
            f"{name}: too diverse to align: the members have {min(others):.0%} to {max(others):.0%} identity to the "
            f"one most like them, and {least_identity:.0%} is asked for (--least-identity); give an alignment, or "
            "choose a class that is one family"
        )
    family = _joined(
        name,
        [identifiers[usable[place]] for place in near],
        np.stack([rows[place] for place in near]),
        [insertions[place] for place in near],
        texts[centre],
        float(np.mean([alike[place] for place in near if place != centre])),
    )
    return family, [usable[place] for place in near]


def align_to(reference: str, sequences: Sequence[str]) -> tuple[NDArray[np.uint8], tuple[tuple[str, ...], ...]]:
    """(N, C) symbols of sequences on the columns of a reference of C letters, and what lies between the columns."""
    aligner = _aligner()
    found = [_on_reference(reference, _scorable(text), text.upper(), aligner) for text in sequences]
    symbols = np.stack([row for row, _, _ in found]) if found else np.zeros((0, len(reference)), np.uint8)
    return symbols, tuple(pieces for _, pieces, _ in found)


def _joined(
    name: str,
    identifiers: Sequence[str],
    symbols: NDArray[np.uint8],
    insertions: Sequence[tuple[str, ...]],
    centre: str,
    mean_identity: float,
) -> Family:
    """Without the columns in which half of the members or more have a gap; their letters become insertions."""
    kept = (symbols == GAP).sum(axis=0) * 2 < len(symbols)
    moved = []
    for row, pieces in zip(symbols, insertions, strict=True):
        joined, piece = [], pieces[0]
        for column, keep in enumerate(kept.tolist()):
            if keep:
                joined.append(piece)
                piece = ""
            elif row[column] < GAP:
                piece += PROTEIN.standard[int(row[column])]
            piece += pieces[column + 1]
        moved.append((*joined, piece))
    return Family(
        name=name,
        identifiers=tuple(identifiers),
        symbols=symbols[:, kept],
        insertions=tuple(moved),
        reference="".join(np.array(list(centre))[kept].tolist()),
        mean_identity=mean_identity,
    )


def _medoid(texts: Sequence[str], aligner: Any, key: int) -> int:
    """The text whose scores with all others, or with 30 of them, sum to most."""
    count = len(texts)
    chosen: list[int] = permuted(np.arange(min(count, _MAX_CANDIDATES)), count, key).tolist()
    sums = dict.fromkeys(chosen, 0.0)
    for place, first in enumerate(chosen):
        for second in chosen[:place]:
            score = aligner.score(texts[first], texts[second])
            sums[first] += score
            sums[second] += score
    # Of equals the first in the file, whatever the order in which they were drawn.
    return min(sums, key=lambda index: (-sums[index], index))


def _on_reference(
    reference: str, text: str, letters: str, aligner: Any
) -> tuple[NDArray[np.uint8], tuple[str, ...], int]:
    """A sequence on the C columns of a reference: (C,) symbols, C + 1 insertions, and how many letters are the same.

    Args:
        text: the sequence as the matrix can score it.
        letters: the sequence as it is.
    """
    symbols = symbols_of(np.frombuffer(letters.encode("latin-1", "replace"), np.uint8))
    columns = np.full(len(reference), GAP, dtype=np.uint8)
    pieces = [""] * (len(reference) + 1)
    column = position = 0
    targets, queries = aligner.align(reference, text)[0].aligned
    for (start, stop), (first, last) in [
        *zip(targets, queries, strict=True),
        ((len(reference),) * 2, (len(text),) * 2),
    ]:
        extra = symbols[position:first]
        pieces[column] = "".join(PROTEIN.standard[index] for index in extra[extra < GAP].tolist())
        columns[start:stop] = symbols[first:last]
        column, position = int(stop), int(last)
    own = symbols_of(np.frombuffer(reference.encode(), np.uint8))
    return columns, tuple(pieces), int(((columns == own) & (columns < GAP)).sum())


def _scorable(text: str) -> str:
    """Upper case, with X for every letter that the matrix does not score as itself."""
    return "".join(letter if letter in PROTEIN.standard else "X" for letter in text.upper())


def _aligner() -> Any:
    from Bio.Align import PairwiseAligner, substitution_matrices

    aligner = PairwiseAligner()
    aligner.mode = "global"
    aligner.substitution_matrix = substitution_matrices.load("BLOSUM62")
    aligner.open_gap_score = -10
    aligner.extend_gap_score = -0.5
    aligner.end_gap_score = 0
    return aligner


def is_aligned(sequences: Sequence[str]) -> bool:
    """Whether texts have gaps, so that they must be rows of an alignment."""
    return any("-" in text or "." in text for text in sequences)


def family_of(sequences: Sequence[str], identifiers: Sequence[str], name: str, seed: int = 0) -> Family:
    """Texts as a family: aligned already where some have gaps, else aligned here.

    Raises:
        InputError: rows of different lengths, letters that are none, or members that cannot be aligned.
    """
    for identifier, text in zip(identifiers, sequences, strict=True):
        odd = text.upper().encode("latin-1", "replace").translate(None, PROTEIN.accepted)
        if odd or not text:
            found = repr(odd[:1].decode("latin-1")) if odd else "no letters"
            raise InputError(f"{name}: sequence {identifier!r} has {found}; give proteins in one-letter code")
    if not is_aligned(sequences):
        return align_family(sequences, identifiers, name, seed=seed)[0]
    lengths = {len(text) for text in sequences}
    if len(lengths) > 1:
        raise InputError(
            f"{name}: gaps in sequences of {min(lengths)} to {max(lengths)} columns; give rows of one length, or take "
            "the gaps out"
        )
    letters = np.frombuffer("".join(sequences).upper().replace(".", "-").encode(), np.uint8)
    return Family.from_alignment(
        Alignment(
            name=name,
            identifiers=tuple(identifiers),
            letters=letters.reshape(len(sequences), -1),
            alphabet=PROTEIN,
        )
    )
