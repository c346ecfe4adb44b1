"""NT-Xent against the formula written out in loops, in closed form where there is one, and by finite differences."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from seqtrain.alphabet import PROTEIN
from seqtrain.objectives import SimCLR
from tests.objectives.contrasts import batch_of_views, outputs_of


def nt_xent(rows: Tensor, temperature: float, records: list[int], weights: list[float]) -> tuple[float, float]:
    """Equation 1 of Chen et al. (2020) view by view; views of one record in other examples left out."""
    values = rows.detach().tolist()

    def cosine(a: list[float], b: list[float]) -> float:
        return sum(x * y for x, y in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)

    total = 0.0
    for i, view in enumerate(values):
        positive = i + 1 if i % 2 == 0 else i - 1
        others = [k for k in range(len(values)) if k == positive or (k != i and records[k // 2] != records[i // 2])]
        terms = {k: math.exp(cosine(view, values[k]) / temperature) for k in others}
        total -= weights[i // 2] * math.log(terms[positive] / sum(terms.values()))
    return total, 2 * sum(weights)


@pytest.mark.parametrize("temperature", [0.1, 0.5])
@pytest.mark.parametrize(
    ("records", "weights"),
    [([0, 1, 2, 3, 4], None), ([0, 1, 1, 2, 1], None), ([3, 3, 2, 1, 0], [0.5, 0.5, 1.0, 2.0, 0.25])],
)
def test_the_loss_is_the_formula(temperature: float, records: list[int], weights: list[float] | None) -> None:
    outputs = outputs_of(10, 6)
    score = SimCLR(alphabet=PROTEIN, temperature=temperature).score(outputs, batch_of_views(5, records, weights))
    loss, count = nt_xent(outputs, temperature, records, weights or [1.0] * 5)
    assert float(score.loss) == pytest.approx(loss, rel=1e-10)
    assert float(score.count) == pytest.approx(count)


def test_gradients_are_finite_differences() -> None:
    batch, objective = batch_of_views(4, [0, 1, 1, 2]), SimCLR(alphabet=PROTEIN)
    assert torch.autograd.gradcheck(lambda rows: objective.score(rows, batch).loss, outputs_of(8, 3))


def test_equal_views_of_orthogonal_sequences_have_the_loss_they_must() -> None:
    outputs = torch.eye(4, dtype=torch.float64).repeat_interleave(2, 0) * 7
    score = SimCLR(alphabet=PROTEIN, temperature=0.5).score(outputs, batch_of_views(4))
    assert float(score.loss) / 8 == pytest.approx(-math.log(math.exp(2) / (math.exp(2) + 6)))
    assert float(score.sums["accuracy"]) == 8


def test_equal_answers_for_all_are_worth_the_logarithm_of_the_choices() -> None:
    score = SimCLR(alphabet=PROTEIN).score(torch.ones(12, 3), batch_of_views(6))
    assert float(score.loss / score.count) == pytest.approx(math.log(11), rel=1e-5)


def test_one_record_has_nothing_to_be_told_from() -> None:
    outputs = outputs_of(4, 3)
    score = SimCLR(alphabet=PROTEIN).score(outputs, batch_of_views(2, [7, 7]))
    assert float(score.loss) == 0
    score.loss.backward()  # type: ignore[no-untyped-call]
    assert outputs.grad is not None and not outputs.grad.any()
