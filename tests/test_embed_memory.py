"""Memory while embeddings are written does not grow with the number of records, in any format and form."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from seqtrain.alphabet import PROTEIN
from seqtrain.embed import Form, write_embeddings
from seqtrain.inference import InferenceConfig
from seqtrain.io.ledger import Ledger
from seqtrain.io.records import RawRecord, Record, RecordReader
from seqtrain.models.heads import LanguageModelHeadConfig
from seqtrain.models.network import build
from seqtrain.models.transformer import TransformerConfig
from seqtrain.predict import Predictor

COUNT = 1500
WIDTH = 64


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few thousand records are then as many pieces as millions are."""
    monkeypatch.setattr("seqtrain.predict._CHUNK_RECORDS", 100)
    monkeypatch.setattr("seqtrain.embed.parquet._GROUP_ROWS", 100)
    monkeypatch.setattr("seqtrain.embed.npz._BLOCK_NAMES", 100)
    monkeypatch.setattr("seqtrain.embed.npz._BLOCK_BYTES", 1 << 16)


def embedded(path: Path, pooling: str, count: int) -> list[int]:
    """Bytes that Python and numpy hold after each tenth of the records."""
    torch.manual_seed(0)
    network = build(TransformerConfig(width=WIDTH, depth=1, num_heads=1), LanguageModelHeadConfig())
    config = InferenceConfig(device=torch.device("cpu"))
    predictor = Predictor(network=network, alphabet=PROTEIN, task=None, max_length=100, config=config)
    raw = (RawRecord(f"r{number:06}", b"MKVLA" * 4, "made", "made:1") for number in range(count))
    records = RecordReader(PROTEIN, "error", Ledger())(raw)
    held: list[int] = []

    def rows() -> Iterator[tuple[Record, NDArray[np.float32] | None]]:
        for number, row in enumerate(predictor.embed(records, pooling=pooling)):  # type: ignore[arg-type]
            if number % (count // 10) == count // 10 - 1:
                held.append(tracemalloc.get_traced_memory()[0])
            yield row

    tracemalloc.start()
    try:
        write_embeddings(path, rows(), Form(width=WIDTH, per_residue=pooling == "none"))
        held.append(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()
    return held


@pytest.mark.parametrize("pooling", ["mean", "none"])
@pytest.mark.parametrize("ending", ["npz", "h5", "parquet"])
def test_memory_does_not_grow(ending: str, pooling: str, tmp_path: Path) -> None:
    held = embedded(tmp_path / f"x.{ending}", pooling, COUNT)
    # Two tables of hashes and two of lengths grow by 48 to 80 bytes per record; the vectors would be 256 or 5,120.
    per_record = (held[9] - held[1]) / (0.8 * COUNT)
    assert per_record < 120, held
    assert held[-1] < 4_000_000, "the peak"
