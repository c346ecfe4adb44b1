"""The direction of Adam, which other rules start from."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from seqtrain.optimizers.adam import Moments
from seqtrain.optimizers.rule import Group


def adam_directions(moments: Moments, group: Group, gradients: list[Tensor]) -> list[Tensor]:
    """m' / (sqrt(v') + eps) of each parameter, from bias-corrected averages (Kingma & Ba 2014, algorithm 1); new."""
    first, second = group.betas
    means, squares, steps = group.tensors("mean"), group.tensors("square"), group.next_steps()
    torch._foreach_lerp_(means, gradients, 1 - first)
    torch._foreach_mul_(squares, second)
    torch._foreach_addcmul_(squares, gradients, gradients, 1 - second)
    deviations = torch._foreach_sqrt(squares)
    torch._foreach_div_(deviations, [math.sqrt(1 - second**step) for step in steps])
    torch._foreach_add_(deviations, moments.eps)
    directions = list(torch._foreach_div(means, [1 - first**step for step in steps]))
    torch._foreach_div_(directions, deviations)
    return directions
