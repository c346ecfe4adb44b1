"""What is done to gradients before an update, and to weights after it, so that weights stay small, few or robust.

The contract with the training loop: for each regulariser of a run, in the order in which they are given,
``before_update(model, step)`` once the gradients are those of the mean loss over the whole step (divided by the count,
summed over processes) and have been found finite; then the optimiser's step; then ``after_update(model, step, rates)``
for each. ``step`` counts updates from 0, and ``rates`` holds the learning rate that each parameter had in the update.
Nothing is kept between steps, so a resumed run needs no state from here. What a penalty adds is in the gradients only:
the loss that is reported stays that of the objective.

Adaptive optimisers divide a penalty's gradient like any other; the decay of AdamW, which they do not, is theirs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from seqtrain.draws import generator_seed
from seqtrain.optimizers.rates import is_decaying

LearningRates = Mapping[nn.Parameter, float]
"""The learning rate of each parameter in one update, as its group and the schedule have it."""


@dataclass(frozen=True, kw_only=True)
class Regularizer:
    """Does nothing at either moment."""

    def before_update(self, model: nn.Module, step: int) -> None:
        """Change the gradients."""

    def after_update(self, model: nn.Module, step: int, rates: LearningRates) -> None:
        """Change the weights."""


@dataclass(frozen=True, kw_only=True)
class L2(Regularizer):
    """(strength / 2) |w|^2 on matrices and kernels, as part of the loss: ridge, or coupled weight decay."""

    strength: float

    def __post_init__(self) -> None:
        _require_above_0("strength", self.strength)

    def before_update(self, model: nn.Module, step: int) -> None:
        for weight, gradient in _decaying(model):
            gradient.add_(weight, alpha=self.strength)


@dataclass(frozen=True, kw_only=True)
class L1(Regularizer):
    """strength |w|_1 on matrices and kernels, by its subgradient, 0 at 0: lasso (Tibshirani 1996).

    Weights gather around 0 without staying there, for which there is :class:`ProximalL1`.
    """

    strength: float

    def __post_init__(self) -> None:
        _require_above_0("strength", self.strength)

    def before_update(self, model: nn.Module, step: int) -> None:
        for weight, gradient in _decaying(model):
            gradient.add_(weight.sign(), alpha=self.strength)


@dataclass(frozen=True, kw_only=True)
class ProximalL1(Regularizer):
    """strength |w|_1 on matrices and kernels by its proximal step, which leaves weights that are exactly 0.

    After an update at rate a every weight comes nearer to 0 by a * strength, and stops there: soft thresholding
    (Daubechies, Defrise & De Mol 2004). Behind gradient descent this is ISTA and ends at the lasso's solution. Behind
    optimisers that divide gradients, or keep momentum, the threshold is still that of the group's rate, as with
    decoupled weight decay: weights become 0, but at the minimum of another function.
    """

    strength: float

    def __post_init__(self) -> None:
        _require_above_0("strength", self.strength)

    @torch.no_grad()
    def after_update(self, model: nn.Module, step: int, rates: LearningRates) -> None:
        for name, parameter in model.named_parameters():
            if parameter.grad is not None and parameter in rates and is_decaying(name, parameter):
                parameter.copy_(nn.functional.softshrink(parameter, rates[parameter] * self.strength))


@dataclass(frozen=True, kw_only=True)
class MaxNorm(Regularizer):
    """No unit's incoming weights longer than a limit: longer ones are cut back to it after each update.

    Srebro, Rennie & Jaakkola 2005, in the form of Srivastava et al. 2014. A unit is a row of a matrix or a kernel.
    """

    limit: float = 3.0

    def __post_init__(self) -> None:
        _require_above_0("limit", self.limit)

    @torch.no_grad()
    def after_update(self, model: nn.Module, step: int, rates: LearningRates) -> None:
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and is_decaying(name, parameter):
                lengths = torch.linalg.vector_norm(parameter.flatten(1), dim=1)
                factors = (self.limit / lengths).clamp(max=1.0)
                parameter.mul_(factors.view(-1, *[1] * (parameter.ndim - 1)))


@dataclass(frozen=True, kw_only=True)
class SpectralNorm(Regularizer):
    """(strength / 2) times the squared largest singular value of each matrix (Yoshida & Miyato 2017).

    A kernel counts as the matrix (outputs, inputs * positions). The singular vectors come from power iteration.
    """

    strength: float = 0.01
    num_iterations: int = 10
    """From a random start at each step: the paper's single iteration from where the last step ended would be state to
    be saved. Ten cost twenty products of a matrix and a vector, far below one sequence's pass."""
    seed: int = 0

    def __post_init__(self) -> None:
        _require_above_0("strength", self.strength)
        if self.num_iterations < 1:
            raise ValueError(f"num_iterations is {self.num_iterations}; give a whole number above 0, such as 10")

    @torch.no_grad()
    def before_update(self, model: nn.Module, step: int) -> None:
        for name, parameter in model.named_parameters():
            if parameter.grad is None or not is_decaying(name, parameter):
                continue
            matrix = parameter.flatten(1)
            right = _normal(matrix[0], self.seed, "spectral norm", step, name)
            for _ in range(self.num_iterations):
                left = nn.functional.normalize(matrix @ right, dim=0)
                right = matrix.T @ left
            # right is now the largest singular value times its right vector, and that value the gradient's scale.
            parameter.grad.add_(torch.outer(left, right).view_as(parameter), alpha=self.strength)


@dataclass(frozen=True, kw_only=True)
class GradientNoise(Regularizer):
    """Normal noise of variance eta / (1 + step)^decay on every gradient (Neelakantan et al. 2015).

    The noise is a function of seed, step and the parameter's name, on one kind of device.
    """

    eta: float = 0.01
    """The paper tries 0.01, 0.3 and 1."""
    decay: float = 0.55
    seed: int = 0

    def __post_init__(self) -> None:
        _require_above_0("eta", self.eta)
        if not 0 <= self.decay < math.inf:
            raise ValueError(f"decay is {self.decay}; give a number of at least 0, such as 0.55")

    @torch.no_grad()
    def before_update(self, model: nn.Module, step: int) -> None:
        deviation = math.sqrt(self.eta / (1 + step) ** self.decay)
        for name, parameter in model.named_parameters():
            if parameter.grad is not None:
                noise = _normal(parameter.grad, self.seed, "gradient noise", step, name)
                parameter.grad.add_(noise, alpha=deviation)


@dataclass(frozen=True, kw_only=True)
class ClipNorm(Regularizer):
    """All gradients scaled down together to a norm of at most a limit (Pascanu et al. 2013)."""

    limit: float = 1.0

    def __post_init__(self) -> None:
        _require_above_0("limit", self.limit)

    def before_update(self, model: nn.Module, step: int) -> None:
        torch.nn.utils.clip_grad_norm_(model.parameters(), self.limit)


@dataclass(frozen=True, kw_only=True)
class ClipValue(Regularizer):
    """Each number of each gradient cut to [-limit, limit] (Mikolov 2012); this changes their direction."""

    limit: float = 1.0

    def __post_init__(self) -> None:
        _require_above_0("limit", self.limit)

    def before_update(self, model: nn.Module, step: int) -> None:
        trained = [parameter for parameter in model.parameters() if parameter.grad is not None]
        if trained:
            torch.nn.utils.clip_grad_value_(trained, self.limit)


Regularization = L2 | L1 | ProximalL1 | MaxNorm | SpectralNorm | GradientNoise | ClipNorm | ClipValue


def _decaying(model: nn.Module) -> Iterator[tuple[Tensor, Tensor]]:
    """Matrices and kernels that have a gradient, and it, detached from both."""
    for name, parameter in model.named_parameters():
        if parameter.grad is not None and is_decaying(name, parameter):
            yield parameter.detach(), parameter.grad.detach()


def _normal(like: Tensor, seed: int, purpose: str, step: int, name: str) -> Tensor:
    """Standard normal numbers in the shape, dtype and place of a tensor, as a function of the rest."""
    generator = torch.Generator(like.device).manual_seed(generator_seed(seed, purpose, step, name))
    return torch.randn(like.shape, generator=generator, dtype=like.dtype, device=like.device)


def _require_above_0(name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise ValueError(f"{name} is {value}; give a number above 0")
