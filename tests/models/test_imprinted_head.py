"""The imprinted head against scikit-learn's nearest centroid, and its logits against a loop over sequences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestCentroid
from sklearn.preprocessing import normalize
from torch import Tensor

from seqtrain.errors import InputError
from seqtrain.models.imprinted_head import ImprintedHead, ImprintedHeadConfig
from tests.models.packs import LENGTHS, draw_sequences, pack

BATCH = pack(draw_sequences())
WIDTH = 12


def _head(outputs: int = 3, scale: float = 10.0) -> ImprintedHead:
    torch.manual_seed(0)
    return ImprintedHeadConfig(outputs=outputs, scale=scale).build(WIDTH)


def _clouds(count: int = 90, classes: int = 5) -> tuple[Tensor, Tensor]:
    """Embeddings (N, D) of very different lengths, in overlapping clouds around a centre that all share."""
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(count) % classes
    centres = torch.randn(classes, WIDTH, generator=generator)
    rows = 3 + centres[labels] + torch.randn(count, WIDTH, generator=generator)
    return rows * torch.rand(count, 1, generator=generator) * 100, labels


@torch.no_grad()
def test_logits_are_scaled_cosines_of_means_over_residues() -> None:
    head = _head(scale=7.0)
    head.directions.mul_(torch.tensor([[0.1], [1.0], [50.0]]))  # only their directions count
    hidden = torch.randn(sum(LENGTHS), WIDTH, generator=torch.Generator().manual_seed(2))
    logits = head(hidden, BATCH.segments, BATCH.residues, len(BATCH))
    for row, piece in zip(logits, torch.split(hidden, LENGTHS), strict=True):
        mean = piece[1:-1].mean(0)  # without the special token at either end
        expected = torch.stack([7 * torch.cosine_similarity(mean, vector, dim=0) for vector in head.directions])
        torch.testing.assert_close(row, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_imprinted_classes_are_nearest_centroids_on_the_sphere() -> None:
    rows, labels = _clouds()
    train, test = slice(0, 60), slice(60, None)
    head = _head(5)
    head.imprint(rows[train], labels[train], torch.ones(60))
    on_sphere = normalize(rows.numpy())
    reference = NearestCentroid().fit(on_sphere[train], labels[train].numpy())
    centroids = normalize(reference.centroids_)
    np.testing.assert_allclose(head.directions.numpy(), centroids, atol=1e-6)
    reference.centroids_ = centroids  # on the sphere, the nearest is the one of the largest cosine
    predicted = head.answer(rows[test]).argmax(1).numpy()
    assert (predicted == reference.predict(on_sphere[test])).all()
    assert 0.4 < (predicted == labels[test].numpy()).mean() < 1


@torch.no_grad()
def test_weights_are_copies() -> None:
    rows, labels = _clouds(20)
    head, other = _head(5), _head(5)
    counts = torch.arange(20) % 3 + 1
    head.imprint(rows, labels, counts.float())
    other.imprint(rows.repeat_interleave(counts, 0), labels.repeat_interleave(counts), torch.ones(int(counts.sum())))
    torch.testing.assert_close(head.directions, other.directions)


def test_training_turns_directions_and_scale() -> None:
    rows, labels = _clouds()
    head = _head(5)
    head.imprint(rows, labels, torch.ones(len(rows)))
    before = torch.nn.functional.cross_entropy(head.answer(rows), labels)
    before.backward()  # type: ignore[no-untyped-call]
    assert head.directions.grad is not None and head.log_scale.grad is not None and head.log_scale.grad.abs() > 0
    # A change of length alone changes nothing, so the gradient has no part along the direction.
    along = (head.directions.grad * head.directions).sum(1)
    torch.testing.assert_close(along, torch.zeros(5), atol=1e-6, rtol=0)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.01)
    for _ in range(50):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(head.answer(rows), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert float(loss.detach()) < 0.9 * float(before.detach())


def test_a_sequence_without_residues_leaves_all_classes_alike() -> None:
    logits = _head().answer(torch.zeros(1, WIDTH))
    assert torch.equal(logits, torch.zeros(1, 3))


@pytest.mark.parametrize("fields", [{"outputs": 0}, {"outputs": 3, "scale": 0.0}, {"outputs": 3, "scale": -1.0}])
def test_impossible_fields_are_refused(fields: dict[str, float]) -> None:
    with pytest.raises(InputError, match="ImprintedHeadConfig"):
        ImprintedHeadConfig(**fields)  # type: ignore[arg-type]
