"""Splits keep together what belongs together, meet what was asked, and say why where they cannot."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from seqtrain.alphabet import ALPHABETS
from seqtrain.errors import InputError
from seqtrain.letters import PackedLetters
from seqtrain.split_ways import Group, Homology, Random, SplitBy, Stratified, read_split_by
from seqtrain.splitting import MadeSplit, Splittable, Splitting
from seqtrain.strata import strata_of

LETTERS = np.frombuffer(b"ACDEFGHIKLMNPQRSTVWY", dtype=np.uint8)
EACH = [Random(), Stratified(), Group(column="plate"), Homology(identity=0.5)]


def silent(text: str) -> None: ...


def relatives(num_families: int, members: int, seed: int = 0, mutated: float = 0.1) -> list[np.ndarray[Any, Any]]:
    """Families of sequences of 40 letters, members of one after the other."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(num_families):
        root = rng.choice(LETTERS, 40)
        for _ in range(members):
            made.append(np.where(rng.random(40) < mutated, rng.choice(LETTERS, 40), root))
    return made


def splittable(sequences: list[Any], labels: list[str] | None = None, **more: Any) -> Splittable:
    plates = more.pop("plates", [str(i // 5) for i in range(len(sequences))])
    return Splittable(
        place="t.csv",
        identifiers=[f"p{i}" for i in range(len(sequences))],
        sequences=PackedLetters.from_sequences(sequences),
        strata=strata_of("classification", labels) if labels is not None else None,
        column=lambda name: plates,
        **more,
    )


RECORDS = splittable(relatives(40, 5), ["abc"[i // 5 % 3] for i in range(200)])


@pytest.mark.parametrize("name", ["dna", "codon"])
def test_relatives_are_judged_in_the_alphabet_of_the_records(name: str) -> None:
    # As proteins, any DNA is like any other, and codons are letters that nothing is like.
    rng, alphabet = np.random.default_rng(0), ALPHABETS[name]
    sequences = [alphabet.pack(bytes(rng.choice(list(b"ACGT"), 90).astype(np.uint8))) for _ in range(30)]
    near = [sequence.copy() for sequence in sequences[:10]]
    for sequence in near:
        sequence[3] = sequences[20][3]
    records = splittable([*sequences, *near], alphabet=alphabet)
    found = made(Homology(identity=0.5), records)
    assert len(found.groups) == 30
    sets = found.columns["set"]
    assert (sets[:10] == sets[30:]).all()


def made(by: SplitBy, records: Splittable = RECORDS, **options: Any) -> MadeSplit:
    return Splitting(by=by, **options)(records, silent)


def refusal(by: SplitBy, records: Splittable = RECORDS, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        made(by, records, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("by", EACH, ids=lambda by: type(by).__name__)
def test_shares_are_met_and_groups_stay_whole(by: SplitBy) -> None:
    split = made(by)
    sets = split.columns["set"]
    sizes = Counter(sets.tolist())
    assert set(split.columns) == {"set"} and abs(sizes["train"] - 160) <= 5 and min(sizes.values()) >= 15
    if isinstance(by, Group | Homology):
        assert len(split.groups) == 40
        assert all(len(set(sets[5 * f : 5 * f + 5])) == 1 for f in range(40))
    else:
        assert any(len(set(sets[5 * f : 5 * f + 5])) > 1 for f in range(40))
    if not isinstance(by, Random):
        for name in "abc":
            inside = sets[[i // 5 % 3 == "abc".index(name) for i in range(200)]]
            assert 0.7 <= (inside == "train").mean() <= 0.9 and (inside == "test").any() and (inside == "valid").any()
    assert (made(by).columns["set"] == sets).all() and (made(by, seed=1).columns["set"] != sets).any()
    assert "(seed 0)" in split.made_how and split.made_how.startswith("80 / 10 / 10 %")


@pytest.mark.parametrize("by", EACH, ids=lambda by: type(by).__name__)
@pytest.mark.parametrize("valid", [0.0, 0.1])
def test_every_record_is_tested_in_one_fold(by: SplitBy, valid: float) -> None:
    split = made(by, num_folds=4, valid_fraction=valid)
    folds = [split.columns[f"fold_{k + 1}"] for k in range(4)]
    assert (split.columns["set"] == folds[0]).all() and len(split.columns) == 5
    tested = np.array([fold == "test" for fold in folds])
    assert (tested.sum(0) == 1).all() and (abs(tested.sum(1) - 50) <= 5).all()
    for fold in folds:
        assert abs((fold == "valid").sum() - 200 * valid) <= 5 and ("valid" in fold) == (valid > 0)
        assert all(len(set(fold[split.groups.group == g])) == 1 for g in range(len(split.groups)))


@pytest.mark.parametrize("by", EACH, ids=lambda by: type(by).__name__)
def test_equal_sequences_and_copies_stay_together(by: SplitBy) -> None:
    sequences = relatives(30, 1)
    labels = ["ab"[i % 2] for i in range(90)]
    originals = [f"p{i % 30}" for i in range(90)]
    copies = relatives(30, 1, seed=1)
    # Records 30 to 59 equal the first 30; 60 to 89 look like none and are copies of them by name.
    records = splittable([*sequences, *sequences, *copies], labels, originals=originals, plates=[""] * 90)
    for sets in made(by, records, num_folds=3).columns.values():
        assert (sets[:30] == sets[30:60]).all() and (sets[:30] == sets[60:]).all()


def test_no_pair_of_relatives_crosses() -> None:
    from seqtrain.homology import Similarity, similar_pairs

    records = splittable(relatives(25, 4, mutated=0.2))
    pairs = similar_pairs(records.sequences, Similarity(least_identity=0.4))
    assert len(pairs) >= 25
    sets = made(Homology(identity=0.4), records).columns["set"]
    assert (sets[pairs.first] == sets[pairs.second]).all()


def test_clusters_of_others_are_taken(tmp_path: Any) -> None:
    path = tmp_path / "clusters.tsv"
    path.write_text("".join(f"p{i // 4 * 4}\tp{i}\n" for i in range(36)))
    said: list[str] = []
    records = splittable(relatives(40, 1))
    split = Splitting(by=Homology(families=str(path)))(records, said.append)
    assert all(len(set(split.columns["set"][i : i + 4])) == 1 for i in range(0, 36, 4))
    assert len(split.groups) == 9 + 4 and "4 of the records" in said[0] and "clusters.tsv" in split.made_how


def test_empty_cells_are_groups_of_their_own() -> None:
    said: list[str] = []
    records = splittable(relatives(20, 1), plates=["x"] * 3 + [" "] * 17)
    split = Splitting(by=Group(column="plate"))(records, said.append)
    assert len(split.groups) == 18 and "empty in 17 records" in said[0]


def test_a_class_of_one_group_is_learnt_and_refused_in_folds() -> None:
    labels = ["rare"] * 5 + ["ab"[i % 2] for i in range(195)]
    records = splittable(relatives(40, 5), labels)
    by = Group(column="plate")
    assert (made(by, records).columns["set"][:5] == "train").all()
    message = refusal(by, records, num_folds=4)
    assert "class 'rare' has 5 records, in one group" in message and "--rare-classes train" in message
    split = made(by, records, num_folds=4, rare_classes="train")
    folds = np.array([split.columns[f"fold_{k + 1}"] for k in range(4)])
    assert (folds[:, :5] == "train").all() and ((folds == "test").sum(0)[5:] == 1).all()


def test_a_class_of_two_groups_is_learnt_in_every_fold() -> None:
    labels = ["rare"] * 10 + ["ab"[i % 2] for i in range(190)]
    split = made(Group(column="plate"), splittable(relatives(40, 5), labels), num_folds=4, valid_fraction=0.2)
    assert all("train" in sets[:10] for sets in split.columns.values())


@pytest.mark.parametrize("seed", range(6))
def test_a_class_that_is_kept_is_in_train_also_at_random(seed: int) -> None:
    labels = ["rare"] + ["ab"[i % 2] for i in range(59)]
    split = made(Random(), splittable(relatives(60, 1), labels), num_folds=5, rare_classes="train", seed=seed)
    assert all(split.columns[f"fold_{k + 1}"][0] == "train" for k in range(5))


def test_both_groups_of_a_class_are_not_tested_together() -> None:
    for seed in range(40):
        labels = ["rare", "rare", *["ab"[i % 2] for i in range(10)]]
        plates = ["x", "y", "x", "y", *["zuvw"[i % 4] for i in range(8)]]
        records = splittable(relatives(12, 1), labels, plates=plates)
        split = made(Group(column="plate"), records, num_folds=2, valid_fraction=0, seed=seed)
        assert all("train" in sets[:2] for sets in split.columns.values())


def test_a_random_split_without_a_class_is_refused() -> None:
    labels = ["rare"] + ["a"] * 99
    records = splittable(relatives(100, 1), labels)
    seed = next(
        seed
        for seed in range(100)
        if made(Random(), splittable(relatives(100, 1)), seed=seed).columns["set"][0] != "train"
    )
    message = refusal(Random(), records, seed=seed)
    assert "class 'rare' (1 record) has no record in train" in message and "stratified" in message
    assert made(Stratified(), records, seed=seed).columns["set"][0] == "train"


def test_more_folds_than_there_can_be() -> None:
    by = Group(column="plate")
    assert "t.csv: 201 folds of 200 records; at most 200" in refusal(Random(), num_folds=201)
    assert "41 folds of 40 groups" in refusal(by, num_folds=41) and "at most 40" in refusal(by, num_folds=41)
    one = splittable(relatives(6, 1), plates=["x"] * 6)
    assert "2 folds of 1 group " in refusal(by, one, num_folds=2, valid_fraction=0)
    for folds in (1, 0, -2):
        assert f"{folds} folds: " in refusal(Random(), num_folds=folds) and "2 at least" in refusal(
            Random(), num_folds=folds
        )


def test_fractions_that_cannot_be() -> None:
    assert "test fraction 0.001 of 200 records is none; give at least 0.005" in refusal(Random(), test_fraction=0.001)
    assert "valid fraction -0.1" in refusal(Random(), valid_fraction=-0.1)
    assert "test fraction 1" in refusal(Random(), test_fraction=1.0)
    assert "test fraction nan" in refusal(Random(), test_fraction=float("nan"))
    assert "nothing to train on" in refusal(Random(), test_fraction=0.6, valid_fraction=0.4)
    assert "that is no split" in refusal(Random(), test_fraction=0.0, valid_fraction=0.0)
    assert "nothing to train on" in refusal(Random(), num_folds=2, valid_fraction=0.5)
    assert "test" not in made(Random(), test_fraction=0.0).columns["set"]


def test_a_cluster_that_leaves_nothing_for_test() -> None:
    alike = splittable([*relatives(1, 48, mutated=0.02), *relatives(2, 1, seed=2)])
    message = refusal(Homology(identity=0.3), splittable(relatives(1, 50, mutated=0.02)))
    assert "nothing is left for valid and test: 1 cluster of 50 records, the largest of 50" in message
    assert "take a higher identity, such as 0.5" in message
    sets = made(Homology(identity=0.3), alike).columns["set"]
    assert Counter(sets.tolist()) == {"train": 48, "valid": 1, "test": 1}
    records = splittable(relatives(10, 1), plates=["x"] * 9 + ["y"])
    assert "take a column of more groups" in refusal(Group(column="plate"), records)


@pytest.mark.parametrize("identity", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_identities_that_say_nothing_are_refused(identity: float) -> None:
    with pytest.raises(InputError) as caught:
        Homology(identity=identity)
    expected = {0.0: "one cluster", 1.0: "split at random"}.get(identity, "above 0 and below 1")
    assert expected in str(caught.value)


def test_what_is_missing_is_said() -> None:
    fasta = Splittable(place="t.fasta", identifiers=["a"] * 20, sequences=RECORDS.sequences.selected(np.arange(20))[0])
    assert "t.fasta: is FASTA, which has no column 'plate'" in refusal(Group(column="plate"), fasta)
    assert "no labels to stratify by" in refusal(Stratified(), fasta)


def test_words() -> None:
    assert read_split_by("random") == Random()
    assert read_split_by("homology:identity=0.4,method=built-in") == Homology(identity=0.4, method="built-in")
    assert read_split_by("homology:families=c.tsv") == Homology(families="c.tsv")
    assert read_split_by("group:column=plate") == Group(column="plate")
    for words, said in (
        ("homolgy", "did you mean 'homology'"), ("group", "group needs column"), ("homology:identity=1", "at random"),
        ("homology:identity=0", "one cluster"), ("random:column=x", "no field=value"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=said):
            read_split_by(words)
