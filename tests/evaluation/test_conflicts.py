"""Equal sequences whose labels differ."""

from __future__ import annotations

import numpy as np
import pytest

from seqtrain.evaluation.conflicts import class_conflicts, first_equal, value_conflicts
from seqtrain.letters import PackedLetters


def test_each_record_knows_its_first_equal() -> None:
    texts = [b"MKV", b"AAA", b"MKV", b"MK", b"AAA", b"MKV"]
    packed = PackedLetters.from_sequences([np.frombuffer(text, np.uint8) for text in texts])
    assert first_equal(packed).tolist() == [0, 1, 0, 3, 1, 0]


def test_one_other_label_puts_all_equals_in_conflict() -> None:
    first = np.array([0, 1, 0, 3, 1, 0])
    assert class_conflicts(first, ["x", "y", "x", "z", "y", "y"]).tolist() == [True, False, True, False, False, True]
    assert not class_conflicts(first, ["x", "y", "x", "z", "y", "x"]).any()


def test_numbers_conflict_from_a_standard_deviation_on() -> None:
    first = np.array([0, 0, 2, 2, 4, 5, 4])
    values = np.array([[0.0], [4.0], [1.0], [1.2], [9.0], [3.0], [np.nan]])
    found = value_conflicts(first, values)
    overall = np.nanstd(values)
    assert overall < 4
    assert found.conflicting.tolist() == [True, True, False, False, False, False, False]
    # Two degrees of freedom: (0, 4) and (1, 1.2) around their means.
    assert found.within == pytest.approx(np.sqrt((8 + 0.02) / 2)) and found.overall == pytest.approx(overall)
    assert found.ceiling == pytest.approx(max(0, 1 - found.within**2 / overall**2))


def test_without_equal_sequences_there_is_no_spread() -> None:
    found = value_conflicts(np.arange(3), np.array([[1.0], [2.0], [3.0]]))
    assert np.isnan(found.within) and not found.conflicting.any()


def test_equal_numbers_never_conflict() -> None:
    assert not value_conflicts(np.array([0, 0]), np.array([[1.0], [1.0]])).conflicting.any()
