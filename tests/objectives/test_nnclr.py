"""NNCLR against the formula written out, what its support set leaves out, and what it does while that is empty."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from seqtrain.alphabet import PROTEIN
from seqtrain.models.projection import SupportSet
from seqtrain.objectives import NNCLR
from tests.objectives.contrasts import batch_of_views, outputs_of


@dataclass(frozen=True)
class Entries:
    directions: Tensor
    records: Tensor


def entries(records: list[int], width: int) -> Entries:
    rows = torch.randn(len(records), width, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    return Entries(functional.normalize(rows, dim=1), torch.tensor(records))


def reference(outputs: Tensor, temperature: float, records: list[int], support: Entries | None) -> float:
    """L(NN(z1), p2) / 2 + L(NN(z2), p1) / 2 of Dwibedi et al. (2021), summed over both, pair by pair.

    The neighbours of a step go through the batch norm of torch, without its learned scale.
    """
    width = outputs.shape[1] // 2
    z, p = (functional.normalize(part.detach(), dim=1) for part in (outputs[:, :width], outputs[:, width:]))
    kept = []
    if support is not None:
        kept = [q for q, record in enumerate(support.records.tolist()) if record >= 0 and record not in records]
    neighbours = z.clone()
    for i in range(len(z)):
        if support is not None and kept:
            neighbours[i] = max((support.directions[q] for q in kept), key=lambda entry: float(entry @ z[i]))
    neighbours = functional.normalize(functional.batch_norm(neighbours, None, None, training=True), dim=1)
    total = 0.0
    for i in range(len(z)):
        own, side = i // 2, 1 - i % 2
        terms = {
            k: math.exp(float(neighbours[i] @ p[2 * k + side]) / temperature)
            for k in range(len(z) // 2)
            if k == own or records[k] != records[own]
        }
        total -= math.log(terms[own] / sum(terms.values()))
    return total


@pytest.mark.parametrize("support", [None, entries([-1, -1, -1], 4), entries([0, 9, -1, 8, 3, 7, 7, 1], 4)])
@pytest.mark.parametrize("records", [[0, 1, 2, 3, 4], [0, 1, 1, 3, 0]])
def test_the_loss_is_the_formula(support: Entries | None, records: list[int]) -> None:
    outputs = outputs_of(10, 8)
    objective = NNCLR(alphabet=PROTEIN, temperature=0.2, support=support)
    score = objective.score(outputs, batch_of_views(5, records))
    assert float(score.loss) == pytest.approx(reference(outputs, 0.2, records, support), rel=1e-9)
    has_some = support is not None and len(support.records) > 3
    assert float(score.sums["with_neighbour"] / score.count) == float(has_some)


def test_records_of_the_step_are_no_neighbours_of_it() -> None:
    outputs = outputs_of(6, 8)
    own = Entries(functional.normalize(outputs.detach()[:, :4], dim=1), torch.tensor([0, 0, 1, 1, 2, 2]))
    scores = [
        float(NNCLR(alphabet=PROTEIN, support=each).score(outputs, batch_of_views(3, [0, 1, 2])).loss)
        for each in (own, None)
    ]
    assert scores[0] == scores[1]
    elsewhere = Entries(own.directions, own.records + 10)
    # What is found now is the projection itself, as before, but of records that are not in the step.
    found = NNCLR(alphabet=PROTEIN, support=elsewhere).score(outputs, batch_of_views(3, [0, 1, 2]))
    assert float(found.loss) == pytest.approx(scores[0]) and float(found.sums["with_neighbour"]) == 6


def test_gradients_go_through_predictions_alone() -> None:
    batch, support = batch_of_views(4), entries([8, 9, 7], 3)
    objective = NNCLR(alphabet=PROTEIN, support=support)
    assert torch.autograd.gradcheck(
        lambda predictions: objective.score(torch.cat((outputs_of(8, 3).detach(), predictions), 1), batch).loss,
        outputs_of(8, 3, seed=4),
    )
    outputs = outputs_of(8, 6)
    objective.score(outputs, batch).loss.backward()  # type: ignore[no-untyped-call]
    assert outputs.grad is not None
    assert not outputs.grad[:, :3].any() and outputs.grad[:, 3:].abs().sum() > 0


def test_the_ring_keeps_the_latest() -> None:
    ring = SupportSet(5, 2)
    directions = functional.normalize(torch.randn(12, 2, generator=torch.Generator().manual_seed(0)), dim=1)
    written = 0
    for count in (2, 2, 3, 5):
        ring.write(3 * directions[written : written + count], torch.arange(written, written + count))
        written += count
        latest = {record % 5: record for record in range(written)}
        assert ring.records.tolist() == [latest.get(place, -1) for place in range(5)]
        for place, record in latest.items():
            torch.testing.assert_close(ring.directions[place], directions[record], atol=4e-5, rtol=0)
    ring.write(directions, torch.arange(100, 112))
    assert sorted(ring.records.tolist()) == [107, 108, 109, 110, 111]


def test_no_support_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="support_size is 0"):
        NNCLR(alphabet=PROTEIN, support_size=0)
