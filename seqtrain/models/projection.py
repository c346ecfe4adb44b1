"""A projection head, as contrastive learning compares it: one vector per sequence, and what a predictor makes of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from seqtrain.models.checks import require_whole
from seqtrain.models.pooling import means
from seqtrain.models.starting import start_as_esm

_LARGEST = 32_767


@dataclass(frozen=True, kw_only=True)
class ProjectionHeadConfig:
    """K numbers per sequence, which are compared by their direction; with a predictor K more."""

    projections: int = 128
    """K."""
    hidden_width: int = 0
    """Of the layers between; 0 is twice the width of the body."""
    depth: int = 3
    """Linear layers, the last one included."""
    predictor_width: int = 0
    """Of the layer inside the predictor; 0 leaves the predictor out."""
    support_size: int = 0
    """Q, projections of earlier sequences that are kept; 0 keeps none."""

    def __post_init__(self) -> None:
        owner = type(self).__name__
        require_whole(owner, "projections", self.projections, 2)
        require_whole(owner, "hidden_width", self.hidden_width, 0)
        require_whole(owner, "depth", self.depth, 1)
        require_whole(owner, "predictor_width", self.predictor_width, 0)
        require_whole(owner, "support_size", self.support_size, 0)

    @property
    def outputs(self) -> int:
        """Numbers per sequence: K, or 2 K with a predictor."""
        return self.projections * (2 if self.predictor_width else 1)

    def build(self, width: int) -> ProjectionHead:
        """A head with fresh weights over hidden states of this width."""
        return ProjectionHead(width, self)


class ProjectionHead(nn.Module):
    """The mean over the residues of each sequence, then linear layers with layer norm and ReLU between them.

    SimCLR, NNCLR and SimSiam have batch norm in the place of layer norm. With it an output would depend on the other
    sequences of its batch, and a gradient on how a step is cut. The predictor is a bottleneck of two linear layers, as
    in SimSiam (Chen & He 2021, arXiv:2011.10566).
    """

    def __init__(self, width: int, config: ProjectionHeadConfig) -> None:
        super().__init__()
        self.config = config
        hidden = config.hidden_width or 2 * width
        self.norm = nn.LayerNorm(width)
        self.projector = _perceptron(width, *[hidden] * (config.depth - 1), config.projections)
        self.predictor = (
            _perceptron(config.projections, config.predictor_width, config.projections)
            if config.predictor_width
            else None
        )
        self.support = SupportSet(config.support_size, config.projections) if config.support_size else None
        self.apply(start_as_esm)

    def forward(
        self, hidden: Tensor, segments: Tensor, residues: Tensor, num_sequences: int, records: Tensor
    ) -> Tensor:
        """One row per sequence; in training, first views are kept in the support set where there is one.

        Args:
            hidden: (T, D)
            segments: (T,) int64 index of the sequence of each position.
            residues: (T,) bool, False at special tokens.
            num_sequences: B; where a support set is kept, two views of each record, one behind the other.
            records: (B,) int64 index of the record of each sequence.

        Returns:
            (B, K) projections, or (B, 2 K) with what the predictor makes of them beside them.
        """
        chosen = residues.nonzero().squeeze(1)
        pooled = means(hidden.index_select(0, chosen), segments[chosen], num_sequences)
        projections: Tensor = self.projector(self.norm(pooled))
        if self.support is not None and self.training:
            self.support.write(projections[::2], records[::2])
        if self.predictor is None:
            return projections
        return torch.cat((projections, self.predictor(projections)), dim=1)

    def without_support(self) -> None:
        """Forget the support set, which only training needs."""
        self.support, self.config = None, replace(self.config, support_size=0)


class SupportSet(nn.Module):
    """The directions of the latest Q projections, and the records they are of: a ring, empty at first.

    Buffers, so that a checkpoint holds them and a step that is computed twice writes them once. Directions are kept in
    16-bit whole numbers: in half the memory, and passed over where weights are averaged.
    """

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.scaled: Tensor
        self.records: Tensor
        self.num_written: Tensor
        self.register_buffer("scaled", torch.zeros(size, width, dtype=torch.int16))
        self.register_buffer("records", torch.full((size,), -1, dtype=torch.int64))
        self.register_buffer("num_written", torch.zeros((), dtype=torch.int64))

    @property
    def directions(self) -> Tensor:
        """(Q, K) float32, of unit length but for rounding; zeros where nothing has been written."""
        return self.scaled.float() / _LARGEST

    @torch.no_grad()
    def write(self, projections: Tensor, records: Tensor) -> None:
        """projections (B, K), records (B,): the newest entries, over the oldest ones where the ring is full."""
        size, num_given = len(self.records), len(records)
        rows = functional.normalize(projections.detach().float(), dim=1)[-size:]
        steps = torch.arange(num_given, device=records.device)[-size:]
        places = (self.num_written + steps) % size
        self.scaled.index_copy_(0, places, (rows * _LARGEST).round().to(torch.int16))
        self.records.index_copy_(0, places, records[-size:])
        self.num_written += num_given


def _perceptron(*widths: int) -> nn.Sequential:
    """Linear layers of these widths with layer norm and ReLU between them."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths[:-1]):
        layers += [nn.Linear(before, after, bias=False), nn.LayerNorm(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))
