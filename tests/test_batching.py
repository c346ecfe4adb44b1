"""Every record comes once per epoch, a step fits its budget, resuming changes nothing, labels follow their residues."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice, pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from seqtrain import batching
from seqtrain.augment import Augmented, RandomCrop
from seqtrain.batch import joined
from seqtrain.batching import Examples, Step, budgeted, microbatches, steps_from
from seqtrain.draws import Draws
from seqtrain.letters import PackedLetters
from seqtrain.losses import IGNORED_CLASS
from seqtrain.recipes.training_examples import with_curriculum
from seqtrain.step_count import num_steps_for
from tests.corpora import examples_of, proteins

BUDGET = 300
LENGTHS = np.random.default_rng(5).integers(1, 120, size=83).tolist()


@pytest.fixture(scope="module")
def examples() -> Examples:
    return examples_of(proteins(LENGTHS))


def taken(examples: Examples, count: int, position: int = 0, seed: int = 0, budget: int = BUDGET) -> list[Step]:
    return list(islice(steps_from(examples, budget, position, seed), count))


def order(examples: Examples, num_epochs: int, seed: int = 0) -> list[tuple[int, int]]:
    """(epoch, unit) of the first epochs, in the order in which they come."""
    pairs: list[tuple[int, int]] = []
    for step in steps_from(examples, BUDGET, 0, seed):
        pairs += zip(step.epochs.tolist(), step.units.tolist(), strict=True)
        if len(pairs) >= num_epochs * len(examples):
            return pairs[: num_epochs * len(examples)]
    raise AssertionError("steps end")


def test_every_record_comes_once_per_epoch(examples: Examples) -> None:
    pairs = order(examples, 4)
    for epoch in range(4):
        members = pairs[epoch * len(examples) : (epoch + 1) * len(examples)]
        assert {each for each, _ in members} == {epoch}
        assert sorted(unit for _, unit in members) == list(range(len(examples)))


def test_the_order_differs_between_epochs_and_seeds_and_is_no_file_order(examples: Examples) -> None:
    units = [unit for _, unit in order(examples, 2)]
    first, second = units[: len(examples)], units[len(examples) :]
    other = [unit for _, unit in order(examples, 1, seed=1)]
    orders = {tuple(each) for each in (first, second, other, range(len(examples)))}
    assert len(orders) == 4


@pytest.mark.parametrize("budget", [1, 60, 300, 5000, 100_000])
def test_a_step_is_as_full_as_its_budget_allows(examples: Examples, budget: int) -> None:
    steps = taken(examples, 12, budget=budget)
    following = [step.units[0] for step in steps[1:]]
    for step, then in zip(steps, following, strict=False):
        total = examples.num_tokens[step.units].sum()
        assert total <= budget or len(step.units) == 1
        assert total + examples.num_tokens[then] > budget
    assert [step.next_position for step in steps] == np.cumsum([len(step.units) for step in steps]).tolist()


def test_a_resumed_run_continues_identically(examples: Examples) -> None:
    unbroken = taken(examples, 60)
    assert unbroken[-1].epochs[-1] >= 2
    for at in (1, 2, 7, 23, 31, 44, 59):
        resumed = taken(examples, 60 - at, position=unbroken[at - 1].next_position)
        for ours, theirs in zip(resumed, unbroken[at:], strict=True):
            assert ours.units.tolist() == theirs.units.tolist()
            assert ours.epochs.tolist() == theirs.epochs.tolist()
            assert ours.next_position == theirs.next_position


def test_how_far_is_looked_ahead_changes_nothing(examples: Examples, monkeypatch: pytest.MonkeyPatch) -> None:
    before = [step.units.tolist() for step in taken(examples, 40)]
    monkeypatch.setattr(batching, "_LOOK_AHEAD", 3)
    assert [step.units.tolist() for step in taken(examples, 40)] == before


def test_a_single_record_makes_endless_epochs() -> None:
    steps = taken(examples_of(["ACD"]), 3, budget=10)
    assert [step.epochs.tolist() for step in steps] == [[0, 1], [2, 3], [4, 5]]


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(tokens=st.lists(st.integers(1, 50), max_size=30), budget=st.integers(1, 120))
def test_a_budget_cuts_a_row_into_full_runs(tokens: list[int], budget: int) -> None:
    parts = [tokens[part] for part in budgeted(np.array(tokens, np.int64), budget)]
    assert [each for part in parts for each in part] == tokens
    assert all(part and (sum(part) <= budget or len(part) == 1) for part in parts)
    assert all(sum(part) + following[0] > budget for part, following in pairwise(parts))


@pytest.mark.parametrize("budget", [1, 100, 130, 10_000])
def test_microbatches_partition_the_step(budget: int) -> None:
    examples = examples_of(
        proteins(LENGTHS), augmenter=RandomCrop(40), max_length=40, targets=np.arange(83.0), weights=np.ones(83, "f4")
    )
    for step in taken(examples, 3, position=81):
        whole = examples.batch(step.units, step.epochs)
        parts = list(microbatches(step, examples, budget))
        assert len(parts) == len(list(budgeted(examples.num_tokens[step.units], budget)))
        for field in ("inputs", "letters", "records", "keys", "targets", "weights"):
            assert torch.equal(torch.cat([getattr(part, field) for part in parts]), getattr(whole, field))
        assert torch.equal(torch.cat([part.lengths for part in parts]), whole.lengths)
        assert all(len(part.inputs) <= budget or len(part) == 1 for part in parts)


def test_a_batch_holds_the_letters_of_its_records() -> None:
    texts = proteins(LENGTHS)
    examples = examples_of(texts)
    units = np.array([5, 80, 0, 5])
    batch = examples.batch(units, np.array([0, 0, 0, 1]))
    for i, unit in enumerate(units):
        span = slice(int(batch.boundaries[i]), int(batch.boundaries[i + 1]))
        assert bytes(batch.letters[span].tolist()) == b"\0" + texts[unit].encode() + b"\0"
        assert examples.encoder.decode(batch.inputs[span].numpy()) == f"<cls>{texts[unit]}<eos>"
    assert batch.records.tolist() == units.tolist()
    assert batch.keys[0] != batch.keys[3], "another epoch, other draws"
    assert batch.targets is None and batch.weights is None
    assert (examples.num_tokens == np.array(LENGTHS) + 2).all()


def test_crops_differ_between_epochs_and_fit_the_promised_length() -> None:
    examples = examples_of(proteins([500] * 20), augmenter=RandomCrop(60), max_length=60)
    everything = np.arange(20)
    first, second = (examples.batch(everything, np.full(20, epoch)) for epoch in (0, 1))
    assert (first.lengths == 62).all() and (examples.num_tokens == 62).all()
    pairs = zip(first.letters.reshape(20, 62), second.letters.reshape(20, 62), strict=True)
    assert sum(torch.equal(a, b) for a, b in pairs) <= 2
    assert torch.equal(first.inputs, examples.batch(everything, np.zeros(20, int)).inputs)


def test_another_seed_draws_otherwise() -> None:
    texts = proteins([500] * 20)
    batches = [
        examples_of(texts, augmenter=RandomCrop(60), seed=seed).batch(np.arange(20), np.zeros(20, int))
        for seed in (0, 1)
    ]
    assert not torch.equal(batches[0].letters, batches[1].letters)


@pytest.mark.parametrize("shape", [(83,), (83, 3)])
def test_targets_and_weights_of_sequences_follow_their_records(shape: tuple[int, ...]) -> None:
    targets = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    weights = np.linspace(0, 2, 83, dtype=np.float32)
    units = np.array([9, 3, 77])
    batch = examples_of(proteins(LENGTHS), targets=targets, weights=weights).batch(units, np.zeros(3, int))
    assert batch.targets is not None and torch.equal(batch.targets, torch.from_numpy(targets[units]))
    assert batch.weights is not None and torch.equal(batch.weights, torch.from_numpy(weights[units]))


def indexed(texts: list[str], window: int | None = None, **fields: object) -> Examples:
    """Examples whose per-residue target is the place of the residue in the store."""
    return examples_of(texts, window, targets=np.arange(sum(map(len, texts))), per_residue=True, **fields)


def test_residue_targets_follow_their_residues_through_a_crop() -> None:
    examples = indexed(proteins(LENGTHS), augmenter=RandomCrop(30))
    batch = examples.batch(np.arange(83)[::-1].copy(), np.full(83, 2))
    targets = batch.targets
    assert targets is not None and targets.shape == batch.inputs.shape
    assert torch.equal(targets != IGNORED_CLASS, batch.residues)
    stored = torch.from_numpy(examples.store.letters)
    assert torch.equal(stored[targets[batch.residues]], batch.letters[batch.residues])
    record = np.repeat(np.arange(83), LENGTHS)[targets[batch.residues]]
    assert (record == batch.records[batch.segments[batch.residues]].numpy()).all()
    assert (batch.lengths.numpy() == np.minimum(LENGTHS[::-1], 30) + 2).all()


def test_each_residue_is_a_target_once_over_all_windows() -> None:
    examples = indexed(proteins(LENGTHS), window=25)
    units = np.random.default_rng(0).permutation(len(examples))
    answered = []
    for part in np.array_split(units, 7):
        batch = examples.batch(part, np.zeros(len(part), int))
        assert batch.targets is not None
        own = batch.targets != IGNORED_CLASS
        assert not (own & ~batch.residues).any()
        stored = torch.from_numpy(examples.store.letters)
        assert torch.equal(stored[batch.targets[own]], batch.letters[own])
        answered += batch.targets[own].tolist()
    assert sorted(answered) == list(range(sum(LENGTHS)))


@dataclass(frozen=True)
class Stutter:
    """Write each letter twice, the second one as inserted."""

    def __call__(self, packed: PackedLetters, draws: Draws) -> Augmented:
        origin = np.repeat(np.arange(len(packed.letters)), 2)
        letters = packed.letters[origin]
        origin[1::2] = -1
        return Augmented(PackedLetters(letters, packed.boundaries * 2), origin)


def test_inserted_letters_have_no_target() -> None:
    batch = indexed(["ACD", "WY"], augmenter=Stutter()).batch(np.array([1, 0]), np.zeros(2, int))
    assert bytes(batch.letters.tolist()) == b"\0WWYY\0\0AACCDD\0"
    x = IGNORED_CLASS
    assert batch.targets is not None and batch.targets.tolist() == [x, 3, x, 4, x, x, x, 0, x, 1, x, 2, x, x]


@pytest.mark.parametrize("weights", [None, np.array([1.0, 3.0], np.float32)])
def test_the_windows_of_a_record_share_its_weight(weights: NDArray[np.float32] | None) -> None:
    examples = examples_of(["A" * 100, "C" * 5], window=20, targets=np.zeros(2), weights=weights)
    assert len(examples) > 3
    batch = examples.batch(np.arange(len(examples)), np.zeros(len(examples), int))
    assert batch.weights is not None
    totals = torch.zeros(2).index_add(0, batch.records, batch.weights)
    assert torch.allclose(totals, torch.tensor([1.0, 1.0] if weights is None else [1.0, 3.0]))


def test_windows_with_residues_of_their_own_keep_the_weight_of_their_record() -> None:
    batch = indexed(["A" * 100, "C" * 5], window=20, weights=np.array([2.0, 3.0], np.float32)).batch(
        np.arange(3), np.zeros(3, int)
    )
    assert batch.weights is not None and batch.weights.tolist() == [2.0, 2.0, 2.0]


def test_batches_with_and_without_windows_are_joined() -> None:
    examples = examples_of(["C" * 5, "A" * 100], window=20, targets=np.array([0, 1]))
    assert len(examples) > 3
    parts = [examples.batch(np.array([unit]), np.zeros(1, int)) for unit in range(len(examples))]
    together = joined(parts).weights
    assert together is not None
    assert together.tolist() == pytest.approx([1.0, *[1 / (len(examples) - 1)] * (len(examples) - 1)])
    assert examples_of(["C" * 5, "A" * 10], window=20).batch(np.arange(2), np.zeros(2, int)).weights is None


def test_windows_of_one_record_are_drawn_apart() -> None:
    examples = examples_of(["A" * 100], window=20)
    batch = examples.batch(np.arange(len(examples)), np.zeros(len(examples), int))
    assert len(set(batch.keys.tolist())) == len(examples)
    assert set(batch.records.tolist()) == {0}


@pytest.mark.parametrize("tokens_per_step", [40, 333, 5000])
def test_num_steps_for_is_what_the_steps_take(tokens_per_step: int) -> None:
    examples = examples_of(proteins([5, 90, 33, 61, 12, 80, 47]))
    wanted = 10 * len(examples)
    number = num_steps_for(examples, tokens_per_step, wanted, seed=3)
    steps = list(islice(steps_from(examples, tokens_per_step, 0, 3), number))
    assert steps[-1].next_position >= wanted
    assert number == 1 or steps[-2].next_position < wanted


@pytest.mark.parametrize("words", ["length-growth:start=8", "shortest-first", None])
def test_many_steps_are_estimated_whatever_changes_along_the_way(words: str | None) -> None:
    plain = examples_of(proteins(LENGTHS), max_length=120)
    wanted = 100 * len(plain)
    examples = plain if words is None else with_curriculum(words, plain, wanted)
    number = num_steps_for(examples, 130, wanted, seed=3)
    counted = next(
        count for count, step in enumerate(steps_from(examples, 130, 0, 3), start=1) if step.next_position >= wanted
    )
    assert counted > 3000, "beyond the steps that are counted"
    assert number == pytest.approx(counted, rel=0.02)
