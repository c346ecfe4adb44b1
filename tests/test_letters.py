"""Packed letters give back the sequences that went in, and know where each letter stands."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from seqtrain.letters import PackedLetters

SEQUENCES = st.lists(st.binary(max_size=9), max_size=8)


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(sequences=SEQUENCES)
def test_packing_loses_nothing(sequences: list[bytes]) -> None:
    packed = PackedLetters.from_sequences([np.frombuffer(sequence, np.uint8) for sequence in sequences])
    assert packed.letters.dtype == np.uint8 and packed.letters.tobytes() == b"".join(sequences)
    assert len(packed) == len(sequences)
    assert [packed[i].tobytes() for i in range(len(packed))] == sequences
    assert packed.lengths.tolist() == [len(sequence) for sequence in sequences]
    places = [(i, position) for i, sequence in enumerate(sequences) for position in range(len(sequence))]
    assert list(zip(packed.segments.tolist(), packed.positions.tolist(), strict=True)) == places
