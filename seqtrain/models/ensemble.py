"""Several networks that answer as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from seqtrain.batch import Batch
from seqtrain.errors import InputError
from seqtrain.models.network import Network


class Ensemble(nn.Module):
    """The mean of the members' logits: for classes the geometric mean of their probabilities, for numbers the mean."""

    def __init__(self, members: Sequence[Network]) -> None:
        super().__init__()
        if not members:
            raise ValueError("an ensemble needs a member")
        self.members = nn.ModuleList(members)

    def forward(self, batch: Batch) -> Tensor:
        """As each member's, (B, K) or (T, K)."""
        return torch.stack([cast(Tensor, member(batch)) for member in self.members]).mean(0)


def single(network: Network | Ensemble) -> Network:
    """A network that is one.

    Raises:
        InputError: it is an ensemble.
    """
    if isinstance(network, Ensemble):
        raise InputError(
            f"this run is an ensemble of {len(network.members)} networks, which can predict together but have no one "
            "body; name one of its members, such as members/1 in its folder"
        )
    return network
