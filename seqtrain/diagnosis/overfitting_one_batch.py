"""Whether a network can learn one small batch by heart: if it cannot, no number of records will help."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from seqtrain.batch import Batch
from seqtrain.diagnosis.copies import copied, device_of, mean_loss, same_draws
from seqtrain.diagnosis.remarks import Remark, fine, note, shown, warning
from seqtrain.draws import Draws
from seqtrain.objectives import Contrastive, Objective

CHECK = "overfit one batch"
_NEAR = 0.1
"""Of the way from the first loss to the lowest possible one that may be left."""
_FAR = 0.8
_RATES = (3e-3, 1e-2, 3e-4)
"""Of Adam, tried in turn until one learns the batch."""


@dataclass(frozen=True, kw_only=True)
class Memorised:
    """How far a copy of a network came with one batch."""

    losses: tuple[float, ...]
    """Before each update, and after the last, at the best rate that was tried."""
    floor: float
    """The lowest loss that outputs without a network behind them reach on this batch: 0 for hard classes, the
    entropy of the targets where these are soft."""
    unmoved: tuple[str, ...]
    """Trainable matrices whose gradient was exactly 0 in every update, at every rate."""

    @property
    def left(self) -> float:
        """Share of the way from the first loss to the floor that was not made; nan where there was none to make."""
        way = self.losses[0] - self.floor
        return (min(self.losses) - self.floor) / way if way > 1e-6 else math.nan


def overfit_one_batch(network: nn.Module, objective: Objective, batch: Batch, *, num_steps: int = 100) -> Memorised:
    """Train copies of a network on one batch, without dropout, until it is known by heart; the network is left alone.

    What is hidden, replaced or disturbed is the same in every update, as the keys of the batch are.

    Args:
        batch: small, such as 8 records.
        num_steps: updates of Adam at most, for each of up to three rates.
    """
    best: list[float] = []
    unmoved: set[str] | None = None
    with same_draws():
        floor = _floor(network, objective, batch)
        for rate in _RATES:
            losses, still = _trained(network, objective, batch, rate, num_steps, floor)
            unmoved = still if unmoved is None else unmoved & still
            if not best or min(losses) < min(best):
                best = losses
            if not math.isfinite(losses[0]) or _is_near(best, floor):
                break
    return Memorised(losses=tuple(best), floor=floor, unmoved=tuple(sorted(unmoved or ())))


def judge_memory(memorised: Memorised, *, frozen: bool = False) -> Remark:
    """What it means that a batch was or was not learnt.

    Args:
        frozen: part of the network is not trained, as asked, so that it need not manage.
    """
    first, last, left = memorised.losses[0], min(memorised.losses), memorised.left
    said = (
        f"{len(memorised.losses) - 1} updates on one small batch took its loss from {shown(first)} to {shown(last)}, "
        f"and {shown(memorised.floor)} is the least possible"
    )
    if math.isnan(left) or left <= _NEAR:
        return fine(CHECK, said, last)
    if frozen or left < _FAR:
        why = "part of the network is frozen" if frozen else "it may need more width, or the batch contradicts itself"
        return note(CHECK, said, f"{why}; look at equal sequences with different labels", last)
    return warning(
        CHECK,
        f"{said}: the network cannot even learn a few records by heart",
        "look for layers without gradient, weights that start at 0, dead units, or inputs that do not reach the output",
        last,
    )


def can_be_memorised(objective: Objective) -> bool:
    """Whether a batch has an answer that could be learnt by heart: two views compared with others have none."""
    return not isinstance(objective, Contrastive)


def _trained(
    network: nn.Module, objective: Objective, batch: Batch, rate: float, num_steps: int, floor: float
) -> tuple[list[float], set[str]]:
    """Losses of the updates, and the matrices whose gradient was 0 in all of them."""
    copy, asking = copied(network, objective)
    trained = {name: each for name, each in copy.named_parameters() if each.requires_grad}
    unmoved = {name for name, each in trained.items() if each.ndim > 1}
    if not trained:
        loss = mean_loss(copy, asking, batch)
        return [math.nan if loss is None else float(loss.detach())], unmoved
    optimizer = torch.optim.Adam(trained.values(), lr=rate)
    losses: list[float] = []
    for step in range(num_steps + 1):
        optimizer.zero_grad(set_to_none=True)
        loss = mean_loss(copy, asking, batch)
        losses.append(math.nan if loss is None else float(loss.detach()))
        if loss is None or not math.isfinite(losses[-1]) or _is_near(losses, floor):
            break
        if step == num_steps or not loss.requires_grad:
            break
        loss.backward()  # type: ignore[no-untyped-call]
        unmoved -= {name for name in unmoved if _has_gradient(trained[name])}
        torch.nn.utils.clip_grad_norm_(trained.values(), 1.0)
        optimizer.step()
    return losses, unmoved


def _is_near(losses: Sequence[float], floor: float) -> bool:
    return min(losses) - floor <= 0.5 * _NEAR * (losses[0] - floor)


def _has_gradient(parameter: Tensor) -> bool:
    return parameter.grad is not None and bool(parameter.grad.any())


def _floor(network: nn.Module, objective: Objective, batch: Batch) -> float:
    """The lowest loss of free outputs, found by Adam; 0 where it cannot be asked for."""
    copy, asking = copied(network, objective)
    with torch.no_grad():
        prepared = asking.prepare(batch.to(device_of(copy)), Draws(batch.keys.to(device_of(copy))))
        if prepared.decode is not None and not len(prepared.decode):
            return 0.0
        outputs = copy(prepared).float()
    free = torch.zeros_like(outputs).requires_grad_()
    optimizer = torch.optim.Adam([free], lr=0.3)
    lowest = math.inf
    for _ in range(150):
        score = asking.score(free, replace(prepared))
        if not float(score.count) or not score.loss.requires_grad:
            return 0.0
        loss = score.loss / score.count
        value = float(loss.detach())
        lowest = min(lowest, value) if math.isfinite(value) else lowest
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return lowest if math.isfinite(lowest) else 0.0
