"""The learning rate climbs in a line to its peak and comes down along half a cosine."""

from __future__ import annotations

import math

import pytest

from seqtrain.schedules import WarmupCosine


def test_closed_form() -> None:
    schedule = WarmupCosine(num_steps=101, warmup_fraction=0.2, final_fraction=0.1)
    for step in range(20):
        assert schedule(step) == pytest.approx((step + 1) / 20)
    for step in range(20, 101):
        angle = math.pi * (step - 20) / 80
        assert schedule(step) == pytest.approx(0.1 + 0.9 * (1 + math.cos(angle)) / 2)


def test_landmarks() -> None:
    schedule = WarmupCosine(num_steps=1000)
    assert schedule(0) == pytest.approx(0.01)
    assert schedule(99) == schedule(100) == pytest.approx(1.0)
    assert schedule(999) == pytest.approx(0.0, abs=1e-12)
    assert schedule(5000) == schedule(999)
    factors = [schedule(step) for step in range(1000)]
    assert factors[:100] == sorted(factors[:100]) and factors[100:] == sorted(factors[100:], reverse=True)


@pytest.mark.parametrize("num_steps", [1, 2, 3, 10])
@pytest.mark.parametrize("warmup_fraction", [0.0, 0.1, 0.5, 0.99])
def test_short_trainings_have_rates_between_zero_and_the_peak(num_steps: int, warmup_fraction: float) -> None:
    schedule = WarmupCosine(num_steps=num_steps, warmup_fraction=warmup_fraction)
    factors = [schedule(step) for step in range(num_steps)]
    assert all(-1e-12 <= factor <= 1 for factor in factors)
    assert factors[0] > 0 and max(factors) == 1.0
