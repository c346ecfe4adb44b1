"""A light decoder that answers for letters which the body never saw, for masked autoencoding (He et al. 2021)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from seqtrain.models.attention import Packing
from seqtrain.models.checks import require_whole
from seqtrain.models.encoder import through_layers
from seqtrain.models.precision import activation_dtype, full_precision
from seqtrain.models.rotary import Rotary
from seqtrain.models.starting import start_as_esm
from seqtrain.models.transformer import TransformerConfig, TransformerLayer


@dataclass(frozen=True, kw_only=True)
class DecoderHeadConfig:
    """Which token stands here, asked of a few narrow layers behind a body that sees only some of the positions."""

    vocabulary_size: int = 33
    width: int = 64
    """Numbers per position in the decoder."""
    depth: int = 1
    """Layers of the decoder."""
    num_heads: int = 2

    def __post_init__(self) -> None:
        require_whole(type(self).__name__, "vocabulary_size", self.vocabulary_size, 1)
        _ = self.layers  # refuses what layers cannot be built of

    @property
    def layers(self) -> TransformerConfig:
        """The layers, as those of a body."""
        return TransformerConfig(
            vocabulary_size=self.vocabulary_size,
            width=self.width,
            depth=self.depth,
            num_heads=self.num_heads,
            mask_id=None,
        )

    def build(self, width: int) -> DecoderHead:
        """A head with fresh weights over hidden states of this width."""
        return DecoderHead(width, self)


class DecoderHead(nn.Module):
    """Hidden states of the positions that were shown, one learned vector at all others, transformer layers with rotary
    positions over the whole sequence, and one score per token by weights of its own.

    Where the paper adds fixed position embeddings, rotary angles tell the hidden places apart.
    """

    def __init__(self, width: int, config: DecoderHeadConfig) -> None:
        super().__init__()
        self.config = config
        self.head_size = config.layers.head_size
        self.enter = nn.Linear(width, config.width)
        self.mask = nn.Parameter(torch.zeros(config.width))
        self.rotary = Rotary(self.head_size)
        # Not called layers: the optimiser's rates per layer are counted in the body.
        self.decoding = nn.ModuleList(TransformerLayer(config.layers) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width)
        self.output = nn.Linear(config.width, config.vocabulary_size, bias=False)
        self.bias = nn.Parameter(torch.zeros(config.vocabulary_size))
        self.apply(start_as_esm)
        nn.init.normal_(self.mask, std=0.02)

    def forward(self, hidden: Tensor, kept: Tensor, boundaries: Tensor, decode: Tensor | None) -> Tensor:
        """The logits at the positions asked for.

        Args:
            hidden: (K, D) of the positions in kept.
            kept: (K,) int64 increasing, the positions that the body saw.
            boundaries: (B + 1,) int64 of the whole sequences, of T positions in all.
            decode: (M,) int64 increasing, or None for all.

        Returns:
            (M, V), or (T, V) without decode.
        """
        entered = self.enter(hidden)
        total = int(boundaries[-1])
        rows = self.mask.to(entered.dtype).expand(total, -1).index_copy(0, kept, entered)
        packing = Packing.of(boundaries, decode, self.head_size, activation_dtype(self.enter.weight))
        if packing.order is not None:
            rows = rows.index_select(0, packing.order)
        angles = self.rotary(packing.positions, rows.dtype)
        decoded = through_layers(self.decoding, self.norm, rows, angles, packing)
        with full_precision(decoded.device):
            logits: Tensor = self.output(decoded.to(self.output.weight.dtype))
        return logits + self.bias
