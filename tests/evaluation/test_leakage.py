"""Held-out records are as near to training records as they were made."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from seqtrain.evaluation.leakage import Leakage, Stratum, find_leakage
from seqtrain.evaluation.variant_distance import common_wild_type, nearest_variants
from seqtrain.letters import PackedLetters
from tests.corpora import RESIDUES, proteins


def pack(texts: list[str]) -> PackedLetters:
    return PackedLetters.from_sequences([np.frombuffer(text.encode(), np.uint8) for text in texts])


def changed(text: str, places: list[int]) -> str:
    """The text with the next residue at some places."""
    letters = list(text)
    for place in places:
        letters[place] = RESIDUES[(RESIDUES.index(letters[place]) + 1) % 20]
    return "".join(letters)


@pytest.fixture(scope="module")
def found() -> Leakage:
    """Of training records 0 to 5: a copy of 2, one of 95 %, one of 80 %, one of 60 %, a stranger; validation of 0."""
    train = proteins([60] * 3 + [80] * 3, seed=1)
    # Every k-th letter changed: the alignment has no better way than column by column.
    test = [
        train[2],
        changed(train[3], [20, 40, 60, 70]),
        changed(train[4], list(range(3, 80, 5))),
        changed(train[5], [i for i in range(4, 76) if i % 5 in (1, 3)]),
        *proteins([70], seed=9),
    ]
    sets = np.array(["train"] * 6 + ["test"] * 5 + ["valid"])
    leakage = find_leakage(pack([*train, *test, train[0]]), sets, ["valid", "test"])
    assert leakage is not None
    return leakage


def test_the_nearest_training_record_is_the_one_it_was_made_of(found: Leakage) -> None:
    assert found.records.tolist() == [11, 6, 7, 8, 9, 10]
    assert found.nearest.tolist() == [0, 2, 3, 4, 5, -1]
    assert found.identity[:5] == pytest.approx([1, 1, 76 / 80, 64 / 80, 51 / 80], abs=0.02)
    assert np.isnan(found.identity[5]) and found.letters is None
    assert found.num_equal("test") == 1


def test_bands_part_the_records_of_a_set(found: Leakage) -> None:
    bands = found.bands("test")
    assert [(words, found.records[places].tolist()) for words, places in bands] == [
        ("below 30 %", [10]),
        ("50 to 70 %", [9]),
        ("70 to 90 %", [8]),
        ("90 % and more", [6, 7]),
    ]


def test_words_count_what_is_near_and_what_is_far(found: Leakage) -> None:
    valid, test = found.words()
    assert valid.startswith("1 of 1 valid record has a training record of at least 90 % identity (1 the very sequence)")
    assert test == (
        "2 of 5 test records have a training record of at least 90 % identity (1 the very sequence), and 1 has none of "
        "even 30 %"
    )


def test_scores_are_said_where_there_are_enough_records(found: Leakage) -> None:
    far = Stratum(test_set="test", name="below 30 %", num_records=25, metrics={"accuracy": 0.4}, intervals={})
    near = replace(far, name="90 % and more", metrics={"accuracy": 0.9}, intervals={"accuracy": (0.8, 0.95)})
    few = replace(far, name="30 to 50 %", num_records=19)
    said = replace(found, strata=(far, few, near), metric="accuracy")
    assert said.words()[1].endswith(
        "; accuracy 0.90 among the nearest (90 % and more, 25), 0.40 among the farthest (below 30 %, 25)"
    )
    assert "; accuracy" not in replace(found, strata=(few, near), metric="accuracy").words()[1]
    header, rows = said.table()
    assert header == ("set", "nearest training record", "records", "accuracy", "95 % from", "to")
    assert rows[0] == ("test", "below 30 %", 25, 0.4, "", "")
    assert rows[2] == ("test", "90 % and more", 25, 0.9, 0.8, 0.95)
    kept = said.as_results()["strata"]
    assert kept[2]["intervals"] == {"accuracy": [0.8, 0.95]} and len(kept) == 3


def test_none_near_is_one_sentence() -> None:
    texts = proteins([70] * 4, seed=3)
    leakage = find_leakage(pack(texts), np.array(["train"] * 3 + ["test"]), ["test"])
    assert leakage is not None
    assert leakage.words() == ["none of 1 test record has a training record of 30 % identity or more"]


@pytest.mark.parametrize("sets", [["test", "test"], ["train", "train"], ["train", "valid"]])
def test_without_both_sides_there_is_nothing_to_find(sets: list[str]) -> None:
    assert find_leakage(pack(proteins([30, 30])), np.array(sets), ["test"]) is None


def variants(count: int, seed: int, length: int = 60) -> list[str]:
    """A wild type with one to four letters changed, taken out or put in."""
    rng = np.random.default_rng(seed)
    (wild_type,) = proteins([length], seed=5)
    made = []
    for _ in range(count):
        text = changed(wild_type, rng.choice(length, rng.integers(1, 5), replace=False).tolist())
        made.append(text)
    return made


def test_distances_of_variants_are_those_of_all_pairs() -> None:
    texts = variants(80, seed=0)
    packed = pack(texts)
    wild_type = common_wild_type(packed)
    assert wild_type is not None and wild_type.tobytes().decode() == proteins([60], seed=5)[0]
    rows = packed.letters.reshape(80, 60)
    queries, targets = np.arange(50, 80), np.arange(50)
    distance, place = nearest_variants(packed, queries, targets, wild_type)
    by_hand = (rows[queries][:, None] != rows[targets][None]).sum(axis=2)
    assert (distance == by_hand.min(axis=1)).all()
    assert (place == by_hand.argmin(axis=1)).all()


def edit_distance(one: str, other: str) -> int:
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, start=1):
        before, row[0] = row[0], i
        for j, b in enumerate(other, start=1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return row[-1]


def test_letters_too_many_or_too_few_count_as_letters_that_differ() -> None:
    texts = variants(40, seed=2)
    odd = [texts[3][:20] + texts[3][21:], texts[4][:10] + "WW" + texts[4][10:], texts[5][:-1], "A" * 30]
    packed = pack([*texts, *odd])
    wild_type = common_wild_type(packed)
    assert wild_type is not None
    distance, place = nearest_variants(packed, np.arange(40, 44), np.arange(40), wild_type)
    nearest = [min(edit_distance(text, other) for other in texts) for text in odd[:3]]
    assert distance.tolist() == [*nearest, -1] == [1, 2, 1, -1]
    assert place.tolist() == [3, 4, 5, -1]


@pytest.mark.parametrize("cut", [0, 10, 30])
def test_variants_with_the_same_letters_put_in_share_them(cut: int) -> None:
    texts = variants(40, seed=2)
    grown = [text[:cut] + "WH" + text[cut:] for text in texts[:20]]
    packed = pack([*texts, *grown])
    wild_type = common_wild_type(pack(texts))
    assert wild_type is not None
    distance, place = nearest_variants(packed, np.arange(40, 50), np.arange(50, 60), wild_type)
    nearest = [[edit_distance(one, other) for other in grown[10:]] for one in grown[:10]]
    assert distance.tolist() == [min(row) for row in nearest]
    assert all(row[where] == min(row) for row, where in zip(nearest, place.tolist(), strict=True))


def test_variants_of_another_length_are_not_called_the_nearest() -> None:
    texts = variants(200, seed=3)
    short = [text[:30] for text in texts[:10]]
    sets = np.array(["train"] * 100 + ["test"] * 110)
    leakage = find_leakage(pack([*texts, *short]), sets, ["test"])
    assert leakage is not None and leakage.letters is not None
    assert leakage.bands("test")[0][0] == "another length"
    strata = tuple(
        Stratum(test_set="test", name=name, num_records=30, metrics={"r2": place / 10}, intervals={})
        for place, (name, _) in enumerate(leakage.bands("test"))
    )
    (said,) = replace(leakage, strata=strata, metric="r2").words()
    assert "another length" not in said and "among the nearest" in said


def test_fragments_are_near_and_not_the_very_sequence() -> None:
    train = proteins([80] * 4, seed=3)
    sets = np.array(["train"] * 4 + ["test"] * 3)
    leakage = find_leakage(pack([*train, train[0][10:70], "M" + train[1], train[2]]), sets, ["test"])
    assert leakage is not None and leakage.identity.tolist() == [1, 1, 1]
    assert leakage.num_equal("test") == 1 and "(1 the very sequence)" in leakage.words()[0]


def test_variants_are_said_to_be_variants() -> None:
    texts = variants(40, seed=4)
    leakage = find_leakage(pack([*texts, texts[0]]), np.array(["train"] * 30 + ["test"] * 11), ["test"])
    assert leakage is not None and leakage.letters is not None
    assert leakage.letters[-1] == 0 and leakage.nearest[-1] == 0 and leakage.identity[-1] == 1
    assert (leakage.identity == 1 - leakage.letters / 60).all()
    (said,) = leakage.words()
    assert said.startswith(
        "11 test records are variants of one sequence: the nearest training variant differs in 0 to "
    )
    assert [words for words, _ in leakage.bands("test")][-1] == "0 letters"
    assert sum(len(places) for _, places in leakage.bands("test")) == 11


@pytest.mark.parametrize(
    "texts",
    [
        proteins([60] * 20),
        variants(9, seed=0),
        variants(20, seed=0, length=15),
        [*variants(10, seed=0), *proteins([60] * 10)],
    ],
    ids=["strangers", "few", "short", "half"],
)
def test_other_sequences_are_no_variants(texts: list[str]) -> None:
    assert common_wild_type(pack(texts)) is None


def test_a_sample_keeps_its_share_of_each_set_and_says_so() -> None:
    texts = variants(2600, seed=6)
    sets = np.array(["train"] * 100 + ["test_a"] * 2250 + ["test_b"] * 250)

    def looked_at(seed: int) -> NDArray[np.int64]:
        leakage = find_leakage(pack(texts), sets, ["test_a", "test_b"], limit=500, seed=seed)
        assert leakage is not None
        assert [len(leakage.of_set(name)) for name in ("test_a", "test_b")] == [450, 200]
        assert leakage.words()[0].startswith("450 test_a records (drawn from 2,250) are variants")
        return leakage.records

    assert (looked_at(0) == looked_at(0)).all() and (looked_at(0) != looked_at(1)).any()
