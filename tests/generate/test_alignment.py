"""Members on common columns: nothing is lost, and pairs are aligned as Biopython aligns them."""

from __future__ import annotations

import numpy as np
import pytest
from Bio.Align import PairwiseAligner, substitution_matrices

from seqtrain.augment.profile_alignment import read_alignment
from seqtrain.errors import InputError
from seqtrain.generate.family import GAP, UNKNOWN, Family, identities, symbols_of, written
from seqtrain.generate.star_alignment import LONGEST, align_family, align_to, family_of
from tests.corpora import proteins
from tests.generate.families import relatives


def names(count: int) -> list[str]:
    return [f"m{index}" for index in range(count)]


def test_members_come_back_from_their_columns() -> None:
    sequences = relatives(12)
    family, used = align_family(sequences, names(12), "made")
    assert used == list(range(12)) and family.texts == tuple(sequences)
    # The majority has neither the insertion nor the deletion, so that it makes the columns.
    assert family.symbols.shape[1] == 40 == len(family.reference)
    assert family.insertions[2].count("") == 40 and "".join(family.insertions[2]) == "GGSG"
    assert (family.symbols[1] == GAP).sum() == 3


def test_pairs_are_aligned_as_by_biopython() -> None:
    reference, text = relatives(8)[0], relatives(8)[2]
    aligner = PairwiseAligner(mode="global", open_gap_score=-10, extend_gap_score=-0.5, end_gap_score=0)
    aligner.substitution_matrix = substitution_matrices.load("BLOSUM62")
    upper, lower = list(aligner.align(reference, text)[0])
    (symbols,), (pieces,) = align_to(reference, [text])
    columns = [letter for above, letter in zip(upper, lower, strict=True) if above != "-"]
    assert symbols.tolist() == symbols_of(np.frombuffer("".join(columns).encode(), np.uint8)).tolist()
    inserted = [letter for above, letter in zip(upper, lower, strict=True) if above == "-"]
    assert "".join(pieces) == "".join(inserted) and written(symbols, pieces) == text


def test_the_medoid_is_the_reference_and_strangers_are_left_out() -> None:
    sequences = [*relatives(9), proteins([40], seed=3)[0]]
    family, used = align_family(sequences, names(10), "made")
    assert used == list(range(9)) and family.identifiers == tuple(names(9))
    assert 0.3 < family.mean_identity < 1
    shuffled, again = align_family(sequences[::-1], names(10)[::-1], "made")
    assert again == list(range(1, 10)) and sorted(shuffled.texts) == sorted(family.texts)


def test_odd_letters_are_unknown_and_never_written() -> None:
    sequences = relatives(6)
    odd = sequences[0][:5] + "XUB" + sequences[0][8:]
    family, _ = align_family([odd, *sequences[1:]], names(6), "made")
    assert (family.symbols[0] == UNKNOWN).sum() == 3
    assert family.texts[0] == sequences[0][:5] + sequences[0][8:]


def test_too_diverse_says_what_was_found() -> None:
    with pytest.raises(InputError, match=r"made: too diverse to align: the members have \d+% to \d+% identity .* 50%"):
        align_family(proteins([60] * 6), names(6), "made", least_identity=0.5)


def test_long_members_are_left_out() -> None:
    sequences = relatives(5)
    assert align_family([*sequences, "A" * (LONGEST + 1)], names(6), "made")[1] == list(range(5))
    with pytest.raises(InputError, match="1 of 2 members have at most 4,000 letters"):
        align_family([sequences[0], "A" * (LONGEST + 1)], names(2), "made")


def test_columns_of_an_alignment(tmp_path: pytest.TempPathFactory) -> None:
    path = tmp_path / "rows.fasta"  # type: ignore[operator]
    path.write_text(">a\nAC-DE.\n>b\nACWDEF\n>c\nA--DX-\n")
    family = Family.from_alignment(read_alignment(path))
    # Columns 3 and 6 are gaps in two of three rows: b's letters there lie between the others.
    assert family.texts == ("ACDE", "ACWDEF", "AD") and family.reference == "ACDE"
    assert family.insertions[1] == ("", "", "W", "", "F") and family.symbols[2].tolist() == [0, GAP, 2, UNKNOWN]


def test_texts_with_gaps_are_rows() -> None:
    family = family_of(["AC-DE", "ACWDE", "ACWD-"], names(3), "made")
    assert family.symbols.shape == (3, 5) and family.texts == ("ACDE", "ACWDE", "ACWD")
    with pytest.raises(InputError, match="gaps in sequences of 4 to 5 columns; give rows of one length"):
        family_of(["AC-DE", "ACWD"], names(2), "made")
    with pytest.raises(InputError, match="sequence 'm1' has '1'"):
        family_of(["ACDE", "AC1E"], names(2), "made")


def test_weights_of_twins_add_up_to_one_member() -> None:
    family = family_of(["AC-DE", "AC-DE", "VLWKF"], names(3), "made")
    np.testing.assert_allclose(family.weights[:2].sum(), family.weights[2], rtol=0.2)
    assert family.weights.sum() == pytest.approx(1)


def test_identities_count_columns_over_the_longer_length() -> None:
    first = symbols_of(np.frombuffer(b"ACDE-", np.uint8))[None]
    others = symbols_of(np.stack([np.frombuffer(text, np.uint8) for text in (b"ACDEF", b"AC-X-", b"-----")]))
    found = identities(first, np.array([4]), others, np.array([5, 3, 10]))
    np.testing.assert_allclose(found, [[4 / 5, 2 / 4, 0]])
    np.testing.assert_allclose(identities(first, np.array([4]), others, np.array([5, 3, 10]), 2)[0, 2], 0.2)
