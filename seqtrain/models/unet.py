"""An encoder-decoder with skip connections (U-Net, Ronneberger et al. 2015), on packed sequences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, get_args

import torch
from torch import Tensor, nn

from seqtrain.errors import InputError
from seqtrain.models.activations import Activation, activation
from seqtrain.models.checks import require_choice, require_positive, require_whole
from seqtrain.models.convolution import PackedConvolution, Spacing
from seqtrain.models.embedding import TokenEmbedding
from seqtrain.models.noise import BranchNoise, FeatureNoise, Noise, linear
from seqtrain.models.normalization import Norm, normalization
from seqtrain.models.pyramid import Pyramid
from seqtrain.models.scaling import Growth, width_and_depth
from seqtrain.models.starting import keep_variance, start_residual


@dataclass(frozen=True, kw_only=True)
class UNetConfig(Noise):
    """Shape of a :class:`UNet`, and its noise in training."""

    vocabulary_size: int = 33
    width: int
    """At full resolution, where the embeddings and the output are."""
    levels: int = 3
    """Halvings of the resolution."""
    growth: float = 1.0
    """What the width is multiplied by at each halving; rounded to multiples of 8. Ronneberger et al. double it."""
    kernel_size: int = 5
    """Rows of its own level that a convolution sees; odd."""
    norm: Norm = "layer"
    activation: Activation = "gelu"
    layer_norm_eps: float = 1e-5
    ties_head: ClassVar[bool] = True

    def __post_init__(self) -> None:
        owner = type(self).__name__
        for name in ("vocabulary_size", "width", "levels", "kernel_size"):
            require_whole(owner, name, getattr(self, name), 1)
        self.require_noise()
        require_choice(owner, "norm", self.norm, get_args(Norm))
        require_choice(owner, "activation", self.activation, get_args(Activation))
        require_positive(owner, "growth", self.growth)
        require_positive(owner, "layer_norm_eps", self.layer_norm_eps)
        if self.kernel_size % 2 == 0:
            raise InputError(f"{owner}: kernel_size {self.kernel_size} has no centre; make it odd")
        if self.width % 8:
            raise InputError(f"{owner}: width is {self.width}; make it a multiple of 8")
        if self.growth < 1:
            raise InputError(f"{owner}: growth is {self.growth}; give a number of at least 1")

    @property
    def depth(self) -> int:
        """Blocks: one per level on the way down and on the way up, and one at the bottom."""
        return 2 * self.levels + 1

    @property
    def widths(self) -> tuple[int, ...]:
        """Of the levels, from full resolution to the bottom."""
        return tuple(8 * round(self.width * self.growth**level / 8) for level in range(self.levels + 1))

    @property
    def receptive_field(self) -> int:
        """Positions that an output depends on, on average over where it stands in the row of the bottom it belongs to.

        The convolutions of a block see k - 1 rows to either side, a row of level l stands for 2^l positions, and each
        level but the bottom has two blocks: 2 (k - 1) (3 * 2^levels - 2) positions, and the 2^levels of the row itself.
        """
        bottom = 1 << self.levels
        return 2 * (self.kernel_size - 1) * (3 * bottom - 2) + bottom

    @classmethod
    def shape(cls, size: str) -> dict[str, Any]:
        """The fields that a size decides: one of :data:`UNET_SIZES`, or a number of parameters such as 20M.

        Raises:
            InputError: an unknown size.
        """
        width, levels = UNET_SIZES.get(size) or width_and_depth(size, "U-Net", UNET_SIZES, _GROWTH, _parameters_of)
        return {"width": width, "levels": levels}

    def build(self) -> UNet:
        """A network with fresh weights, drawn from torch's global generator."""
        return UNet(self)


UNET_SIZES: dict[str, tuple[int, int]] = {
    "100K": (32, 3),
    "300K": (56, 3),
    "1M": (96, 4),
    "3M": (168, 4),
    "8M": (272, 4),
}
"""Width and levels by the (rough) number of parameters, for the kernel and the growth that are the defaults."""
_GROWTH = Growth(width=96, depth=3.6, exponent=0.17, least_width=16)
"""The curve that these sizes lie along, its depth being the levels."""


def _parameters_of(width: int, levels: int) -> int:
    """Of a U-Net with the defaults otherwise: counted by hand, as building hundreds of networks takes seconds."""
    block = 2 * 5 * width**2 + 6 * width
    passages = 5 * width**2 + 4 * width
    return (2 * levels + 1) * block + levels * passages + (33 + 2) * width


class UNetBlock(nn.Module):
    """Two convolutions, each after norm and activation, added to what came in (He et al. 2016)."""

    def __init__(self, config: UNetConfig, level: int, index: int) -> None:
        super().__init__()
        width, kernel_size, eps = config.widths[level], config.kernel_size, config.layer_norm_eps
        self.level = level
        self.norm_first = normalization(config.norm, width, eps)
        self.activation_first = activation(config.activation, width)
        self.first = PackedConvolution(width, kernel_size, 1, drop_connect=config.drop_connect)
        self.norm_second = normalization(config.norm, width, eps)
        self.activation_second = activation(config.activation, width)
        self.second = PackedConvolution(width, kernel_size, 1, drop_connect=config.drop_connect)
        self.noise = BranchNoise(config, index, config.depth)

    def convolve(self, hidden: Tensor, spacing: Spacing, decode: Tensor | None = None) -> Tensor:
        """hidden (T, D) of the block's level -> (T, D), or (M, D) when only the rows in decode (M,) are wanted."""
        segments, num_sequences = spacing.segments, spacing.num_sequences
        inner = self.first(self.activation_first(self.norm_first(hidden, segments, num_sequences)), spacing)
        inner = self.activation_second(self.norm_second(inner, segments, num_sequences))
        inner = self.second(inner, spacing, decode)
        if decode is not None:
            hidden = hidden.index_select(0, decode)
        added: Tensor = self.noise(inner, segments, num_sequences, decode)
        return hidden + added


class Encoder(UNetBlock):
    """Keep the larger of each two neighbours, widen, and convolve; the first block only convolves."""

    def __init__(self, config: UNetConfig, level: int) -> None:
        super().__init__(config, level, index=level)
        width = config.widths[level]
        self.widen = linear(config.widths[level - 1], width, config.drop_connect) if level else None
        if self.widen is not None:
            keep_variance(self.widen)  # what leads from level to level has no norm before it

    def forward(self, hidden: Tensor, pyramid: Pyramid) -> Tensor:
        """(T, D) of the level above -> (T', D') of its own"""
        if self.widen is not None:
            hidden = self.widen(pyramid.halvings[self.level - 1].larger(hidden))
        return self.convolve(hidden, pyramid.spacings[self.level])


class Decoder(UNetBlock):
    """Two rows from each row of the level below, joined with what the encoder had at this level; then convolve."""

    def __init__(self, config: UNetConfig, level: int) -> None:
        super().__init__(config, level, index=2 * config.levels - level)
        width = config.widths[level]
        # A transposed convolution of kernel 2 and stride 2 is a linear layer that gives two rows for each.
        self.rise = linear(config.widths[level + 1], 2 * width, config.drop_connect)
        self.merge = linear(2 * width, width, config.drop_connect)
        keep_variance(self.rise)
        keep_variance(self.merge)

    def forward(self, below: Tensor, skipped: Tensor, pyramid: Pyramid, decode: Tensor | None) -> Tensor:
        """below (T', D') of the level below, skipped (T, D) -> (T, D), or (M, D) at the rows in decode (M,)"""
        risen = pyramid.halvings[self.level].spread(self.rise(below))
        return self.convolve(self.merge(torch.cat((skipped, risen), dim=1)), pyramid.spacings[self.level], decode)


class UNet(nn.Module):
    """Token ids -> hidden states, with far context gathered at low resolution and details kept by skip connections.

    Time and memory grow linearly with length, and the receptive field exponentially with the levels.
    """

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = TokenEmbedding(config.vocabulary_size, config.width)
        self.feature_noise = FeatureNoise(config.feature_noise)
        down = [Encoder(config, level) for level in range(config.levels + 1)]
        up = [Decoder(config, level) for level in reversed(range(config.levels))]
        blocks: list[UNetBlock] = [*down, *up]
        self.blocks = nn.ModuleList(blocks)
        self.final_norm = normalization(config.norm, config.width, config.layer_norm_eps)
        # The other convolutions keep torch's own initialisation, for which the norm before each was made.
        start_residual(self.embedding, [block.second.convolution for block in blocks])

    @property
    def width(self) -> int:
        """D, numbers per position."""
        return self.config.width

    @property
    def token_embedding(self) -> Tensor:
        """(V, D) for a tied language model head."""
        return self.embedding.weight

    def forward(self, inputs: Tensor, boundaries: Tensor, decode: Tensor | None = None) -> Tensor:
        """Hidden states after the final norm.

        Args:
            inputs: (T,) int64 ids of B packed sequences, or (T, V) shares of ids.
            boundaries: (B + 1,) int64.
            decode: (M,) int64 increasing; the states wanted.

        Returns:
            (T, D), or (M, D) with decode.
        """
        return self.compute(inputs, self.plan(boundaries, decode))

    def plan(self, boundaries: Tensor, decode: Tensor | None = None) -> Pyramid:
        """How sequences with these boundaries (B + 1,) lie at each level, for :meth:`compute`."""
        return Pyramid.of(boundaries, self.config.levels, decode)

    def plan_rectangle(self, real: Tensor) -> Pyramid:
        """How the places of a padded rectangle, real (B, L) bool, lie at each level, for :meth:`compute`."""
        return Pyramid.of_rectangle(real, self.config.levels)

    def compute(self, inputs: Tensor, pyramid: Pyramid) -> Tensor:
        """inputs (T,) -> (T, D), or (M, D) at the positions that the pyramid wants."""
        # Norms with statistics over positions see all of them, so that they are the same with and without decode.
        early, late = (pyramid.decode, None) if self.final_norm.by_row else (None, pyramid.decode)
        states = self._states(inputs, pyramid, self.config.depth, early)
        normed = self._finish(states[-1], pyramid)
        return normed if late is None else normed.index_select(0, late)

    def hidden_states(self, inputs: Tensor, boundaries: Tensor, last: int | None = None) -> list[Tensor]:
        """The embeddings and the output of each block, depth + 1 tensors; the last one after the final norm.

        Each has T rows, and the width of its level: a position has what stands for it at that level. With ``last``,
        only what stands at 0 to ``last``, and nothing further is computed.
        """
        pyramid, levels = self.plan(boundaries), self.config.levels
        states = self._states(inputs, pyramid, self.config.depth if last is None else last)
        if len(states) > self.config.depth:
            states[-1] = self._finish(states[-1], pyramid)
        rows = pyramid.rows_of_positions()
        at = [0, *range(levels + 1), *reversed(range(levels))]
        return [state.index_select(0, rows[level]) for state, level in zip(states, at, strict=False)]

    def _states(self, inputs: Tensor, pyramid: Pyramid, last: int, decode: Tensor | None = None) -> list[Tensor]:
        """The embeddings of inputs (T,) and the output of each block up to the last, in the rows of its level."""
        states = [self.feature_noise(self.embedding(inputs))]
        for index, block in enumerate(self.blocks[:last]):
            if index <= self.config.levels:
                states.append(block(states[-1], pyramid))
            else:
                skipped = states[self.config.depth - index]
                states.append(block(states[-1], skipped, pyramid, decode if index == self.config.depth - 1 else None))
        return states

    def _finish(self, hidden: Tensor, pyramid: Pyramid) -> Tensor:
        top = pyramid.spacings[0]
        normed: Tensor = self.final_norm(hidden, top.segments, top.num_sequences)
        return normed
