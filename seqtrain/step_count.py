"""How many steps it takes to consume a number of examples."""

from __future__ import annotations

from itertools import islice

from seqtrain.batching import Examples, steps_from

_COUNTED_STEPS = 2000
_SAMPLED_PARTS, _STEPS_OF_A_PART = 100, 20


def num_steps_for(examples: Examples, tokens_per_step: int, num_examples: float, seed: int) -> int:
    """Steps that it takes to consume a number of examples, counted on the steps themselves.

    Beyond the first steps of a large number the rest is estimated from steps here and there, as curricula change how
    many examples a step takes.
    """
    for number, step in enumerate(steps_from(examples, tokens_per_step, 0, seed), start=1):
        if step.next_position >= num_examples:
            return number
        if number == _COUNTED_STEPS:
            return number + round(_sampled_num_steps(examples, tokens_per_step, step.next_position, num_examples, seed))
    raise AssertionError("steps never end")


def _sampled_num_steps(examples: Examples, tokens_per_step: int, start: int, stop: float, seed: int) -> float:
    """Steps from one number of consumed examples to another, at the rate of some of them in each of equal parts."""
    part = (stop - start) / _SAMPLED_PARTS
    total = 0.0
    for number in range(_SAMPLED_PARTS):
        middle = round(start + (number + 0.5) * part)
        steps = islice(steps_from(examples, tokens_per_step, middle, seed), _STEPS_OF_A_PART)
        *_, last = (step.next_position for step in steps)
        total += part * _STEPS_OF_A_PART / (last - middle)
    return total
