"""A variational autoencoder of aligned columns, for families of few members (Kingma & Welling 2013, arXiv:1312.6114).

    z ~ N(0, 1),   ln p(letter s in column c | z) = log-softmax over s of  site[c, s] + Σ_h tanh(A z + a)_h W[h, c, s]

It starts at the independent columns ``site`` and only learns how they depend on each other. Three things keep it from
learning its few members by heart, where DeepSequence (Riesselman et al. 2018) and EVE (Frazer et al. 2021), which have
thousands of sequences, put a posterior over the weights of far larger decoders:

* weights have Gaussian priors, and the most probable weights are sought, not their distribution;
* W = V · similarity: letters that replace each other move together;
* the encoder sees a sequence only through the decoder's own weights, (x - p) · W, which is the direction in which the
  log-likelihood rises at the independent columns. An encoder with weights of its own learns the members by heart first.

Shapes: N sequences, C columns, S symbols (letters and the gap), H hidden units (the width), Z latent numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

_LOG_VARIANCES = (-8.0, 4.0)
"""Where the encoder's log-variances are held: outside, one step could make the bound infinite."""


@dataclass(frozen=True, kw_only=True)
class FamilyVAEConfig:
    """Sizes of the network."""

    num_columns: int
    """C."""
    num_symbols: int = 21
    """S: letters and, last, the gap."""
    width: int = 32
    """H."""
    latent: int = 4
    """Z."""
    prior_deviation: float = 0.15
    """Standard deviation of the prior of each weight of V, in nats per hidden unit; all other matrices have 1."""

    def __post_init__(self) -> None:
        for name in ("num_columns", "num_symbols", "width", "latent"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; give a number of at least 1")
        if not 0 < self.prior_deviation < math.inf:
            raise ValueError(f"prior_deviation is {self.prior_deviation}; give a number above 0")

    def build(self, generator: torch.Generator | None = None) -> FamilyVAE:
        """A network with fresh weights, drawn from a generator; its columns are uniform and its symbols unlike."""
        return FamilyVAE(self, generator)


@dataclass(frozen=True, kw_only=True)
class Bound:
    """The two parts of the evidence lower bound of each of N sequences, in nats."""

    log_likelihood: Tensor
    """(N,) mean over draws of ln p(x | z), z from the encoder."""
    divergence: Tensor
    """(N,) KL divergence of the encoder's Gaussian from N(0, 1)."""

    def total(self, weight: float = 1.0) -> Tensor:
        """(N,) log-likelihood less ``weight`` times the divergence; with 1 a lower bound of ln p(x)."""
        return self.log_likelihood - weight * self.divergence


class FamilyVAE(nn.Module):
    """Symbols (N, C), S for an unknown one, to latent Gaussians and back to (N, C, S) log-probabilities."""

    site: Tensor
    similarity: Tensor

    def __init__(self, config: FamilyVAEConfig, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        columns, symbols, width, latent = config.num_columns, config.num_symbols, config.width, config.latent

        def normal(*shape: int, deviation: float) -> nn.Parameter:
            return nn.Parameter(torch.randn(*shape, generator=generator) * deviation)

        self.decoder_in = normal(width, latent, deviation=latent**-0.5)
        self.decoder_bias = normal(width, deviation=0.3)
        self.decoder_out = normal(width, columns, symbols, deviation=0.1 * width**-0.5)
        self.encoder_in = normal(width, width, deviation=width**-0.5)
        self.encoder_bias = nn.Parameter(torch.zeros(width))
        self.encoder_out = normal(2 * latent, width, deviation=width**-0.5)
        self.register_buffer("site", torch.full((columns, symbols), -math.log(symbols)))
        self.register_buffer("similarity", torch.eye(symbols))

    def start_at(self, site: Tensor, similarity: Tensor) -> None:
        """Take the log-probabilities (C, S) of independent columns, and (S, S) how alike symbols are."""
        self.site.copy_(site)
        self.similarity.copy_(similarity)

    def weights(self) -> Tensor:
        """(H, C S) W, as one matrix."""
        return (self.decoder_out @ self.similarity).flatten(1)

    def encode(self, symbols: Tensor, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(N, C) symbols -> mean and log-variance (N, Z) of the latent Gaussians; unknown symbols say nothing.

        Args:
            weights: :meth:`weights`, where they are known already.
        """
        weights = self.weights() if weights is None else weights
        num_symbols = self.config.num_symbols
        known = symbols < num_symbols
        hot = nn.functional.one_hot(symbols.clamp(max=num_symbols - 1), num_symbols).to(self.site.dtype)
        surprise = (hot - self.site.exp()) * known[..., None]
        direction = surprise.flatten(1) @ weights.T
        hidden = torch.tanh(direction @ self.encoder_in.T + self.encoder_bias) @ self.encoder_out.T
        mean, log_variance = hidden[:, : self.config.latent], hidden[:, self.config.latent :]
        return mean, log_variance.clamp(*_LOG_VARIANCES)

    def decode(self, latent: Tensor, weights: Tensor | None = None) -> Tensor:
        """(..., Z) -> (..., C, S) log-probabilities."""
        weights = self.weights() if weights is None else weights
        hidden = torch.tanh(latent @ self.decoder_in.T + self.decoder_bias)
        shifts = (hidden @ weights).reshape(*latent.shape[:-1], *self.site.shape)
        return torch.log_softmax(self.site + shifts, dim=-1)

    def log_likelihood(self, symbols: Tensor, latent: Tensor, weights: Tensor | None = None) -> Tensor:
        """(N, C) symbols, (M, N, Z) -> (M, N) nats; unknown symbols count 0."""
        known = symbols < self.config.num_symbols
        index = symbols.clamp(max=self.config.num_symbols - 1)
        logs = self.decode(latent, weights)
        chosen = logs.gather(3, index[None, :, :, None].expand(len(latent), -1, -1, 1))[..., 0]
        return (chosen * known).sum(dim=-1)

    def bound(self, symbols: Tensor, noise: Tensor) -> Bound:
        """(N, C) symbols and (M, N, Z) standard normal numbers -> the evidence lower bound (ibid., eq. 10)."""
        weights = self.weights()
        mean, log_variance = self.encode(symbols, weights)
        latent = mean + torch.exp(log_variance / 2) * noise
        return Bound(
            log_likelihood=self.log_likelihood(symbols, latent, weights).mean(dim=0),
            divergence=0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(dim=1),
        )

    def importance_bound(self, symbols: Tensor, noise: Tensor) -> Tensor:
        """(N,) a tighter lower bound of ln p(x), which M draws of noise (M, N, Z) bring ever closer to it: the log-mean
        of the importance weights (Burda, Grosse & Salakhutdinov 2015, arXiv:1509.00519, eq. 8).
        """
        mean, log_variance = self.encode(symbols)
        latent = mean + torch.exp(log_variance / 2) * noise
        # ln N(z; 0, 1) - ln N(z; mean, variance); the constants cancel.
        ratio = 0.5 * (noise**2 + log_variance - latent**2).sum(dim=-1)
        weights = self.log_likelihood(symbols, latent) + ratio
        return torch.logsumexp(weights, dim=0) - math.log(len(noise))

    def marginals(self, latent: Tensor) -> Tensor:
        """(C, S) log-probabilities of each column by itself, by draws (M, Z) from the prior: what is left of the
        network when nothing about the dependence of columns is used.
        """
        return torch.logsumexp(self.decode(latent), dim=0) - math.log(len(latent))

    def penalty(self) -> Tensor:
        """Minus the log-density of the weights under their priors, in nats, less a constant."""
        others = self.decoder_in.square().sum() + self.encoder_in.square().sum() + self.encoder_out.square().sum()
        return 0.5 * (self.decoder_out.square().sum() / self.config.prior_deviation**2 + others)
