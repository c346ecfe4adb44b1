"""Which stretches of long sequences are read, and which stretch answers for which residue."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

_OVERLAP = 0.25


@dataclass(frozen=True)
class Spans:
    """The U stretches of sequences that are read as examples."""

    records: NDArray[np.int64]
    """(U,) the record that each stretch is cut from."""
    starts: NDArray[np.int64]
    """(U,) first letter read."""
    stops: NDArray[np.int64]
    """(U,) one past the last letter read."""
    own_starts: NDArray[np.int64]
    """(U,) first letter that this stretch answers for; the own stretches of a record tile it exactly."""
    own_stops: NDArray[np.int64]
    """(U,)."""

    @classmethod
    def whole(cls, records: NDArray[np.int64], lengths: NDArray[np.int64]) -> Spans:
        """Each record as one stretch. records (U,), lengths (U,) letters."""
        zeros = np.zeros(len(records), np.int64)
        return cls(records, zeros, lengths, zeros, lengths)

    @classmethod
    def windows(cls, records: NDArray[np.int64], lengths: NDArray[np.int64], max_length: int) -> Spans:
        """Records longer than ``max_length`` letters as equal windows that overlap by at least a quarter.

        Where two windows overlap, each answers for the half in which it sees more context. Windows of a single letter
        cannot overlap.
        """
        stride = max(1, int(max_length * (1 - _OVERLAP)))
        counts = np.where(lengths <= max_length, 1, 1 + -(-(lengths - max_length) // stride))
        number = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        record_lengths, record_counts = np.repeat(lengths, counts), np.repeat(counts, counts)
        slack = np.maximum(record_lengths - max_length, 0)
        starts = slack * number // np.maximum(record_counts - 1, 1)
        stops = np.minimum(starts + max_length, record_lengths)
        first, last = number == 0, number == record_counts - 1
        middle = (np.roll(stops, 1) + starts) // 2
        own_starts = np.where(first, 0, middle)
        own_stops = np.where(last, record_lengths, np.roll(middle, -1))
        return cls(np.repeat(records, counts), starts, stops, own_starts, own_stops)

    def chosen(self, stay: NDArray[np.bool_]) -> Spans:
        """Some of the stretches. stay (U,)."""
        return Spans(*(getattr(self, field.name)[stay] for field in fields(self)))

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(U,) letters read."""
        return self.stops - self.starts

    @cached_property
    def record_shares(self) -> NDArray[np.float64]:
        """(U,) one over how many stretches the record of each has here."""
        return 1 / np.bincount(self.records)[self.records]

    def __len__(self) -> int:
        return len(self.records)
