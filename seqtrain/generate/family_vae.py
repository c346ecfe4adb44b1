"""The generative model of one family: fitted, drawn from, saved and loaded."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from seqtrain.draws import GOLDEN, fold, mix
from seqtrain.errors import InputError
from seqtrain.generate.evidence import Evidence
from seqtrain.generate.family import NUM_SYMBOLS, UNKNOWN, Family, written
from seqtrain.generate.fitting import FitConfig, fit, fit_profile
from seqtrain.generate.site_profile import log_likelihoods
from seqtrain.generate.star_alignment import align_to, family_of
from seqtrain.models.family_vae import FamilyVAE as Network
from seqtrain.models.family_vae import FamilyVAEConfig
from seqtrain.models.weights import WEIGHTS, check_state, read_folder_weights, read_json, write_json, write_weights

By = Literal["vae", "profile"]
LEAST_MEMBERS = 5
"""Of a VAE: fewer leave no members to hold out from which anything could be told."""
LEAST_FOR_PROFILE = 2
_SETTINGS = "family.json"
_FORM = "seqtrain family model 1"
_BLOCK = 1 << 21
"""Probabilities that are held at once."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FamilyVAE:
    """A family of C columns as a generative model: the VAE, or independent columns where it explains no more."""

    name: str
    reference: str
    """C letters that new sequences are aligned to."""
    by: By
    """What is drawn from."""
    network: Network = field(repr=False)
    """Its ``site`` are the independent columns; with ``by="profile"`` nothing else of it is used."""
    evidence: Evidence

    @classmethod
    def fit(
        cls,
        sequences: Sequence[str],
        seed: int = 0,
        *,
        config: FitConfig | None = None,
        by: By | Literal["auto"] = "auto",
        name: str = "family",
    ) -> FamilyVAE:
        """Fit to members, which are aligned here unless some have gaps and all one length.

        Args:
            by: auto takes the VAE if held-out members are better explained by it than by independent columns.

        Raises:
            InputError: too few members, or members that cannot be aligned.
        """
        identifiers = [f"sequence {number}" for number in range(1, len(sequences) + 1)]
        if len(sequences) < LEAST_FOR_PROFILE:
            raise too_few(name, len(sequences), by)
        return cls.fit_family(family_of(sequences, identifiers, name, seed), seed, config=config, by=by)

    @classmethod
    def fit_family(
        cls, family: Family, seed: int = 0, *, config: FitConfig | None = None, by: By | Literal["auto"] = "auto"
    ) -> FamilyVAE:
        """Fit to an aligned family.

        Raises:
            InputError: too few members: :data:`LEAST_MEMBERS`, or :data:`LEAST_FOR_PROFILE` by the profile.
        """
        config = config or FitConfig()
        if len(set(family.texts)) < (LEAST_FOR_PROFILE if by == "profile" else LEAST_MEMBERS):
            raise too_few(family.name, len(set(family.texts)), by)
        if by == "profile":
            profile, evidence = fit_profile(family, seed, config)
        else:
            found = fit(family, seed, config)
            profile, network, evidence = found.profile, found.network, found.evidence
            by = "vae" if by == "vae" or evidence.vae_is_better else "profile"
        if by == "profile":
            network = FamilyVAEConfig(num_columns=len(profile), width=1, latent=1).build(torch.Generator())
            network.start_at(torch.from_numpy(profile), network.similarity)
        return cls(name=family.name, reference=family.reference, by=by, network=network.eval(), evidence=evidence)

    def sample(self, count: int, seed: int = 0, *, temperature: float = 1.0) -> list[str]:
        """Sequences drawn from the prior, without insertions; the first of many are those of few.

        Args:
            temperature: letters are drawn from p^(1/temperature); below 1 nearer to the most probable.
        """
        keys = np.array([fold(seed, "sample", index) for index in range(count)], dtype=np.int64)
        drawn = self.draw(keys, temperature=temperature)
        return [written(row, [""] * (len(self.reference) + 1)) for row in drawn]

    def vary(
        self, sequences: Sequence[str], seed: int = 0, *, rate: float = 0.5, temperature: float = 1.0
    ) -> list[str]:
        """Relatives of sequences: encoded, and ``rate`` of the columns drawn anew from what the encoding decodes to.

        Each sequence is aligned to the reference; what lies between the columns, and the other columns, it keeps.

        Raises:
            ValueError: an empty sequence, or a rate that is no fraction.
        """
        if not 0 <= rate <= 1:
            raise ValueError(f"rate is {rate}; give a number from 0 to 1")
        _check_texts(sequences)
        symbols, insertions = align_to(self.reference, sequences)
        keys = np.array([fold(seed, "vary", index) for index in range(len(sequences))], dtype=np.int64)
        drawn = self.draw(keys, symbols, rates=np.full(len(symbols), rate), temperature=temperature)
        return [written(row, pieces) for row, pieces in zip(drawn, insertions, strict=True)]

    def bounds(self, sequences: Sequence[str], seed: int = 0, *, num_draws: int = 256) -> NDArray[np.float64]:
        """(N,) lower bounds of the log-likelihoods in nats of sequences aligned to the reference, without insertions.

        By importance sampling, which brings them the closer to the likelihoods the more is drawn; memory grows with
        draws times letters.

        Raises:
            ValueError: an empty sequence.
        """
        _check_texts(sequences)
        return self.bounds_of(align_to(self.reference, sequences)[0], seed, num_draws=num_draws)

    def bounds_of(self, symbols: NDArray[np.uint8], seed: int = 0, *, num_draws: int = 256) -> NDArray[np.float64]:
        """(N,) the same of (N, C) symbols; exact for independent columns."""
        network = self._exact()
        if self.by == "profile":
            return log_likelihoods(network.site.numpy(), symbols)
        keys = np.array([fold(seed, "bounds", index) for index in range(num_draws)], dtype=np.int64)
        noise = torch.from_numpy(_normals(keys, network.config.latent))
        with torch.no_grad():
            bounds = network.importance_bound(torch.from_numpy(symbols.astype(np.int64)), noise[:, None])
        found: NDArray[np.float64] = bounds.numpy()
        return found

    def draw(
        self,
        keys: NDArray[np.int64],
        parents: NDArray[np.uint8] | None = None,
        *,
        rates: NDArray[np.float64] | None = None,
        temperature: float = 1.0,
    ) -> NDArray[np.uint8]:
        """(M, C) symbols, each row a function of its key (M,), its parent (M, C) and its rate (M,) alone.

        Without parents rows come from the prior. Odd letters of a parent are always drawn anew.
        """
        if not 0 < temperature < math.inf:
            raise ValueError(f"temperature is {temperature}; give a number above 0")
        step = max(1, _BLOCK // self.network.site.numel())
        blocks = [slice(start, start + step) for start in range(0, len(keys), step)] or [slice(0)]
        network = self._exact()
        drawn = [self._drawn(network, keys[b], None if parents is None else parents[b], temperature) for b in blocks]
        symbols = np.concatenate(drawn)
        if parents is None or rates is None:
            return symbols
        kept = (_uniforms(keys, "kept", len(self.reference)) >= rates[:, None]) & (parents != UNKNOWN)
        mixed: NDArray[np.uint8] = np.where(kept, parents, symbols)
        return mixed

    def _drawn(
        self, network: Network, keys: NDArray[np.int64], parents: NDArray[np.uint8] | None, temperature: float
    ) -> NDArray[np.uint8]:
        """(M, C) symbols, all columns drawn."""
        noise = torch.from_numpy(_normals(keys, network.config.latent))
        with torch.no_grad():
            if self.by == "profile":
                logs = network.site.expand(len(keys), -1, -1)
            elif parents is None:
                logs = network.decode(noise)
            else:
                mean, log_variance = network.encode(torch.from_numpy(parents.astype(np.int64)))
                logs = network.decode(mean + torch.exp(log_variance / 2) * noise)
            cumulative = torch.softmax(logs / temperature, dim=-1).cumsum(dim=-1).numpy()
        uniform = _uniforms(keys, "letters", len(self.reference))
        # The last cumulative value is 1 up to rounding, and is not looked at.
        drawn: NDArray[np.uint8] = (
            (uniform[:, :, None] >= cumulative[:, :, : NUM_SYMBOLS - 1]).sum(axis=2).astype(np.uint8)
        )
        return drawn

    def save(self, folder: str | Path) -> None:
        """Write ``family.json`` and ``model.safetensors``; no member is in them but what the reference shows."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        config = dataclasses.asdict(self.network.config)
        evidence = {
            name: None if isinstance(value, float) and math.isnan(value) else value
            for name, value in dataclasses.asdict(self.evidence).items()
        }
        settings = {"form": _FORM, "name": self.name, "reference": self.reference, "by": self.by}
        write_json(folder / _SETTINGS, {**settings, "network": config, "evidence": evidence})
        write_weights(folder / WEIGHTS, self.network.state_dict())

    @classmethod
    def load(cls, folder: str | Path) -> FamilyVAE:
        """What :meth:`save` wrote.

        Raises:
            InputError: no such model, or files that do not belong together.
        """
        folder = Path(folder)
        settings = read_json(folder / _SETTINGS)
        try:
            if settings["form"] != _FORM or settings["by"] not in ("vae", "profile"):
                raise ValueError(f"form {settings['form']!r}")
            network = FamilyVAEConfig(**settings["network"]).build(torch.Generator())
            evidence: dict[str, Any] = {
                name: math.nan if value is None else value for name, value in settings["evidence"].items()
            }
            found = cls(
                name=settings["name"],
                reference=settings["reference"],
                by=settings["by"],
                network=network,
                evidence=Evidence(**evidence),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{folder / _SETTINGS}: not the model of a family ({error}); fit it again") from None
        if len(found.reference) != network.config.num_columns:
            raise InputError(f"{folder / _SETTINGS}: a reference of other columns than the network; fit it again")
        state = read_folder_weights(folder)
        check_state(state, {name: tensor.shape for name, tensor in network.state_dict().items()}, {}, folder)
        network.load_state_dict(state)
        network.eval()
        return found

    def _exact(self) -> Network:
        """The network in float64: what is drawn for one row then never hangs on the rows beside it."""
        return copy.deepcopy(self.network).double()


def too_few(name: str, count: int, by: str) -> InputError:
    """What to say of a family that is too small."""
    if by == "profile":
        return InputError(
            f"{name}: {count} different members; independent columns need at least {LEAST_FOR_PROFILE}; augment it "
            "(seqtrain augment --with matrix-substitution:rate=0.1)"
        )
    return InputError(
        f"{name}: {count} different members that can be aligned; a VAE needs at least {LEAST_MEMBERS}; draw from "
        "independent columns (--by profile), or augment it (seqtrain augment --with matrix-substitution:rate=0.1)"
    )


def _uniforms(keys: NDArray[np.int64], purpose: str, count: int) -> NDArray[np.float64]:
    """(M, count) numbers in (0, 1), a function of key, purpose and place."""
    with np.errstate(over="ignore"):
        bits = mix(mix(keys + fold(0, purpose))[:, None] + np.arange(1, count + 1) * GOLDEN)
    numbers: NDArray[np.float64] = (((bits >> 11) & ((1 << 53) - 1)) + 0.5) * 2.0**-53
    return numbers


def _normals(keys: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """(M, count) standard normal numbers (Box & Muller 1958)."""
    uniform = _uniforms(keys, "normal", 2 * count)
    radius = np.sqrt(-2 * np.log(uniform[:, :count]))
    normal: NDArray[np.float64] = radius * np.cos(2 * np.pi * uniform[:, count:])
    return normal


def _check_texts(sequences: Sequence[str]) -> None:
    if empty := [index for index, text in enumerate(sequences) if not text]:
        raise ValueError(f"sequence {empty[0]} is empty; leave it out")
