"""Outputs are compared with labels as they are, and the weight of a sequence reaches each of its residues."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from torch.nn.functional import cross_entropy

from seqtrain.batch import Batch
from seqtrain.draws import Draws
from seqtrain.losses import CrossEntropy, Loss, MeanSquaredError, PairwiseRanking
from seqtrain.mixing import Mixup
from seqtrain.objectives import Supervised
from tests.corpora import examples_of, proteins

TEXTS = proteins([3 + index % 5 for index in range(400)])


def test_preparing_changes_nothing() -> None:
    batch = examples_of(["ACD"], targets=np.array([1])).batch(np.array([0]), np.zeros(1, int))
    assert Supervised(CrossEntropy()).prepare(batch, Draws(batch.keys)) is batch


def test_sequences_are_weighted() -> None:
    targets = np.array([[1.0], [2.0]], np.float32)
    examples = examples_of(["ACD", "W"], targets=targets, weights=np.array([3.0, 0.5], np.float32))
    score = Supervised(MeanSquaredError()).score(
        torch.tensor([[0.0], [4.0]]), examples.batch(np.array([0, 1]), np.zeros(2, int))
    )
    assert float(score.loss) == pytest.approx(3 * 1 + 0.5 * 4)
    assert float(score.count) == pytest.approx(3.5)


def test_residues_carry_the_weight_of_their_sequence() -> None:
    labels = np.array([0, 1, 1, 0])
    weights = np.array([3.0, 0.5], np.float32)
    examples = examples_of(["ACD", "W"], targets=labels, per_residue=True, weights=weights)
    batch = examples.batch(np.array([1, 0]), np.zeros(2, int))
    logits = torch.randn(len(batch.inputs), 2, generator=torch.Generator().manual_seed(0))
    score = Supervised(CrossEntropy()).score(logits, batch)
    expected = 0.5 * cross_entropy(logits[1:2], torch.tensor([0])) + 3 * cross_entropy(
        logits[4:7], torch.tensor([0, 1, 1]), reduction="sum"
    )
    assert float(score.loss) == pytest.approx(float(expected), rel=1e-6)
    assert float(score.count) == pytest.approx(0.5 + 3 * 3)


def _batch(records: np.ndarray, per_residue: bool, soft: bool = False) -> Batch:
    count = sum(map(len, TEXTS)) if per_residue else len(TEXTS)
    targets = np.arange(count) % 4
    targets[::9] = -100
    if soft:
        rows = np.eye(4, dtype=np.float32)[targets % 4]
        rows[::9] = np.nan
        targets = rows
    return examples_of(TEXTS, targets=targets, per_residue=per_residue, seed=3).batch(
        records, np.zeros(len(records), int)
    )


@pytest.mark.parametrize("per_residue", [False, True])
def test_labels_are_disturbed_alike_in_any_batch(per_residue: bool) -> None:
    objective = Supervised(CrossEntropy(), disturbed_fraction=0.5, num_classes=4)
    everything = np.arange(len(TEXTS))
    whole = _batch(everything, per_residue)
    disturbed = objective.prepare(whole, Draws(whole.keys)).targets
    parts = []
    for records in np.split(everything, [1, 100]):
        batch = _batch(records, per_residue)
        parts.append(objective.prepare(batch, Draws(batch.keys)).targets)
    torch.testing.assert_close(torch.cat(parts), disturbed)


@pytest.mark.parametrize("per_residue", [False, True])
def test_a_share_of_the_labels_is_drawn_evenly(per_residue: bool) -> None:
    batch = _batch(np.arange(len(TEXTS)), per_residue)
    scored = batch.targets != -100
    after = Supervised(CrossEntropy(), 0.4, 4).prepare(batch, Draws(batch.keys)).targets
    assert (after[~scored] == -100).all() and after.dtype == batch.targets.dtype
    count = int(scored.sum())
    changed = int((after != batch.targets).sum())
    share = 0.4 * 3 / 4  # a quarter of those drawn are what they were
    assert abs(changed - share * count) < 5 * np.sqrt(count * share * (1 - share))
    drawn = after[after != batch.targets]
    assert chisquare(torch.bincount(drawn, minlength=4).numpy()).pvalue > 1e-3
    untouched = Supervised(CrossEntropy(), 1e-12, 4).prepare(batch, Draws(batch.keys)).targets
    torch.testing.assert_close(untouched, batch.targets)


def test_other_epochs_disturb_other_labels() -> None:
    examples = examples_of(TEXTS, targets=np.zeros(len(TEXTS), int), seed=3)
    objective = Supervised(CrossEntropy(), 0.5, 4)
    first, second = (
        objective.prepare(batch, Draws(batch.keys)).targets
        for batch in (examples.batch(np.arange(200), np.full(200, epoch)) for epoch in (0, 1))
    )
    assert 20 < int((first != second).sum()) < 180


def test_labels_that_are_mixed_in_are_disturbed_by_draws_of_their_own() -> None:
    examples = examples_of(TEXTS, targets=np.zeros(len(TEXTS), int), mixing=Mixup())
    batch = examples.batch(np.arange(len(TEXTS)), np.zeros(len(TEXTS), int))
    prepared = Supervised(CrossEntropy(), 0.4, 4).prepare(batch, Draws(batch.keys))
    own, other = prepared.targets != 0, prepared.other_targets != 0
    share = 0.4 * 3 / 4
    for changed in (own, other):
        assert float(changed.double().mean()) == pytest.approx(share, abs=5 * np.sqrt(share * (1 - share) / len(TEXTS)))
    both = share**2
    assert float((own & other).double().mean()) == pytest.approx(both, abs=5 * np.sqrt(both / len(TEXTS)))


def test_soft_targets_are_disturbed_by_whole_rows() -> None:
    hard, soft = _batch(np.arange(len(TEXTS)), False), _batch(np.arange(len(TEXTS)), False, soft=True)
    objective = Supervised(CrossEntropy(), 0.5, 4)
    one = objective.prepare(hard, Draws(hard.keys)).targets
    rows = objective.prepare(soft, Draws(soft.keys)).targets
    known = one != -100
    assert rows[~known].isnan().all() and rows.dtype == torch.float32
    torch.testing.assert_close(rows[known], torch.eye(4)[one[known]])


@pytest.mark.parametrize(
    ("loss", "fields", "words"),
    [
        (CrossEntropy(), {"disturbed_fraction": 1.5, "num_classes": 4}, "disturbed_fraction=1.5"),
        (CrossEntropy(), {"disturbed_fraction": 0.1}, "needs num_classes"),
        (MeanSquaredError(), {"disturbed_fraction": 0.1, "num_classes": 4}, "the targets are numbers"),
    ],
)
def test_what_cannot_be_disturbed_is_refused(loss: Loss, fields: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Supervised(loss, **fields)


def test_is_separable_as_its_loss_is() -> None:
    assert Supervised(CrossEntropy()).separable and not Supervised(PairwiseRanking()).separable
