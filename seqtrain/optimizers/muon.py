"""Muon for the matrices inside a network and AdamW for the rest, in one optimiser."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from seqtrain.optimizers.rates import Rates, is_decaying, is_head, require_betas, require_fraction, require_least
from seqtrain.optimizers.rule import Groups, RuleOptimizer

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the odd polynomial that Jordan et al. 2024 iterate: steep at 0, and near 1 from there on."""


@dataclass(frozen=True, kw_only=True)
class Muon(Rates):
    """Momentum made orthogonal (Jordan et al. 2024) for the body's matrices, AdamW for all else; decoupled decay.

    All else: the head, biases, norms, embeddings, and kernels of convolutions, which are no matrices.
    """

    weight_decay: float = 0.01
    momentum: float = 0.95
    nesterov: bool = True
    num_iterations: int = 5
    """Of Newton and Schulz, towards the nearest orthogonal matrix."""
    adjustment: Literal["match_rms_adamw", "original"] = "match_rms_adamw"
    """How the rate depends on a matrix (A, B): 0.2 sqrt(max(A, B)), with which the rate and decay that suit AdamW suit
    both (Liu et al. 2025); or Jordan's sqrt(max(1, A / B))."""
    betas: tuple[float, float] = (0.9, 0.98)
    """Of AdamW."""
    eps: float = 1e-8
    """Of AdamW."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_fraction(("momentum", self.momentum))
        require_betas(self.betas)
        require_least("eps", self.eps, 0)
        if not 1 <= self.num_iterations < 100:
            raise ValueError(f"num_iterations is {self.num_iterations}; give a number from 1 to 99, such as 5")

    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        """As for every optimiser.

        Raises:
            ValueError: nothing that is trained is a matrix of the body.
        """
        inner = {
            id(parameter)
            for name, parameter in model.named_parameters()
            if parameter.ndim == 2 and is_decaying(name, parameter) and not is_head(name)
        }
        matrices: list[dict[str, Any]] = []
        others: list[dict[str, Any]] = []
        for group in self.groups(model):
            for part, wanted in ((matrices, True), (others, False)):
                members = [parameter for parameter in group["params"] if (id(parameter) in inner) == wanted]
                if members:
                    part.append({**group, "params": members})
        if not matrices:
            raise ValueError("muon trains matrices of the body, and none is to be trained here; use adamw")
        # Not torch.optim.Muon: it goes matrix by matrix, and in bfloat16 everywhere, which many CPUs only emulate. On
        # one core of such a CPU, a step of the 8M transformer took 16.7 s, and takes 0.9 s so.
        muon = RuleOptimizer(matrices, self, momentum=self.momentum)
        if not others:
            return muon
        adamw = torch.optim.AdamW(others, lr=self.learning_rate, betas=self.betas, eps=self.eps, fused=True)
        # AdamW first, so that the first group is one of the full rate also where the rate falls with depth.
        return Together(adamw, muon)

    def update(self, groups: Groups) -> None:
        """One step of the matrices: b = m b + (1 - m) g; orthogonalise b or, with Nesterov, m b + (1 - m) g."""
        for group in groups:
            buffers = group.tensors("momentum")
            torch._foreach_lerp_(buffers, group.gradients, 1 - group.momentum)
            ahead = torch._foreach_lerp(group.gradients, buffers, group.momentum) if self.nesterov else buffers
            torch._foreach_mul_(group.parameters, 1 - group.rate * group.weight_decay)
            for parameter, direction in zip(
                group.parameters, orthogonalised(list(ahead), self.num_iterations), strict=True
            ):
                parameter.add_(direction, alpha=-group.rate * self._factor(*parameter.shape))

    def _factor(self, rows: int, columns: int) -> float:
        """By what the rate is multiplied for a matrix of this shape."""
        if self.adjustment == "original":
            return math.sqrt(max(1.0, rows / columns))
        return 0.2 * math.sqrt(max(rows, columns))


def orthogonalised(matrices: list[Tensor], num_iterations: int) -> list[Tensor]:
    """Matrices with the singular vectors of the given ones and singular values near 1, in their shapes and dtypes.

    Newton and Schulz's iteration with a quintic polynomial (Jordan et al. 2024), over all matrices of a shape at once,
    in bfloat16 on CUDA and in their own precision elsewhere; a tall one is taken as its transpose.
    """
    a, b, c = _COEFFICIENTS
    wide = [matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T for matrix in matrices]
    places: dict[tuple[int, ...], list[int]] = {}
    for index, matrix in enumerate(wide):
        places.setdefault(tuple(matrix.shape), []).append(index)
    made = list(wide)
    for indices in places.values():
        stack = torch.stack([wide[index] for index in indices])
        if stack.is_cuda:
            stack = stack.bfloat16()
        stack = stack / torch.linalg.matrix_norm(stack, keepdim=True).clamp(min=1e-7)
        for _ in range(num_iterations):
            gram = stack @ stack.mT
            stack = torch.baddbmm(stack, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), stack, beta=a)
        for index, matrix in zip(indices, stack.to(wide[indices[0]].dtype), strict=True):
            made[index] = matrix if matrices[index] is wide[index] else matrix.T
    return made


class Together(torch.optim.Optimizer):
    """Several optimisers as one, whose groups and state are those of all."""

    def __init__(self, *parts: torch.optim.Optimizer) -> None:
        self.parts = parts
        super().__init__(
            [{**group, "part": index} for index, part in enumerate(parts) for group in part.param_groups], {}
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Make one update; returns what the closure, if any, returns."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for index, part in enumerate(self.parts):
            # Anew at each step: loading a state replaces both.
            part.state = self.state
            part.param_groups = [group for group in self.param_groups if group["part"] == index]
            part.step()
        return loss
