"""What held-out members say of a model of their family."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Smoothing = Literal["pseudocounts", "marginals"]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What held-out members say, in nats per member, each weighted against redundancy."""

    num_members: int
    num_folds: int
    """0 when nothing was held out."""
    profile: float
    """Log-likelihood under independent columns, the better ones of two."""
    smoothing: Smoothing
    """Which these are: those of pseudocounts, or those of the network with the dependence of columns left out. The
    network smooths columns in its own way; only what it gains over its own marginals, it gains by their dependence."""
    vae: float
    """Evidence lower bound of the network."""
    gain: float
    """Mean of the differences."""
    standard_error: float
    """Of the gain, over members."""
    steps: int
    """Of the training whose bound was best: chosen on the same members, so that the gain is a little too good."""
    pseudocounts: float

    @property
    def vae_is_better(self) -> bool:
        """The gain is above its standard error."""
        return self.gain > self.standard_error

    def words(self) -> str:
        """In one line."""
        if not self.num_folds:
            return "nothing held out"
        how = f"{self.pseudocounts:g} pseudocounts" if self.smoothing == "pseudocounts" else "the VAE's marginals"
        columns = f"{self.profile:.1f} by independent columns ({how})"
        if math.isnan(self.vae):
            return f"held-out members: {columns.replace(' by', ' nats by', 1)}"
        return (
            f"held-out members: {self.vae:.1f} nats by the VAE ({self.steps} steps), {columns}; difference "
            f"{self.gain:+.1f} ± {self.standard_error:.1f}"
        )
