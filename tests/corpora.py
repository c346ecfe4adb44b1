"""Small stores of letters for tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from seqtrain.alphabet import PROTEIN, Alphabet
from seqtrain.batching import Examples
from seqtrain.encode import Tokens
from seqtrain.io.records import Record
from seqtrain.io.store import SequenceStore
from seqtrain.spans import Spans

RESIDUES = "ACDEFGHIKLMNPQRSTVWY"


def record_of(text: str, name: str = "r", alphabet: Alphabet = PROTEIN) -> Record:
    return Record(name, alphabet.pack(text.encode()), "made", f"made:{name}")


def store_of(texts: Sequence[str], alphabet: Alphabet = PROTEIN) -> SequenceStore:
    """Texts as records r0, r1, …"""
    return SequenceStore.in_memory([record_of(t, f"r{i}", alphabet) for i, t in enumerate(texts)], alphabet)


def proteins(lengths: Sequence[int], seed: int = 0) -> list[str]:
    """Random proteins, every residue equally likely."""
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(list(RESIDUES), size=length)) for length in lengths]


def examples_of(texts: Sequence[str], window: int | None = None, **fields: Any) -> Examples:
    """Examples over texts, whole or in windows of at most ``window`` letters."""
    store = store_of(texts)
    everything = np.arange(len(store))
    spans = Spans.whole(everything, store.lengths)
    if window is not None:
        spans = Spans.windows(everything, store.lengths, window)
    return Examples(store=store, spans=spans, encoder=Tokens(PROTEIN), **fields)
