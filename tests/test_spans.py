"""Windows overlap enough, are short enough, and together answer for every residue exactly once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqtrain.spans import Spans

LENGTHS = st.lists(st.integers(0, 400), min_size=1, max_size=12)


def spans_of(lengths: list[int], max_length: int) -> Spans:
    return Spans.windows(np.arange(len(lengths)), np.array(lengths), max_length)


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(lengths=LENGTHS, max_length=st.integers(1, 120))
def test_own_stretches_tile_every_record(lengths: list[int], max_length: int) -> None:
    spans = spans_of(lengths, max_length)
    for record, length in enumerate(lengths):
        mine = spans.records == record
        answered = [
            residue
            for start, stop in zip(spans.own_starts[mine], spans.own_stops[mine], strict=True)
            for residue in range(start, stop)
        ]
        assert answered == list(range(length))
    assert (spans.own_starts >= spans.starts).all() and (spans.own_stops <= spans.stops).all()


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(lengths=LENGTHS, max_length=st.integers(2, 120))
def test_windows_are_full_and_overlap_by_a_quarter(lengths: list[int], max_length: int) -> None:
    spans = spans_of(lengths, max_length)
    for record, length in enumerate(lengths):
        mine = np.flatnonzero(spans.records == record)
        assert spans.starts[mine[0]] == 0 and spans.stops[mine[-1]] == length
        assert (spans.lengths[mine] == min(length, max_length)).all()
        assert (spans.stops[mine[:-1]] - spans.starts[mine[1:]] >= max_length / 4).all()
        assert len(mine) == 1 or length > max_length


@pytest.mark.parametrize("max_length", [2, 3, 5, 9, 126, 1022, 1026])
def test_a_quarter_holds_for_every_window_length(max_length: int) -> None:
    spans = spans_of([max_length * 10 + 7], max_length)
    assert (spans.stops[:-1] - spans.starts[1:]).min() >= max_length / 4


def test_a_residue_is_answered_where_it_sees_most_context() -> None:
    spans = spans_of([1000], 100)
    for residue in range(1000):
        context = np.minimum(residue - spans.starts, spans.stops - 1 - residue)
        own = (spans.own_starts <= residue) & (residue < spans.own_stops)
        assert context[own][0] >= context.max() - 1


def test_windows_of_one_letter() -> None:
    spans = spans_of([3], 1)
    assert spans.starts.tolist() == [0, 1, 2] and (spans.lengths == 1).all()


def test_windows_keep_the_numbers_of_their_records() -> None:
    spans = Spans.windows(np.array([7, 3]), np.array([5, 20]), 10)
    assert spans.records.tolist()[0] == 7 and set(spans.records.tolist()[1:]) == {3}


def test_whole_records_are_one_stretch_each() -> None:
    spans = Spans.whole(np.array([4, 2]), np.array([9, 5]))
    assert len(spans) == 2 and spans.records.tolist() == [4, 2]
    assert spans.starts.tolist() == spans.own_starts.tolist() == [0, 0]
    assert spans.stops.tolist() == spans.own_stops.tolist() == spans.lengths.tolist() == [9, 5]
