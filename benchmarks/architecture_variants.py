"""Transformers that differ from the gated one in one thing, to be compared by ``benchmark_architectures.py``."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from seqtrain.models.attention import Attention, Packing
from seqtrain.models.encoder import initialise
from seqtrain.models.gated_transformer import GatedTransformer, GatedTransformerConfig, scale_of_esmc
from seqtrain.models.rotary import rotate
from seqtrain.models.transformer import Transformer, TransformerConfig


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A transformer; the fields that are left alone are those of ESM C."""

    model: str = "gated-transformer"
    norm: str = "layer"
    """Or rms (Zhang & Sennrich 2019), without biases."""
    feedforward: str = "swiglu"
    """Or gelu, or relu2 (So et al. 2021), both 4 * width wide."""
    qk_norm: str = "width"
    """Over all heads together; or head, each head by itself; or none."""
    head_size: int = 32
    scale_by_depth: bool = True
    zero_outputs: bool = False
    """What branches add starts at zero (Bachlechner et al. 2021)."""
    value_residual: bool = False
    """Each later layer mixes the first layer's values into its own (Zhou et al. 2024)."""
    value_embedding: bool = False
    """Each layer adds an embedding of the token to its values."""
    embedding_skip: bool = False
    """Each layer reads a learned mix of its input and the token embeddings."""
    neighbours: int = 0
    """Residues on either side of which the embedding of a position takes a learned mix."""
    tied: bool = False
    """Tokens are scored by their own embeddings."""


VARIANTS = {
    "esm2": Variant(model="transformer"),
    "gated": Variant(),
    "gated, RMS norm": Variant(norm="rms"),
    "gated, ReLU^2": Variant(feedforward="relu2"),
    "gated, GELU": Variant(feedforward="gelu"),
    "gated, QK norm per head": Variant(qk_norm="head"),
    "gated, no QK norm": Variant(qk_norm="none"),
    "gated, heads of 16": Variant(head_size=16),
    "gated, branches not scaled": Variant(scale_by_depth=False),
    "gated, zero outputs": Variant(zero_outputs=True),
    "gated, value residual": Variant(value_residual=True),
    "gated, value embedding": Variant(value_embedding=True),
    "gated, embedding skip": Variant(embedding_skip=True),
    "gated, neighbours": Variant(neighbours=2),
    "gated, tied head": Variant(tied=True),
    "gated, not scaled, value residual": Variant(scale_by_depth=False, value_residual=True),
    "gated, not scaled, zero outputs": Variant(scale_by_depth=False, zero_outputs=True),
}


class VariantLayer(nn.Module):
    """A layer of a variant; of the gated transformer's own where nothing else is asked for."""

    def __init__(self, variant: Variant, config: GatedTransformerConfig) -> None:
        super().__init__()
        self.variant = variant
        width, gated = config.width, variant.feedforward == "swiglu"
        inner = config.inner_width if gated else 4 * width
        self.attention_norm, self.feedforward_norm = (_norm(variant, width, bias=True) for _ in range(2))
        self.query, self.key, self.value, self.attention_output = (
            nn.Linear(width, width, bias=False) for _ in range(4)
        )
        normed = {"width": width, "head": variant.head_size, "none": 0}[variant.qk_norm]
        self.query_norm, self.key_norm = (_norm(variant, normed) if normed else None for _ in range(2))
        self.expand = nn.Linear(width, inner, bias=False)
        self.gate = nn.Linear(width, inner, bias=False) if gated else None
        self.contract = nn.Linear(inner, width, bias=False)
        self.scale = scale_of_esmc(config.depth) if variant.scale_by_depth else 1.0
        self.value_mix = nn.Parameter(torch.full((1,), 0.5)) if variant.value_residual else None
        self.skip = nn.Parameter(torch.tensor([1.0, 0.0])) if variant.embedding_skip else None
        self.value_embedding = nn.Embedding(config.vocabulary_size, width) if variant.value_embedding else None

    def forward(
        self, hidden: Tensor, angles: tuple[Tensor, Tensor], attention: Attention, decode: Tensor | None, stem: Stem
    ) -> tuple[Tensor, Tensor]:
        """hidden (T, D) -> (T, D), or (M, D) at the positions in decode (M,); and the values (T, D), before mixing."""
        if self.skip is not None:
            hidden = self.skip[0] * hidden + self.skip[1] * stem.embedded
        rows = self.attention_norm(hidden)
        own = self.value(rows)
        value = self._mixed(own, stem)
        key = rotate(self._normed(self.key(rows), self.key_norm), *angles)
        if decode is not None:
            hidden, rows = hidden.index_select(0, decode), rows.index_select(0, decode)
            angles = (angles[0].index_select(0, decode), angles[1].index_select(0, decode))
        query = rotate(self._normed(self.query(rows), self.query_norm), *angles)
        hidden = hidden + self.attention_output(attention(query, key, self._heads(value)).flatten(1)) * self.scale
        return hidden + self.contract(self._inner(self.feedforward_norm(hidden))) * self.scale, own

    def _mixed(self, value: Tensor, stem: Stem) -> Tensor:
        if self.value_mix is not None and stem.first_values is not None:
            value = torch.lerp(value, stem.first_values, self.value_mix)
        return value if self.value_embedding is None else value + self.value_embedding(stem.inputs)

    def _inner(self, rows: Tensor) -> Tensor:
        if self.gate is not None:
            return functional.silu(self.gate(rows)) * self.expand(rows)
        expanded = self.expand(rows)
        return functional.relu(expanded).square() if self.variant.feedforward == "relu2" else functional.gelu(expanded)

    def _heads(self, rows: Tensor) -> Tensor:
        return rows.view(len(rows), -1, self.variant.head_size)

    def _normed(self, rows: Tensor, norm: nn.Module | None) -> Tensor:
        if norm is None:
            return self._heads(rows)
        return self._heads(norm(rows)) if self.variant.qk_norm == "width" else norm(self._heads(rows))


@dataclass(frozen=True)
class Stem:
    """What later layers look back at."""

    inputs: Tensor
    """(T,) ids."""
    embedded: Tensor
    """(T, D)"""
    first_values: Tensor | None
    """(T, D) of the first layer; None in that layer."""


class VariantBody(GatedTransformer):
    """A gated transformer with other layers."""

    def __init__(self, variant: Variant, config: GatedTransformerConfig) -> None:
        super().__init__(replace(config, depth=1))
        self.config, self.variant = config, variant
        self.layers = nn.ModuleList(VariantLayer(variant, config) for _ in range(config.depth))
        self.final_norm = _norm(variant, config.width)  # type: ignore[assignment]
        self.mix = nn.Parameter(torch.zeros(2 * variant.neighbours, config.width)) if variant.neighbours else None
        self.apply(initialise)
        if variant.zero_outputs:
            for layer in self.layers:
                nn.init.zeros_(layer.attention_output.weight)
                nn.init.zeros_(layer.contract.weight)

    def compute(self, inputs: Tensor, packing: Packing) -> Tensor:
        """inputs (T,) -> (T, D), or (M, D) at the positions that the packing wants."""
        hidden, angles = self.start(inputs, packing)
        inputs = inputs if packing.order is None else inputs.index_select(0, packing.order)
        hidden = self._with_neighbours(hidden, packing.segments)
        stem = Stem(inputs, hidden, None)
        for layer in self.layers[:-1]:
            hidden, values = layer(hidden, angles, packing.attention, None, stem)
            stem = replace(stem, first_values=values) if stem.first_values is None else stem
        hidden, _ = self.layers[-1](hidden, angles, packing.decode_attention, packing.decode, stem)
        normed: Tensor = self.final_norm(hidden)
        return normed if packing.restore is None else normed.index_select(0, packing.restore)

    def _with_neighbours(self, hidden: Tensor, segments: Tensor) -> Tensor:
        if self.mix is None:
            return hidden
        shifts = [shift for shift in range(-self.variant.neighbours, self.variant.neighbours + 1) if shift]
        mixed = hidden
        for shift, weight in zip(shifts, self.mix, strict=True):
            same = segments.roll(shift) == segments
            mixed = mixed + hidden.roll(shift, 0) * weight * same[:, None]
        return mixed


def build_body(variant: Variant, width: int, depth: int, num_heads: int) -> Transformer | GatedTransformer:
    """A fresh body of a variant, from torch's global generator; only ESM-2 keeps to the number of heads."""
    if variant.model == "transformer":
        return TransformerConfig(width=width, depth=depth, num_heads=num_heads).build()
    config = GatedTransformerConfig(width=width, depth=depth, num_heads=width // variant.head_size)
    return config.build() if variant == Variant(tied=variant.tied) else VariantBody(variant, config)


def _norm(variant: Variant, size: int, bias: bool = False) -> nn.Module:
    return nn.RMSNorm(size, eps=1e-5) if variant.norm == "rms" else nn.LayerNorm(size, bias=bias)
