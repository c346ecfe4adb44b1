"""The notation: what each form makes of a wild type, what is refused, and the offset at which letters match."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqtrain.alphabet import CODON, DNA, PROTEIN
from seqtrain.errors import InputError
from seqtrain.score.mutations import MismatchError, Notation, Variant, best_offset, singles
from tests.corpora import RESIDUES, proteins

WILD = b"MKAVLGHE"
NOTATION = Notation(alphabet=PROTEIN)


def variant(text: str, wild_type: bytes = WILD, offset: int = 0) -> Variant:
    return NOTATION.placed(NOTATION.parse(text), "W", wild_type, offset)


@pytest.mark.parametrize(
    ("text", "sequence"),
    [
        ("WT", "MKAVLGHE"),
        ("_wt", "MKAVLGHE"),
        ("A3G", "MKGVLGHE"),
        ("p.A3G", "MKGVLGHE"),
        ("a3g", "MKGVLGHE"),
        ("A3A", "MKAVLGHE"),
        ("A3=", "MKAVLGHE"),
        ("A3G:E8W", "MKGVLGHW"),
        ("E8W, A3G", "MKGVLGHW"),
        ("A3G/V4L;E8W", "MKGLLGHW"),
        ("A3del", "MKVLGHE"),
        ("A3_L5del", "MKGHE"),
        ("A3_V4insGG", "MKAGGVLGHE"),
        ("A3delinsGG", "MKGGVLGHE"),
        ("A3_L5delinsWY", "MKWYGHE"),
        ("K2del:A3_V4insW:E8D", "MAWVLGHD"),
        ("M1del", "KAVLGHE"),
        ("E8del", "MKAVLGH"),
    ],
)
def test_what_a_text_makes_of_the_wild_type(text: str, sequence: str) -> None:
    assert variant(text).sequence.decode() == sequence


@pytest.mark.parametrize(
    ("text", "pairs"),
    [("WT", ()), ("A3A", ()), ("A3G:E8W", ((2, ord("G")), (7, ord("W")))), ("A3_V4delinsAC", ((3, ord("C")),))],
)
def test_replacements_are_told_from_insertions_and_deletions(text: str, pairs: tuple[tuple[int, int], ...]) -> None:
    assert variant(text).substitutions == pairs
    assert variant("A3del:V4_L5insG").substitutions is None  # as long as before, and still not position by position


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty mutation"),
        ("foo", "'foo' is no mutation; write A24G"),
        ("A3G:", "no mutation"),
        ("Ala3Gly", "no mutation"),
        ("A3", "no mutation"),
        ("3G", "no mutation"),
        ("A3_L5insG", "two neighbours"),
        ("A3insG", "two neighbours"),
        ("L5_A3del", "ends at 3, before"),
        ("A3X", "'X' is none of the standard protein letters"),
        ("A3*", "'[*]' is none of the standard"),
        ("A3-", "'-' is none of the standard"),
        ("A3_V4insGJ", "'J' is none of the standard"),
        ("A3G:A3C", "position 3 is changed twice"),
        ("K2_L5del:A3C", "position 3 is changed twice"),
        ("M1_E8del", "nothing is left"),
    ],
)
def test_what_cannot_be_read_is_refused(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as refused:
        variant(text)
    assert not isinstance(refused.value, MismatchError) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "offset", "words"),
    [
        ("G3A", 0, "G3A expects G at position 3 of W, which has A there"),
        ("A4G", -2, "A4G expects A at position 2 of W .position 4 with --offset -2., which has K there"),
        ("A3_G5del", 0, "expects G at position 5 of W, which has L there"),
        ("A9G", 0, "position 9 is beyond the end of W, which has 8 letters"),
        ("A0G", 0, "position 0 is before the beginning"),
        ("A3G", 6, "position 3 .9 with --offset 6. is beyond the end"),
    ],
)
def test_a_wild_type_that_does_not_match(text: str, offset: int, words: str) -> None:
    with pytest.raises(MismatchError, match=words):
        variant(text, offset=offset)


def test_positions_with_an_odd_letter_have_no_probability() -> None:
    with pytest.raises(InputError, match="odd letter X at position 3"):
        variant("X3G", b"MKXV")


@given(st.lists(st.tuples(st.integers(0, 39), st.sampled_from(RESIDUES)), max_size=8, unique_by=lambda pair: pair[0]))
def test_what_is_written_is_read_again(pairs: list[tuple[int, str]]) -> None:
    text = proteins([40])[0]
    expected = list(text)
    for position, letter in pairs:
        expected[position] = letter
    parts = [f"{text[position]}{position + 1}{letter}" for position, letter in pairs]
    found = variant(":".join(parts) or "WT", text.encode())
    assert found.sequence.decode() == "".join(expected)
    assert variant(NOTATION.written(found), text.encode()).sequence == found.sequence


def test_all_singles_are_19_per_residue_and_each_once() -> None:
    wild_type = b"MKXAVM"
    found = [NOTATION.written(each) for each in singles(wild_type, PROTEIN)]
    assert len(found) == len(set(found)) == 19 * 5
    assert found[:2] == ["M1A", "M1C"] and not any("X3" in text for text in found)
    assert all(len(each.substitutions or ()) == 1 for each in singles(wild_type, PROTEIN))
    assert len(list(singles(b"ACGT", DNA))) == 3 * 4


def test_codons_are_letters_of_three_bases() -> None:
    notation = Notation(alphabet=CODON)
    letters = CODON.pack(b"ATGAAAGTG").tobytes()
    found = notation.placed(notation.parse("AAA2GTU:GTG3del"), "W", letters, 0)
    assert CODON.text(np.frombuffer(found.sequence, np.uint8)) == "ATGGTT"
    assert len(list(singles(letters, CODON))) == 3 * 60
    assert "TAA" not in {notation.text(each.sequence[:1]) for each in singles(letters, CODON)}
    with pytest.raises(InputError, match="'NNN' is none of the standard codon letters"):
        notation.placed(notation.parse("AAA2NNN"), "W", letters, 0)


@given(st.integers(-5, 300), st.integers(0, 2**32 - 1))
def test_the_offset_that_fits_is_found(offset: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    wild_type = proteins([400], seed)[0]
    places = rng.choice(np.arange(max(offset, 0), 400 + min(offset, 0)), size=25, replace=False)
    stated = {(int(place) + 1 - offset, ord(wild_type[place])): 1 for place in places}
    assert best_offset(stated, wild_type.encode()) == (offset, 25)


def test_of_offsets_that_fit_alike_the_nearest_to_0_is_proposed() -> None:
    assert best_offset({(2, ord("A")): 3}, b"AAAWA") == (0, 3)
    # A typo far away costs nothing.
    assert best_offset({(4, ord("A")): 3, (10**12, ord("W")): 1}, b"AAAWA") == (-1, 3)
    assert best_offset({(4, ord("C")): 3}, b"AAAWA") == (0, 0)
    assert best_offset({(4, ord("A")): 3, (90, ord("C")): 1}, b"AAAWA") == (-1, 3)
