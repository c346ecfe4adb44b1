"""Labels of the whole sequence, standardised by the corpus, asked of what is left when letters are hidden."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from Bio.SeqUtils.ProtParam import ProteinAnalysis
from sklearn.metrics import log_loss

from seqtrain.alphabet import CODON, DNA, PROTEIN
from seqtrain.batch import Batch
from seqtrain.draws import Draws
from seqtrain.objectives import Pretext
from tests.corpora import RESIDUES, examples_of, proteins

TEXTS = [*proteins([80, 40, 200, 120] * 10), *("ANGSA" + text for text in proteins([30] * 20, seed=4))]
MASK = PROTEIN.vocabulary.id("<mask>")


def batch_of(texts: list[str]) -> Batch:
    return examples_of(texts).batch(np.arange(len(texts)), np.zeros(len(texts), int))


def fitted(**fields: object) -> Pretext:
    objective = Pretext(PROTEIN, **fields)  # type: ignore[arg-type]
    return objective.fitted(objective.compute(batch_of(TEXTS)))


def test_labels_are_those_of_the_whole_sequence_in_their_order() -> None:
    objective = Pretext(PROTEIN, motifs=("N-{P}-[ST]-{P}", "R-G-D"))
    values = objective.compute(batch_of(TEXTS))
    names = [label for _, label in objective.labels]
    assert names == [*(f"share of {letter}" for letter in RESIDUES), "charge", "hydropathy", "N-{P}-[ST]-{P}", "R-G-D"]
    for text, row in zip(TEXTS, values.tolist(), strict=True):
        assert row[:20] == pytest.approx([text.count(letter) / len(text) for letter in RESIDUES], abs=1e-6)
        assert row[20] == pytest.approx(100 * ProteinAnalysis(text).charge_at_pH(7.0) / len(text), abs=1e-3)
        assert row[21] == pytest.approx(ProteinAnalysis(text).gravy(), abs=1e-5)
        assert row[23] == float("RGD" in text)


def test_targets_are_standardised_by_the_corpus_and_motifs_are_not() -> None:
    objective, batch = fitted(), batch_of(TEXTS)
    targets = objective.prepare(batch, Draws(batch.keys)).targets
    assert targets is not None
    numbers, motifs = targets[:, ~objective.is_motif].double(), targets[:, objective.is_motif]
    torch.testing.assert_close(numbers.mean(0), torch.zeros(22).double(), atol=1e-4, rtol=0)
    torch.testing.assert_close(numbers.std(0, unbiased=False), torch.ones(22).double(), atol=1e-4, rtol=0)
    assert set(motifs[~motifs.isnan()].tolist()) == {0.0, 1.0}
    never = [i for i, (name, _) in enumerate(objective.labels) if name == "motifs" and targets[:, i].isnan().all()]
    assert never and all(objective.statistics.deviations[i] == 0 for i in never)  # type: ignore[union-attr]


def test_letters_are_hidden_and_labels_stay_those_of_all() -> None:
    batch = batch_of(TEXTS)
    light, heavy = (fitted(masked_fraction=part).prepare(batch, Draws(batch.keys)) for part in (0.1, 0.7))
    torch.testing.assert_close(light.targets, heavy.targets, equal_nan=True)
    count = int(batch.residues.sum())
    for part, made in ((0.1, light), (0.7, heavy)):
        hidden = made.inputs == MASK
        assert abs(float(hidden.sum()) / count - part) < 4 * np.sqrt(part * (1 - part) / count)
        assert torch.equal(made.inputs[~hidden], batch.inputs[~hidden])


def test_the_loss_is_a_sum_over_properties() -> None:
    objective, batch = fitted(), batch_of(TEXTS)
    ready = objective.prepare(batch, Draws(batch.keys))
    outputs = torch.randn(len(batch), objective.outputs, generator=torch.Generator().manual_seed(0)).double()
    score = objective.score(outputs, ready)
    targets = ready.targets.double().numpy()  # type: ignore[union-attr]
    squared = (outputs.numpy() - targets) ** 2
    asked = [i for i in range(22, objective.outputs) if not np.isnan(targets[:, i]).any()]
    crossed = [log_loss(targets[:, i], outputs[:, i].sigmoid().numpy(), labels=[0, 1], normalize=False) for i in asked]
    expected = squared[:, :20].mean(1).sum() + squared[:, 20].sum() + squared[:, 21].sum() + np.mean(crossed)
    assert float(score.loss) == pytest.approx(expected, rel=1e-5)
    assert float(score.count) == len(batch)


def test_the_constant_guess_is_the_best_one() -> None:
    objective, batch = fitted(), batch_of(TEXTS)
    ready = objective.prepare(batch, Draws(batch.keys))
    guess = objective.constant_guess().expand(len(batch), -1).clone().requires_grad_()
    objective.score(guess, ready).loss.backward()
    assert guess.grad is not None
    torch.testing.assert_close(guess.grad.sum(0), torch.zeros(objective.outputs), atol=1e-3, rtol=0)


def test_nothing_depends_on_batch_mates() -> None:
    objective, examples = fitted(), examples_of(TEXTS)
    units = np.array([3, 41, 7])
    together = objective.prepare(*_drawn(examples.batch(units, np.zeros(3, int))))
    for row, unit in enumerate(units):
        alone = objective.prepare(*_drawn(examples.batch(np.array([unit]), np.zeros(1, int))))
        assert together.targets is not None and alone.targets is not None
        torch.testing.assert_close(alone.targets[0], together.targets[row], equal_nan=True)
        assert torch.equal(alone.inputs, together.inputs[together.segments == row])


def _drawn(batch: Batch) -> tuple[Batch, Draws]:
    return batch, Draws(batch.keys)


def test_nucleotides_have_a_composition_and_the_motifs_that_are_given() -> None:
    assert Pretext(DNA).asked == ("composition",)
    assert Pretext(DNA, motifs=("T-A-T-A",)).asked == ("composition", "motifs")
    assert Pretext(CODON).outputs == 64


@pytest.mark.parametrize(
    ("alphabet", "fields", "message"),
    [
        (DNA, {"properties": ("charge",)}, "charge is a property of proteins, and these are dna letters"),
        (DNA, {"properties": ("motifs",)}, "no motifs of dna ship with the toolkit"),
        (CODON, {"motifs": ("A-T",)}, "codons are no such"),
        (PROTEIN, {"properties": ("charge",), "motifs": ("A-T",)}, "not among the properties"),
        (PROTEIN, {"motifs": ("A-1",)}, "is no element of a pattern"),
        (PROTEIN, {"masked_fraction": 1.0}, "masked_fraction is 1"),
    ],
)
def test_what_makes_no_sense_is_refused(alphabet, fields, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        Pretext(alphabet, **fields)


def test_labels_that_are_all_the_same_are_refused() -> None:
    objective = Pretext(PROTEIN)
    with pytest.raises(ValueError, match="all sequences have the same labels"):
        objective.fitted(objective.compute(batch_of(["ACD"] * 5)))
