"""Optimisers of our own are update rules over lists of tensors; one torch optimiser applies any of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class Group:
    """The P parameters of one group that have a gradient, row by row."""

    parameters: list[Tensor]
    gradients: list[Tensor]
    """Not to be changed in place: they are the parameters' own."""
    states: list[dict[str, Any]]
    """What is kept of each parameter between steps: tensors and numbers, so that a checkpoint can hold it."""
    rate: float
    """Of this step."""
    weight_decay: float
    momentum: float = 0.0
    """Of this step, as a schedule may have set it; 0 for a rule without one."""
    betas: tuple[float, float] = (0.0, 0.0)
    """Of this step; zeros for a rule that has none."""

    def tensors(self, name: str) -> list[Tensor]:
        """The tensors that are kept under a name, one per parameter and of its shape; zeros at first."""
        for parameter, state in zip(self.parameters, self.states, strict=True):
            if name not in state:
                state[name] = torch.zeros_like(parameter)
        return [state[name] for state in self.states]

    def next_steps(self) -> list[int]:
        """(P,) how many updates each parameter will have had after this one; advances the counts."""
        for state in self.states:
            state["step"] = state.get("step", 0) + 1
        return [state["step"] for state in self.states]

    def decayed_gradients(self) -> list[Tensor]:
        """The gradients of the loss plus (weight_decay / 2) * |parameters|^2: coupled decay, or L2."""
        if not self.weight_decay:
            return self.gradients
        decayed: list[Tensor] = list(torch._foreach_add(self.gradients, self.parameters, alpha=self.weight_decay))
        return decayed


@dataclass(frozen=True)
class Groups:
    """All groups in which any parameter has a gradient."""

    members: list[Group]
    shared: dict[str, Any]
    """What is kept of the model as a whole between steps: numbers."""

    def __iter__(self) -> Iterator[Group]:
        return iter(self.members)


class Rule(Protocol):
    """One step of an optimiser."""

    def update(self, groups: Groups) -> None:
        """Change the parameters and what is kept of them; called without recording gradients."""
        ...


class RuleOptimizer(torch.optim.Optimizer):
    """A torch optimiser that applies a rule."""

    def __init__(
        self,
        groups: list[dict[str, Any]],
        rule: Rule,
        *,
        momentum: float | None = None,
        betas: tuple[float, float] | None = None,
    ) -> None:
        """momentum, betas: of the rule, where it has them; they stand in the groups, where schedules find them."""
        given = {"momentum": momentum, "betas": betas}
        defaults = {name: value for name, value in given.items() if value is not None}
        super().__init__([{**defaults, **group} for group in groups], {})
        self.rule = rule

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Make one update; returns what the closure, if any, returns."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        members = []
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if parameters:
                gradients = [parameter.grad for parameter in parameters]
                states = [self.state[parameter] for parameter in parameters]
                momenta = {name: group[name] for name in ("momentum", "betas") if name in group}
                rate, decay = float(group["lr"]), group["weight_decay"]
                members.append(Group(parameters, gradients, states, rate, decay, **momenta))
        if members:
            # Torch saves what is kept under parameters only, so what the model shares goes with the first of them.
            self.rule.update(Groups(members, self.state[self.param_groups[0]["params"][0]]))
        return loss


def trust_ratios(parameters: list[Tensor], denominators: Tensor) -> list[Tensor]:
    """P scalars |parameter| / denominator, from denominators (P,); 1 for biases and norms, and where either is 0."""
    norms = torch.stack(torch._foreach_norm(parameters))
    adapted = torch.tensor([parameter.ndim > 1 for parameter in parameters], device=norms.device)
    adapted &= (norms > 0) & (denominators > 0)
    return list(torch.where(adapted, norms / denominators, 1.0).unbind())
