"""A dilated convolutional encoder (ByteNet, Kalchbrenner et al. 2016; CARP, Yang et al. 2024), on packed sequences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional

from seqtrain.errors import InputError
from seqtrain.models.checks import require_fraction, require_positive, require_whole
from seqtrain.models.convolution import PackedConvolution, Spacing


@dataclass(frozen=True, kw_only=True)
class CNNConfig:
    """Shape of a :class:`CNN`."""

    vocabulary_size: int = 33
    width: int
    depth: int
    """Blocks, with one dilated convolution each."""
    kernel_size: int = 5
    """Positions per convolution; odd."""
    dilations: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128)
    """Steps between these positions, block by block, starting over when they are used up."""
    dropout: float = 0.0
    """Of what each block adds to the residual stream."""
    layer_norm_eps: float = 1e-5
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
        require_fraction(owner, "dropout", self.dropout)
        require_positive(owner, "layer_norm_eps", self.layer_norm_eps)
        if self.kernel_size % 2 == 0:
            raise InputError(f"{owner}: kernel_size {self.kernel_size} has no centre; make it odd")
        if self.width % 2:
            raise InputError(f"{owner}: width {self.width} is odd; make it even, as blocks work at half the width")

    @classmethod
    def shape(cls, size: str) -> dict[str, Any]:
        """The fields that a named size decides.

        Raises:
            InputError: an unknown size.
        """
        if size not in CNN_SIZES:
            raise InputError(f"there is no CNN of size {size!r}; choose one of {', '.join(CNN_SIZES)}")
        width, depth = CNN_SIZES[size]
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


class CNNBlock(nn.Module):
    """Down to half the width, convolve, and up again, each after layer norm and GELU; added to the residual stream."""

    def __init__(self, config: CNNConfig, dilation: int) -> None:
        super().__init__()
        width, half, eps = config.width, config.width // 2, config.layer_norm_eps
        self.norm_down = nn.LayerNorm(width, eps=eps)
        self.down = nn.Linear(width, half)
        self.norm_convolve = nn.LayerNorm(half, eps=eps)
        self.convolve = PackedConvolution(half, config.kernel_size, dilation)
        self.norm_up = nn.LayerNorm(half, eps=eps)
        self.up = nn.Linear(half, width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, hidden: Tensor, spacing: Spacing, decode: Tensor | None) -> Tensor:
        """hidden (T, D) -> (T, D), or (M, D) when only the positions in decode (M,) are wanted."""
        inner = self.down(functional.gelu(self.norm_down(hidden)))
        inner = self.convolve(functional.gelu(self.norm_convolve(inner)), spacing)
        if decode is not None:
            hidden, inner = hidden.index_select(0, decode), inner.index_select(0, decode)
        added: Tensor = self.dropout(self.up(functional.gelu(self.norm_up(inner))))
        return hidden + added


class CNN(nn.Module):
    """Token ids -> hidden states by dilated convolutions: time and memory grow linearly with length."""

    def __init__(self, config: CNNConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary_size, config.width)
        dilations = [config.dilations[i % len(config.dilations)] for i in range(config.depth)]
        self.blocks = nn.ModuleList(CNNBlock(config, dilation) for dilation in dilations)
        self.final_norm = nn.LayerNorm(config.width, eps=config.layer_norm_eps)
        # The linear layers keep torch's own initialisation, for which the layer norm before each was made.
        nn.init.normal_(self.embedding.weight, std=0.02)

    @property
    def width(self) -> int:
        """D, numbers per position."""
        return self.config.width

    @property
    def token_embedding(self) -> Tensor:
        """(V, D) for a tied language model head."""
        return self.embedding.weight

    def forward(self, inputs: Tensor, boundaries: Tensor, decode: Tensor | None = None) -> Tensor:
        """Hidden states after the final layer norm.

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

    def compute(self, inputs: Tensor, spacing: Spacing) -> Tensor:
        """inputs (T,) -> (T, D), or (M, D) at the positions that the spacing wants."""
        hidden = self.embedding(inputs)
        for block in self.blocks[:-1]:
            hidden = block(hidden, spacing, None)
        normed: Tensor = self.final_norm(self.blocks[-1](hidden, spacing, spacing.decode))
        return normed

    def hidden_states(self, inputs: Tensor, boundaries: Tensor) -> list[Tensor]:
        """The embeddings and the output of each block, depth + 1 tensors (T, D); the last one after the final norm."""
        spacing = self.plan(boundaries)
        states = [self.embedding(inputs)]
        for block in self.blocks:
            states.append(block(states[-1], spacing, None))
        states[-1] = self.final_norm(states[-1])
        return states
