"""Exactly one token per letter, with the ids that ESM-2's own tokenizer gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqtrain.alphabet import ALPHABETS, DNA, PROTEIN, Alphabet
from seqtrain.encode import Tokens
from seqtrain.letters import PackedLetters
from tests.corpora import RESIDUES


def packed(*texts: bytes) -> PackedLetters:
    return PackedLetters.from_sequences([np.frombuffer(text, np.uint8) for text in texts])


def test_ids_are_those_of_the_esm_tokenizer(tmp_path: Path) -> None:
    from transformers import EsmTokenizer

    (tmp_path / "vocab.txt").write_text("\n".join(PROTEIN.tokens))
    tokenizer = EsmTokenizer(str(tmp_path / "vocab.txt"))
    for text in (RESIDUES, RESIDUES[::-1], "MKTAYIAKQR", "XBUZO", "A.C-D"):
        assert Tokens(PROTEIN)(packed(text.encode())).inputs.tolist() == tokenizer(text)["input_ids"]
    ids = PROTEIN.vocabulary.id
    assert tokenizer.cls_token_id == ids("<cls>") == 0
    assert tokenizer.pad_token_id == ids("<pad>") == 1
    assert tokenizer.eos_token_id == ids("<eos>") == 2
    assert tokenizer.unk_token_id == ids("<unk>") == 3
    assert tokenizer.mask_token_id == ids("<mask>") == 32


@pytest.mark.parametrize("alphabet", list(ALPHABETS.values()), ids=lambda a: a.name)
@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(texts=st.lists(st.binary(max_size=20), max_size=5))
def test_one_token_for_each_of_any_bytes(alphabet: Alphabet, texts: list[bytes]) -> None:
    letters = packed(*texts)
    encoded = Tokens(alphabet)(letters)
    specials = {alphabet.vocabulary.id(token) for token in ("<cls>", "<eos>", "<mask>", "<pad>")}
    assert len(encoded.inputs) == len(encoded.source) == encoded.boundaries[-1] == sum(map(len, texts)) + 2 * len(texts)
    first = 0
    for i, text in enumerate(texts):
        inputs = encoded.inputs[encoded.boundaries[i] : encoded.boundaries[i + 1]]
        source = encoded.source[encoded.boundaries[i] : encoded.boundaries[i + 1]]
        assert len(inputs) == len(text) + 2
        assert inputs[0] == alphabet.vocabulary.id("<cls>") and inputs[-1] == alphabet.vocabulary.id("<eos>")
        assert source.tolist() == [-1, *range(first, first + len(text)), -1]
        assert inputs[1:-1].tolist() == [int(alphabet.vocabulary.lookup[letter]) for letter in text]
        assert not specials & set(inputs[1:-1].tolist())
        first += len(text)


def test_unknown_letters_in_a_row_stay_apart() -> None:
    inputs = Tokens(PROTEIN)(packed(b"AJJ**A")).inputs
    a, unknown = PROTEIN.tokens.index("A"), PROTEIN.tokens.index("<unk>")
    assert inputs[1:-1].tolist() == [a, unknown, unknown, unknown, unknown, a]


def test_decoding_gives_the_text_back() -> None:
    for alphabet, text in ((PROTEIN, RESIDUES + "XBUZO.-"), (DNA, "ACGTNRY")):
        encoded = Tokens(alphabet)(packed(text.encode()))
        assert Tokens(alphabet).decode(encoded.inputs[1:-1]) == text
    assert Tokens(PROTEIN).decode(np.array([3, 5, 32])) == "<unk>A<mask>"
