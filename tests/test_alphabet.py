"""Vocabularies hold every letter once, the policy is stated for every byte, and codons come back as they were."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from Bio.Data.CodonTable import unambiguous_dna_by_id
from Bio.Seq import Seq
from hypothesis import given, settings
from hypothesis import strategies as st

from seqtrain.alphabet import ALPHABETS, CODON, CODONS, DNA, PROTEIN, RNA, SPECIAL, UNKNOWN_CODON, Alphabet
from seqtrain.errors import InputError

ALL = list(ALPHABETS.values())


def test_the_protein_vocabulary_is_that_of_esm2() -> None:
    # As printed in vocab.txt of facebook/esm2_t6_8M_UR50D.
    published = "<cls> <pad> <eos> <unk> L A G V S E R T I D P K Q N F Y M H W C X B U Z O . - <null_1> <mask>"
    assert " ".join(PROTEIN.tokens) == published
    assert [PROTEIN.vocabulary.id(token) for token in published.split()] == list(range(33))


@pytest.mark.parametrize("alphabet", ALL, ids=lambda a: a.name)
def test_every_vocabulary_holds_each_token_once_and_the_special_ones(alphabet: Alphabet) -> None:
    assert len(set(alphabet.tokens)) == len(alphabet.tokens) == len(alphabet.vocabulary)
    assert alphabet.tokens[:4] == SPECIAL and alphabet.tokens[-1] == "<mask>"


@pytest.mark.parametrize("alphabet", [PROTEIN, DNA, RNA], ids=lambda a: a.name)
def test_every_byte_has_one_id(alphabet: Alphabet) -> None:
    unknown = alphabet.tokens.index("<unk>")
    for byte in range(256):
        known = chr(byte) in alphabet.tokens
        assert alphabet.vocabulary.lookup[byte] == (alphabet.tokens.index(chr(byte)) if known else unknown)


@pytest.mark.parametrize(("alphabet", "number"), [(PROTEIN, 20), (DNA, 4), (RNA, 4), (CODON, 64)])
def test_standard_ids_are_those_of_the_standard_letters(alphabet: Alphabet, number: int) -> None:
    names = {alphabet.tokens[index] for index in alphabet.standard_ids}
    assert names == (set(CODONS) if alphabet is CODON else set(alphabet.standard))
    assert len(alphabet.standard_ids) == number and (np.diff(alphabet.standard_ids) > 0).all()


def test_protein_accepts_twenty_residues_and_the_odd_letters() -> None:
    assert set(PROTEIN.accepted.decode()) == set("ACDEFGHIKLMNPQRSTVWY") | set("XBUZOJ*.-")


def test_nucleotide_alphabets_accept_all_of_iupac_and_only_their_own_base() -> None:
    ambiguous = set("NRYSWKMBDHV")
    assert set(DNA.accepted.decode()) == set("ACGT.-") | ambiguous
    assert set(RNA.accepted.decode()) == set("ACGU.-") | ambiguous
    assert set(CODON.accepted.decode()) == set("ACGTU") | ambiguous


def test_codons_stand_in_the_order_of_the_genetic_codes_of_ncbi() -> None:
    code = "FFLLSSSSYY**CC*WLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG"  # transl_table 1
    assert "".join(str(Seq(codon).translate()) for codon in CODONS) == code
    assert {c: a for c, a in zip(CODONS, code, strict=True) if a != "*"} == unambiguous_dna_by_id[1].forward_table


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(text=st.text(alphabet="ACGT", max_size=30).map(lambda t: t * 3))
def test_codons_survive_packing(text: str) -> None:
    letters = CODON.pack(text.encode())
    assert len(letters) == len(text) // 3
    assert CODON.text(letters) == text
    ids = CODON.vocabulary.lookup[letters]
    assert [CODON.tokens[index] for index in ids] == [text[i : i + 3] for i in range(0, len(text), 3)]


def test_every_codon_has_a_byte_and_an_id_of_its_own() -> None:
    letters = CODON.pack("".join(CODONS).encode())
    assert letters.tolist() == list(range(128, 192))
    assert len(set(CODON.vocabulary.lookup[letters].tolist())) == 64


def test_u_is_read_as_t_and_an_ambiguous_base_makes_the_codon_unknown() -> None:
    assert CODON.text(CODON.pack(b"AUGUUU")) == "ATGTTT"
    for codon in ("NTG", "ANG", "ATN", "RYK"):
        letters = CODON.pack(codon.encode())
        assert letters.tolist() == [UNKNOWN_CODON]
        assert CODON.text(letters) == "NNN"
        assert CODON.vocabulary.lookup[letters[0]] == CODON.tokens.index("<unk>")


def test_a_broken_reading_frame_is_refused() -> None:
    for length in (1, 2, 4, 100):
        with pytest.raises(InputError, match=rf"of {length} bases is not a whole number of codons; .*--alphabet dna"):
            CODON.pack(b"A" * length)


@pytest.mark.parametrize("alphabet", [PROTEIN, DNA, RNA], ids=lambda a: a.name)
def test_letters_survive_packing(alphabet: Alphabet) -> None:
    text = alphabet.accepted.decode()
    letters = alphabet.pack(text.encode())
    assert letters.dtype == np.uint8 and alphabet.text(letters) == text


def test_an_unknown_token_is_named() -> None:
    with pytest.raises(KeyError, match=r"no token '<sep>' in this vocabulary of 33"):
        PROTEIN.vocabulary.id("<sep>")


def test_alphabets_are_found_by_their_names() -> None:
    assert all(name == alphabet.name for name, alphabet in ALPHABETS.items())
    assert not any(a == b for a, b in itertools.combinations(ALL, 2))
