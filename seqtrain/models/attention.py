"""Attention over sequences that are packed end to end.

Packed attention has one answer and three ways to it, because no single kernel is fast everywhere:
:class:`GroupedAttention` on CPUs, :class:`VariableLengthAttention` on CUDA in 16 bits, :class:`PaddedAttention`
elsewhere. A :class:`Packing` chooses one of them once per forward pass, and all layers share it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from seqtrain.models.padding import lengths_of_rectangle, segments_of_rectangle

MATMUL_LONGEST = {torch.bfloat16: 1024}
"""Longest sequence, by dtype, for which plain matrix products replace the fused kernel on a CPU.

Measured forward and backward at lengths from 12 to 900 with heads of 16, 32 and 64: in bfloat16 the fused kernel takes
1.3 to 9 times as long; in float32 it is the faster one, or as fast, and its memory grows with the length only.
"""
MATMUL_SCORES = 1_000_000
"""Scores that one batched matrix product may fill: more leave the cache and take up to 1.2 times as long."""


@dataclass(frozen=True)
class Rectangle:
    """How packed rows, some per sequence, lie in a padded rectangle (B, m), m being the most rows of any sequence."""

    index: Tensor
    """(B, m) the packed row at each place; any row at padded places."""
    valid: Tensor
    """(B, m) bool, False at padded places."""
    places: Tensor
    """(rows,) place of each packed row in the flattened rectangle."""

    @classmethod
    def of(cls, counts: Tensor) -> Rectangle:
        """From the rows per sequence, counts (B,) int64, of which at least one is above 0."""
        steps = torch.arange(int(counts.max()), device=counts.device)
        starts = counts.cumsum(0) - counts
        valid = steps < counts[:, None]
        index = (starts[:, None] + steps).clamp(max=int(counts.sum()) - 1)
        return cls(index, valid, valid.flatten().nonzero().squeeze(1))

    def pad(self, rows: Tensor) -> Tensor:
        """(rows, H, d) -> (B, H, m, d)"""
        padded = rows.index_select(0, self.index.flatten())
        return padded.view(*self.index.shape, *rows.shape[1:]).transpose(1, 2)

    def unpad(self, padded: Tensor) -> Tensor:
        """(B, H, m, d) -> (rows, H, d)"""
        return padded.transpose(1, 2).flatten(0, 1).index_select(0, self.places)


@dataclass(frozen=True)
class Group:
    """Neighbouring sequences of one length."""

    count: int
    length: int
    rows: int
    """Queries of all these sequences together."""
    rectangle: Rectangle | None
    """Where the queries differ in number between the sequences; None when all sequences have rows / count of them."""


@dataclass(frozen=True)
class GroupedAttention:
    """Attention on CPUs: one batched call per length, nothing padded but queries.

    Measured at lengths up to 512, a padded rectangle takes 1.2 to 1.4 times as long, a block-diagonal mask 5 to 6
    times, nested tensors 7 to 10 times.
    """

    groups: tuple[Group, ...]

    @classmethod
    def of(cls, lengths: list[int], counts: list[int]) -> GroupedAttention:
        """From the positions and the queries per sequence; sequences of one length are taken together if neighbours."""
        groups = []
        for length, members in groupby(zip(lengths, counts, strict=True), key=lambda pair: pair[0]):
            queries = [count for _, count in members]
            ragged = len(set(queries)) > 1
            rectangle = Rectangle.of(torch.tensor(queries)) if ragged else None
            groups.append(Group(len(queries), length, sum(queries), rectangle))
        return cls(tuple(groups))

    def __call__(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """query (rows, H, d), key and value (T, H, d) -> (rows, H, d)"""
        rows = [group.rows for group in self.groups]
        positions = [group.count * group.length for group in self.groups]
        attended = [query[:0]]
        for group, q, k, v in zip(
            self.groups,
            torch.split(query, rows),
            torch.split(key, positions),
            torch.split(value, positions),
            strict=True,
        ):
            if group.rows == 0:
                continue
            k, v = (side.view(group.count, group.length, *side.shape[1:]).transpose(1, 2) for side in (k, v))
            if group.rectangle is not None:
                attended.append(group.rectangle.unpad(attend(group.rectangle.pad(q), k, v)))
            else:
                q = q.view(group.count, -1, *q.shape[1:]).transpose(1, 2)
                attended.append(attend(q, k, v).transpose(1, 2).flatten(0, 1))
        return torch.cat(attended)


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Softmax attention on a CPU, query (n, H, m, d), key and value (n, H, L, d) -> (n, H, m, d)."""
    count, num_heads, queries, _ = query.shape
    length = key.shape[2]
    if query.dtype == torch.bfloat16 and not computes_bfloat16():
        with torch.autocast("cpu", enabled=False):
            wide = functional.scaled_dot_product_attention(query.float(), key.float(), value.float())
        return wide.to(query.dtype)
    if length > MATMUL_LONGEST.get(query.dtype, 0):
        return functional.scaled_dot_product_attention(query, key, value)
    together = max(1, MATMUL_SCORES // (num_heads * queries * length))
    parts = [
        _attend_by_matmul(q, k, v)
        for q, k, v in zip(*(torch.split(side, together) for side in (query, key, value)), strict=True)
    ]
    return parts[0] if count <= together else torch.cat(parts)


@cache
def computes_bfloat16() -> bool:
    """Whether this CPU has fast matrix products in bfloat16.

    Without them (AVX2 alone) attention in bfloat16 takes 2 to 4 times as long as in float32 by the fused kernel, and 7
    to 12 times by plain products, measured forward and backward at lengths of 64 and 300 with heads of 16.
    """
    has_library = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return bool(has_library and torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _attend_by_matmul(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    scores = torch.matmul(query * query.shape[-1] ** -0.5, key.transpose(-1, -2))
    return torch.matmul(scores.softmax(dim=-1), value)


@dataclass(frozen=True)
class PaddedAttention:
    """Attention over a padded rectangle with a mask: every device and dtype has it."""

    keys: Rectangle
    queries: Rectangle

    def __call__(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """query (rows, H, d), key and value (T, H, d) -> (rows, H, d)"""
        attended = functional.scaled_dot_product_attention(
            self.queries.pad(query), self.keys.pad(key), self.keys.pad(value), attn_mask=self.keys.valid[:, None, None]
        )
        return self.queries.unpad(attended)


@dataclass(frozen=True)
class VariableLengthAttention:
    """Attention on CUDA in 16 bits: flash attention over the packed sequences themselves."""

    key_boundaries: Tensor
    """(B + 1,) int32"""
    query_boundaries: Tensor
    """(B + 1,) int32"""
    longest_key: int
    longest_query: int

    def __call__(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """query (rows, H, d), key and value (T, H, d) -> (rows, H, d)"""
        attended: Tensor = variable_length_kernel()(
            query, key, value, self.query_boundaries, self.key_boundaries, self.longest_query, self.longest_key
        )
        return attended


@cache
def variable_length_kernel() -> Any:
    """torch's variable-length attention, or None where this torch has none."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    return varlen_attn


@dataclass(frozen=True)
class RectangularAttention:
    """Attention where the rows are the places of a padded rectangle, for programs that know no other layout."""

    real: Tensor
    """(B, L) bool, False at padded places; at least one True in each row."""

    def __call__(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """query, key and value (B * L, H, d) -> (B * L, H, d); what comes back at padded places means nothing."""
        query, key, value = (
            side.view(*self.real.shape, *side.shape[1:]).transpose(1, 2) for side in (query, key, value)
        )
        attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=self.real[:, None, None])
        return attended.transpose(1, 2).flatten(0, 1)


Attention = GroupedAttention | PaddedAttention | VariableLengthAttention | RectangularAttention


@dataclass(frozen=True)
class Packing:
    """One forward pass's plan: the sequences sorted by length where that helps, and how they attend.

    Everything but attention works position by position, so the order of sequences is free; sorted by length, thousands
    of peptides of few lengths become a few batched calls.
    """

    order: Tensor | None
    """(T,) the caller's position at each place of this packing; None when nothing moved."""
    restore: Tensor | None
    """(T,), or (M,) with decode: the place of each row that the caller waits for; None when nothing moved."""
    segments: Tensor
    """(T,) index of the sequence at each place."""
    positions: Tensor
    """(T,) position in its own sequence."""
    lengths: Tensor
    """(B,) positions per sequence."""
    attention: Attention
    """From every place."""
    decode: Tensor | None
    """(M,) the places that the last layer is wanted at, increasing; None means all."""
    decode_attention: Attention
    """From the places in decode."""

    @classmethod
    def of(cls, boundaries: Tensor, decode: Tensor | None, head_size: int, dtype: torch.dtype) -> Packing:
        """Plan for boundaries (B + 1,) int64, decode (M,) int64, and queries of a size per head and a dtype."""
        device = boundaries.device
        lengths = boundaries.diff()
        total = int(boundaries[-1])
        order = inverse = None
        if device.type == "cpu" and bool((lengths.diff() < 0).any()):
            ranking = lengths.argsort(stable=True)
            lengths, starts = lengths[ranking], boundaries[:-1][ranking]
            order = _spread(starts, lengths, total)
            inverse = torch.empty_like(order).scatter_(0, order, torch.arange(total))
        segments = torch.repeat_interleave(torch.arange(len(lengths), device=device), lengths, output_size=total)
        positions = torch.arange(total, device=device) - (lengths.cumsum(0) - lengths)[segments]
        attention = choose_attention(lengths, lengths, head_size, dtype)
        if decode is None:
            return cls(order, inverse, segments, positions, lengths, attention, None, attention)
        restore = None
        if inverse is not None:
            decode, permutation = inverse[decode].sort()
            restore = torch.empty_like(permutation)
            restore[permutation] = torch.arange(len(permutation), device=permutation.device)
        counts = torch.bincount(segments[decode], minlength=len(lengths))
        decode_attention = choose_attention(lengths, counts, head_size, dtype)
        return cls(order, restore, segments, positions, lengths, attention, decode, decode_attention)

    @classmethod
    def of_rectangle(cls, real: Tensor) -> Packing:
        """Plan for the places of a padded rectangle, real (B, L) bool, as 2 B sequences: see :mod:`padding`."""
        positions = torch.arange(real.shape[1], device=real.device).expand(real.shape).flatten()
        attention = RectangularAttention(real)
        segments, lengths = segments_of_rectangle(real), lengths_of_rectangle(real)
        return cls(None, None, segments, positions, lengths, attention, None, attention)


def _spread(starts: Tensor, lengths: Tensor, total: int) -> Tensor:
    """(total,) the positions starts[b], starts[b] + 1, ... of each sequence b in turn."""
    shifts = starts - (lengths.cumsum(0) - lengths)
    return torch.arange(total, device=starts.device) + torch.repeat_interleave(shifts, lengths, output_size=total)


def choose_attention(lengths: Tensor, counts: Tensor, head_size: int, dtype: torch.dtype) -> Attention:
    """The fastest attention for this device, from the positions (B,) and the queries (B,) of each sequence."""
    if lengths.device.type == "cpu" or int(counts.sum()) == 0:
        return GroupedAttention.of(lengths.tolist(), counts.tolist())
    for_flash = dtype in (torch.bfloat16, torch.float16) and head_size % 8 == 0 and head_size <= 256
    if for_flash and _has_flash(lengths.device) and variable_length_kernel() is not None:
        return VariableLengthAttention(_boundaries(lengths), _boundaries(counts), int(lengths.max()), int(counts.max()))
    return PaddedAttention(Rectangle.of(lengths), Rectangle.of(counts))


def _has_flash(device: torch.device) -> bool:
    """Flash attention needs compute capability 8.0 (Ampere) or later."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)


def _boundaries(counts: Tensor) -> Tensor:
    return functional.pad(counts.cumsum(0), (1, 0)).int()
