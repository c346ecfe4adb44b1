"""A table of hashes answers as a set does, in less room."""

from __future__ import annotations

import random
import tracemalloc

from seqtrain.io.seen import Seen


def test_it_answers_as_a_set() -> None:
    draws = random.Random(0)
    seen, reference = Seen(), set()
    for _ in range(30_000):
        text = f"protein_{draws.randrange(20_000)}"
        assert seen.add(text) == (text in reference)
        reference.add(text)
    assert len(reference) > 10_000
    assert not seen.add(b"") and seen.add(b"")


def test_its_room_per_text() -> None:
    tracemalloc.start()
    try:
        seen = Seen()
        before = tracemalloc.get_traced_memory()[0]
        for number in range(50_000):
            seen.add(str(number))
        assert (tracemalloc.get_traced_memory()[0] - before) / 50_000 < 33
    finally:
        tracemalloc.stop()
