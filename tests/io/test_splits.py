"""Splits have the right sizes within each class, are reproducible, and read the table's own words."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqtrain.errors import InputError
from seqtrain.io.splits import make_split, set_of, split_from_column


@pytest.mark.parametrize("count", [10, 57, 1000, 9999])
def test_eight_one_one(count: int) -> None:
    split = make_split(count, None, seed=0)
    sizes = Counter(split.sets.tolist())
    assert len(split.sets) == count and set(sizes) == {"train", "valid", "test"}
    assert abs(sizes["valid"] - count / 10) <= 1 and abs(sizes["test"] - count / 10) <= 1
    assert split.test_sets == ["test"] and "at random (seed 0)" in split.made_how


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(labels=st.lists(st.sampled_from("abcdefghij"), min_size=1, max_size=300), seed=st.integers(0, 50))
def test_each_class_is_split_and_singletons_are_learnt(labels: list[str], seed: int) -> None:
    sets = make_split(len(labels), labels, seed).sets
    for label, count in Counter(labels).items():
        inside = Counter(sets[np.array(labels) == label].tolist())
        assert inside["train"] >= 1
        assert abs(inside["valid"] - count / 10) <= 1.5 and abs(inside["test"] - count / 10) <= 1.5
        if count == 1:
            assert inside == {"train": 1}


def test_many_small_classes_together_give_the_right_fractions() -> None:
    labels = [str(i // 4) for i in range(2000)]
    sizes = Counter(make_split(2000, labels, 0).sets.tolist())
    assert sizes == {"train": 1600, "valid": 200, "test": 200}


def test_a_rare_class_is_not_crowded_out() -> None:
    labels = ["common"] * 900 + ["rare"] * 100
    split = make_split(1000, labels, 3)
    for name in ("valid", "test"):
        assert Counter(labels[i] for i in split.indices(name)) == {"common": 90, "rare": 10}
    assert "stratified by label" in split.made_how


def test_seeds_and_places_matter_and_nothing_else() -> None:
    first, again, other = (make_split(500, None, seed).sets for seed in (0, 0, 1))
    assert (first == again).all() and (first != other).any()
    tested = np.flatnonzero(first == "test")
    assert tested.min() < 100 and tested.max() > 400, "spread over the file"


def test_indices_part_the_records_in_file_order() -> None:
    split = make_split(100, None, 0)
    indices = [split.indices(name) for name in ("train", "valid", "test")]
    assert sorted(np.concatenate(indices).tolist()) == list(range(100))
    assert all((np.diff(each) > 0).all() for each in indices)


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        ("train", "train"), ("Training", "train"), (" TRAIN ", "train"), ("val", "valid"), ("valid", "valid"),
        ("validation", "valid"), ("dev", "valid"), ("Development", "valid"), ("test", "test"),
        ("test_fold", "test_fold"), (" Test2 ", "test2"), ("", None), ("1", None), ("holdout", None), ("contest", None),
    ],
)  # fmt: skip
def test_cells_name_sets_by_their_prefix(cell: str, name: str | None) -> None:
    assert set_of(cell) == name


def test_the_sets_of_a_table_are_taken_as_they_are() -> None:
    split = split_from_column(["train", "test_family", "dev", "Train", "test_superfamily_of_folds"], None, 0)
    assert split.sets.tolist() == ["train", "test_family", "valid", "train", "test_superfamily_of_folds"]
    assert split.test_sets == ["test_family", "test_superfamily_of_folds"]
    assert split.made_how == "as the table says"


def test_validation_is_taken_from_train_and_from_nothing_else() -> None:
    cells = ["train"] * 200 + ["test"] * 50
    labels = ["a"] * 100 + ["b"] * 100 + ["a"] * 50
    split = split_from_column(cells, labels, 0)
    assert (split.sets[200:] == "test").all()
    valid = split.indices("valid")
    assert Counter(labels[i] for i in valid) == {"a": 10, "b": 10}
    assert "10% of train taken for validation" in split.made_how
    short = split_from_column(["train"] * 40, None, 0)
    assert len(short.indices("valid")) == 4 and short.test_sets == []


def test_a_column_without_train_or_with_another_word_is_refused() -> None:
    with pytest.raises(InputError, match="marks no record as train"):
        split_from_column(["test", "valid"], None, 0)
    with pytest.raises(InputError, match=r"^'holdout' names no set; use train…, val…/dev… or test…$"):
        split_from_column(["train", "holdout"], None, 0)


def test_equal_sequences_go_to_one_set() -> None:
    groups = [i // 3 for i in range(300)]
    strata = [str(group % 4) for group in groups]
    for split in (
        make_split(300, strata, 1, groups=groups),
        split_from_column(["train"] * 300, strata, 1, groups=groups),
    ):
        for start in range(0, 300, 3):
            assert len(set(split.sets[start : start + 3].tolist())) == 1
        assert 20 <= (split.sets == "valid").sum() <= 40


def test_groups_of_one_change_nothing() -> None:
    alone = make_split(50, None, 2)
    assert make_split(50, None, 2, groups=list(range(100, 150))).sets.tolist() == alone.sets.tolist()
