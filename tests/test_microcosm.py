"""A microcosm is balanced, spread over families, and says truly how well it stands for the whole."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from seqtrain.letters import PackedLetters
from seqtrain.microcosm import choose_microcosm, proportional, quantile_bins, shares
from tests.corpora import proteins


def pack(texts: list[str]) -> PackedLetters:
    return PackedLetters.from_sequences([np.frombuffer(text.encode(), np.uint8) for text in texts])


@pytest.fixture(scope="module")
def whole() -> tuple[PackedLetters, NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """300 sequences, their classes of 200, 80 and 20, their 60 families within classes, and sets of 200 and 100."""
    rng = np.random.default_rng(0)
    classes = np.repeat([0, 1, 2], [200, 80, 20])
    family = np.concatenate([rng.permutation(np.arange(200) % 40), 40 + np.arange(80) % 16, 56 + np.arange(20) % 4])
    sets = (np.arange(300) % 3 == 0).astype(np.int64)
    return pack(proteins(rng.integers(30, 60, 300).tolist(), seed=1)), classes, family, sets


def test_classes_are_balanced_as_far_as_they_go(whole: tuple[PackedLetters, *tuple[NDArray[np.int64], ...]]) -> None:
    sequences, classes, family, _ = whole
    found = choose_microcosm(sequences, classes, family, 90)
    assert np.bincount(classes[found.records]).tolist() == [35, 35, 20]
    assert (np.diff(found.records) > 0).all()


def test_a_family_gives_one_before_any_gives_two(whole: tuple[PackedLetters, *tuple[NDArray[np.int64], ...]]) -> None:
    sequences, classes, family, _ = whole
    found = choose_microcosm(sequences, classes, family, 90)
    counts = np.bincount(family[found.records], minlength=60)
    assert counts[:40].max() == 1 and counts[:40].sum() == 35
    assert set(counts[40:56].tolist()) == {2, 3} and set(counts[56:].tolist()) == {5}
    assert found.covered == 35 + 16 + 4 == found.possible and found.num_families == 60


def test_sets_keep_their_shares(whole: tuple[PackedLetters, *tuple[NDArray[np.int64], ...]]) -> None:
    sequences, classes, family, sets = whole
    found = choose_microcosm(sequences, classes, family, 60, sets=sets)
    assert np.bincount(sets[found.records]).tolist() == [40, 20]
    # Within each set the classes are alike: 13, 13, 14 (or as many as there are) and 7, 7, 6.
    for name in (0, 1):
        counts = np.bincount(classes[found.records[sets[found.records] == name]])
        assert np.ptp(counts) <= 1
    # A family that gave a record to one set is not asked again by the other while another one is left.
    assert np.bincount(family[found.records])[:40].max() == 1


def test_the_first_of_a_family_is_its_centre() -> None:
    # Three copies of one composition and an outlier: the outlier is never the centre.
    texts = ["ACDEACDEACDEACDE", "ACDEACDEACDEACDA", "WWWWYYYYWWWWYYYY", "ACDEACDEACDFACDE"]
    for seed in range(5):
        found = choose_microcosm(pack(texts), np.zeros(4, np.int64), np.zeros(4, np.int64), 1, seed=seed)
        assert found.records.tolist() == [0]
    later = {
        int(record)
        for seed in range(10)
        for record in choose_microcosm(pack(texts), np.zeros(4, np.int64), np.zeros(4, np.int64), 2, seed=seed).records
    }
    assert later == {0, 1, 2, 3}


def test_the_seed_decides(whole: tuple[PackedLetters, *tuple[NDArray[np.int64], ...]]) -> None:
    sequences, classes, family, sets = whole

    def records(seed: int) -> list[int]:
        return choose_microcosm(sequences, classes, family, 50, sets=sets, seed=seed).records.tolist()

    assert records(1) == records(1) != records(2)


def test_the_whole_is_no_distance_from_itself(whole: tuple[PackedLetters, *tuple[NDArray[np.int64], ...]]) -> None:
    sequences, classes, family, _ = whole
    found = choose_microcosm(sequences, classes, family, 300)
    assert found.distance == found.random_distance == 0 and found.covered == 60
    assert (found.lengths[0] == found.lengths[1]).all()
    small = choose_microcosm(sequences, classes, family, 30)
    assert 0 < small.distance < 3 * small.random_distance
    assert found.words()[0] == "60 of 60 families of similar sequences have a record in it, as many as can"


@pytest.mark.parametrize(
    ("counts", "wanted", "taken"),
    [
        ([100, 100, 100], 30, [10, 10, 10]),
        ([100, 2, 100], 30, [14, 2, 14]),
        ([1, 1, 50], 30, [1, 1, 28]),
        ([5, 5], 30, [5, 5]),
        ([9, 8, 7], 4, [2, 1, 1]),
        ([0, 8], 4, [0, 4]),
        ([3, 3, 3], 2, [0, 1, 1]),
    ],
)
def test_shares_are_alike_and_what_is_short_goes_on(counts: list[int], wanted: int, taken: list[int]) -> None:
    found = shares(counts, wanted)
    assert found == taken and sum(found) == min(wanted, sum(counts))


@pytest.mark.parametrize(
    ("counts", "wanted", "taken"),
    [([800, 100, 100], 10, [8, 1, 1]), ([990, 5, 5], 10, [8, 1, 1]), ([1, 2], 3, [1, 2]), ([50, 50], 5, [3, 2])],
)
def test_sets_get_their_shares_and_one_at_least(counts: list[int], wanted: int, taken: list[int]) -> None:
    assert proportional(counts, wanted) == taken


def test_bins_hold_as_many_each_and_equal_numbers_share_one() -> None:
    values = np.random.default_rng(0).normal(size=1000)
    bins = quantile_bins(values, 10)
    assert np.bincount(bins).tolist() == [100] * 10
    assert (np.diff(bins[np.argsort(values)]) >= 0).all()
    tied = quantile_bins(np.array([0.0] * 90 + [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]), 4)
    assert len(set(tied[:90].tolist())) == 1 and tied.max() == len(set(tied.tolist())) - 1
    assert quantile_bins(np.ones(5), 3).tolist() == [0] * 5
