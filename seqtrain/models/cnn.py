"""A dilated convolutional encoder (ByteNet, Kalchbrenner et al. 2016; CARP, Yang et al. 2024), on packed sequences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, get_args

from torch import Tensor, nn

from seqtrain.errors import InputError
from seqtrain.models.activations import Activation, activation
from seqtrain.models.checks import require_choice, require_positive, require_whole
from seqtrain.models.convolution import PackedConvolution, Spacing
from seqtrain.models.embedding import TokenEmbedding
from seqtrain.models.noise import BranchNoise, FeatureNoise, Noise, linear
from seqtrain.models.normalization import Norm, normalization
from seqtrain.models.scaling import Growth, width_and_depth
from seqtrain.models.starting import start_residual


@dataclass(frozen=True, kw_only=True)
class CNNConfig(Noise):
    """Shape of a :class:`CNN`, and the noise in its training."""

    vocabulary_size: int = 33
    width: int
    depth: int
    """Blocks, with one dilated convolution each."""
    kernel_size: int = 5
    """Positions per convolution; odd."""
    dilations: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128)
    """Steps between these positions, block by block, starting over when they are used up."""
    norm: Norm = "layer"
    activation: Activation = "gelu"
    layer_norm_eps: float = 1e-5
    """Of whatever norm there is."""
    ties_head: ClassVar[bool] = True

    def __post_init__(self) -> None:
        owner = type(self).__name__
        for name in ("vocabulary_size", "width", "depth", "kernel_size"):
            require_whole(owner, name, getattr(self, name), 1)
        if not isinstance(self.dilations, tuple) or not self.dilations:
            raise InputError(
                f"{owner}: dilations is {self.dilations!r}; give a list of at least one, such as [1, 2, 4]"
            )
        for dilation in self.dilations:
            require_whole(owner, "dilations", dilation, 1)
        self.require_noise()
        require_choice(owner, "norm", self.norm, get_args(Norm))
        require_choice(owner, "activation", self.activation, get_args(Activation))
        require_positive(owner, "layer_norm_eps", self.layer_norm_eps)
        if self.kernel_size % 2 == 0:
            raise InputError(f"{owner}: kernel_size {self.kernel_size} has no centre; make it odd")
        if self.width % 2:
            raise InputError(f"{owner}: width {self.width} is odd; make it even, as blocks work at half the width")

    @property
    def receptive_field(self) -> int:
        """Positions that one output depends on, of a sequence long enough to have them."""
        reach = sum(self.dilations[block % len(self.dilations)] for block in range(self.depth))
        return 1 + (self.kernel_size - 1) * reach

    @classmethod
    def shape(cls, size: str) -> dict[str, Any]:
        """The fields that a size decides: one of :data:`CNN_SIZES`, or a number of parameters such as 20M.

        Raises:
            InputError: an unknown size.
        """
        width, depth = CNN_SIZES.get(size) or width_and_depth(size, "CNN", CNN_SIZES, _GROWTH, _parameters_of)
        return {"width": width, "depth": depth}

    def build(self) -> CNN:
        """A network with fresh weights, drawn from torch's global generator."""
        return CNN(self)


CNN_SIZES: dict[str, tuple[int, int]] = {
    "100K": (80, 4),
    "300K": (112, 6),
    "1M": (192, 8),
    "3M": (320, 9),
    "8M": (448, 12),
}
"""Width and depth by the (rough) number of parameters."""
_GROWTH = Growth(width=192, depth=7.4, exponent=0.64, multiple=lambda _: 16)
"""The curve that these sizes lie along."""


def _parameters_of(width: int, depth: int) -> int:
    """Of a CNN whose other fields are left as they are; a formula, as thousands of shapes are compared."""
    config = CNNConfig(width=width, depth=depth)
    half = width // 2
    convolution = half * half * config.kernel_size + half
    block = 2 * width * half + half + width + convolution + 2 * (width + half + half)
    return config.depth * block + (config.vocabulary_size + 2) * width


class CNNBlock(nn.Module):
    """Down to half the width, convolve, and up again, each after norm and activation; added to the residual stream."""

    def __init__(self, config: CNNConfig, index: int) -> None:
        super().__init__()
        width, half, eps = config.width, config.width // 2, config.layer_norm_eps
        dilation = config.dilations[index % len(config.dilations)]
        self.norm_down = normalization(config.norm, width, eps)
        self.activation_down = activation(config.activation, width)
        self.down = linear(width, half, config.drop_connect)
        self.norm_convolve = normalization(config.norm, half, eps)
        self.activation_convolve = activation(config.activation, half)
        self.convolve = PackedConvolution(half, config.kernel_size, dilation, drop_connect=config.drop_connect)
        self.norm_up = normalization(config.norm, half, eps)
        self.activation_up = activation(config.activation, half)
        self.up = linear(half, width, config.drop_connect)
        self.noise = BranchNoise(config, index, config.depth)

    def forward(self, hidden: Tensor, spacing: Spacing, decode: Tensor | None) -> Tensor:
        """hidden (T, D) -> (T, D), or (M, D) when only the positions in decode (M,) are wanted."""
        segments, num_sequences = spacing.segments, spacing.num_sequences
        inner = self.down(self.activation_down(self.norm_down(hidden, segments, num_sequences)))
        inner = self.activation_convolve(self.norm_convolve(inner, segments, num_sequences))
        inner = self.convolve(inner, spacing, decode)
        inner = self.up(self.activation_up(self.norm_up(inner, segments, num_sequences)))
        if decode is not None:
            hidden = hidden.index_select(0, decode)
        added: Tensor = self.noise(inner, segments, num_sequences, decode)
        return hidden + added


class CNN(nn.Module):
    """Token ids -> hidden states by dilated convolutions: time and memory grow linearly with length."""

    def __init__(self, config: CNNConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = TokenEmbedding(config.vocabulary_size, config.width)
        self.feature_noise = FeatureNoise(config.feature_noise)
        blocks = [CNNBlock(config, index) for index in range(config.depth)]
        self.blocks = nn.ModuleList(blocks)
        self.final_norm = normalization(config.norm, config.width, config.layer_norm_eps)
        # The other layers keep torch's own initialisation, for which the norm before each was made.
        start_residual(self.embedding, [block.up for block in blocks])

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
            inputs: (T,) int64 ids of B packed sequences.
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
        hidden = self.feature_noise(self.embedding(inputs))
        for block in self.blocks[:-1]:
            hidden = block(hidden, spacing, None)
        # Norms with statistics over positions see all of them, so that they are the same with and without decode.
        early, late = (spacing.decode, None) if self.final_norm.by_row else (None, spacing.decode)
        hidden = self.blocks[-1](hidden, spacing, early)
        normed: Tensor = self.final_norm(hidden, spacing.segments, spacing.num_sequences)
        return normed if late is None else normed.index_select(0, late)

    def hidden_states(self, inputs: Tensor, boundaries: Tensor, last: int | None = None) -> list[Tensor]:
        """The embeddings and the output of each block, depth + 1 tensors (T, D); the last one after the final norm.

        With ``last``, only what stands at 0 to ``last``, and nothing further is computed.
        """
        spacing = self.plan(boundaries)
        states = [self.feature_noise(self.embedding(inputs))]
        for block in self.blocks[:last]:
            states.append(block(states[-1], spacing, None))
        if len(states) > self.config.depth:
            states[-1] = self.final_norm(states[-1], spacing.segments, spacing.num_sequences)
        return states
