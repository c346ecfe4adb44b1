"""Normalisations by name, on packed rows.

Each is called with rows (T, D), the index of the sequence of each row (T,), and the number of sequences. All rows are
real positions: there is no padding and no gap that could enter a statistic.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Norm = Literal["layer", "rms", "batch", "batch-renorm", "group", "affine", "none"]
"""affine is a scale and a shift only, which batch norm becomes once its statistics are fixed."""


class Normalization(nn.Module):
    """A scale and a shift per feature, after what the subclass does; rows (T, D) -> (T, D)."""

    by_row: ClassVar[bool] = True
    """Whether a row's result is a function of that row alone, also in training."""

    weight: nn.Parameter
    bias: nn.Parameter

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.width = width
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    @property
    def takes_statistics(self) -> bool:
        """Whether statistics of batches are used and taken: in training, unless the norm is frozen as under adapters,
        which are kept for a network whose running statistics are those of before."""
        return self.training and self.weight.requires_grad

    def extra_repr(self) -> str:
        """What print shows of it."""
        return f"{self.width}, eps={self.eps}"


class LayerNorm(Normalization):
    """Mean 0 and variance 1 over the features of each row (Ba et al. 2016)."""

    def forward(self, rows: Tensor, segments: Tensor, num_sequences: int) -> Tensor:
        """rows (T, D) -> (T, D)"""
        return functional.layer_norm(rows, (self.width,), self.weight, self.bias, self.eps)


class RMSNorm(nn.Module):
    """Mean square 1 over the features of each row, and a scale (Zhang & Sennrich 2019)."""

    by_row: ClassVar[bool] = True

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.width = width
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, rows: Tensor, segments: Tensor, num_sequences: int) -> Tensor:
        """rows (T, D) -> (T, D)"""
        return functional.rms_norm(_at_least_float32(rows), (self.width,), self.weight, self.eps).to(rows.dtype)


class BatchNorm(Normalization):
    """Mean 0 and variance 1 of each feature over all rows (Ioffe & Szegedy 2015); running averages in evaluation.

    In training the rows are those of one microbatch: how a step is cut then changes its gradients.
    """

    by_row: ClassVar[bool] = False
    MOMENTUM = 0.1
    """Share of the newest statistics in the running ones, as in torch."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, width: int, eps: float) -> None:
        super().__init__(width, eps)
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))

    def forward(self, rows: Tensor, segments: Tensor, num_sequences: int) -> Tensor:
        """rows (T, D) -> (T, D); a single row has no variance, and is then treated as in evaluation."""
        return functional.batch_norm(
            rows,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            training=self.takes_statistics and len(rows) > 1,
            momentum=self.MOMENTUM,
            eps=self.eps,
        )

    def scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """(D,) and (D,): what it multiplies by and adds in evaluation."""
        scale = self.weight / torch.sqrt(self.running_var + self.eps)
        return scale, self.bias - self.running_mean * scale


class BatchRenorm(Normalization):
    """Batch norm corrected towards its running statistics, so that training and evaluation agree (Ioffe 2017).

    (x - batch mean) / batch deviation * r + d, where r and d, without gradient, undo what the batch differs by from the
    running averages, within bounds. These bounds and their schedule are the paper's: plain batch norm for 5,000 steps,
    then r up to 3 by step 40,000 and d up to 5 by step 25,000; steps are microbatches seen in training. Shorter
    trainings than that are trainings with plain batch norm. Of microbatches holds what BatchNorm says.
    """

    by_row: ClassVar[bool] = False
    MOMENTUM = 0.01
    """Share of the newest statistics in the running ones (the paper's alpha)."""
    WARMUP, R_FULL, D_FULL = 5_000, 40_000, 25_000
    """Steps."""
    R_MAX, D_MAX = 3.0, 5.0

    running_mean: Tensor
    running_deviation: Tensor
    num_steps: Tensor

    def __init__(self, width: int, eps: float) -> None:
        super().__init__(width, eps)
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_deviation", torch.ones(width))
        self.register_buffer("num_steps", torch.zeros((), dtype=torch.int64))

    def forward(self, rows: Tensor, segments: Tensor, num_sequences: int) -> Tensor:
        """rows (T, D) -> (T, D); a single row is treated as in evaluation."""
        if not self.takes_statistics or len(rows) < 2:
            scale, shift = self.scale_and_shift()
            return rows * scale.to(rows.dtype) + shift.to(rows.dtype)
        exact = _at_least_float32(rows)
        mean = exact.mean(dim=0)
        deviation = torch.sqrt(exact.var(dim=0, correction=0) + self.eps)
        with torch.no_grad():
            r_max, d_max = self._bounds()
            r = torch.clamp(deviation / self.running_deviation, 1 / r_max, r_max)
            d = torch.clamp((mean - self.running_mean) / self.running_deviation, -d_max, d_max)
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.MOMENTUM)
            self.running_deviation.lerp_(deviation.to(self.running_deviation.dtype), self.MOMENTUM)
            self.num_steps.add_(1)
        return (((exact - mean) / deviation * r + d) * self.weight + self.bias).to(rows.dtype)

    def scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """(D,) and (D,): what it multiplies by and adds in evaluation."""
        scale = self.weight / self.running_deviation
        return scale, self.bias - self.running_mean * scale

    def _bounds(self) -> tuple[Tensor, Tensor]:
        """The largest r and the largest d at this step, as tensors so that no device is waited for."""
        since = (self.num_steps - self.WARMUP).to(self.running_mean.dtype)
        r_share = (since / (self.R_FULL - self.WARMUP)).clamp(0, 1)
        d_share = (since / (self.D_FULL - self.WARMUP)).clamp(0, 1)
        return 1 + r_share * (self.R_MAX - 1), d_share * self.D_MAX


class GroupNorm(Normalization):
    """Mean 0 and variance 1 over the positions of one sequence and the features of one group (Wu & He 2018).

    There are 32 groups, or fewer where that leaves less than 16 features to a group: the two choices that the paper
    settles on. Smaller groups have next to no variance in a peptide, and dividing by it magnifies rounding.
    """

    by_row: ClassVar[bool] = False
    MOST_GROUPS, LEAST_FEATURES = 32, 16

    def __init__(self, width: int, eps: float) -> None:
        super().__init__(width, eps)
        self.num_groups = math.gcd(width, self.MOST_GROUPS)
        while self.num_groups > 1 and width // self.num_groups < self.LEAST_FEATURES:
            self.num_groups //= 2

    def forward(self, rows: Tensor, segments: Tensor, num_sequences: int) -> Tensor:
        """rows (T, D) -> (T, D)"""
        exact = _at_least_float32(rows)
        grouped = exact.view(rows.shape[0], self.num_groups, self.width // self.num_groups)
        empty = grouped.new_zeros(num_sequences, self.num_groups)
        counts = empty[:, :1].index_add(0, segments, grouped.new_ones(rows.shape[0], 1)).clamp(min=1)
        means = empty.index_add(0, segments, grouped.mean(dim=2)) / counts
        centred = grouped - means.index_select(0, segments)[:, :, None]
        variances = empty.index_add(0, segments, centred.square().mean(dim=2)) / counts
        scales = torch.rsqrt(variances + self.eps).index_select(0, segments)
        normed: Tensor = (centred * scales[:, :, None]).flatten(1) * self.weight + self.bias
        return normed.to(rows.dtype)


class Affine(Normalization):
    """A scale and a shift per feature, without any statistic."""

    def forward(self, rows: Tensor, segments: Tensor, num_sequences: int) -> Tensor:
        """rows (T, D) -> (T, D)"""
        return torch.addcmul(self.bias.to(rows.dtype), rows, self.weight.to(rows.dtype))


class NoNorm(nn.Module):
    """Rows as they are."""

    by_row: ClassVar[bool] = True

    def forward(self, rows: Tensor, segments: Tensor, num_sequences: int) -> Tensor:
        """rows (T, D) -> the same"""
        return rows


AnyNorm = LayerNorm | RMSNorm | BatchNorm | BatchRenorm | GroupNorm | Affine | NoNorm


def normalization(name: Norm, width: int, eps: float) -> AnyNorm:
    """The normalisation of this name for rows (T, width)."""
    if name == "none":
        return NoNorm()
    kinds: dict[str, type[LayerNorm | RMSNorm | BatchNorm | BatchRenorm | GroupNorm | Affine]] = {
        "layer": LayerNorm,
        "rms": RMSNorm,
        "batch": BatchNorm,
        "batch-renorm": BatchRenorm,
        "group": GroupNorm,
        "affine": Affine,
    }
    return kinds[name](width, eps)


def _at_least_float32(rows: Tensor) -> Tensor:
    """Statistics in bf16 would round to 8 bits."""
    return rows.float() if rows.dtype in (torch.bfloat16, torch.float16) else rows
