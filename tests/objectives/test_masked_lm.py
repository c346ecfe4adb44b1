"""80 / 10 / 10 masking of standard letters alone, every replacement reached, and masks that belong to their record."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from seqtrain.alphabet import CODON, PROTEIN, Alphabet
from seqtrain.batch import Batch
from seqtrain.batching import Examples
from seqtrain.draws import Draws
from seqtrain.encode import Tokens
from seqtrain.objectives import MaskedLM
from seqtrain.spans import Spans
from tests.corpora import RESIDUES, examples_of, proteins, store_of

MASK = PROTEIN.vocabulary.id("<mask>")
ODD = "XBUZOJ*.-"


def batch_of(texts: list[str], epoch: int = 0, seed: int = 0) -> Batch:
    return examples_of(texts, seed=seed).batch(np.arange(len(texts)), np.full(len(texts), epoch))


def masked(batch: Batch, fraction: float = 0.15, alphabet: Alphabet = PROTEIN) -> Batch:
    prepared = MaskedLM(alphabet, fraction).prepare(batch, Draws(batch.keys))
    assert prepared.decode is not None and prepared.targets is not None
    return prepared


def chosen_of(prepared: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """(M,) what is shown and what is hidden at the chosen positions."""
    assert prepared.decode is not None and prepared.targets is not None
    return prepared.inputs[prepared.decode], prepared.targets


def within(share: float, expected: float, count: int) -> bool:
    return bool(abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / count))


@pytest.mark.parametrize("fraction", [0.05, 0.15, 0.4])
def test_the_fractions_are_those_that_were_asked_for(fraction: float) -> None:
    batch = batch_of(proteins([250] * 400))
    shown, hidden = chosen_of(masked(batch, fraction))
    count = len(hidden)
    assert within(count / 100_000, fraction, 100_000)
    assert within(float((shown == MASK).double().mean()), 0.8, count)
    assert within(float((shown == hidden).double().mean()), 0.1 + 0.1 / 20, count)
    assert within(float(((shown != hidden) & (shown != MASK)).double().mean()), 0.1 * 19 / 20, count)


@pytest.mark.parametrize("letter", ["A", "W"])
def test_replacements_are_the_standard_letters_each_equally_often(letter: str) -> None:
    shown, hidden = chosen_of(masked(batch_of([letter * 500] * 400), 0.5))
    own = PROTEIN.vocabulary.id(letter)
    assert (hidden == own).all()
    others = shown[(shown != MASK) & (shown != own)].tolist()
    assert {PROTEIN.tokens[index] for index in others} == set(RESIDUES) - {letter}
    counts = np.bincount(others, minlength=33)
    assert chisquare(counts[counts > 0]).pvalue > 1e-3


def test_every_place_is_chosen_equally_often_whatever_stands_there() -> None:
    prepared = masked(batch_of([RESIDUES * 2] * 3000))
    assert prepared.decode is not None
    counts = np.bincount(prepared.positions[prepared.decode].numpy(), minlength=42)
    assert counts[0] == counts[41] == 0
    assert chisquare(counts[1:41]).pvalue > 1e-3


def test_odd_letters_and_special_tokens_are_never_chosen() -> None:
    batch = batch_of([ODD + text + ODD for text in proteins([30] * 50)])
    prepared = masked(batch, 0.999999)
    assert prepared.decode is not None
    standard = torch.tensor([chr(letter) in RESIDUES for letter in batch.letters.tolist()])
    assert torch.equal(prepared.decode, standard.nonzero().squeeze(1))
    assert torch.equal(prepared.inputs[~standard], batch.inputs[~standard])


def test_what_is_hidden_is_what_stood_there_and_the_rest_is_untouched() -> None:
    batch = batch_of(proteins([40, 1, 300]))
    before = batch.inputs.clone()
    prepared = masked(batch)
    assert prepared.decode is not None and prepared.targets is not None
    assert torch.equal(batch.inputs, before)
    assert torch.equal(prepared.targets, before[prepared.decode])
    assert (prepared.decode.diff() > 0).all()
    untouched = torch.ones(len(before), dtype=torch.bool)
    untouched[prepared.decode] = False
    assert torch.equal(prepared.inputs[untouched], before[untouched])
    assert torch.equal(prepared.letters, batch.letters)


def test_masks_do_not_depend_on_batch_mates() -> None:
    examples = examples_of(proteins([30, 90, 200, 7, 61]))
    whole = np.arange(5)

    def inputs_of(units: np.ndarray) -> dict[int, list[int]]:
        prepared = masked(examples.batch(units, np.zeros(len(units), int)), 0.3)
        cut = prepared.inputs.tensor_split(prepared.boundaries[1:-1])
        return {int(unit): part.tolist() for unit, part in zip(units, cut, strict=True)}

    together = inputs_of(whole)
    assert inputs_of(whole[::-1].copy()) == together
    assert {k: v for unit in whole for k, v in inputs_of(np.array([unit])).items()} == together
    assert {**inputs_of(whole[:2]), **inputs_of(whole[2:])} == together


def test_masks_differ_between_epochs_seeds_and_records() -> None:
    texts = ["ACDEFGHIKL" * 20] * 2
    first, second = masked(batch_of(texts)), masked(batch_of(texts, epoch=1))
    other = masked(batch_of(texts, seed=1))
    assert not torch.equal(first.inputs, second.inputs) and not torch.equal(first.inputs, other.inputs)
    assert not torch.equal(first.inputs[:202], first.inputs[202:])
    assert torch.equal(first.inputs, masked(batch_of(texts)).inputs)


def test_choice_fate_and_replacement_are_unrelated() -> None:
    shown, hidden = chosen_of(masked(batch_of(["A" * 500] * 200), 0.15))
    rare, _ = chosen_of(masked(batch_of(["A" * 500] * 200), 0.03))
    for some in (shown, rare):
        assert within(float((some == MASK).double().mean()), 0.8, len(some))
    assert len(rare) < len(hidden)


def test_codons_are_replaced_by_codons() -> None:
    store = store_of(["ATG" + "GCT" * 2000 + "NNN"], CODON)
    spans = Spans.whole(np.arange(1), store.lengths)
    batch = Examples(store=store, spans=spans, encoder=Tokens(CODON)).batch(np.arange(1), np.zeros(1, int))
    shown, hidden = chosen_of(masked(batch, 0.9, CODON))
    assert {CODON.tokens[index] for index in hidden.tolist()} <= {"ATG", "GCT"}
    assert {len(CODON.tokens[index]) for index in shown.tolist() if index != CODON.vocabulary.id("<mask>")} == {3}
    assert len(set(shown.tolist())) > 50


def test_the_score_is_a_sum_of_nats_and_of_hits() -> None:
    prepared = masked(batch_of(proteins([200])), 0.5)
    assert prepared.targets is not None
    logits = torch.randn(len(prepared.targets), 33, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    score = MaskedLM(PROTEIN).score(logits, prepared)
    probabilities = logits.softmax(1)[torch.arange(len(logits)), prepared.targets]
    assert float(score.loss) == pytest.approx(float(-probabilities.log().sum()), rel=1e-12)
    assert float(score.count) == len(prepared.targets)
    assert float(score.sums["accuracy"]) == sum(
        int(row.argmax()) == int(target) for row, target in zip(logits, prepared.targets, strict=True)
    )


def test_a_batch_with_nothing_to_ask_scores_zero() -> None:
    prepared = masked(batch_of([ODD]), 0.9)
    assert prepared.decode is not None and len(prepared.decode) == 0
    score = MaskedLM(PROTEIN).score(torch.zeros(0, 33, requires_grad=True), prepared)
    assert score.loss.item() == 0 and score.count.item() == 0


def test_the_share_changes_over_the_steps() -> None:
    linear = MaskedLM(PROTEIN, 0.3, final_fraction=0.1, num_steps=101)
    assert [linear.at_step(step).masked_fraction for step in (0, 25, 50, 100)] == pytest.approx([0.3, 0.25, 0.2, 0.1])
    cosine = MaskedLM(PROTEIN, 0.3, final_fraction=0.1, num_steps=101, shape="cosine")
    expected = [0.2 + 0.1 * np.cos(np.pi * step / 100) for step in (0, 25, 50, 100)]
    assert [cosine.at_step(step).masked_fraction for step in (0, 25, 50, 100)] == pytest.approx(expected)
    steady = MaskedLM(PROTEIN, 0.3)
    assert steady.at_step(7) is steady


def test_a_changing_share_is_what_is_hidden_and_held_out_letters_are_hidden_as_usual() -> None:
    batch = batch_of(proteins([250] * 200))
    objective = MaskedLM(PROTEIN, 0.4, final_fraction=0.05, num_steps=11)
    for step, share in ((0, 0.4), (5, 0.225), (10, 0.05), (99, 0.05)):
        made = objective.at_step(step).prepare(batch, Draws(batch.keys))
        assert made.decode is not None and within(len(made.decode) / 50_000, share, 50_000)
    assert objective.at_evaluation() == MaskedLM(PROTEIN, 0.15)
    assert MaskedLM(PROTEIN, 0.4, evaluated_fraction=0.3).at_evaluation() == MaskedLM(PROTEIN, 0.3)


def test_shares_of_what_is_shown_can_be_chosen() -> None:
    batch = batch_of(proteins([250] * 200))
    made = MaskedLM(PROTEIN, 0.3, mask_share=0.5, random_share=0.5).prepare(batch, Draws(batch.keys))
    shown, hidden = chosen_of(made)
    assert within(float((shown == MASK).double().mean()), 0.5, len(hidden))
    assert within(float((shown == hidden).double().mean()), 0.5 / 20, len(hidden))
    with pytest.raises(ValueError, match=r"mask_share 0\.8 and random_share 0\.3 are no shares"):
        MaskedLM(PROTEIN, random_share=0.3)
    with pytest.raises(ValueError, match="final_fraction is 1; give a fraction above 0"):
        MaskedLM(PROTEIN, final_fraction=1.0)
