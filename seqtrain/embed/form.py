"""What a file of embeddings holds, whatever its format."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from seqtrain.io.records import Record

FloatName = Literal["float32", "float16"]
Rows = Iterable[tuple[Record, NDArray[np.float32] | None]]


@dataclass(frozen=True, kw_only=True)
class Form:
    """The shape and the kind of the numbers of a file, and how they were made."""

    width: int
    """D, numbers per vector."""
    per_residue: bool
    dtype: FloatName = "float32"
    facts: Mapping[str, Any] = field(default_factory=dict)
    """How the embeddings were made: numbers, strings and lists of them, kept in the file."""


@dataclass(frozen=True)
class Entry:
    """What is written for one record."""

    identifier: str
    length: int
    """L, letters; 0 for a record that was dropped."""
    vectors: NDArray[np.floating[Any]]
    """(D,), nan for a record that was dropped, or per residue (L, D)."""


def entries(rows: Rows, form: Form) -> Iterator[Entry]:
    """One entry for each record, in their order."""
    dtype = np.dtype(form.dtype)
    dropped = np.full((0, form.width) if form.per_residue else form.width, np.nan, dtype)
    for record, vectors in rows:
        if vectors is None:
            yield Entry(record.identifier, 0, dropped)
        else:
            kept = vectors if form.per_residue else vectors[0]
            yield Entry(record.identifier, len(record.letters), np.ascontiguousarray(kept, dtype))
