"""Motifs are found where a regular expression finds them, in every sequence of a batch by itself."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from seqtrain.alphabet import DNA, PROTEIN
from seqtrain.motifs import Motif, known_motifs
from tests.corpora import examples_of, proteins

EXPRESSIONS = {
    "N-{P}-[ST]-{P}": "(?=N[^P][ST][^P])",
    "[AG]-x(4)-G-K-[ST]": "(?=[AG].{4}GK[ST])",
    "C-x(2,4)-C-x-H": "(?=C.{2,4}C.H)",
    "C-x(0..3)-C": "(?=C.{0,3}C)",
    "<M-x(0,5)-[KR](2)": "^(?=M.{0,5}[KR][KR])",
    "[KH]-D-E-L>": "(?=[KH]DEL$)",
    "<A-x-A>.": "^(?=A.A$)",
    "L(3)": "(?=LLL)",
}
CHOSEN = [
    "AKA",
    "AKAA",
    "KDEL",
    "AKDEL",
    "KDELA",
    "MKK",
    "MAAAAAKR",
    "MAAAAAAKR",
    "AMKK",
    "CC",
    "CAAAC",
    "LLL",
    "GPPGSGKT",
]


def texts() -> list[str]:
    rng = np.random.default_rng(1)
    few = ["".join(rng.choice(list("ACGHKLMNPSTDE"), size=length)) for length in rng.integers(1, 60, 400)]
    return [*CHOSEN, *few, *proteins([50] * 100)]


@pytest.mark.parametrize("pattern", EXPRESSIONS)
def test_presence_is_that_of_a_regular_expression(pattern: str) -> None:
    given = texts()
    batch = examples_of(given).batch(np.arange(len(given)), np.zeros(len(given), int))
    motif = Motif.from_text(pattern, PROTEIN.standard)
    found = motif.present(batch.letters, batch.segments, len(batch)).tolist()
    expected = [re.search(EXPRESSIONS[pattern], text) is not None for text in given]
    assert found == expected
    assert any(expected) and not all(expected)


def test_every_occurrence_has_its_end_marked() -> None:
    letters = torch.tensor(list(b"\0ANGSANKTP\0"), dtype=torch.uint8)
    ends = Motif.from_text("N-x-[ST]", PROTEIN.standard).ends(letters)
    assert ends.nonzero().squeeze(1).tolist() == [4, 8]


def test_what_ships_can_be_read_and_has_a_source() -> None:
    known = known_motifs()
    assert len(known) >= 10
    for name, pattern in known.items():
        assert Motif.from_text(pattern, PROTEIN.standard, name).name == name


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("N-[st]", r"'\[st\]' is no element of a pattern"),
        ("", "'' is no element"),
        ("N--S", "'' is no element"),
        ("N-J", "J is none of the letters ACDEFGHIKLMNPQRSTVWY"),
        ("A-x(4,2)", "must stand for 1 to 100 letters"),
        ("A-x(0)", "must stand for 1 to 100 letters"),
        ("A-x(1000)", "must stand for 1 to 100 letters"),
    ],
)
def test_what_is_no_pattern_is_refused(pattern: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Motif.from_text(pattern, PROTEIN.standard)


def test_letters_are_those_of_the_alphabet() -> None:
    assert Motif.from_text("T-A-T-A-[AT]-A", DNA.standard).elements[4].letters == {"A", "T"}
    with pytest.raises(ValueError, match="K is none of the letters ACGT"):
        Motif.from_text("K-A", DNA.standard)
