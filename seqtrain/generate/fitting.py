"""Fitting a family's network: how long to train is asked of held-out members, and whether it was worth it.

A plain loop and not :func:`seqtrain.training.train_steps`: that one packs sequences into steps of so many tokens and
divides by their number; here one weighted matrix of symbols is the whole step, several networks (one per fold) take it
side by side, and it is over in seconds. Optimiser: :class:`seqtrain.optimizers.Adam`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqtrain.draws import fold, generator_seed
from seqtrain.generate.evidence import Evidence, Smoothing
from seqtrain.generate.family import Family
from seqtrain.generate.folds import held_out_folds
from seqtrain.generate.site_profile import PSEUDOCOUNTS, log_likelihoods, similarity, site_profile
from seqtrain.models.family_vae import FamilyVAE, FamilyVAEConfig
from seqtrain.optimizers import Adam

_HELD_OUT_DRAWS = 32
_MARGINAL_DRAWS = 512
_BLOCK = 1 << 23
"""Log-probabilities that are held at once."""
_WORTH_NATS = 0.1
"""Per member: what a later step must gain to be better."""


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """How a family's network is fitted.

    The defaults were chosen on simulated families of 12 to 80 members (:mod:`seqtrain_data.families`).
    """

    width: int = 32
    latent: int = 4
    prior_deviation: float = 0.15
    """See :class:`seqtrain.models.family_vae.FamilyVAEConfig`."""
    learning_rate: float = 0.01
    warmup_steps: int = 50
    """Over which the weight of the divergence grows from 0 to 1, so that the latent numbers are used at all (Bowman et
    al. 2016, arXiv:1511.06349)."""
    max_steps: int = 300
    evaluate_every: int = 20
    """Steps between two looks at the held-out members."""
    patience: int = 3
    """Looks without a better one before it ends; none is counted in the warm-up."""
    folds: int = 5
    twin_identity: float = 0.9
    """Members as alike as this in the columns are held out together: a twin in training would reward learning by heart.
    Where that leaves fewer than 3 groups, each member stands alone."""
    max_batch: int = 256
    """Members of a step; of larger families some are drawn by their weights."""

    def __post_init__(self) -> None:
        for name in ("warmup_steps", "max_steps", "evaluate_every", "patience", "max_batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; give a number of at least 1")
        if self.folds < 2:
            raise ValueError(f"folds is {self.folds}; give a number of at least 2")


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What a family was fitted to."""

    profile: NDArray[np.float64]
    """(C, S) log-probabilities of the better independent columns, of all members."""
    network: FamilyVAE
    """Fitted to all members."""
    evidence: Evidence


def fit(family: Family, seed: int, config: FitConfig) -> Fit:
    """Fit a network and a profile to a family, each as long or as smoothed as was best for held-out members.

    The same on any machine with the same libraries: one thread, and randomness by seed, fold and step.
    """
    with _one_thread():
        folds = held_out_folds(family.symbols, seed, num_folds=config.folds, twin_identity=config.twin_identity)
        pseudocounts, by_profile = _best_pseudocounts(family, folds)
        steps, by_vae, by_marginals = _best_steps(family, folds, pseudocounts, seed, config)
        weights = family.weights
        trainer = _Trainer(family.symbols, weights, pseudocounts, fold(seed, "all"), config)
        for _ in range(steps):
            trainer.step()
        profile, smoothing = trainer.profile, "pseudocounts"
        if weights @ by_marginals > weights @ by_profile:
            profile, smoothing, by_profile = trainer.marginals(), "marginals", by_marginals
        differences = by_vae - by_profile
        gain = float(weights @ differences)
        # Kish's effective number of members: 1 / Σ w².
        error = math.sqrt(float(weights @ (differences - gain) ** 2) * float(weights @ weights))
        evidence = Evidence(
            num_members=len(family),
            num_folds=int(folds.max()) + 1,
            profile=float(weights @ by_profile),
            smoothing=cast(Smoothing, smoothing),
            vae=float(weights @ by_vae),
            gain=gain,
            standard_error=error,
            steps=steps,
            pseudocounts=pseudocounts,
        )
        return Fit(profile=profile, network=trainer.network.eval(), evidence=evidence)


def fit_profile(family: Family, seed: int, config: FitConfig) -> tuple[NDArray[np.float64], Evidence]:
    """Independent columns alone, for families too small to hold anything out of, or when they are asked for."""
    pseudocounts, by_profile, num_folds = PSEUDOCOUNTS[3], np.full(len(family), math.nan), 0
    if len(family) > 2:
        folds = held_out_folds(family.symbols, seed, num_folds=config.folds, twin_identity=config.twin_identity)
        pseudocounts, by_profile = _best_pseudocounts(family, folds)
        num_folds = int(folds.max()) + 1
    evidence = Evidence(
        num_members=len(family),
        num_folds=num_folds,
        profile=float(family.weights @ by_profile),
        smoothing="pseudocounts",
        vae=math.nan,
        gain=math.nan,
        standard_error=math.nan,
        steps=0,
        pseudocounts=pseudocounts,
    )
    return site_profile(family.symbols, family.weights, pseudocounts), evidence


def _best_pseudocounts(family: Family, folds: NDArray[np.int64]) -> tuple[float, NDArray[np.float64]]:
    """The total under which held-out members are most likely, and their (N,) log-likelihoods."""
    found = {}
    for total in PSEUDOCOUNTS:
        found[total] = np.zeros(len(family))
        for number in range(int(folds.max()) + 1):
            out = folds == number
            kept = family.chosen(np.flatnonzero(~out))
            found[total][out] = log_likelihoods(site_profile(kept.symbols, kept.weights, total), family.symbols[out])
    best = max(found, key=lambda total: float(family.weights @ found[total]))
    return best, found[best]


def _best_steps(
    family: Family, folds: NDArray[np.int64], pseudocounts: float, seed: int, config: FitConfig
) -> tuple[int, NDArray[np.float64], NDArray[np.float64]]:
    """The number of steps after which the bound of held-out members is highest, that bound (N,), and (N,) their
    log-likelihood then under the marginals of the network that has not seen them.
    """
    kept = [family.chosen(np.flatnonzero(folds != number)) for number in range(int(folds.max()) + 1)]
    trainers = [
        _Trainer(each.symbols, each.weights, pseudocounts, fold(seed, "fold", number), config)
        for number, each in enumerate(kept)
    ]
    best_steps, best, since = 0, np.full(len(family), -math.inf), 0
    by_marginals = best
    for step in range(config.max_steps + 1):
        if step % config.evaluate_every == 0:
            bounds = _by_fold(folds, [trainer.bound for trainer in trainers], family.symbols)
            if float(family.weights @ bounds) > float(family.weights @ best) + _WORTH_NATS:
                best_steps, best, since = step, bounds, 0
                marginals = [partial(log_likelihoods, trainer.marginals()) for trainer in trainers]
                by_marginals = _by_fold(folds, marginals, family.symbols)
            elif step > config.warmup_steps:
                since += 1
            if since >= config.patience:
                break
        for trainer in trainers:
            trainer.step()
    return best_steps, best, by_marginals


def _by_fold(
    folds: NDArray[np.int64],
    scores: Sequence[Callable[[NDArray[np.uint8]], NDArray[np.float64]]],
    symbols: NDArray[np.uint8],
) -> NDArray[np.float64]:
    """(N,) scores of members, each by the function of the fold that it is held out in."""
    found = np.zeros(len(symbols))
    for number, score in enumerate(scores):
        found[folds == number] = score(symbols[folds == number])
    return found


class _Trainer:
    """One network and the members that it is fitted to."""

    def __init__(
        self,
        symbols: NDArray[np.uint8],
        weights: NDArray[np.float64],
        pseudocounts: float,
        key: int,
        config: FitConfig,
    ) -> None:
        self.config, self.done = config, 0
        self.profile = site_profile(symbols, weights, pseudocounts)
        self.symbols = torch.from_numpy(symbols.astype(np.int64))
        self.weights = torch.from_numpy(weights).float()
        self.generator = torch.Generator().manual_seed(generator_seed(key, "vae"))
        settings = FamilyVAEConfig(
            num_columns=symbols.shape[1],
            width=config.width,
            latent=config.latent,
            prior_deviation=config.prior_deviation,
        )
        self.network = settings.build(self.generator)
        self.network.start_at(torch.from_numpy(self.profile), torch.from_numpy(similarity()))
        self.optimizer = Adam(learning_rate=config.learning_rate, betas=(0.9, 0.98)).build(self.network)

    def step(self) -> None:
        """One update: the weighted mean bound of the members, and the priors of the weights shared among them."""
        symbols, weights = self._batch()
        noise = torch.randn(1, len(symbols), self.config.latent, generator=self.generator)
        share = min(1.0, self.done / self.config.warmup_steps)
        bound = weights @ self.network.bound(symbols, noise).total(share)
        loss = self.network.penalty() / len(self.symbols) - bound
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.done += 1

    def bound(self, symbols: NDArray[np.uint8]) -> NDArray[np.float64]:
        """(N,) bounds of other members, with the same noise each time."""
        noise = torch.randn(
            _HELD_OUT_DRAWS, 1, self.config.latent, generator=torch.Generator().manual_seed(generator_seed(0, "noise"))
        )
        rows = torch.from_numpy(symbols.astype(np.int64))
        step = max(1, _BLOCK // (_HELD_OUT_DRAWS * self.network.site.numel()))
        with torch.no_grad():
            found = [self.network.bound(rows[i : i + step], noise).total() for i in range(0, len(rows), step)]
        return torch.cat(found).double().numpy()

    def marginals(self) -> NDArray[np.float64]:
        """(C, S) log-probabilities of the columns of the network as it is."""
        generator = torch.Generator().manual_seed(generator_seed(0, "marginals"))
        with torch.no_grad():
            found = self.network.marginals(torch.randn(_MARGINAL_DRAWS, self.config.latent, generator=generator))
        return found.double().numpy()

    def _batch(self) -> tuple[Tensor, Tensor]:
        """All members with their weights, or some drawn by them."""
        if len(self.symbols) <= self.config.max_batch:
            return self.symbols, self.weights
        size = self.config.max_batch
        chosen = torch.multinomial(self.weights, size, replacement=True, generator=self.generator)
        return self.symbols[chosen], torch.full((size,), 1 / size)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums over other numbers of threads differ in their last bits, and matrices as small as these are no faster."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
