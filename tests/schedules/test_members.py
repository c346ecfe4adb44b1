"""What is true of every schedule: pure, finite, within its bounds, at rest after the last step, chosen in words."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError, fields
from typing import Any, get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seqtrain.errors import InputError
from seqtrain.schedules import (
    BatchGrowth,
    Evaluation,
    ExpRange,
    LinearCosine,
    NoisyLinearCosine,
    OneCycle,
    Schedule,
    Triangular,
    Triangular2,
    batch_factor_at,
    has_momentum,
    momentum_at,
    set_momentum,
)
from seqtrain.words import name_of, names_of, read_words
from tests.other_process import there_and_back

MEMBERS: tuple[Any, ...] = get_args(Schedule)
WARMED = [kind for kind in MEMBERS if "warmup_fraction" in {field.name for field in fields(kind)}]
CYCLES_MOMENTUM = {Triangular, Triangular2, ExpRange, OneCycle}
HISTORY = [Evaluation(step, 1 + step / 100) for step in range(0, 60, 5)]

# First and last factor of 50 steps with the defaults; the noisy one is held to its own tests.
ENDS = {
    "constant": (1, 1),
    "step-decay": (1, 0.01),
    "exponential": (1, 0.01),
    "linear": (1, 0),
    "polynomial": (1, 0),
    "inverse-square-root": (1 / 5, math.sqrt(5 / 50)),
    "warmup-cosine": (1 / 5, 0),
    "warm-restarts": (1, 0),
    "warmup-stable-decay": (1 / 2, 0),
    "triangular": (0.25, 0.25),
    "triangular2": (0.25, 0.25),
    "exp-range": (0.25, 0.25),
    "one-cycle": (0.04, 4e-6),
    "linear-cosine": (1.001, 0.001),
    "noisy-linear-cosine": (None, 0.001),
    "plateau": (1, 1),
    "batch-growth": (1, 1),
}


def _highest(kind: Any) -> float:
    return {LinearCosine: 1.001, NoisyLinearCosine: 10.0}.get(kind, 1.0)


@pytest.mark.parametrize("kind", MEMBERS, ids=name_of)
@settings(derandomize=True, database=None, deadline=None, max_examples=25)
@given(st.integers(1, 120), st.floats(0, 1), st.booleans())
def test_factors_are_finite_and_bounded(kind: Any, num_steps: int, warmup: float, evaluated: bool) -> None:
    given_fields = {"num_steps": num_steps}
    if kind in WARMED and kind.__name__ != "WarmupStableDecay":
        given_fields["warmup_fraction"] = warmup
    schedule = kind(**given_fields)
    history = HISTORY if evaluated else ()
    factors = [schedule(step, history) for step in range(num_steps + 3)]
    assert all(type(factor) is float and 0 <= factor <= _highest(kind) + 1e-12 for factor in factors)
    assert max(factors) > 0
    if kind.__name__ != "Plateau":
        assert len(set(factors[num_steps - 1 :])) == 1
    assert factors == [schedule(step, history) for step in range(num_steps + 3)]
    for step in range(num_steps):
        momentum = momentum_at(schedule, step)
        assert (momentum is None) == (kind not in CYCLES_MOMENTUM)
        assert momentum is None or 0.85 - 1e-12 <= momentum <= 0.95 + 1e-12
        assert (batch_factor_at(schedule, step) == 1) or kind is BatchGrowth


@pytest.mark.parametrize("kind", MEMBERS, ids=name_of)
def test_first_and_last_factor(kind: Any) -> None:
    first, last = ENDS[name_of(kind)]
    schedule = kind(num_steps=50)
    assert schedule(49) == schedule(50) == schedule(10**9) == pytest.approx(last, abs=1e-12)
    if first is not None:
        assert schedule(0) == pytest.approx(first)
    assert schedule(0) > 0


@pytest.mark.parametrize("kind", MEMBERS, ids=name_of)
def test_values_that_can_be_pickled_compared_and_not_changed(kind: Any) -> None:
    schedule = kind(num_steps=50)
    copy = there_and_back(schedule)
    assert copy == schedule and hash(copy) == hash(schedule)
    assert [copy(step) for step in range(50)] == [schedule(step) for step in range(50)]
    with pytest.raises(FrozenInstanceError):
        schedule.num_steps = 3


@pytest.mark.parametrize("kind", MEMBERS, ids=name_of)
def test_only_the_plateau_looks_at_the_history(kind: Any) -> None:
    schedule = kind(num_steps=50)
    same = [schedule(step, HISTORY) for step in range(50)] == [schedule(step) for step in range(50)]
    assert same == (kind.__name__ != "Plateau")


@pytest.mark.parametrize("kind", MEMBERS, ids=name_of)
@pytest.mark.parametrize("num_steps", [0, -5, None, 2.5, True], ids=str)
def test_a_schedule_has_an_end(kind: Any, num_steps: Any) -> None:
    with pytest.raises(ValueError, match=r"num_steps is .*, but a schedule needs an end; give"):
        kind(num_steps=num_steps)


@pytest.mark.parametrize("kind", MEMBERS, ids=name_of)
def test_fractions_outside_their_range(kind: Any) -> None:
    for field in fields(kind):
        for value in (-0.1, 1.1, math.nan):
            rises = kind.__name__ == "Exponential" and value == 1.1
            if field.name.endswith("_fraction") and not rises:
                with pytest.raises(ValueError, match=rf"^{field.name} is [^\n]*; give [^\n]*$"):
                    kind(num_steps=50, **{field.name: value})


@pytest.mark.parametrize("kind", MEMBERS, ids=name_of)
def test_every_field_but_the_end_has_a_default_and_can_be_written(kind: Any) -> None:
    plain, left = read_words(name_of(kind), Schedule, "schedule", given={"num_steps": 40, "seed": 0})
    assert plain == kind(num_steps=40) and not left
    written = []
    for field in fields(kind):
        value = getattr(plain, field.name)
        text = "/".join(map(str, value)) if isinstance(value, tuple) else str(value)
        written.append(f"{field.name}={text.lower() if isinstance(value, bool) else text}")
    again, _ = read_words(f"{name_of(kind)}:{','.join(written)}", Schedule, "schedule")
    assert again == plain
    with pytest.raises(InputError, match="needs num_steps"):
        read_words(name_of(kind), Schedule, "schedule")


def test_every_member_is_known_here() -> None:
    assert set(names_of(Schedule)) == set(ENDS)


def test_words_that_do_not_fit() -> None:
    given_steps = {"num_steps": 100}
    schedule, _ = read_words("one-cycle:peak_fraction=0.25", Schedule, "schedule", given=given_steps)
    assert schedule == OneCycle(num_steps=100, peak_fraction=0.25)
    with pytest.raises(InputError, match=r"no schedule is called 'one-cycles'; did you mean 'one-cycle'"):
        read_words("one-cycles", Schedule, "schedule", given=given_steps)
    with pytest.raises(InputError, match=r"one-cycle: peak_fraction is 1.5; give a fraction from 0 to 1"):
        read_words("one-cycle:peak_fraction=1.5", Schedule, "schedule", given=given_steps)


def test_momentum_goes_to_the_groups_that_have_one() -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    cases = [
        (torch.optim.SGD([parameter], lr=0.1, momentum=0.9), {"momentum": 0.5}),
        (torch.optim.SGD([parameter], lr=0.1), {"momentum": 0}),
        (torch.optim.AdamW([parameter], betas=(0.9, 0.98)), {"betas": (0.5, 0.98)}),
        (torch.optim.AdamW([parameter], betas=(0.0, 0.98)), {"betas": (0.0, 0.98)}),
        (torch.optim.RMSprop([parameter], momentum=0.8, alpha=0.97), {"momentum": 0.5, "alpha": 0.97}),
        (torch.optim.Adagrad([parameter]), {"lr_decay": 0}),
    ]
    for optimizer, expected in cases:
        momenta = [value for value in expected.values() if value in (0.5, (0.5, 0.98))]
        assert has_momentum(optimizer.param_groups) == bool(momenta)
        set_momentum(optimizer.param_groups, 0.5)
        assert {name: optimizer.param_groups[0][name] for name in expected} == expected
