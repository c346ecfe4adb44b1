"""Exp3.S against its formulas written out, and what it does with rewards that differ."""

from __future__ import annotations

import json
import math
from dataclasses import asdict

import numpy as np
import pytest

from seqtrain.bandit import BanditState, Exp3S


def by_hand(bandit: Exp3S, given: list[tuple[int, float]], num_groups: int) -> tuple[list[float], list[float]]:
    """The policy and, up to a constant, the log weights after some rewards: equations of Graves et al. 2017, term by
    term, with all rewards kept for the quantiles."""
    weights, seen = [0.0] * num_groups, []
    for t, (group, progress) in enumerate(given, start=2):
        policy = policy_by_hand(bandit, weights)
        seen.append(progress)
        low, high = np.quantile(seen, 0.2), np.quantile(seen, 0.8)
        reward = 0.0 if high == low else float(np.clip(2 * (progress - low) / (high - low) - 1, -1, 1))
        grown = [
            weight + bandit.rate * ((reward if each == group else 0.0) + bandit.beta) / policy[each]
            for each, weight in enumerate(weights)
        ]
        alpha = 1 / t
        weights = [
            math.log(
                (1 - alpha) * math.exp(own)
                + alpha / (num_groups - 1) * sum(math.exp(other) for k, other in enumerate(grown) if k != each)
            )
            for each, own in enumerate(grown)
        ]
    return policy_by_hand(bandit, weights), weights


def policy_by_hand(bandit: Exp3S, weights: list[float]) -> list[float]:
    total = sum(map(math.exp, weights))
    return [(1 - bandit.epsilon) * math.exp(each) / total + bandit.epsilon / len(weights) for each in weights]


@pytest.mark.parametrize("bandit", [Exp3S(), Exp3S(rate=0.3, epsilon=0.2), Exp3S(rate=0.1, beta=0.5)], ids=repr)
def test_updates_are_those_of_the_paper(bandit: Exp3S) -> None:
    generator = np.random.default_rng(0)
    given = [(int(generator.integers(4)), float(generator.normal())) for _ in range(60)]
    state = BanditState.start(4)
    for number, (group, progress) in enumerate(given, start=1):
        state = bandit.rewarded(state, group, progress)
        policy, weights = by_hand(bandit, given[:number], 4)
        np.testing.assert_allclose(bandit.policy(state), policy, rtol=1e-9)
        differences = np.array(state.log_weights) - np.array(weights)
        np.testing.assert_allclose(differences, differences[0], atol=1e-9)
    assert np.ptp(state.log_weights) > 1e-3 and state.num_rewards == 60


def test_choices_have_the_shares_of_the_policy_and_are_functions_of_seed_and_step() -> None:
    state = BanditState((0.0, 1.0, -2.0), (0, 0, 0))
    bandit = Exp3S(seed=5)
    chosen = [bandit.chosen(state, step) for step in range(4000)]
    shares = np.bincount(chosen, minlength=3) / len(chosen)
    # Deviations of a share of 4,000 draws are below 0.008.
    np.testing.assert_allclose(shares, bandit.policy(state), atol=0.03)
    assert chosen == [bandit.chosen(state, step) for step in range(4000)]
    assert chosen != [Exp3S(seed=6).chosen(state, step) for step in range(4000)]


def test_it_finds_what_pays_and_turns_when_that_changes() -> None:
    bandit, state, shares = Exp3S(rate=0.03), BanditState.start(3), []
    noise = np.random.default_rng(1).normal(size=3000)
    for step in range(3000):
        group = bandit.chosen(state, step)
        pays = 0 if step < 1500 else 2
        state = bandit.rewarded(state, group, float(group == pays) + 0.3 * noise[step])
        shares.append(bandit.policy(state))
    assert shares[1499][0] > 0.8 and shares[2999][2] > 0.8
    assert min(share.min() for share in shares) >= 0.05 / 3 - 1e-12


def test_the_same_rewards_for_all_prefer_nothing_and_none_is_no_number() -> None:
    bandit, state = Exp3S(rate=0.5), BanditState.start(4)
    for step in range(50):
        state = bandit.rewarded(state, step % 4, 0.25)
    np.testing.assert_allclose(bandit.policy(state), 0.25)
    for progress in (math.nan, math.inf, -math.inf):
        assert bandit.rewarded(state, 1, progress) == bandit.rewarded(state, 1, 0.0)


def test_a_thousand_rewards_are_kept_as_an_even_sample() -> None:
    bandit, state = Exp3S(seed=3), BanditState.start(2)
    for step in range(3000):
        state = bandit.rewarded(state, step % 2, float(step))
    assert len(state.rewards) == 1000 == len(set(state.rewards)) and state.num_rewards == 3000
    # Numbers 0 … 2999 evenly drawn: their mean is within four deviations, 4 * 866 / sqrt(1000).
    assert abs(np.mean(state.rewards) - 1499.5) < 110


def test_a_state_survives_json_to_the_bit() -> None:
    bandit, state = Exp3S(rate=0.1), BanditState.start(3)
    for step in range(20):
        state = bandit.rewarded(state, step % 3, math.sin(step))
    assert BanditState.from_json(json.loads(json.dumps(asdict(state)))) == state
