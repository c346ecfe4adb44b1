"""Beside what a head answers, a direction by which sequences are compared: for training only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from seqtrain.models.pooling import accumulating, means
from seqtrain.models.starting import start_as_esm


def residue_means(hidden: Tensor, segments: Tensor, residues: Tensor, num_sequences: int) -> Tensor:
    """hidden (T, D) of sequences segments (T,), residues (T,) bool -> (B, D) means over the residues, in float32."""
    chosen = residues.nonzero().squeeze(1)
    return means(accumulating(hidden.index_select(0, chosen)), segments[chosen], num_sequences)


class SimilarityModule(nn.Module):
    """Two linear layers with ReLU between them over pooled hidden states (Xu et al. 2020, arXiv:2006.07114).

    Before them stands a layer norm, which the paper lacks: hidden states of proteins have a few numbers that are far
    larger than the rest, and cosines of fresh layers would see nothing else.
    """

    def __init__(self, width: int, projections: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.dense = nn.Linear(width, width)
        self.output = nn.Linear(width, projections)
        self.apply(start_as_esm)

    def forward(self, pooled: Tensor) -> Tensor:
        """pooled (B, D) -> (B, P), which are compared by their direction"""
        projections: Tensor = self.output(functional.relu(self.dense(self.norm(pooled))))
        return projections


class SimilarityModules(nn.Module):
    """A module for each of M networks that are compared as one."""

    def __init__(self, widths: Sequence[int], projections: int) -> None:
        super().__init__()
        self.widths = list(widths)
        self.members = nn.ModuleList(SimilarityModule(width, projections) for width in widths)

    def forward(self, pooled: Tensor) -> Tensor:
        """pooled (B, sum of widths), side by side -> (B, M P) directions of unit length.

        The cosine of two such rows is the mean of the cosines that the members find.
        """
        parts = torch.split(pooled, self.widths, dim=1)
        directions = [
            functional.normalize(member(part), dim=1) for member, part in zip(self.members, parts, strict=True)
        ]
        return torch.cat(directions, dim=1) / math.sqrt(len(directions))


class ComparedHead(nn.Module):
    """A head of one answer per sequence, and a module beside it.

    In training its outputs stand beside those of the head, in evaluation those of the head stand alone: what is scored
    and saved is the head, which is put back in its place when the training is done.
    """

    def __init__(self, head: nn.Module, module: SimilarityModule) -> None:
        super().__init__()
        self.head = head
        self.module = module

    @property
    def config(self) -> Any:
        """That of the head."""
        return self.head.config

    def forward(self, hidden: Tensor, segments: Tensor, residues: Tensor, num_sequences: int) -> Tensor:
        """hidden (T, D), segments (T,), residues (T,) bool -> (B, K + P) in training, (B, K) in evaluation"""
        answers: Tensor = self.head(hidden, segments, residues, num_sequences)
        if not self.training:
            return answers
        pooled = residue_means(hidden, segments, residues, num_sequences).to(hidden.dtype)
        return torch.cat((answers, self.module(pooled)), dim=1)
