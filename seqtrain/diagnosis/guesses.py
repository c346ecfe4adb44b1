"""The best answer that is the same for every sequence, and what a loss thinks of it."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from seqtrain.losses import Loss

_STEPS, _RATE = 120, 0.2


def best_constant(
    loss: Loss, targets: NDArray[np.generic], weights: NDArray[np.float32] | None, width: int
) -> NDArray[np.float32]:
    """(width,) the outputs that have the lowest loss on targets (N, …) if all records get the same; found by Adam.

    For cross-entropy these are the log frequencies, for squares the means.
    """
    constant = torch.zeros(width, requires_grad=True)
    best, lowest = constant.detach().clone(), float("inf")
    optimizer = torch.optim.Adam([constant], lr=_RATE)
    aims = torch.from_numpy(np.asarray(targets))
    shares = None if weights is None else torch.from_numpy(weights)
    for step in range(_STEPS):
        optimizer.param_groups[0]["lr"] = _RATE * (1 - step / _STEPS)
        total, count = loss(constant.expand(len(aims), width), aims, shares)
        if not float(count) or not total.requires_grad:
            break
        value = total / count
        if float(value.detach()) < lowest:
            best, lowest = constant.detach().clone(), float(value.detach())
        optimizer.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return np.asarray(best.numpy(), np.float32)
