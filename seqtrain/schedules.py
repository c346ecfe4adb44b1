"""Learning-rate schedules: the factor on the peak rate as a pure function of the step, so that nothing needs saving."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class WarmupCosine:
    """Linear warm-up to the peak, then half a cosine down (Loshchilov & Hutter 2016)."""

    num_steps: int
    warmup_fraction: float = 0.1
    final_fraction: float = 0.0
    """Of the peak, reached at the last step."""

    def __call__(self, step: int) -> float:
        """Factor at step 0, 1, …, num_steps - 1."""
        warmup = max(1, round(self.warmup_fraction * self.num_steps))
        if step < warmup:
            return (step + 1) / warmup
        progress = min(1.0, (step - warmup) / max(1, self.num_steps - 1 - warmup))
        return self.final_fraction + (1 - self.final_fraction) * 0.5 * (1 + math.cos(math.pi * progress))


Schedule = WarmupCosine
