"""The one thing that crosses from data to model: B sequences, packed end to end, without padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Batch:
    """B sequences of T positions in all, special tokens included."""

    inputs: Tensor
    """(T,) int64 ids."""
    boundaries: Tensor
    """(B + 1,) int64, sequence b occupies positions boundaries[b] to boundaries[b + 1]."""
    letters: Tensor
    """(T,) uint8, the letter at each position and 0 at special tokens."""
    records: Tensor
    """(B,) int64 index of each sequence's record in its store."""
    keys: Tensor
    """(B,) int64 keys of the randomness (see :mod:`seqtrain.draws`)."""
    targets: Tensor | None = None
    """(B,), (B, K) or (T,): one per sequence or one per position; what is not to be scored is nan or -100."""
    weights: Tensor | None = None
    """(B,) float32 weight of each sequence in the loss; None means 1."""
    other_inputs: Tensor | None = None
    """(T,) int64 ids of the sequences that are mixed in (see :mod:`seqtrain.mixing`), at the positions they meet."""
    input_shares: Tensor | None = None
    """(T,) float32 share of each position that is of ``inputs``; the rest is of ``other_inputs``."""
    other_targets: Tensor | None = None
    """As ``targets``, of the sequences that are mixed in."""
    target_shares: Tensor | None = None
    """(B,) float32 share of each label that is of ``targets``."""
    teacher_outputs: Tensor | None = None
    """(B, K) or (T, K) what a teacher says of these very inputs (see :mod:`seqtrain.objectives.distillation`)."""
    features: Tensor | None = None
    """(B, F) float32, the pooled hidden states of each sequence where they were computed before (see
    :mod:`seqtrain.features`); then there are no positions, T = 0, and only the head is computed."""
    shift: Tensor | None = None
    """(T, D) float32 what is added to the embeddings (see :mod:`seqtrain.objectives.adversarial`)."""
    decode: Tensor | None = None
    """(M,) int64, the positions whose logits are wanted, increasing; None means all."""

    def __len__(self) -> int:
        return len(self.records)

    @cached_property
    def lengths(self) -> Tensor:
        """(B,) int64 positions per sequence."""
        return self.boundaries.diff()

    @cached_property
    def segments(self) -> Tensor:
        """(T,) int64 index of the sequence at each position."""
        return torch.repeat_interleave(torch.arange(len(self), device=self.inputs.device), self.lengths)

    @cached_property
    def positions(self) -> Tensor:
        """(T,) int64 position in its own sequence, the leading special token being 0."""
        steps = torch.arange(len(self.inputs), device=self.inputs.device)
        return steps - self.boundaries[:-1][self.segments]

    @cached_property
    def residues(self) -> Tensor:
        """(T,) bool, False at special tokens."""
        return self.letters != 0

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        moved = {
            field.name: value.to(device) for field in fields(self) if (value := getattr(self, field.name)) is not None
        }
        return replace(self, **moved)


def joined(batches: Sequence[Batch]) -> Batch:
    """Several batches as one, in their order."""
    if len(batches) == 1:
        return batches[0]
    starts = torch.tensor([0, *(len(batch.inputs) for batch in batches[:-1])]).cumsum(0).tolist()
    shifted = {"boundaries": [batches[0].boundaries[:1]], "decode": []}
    for batch, start in zip(batches, starts, strict=True):
        shifted["boundaries"].append(batch.boundaries[1:] + start)
        if batch.decode is not None:
            shifted["decode"].append(batch.decode + start)
    parts = {
        field.name: shifted.get(field.name) or [getattr(batch, field.name) for batch in batches]
        for field in fields(Batch)
    }
    return Batch(**{name: None if values[0] is None else torch.cat(values) for name, values in parts.items()})
