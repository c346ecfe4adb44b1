"""Embeddings as Parquet: one row per record, read by pandas, polars, DuckDB, Spark and pyarrow."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from seqtrain.embed.form import Entry, Form
from seqtrain.errors import InputError
from seqtrain.io.compressed import replacing

_GROUP_BYTES = 1 << 25
"""Of vectors in a row group, which is held in memory until it is full."""
_GROUP_ROWS = 1 << 13


def write_parquet(path: Path, entries: Iterable[Entry], form: Form) -> int:
    """Write the columns ``identifier``, ``length`` and ``embedding``; returns N.

    ``embedding`` is a list of D floats, per residue a list of L such lists, so that every record is one row in either
    form. Facts are JSON under the key ``seqtrain`` of the schema's metadata.

    Raises:
        InputError: pyarrow is not installed, or the file cannot be written.
        RunError: the disk is full.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise InputError(f'{path}: writing Parquet needs pyarrow; run pip install "seqtrain[parquet]"') from None
    vector = pyarrow.list_(pyarrow.from_numpy_dtype(np.dtype(form.dtype)))
    schema = pyarrow.schema(
        {
            "identifier": pyarrow.string(),
            "length": pyarrow.int64(),
            "embedding": pyarrow.list_(vector) if form.per_residue else vector,
        },
        metadata={"seqtrain": json.dumps(dict(form.facts))},
    )
    count = held = 0
    group: list[Entry] = []
    with (
        replacing(path) as file,
        # Vectors neither repeat nor compress: dictionaries and compression would cost time and win a few per cent.
        pyarrow.parquet.ParquetWriter(
            file, schema, compression="none", use_dictionary=False, write_statistics=["identifier", "length"]
        ) as writer,
    ):
        for entry in entries:
            group.append(entry)
            count += 1
            held += entry.vectors.nbytes
            if held >= _GROUP_BYTES or len(group) == _GROUP_ROWS:
                writer.write_table(_table(group, form, schema))
                group, held = [], 0
        if group:
            writer.write_table(_table(group, form, schema))
    return count


def _table(group: list[Entry], form: Form, schema: Any) -> Any:
    import pyarrow

    rows = np.concatenate([entry.vectors.reshape(-1, form.width) for entry in group])
    bounds = np.arange(len(rows) + 1) * form.width
    embeddings = pyarrow.ListArray.from_arrays(bounds.astype(np.int32), rows.reshape(-1))
    if form.per_residue:
        lengths = np.cumsum([0, *(len(entry.vectors) for entry in group)])
        embeddings = pyarrow.ListArray.from_arrays(lengths.astype(np.int32), embeddings)
    columns = [[entry.identifier for entry in group], [entry.length for entry in group], embeddings]
    return pyarrow.Table.from_arrays(
        [pyarrow.array(column, kind.type) for column, kind in zip(columns[:2], schema, strict=False)] + [embeddings],
        schema=schema,
    )
