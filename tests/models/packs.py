"""Small packed batches and networks that the tests of this room share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

from seqtrain.batch import Batch

Module = TypeVar("Module", bound=nn.Module)

LENGTHS = [5, 30, 30, 9, 101, 30, 3, 64, 9, 9]
"""Equal and unequal, unsorted, equal ones next to each other and apart."""


def draw_sequences(lengths: list[int] = LENGTHS, vocabulary_size: int = 33, seed: int = 0) -> list[Tensor]:
    """Random ids of every token, odd ones and <mask> included, <cls> first and <eos> last."""
    generator = torch.Generator().manual_seed(seed)
    sequences = [torch.randint(3, vocabulary_size, (length,), generator=generator) for length in lengths]
    for ids in sequences:
        ids[0], ids[-1] = 0, 2
    return sequences


def pack(sequences: list[Tensor], decode: Tensor | None = None) -> Batch:
    """A batch of these ids; the first and the last position of each sequence hold no letter."""
    lengths = torch.tensor([len(ids) for ids in sequences])
    letters = torch.cat([torch.tensor([0, *[65] * (len(ids) - 2), 0], dtype=torch.uint8) for ids in sequences])
    return Batch(
        inputs=torch.cat(sequences),
        boundaries=torch.cat((torch.zeros(1, dtype=torch.int64), lengths.cumsum(0))),
        letters=letters,
        records=torch.arange(len(sequences)),
        keys=torch.zeros(len(sequences), dtype=torch.int64),
        decode=decode,
    )


def shake(module: Module, seed: int = 1) -> Module:
    """Move every parameter, biases and norms too, so that no term is invisible by being 0 or 1; in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype), alpha=0.1)
    return module.eval()


def directional_error(network: nn.Module, loss: Callable[[], Tensor], seed: int = 2) -> float:
    """Relative difference between the gradient along a random direction and a central difference, in float64."""
    parameters = list(network.parameters())
    gradients = torch.autograd.grad(loss(), parameters)
    generator = torch.Generator().manual_seed(seed)
    direction = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in parameters]
    expected = sum(float((g * d).sum()) for g, d in zip(gradients, direction, strict=True))
    step, values = 1e-6, []
    with torch.no_grad():
        for sign in (1, -2):
            for parameter, d in zip(parameters, direction, strict=True):
                parameter.add_(d, alpha=sign * step)
            values.append(float(loss()))
    measured = (values[0] - values[1]) / (2 * step)
    return abs(measured - expected) / abs(expected)
