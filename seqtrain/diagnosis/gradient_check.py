"""Whether gradients are those of the loss: directional derivatives by finite differences, in 64 bits on a copy."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from seqtrain.batch import Batch
from seqtrain.diagnosis.copies import copied, mean_loss, same_draws
from seqtrain.diagnosis.remarks import Remark, fine, note, shown, warning
from seqtrain.draws import generator_seed
from seqtrain.objectives import Objective

CHECK = "gradient check"
_STEPS = (1e-5, 1e-3)
"""Of the parameters along a direction of length 1; the second is taken where it agrees better. Central differences are
wrong by the square of the step, and by the rounding of the loss divided by it: 1e-16 in 64 bits, and 6e-8 where part of
an objective is computed in 32 bits all the same."""
_LEAST = 1e-2
"""Of the largest derivative, by which smaller ones are judged."""
_CLOSE, _WRONG = 1e-4, 1e-2


@dataclass(frozen=True, kw_only=True)
class GradientCheck:
    """Derivatives of the loss along some directions."""

    differences: tuple[float, ...]
    """By central differences."""
    gradients: tuple[float, ...]
    """By autograd."""

    @property
    def error(self) -> float:
        """The largest difference between the two, by the larger of the two and the size of the gradient."""
        largest = max(map(abs, (*self.differences, *self.gradients)), default=0.0)
        pairs = zip(self.differences, self.gradients, strict=True)
        return max((abs(a - b) / max(abs(a), abs(b), _LEAST * largest, 1e-10) for a, b in pairs), default=0.0)


def gradient_check(
    network: nn.Module, objective: Objective, batch: Batch, *, num_directions: int = 3, seed: int = 0
) -> GradientCheck | None:
    """Compare autograd with finite differences on a copy in 64 bits, without dropout; None where that cannot be done.

    The first direction is that of the gradient, the others are drawn so that each parameter tensor has an equal part.
    """
    with same_draws():
        copy, asking = copied(network, objective)
        if any(each.device.type == "mps" for each in copy.parameters()):
            copy = copy.cpu()
        copy = copy.double()
        trained = [each for each in copy.parameters() if each.requires_grad]
        try:
            loss = mean_loss(copy, asking, batch)
            if loss is None or not loss.requires_grad or not torch.isfinite(loss):
                return None
            found = torch.autograd.grad(loss, trained, allow_unused=True)
        except RuntimeError:
            return None  # a module of others that knows no 64 bits
        gradient = [torch.zeros_like(p) if g is None else g for p, g in zip(trained, found, strict=True)]
        norm = float(torch.nn.utils.get_total_norm(gradient))
        if not norm:
            return None
        differences, derivatives = [], []
        for number in range(num_directions):
            direction = [g / norm for g in gradient] if number == 0 else _drawn(trained, generator_seed(seed, number))
            derivatives.append(sum(float((g * d).sum()) for g, d in zip(gradient, direction, strict=True)))
            slopes = [_slope(copy, asking, batch, trained, direction, step) for step in _STEPS]
            differences.append(min(slopes, key=lambda slope: abs(slope - derivatives[-1])))
    return GradientCheck(differences=tuple(differences), gradients=tuple(derivatives))


def judge_gradients(check: GradientCheck | None) -> Remark:
    """What it means that the two agree or differ."""
    if check is None:
        return note(CHECK, "could not be made", "the loss has no gradient, or the network does not compute in 64 bits")
    error = check.error
    said = f"autograd and finite differences differ by {shown(error)} of the derivative"
    if error <= _CLOSE:
        return fine(CHECK, said, error)
    if error <= _WRONG:
        return note(CHECK, said, "kinks, as of ReLU or a maximum, do that; more is a fault", error)
    return warning(
        CHECK,
        f"{said}: the gradient is not that of the loss",
        "look for detached tensors, values read out and put back, and backward passes written by hand",
        error,
    )


def _drawn(parameters: list[nn.Parameter], seed: int) -> list[Tensor]:
    """Normal numbers, each tensor's of length 1 / sqrt(number of tensors)."""
    generator = torch.Generator().manual_seed(seed)
    drawn = [torch.randn(each.shape, generator=generator, dtype=each.dtype).to(each.device) for each in parameters]
    return [each / (each.norm() * len(drawn) ** 0.5).clamp(min=1e-30) for each in drawn]


@torch.no_grad()
def _slope(
    network: nn.Module,
    objective: Objective,
    batch: Batch,
    parameters: list[nn.Parameter],
    direction: list[Tensor],
    step: float,
) -> float:
    """The central difference of the loss along a direction; the parameters are as before to rounding."""
    losses = []
    for shift in (step, -2 * step, step):
        for parameter, part in zip(parameters, direction, strict=True):
            parameter.add_(part, alpha=shift)
        loss = mean_loss(network, objective, batch)
        assert loss is not None
        losses.append(float(loss))
    return (losses[0] - losses[1]) / (2 * step)
