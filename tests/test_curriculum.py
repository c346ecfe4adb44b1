"""What is shown when: easy examples first, records by weight, and crops that grow."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqtrain.bandit import Exp3S
from seqtrain.batching import microbatches, steps_from
from seqtrain.config import FinetuneConfig
from seqtrain.curriculum import EasiestFirst, LengthGrowth, ShortestFirst
from seqtrain.errors import InputError
from seqtrain.fitting import Silent
from seqtrain.orders import ByProgress, EasyFirst, Weighted
from seqtrain.recipes.finetuning import prepare_finetuning
from seqtrain.recipes.training_examples import with_curriculum
from tests.corpora import examples_of, proteins

LENGTHS = [12, 80, 40, 7, 25, 60, 33, 18]
EXAMPLES = examples_of(proteins(LENGTHS), max_length=100)


def test_weighted_records_come_in_proportion_and_never_more_than_one_off() -> None:
    weights = np.array([0.0, 1.0, 2.5, 0.3, 4.0])
    order = Weighted(weights, seed=1)
    units, epochs = order(np.arange(5 * 4000))
    counts = np.bincount(units, minlength=5)
    np.testing.assert_allclose(counts / len(units), weights / weights.sum(), atol=0.004)
    assert len(np.unique(epochs)) == len(epochs), "the same record twice is augmented differently"
    for epoch in units.reshape(-1, 5)[:50]:
        expected = 5 * weights / weights.sum()
        assert (np.abs(np.bincount(epoch, minlength=5) - expected) < 1).all()
    assert np.array_equal(order(np.arange(700, 720))[0], units[700:720]), "a function of the position alone"


@pytest.mark.parametrize("weights", [[0.0, 0.0], [1.0, -1.0], [1.0, np.nan]])
def test_impossible_weights_are_refused(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="weights"):
        Weighted(np.array(weights), seed=0)


def test_easy_examples_come_first_and_all_of_them_later() -> None:
    ranking = np.arange(100)[::-1].copy()
    order = EasyFirst(ranking, first_fraction=0.1, until=5000, seed=2)
    units, epochs = order(np.arange(5200))
    rank = np.argsort(ranking)[units]
    assert rank[:300].max() <= 15 and rank[4000:5000].max() >= 80
    bound = np.ceil((0.1 + 0.9 * np.arange(5000) / 5000) * 100)
    assert (rank[:5000] < bound).all()
    assert rank[2400:2600].mean() == pytest.approx(0.55 * 100 / 2, rel=0.1), "evenly from what is known"
    assert sorted(units[5000:5100]) == list(range(100)) == sorted(units[5100:5200])
    assert len(set(zip(units.tolist(), epochs.tolist(), strict=True))) == 5200, "draws never repeat"


def test_shortest_first_draws_from_the_shortest() -> None:
    examples = with_curriculum("shortest-first:until=0.5,first_fraction=0.25", EXAMPLES, 1000)
    step = next(steps_from(examples, 200, 0, 0))
    assert set(np.array(LENGTHS)[step.units].tolist()) == {7, 12}


def test_crops_grow_and_end_at_full_length() -> None:
    examples = with_curriculum("length-growth:start=10,until=0.5", EXAMPLES, 400)
    steps = list(islice(steps_from(examples, 300, 0, 0), 60))
    crops = [step.cropped_to for step in steps]
    assert crops[0] == 10 and crops[-1] is None
    grown = [crop for crop in crops if crop is not None]
    assert grown == sorted(grown) and max(grown) <= 100
    positions = [0, *(step.next_position for step in steps)]
    assert all((crop is None) == (position >= 200) for crop, position in zip(crops, positions, strict=False))
    for step in steps[:20]:
        parts = list(microbatches(step, examples, 100))
        longest = max(int(part.lengths.max()) for part in parts)
        assert step.cropped_to is None or longest <= step.cropped_to + 2
        assert sum(len(part.inputs) for part in parts) == examples.tokens_of(step.units, step.cropped_to).sum() <= 300
    again = list(islice(steps_from(examples, 300, positions[7], 0, first_step=7), 5))
    assert [each.cropped_to for each in again] == crops[7:12], "a resumed run crops as the unbroken one"


@pytest.mark.parametrize("words", ["length-growth:start=10,until=0.7", "shortest-first:until=0.7"])
def test_a_budget_of_steps_ends_the_curriculum_in_time(words: str, tmp_path: Path) -> None:
    texts = proteins([20 + 4 * number for number in range(40)], seed=6)
    rows = (f"{text},{i % 2},{'valid' if i > 35 else 'train'}\n" for i, text in enumerate(texts))
    table = "sequence,label,set\n" + "".join(rows)
    examples = prepared(tmp_path, table, curriculum=words, steps=60, epochs=None, tokens_per_step=500)
    steps = list(islice(steps_from(examples, 500, 0, 0), 60))
    consumed = steps[-1].next_position
    over = [
        step.cropped_to is None if "growth" in words else bool((step.epochs >= examples.order.until).all())
        for step in steps
    ]
    ends = steps[over.index(True) - 1].next_position
    assert ends / consumed == pytest.approx(0.7, abs=0.05), "of the examples that the training consumes"
    # A step holds the whole table at most, however much is asked for.
    less = prepared(tmp_path, table, curriculum=words, steps=60, epochs=None, tokens_per_step=10**6)
    budget = int(less.num_tokens.sum())
    position = next(islice(steps_from(less, budget, 0, 0), 59, None)).next_position
    if less.length_at is not None:
        assert less.length_at(position) is None
    else:
        assert less.order.until < position


def test_growing_crops_reach_both_ends() -> None:
    examples = with_curriculum("length-growth:start=5,until=1", examples_of(proteins([9]), max_length=9), 1e9)
    text = examples.store.letters.tobytes()
    seen = set()
    for epoch in range(200):
        batch = examples.batch(np.array([0]), np.array([epoch]), 5)
        seen.add(text.index(bytes(batch.letters[batch.residues].tolist())))
    assert seen == {0, 1, 2, 3, 4}


TABLE = "sequence,label,noise,weight,set\n" + "".join(
    f"{text},{number % 2},{10 - number},{1 + number},{'train' if number < 6 else 'valid'}\n"
    for number, text in enumerate(proteins([10] * 8, seed=5))
)


def prepared(folder: Path, text: str = TABLE, **settings: object) -> Any:
    table = folder / "t.csv"
    table.write_text(text)
    config = FinetuneConfig(
        table=str(table), target=("label",), split_column="set", size="100K", output=str(folder / "run"),
        **{"epochs": 2, **settings},  # type: ignore[arg-type]
    )  # fmt: skip
    return prepare_finetuning(config, Silent()).training.examples


def test_a_column_can_say_what_is_easy(tmp_path: Path) -> None:
    examples = prepared(tmp_path, curriculum="easiest-first:column=noise,first_fraction=0.2")
    order = examples.order  # type: ignore[attr-defined]
    assert isinstance(order, EasyFirst) and order.ranking.tolist() == [5, 4, 3, 2, 1, 0]


def test_groups_by_length_are_of_equal_size() -> None:
    lengths = [30, 10, 20, 40, 50, 60, 15, 25, 35, 45, 55]
    examples = with_curriculum("automatic:groups=3,rate=0.2,epsilon=0.1", examples_of(proteins(lengths), seed=4), 99)
    order = examples.order
    assert isinstance(order, ByProgress) and order.bandit == Exp3S(rate=0.2, epsilon=0.1, seed=4)
    ranks = np.argsort(np.argsort(lengths))
    assert order.groups.tolist() == (ranks * 3 // 11).tolist() and order.sizes == [4, 4, 3]
    assert order.names == ("length 10 to 25 (group 1)", "length 30 to 45 (group 2)", "length 50 to 60 (group 3)")


def test_groups_by_a_column_of_classes_or_numbers(tmp_path: Path) -> None:
    order = prepared(tmp_path, curriculum="automatic:by=label").order
    assert order.names == ("label 0", "label 1") and order.groups.tolist() == [0, 1, 0, 1, 0, 1]
    order = prepared(tmp_path, curriculum="automatic:by=noise,groups=2").order
    assert order.names == ("noise 5 to 7 (group 1)", "noise 8 to 10 (group 2)")
    assert order.groups.tolist() == [1, 1, 1, 0, 0, 0]


def test_weights_are_sampled_instead_of_multiplied(tmp_path: Path) -> None:
    examples = prepared(tmp_path, weight_column="weight", sampling="weights")
    assert isinstance(examples.order, Weighted)  # type: ignore[attr-defined]
    assert examples.order.weights.tolist() == [1, 2, 3, 4, 5, 6]  # type: ignore[attr-defined]
    assert examples.weights is None  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"curriculum": "easiest-first:column=nois"}, "no such column; there are sequence, label"),
        ({"curriculum": "easiest-first:column=sequence"}, "must hold a number in every row"),
        ({"curriculum": "easiest-first"}, "needs column"),
        ({"curriculum": "shortest"}, "did you mean 'shortest-first'"),
        ({"curriculum": "shortest-first", "sampling": "balanced"}, "leave one of the two out"),
        ({"curriculum": "automatic:by=nois"}, "no such column; there are sequence, label"),
        ({"curriculum": "automatic:groups=1"}, "groups is 1; give a whole number from 2 to 50"),
        ({"curriculum": "automatic:groups=7"}, "6 training examples are too few for 7 groups"),
        ({"curriculum": "automatic:by=set"}, "the column has 1 different values among the training records; name"),
        ({"curriculum": "automatic:epsilon=0"}, "epsilon is 0; give a fraction above 0"),
        ({"curriculum": "automatic:rate=0"}, "rate is 0; give a number above 0"),
        ({"curriculum": "automatic", "sampling": "balanced"}, "leave one of the two out"),
        ({"curriculum": "automatic", "mix": "mixup"}, "a step shows one group, and --mix joins several"),
        ({"sampling": "weights"}, "name their --weight-column"),
        ({"mix": "mixup:alpha=0"}, "--mix mixup:alpha=0: mixup: alpha is 0"),
        ({"mix": "cutmix", "model": "residual-cnn:input=ngram,n=2"}, "n-grams cannot be mixed"),
        ({"mix": "mixup", "loss": "dice"}, "compares records with each other"),
        ({"mix": "mixup", "task": "residue", "target": ("residues",)}, "one label each"),
        ({"mix": "remix", "target": ("noise",), "task": "regression"}, "use mixup"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, settings: dict[str, object], words: str) -> None:
    lines = TABLE.splitlines()
    text = "\n".join([f"{lines[0]},residues", *(f"{line},{'HE' * 5}" for line in lines[1:])])
    table = tmp_path / "t.csv"
    table.write_text(text + "\n")
    given = {"target": ("label",), "split_column": "set", "size": "100K", "epochs": 2, **settings}
    config = FinetuneConfig(table=str(table), output=str(tmp_path / "run"), **given)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=words):
        prepare_finetuning(config, Silent())


def test_a_fasta_has_no_columns() -> None:
    with pytest.raises(InputError, match="a FASTA has no columns"):
        with_curriculum("easiest-first:column=x", EXAMPLES, 10)
    with pytest.raises(InputError, match=r"a FASTA has no columns; use .* automatic:by=length"):
        with_curriculum("automatic:by=x", EXAMPLES, 10)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ShortestFirst(until=0),
        lambda: EasiestFirst(column="x", first_fraction=2),
        lambda: LengthGrowth(start=0),
        lambda: LengthGrowth(until=1.5),
    ],
)
def test_impossible_settings_are_refused(make: object) -> None:
    with pytest.raises(InputError):
        make()  # type: ignore[operator]
