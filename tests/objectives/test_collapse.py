"""Measures of collapse against closed forms and numpy, and the words that are said."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from seqtrain.objectives.collapse import collapse_measures, collapsed


def rows_of(count: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def test_directions_drawn_evenly_fill_the_sphere() -> None:
    measures = collapse_measures(rows_of(4000, 32), rows_of(4000, 32, seed=1))
    assert measures["spread"] == pytest.approx(1, abs=0.01)
    assert measures["effective_rank"] == pytest.approx(32, abs=0.1)
    assert measures["cosine"] == pytest.approx(0, abs=0.002)
    assert measures["alignment"] == pytest.approx(2, abs=0.02)
    # In many dimensions d² is about normal, with mean 2 and variance 4 / K, and so is known the mean of exp(-2 d²).
    assert measures["uniformity"] == pytest.approx(-4 + 0.5 * 16 / 32, abs=0.02)
    assert collapsed(measures) is None


def test_one_answer_for_all_is_a_collapse() -> None:
    rows = torch.ones(50, 8) * torch.arange(1, 51)[:, None]
    measures = collapse_measures(rows, rows)
    assert measures["spread"] == pytest.approx(0, abs=1e-7) and measures["effective_rank"] == pytest.approx(1, abs=1e-6)
    assert measures["cosine"] == pytest.approx(1) and measures["uniformity"] == pytest.approx(0, abs=1e-9)
    said = collapsed(measures)
    assert said is not None and "nearly the same for all sequences" in said and "learning-rate" in said
    assert "\n" not in said


def test_one_direction_with_two_signs_is_a_collapse_too() -> None:
    rows = torch.ones(40, 8) * torch.tensor([1.0, -1.0]).repeat(20)[:, None] + 0.01 * rows_of(40, 8)
    measures = collapse_measures(rows, rows)
    assert measures["spread"] == pytest.approx(1, abs=0.01)
    said = collapsed(measures)
    assert said is not None and "single direction" in said


def test_figures_are_those_of_numpy() -> None:
    first, second = rows_of(9, 5).double() + 1, rows_of(9, 5, seed=2).double() + 1
    one, other = (rows.numpy() / np.linalg.norm(rows.numpy(), axis=1, keepdims=True) for rows in (first, second))
    measures = collapse_measures(first, second)
    values = np.linalg.svd(one, compute_uv=False)
    shares = values / values.sum()
    pairs = ~np.eye(9, dtype=bool)
    distances = ((one[:, None] - one) ** 2).sum(-1)
    assert measures["spread"] == pytest.approx(one.std(0).mean() * math.sqrt(5))
    assert measures["effective_rank"] == pytest.approx(np.exp(-(shares * np.log(shares)).sum()))
    assert measures["cosine"] == pytest.approx((one @ one.T)[pairs].mean())
    assert measures["alignment"] == pytest.approx(((one - other) ** 2).sum(1).mean())
    assert measures["uniformity"] == pytest.approx(np.log(np.exp(-2 * distances)[pairs].mean()))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_few_sequences_that_differ_are_no_collapse(count: int) -> None:
    # Of two directions at a cosine of 0.9, the effective rank is below 1.6, and of one it is 1, whatever was learnt.
    rows = 3 + rows_of(count, 64)
    measures = collapse_measures(rows, rows)
    assert collapsed(measures) is None
    assert math.isnan(measures["effective_rank"]) and math.isnan(measures["spread"]) == (count == 1)


def test_two_sequences_with_one_answer_are_a_collapse() -> None:
    said = collapsed(collapse_measures(torch.ones(2, 8), torch.ones(2, 8)))
    assert said is not None and "nearly the same for all sequences" in said


def test_one_sequence_has_no_pairs() -> None:
    measures = collapse_measures(rows_of(1, 4), rows_of(1, 4, seed=1))
    assert math.isnan(measures["cosine"]) and math.isnan(measures["uniformity"])
