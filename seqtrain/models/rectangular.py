"""A network on padded rectangles, as programs other than seqtrain hold sequences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from seqtrain.models.heads import LanguageModelHead, PositionHead
from seqtrain.models.network import Network
from seqtrain.models.padding import segments_of_rectangle
from seqtrain.models.projection import ProjectionHead


class Rectangular(nn.Module):
    """The layers of a network, computed at every place of a rectangle; for evaluation.

    Only the layout differs from what the network does by itself: the padding behind each sequence is laid out as one
    more sequence, which nobody looks at.
    """

    framing_ids: Tensor

    def __init__(self, network: Network, framing_ids: Sequence[int]) -> None:
        """framing_ids are those of the tokens that stand for no letter and for no masked one: <cls>, <eos>, <pad>."""
        super().__init__()
        self.network = network
        self.register_buffer("framing_ids", torch.tensor(framing_ids), persistent=False)

    @property
    def per_position(self) -> bool:
        """Whether there are outputs for each position, and not for each sequence."""
        return isinstance(self.network.head, LanguageModelHead | PositionHead)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """The logits.

        Args:
            input_ids: (B, L) int64, <cls>, the sequence, <eos>, and then padding.
            attention_mask: (B, L) int64, 0 at padding; no row may be all 0.

        Returns:
            (B, L, K), those at padding meaningless, or (B, K) where outputs belong to sequences.
        """
        real = attention_mask != 0
        body, head = self.network.body, self.network.head
        inputs = input_ids.flatten()
        plan: Any = body.plan_rectangle(real)  # each body computes on a plan of its own kind
        hidden = body.compute(inputs, plan)
        if isinstance(head, LanguageModelHead):
            logits: Tensor = head(hidden, body.token_embedding)
            return logits.view(*input_ids.shape, -1)
        if isinstance(head, PositionHead):
            logits = head(hidden)
            return logits.view(*input_ids.shape, -1)
        framing = (inputs[:, None] == self.framing_ids).any(dim=1)  # exporters know no torch.isin
        where = segments_of_rectangle(real), real.flatten() & ~framing, 2 * real.shape[0]
        if isinstance(head, ProjectionHead):
            # Records are for its support set, which only training has.
            logits = head(hidden, *where, torch.zeros_like(real[:, 0], dtype=torch.int64))
        else:
            logits = head(hidden, *where)
        return logits[::2]
