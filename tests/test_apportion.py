"""Whole groups are dealt out to the asked shares, class by class, and as well as scikit-learn deals them to folds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from seqtrain.apportion import Groups, apportion, lonely, spread
from seqtrain.strata import Strata, strata_of

SHARES = (0.8, 0.1, 0.1)


def families(seed: int, num_groups: int, classes: str = "abcd") -> tuple[NDArray[np.int64], list[str]]:
    """Groups of 1 to 40 records, few large and many small, and classes that go with the groups."""
    rng = np.random.default_rng(seed)
    sizes = np.minimum(1 + rng.geometric(0.15, num_groups), 40)
    group = np.repeat(np.arange(num_groups), sizes)
    usual = rng.choice(list(classes), num_groups, p=[0.55, 0.25, 0.15, 0.05][: len(classes)])
    labels = [usual[g] if rng.random() < 0.8 else str(rng.choice(list(classes))) for g in group]
    return group, labels


def off(labels: list[str], sets: NDArray[np.int64], shares: tuple[float, ...]) -> float:
    """Mean of how far the count of each class in each set is from what is asked, as a part of that."""
    found = []
    for name in sorted(set(labels)):
        held = np.bincount(sets[np.array(labels) == name], minlength=len(shares))
        found.append(np.abs(held / (held.sum() * np.array(shares)) - 1))
    return float(np.mean(found))


@pytest.mark.parametrize("seed", range(5))
def test_groups_stay_whole_and_shares_are_met(seed: int) -> None:
    group, labels = families(seed, 300)
    groups = Groups.of(group, strata_of("classification", labels))
    sets = apportion(groups, SHARES, seed)[groups.group]
    assert all(len(set(sets[group == g])) == 1 for g in range(300))
    sizes = np.bincount(sets, minlength=3) / len(sets)
    assert np.abs(sizes - SHARES).max() < 0.01
    assert off(labels, sets, SHARES) < 0.1


def squares(labels: list[str], sets: NDArray[np.int64], num_sets: int) -> float:
    """Chi-square statistic of classes by sets of equal shares."""
    tables = [np.bincount(sets[np.array(labels) == name], minlength=num_sets) for name in sorted(set(labels))]
    return float(sum(((each - each.mean()) ** 2).sum() / each.mean() for each in tables))


@pytest.mark.parametrize("num_groups", [40, 400])
def test_folds_are_as_even_as_those_of_scikit_learn(num_groups: int) -> None:
    figures = []
    for seed in range(10):
        group, labels = families(seed, num_groups)
        groups = Groups.of(group, strata_of("classification", labels))
        ours = apportion(groups, [0.2] * 5, seed)[groups.group]
        theirs = np.zeros(len(labels), dtype=np.int64)
        peer = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
        for number, (_, tested) in enumerate(peer.split(labels, labels, group)):
            theirs[tested] = number
        sizes = [float(np.bincount(sets, minlength=5).std()) for sets in (ours, theirs)]
        figures.append((squares(labels, ours, 5), squares(labels, theirs, 5), *sizes))
    classes, their_classes, sizes_off, their_sizes_off = np.mean(figures, axis=0)
    assert classes <= 1.05 * their_classes and sizes_off <= their_sizes_off, figures


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(seed=st.integers(0, 1000), num_groups=st.integers(3, 60))
def test_every_class_is_learnt(seed: int, num_groups: int) -> None:
    group, labels = families(seed, num_groups)
    groups = Groups.of(group, strata_of("classification", labels))
    sets = apportion(groups, (0.2, 0.4, 0.4), seed, learnt=0)[groups.group]
    assert {label for label, name in zip(labels, sets, strict=True) if name == 0} == set(labels)


def test_a_class_of_one_group_is_moved_to_where_it_is_learnt() -> None:
    strata = strata_of("classification", ["a", "b", "b", "b"])
    groups = Groups.of(np.arange(4), strata)
    assert apportion(groups, (0.01, 0.99), 0).tolist() == [1, 1, 1, 1]
    sets = apportion(groups, (0.01, 0.99), 0, learnt=0)
    assert sets[0] == 0 and sets[1:].tolist().count(0) == 1
    assert lonely(groups).tolist() == [0]


def test_classes_are_not_looked_at_where_that_is_asked() -> None:
    labels = ["a"] * 100 + ["b"] * 100
    groups = Groups.of(np.arange(200), strata_of("classification", labels))
    balanced = apportion(groups, (0.5, 0.5), 0)
    drawn = apportion(Groups.of(np.arange(200), None), (0.5, 0.5), 0)
    assert balanced[:100].sum() == balanced[100:].sum() == 50
    assert drawn.sum() == 100 and drawn[:100].sum() != 50


def test_small_classes_together_fill_the_small_sets() -> None:
    # Each of four records alone would stay in train.
    labels = [str(i // 4) for i in range(2000)]
    groups = Groups.of(np.arange(2000), strata_of("classification", labels))
    assert np.abs(np.bincount(apportion(groups, SHARES, 0)) / 2000 - SHARES).max() < 0.03


def test_seeds_matter_and_nothing_else() -> None:
    group, labels = families(0, 200)
    groups = Groups.of(group, strata_of("classification", labels))
    first, again, other = (apportion(groups, SHARES, seed) for seed in (0, 0, 1))
    assert (first == again).all() and (first != other).any()


def test_a_selection_is_what_its_records_alone_would_be() -> None:
    group, labels = families(3, 50)
    groups = Groups.of(group, strata_of("classification", labels))
    chosen = np.flatnonzero(np.arange(50) % 3 != 0)
    inside = np.isin(groups.group, chosen)
    alone = Groups.of(
        groups.group[inside], strata_of("classification", [x for x, i in zip(labels, inside, strict=True) if i])
    )
    selected = groups.selected(chosen)
    assert (selected.group == alone.group).all() and (selected.sizes == alone.sizes).all()
    assert (selected.totals == alone.totals).all() and (selected.amounts == alone.amounts).all()
    assert (apportion(selected, SHARES, 0) == apportion(alone, SHARES, 0)).all()


def held(strata: Strata) -> list[list[tuple[str, float]]]:
    cells: list[list[tuple[str, float]]] = [[] for _ in range(int(strata.records.max()) + 1)]
    for record, stratum, amount in zip(strata.records, strata.strata, strata.amounts, strict=True):
        cells[record].append((strata.names[stratum], amount))
    return cells


def test_labels_count_as_their_kind_says() -> None:
    assert held(strata_of("classification", ["x", "", "y"])) == [[("x", 1)], [], [("y", 1)]]
    assert held(strata_of("multilabel", ["x; y", "y", "|x"])) == [[("x", 1), ("y", 1)], [("y", 1)], [("x", 1)]]
    assert held(strata_of("residue", ["HHC", "CC"])) == [[("H", 2), ("C", 1)], [("C", 2)]]
    assert strata_of("classification", ["x"]).must_be_learnt and not strata_of("residue", ["H"]).must_be_learnt


def test_numbers_are_parted_at_their_quantiles() -> None:
    values = np.random.default_rng(0).permutation(1000)
    strata = strata_of("regression", [*map(str, values), "", "n.d."])
    assert strata.totals.tolist() == [100] * 10 and len(strata.records) == 1000
    assert (strata.strata == values // 100).all()
    assert strata_of("regression", ["1"] * 50).totals.tolist() == [50]
    assert strata_of("regression", [str(i % 2) for i in range(60)]).totals.tolist() == [30, 30]
    assert strata_of("regression", [""]).names == ()


def test_classes_of_several_groups_are_spread() -> None:
    left = total = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        group, classes = rng.integers(0, 8, 24), rng.integers(0, 6, 24)
        groups = Groups.of(group, strata_of("classification", [f"c{each}" for each in classes]))
        sets = rng.integers(0, 3, len(groups))
        found = spread(groups, sets, 3)
        for stratum in range(len(groups.totals)):
            members = groups.owners()[groups.strata == stratum]
            total += len(members) > 1
            left += len(members) > 1 and len(np.unique(found[members])) == 1
    assert total > 200 and left == 0
