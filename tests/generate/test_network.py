"""The network of a family: its bounds against quadrature, its parts against torch.distributions."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from seqtrain.models.family_vae import FamilyVAE, FamilyVAEConfig


def network(columns: int = 4, symbols: int = 5, latent: int = 1) -> FamilyVAE:
    """One with weights large enough that the columns depend on each other."""
    generator = torch.Generator().manual_seed(1)
    config = FamilyVAEConfig(num_columns=columns, num_symbols=symbols, width=6, latent=latent)
    built = config.build(generator).double()
    site = torch.log_softmax(torch.randn(columns, symbols, generator=generator), dim=-1)
    built.start_at(site, torch.eye(symbols) + 0.1)
    with torch.no_grad():
        built.decoder_out.mul_(20)
    return built


def exact(built: FamilyVAE, symbols: torch.Tensor) -> torch.Tensor:
    """(N,) ln p(x) of a network with one latent number, by quadrature over -9 to 9 standard deviations."""
    grid = torch.linspace(-9, 9, 6001, dtype=torch.float64)
    with torch.no_grad():
        logs = built.log_likelihood(symbols, grid[:, None, None].expand(-1, len(symbols), 1))
    prior = Normal(0.0, 1.0).log_prob(grid)[:, None] + math.log(float(grid[1] - grid[0]))
    return torch.logsumexp(logs + prior, dim=0)


def test_probabilities_of_all_sequences_sum_to_1() -> None:
    built = network(columns=3, symbols=3)
    everything = torch.tensor(list(itertools.product(range(3), repeat=3)))
    assert exact(built, everything).exp().sum().item() == pytest.approx(1, abs=1e-9)


def test_bounds_lie_below_the_likelihood_and_reach_it_with_many_draws() -> None:
    built = network()
    symbols = torch.randint(0, 5, (8, 4), generator=torch.Generator().manual_seed(2))
    truth = exact(built, symbols)
    noise = torch.randn(40_000, 1, 1, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    with torch.no_grad():
        evidence = built.bound(symbols, noise).total()
        few = built.importance_bound(symbols, noise[:8])
        many = built.importance_bound(symbols, noise)
    assert (evidence < truth + 0.02).all() and (truth - evidence).max() > 0.05
    assert (few - truth).abs().max() < 1.5
    torch.testing.assert_close(many, truth, atol=0.02, rtol=0)


def test_without_weights_the_columns_are_independent_and_the_bound_is_exact() -> None:
    built = network()
    with torch.no_grad():
        built.decoder_out.zero_()
        built.encoder_out.zero_()
    symbols = torch.randint(0, 5, (6, 4), generator=torch.Generator().manual_seed(2))
    noise = torch.randn(3, 1, 1, dtype=torch.float64)
    found = built.bound(symbols, noise)
    expected = built.site[torch.arange(4), symbols].sum(dim=1)
    torch.testing.assert_close(found.total(), expected)
    assert found.divergence.abs().max() == 0
    torch.testing.assert_close(built.marginals(noise[:, 0]), built.site)


def test_divergence_is_that_of_torch() -> None:
    built = network(latent=3)
    symbols = torch.randint(0, 5, (6, 4), generator=torch.Generator().manual_seed(2))
    mean, log_variance = built.encode(symbols)
    expected = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0)).sum(dim=1)
    found = built.bound(symbols, torch.zeros(1, 1, 3, dtype=torch.float64)).divergence
    torch.testing.assert_close(found, expected)
    assert found.min() > 0


def test_weight_of_the_divergence() -> None:
    built = network()
    found = built.bound(torch.zeros(2, 4, dtype=torch.long), torch.ones(1, 1, 1, dtype=torch.float64))
    torch.testing.assert_close(found.total(0.25), found.log_likelihood - 0.25 * found.divergence)


def test_unknown_symbols_say_and_cost_nothing() -> None:
    built = network()
    unknown = torch.tensor([[5, 5, 5, 5]])
    mean, _ = built.encode(unknown)
    bias = torch.tanh(built.encoder_bias) @ built.encoder_out.T
    torch.testing.assert_close(mean[0], bias[:1])
    assert built.log_likelihood(unknown, torch.zeros(1, 1, 1, dtype=torch.float64)).item() == 0
    # One unknown column: the probabilities of the others, summed over what it could be.
    whole = torch.tensor([[0, 1, 2, letter] for letter in range(5)])
    torch.testing.assert_close(
        exact(built, torch.tensor([[0, 1, 2, 5]])), torch.logsumexp(exact(built, whole), dim=0)[None]
    )


def test_penalty_is_minus_the_density_of_the_weights() -> None:
    first, second = network(), network()
    with torch.no_grad():
        for parameter in second.parameters():
            parameter.mul_(0.5)

    def density(built: FamilyVAE) -> torch.Tensor:
        others = (built.decoder_in, built.encoder_in, built.encoder_out)
        prior = Normal(0.0, built.config.prior_deviation)
        return prior.log_prob(built.decoder_out).sum() + sum(Normal(0.0, 1.0).log_prob(each).sum() for each in others)

    torch.testing.assert_close(first.penalty() - second.penalty(), density(second) - density(first))


def test_gradient_by_finite_differences() -> None:
    built = network()
    symbols = torch.randint(0, 6, (3, 4), generator=torch.Generator().manual_seed(2))
    noise = torch.randn(1, 1, 1, generator=torch.Generator().manual_seed(4), dtype=torch.float64)

    def value() -> torch.Tensor:
        return built.bound(symbols, noise).total(0.5).sum() - built.penalty()

    gradients = torch.autograd.grad(value(), list(built.parameters()))
    for parameter, gradient in zip(built.parameters(), gradients, strict=True):
        place = int(gradient.abs().flatten().argmax())
        with torch.no_grad():
            cell = parameter.view(-1)
            cell[place] += 1e-5
            above = value()
            cell[place] -= 2e-5
            slope = (above - value()) / 2e-5
            cell[place] += 1e-5
        assert slope.item() == pytest.approx(gradient.flatten()[place].item(), rel=1e-5)


@pytest.mark.parametrize(
    "field", [{"num_columns": 0}, {"num_columns": 3, "latent": 0}, {"num_columns": 3, "prior_deviation": 0.0}]
)
def test_sizes_that_cannot_be(field: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="give a number"):
        FamilyVAEConfig(**field)
