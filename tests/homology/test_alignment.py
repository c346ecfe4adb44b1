"""Alignments against Biopython's aligner, which counts identical columns and covered letters as digits of its score."""

# mypy: allow-untyped-calls
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from Bio.Align import PairwiseAligner, substitution_matrices

from seqtrain.alphabet import CODON, DNA, PROTEIN, Alphabet
from seqtrain.errors import InputError
from seqtrain.homology.alignment import Alignments, local_alignments
from seqtrain.homology.scoring import scoring_of
from seqtrain.letters import PackedLetters
from seqtrain.texts import pack_texts
from tests.homology.planted import mutated, proteins

_DIGIT = 1 << 12


def _reference(letters: str, scores: dict[tuple[str, str], float], same: str, costs: tuple[int, int]) -> Any:
    """Biopython's aligner, a score of which is (score · 4096 + identical) · 4096 + covered letters of the target."""
    matrix = substitution_matrices.Array(letters, dims=2)
    for one in letters:
        for other in letters:
            bonus = _DIGIT if one == other and one in same else 0
            matrix[one, other] = scores[one, other] * _DIGIT * _DIGIT + bonus + 1
    aligner = PairwiseAligner()
    aligner.mode = "local"
    aligner.substitution_matrix = matrix
    open_cost, extend_cost = (cost * _DIGIT * _DIGIT for cost in costs)
    aligner.open_insertion_score, aligner.extend_insertion_score = -open_cost, -extend_cost
    aligner.open_deletion_score, aligner.extend_deletion_score = 1 - open_cost, 1 - extend_cost
    return aligner


def _protein_reference() -> Any:
    blosum = substitution_matrices.load("BLOSUM62")
    letters = PROTEIN.standard + "BZX"
    scores = {(one, other): float(blosum[one, other]) for one in letters for other in letters}
    return _reference(letters, scores, PROTEIN.standard, (11, 1))


def _found(texts: list[str], rows: list[int], columns: list[int], alphabet: Alphabet, **extra: Any) -> Alignments:
    scoring = scoring_of(alphabet)
    packed = pack_texts(alphabet, texts)
    codes = packed.with_letters(scoring.codes[packed.letters])
    return local_alignments(codes, codes, np.array(rows), np.array(columns), scoring, **extra)


def _all_equal(texts: list[str], alphabet: Alphabet, aligner: Any) -> None:
    rows, columns = (places.tolist() for places in np.triu_indices(len(texts), 1))
    found = _found(texts, rows, columns, alphabet)
    for place, (row, column) in enumerate(zip(rows, columns, strict=True)):
        shorter, longer = sorted((texts[row], texts[column]), key=len)
        rest, covered = divmod(int(aligner.score(shorter, longer)), _DIGIT)
        score, identical = divmod(rest, _DIGIT)
        assert (found.score[place], found.identical[place], found.covered[place]) == (score, identical, covered)


def test_proteins_are_aligned_as_biopython_does() -> None:
    roots = proteins(8, (20, 150), seed=1)
    relatives = [mutated(text, 0.3 + 0.08 * i, i, gaps=i % 4) for i, text in enumerate(roots)]
    fragments = [roots[0][5:16], roots[1][:3] + "XBZ" + roots[1][6:20], "WW", "M", "X" * 30]
    _all_equal(roots + relatives + fragments, PROTEIN, _protein_reference())


def test_long_ones_need_wider_fields_and_give_the_same() -> None:
    long = proteins(2, (600, 700), seed=2)
    _all_equal([*long, mutated(long[0], 0.5, 3, gaps=8)], PROTEIN, _protein_reference())


def test_nucleotides_are_aligned_as_biopython_does() -> None:
    draws = np.random.default_rng(4)
    texts = ["".join(draws.choice(list("ACGT"), size)) for size in (40, 60, 80)]
    texts += [texts[0][:15] + texts[0][18:], texts[1][:20] + "N" + texts[1][21:]]
    scores = {(one, other): 2.0 if one == other else -3.0 for one in "ACGT" for other in "ACGT"}
    scores |= {pair: -1.0 for one in "ACGTN" for pair in ((one, "N"), ("N", one))}
    _all_equal(texts, DNA, _reference("ACGTN", scores, "ACGT", (5, 2)))


def test_codons_count_as_letters() -> None:
    found = _found(["ATGGCTTTTAAA", "ATGGCCTTTAAA"], [0], [1], CODON)
    assert (found.score[0], found.identical[0], found.covered[0]) == (5 * 3 - 1, 3, 4)


def test_a_band_as_wide_as_the_matrix_changes_nothing_and_a_narrow_one_loses_long_gaps() -> None:
    text = proteins(1, (90, 91), seed=5)[0]
    texts = [text, mutated(text, 0.6, 6, gaps=3), text[:40] + "W" * 30 + text[40:], text[20:70]]
    rows, columns = [0, 0, 0, 1, 2], [1, 2, 3, 3, 3]
    whole = _found(texts, rows, columns, PROTEIN)
    wide = _found(texts, rows, columns, PROTEIN, offsets=np.array([0, 0, -20, -20, -20]), band=130)
    narrow = _found(texts, rows, columns, PROTEIN, offsets=np.array([0, 0, -20, -20, -20]), band=10)
    assert wide.score.tolist() == whole.score.tolist() and wide.identical.tolist() == whole.identical.tolist()
    assert narrow.score[0] == whole.score[0] and narrow.score[1] < whole.score[1]
    assert (narrow.score <= whole.score).all()


def test_threads_and_neighbours_change_nothing() -> None:
    texts = proteins(12, (5, 60), seed=7)
    rows, columns = (places.tolist() for places in np.triu_indices(12, 1))
    together = _found(texts, rows, columns, PROTEIN, threads=3)
    alone = [_found(texts, [row], [column], PROTEIN).score[0] for row, column in zip(rows, columns, strict=True)]
    assert together.score.tolist() == alone


def test_a_sequence_that_no_key_can_count_is_refused_in_one_line() -> None:
    giant = PackedLetters.from_sequences([np.full(1 << 20, 65, np.uint8)])
    with pytest.raises(InputError, match=r"1,048,576 letters cannot be aligned; cut"):
        local_alignments(giant, giant, np.array([0]), np.array([0]), scoring_of(PROTEIN))
