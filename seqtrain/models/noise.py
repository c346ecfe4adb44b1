"""Noise that regularises a network from inside, in training only; each kind keeps the expectation as it is.

The branch of a residual block draws by position (dropout), by run of positions (DropBlock) or by sequence (stochastic
depth, ShakeDrop; Shake-Shake, of two branches). Draws come from torch's global generator, which the training loop
seeds by step and microbatch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from seqtrain.errors import InputError
from seqtrain.models.checks import require_fraction, require_whole


@dataclass(frozen=True, kw_only=True)
class Noise:
    """The fields that configs of noisy networks share; 0 switches each off."""

    dropout: float = 0.0
    """Probability of each number that a block adds to the residual stream (Srivastava et al. 2014)."""
    drop_block: float = 0.0
    """Share of these numbers that is dropped in runs of ``block_size`` positions, feature by feature and never across
    sequences (Ghiasi et al. 2018); from the first step on, without the paper's slow start."""
    block_size: int = 7
    """Positions per run, the paper's number; sequences that are shorter are dropped whole, feature by feature."""
    stochastic_depth: float = 0.0
    """Probability that the last block adds nothing to a sequence; that of block l of L is l / L times it (Huang et al.
    2016)."""
    shake_drop: float = 0.0
    """Probability that the last block is shaken for a sequence: multiplied by a number from [-1, 1], and its gradient
    by one from [0, 1]; that of block l of L is l / L times it (Yamada et al. 2018, who take 0.5)."""
    drop_connect: float = 0.0
    """Probability of each weight of a block (Wan et al. 2013); one draw for a microbatch, and the mean in evaluation,
    where the paper draws per example and fits a normal."""
    feature_noise: float = 0.0
    """Deviation of normal noise on the embeddings, as a multiple of each position's own root mean square."""

    def require_noise(self) -> None:
        """Refuse impossible values.

        Raises:
            InputError: names the field and what it may be.
        """
        owner = type(self).__name__
        for name in ("dropout", "drop_block", "stochastic_depth", "shake_drop", "drop_connect"):
            require_fraction(owner, name, getattr(self, name))
        require_whole(owner, "block_size", self.block_size, 1)
        if not isinstance(self.feature_noise, (int, float)) or not 0 <= self.feature_noise < float("inf"):
            raise InputError(f"{owner}: feature_noise is {self.feature_noise!r}; give a number of at least 0")


class BranchNoise(nn.Module):
    """Noise on what block ``index`` (0, 1, …) of ``num_blocks`` adds to the residual stream."""

    def __init__(self, noise: Noise, index: int, num_blocks: int) -> None:
        super().__init__()
        self.noise = noise
        self.depth_share = (index + 1) / num_blocks

    def forward(self, added: Tensor, segments: Tensor, num_sequences: int, decode: Tensor | None = None) -> Tensor:
        """Noisy rows of the branch.

        Args:
            added: (T, D), or (M, D) at the positions in decode.
            segments: (T,) int64 sequence of each position, all positions of a sequence together and in order.
            num_sequences: B.
            decode: (M,) int64 or None.
        """
        if not self.training:
            return added
        noise = self.noise
        if noise.drop_block:
            factors = drop_block(segments, num_sequences, added.shape[1], noise.drop_block, noise.block_size)
            added = added * (factors if decode is None else factors.index_select(0, decode)).to(added.dtype)
        added = functional.dropout(added, noise.dropout, self.training)
        owners = segments if decode is None else segments.index_select(0, decode)
        if noise.stochastic_depth:
            kept = 1 - self.depth_share * noise.stochastic_depth
            factor = (torch.rand(num_sequences, 1, device=added.device) < kept).to(added.dtype) / kept
            added = added * factor.index_select(0, owners)
        if noise.shake_drop:
            front, back = shake_factors(num_sequences, self.depth_share * noise.shake_drop, added)
            front, back = front.index_select(0, owners), back.index_select(0, owners)
            # The value is front times the branch, the gradient back times: what is detached adds no gradient.
            added = added * back + (added * (front - back)).detach()
        return added

    def extra_repr(self) -> str:
        """What print shows of it: the kinds that are on."""
        names = ("dropout", "drop_block", "stochastic_depth", "shake_drop")
        return ", ".join(f"{name}={value:g}" for name in names if (value := getattr(self.noise, name)))


class ShakeShake(nn.Module):
    """Two branches of a block mixed by shares that are drawn for each sequence, and the gradient by others.

    Shake-Shake-Image (Gastaldi 2017, arXiv:1705.07485): both shares are uniform in [0, 1], and halves in evaluation.
    """

    def forward(
        self, first: Tensor, second: Tensor, segments: Tensor, num_sequences: int, decode: Tensor | None = None
    ) -> Tensor:
        """The mean of two branches of one shape, (T, D) or (M, D) at the positions in decode; in training a shaken one.

        segments, num_sequences and decode as for :class:`BranchNoise`.
        """
        if not self.training:
            return (first + second) / 2
        owners = segments if decode is None else segments.index_select(0, decode)
        front, back = torch.rand(2, num_sequences, 1, device=first.device).to(first.dtype).unbind()
        front, back = front.index_select(0, owners), back.index_select(0, owners)
        gap = first - second
        # The value is front times the first, the gradient back times: what is detached adds no gradient.
        return second + gap * back + (gap * (front - back)).detach()


class FeatureNoise(nn.Module):
    """Normal noise on embeddings, ``deviation`` times the root mean square of each position."""

    def __init__(self, deviation: float) -> None:
        super().__init__()
        self.deviation = deviation

    def forward(self, hidden: Tensor) -> Tensor:
        """hidden (T, D) -> (T, D)"""
        if not self.training or not self.deviation:
            return hidden
        sizes = hidden.detach().square().mean(dim=1, keepdim=True).sqrt()
        return hidden + torch.randn_like(hidden) * (self.deviation * sizes)


class DropConnectLinear(nn.Linear):
    """A linear layer whose weights are dropped in training."""

    def __init__(self, inputs: int, outputs: int, drop_connect: float) -> None:
        super().__init__(inputs, outputs)
        self.drop_connect = drop_connect

    def forward(self, input: Tensor) -> Tensor:
        """input (T, inputs) -> (T, outputs)"""
        return functional.linear(input, dropped(self.weight, self.drop_connect, self.training), self.bias)


def linear(inputs: int, outputs: int, drop_connect: float) -> nn.Linear:
    """A linear layer with DropConnect, where that is above 0."""
    return DropConnectLinear(inputs, outputs, drop_connect) if drop_connect else nn.Linear(inputs, outputs)


def dropped(weight: Tensor, probability: float, training: bool) -> Tensor:
    """The weights themselves, or in training those that DropConnect leaves, scaled to keep their expectation."""
    return functional.dropout(weight, probability, training) if probability else weight


def drop_block(segments: Tensor, num_sequences: int, width: int, share: float, block_size: int) -> Tensor:
    """DropBlock's factors (T, D): 0 in the dropped runs, and elsewhere what makes the mean of each sequence 1.

    A run starts at each position from which a whole one fits into the sequence, with the paper's probability
    gamma = share / block_size * L / (L - block_size + 1), drawn for each feature by itself. A sequence in which
    everything is dropped stays 0.
    """
    num_positions, device = len(segments), segments.device
    lengths = torch.bincount(segments, minlength=num_sequences)
    starts = lengths.cumsum(0) - lengths
    sizes = lengths.clamp(max=block_size)  # (B,) a block is no longer than its sequence
    gammas = share / sizes.clamp(min=1) * lengths / (lengths - sizes + 1)
    steps = torch.arange(num_positions, device=device)
    fits = steps + sizes[segments] <= (starts + lengths)[segments]
    chances = torch.where(fits, gammas[segments].clamp(max=1), 0.0)
    seeds = torch.rand(num_positions, width, device=device) < chances[:, None]
    before = functional.pad(seeds.int().cumsum(0), (0, 0, 1, 0))
    first = torch.maximum(steps - sizes[segments] + 1, starts[segments])
    kept = (before[1:] == before.index_select(0, first)).float()
    totals = kept.new_zeros(num_sequences).index_add(0, segments, kept.sum(dim=1))
    return kept * (lengths * width / totals.clamp(min=1))[segments, None]


def shake_factors(num_sequences: int, probability: float, like: Tensor) -> tuple[Tensor, Tensor]:
    """ShakeDrop's factors (B, 1) of the branch forward and of its gradient, in the dtype and place of a tensor.

    b + alpha - b alpha and b + beta - b beta, with b in {0, 1}, alpha uniform in [-1, 1] and beta in [0, 1]. The paper
    multiplies by the expectation P(b = 1) in evaluation; dividing by it in training is the same network, and leaves
    nothing to be done in evaluation.
    """
    kept = 1 - probability
    draws = torch.rand(3, num_sequences, 1, device=like.device)
    whole = draws[0] < kept
    front = torch.where(whole, 1.0, 2 * draws[1] - 1) / kept
    back = torch.where(whole, 1.0, draws[2]) / kept
    return front.to(like.dtype), back.to(like.dtype)
