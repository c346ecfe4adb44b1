"""The transformer encoder of ESM-2 (Lin et al. 2023), computed on packed sequences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from seqtrain.errors import InputError
from seqtrain.models.attention import Attention, Packing
from seqtrain.models.checks import require_fraction, require_positive, require_whole
from seqtrain.models.encoder import RotaryEncoder
from seqtrain.models.rotary import rotate
from seqtrain.models.scaling import transformer_shape

TRAINED_MASKED_FRACTION = 0.15 * 0.8
"""Share of <mask> among the positions that ESM-2 saw in training, which its token dropout rescales to."""


@dataclass(frozen=True, kw_only=True)
class TransformerConfig:
    """Shape of a :class:`Transformer`."""

    vocabulary_size: int = 33
    width: int
    depth: int
    """Layers."""
    num_heads: int
    feedforward: int | None = None
    """Width inside the feed-forward part; None means 4 * width."""
    dropout: float = 0.0
    """Of what each half of a layer adds to the residual stream. Attention weights are not dropped, as in ESM-2."""
    mask_id: int | None = 32
    """Id of <mask>; None for a vocabulary without it."""
    token_dropout: bool = True
    """Zero the embeddings of <mask> and rescale the others, as ESM-2 does."""
    layer_norm_eps: float = 1e-5
    ties_head: ClassVar[bool] = True

    def __post_init__(self) -> None:
        owner = type(self).__name__
        for name in ("vocabulary_size", "width", "depth", "num_heads", "inner_width"):
            require_whole(owner, name, getattr(self, name), 1)
        require_fraction(owner, "dropout", self.dropout)
        require_positive(owner, "layer_norm_eps", self.layer_norm_eps)
        if self.width % (2 * self.num_heads):
            raise InputError(
                f"{owner}: width {self.width} does not give {self.num_heads} heads of one even size; "
                f"make it a multiple of {2 * self.num_heads}"
            )
        if self.mask_id is not None:
            require_whole(owner, "mask_id", self.mask_id, 0)
            if self.mask_id >= self.vocabulary_size:
                raise InputError(f"{owner}: mask_id {self.mask_id} is not below vocabulary_size {self.vocabulary_size}")

    @property
    def inner_width(self) -> int:
        """Width inside the feed-forward part."""
        return 4 * self.width if self.feedforward is None else self.feedforward

    @property
    def head_size(self) -> int:
        return self.width // self.num_heads

    @classmethod
    def shape(cls, size: str) -> dict[str, Any]:
        """The fields that a size decides: one of :data:`SIZES`, or any number of parameters, such as 20M.

        Raises:
            InputError: neither a name nor a number.
        """
        if size not in SIZES:
            return transformer_shape(size, "transformer", SIZES, _parameters)
        named = SIZES[size]
        return {"width": named.width, "depth": named.depth, "num_heads": named.num_heads}

    @classmethod
    def of_size(
        cls, size: str, *, vocabulary_size: int = 33, mask_id: int | None = 32, dropout: float = 0.0
    ) -> TransformerConfig:
        """One of :data:`SIZES`, for a vocabulary.

        Raises:
            InputError: an unknown size.
        """
        return cls(**cls.shape(size), vocabulary_size=vocabulary_size, mask_id=mask_id, dropout=dropout)

    def build(self) -> Transformer:
        """A transformer with fresh weights, drawn from torch's global generator."""
        return Transformer(self)


SIZES: dict[str, TransformerConfig] = {
    "100K": TransformerConfig(width=64, depth=2, num_heads=2),
    "300K": TransformerConfig(width=96, depth=3, num_heads=3),
    "1M": TransformerConfig(width=128, depth=5, num_heads=4),
    "3M": TransformerConfig(width=192, depth=7, num_heads=6),
    "8M": TransformerConfig(width=320, depth=6, num_heads=20),
    "35M": TransformerConfig(width=480, depth=12, num_heads=20),
    "150M": TransformerConfig(width=640, depth=30, num_heads=20),
    "650M": TransformerConfig(width=1280, depth=33, num_heads=20),
    "3B": TransformerConfig(width=2560, depth=36, num_heads=40),
}
"""Parameters, nearly (depth * 12 * width^2), by name. From 8M on these are the models of ESM-2; the four below it are
for laptops, with 102 thousand, 339 thousand, 1.0 million and 3.1 million parameters in the body."""


def _parameters(width: int, depth: int) -> int:
    return depth * (12 * width**2 + 13 * width) + 35 * width


class TransformerLayer(nn.Module):
    """Attention and feed-forward, each after its layer norm and added to the residual stream."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width, eps = config.width, config.layer_norm_eps
        self.head_size = config.head_size
        self.attention_norm = nn.LayerNorm(width, eps=eps)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.attention_output = nn.Linear(width, width)
        self.feedforward_norm = nn.LayerNorm(width, eps=eps)
        self.expand = nn.Linear(width, config.inner_width)
        self.contract = nn.Linear(config.inner_width, width)
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
        # One product for all three, over their weights laid together, takes as long at 2,048 positions of width 320.
        key = rotate(self._heads(self.key(normed)), *angles)
        value = self._heads(self.value(normed))
        if decode is not None:
            normed = normed.index_select(0, decode)
            angles = (angles[0].index_select(0, decode), angles[1].index_select(0, decode))
        # ESM scales the query before rotating it; scaling the scores, as kernels do by themselves, is the same product.
        return rotate(self._heads(self.query(normed)), *angles), key, value

    def finish(self, hidden: Tensor, attended: Tensor) -> Tensor:
        """What comes after attention: hidden (T, D) and what was attended to (T, H, d) -> (T, D)."""
        hidden = hidden + self.dropout(self.attention_output(attended.flatten(1)))
        inner = functional.gelu(self.expand(self.feedforward_norm(hidden)))
        added: Tensor = self.dropout(self.contract(inner))
        return hidden + added

    def _heads(self, rows: Tensor) -> Tensor:
        return rows.view(rows.shape[0], rows.shape[1] // self.head_size, self.head_size)


class Transformer(RotaryEncoder):
    """Token ids -> hidden states, with the arithmetic of ESM-2."""

    def __init__(self, config: TransformerConfig) -> None:
        layers = (TransformerLayer(config) for _ in range(config.depth))
        norm = nn.LayerNorm(config.width, eps=config.layer_norm_eps)
        super().__init__(config.vocabulary_size, config.head_size, layers, norm)
        self.config = config

    def embed(self, rows: Tensor, inputs: Tensor, packing: Packing) -> Tensor:
        """Embeddings (T, D) -> (T, D), with the token dropout of ESM-2: nothing of <mask>, and more of the rest.

        Of mixtures the share of <mask> is left out, and the shares that are shown are counted.
        """
        mask_id = self.config.mask_id
        if not self.config.token_dropout or mask_id is None:
            return rows
        if inputs.ndim == 1:
            masked = inputs == mask_id
            kept, shares = rows.masked_fill(masked[:, None], 0.0), (~masked).long()
        else:
            masked = inputs[:, mask_id]
            kept, shares = rows - masked[:, None] * self.embedding.weight[mask_id], 1 - masked
        shown = torch.zeros_like(packing.lengths, dtype=shares.dtype).index_add_(0, packing.segments, shares)
        # Where every position is masked all embeddings are 0, and so is what they are multiplied by.
        scale = (1 - TRAINED_MASKED_FRACTION) * packing.lengths / shown.clamp(min=1)
        return kept * scale[packing.segments, None].to(rows.dtype)
