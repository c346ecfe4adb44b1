"""Schedules cycle the momentum of every optimiser that has one, ours like those of torch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from seqtrain.optimizers import Optimizer
from seqtrain.optimizers.muon import orthogonalised
from seqtrain.schedules import Triangular, has_momentum, momentum_at, set_momentum
from tests.optimizers.members import MEMBERS

STEPS = 9
CYCLE = Triangular(num_steps=STEPS, num_cycles=2, low_momentum=0.3, high_momentum=0.9)
WITHOUT = {"sgd", "adagrad", "rmsprop", "hypergradient-sgd"}


def momenta() -> list[float]:
    found = [momentum_at(CYCLE, step) for step in range(STEPS)]
    return [each for each in found if each is not None]


def layer() -> nn.Linear:
    torch.manual_seed(3)
    return nn.Linear(4, 3).double()


def path(optimizer: torch.optim.Optimizer, model: nn.Module, cycled: list[float] | None) -> list[dict[str, Any]]:
    """Weights after each step of a least-squares problem, under momenta that change if they are given."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(20, 4, generator=generator).double()
    targets = torch.randn(20, 3, generator=generator).double()
    found = []
    for step in range(STEPS):
        if cycled is not None:
            set_momentum(optimizer.param_groups, cycled[step])
        optimizer.zero_grad()
        rows = slice(2 * step, 2 * step + 2)  # others at each step, so that gradients change their signs
        (model(inputs[rows]) - targets[rows]).square().mean().backward()
        optimizer.step()
        found.append({name: each.detach().numpy().copy() for name, each in model.named_parameters()})
    return found


def trained(member: Optimizer, cycled: list[float] | None) -> list[dict[str, Any]]:
    model = layer()
    return path(member.build(model), model, cycled)


@pytest.mark.parametrize("name", MEMBERS)
def test_every_member_with_a_momentum_follows_the_schedule(name: str) -> None:
    member = MEMBERS[name]
    has = has_momentum(member.build(layer()).param_groups)
    assert has == (name not in WITHOUT)
    plain, cycled = trained(member, None), trained(member, momenta())
    same = all(np.array_equal(one[key], other[key]) for one, other in zip(plain, cycled, strict=True) for key in one)
    assert same == (not has)


@pytest.mark.parametrize("name", [name for name in MEMBERS if name not in WITHOUT])
def test_a_momentum_that_stays_is_that_of_the_optimiser(name: str) -> None:
    """A schedule that holds one value gives what an optimiser built with it gives."""
    member = MEMBERS[name]
    if hasattr(member, "momentum"):
        built: Any = replace(member, momentum=0.6, **({"betas": (0.6, 0.98)} if hasattr(member, "betas") else {}))
    elif hasattr(member, "betas"):
        built = replace(member, betas=(0.6, member.betas[1]))
    else:
        built = replace(member, smoothing=0.6)
    for one, other in zip(trained(member, [0.6] * STEPS), trained(built, None), strict=True):
        for key in one:
            np.testing.assert_array_equal(one[key], other[key])


def test_adams_of_ours_cycle_like_that_of_torch() -> None:
    member = replace(MEMBERS["hypergradient-adam"], rate_of_rate=0.0, weight_decay=0.0)
    model = layer()
    rates = torch.optim.Adam(model.parameters(), lr=member.learning_rate)
    for one, other in zip(trained(member, momenta()), path(rates, model, momenta()), strict=True):
        for key in one:
            np.testing.assert_allclose(one[key], other[key], rtol=1e-9)


def test_sgd_of_ours_cycles_like_that_of_torch() -> None:
    for nesterov in (False, True):
        name = "hypergradient-sgd-nesterov" if nesterov else "hypergradient-sgd-momentum"
        member = replace(MEMBERS[name], rate_of_rate=0.0)
        model = layer()
        theirs = torch.optim.SGD(model.parameters(), lr=member.learning_rate, momentum=0.9, nesterov=nesterov)
        for one, other in zip(trained(member, momenta()), path(theirs, model, momenta()), strict=True):
            for key in one:
                np.testing.assert_allclose(one[key], other[key], rtol=1e-10)


def written_out(name: str, values: list[float]) -> list[dict[str, Any]]:
    """LARS, RMSprop with Nesterov's momentum, AddSign and Muon on the same problem, with a momentum of each step."""
    member: Any = MEMBERS[name]
    model = layer()
    model.bias.requires_grad_(name != "muon")
    state: dict[str, dict[str, Any]] = {key: {} for key, _ in model.named_parameters()}

    class Rule(torch.optim.Optimizer):
        def __init__(self) -> None:
            super().__init__(model.parameters(), {"momentum": 0.9})

        @torch.no_grad()
        def step(self, closure: Any = None) -> None:
            m = self.param_groups[0]["momentum"]
            for key, w in model.named_parameters():
                if w.grad is None:
                    continue
                decay = member.weight_decay if w.ndim > 1 else 0.0
                g, kept = w.grad + (0 if name == "muon" else decay) * w, state[key]
                b = kept.get("b", torch.zeros_like(w))
                if name == "lars":
                    ratio = member.trust * w.norm() / (w.grad.norm() + decay * w.norm()) if w.ndim > 1 else 1.0
                    b = m * b + member.learning_rate * ratio * g
                    w -= b
                elif name == "rmsprop-nesterov":
                    kept["s"] = member.smoothing * kept.get("s", 0) + (1 - member.smoothing) * g * g
                    d = g / (kept["s"].sqrt() + member.eps)
                    b = m * b + d
                    w -= member.learning_rate * (d + m * b)
                elif name == "add-sign-cosine":
                    kept["t"] = kept.get("t", 0) + 1
                    b = m * b + (1 - m) * g
                    w -= member.learning_rate * (member.alpha + member.weight(kept["t"] - 1) * g.sign() * b.sign()) * g
                elif w.ndim > 1:
                    b = m * b + (1 - m) * g
                    direction = orthogonalised([m * b + (1 - m) * g], member.num_iterations)[0]
                    w *= 1 - member.learning_rate * decay
                    w -= member.learning_rate * 0.2 * max(w.shape) ** 0.5 * direction
                kept["b"] = b

    return path(Rule(), model, values)


@pytest.mark.parametrize("name", ["lars", "rmsprop-nesterov", "add-sign-cosine", "muon"])
def test_each_rule_takes_the_momentum_of_the_step(name: str) -> None:
    model = layer()
    model.bias.requires_grad_(name != "muon")  # where it would be AdamW's
    found = path(MEMBERS[name].build(model), model, momenta())
    for one, other in zip(found, written_out(name, momenta()), strict=True):
        for key in one:
            np.testing.assert_allclose(one[key], other[key], rtol=1e-9)
