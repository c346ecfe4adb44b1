"""Outputs are compared with labels as they are, and the weight of a sequence reaches each of its residues."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from seqtrain.draws import Draws
from seqtrain.losses import CrossEntropy, MeanSquaredError
from seqtrain.objectives import Supervised
from tests.corpora import examples_of


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
