"""A residual convolutional network whose width grows with depth (He et al. 2015), on packed sequences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, get_args

import torch
from torch import Tensor, nn

from seqtrain.errors import InputError
from seqtrain.models.activations import Activation, activation
from seqtrain.models.checks import require_choice, require_positive, require_whole
from seqtrain.models.convolution import PackedConvolution, Spacing
from seqtrain.models.noise import BranchNoise, FeatureNoise, Noise, ShakeShake, linear
from seqtrain.models.normalization import AnyNorm, Norm, normalization
from seqtrain.models.scaling import Growth, width_and_depth
from seqtrain.models.stems import StemFields, build_stem


@dataclass(frozen=True, kw_only=True)
class ResidualCNNConfig(Noise, StemFields):
    """Shape of a :class:`ResidualCNN`, what it sees, and the noise in its training."""

    width: int
    """Of the first stage."""
    depth: int
    """Blocks, with two convolutions each."""
    stages: int = 3
    """Groups of blocks of one width; the first ones have a block more where they cannot be equal."""
    growth: float = 1.5
    """What the width is multiplied by from one stage to the next; rounded to multiples of 8."""
    kernel_size: int = 5
    """Positions per convolution; odd."""
    dilations: tuple[int, ...] = (1, 2, 4, 8)
    """Steps between these positions, block by block, starting over when they are used up."""
    norm: Norm = "layer"
    """The paper has batch norm, whose gradients depend on how a step is cut into microbatches."""
    activation: Activation = "relu"
    norm_eps: float = 1e-5
    shake_shake: bool = False
    """Whether a block has two branches, mixed by shares that are drawn for each sequence, and others for the gradient
    (Gastaldi 2017, arXiv:1705.07485); in evaluation each counts by half. Twice the parameters of ``width``."""
    ties_head: ClassVar[bool] = False

    def __post_init__(self) -> None:
        owner = type(self).__name__
        self.require_stem()
        self.require_noise()
        for name in ("width", "depth", "stages", "kernel_size"):
            require_whole(owner, name, getattr(self, name), 1)
        require_choice(owner, "norm", self.norm, get_args(Norm))
        require_choice(owner, "activation", self.activation, get_args(Activation))
        require_positive(owner, "norm_eps", self.norm_eps)
        require_positive(owner, "growth", self.growth)
        if not isinstance(self.shake_shake, bool):
            raise InputError(f"{owner}: shake_shake is {self.shake_shake!r}; give true or false")
        if not isinstance(self.dilations, tuple) or not self.dilations:
            raise InputError(f"{owner}: dilations is {self.dilations!r}; give a list of at least one, such as [1, 2]")
        for dilation in self.dilations:
            require_whole(owner, "dilations", dilation, 1)
        if self.kernel_size % 2 == 0:
            raise InputError(f"{owner}: kernel_size {self.kernel_size} has no centre; make it odd")
        if self.growth < 1:
            raise InputError(f"{owner}: growth is {self.growth}; give a number of at least 1")
        if self.stages > self.depth:
            raise InputError(f"{owner}: {self.stages} stages need at least as many blocks, and depth is {self.depth}")

    @property
    def widths(self) -> tuple[int, ...]:
        """Of the blocks, from the first to the last."""
        stages = [block * self.stages // self.depth for block in range(self.depth)]
        return tuple(self.width if not stage else _rounded(self.width * self.growth**stage) for stage in stages)

    @property
    def receptive_field(self) -> int:
        """Positions that one output depends on, of a sequence long enough to have them; n-grams count with theirs."""
        reaches = [2 * self.dilations[block % len(self.dilations)] for block in range(self.depth)]
        seen = 1 + (self.kernel_size - 1) * (1 + sum(reaches))
        return seen + (self.n - 1 if self.input == "ngram" else 0)

    @classmethod
    def shape(cls, size: str) -> dict[str, Any]:
        """The fields that a size decides: one of :data:`RESIDUAL_CNN_SIZES`, or a number of parameters such as 20M.

        Raises:
            InputError: an unknown size.
        """
        named = RESIDUAL_CNN_SIZES
        width, depth = named.get(size) or width_and_depth(size, "residual CNN", named, _GROWTH, _parameters_of)
        return {"width": width, "depth": depth, "stages": min(3, depth)}

    def build(self) -> ResidualCNN:
        """A network with fresh weights, drawn from torch's global generator."""
        return ResidualCNN(self)


RESIDUAL_CNN_SIZES: dict[str, tuple[int, int]] = {
    "100K": (32, 4),
    "300K": (56, 4),
    "1M": (64, 9),
    "3M": (104, 11),
    "8M": (168, 11),
}
"""First width and depth by the (rough) number of parameters."""
_GROWTH = Growth(width=72, depth=6, exponent=0.75, least_width=16)
"""The curve that these sizes lie along."""


def _rounded(width: float) -> int:
    return max(8, 8 * round(width / 8))


def _parameters_of(width: int, depth: int) -> int:
    """Of a network whose other fields are left as they are; a formula, as thousands of shapes are compared."""
    config = ResidualCNNConfig(width=width, depth=depth, stages=min(3, depth))
    total = config.vocabulary_size * width + _of_layer(width * config.kernel_size, width)
    for before, after in pairwise((width, *config.widths)):
        total += _of_layer(before * config.kernel_size, after) + _of_layer(after * config.kernel_size, after)
        total += _of_layer(before, after) if before != after else 0
    return total


def _of_layer(inputs: int, outputs: int) -> int:
    """Weights, biases, and the scales and shifts of the norm behind it."""
    return (inputs + 3) * outputs


class ResidualBranch(nn.Module):
    """Convolution, norm, activation, convolution, norm.

    Without norms a branch has the scalars of Fixup (Zhang et al. 2019): a shift before each convolution and a scale
    behind the second; the shift before each activation is the bias of the convolution.
    """

    def __init__(self, config: ResidualCNNConfig, index: int, width_in: int) -> None:
        super().__init__()
        width, kernel_size, drop = config.widths[index], config.kernel_size, config.drop_connect
        dilation = config.dilations[index % len(config.dilations)]
        self.convolve_first = PackedConvolution(width_in, kernel_size, dilation, outputs=width, drop_connect=drop)
        self.norm_first = normalization(config.norm, width, config.norm_eps)
        self.activation_first = activation(config.activation, width)
        self.convolve_second = PackedConvolution(width, kernel_size, dilation, drop_connect=drop)
        self.norm_second = normalization(config.norm, width, config.norm_eps)
        self.shifts = nn.Parameter(torch.zeros(2)) if config.norm == "none" else None
        self.scale = nn.Parameter(torch.ones(1)) if config.norm == "none" else None

    def added(self, hidden: Tensor, spacing: Spacing, decode: Tensor | None) -> Tensor:
        """hidden (T, D) -> (T, D'), or (M, D') when only the positions in decode (M,) are wanted."""
        segments, num_sequences = spacing.segments, spacing.num_sequences
        inner = hidden if self.shifts is None else hidden + self.shifts[0]
        inner = self.norm_first(self.convolve_first(inner, spacing), segments, num_sequences)
        inner = self.activation_first(inner)
        inner = inner if self.shifts is None else inner + self.shifts[1]
        inner = self.norm_second(self.convolve_second(inner, spacing, decode), segments, num_sequences)
        scaled: Tensor = inner if self.scale is None else inner * self.scale
        return scaled

    def norms_after_layers(self) -> Iterator[tuple[nn.Conv1d | nn.Linear, AnyNorm]]:
        """As :meth:`ResidualCNN.norms_after_layers`."""
        yield self.convolve_first.convolution, self.norm_first
        yield self.convolve_second.convolution, self.norm_second


class ResidualBlock(ResidualBranch):
    """A branch, or two of them mixed; added to what came in, and the activation of that.

    What came in passes a linear layer and a norm where the width changes.
    """

    def __init__(self, config: ResidualCNNConfig, index: int, width_in: int) -> None:
        super().__init__(config, index, width_in)
        width, drop = config.widths[index], config.drop_connect
        self.other = ResidualBranch(config, index, width_in) if config.shake_shake else None
        self.shake_shake = ShakeShake() if config.shake_shake else None
        self.projection = linear(width_in, width, drop) if width_in != width else None
        self.norm_projection = normalization(config.norm, width, config.norm_eps) if width_in != width else None
        self.noise = BranchNoise(config, index, config.depth)
        self.activation_last = activation(config.activation, width)

    def forward(self, hidden: Tensor, spacing: Spacing, decode: Tensor | None) -> Tensor:
        """hidden (T, D) -> (T, D'), or (M, D') when only the positions in decode (M,) are wanted."""
        segments, num_sequences = spacing.segments, spacing.num_sequences
        inner = self.added(hidden, spacing, decode)
        if self.other is not None and self.shake_shake is not None:
            second = self.other.added(hidden, spacing, decode)
            inner = self.shake_shake(inner, second, segments, num_sequences, decode)
        if decode is not None:
            hidden = hidden.index_select(0, decode)
        if self.projection is not None and self.norm_projection is not None:
            hidden = self.norm_projection(self.projection(hidden), segments, num_sequences)
        activated: Tensor = self.activation_last(hidden + self.noise(inner, segments, num_sequences, decode))
        return activated

    def norms_after_layers(self) -> Iterator[tuple[nn.Conv1d | nn.Linear, AnyNorm]]:
        """As :meth:`ResidualCNN.norms_after_layers`."""
        yield from super().norms_after_layers()
        if self.other is not None:
            yield from self.other.norms_after_layers()
        if self.projection is not None and self.norm_projection is not None:
            yield self.projection, self.norm_projection


class ResidualCNN(nn.Module):
    """Token ids -> hidden states by residual blocks of convolutions, an output for every position.

    Where networks for images halve the resolution from stage to stage, this one keeps it: dilation widens the view.
    """

    def __init__(self, config: ResidualCNNConfig) -> None:
        super().__init__()
        self.config = config
        self.stem = build_stem(config, config.width)
        self.feature_noise = FeatureNoise(config.feature_noise)
        self.convolve = PackedConvolution(self.stem.width, config.kernel_size, 1, outputs=config.width)
        self.norm = normalization(config.norm, config.width, config.norm_eps)
        self.activation = activation(config.activation, config.width)
        widths = (config.width, *config.widths)
        self.blocks = nn.ModuleList(ResidualBlock(config, index, widths[index]) for index in range(config.depth))
        self.apply(_initialise)

    @property
    def width(self) -> int:
        """D, numbers per position."""
        return self.config.widths[-1]

    @property
    def token_embedding(self) -> None:
        """None: there is no embedding of the width of the last stage, to which a head could be tied."""
        return None

    def norms_after_layers(self) -> Iterator[tuple[nn.Conv1d | nn.Linear, AnyNorm]]:
        """Each norm of the network, with the convolution or linear layer whose output it is applied to."""
        yield self.convolve.convolution, self.norm
        for block in self.blocks:
            assert isinstance(block, ResidualBlock)
            yield from block.norms_after_layers()

    def forward(self, inputs: Tensor, boundaries: Tensor, decode: Tensor | None = None) -> Tensor:
        """Hidden states after the last block.

        Args:
            inputs: (T,) int64 ids of B packed sequences, or shares of ids (T, V).
            boundaries: (B + 1,) int64.
            decode: (M,) int64 increasing; what can be is then computed at these positions only.

        Returns:
            (T, D), or (M, D) with decode.
        """
        return self.compute(inputs, self.plan(boundaries, decode))

    def plan(self, boundaries: Tensor, decode: Tensor | None = None) -> Spacing:
        """How sequences with these boundaries (B + 1,) are laid out, for :meth:`compute`."""
        return Spacing.of(boundaries, decode)

    def plan_rectangle(self, real: Tensor) -> Spacing:
        """How the places of a padded rectangle, real (B, L) bool, are laid out, for :meth:`compute`."""
        return Spacing.of_rectangle(real)

    def compute(self, inputs: Tensor, spacing: Spacing) -> Tensor:
        """inputs (T,) -> (T, D), or (M, D) at the positions that the spacing wants."""
        hidden = self._embed(inputs, spacing)
        for block in self.blocks[:-1]:
            hidden = block(hidden, spacing, None)
        # Norms with statistics over positions see all of them, so that they are the same with and without decode.
        early, late = (spacing.decode, None) if self.norm.by_row else (None, spacing.decode)
        last: Tensor = self.blocks[-1](hidden, spacing, early)
        return last if late is None else last.index_select(0, late)

    def hidden_states(self, inputs: Tensor, boundaries: Tensor, last: int | None = None) -> list[Tensor]:
        """What enters the first block and the output of each block, depth + 1 tensors (T, D), D that of its stage.

        With ``last``, only what stands at 0 to ``last``, and nothing further is computed.
        """
        spacing = self.plan(boundaries)
        states = [self._embed(inputs, spacing)]
        for block in self.blocks[:last]:
            states.append(block(states[-1], spacing, None))
        return states

    def _embed(self, inputs: Tensor, spacing: Spacing) -> Tensor:
        """(T, D) what the first block sees."""
        features = self.feature_noise(self.stem(inputs, spacing.segments))
        rows: Tensor = self.norm(self.convolve(features, spacing), spacing.segments, spacing.num_sequences)
        activated: Tensor = self.activation(rows)
        return activated


def _initialise(module: nn.Module) -> None:
    """He et al. 2015: normal with variance 2 / fan-in, for layers before a ReLU; biases 0."""
    if isinstance(module, (nn.Conv1d, nn.Linear)):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        assert module.bias is not None
        nn.init.zeros_(module.bias)
