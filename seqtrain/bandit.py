"""Exp3.S, a bandit that chooses among groups and follows what pays now (Auer et al. 2002; Graves et al. 2017)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqtrain.draws import below, fold, mix

_KEPT = 1000
"""Rewards from which the quantiles are taken: a sample of all so far, drawn as a reservoir."""
_LOW, _HIGH = 0.2, 0.8
"""Quantiles of the rewards that become -1 and 1; what is beyond them is cut (Graves et al. 2017)."""


@dataclass(frozen=True)
class BanditState:
    """What a bandit knows: numbers only, so that a checkpoint holds it."""

    log_weights: tuple[float, ...]
    """(G,) one per group; 0 at first."""
    consumed: tuple[int, ...]
    """(G,) examples that have been taken from each group."""
    num_rewards: int = 0
    rewards: tuple[float, ...] = ()
    """A sample of those so far, as they came."""

    @classmethod
    def start(cls, num_groups: int) -> BanditState:
        """Nothing known of so many groups."""
        return cls((0.0,) * num_groups, (0,) * num_groups)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> BanditState:
        """The inverse of ``dataclasses.asdict`` after a journey through JSON, to the bit."""
        return cls(
            tuple(values["log_weights"]), tuple(values["consumed"]), values["num_rewards"], tuple(values["rewards"])
        )


@dataclass(frozen=True, kw_only=True)
class Exp3S:
    """The policy and its updates, as pure functions of the state (Graves et al. 2017, arXiv:1704.03003, section 2).

    With rewards r in [-1, 1], of which only that of the chosen group a is seen, group i has after t rewards the weight
    log((1 - alpha) exp(w_i + rate r_i) + alpha / (G - 1) sum over j != i of exp(w_j + rate r_j)), where
    r_i = (r [a = i] + beta) / policy_i and alpha = 1 / (t + 1). The weights start at 0.
    """

    rate: float = 0.01
    """Of learning, eta. The paper's 0.001 is for hundreds of thousands of steps."""
    epsilon: float = 0.05
    """Share of the choices that are made evenly among all groups, as in the paper."""
    beta: float = 0.0
    """Optimism about groups that are seldom chosen; 0 in the paper."""
    seed: int = 0

    def policy(self, state: BanditState) -> NDArray[np.float64]:
        """(G,) probability of each group: (1 - epsilon) softmax(log weights) + epsilon / G."""
        weights = np.array(state.log_weights)
        shares = np.exp(weights - weights.max())
        mixed: NDArray[np.float64] = (1 - self.epsilon) * shares / shares.sum() + self.epsilon / len(shares)
        return mixed

    def chosen(self, state: BanditState, step: int) -> int:
        """The group of a step: a draw from the policy that is a function of seed and step."""
        place = ((fold(self.seed, "group of a step", step) >> 11) & ((1 << 53) - 1)) * 2.0**-53
        ends = np.cumsum(self.policy(state))
        return min(int(np.searchsorted(ends, place * ends[-1], side="right")), len(ends) - 1)

    def rewarded(self, state: BanditState, group: int, progress: float) -> BanditState:
        """The state after a step on a group that made some progress, in whatever unit; nan and infinity count as 0."""
        if not math.isfinite(progress):
            progress = 0.0
        seen = state.num_rewards + 1
        rewards = self._sampled(state, progress)
        low, high = np.quantile(rewards, [_LOW, _HIGH]).tolist()
        reward = 0.0 if high <= low else min(1.0, max(-1.0, 2 * (progress - low) / (high - low) - 1))
        policy = self.policy(state)
        estimates = self.beta / policy
        estimates[group] += reward / policy[group]
        grown = np.array(state.log_weights) + self.rate * estimates
        grown -= grown.max()
        weights, alpha = np.exp(grown), 1 / (seen + 1)
        mixed = (1 - alpha) * weights + alpha * (weights.sum() - weights) / (len(weights) - 1)
        return replace(state, log_weights=tuple(np.log(mixed).tolist()), num_rewards=seen, rewards=tuple(rewards))

    def _sampled(self, state: BanditState, progress: float) -> list[float]:
        """The sample of rewards with one more: each so far is in it with the same chance (Vitter 1985, algorithm R)."""
        rewards = list(state.rewards)
        if len(rewards) < _KEPT:
            return [*rewards, progress]
        bits = np.array([fold(self.seed, "reservoir", state.num_rewards)])
        place = int(below(mix(bits), state.num_rewards + 1)[0])
        if place < _KEPT:
            rewards[place] = progress
        return rewards
