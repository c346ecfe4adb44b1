"""What the transformers share: a stack of layers with rotary positions, computed on packed sequences."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor, nn

from seqtrain.models.attention import Packing
from seqtrain.models.embedding import TokenEmbedding
from seqtrain.models.precision import activation_dtype
from seqtrain.models.rotary import Rotary
from seqtrain.models.starting import start_as_esm

Angles = tuple[Tensor, Tensor]


class RotaryEncoder(nn.Module):
    """Token ids -> embeddings -> layers -> a final norm; what a layer computes is for the layers to say."""

    def __init__(
        self, vocabulary_size: int, head_size: int, layers: Iterable[nn.Module], final_norm: nn.LayerNorm
    ) -> None:
        super().__init__()
        self.head_size = head_size
        self.embedding = TokenEmbedding(vocabulary_size, final_norm.normalized_shape[0])
        self.rotary = Rotary(head_size)
        self.layers = nn.ModuleList(layers)
        self.final_norm = final_norm
        self.apply(start_as_esm)

    @property
    def width(self) -> int:
        """D, numbers per position."""
        return self.embedding.embedding_dim

    @property
    def token_embedding(self) -> Tensor:
        """(V, D) for a tied language model head."""
        return self.embedding.weight

    def forward(self, inputs: Tensor, boundaries: Tensor, decode: Tensor | None = None) -> Tensor:
        """Hidden states after the final layer norm.

        Args:
            inputs: (T,) int64 ids of B packed sequences, or (T, V) shares of ids.
            boundaries: (B + 1,) int64.
            decode: (M,) int64 increasing; the last layer is then computed at these positions only.

        Returns:
            (T, D), or (M, D) with decode.
        """
        return self.compute(inputs, self.plan(boundaries, decode))

    def plan(self, boundaries: Tensor, decode: Tensor | None = None) -> Packing:
        """How sequences with these boundaries (B + 1,) are laid out, for :meth:`compute`."""
        return Packing.of(boundaries, decode, self.head_size, activation_dtype(self.embedding.weight))

    def plan_rectangle(self, real: Tensor) -> Packing:
        """How the places of a padded rectangle, real (B, L) bool, are laid out, for :meth:`compute`."""
        return Packing.of_rectangle(real)

    def forward_kept(self, inputs: Tensor, boundaries: Tensor, kept: Tensor) -> Tensor:
        """Hidden states of some positions of each sequence, computed as if there were no others.

        Each keeps its own place: the rotary angles are those of the whole sequence.

        Args:
            inputs: (T,) int64 ids of B packed sequences.
            boundaries: (B + 1,) int64.
            kept: (K,) int64 increasing, at least one of each sequence.

        Returns:
            (K, D).
        """
        packing = self.plan(torch.searchsorted(kept, boundaries))
        segments = torch.searchsorted(boundaries, kept, right=True) - 1
        places = kept - boundaries[segments]
        if packing.order is not None:
            places = places.index_select(0, packing.order)
        return self.compute(inputs.index_select(0, kept), replace(packing, positions=places))

    def compute(self, inputs: Tensor, packing: Packing) -> Tensor:
        """inputs (T,) -> (T, D), or (M, D) at the positions that the packing wants."""
        hidden, angles = self.start(inputs, packing)
        return through_layers(self.layers, self.final_norm, hidden, angles, packing)

    def hidden_states(self, inputs: Tensor, boundaries: Tensor, last: int | None = None) -> list[Tensor]:
        """The embeddings and the output of each layer, depth + 1 tensors (T, D); the last one after the final norm.

        With ``last``, only what stands at 0 to ``last``, and nothing further is computed.
        """
        packing = self.plan(boundaries)
        hidden, angles = self.start(inputs, packing)
        states = [hidden]
        for layer in self.layers[:last]:
            states.append(layer(states[-1], angles, packing.attention, None))
        if len(states) > len(self.layers):
            states[-1] = self.final_norm(states[-1])
        if packing.restore is None:
            return states
        return [state.index_select(0, packing.restore) for state in states]

    def embed(self, rows: Tensor, inputs: Tensor, packing: Packing) -> Tensor:
        """Embeddings (T, D) of inputs (T,) or (T, V), all in the order of the packing -> (T, D) for the first layer."""
        return rows

    def start(self, inputs: Tensor, packing: Packing) -> tuple[Tensor, Angles]:
        """(T, D) embeddings and the rotary angles, in the order of the packing."""
        rows: Tensor = self.embedding(inputs)
        if packing.order is not None:
            inputs, rows = inputs.index_select(0, packing.order), rows.index_select(0, packing.order)
        hidden = self.embed(rows, inputs, packing)
        return hidden, self.rotary(packing.positions, hidden.dtype)


def through_layers(
    layers: nn.ModuleList, final_norm: nn.Module, hidden: Tensor, angles: Angles, packing: Packing
) -> Tensor:
    """hidden (T, D), in the order of the packing -> (T, D) or, at the positions that it wants, (M, D), in the caller's
    order."""
    for layer in layers[:-1]:
        hidden = layer(hidden, angles, packing.attention, None)
    hidden = layers[-1](hidden, angles, packing.decode_attention, packing.decode)
    normed: Tensor = final_norm(hidden)
    return normed if packing.restore is None else normed.index_select(0, packing.restore)
