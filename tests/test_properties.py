"""Composition, charge and hydropathy as Biopython computes them, of every sequence in a batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from Bio.SeqUtils.ProtParam import ProteinAnalysis

from seqtrain.alphabet import PROTEIN
from seqtrain.properties import composition, hydropathy, net_charge
from tests.corpora import RESIDUES, examples_of, proteins

TEXTS = [*proteins([60, 5, 300, 33]), *RESIDUES, "DE", "EAD", "KRHCY", "MDE", "PPPE"]
STANDARD = torch.from_numpy(PROTEIN.standard_letters.copy())


def packed(texts: list[str]) -> tuple[torch.Tensor, torch.Tensor, int]:
    batch = examples_of(texts).batch(np.arange(len(texts)), np.zeros(len(texts), int))
    return batch.letters, batch.segments, len(batch)


def test_charge_is_that_of_biopython() -> None:
    found = net_charge(*packed(TEXTS))
    expected = [ProteinAnalysis(text).charge_at_pH(7.0) for text in TEXTS]
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("ph", [2.0, 5.5, 12.0])
def test_charge_at_another_ph(ph: float) -> None:
    expected = [ProteinAnalysis(text).charge_at_pH(ph) for text in TEXTS]
    np.testing.assert_allclose(net_charge(*packed(TEXTS), ph=ph), expected, atol=1e-4)


def test_neighbours_without_special_tokens_between_them_keep_their_ends() -> None:
    texts = TEXTS[:4]
    letters = torch.tensor(list("".join(texts).encode()), dtype=torch.uint8)
    segments = torch.repeat_interleave(torch.arange(4), torch.tensor([len(text) for text in texts]))
    torch.testing.assert_close(net_charge(letters, segments, 4), net_charge(*packed(texts)))


def test_hydropathy_and_composition_are_those_of_biopython() -> None:
    np.testing.assert_allclose(hydropathy(*packed(TEXTS)), [ProteinAnalysis(text).gravy() for text in TEXTS], atol=1e-5)
    expected = [[text.count(letter) / len(text) for letter in PROTEIN.standard] for text in TEXTS]
    np.testing.assert_allclose(composition(*packed(TEXTS), STANDARD), expected, atol=1e-6)


def test_odd_letters_count_for_nothing_and_sequences_of_them_have_no_properties() -> None:
    plain, odd, none = packed(["ACDK"]), packed(["AXCXDKX"]), packed(["XXX"])
    torch.testing.assert_close(hydropathy(*odd), hydropathy(*plain))
    torch.testing.assert_close(composition(*odd, STANDARD), composition(*plain, STANDARD))
    assert hydropathy(*none).isnan().all() and composition(*none, STANDARD).isnan().all()
