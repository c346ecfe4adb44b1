"""Where pairs to align come from: all there are, words in common, or MMseqs2."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from seqtrain.errors import InputError
from seqtrain.homology.diagonals import ungapped_scores
from seqtrain.homology.judge import Candidates, Judge
from seqtrain.homology.mmseqs import find_mmseqs, mmseqs_hits, mmseqs_version
from seqtrain.homology.scoring import scoring_of
from seqtrain.homology.seeds import shared_diagonals, words_of
from seqtrain.homology.threads import num_threads
from seqtrain.letters import PackedLetters

_ALL_CELLS = 50_000_000_000
"""Cells of all alignments up to which all pairs are aligned: 2,000 sequences of 150 letters, 3 minutes of a core."""
_ALL_PAIRS = 5_000_000
_SAID_CELLS = 1e9
"""Cells from which on it is said that alignments begin: some seconds of a core."""
_LARGE = 60_000_000
"""Letters from which on MMseqs2 is preferred where it is installed: words that are frequent are compared with fewer of
their like from about 40 M letters on."""
_ALIKE = 0.5
"""Identity from which on words find all pairs; only a fiftieth of the cells is then spent on certainty."""
_PARTNERS = 100
"""Of a sequence, that are kept of those that words propose."""


def proposed(
    queries: PackedLetters,
    targets: PackedLetters | None,
    judge: Judge,
    say: Callable[[str], None] | None,
    *,
    most_cells: float = _ALL_CELLS,
) -> Candidates:
    """Pairs that may be similar; of the queries among themselves, each once, where no targets are given.

    Args:
        most_cells: of all alignments, up to which all pairs are proposed.

    Raises:
        InputError: MMseqs2 is asked for and not installed, or for letters that are no protein's.
    """
    method = judge.similarity.method
    others = queries if targets is None else targets
    letters = len(queries.letters) + (0 if targets is None else len(targets.letters))
    if method == "mmseqs" and judge.alphabet.name != "protein":
        raise InputError(f"method mmseqs is for proteins, not for {judge.alphabet.name}; choose built-in")
    program = find_mmseqs() if judge.alphabet.name == "protein" else None
    if method == "mmseqs" and program is None:
        raise InputError("method mmseqs: the program mmseqs is not on the PATH; install MMseqs2, or choose built-in")
    pairs = len(queries) * (len(queries) - 1) // 2 if targets is None else len(queries) * len(targets)
    cells = float(queries.lengths.sum()) * float(others.lengths.sum()) / (2 if targets is None else 1)
    all_cells = most_cells / (50 if judge.similarity.least_identity >= _ALIKE else 1)
    if method != "mmseqs" and pairs <= _ALL_PAIRS and cells <= all_cells:
        found = _all(queries, targets)
    elif program is not None and (method == "mmseqs" or (method == "auto" and letters >= _LARGE)):
        if say is not None:
            say(f"looking for similar sequences with MMseqs2 {mmseqs_version(program)}")
        query, target, score = mmseqs_hits(program, queries, targets, judge.alphabet, num_threads())
        found = Candidates(
            query=query,
            target=target,
            offset=None,
            promise=score,
            complete=False,
            how=f"pairs from MMseqs2 {mmseqs_version(program)}, aligned again",
        )
    else:
        if say is not None:
            say(f"looking for words in common among {pairs:,} pairs of sequences")
        found = _by_words(queries, targets, judge)
    if say is not None and cells * len(found) > _SAID_CELLS * pairs:
        say(f"aligning {len(found):,} of {pairs:,} pairs of sequences: {found.how}")
    return found


def _all(queries: PackedLetters, targets: PackedLetters | None) -> Candidates:
    if targets is None:
        first, second = np.triu_indices(len(queries), 1)
    else:
        first, second = np.divmod(np.arange(len(queries) * len(targets)), max(len(targets), 1))
    return Candidates(
        query=first.astype(np.int64),
        target=second.astype(np.int64),
        offset=None,
        promise=np.zeros(len(first)),
        complete=True,
        how="all pairs aligned",
    )


def _by_words(queries: PackedLetters, targets: PackedLetters | None, judge: Judge) -> Candidates:
    """Pairs with two words and a good stretch on one diagonal, and the best such diagonal of each."""
    words, scoring = words_of(judge.alphabet), scoring_of(judge.alphabet)
    codes = judge.as_codes(queries)
    other_codes = codes if targets is None else judge.as_codes(targets)
    empty = np.zeros(0, np.int64)
    parts: list[tuple[NDArray[np.int64], ...]] = [(empty, empty, empty, empty)]
    for found in shared_diagonals(queries, targets, words, num_threads()):
        scores = ungapped_scores(codes, other_codes, found, scoring)
        shorter = np.minimum(codes.lengths[found.query], other_codes.lengths[found.target])
        good = np.flatnonzero(scores >= words.least_scores(shorter, judge.similarity.least_identity))
        # The best diagonal of each pair, of equals the lowest.
        order = good[np.lexsort((found.offset[good], -scores[good], found.target[good], found.query[good]))]
        query, target = found.query[order], found.target[order]
        leads = np.ones(len(order), np.bool_)
        leads[1:] = (query[1:] != query[:-1]) | (target[1:] != target[:-1])
        order = order[leads]
        parts.append((found.query[order], found.target[order], found.offset[order], scores[order]))
    query, target, offset, score = (np.concatenate(each) for each in zip(*parts, strict=True))
    shorter = np.minimum(codes.lengths[query], other_codes.lengths[target])
    return Candidates(
        query=query,
        target=target,
        offset=offset,
        promise=score / np.maximum(shorter, 1),
        complete=False,
        how="those with words in common",
    ).best_per_query(_PARTNERS)
