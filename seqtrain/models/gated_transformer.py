"""A transformer encoder with gated feed-forward parts, with the arithmetic of ESM C, computed on packed sequences."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional

from seqtrain.errors import InputError
from seqtrain.models.attention import Attention
from seqtrain.models.checks import require_fraction, require_positive, require_whole
from seqtrain.models.encoder import RotaryEncoder
from seqtrain.models.rotary import rotate
from seqtrain.models.scaling import transformer_shape

REFERENCE_DEPTH = 36
"""Layers at which ESM C, like ESM3 (Hayes et al. 2025), takes what half a layer adds as it is."""


@dataclass(frozen=True, kw_only=True)
class GatedTransformerConfig:
    """Shape of a :class:`GatedTransformer`."""

    vocabulary_size: int = 33
    """Rows of the embedding; ESM C has 64, of which tokens use the first 33."""
    width: int
    depth: int
    """Layers."""
    num_heads: int
    feedforward: int | None = None
    """Width inside the feed-forward part; None means 8/3 * width, up to the next multiple of 32."""
    dropout: float = 0.0
    """Of what each half of a layer adds to the residual stream."""
    branch_scale: float | None = None
    """What each half of a layer adds is multiplied by this; None means sqrt(36 / depth), as in ESM C. Sizes of up to 36
    layers have 1: shallow networks learn faster so (``benchmarks/benchmark_architectures.py``)."""
    ties_head: ClassVar[bool] = False

    def __post_init__(self) -> None:
        owner = type(self).__name__
        for name in ("vocabulary_size", "width", "depth", "num_heads", "inner_width"):
            require_whole(owner, name, getattr(self, name), 1)
        require_fraction(owner, "dropout", self.dropout)
        require_positive(owner, "added_scale", self.added_scale)
        if self.width % (2 * self.num_heads):
            raise InputError(
                f"{owner}: width {self.width} does not give {self.num_heads} heads of one even size; "
                f"make it a multiple of {2 * self.num_heads}"
            )

    @property
    def inner_width(self) -> int:
        """Width inside the feed-forward part."""
        return 32 * math.ceil(self.width / 12) if self.feedforward is None else self.feedforward

    @property
    def added_scale(self) -> float:
        """What each half of a layer adds is multiplied by this."""
        return scale_of_esmc(self.depth) if self.branch_scale is None else self.branch_scale

    @property
    def head_size(self) -> int:
        return self.width // self.num_heads

    @classmethod
    def shape(cls, size: str) -> dict[str, Any]:
        """The fields that a size decides: one of :data:`GATED_SIZES`, or any number of parameters, such as 20M.

        Raises:
            InputError: neither a name nor a number.
        """
        shape = GATED_SIZES.get(size) or transformer_shape(size, "gated transformer", GATED_SIZES, _parameters)
        return shape | ({"branch_scale": 1.0} if shape["depth"] < REFERENCE_DEPTH else {})

    def build(self) -> GatedTransformer:
        """A transformer with fresh weights, drawn from torch's global generator."""
        return GatedTransformer(self)


GATED_SIZES: dict[str, dict[str, int]] = {
    "100K": {"width": 64, "depth": 2, "num_heads": 2},
    "300K": {"width": 96, "depth": 3, "num_heads": 3},
    "1M": {"width": 128, "depth": 5, "num_heads": 4},
    "3M": {"width": 192, "depth": 7, "num_heads": 6},
    "8M": {"width": 256, "depth": 10, "num_heads": 8},
    "35M": {"width": 480, "depth": 12, "num_heads": 15},
    "150M": {"width": 768, "depth": 21, "num_heads": 12},
    "300M": {"width": 960, "depth": 30, "num_heads": 15},
    "600M": {"width": 1152, "depth": 36, "num_heads": 18},
    "6B": {"width": 2560, "depth": 80, "num_heads": 40, "feedforward": 6912},
}
"""Shapes by (rough) parameters; the last three are the models of ESM C."""


class GatedTransformerLayer(nn.Module):
    """Attention and a gated feed-forward part, each after its layer norm and added to the residual stream."""

    def __init__(self, config: GatedTransformerConfig) -> None:
        super().__init__()
        width, inner = config.width, config.inner_width
        self.head_size = config.head_size
        self.added_scale = config.added_scale
        self.attention_norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.query_norm = nn.LayerNorm(width, bias=False)
        self.key_norm = nn.LayerNorm(width, bias=False)
        self.attention_output = nn.Linear(width, width, bias=False)
        self.feedforward_norm = nn.LayerNorm(width)
        self.gate = nn.Linear(width, inner, bias=False)
        self.expand = nn.Linear(width, inner, bias=False)
        self.contract = nn.Linear(inner, width, bias=False)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, hidden: Tensor, angles: tuple[Tensor, Tensor], attention: Attention, decode: Tensor | None
    ) -> Tensor:
        """hidden (T, D) -> (T, D), or (M, D) when only the positions in decode (M,) are wanted."""
        query, key, value = self.project(hidden, angles, decode)
        if decode is not None:
            hidden = hidden.index_select(0, decode)
        return self.finish(hidden, attention(query, key, value))

    def project(
        self, hidden: Tensor, angles: tuple[Tensor, Tensor], decode: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What comes before attention: hidden (T, D) -> queries (T, H, d), or (M, H, d) with decode (M,), keys and
        values (T, H, d)."""
        normed = self.attention_norm(hidden)
        key = rotate(self._heads(_normed(self.key_norm, self.key(normed))), *angles)
        value = self._heads(self.value(normed))
        if decode is not None:
            normed = normed.index_select(0, decode)
            angles = (angles[0].index_select(0, decode), angles[1].index_select(0, decode))
        return rotate(self._heads(_normed(self.query_norm, self.query(normed))), *angles), key, value

    def finish(self, hidden: Tensor, attended: Tensor) -> Tensor:
        """What comes after attention: hidden (T, D) and what was attended to (T, H, d) -> (T, D)."""
        hidden = hidden + self.dropout(self.attention_output(attended.flatten(1))) * self.added_scale
        normed = self.feedforward_norm(hidden)
        inner = functional.silu(self.gate(normed)) * self.expand(normed)
        added: Tensor = self.dropout(self.contract(inner)) * self.added_scale
        return hidden + added

    def _heads(self, rows: Tensor) -> Tensor:
        return rows.view(rows.shape[0], rows.shape[1] // self.head_size, self.head_size)


class GatedTransformer(RotaryEncoder):
    """Token ids -> hidden states, with the arithmetic of ESM C: SwiGLU (Shazeer 2020), layer norms of queries and keys
    over all heads together (Henry et al. 2020), no biases in linear layers, branches scaled by depth."""

    def __init__(self, config: GatedTransformerConfig) -> None:
        layers = (GatedTransformerLayer(config) for _ in range(config.depth))
        super().__init__(config.vocabulary_size, config.head_size, layers, nn.LayerNorm(config.width, bias=False))
        self.config = config


def scale_of_esmc(depth: int) -> float:
    """What ESM C multiplies by, all that a half of a layer adds."""
    return math.sqrt(REFERENCE_DEPTH / depth)


def _parameters(width: int, depth: int) -> int:
    inner = GatedTransformerConfig(width=width, depth=depth, num_heads=1).inner_width
    return depth * (4 * width**2 + 3 * width * inner + 6 * width) + 34 * width


def _normed(norm: nn.LayerNorm, rows: Tensor) -> Tensor:
    """The norm in the dtype of its rows: float32, as autocast would have it, is nothing that flash attention takes."""
    normed: Tensor = norm(rows)
    return normed.to(rows.dtype)
