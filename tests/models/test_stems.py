"""Stems against loops over letters."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch

from seqtrain.alphabet import CODON, DNA, PROTEIN
from seqtrain.encode import OneHot
from seqtrain.errors import InputError
from seqtrain.letters import PackedLetters
from seqtrain.models.embedding import mixture
from seqtrain.models.stems import PROTEIN_RESIDUES, NgramStem, OneHotStem, StemFields, TokenStem, build_stem
from tests.models.packs import LENGTHS, draw_sequences, pack

LETTERS = b"MKXLA*BJCDEFGHIZ-.NPQRSTVWYU"


@dataclass(frozen=True, kw_only=True)
class _Config(StemFields):
    """What configs with stems are: a class with these fields."""


def test_residues_are_the_standard_letters_of_the_protein_vocabulary() -> None:
    assert PROTEIN.standard_ids.tolist() == list(PROTEIN_RESIDUES)


@pytest.mark.parametrize("alphabet", [PROTEIN, DNA, CODON], ids=lambda alphabet: alphabet.name)
def test_one_hot_has_a_row_for_each_letter_and_none_for_special_tokens(alphabet: Any) -> None:
    stem = OneHotStem(len(alphabet.tokens), tuple(alphabet.standard_ids.tolist()))
    ids = torch.arange(len(alphabet.tokens))
    rows = stem(ids, torch.zeros_like(ids))
    assert rows.shape == (len(ids), len(alphabet.standard_letters))
    standard = torch.from_numpy(np.isin(np.arange(len(ids)), alphabet.standard_ids))
    assert torch.equal(rows.sum(dim=1), standard.float())
    assert torch.equal(rows.sum(dim=0), torch.ones(stem.width))


def test_one_hot_is_that_of_the_encoder_up_to_the_order_of_columns() -> None:
    letters = np.frombuffer(LETTERS, dtype=np.uint8)
    ids = torch.from_numpy(PROTEIN.vocabulary.lookup[letters].astype(np.int64))
    rows = OneHotStem(33, PROTEIN_RESIDUES)(ids, torch.zeros_like(ids)).numpy()
    encoded = OneHot(PROTEIN)(PackedLetters(letters, np.array([0, len(letters)])))
    order = [PROTEIN.standard.index(PROTEIN.tokens[id_]) for id_ in PROTEIN_RESIDUES]
    np.testing.assert_array_equal(rows, np.asarray(encoded)[:, order])


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_ngrams_are_what_a_loop_finds_and_never_cross_the_ends(n: int) -> None:
    base = 21
    sequences = draw_sequences()
    batch = pack(sequences)
    stem = NgramStem(33, PROTEIN_RESIDUES, n, 4)
    expected = []
    for ids in sequences:
        digits = [PROTEIN_RESIDUES.index(id_) if id_ in PROTEIN_RESIDUES else 20 for id_ in ids.tolist()]
        for position in range(len(digits)):
            word = 0
            for place in range(position - (n - 1) // 2, position + n // 2 + 1):
                word = word * base + (digits[place] if 0 <= place < len(digits) else 20)
            expected.append(word)
    words = stem.words(batch.inputs, batch.segments)
    assert words.tolist() == expected
    assert stem(batch.inputs, batch.segments).shape == (sum(LENGTHS), 4)
    assert stem.embedding.num_embeddings == base**n


def test_mixtures_give_the_mixed_rows() -> None:
    torch.manual_seed(0)
    inputs, others = torch.randint(0, 33, (2, 50))
    shares, segments = torch.rand(50), torch.zeros(50, dtype=torch.int64)
    for stem in (TokenStem(33, 6), OneHotStem(33, PROTEIN_RESIDUES)):
        expected = shares[:, None] * stem(inputs, segments) + (1 - shares[:, None]) * stem(others, segments)
        torch.testing.assert_close(stem(mixture(inputs, others, shares, 33), segments), expected)
    with pytest.raises(InputError, match="input=ngram cannot be mixed"):
        NgramStem(33, PROTEIN_RESIDUES, 2, 6)(mixture(inputs, others, shares, 33), segments)


def test_the_field_chooses_the_stem() -> None:
    assert isinstance(build_stem(_Config(), 8), TokenStem)
    assert build_stem(_Config(input="one-hot"), 8).width == 20
    assert build_stem(_Config(input="ngram", n=2), 8).width == 8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input": "ngram", "n": 5}, "n is 5, which gives 4,084,101 n-grams"),
        ({"input": "ngram", "n": 0}, "n is 0"),
        ({"input": "one-hot", "vocabulary_size": 20}, "are not ids below vocabulary_size 20"),
        ({"input": "one-hot", "residue_ids": ()}, r"residue_ids \(\) are not ids"),
        ({"input": "onehot"}, "input is 'onehot'; choose one of tokens, one-hot, ngram"),
    ],
)
def test_impossible_fields_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(_Config(), **changes).require_stem()
