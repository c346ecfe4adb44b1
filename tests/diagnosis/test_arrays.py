"""Checks of data, curves and updates, against closed forms."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from torch import nn

from seqtrain.diagnosis import (
    Curves,
    Gain,
    Remark,
    Watch,
    best_constant,
    duplicates,
    judge_capacity,
    judge_fit,
    judge_learning,
    judge_rate,
    judge_updates,
    labels_of_residues,
    labels_of_sequences,
    leaking_labels,
    masked_residues,
    order_of_examples,
)
from seqtrain.diagnosis.labels import above_chance
from seqtrain.diagnosis.leaks import predicted
from seqtrain.diagnosis.remarks import worst_first
from seqtrain.diagnosis.updates import EXPONENTS, layer_of, ratios_by_layer
from seqtrain.losses import BinaryCrossEntropy, CrossEntropy, MeanAbsoluteError, MeanSquaredError
from tests.corpora import proteins

RNG = np.random.default_rng(5)


def test_remarks_are_plain_values_and_lines() -> None:
    remark = Remark(severity="warning", check="order", words="they are not shuffled", advice="shuffle them", value=0.9)
    assert Remark.from_json(json.loads(json.dumps(remark.to_json()))) == remark
    assert remark.line == "warning: order: they are not shuffled; shuffle them"
    fine = Remark(severity="fine", check="order", words="as by chance", value=math.nan)
    assert fine.to_json()["value"] is None and worst_first([fine, remark]) == [remark, fine]


def test_order() -> None:
    classes = np.repeat([0, 1, 2], 60)
    shuffled = RNG.permutation(180)
    assert order_of_examples(shuffled, classes).severity == "fine"
    assert order_of_examples(shuffled, classes.astype(np.float64)).severity == "fine"
    in_order = order_of_examples(np.arange(180))
    assert in_order.severity == "warning" and "not shuffled" in in_order.words
    backwards = order_of_examples(np.arange(180)[::-1])
    assert backwards.severity == "warning"
    # Shuffled within each class only: no neighbour of the file, but runs of labels.
    within = np.concatenate([RNG.permutation(60), 60 + RNG.permutation(60), 120 + RNG.permutation(60)])
    for labels in (classes, classes + RNG.normal(0, 0.1, 180)):
        runs = order_of_examples(within, labels)
        assert runs.severity == "warning" and "more alike" in runs.words
    assert order_of_examples(np.arange(4), classes[:4]).severity == "fine"


def test_labels_that_depend_on_sequences_and_labels_that_do_not() -> None:
    texts = proteins([25] * 80, seed=1) + ["W" * 5 + text for text in proteins([25] * 80, seed=2)]
    classes = np.repeat([0, 1], 80)
    indicators = np.eye(2)[classes]
    assert labels_of_sequences(texts, indicators).severity == "fine"
    scores = [labels_of_sequences(texts, indicators[RNG.permutation(160)], seed=i).value for i in range(8)]
    assert max(float(score or 0) for score in scores) < 3
    assert labels_of_sequences(texts, RNG.normal(size=(160, 1))).severity == "note"


def test_permutations_have_a_mean_of_0_and_a_deviation_of_1() -> None:
    features = RNG.normal(size=(60, 5))
    scores = [above_chance(features @ features.T, RNG.normal(size=(60, 1)), seed=i) for i in range(60)]
    assert abs(np.mean(scores)) < 0.5 and 0.6 < np.std(scores) < 1.5
    assert above_chance(features @ features.T, features[:, :1]) > 5


def test_labels_of_residues() -> None:
    texts = proteins([30] * 20, seed=3)
    letters = np.frombuffer("".join(texts).encode(), np.uint8)
    positions = np.arange(0, len(letters), 2)
    helix = np.isin(letters, np.frombuffer(b"ACDEFGHIKL", np.uint8)).astype(int)[positions]
    assert labels_of_residues(texts, np.eye(2)[helix], positions).severity == "fine"
    random = np.eye(2)[RNG.integers(0, 2, len(positions))]
    assert labels_of_residues(texts, random, positions).severity == "note"


def test_leaks() -> None:
    texts, labels = proteins(RNG.integers(20, 40, 90).tolist(), seed=4), ["a", "b", "c"] * 30
    none = leaking_labels(texts, labels, {"column 'batch'": [str(i % 7) for i in range(90)]})
    assert [each.severity for each in none] == ["fine"]
    for tagged, what in (
        (
            [{"a": "MG", "b": "MK", "c": "MR"}[label] + text for text, label in zip(texts, labels, strict=True)],
            "first 2",
        ),
        ([text + {"a": "H", "b": "K", "c": "R"}[label] for text, label in zip(texts, labels, strict=True)], "last 1"),
        (["M" * (9 + "abc".index(label)) for label in labels], "the length"),
    ):
        found = leaking_labels(tagged, labels, {})
        assert found[0].severity == "warning" and what in found[0].words, found
    beside = leaking_labels(texts, labels, {"column 'plate'": [f"plate {label}" for label in labels]})
    assert beside[0].severity == "note" and "'plate'" in beside[0].words
    numbers = np.array([float(len(text)) for text in texts])
    assert leaking_labels(texts, numbers, {})[0].severity == "warning"


def test_a_feature_is_judged_by_the_other_records_with_it() -> None:
    assert predicted([str(i) for i in range(50)], ["a", "b"] * 25) <= 0  # names alone predict nothing
    assert predicted(["x"] * 50, ["a", "b"] * 25) == 0
    assert predicted(["x", "y"] * 25, ["a", "b"] * 25) == 1
    assert predicted(["x", "y"] * 25, np.array([1.0, 5.0] * 25)) == pytest.approx(1)


def test_duplicates() -> None:
    texts = proteins([20] * 40, seed=6)
    sets = ["train"] * 30 + ["test"] * 10
    assert [each.severity for each in duplicates(texts, ["a"] * 40, sets, "train")] == ["fine"]
    copied = texts[:30] + texts[:5] + texts[35:]
    found = duplicates(copied, ["a"] * 40, sets, "train")
    assert found[0].severity == "warning" and found[0].words.startswith("5 of 10")
    torn = duplicates([*texts[:29], texts[0], *texts[30:]], ["a"] * 29 + ["b"] * 11, sets, "train")
    assert torn[0].severity == "note" and torn[0].words.startswith("1 of 29")


def test_masks_of_residues() -> None:
    classes = RNG.integers(0, 3, 400)
    counted = RNG.random(400) < 0.8
    placed = np.where(counted, classes, 0)  # what was not measured has one class
    good, bad = np.where(counted, placed, -100), np.where(counted, -100, placed)
    assert masked_residues(good, placed).severity == "fine"
    turned = masked_residues(bad, placed)
    assert turned.severity == "warning" and "inverted" in turned.words
    assert masked_residues(np.where(RNG.random(400) < 0.1, classes, -100), classes).severity == "note"


@pytest.mark.parametrize("shares", [(0.5, 0.3, 0.2), (0.9, 0.05, 0.05)])
def test_the_best_constant_of_classes_has_the_loss_of_their_entropy(shares: tuple[float, ...]) -> None:
    targets = np.repeat([0, 1, 2], [round(100 * share) for share in shares])
    constant = torch.from_numpy(best_constant(CrossEntropy(), targets, None, 3)).expand(100, 3)
    loss, count = CrossEntropy()(constant, torch.from_numpy(targets))
    assert float(loss / count) == pytest.approx(-sum(p * math.log(p) for p in shares), abs=2e-3)


def test_the_best_constants_of_numbers_and_labels() -> None:
    values = np.array([[0.0], [1.0], [5.0]], np.float32)
    assert best_constant(MeanSquaredError(), values, None, 1)[0] == pytest.approx(2, abs=0.02)
    assert best_constant(MeanAbsoluteError(), values, None, 1)[0] == pytest.approx(1, abs=0.05)
    weights = np.array([1.0, 1.0, 0.0], np.float32)
    assert best_constant(MeanSquaredError(), values, weights, 1)[0] == pytest.approx(0.5, abs=0.02)
    labels = np.array([[1.0, 0.0]] * 3 + [[0.0, 0.0]], np.float32)
    shares = 1 / (1 + np.exp(-best_constant(BinaryCrossEntropy(), labels, None, 2)))
    assert shares[0] == pytest.approx(0.75, abs=0.01) and shares[1] < 0.01


def curves(train: object, valid: object = (1.0, 0.8, 0.7), guess: float = 1.1) -> Curves:
    losses, held_out = np.asarray(train, np.float64), np.asarray(valid, np.float64)
    return Curves(
        train_steps=np.arange(1.0, len(losses) + 1),
        train=losses,
        valid_steps=np.linspace(0, len(losses), len(held_out)),
        valid=held_out,
        train_guess=guess,
        valid_guess=guess,
    )


FALLING = np.linspace(1.1, 0.2, 60)
SETTLED = np.concatenate([np.linspace(1.1, 0.2, 20), np.full(40, 0.2)])
CLEAR = Gain(mean=0.5, error=0.05, guess=1.1)
UNCLEAR = Gain(mean=0.01, error=0.05, guess=1.1)


def test_curves_are_read_from_the_log() -> None:
    events = [
        {"event": "valid", "step": 0, "loss": 1.0},
        {"event": "train", "step": 1, "loss": 0.9},
        {"event": "train", "step": 2, "loss": None},
        {"event": "curriculum", "step": 2},
    ]
    read = Curves.of(events, train_guess=1.0, valid_guess=1.0)
    assert read.train.tolist() == [0.9] and read.valid.tolist() == [1.0]


def test_rates_that_are_too_high() -> None:
    assert judge_rate(curves(FALLING)).severity == "fine"
    assert judge_rate(curves(np.linspace(1.1, 4, 60))).severity == "warning"
    jumping = SETTLED.copy()
    jumping[10::10] = 5.0
    assert "jumped" in judge_rate(curves(jumping)).words and judge_rate(curves(jumping)).severity == "warning"
    assert judge_rate(curves([1.0, 0.9])).severity == "fine"


def test_what_was_learnt() -> None:
    assert judge_learning(curves(FALLING), CLEAR, 9.0).severity == "fine"
    assert judge_learning(curves(FALLING), None, None).severity == "fine"
    shuffled = judge_learning(curves(FALLING), UNCLEAR, 0.4)
    assert shuffled.check == "labels" and shuffled.severity == "warning" and "shuffled" in shuffled.words
    by_heart = judge_learning(curves(FALLING), UNCLEAR, 9.0)
    assert by_heart.check == "learning" and "training records only" in by_heart.words
    nothing = judge_learning(curves(np.full(60, 1.1)), UNCLEAR, 9.0)
    assert nothing.severity == "warning" and "nothing was learnt" in nothing.words


def test_gains_have_the_standard_error_of_their_mean() -> None:
    gain = Gain.of(np.array([0.5, 1.0, 0.5, np.nan]), np.array([1.0, 1.0, 1.0, 1.0]))
    assert gain.mean == pytest.approx(1 / 3) and gain.error == pytest.approx(
        np.std([0.5, 0, 0.5], ddof=1) / math.sqrt(3)
    )
    assert not UNCLEAR.is_clear and CLEAR.is_clear and not Gain.of(np.ones(1), np.ones(1)).is_clear


def test_under_and_overfitting() -> None:
    assert "too short" in judge_fit(curves(FALLING)).words
    assert judge_fit(curves(SETTLED)).severity == "fine"
    turned = judge_fit(curves(SETTLED, valid=(1.0, 0.5, 0.9)))
    assert "turned at step 30" in turned.words and "--stop-early" in turned.advice


def test_capacity() -> None:
    plateau = np.concatenate([np.linspace(1.1, 0.9, 20), np.full(40, 0.9)])
    assert "larger --size" in judge_capacity(curves(plateau, valid=(1.0, 0.9, 0.9)), 1000, 1000).advice
    assert "smaller --size" in judge_capacity(curves(SETTLED, valid=(1.0, 0.9, 0.9)), 10**7, 100).advice
    assert judge_capacity(curves(SETTLED, valid=(1.0, 0.3, 0.21)), 1000, 1000).severity == "fine"


def stepped(model: nn.Module, rate: float, num_steps: int = 6) -> Watch:
    """Gradient descent on the sum of all parameters, watched."""
    watch = Watch(network=model, num_steps=num_steps)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    for step in range(num_steps):
        optimizer.zero_grad()
        sum(parameter.sum() for parameter in model.parameters() if parameter.requires_grad).backward()  # type: ignore[union-attr]
        watch.before_update(model, step)
        optimizer.step()
        watch.after_update(model, step, dict.fromkeys(model.parameters(), rate))
    return watch


def two_layers() -> nn.ModuleDict:
    model = nn.ModuleDict({"body": nn.ModuleDict({"stem": nn.Linear(4, 4)}), "head": nn.Linear(4, 2)})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1.0)
    return model


def test_update_ratios_in_closed_form() -> None:
    watch = stepped(two_layers(), 1e-3)
    # A gradient of 1 everywhere moves weights of 1 by the rate, of their length too.
    assert watch.moved[0].ratio == pytest.approx(1e-3, rel=1e-4) and watch.moved[0].learning_rate == 1e-3
    assert watch.moved[0].gradient == pytest.approx(math.sqrt(4 * 4 + 4))
    assert set(ratios_by_layer(watch)) == {"body.stem", "head"}
    assert {remark.severity for remark in judge_updates(watch)} == {"fine"}
    counts = watch.exponents["head"]
    assert counts.sum() == 10 and counts[np.searchsorted(EXPONENTS, 0.0, side="right") - 1] == 10


@pytest.mark.parametrize(("rate", "words"), [(0.5, "too high"), (1e-7, "too low")])
def test_rates_by_their_updates(rate: float, words: str) -> None:
    remark = judge_updates(stepped(two_layers(), rate))[0]
    assert remark.severity == "warning" and words in remark.words


def test_parameters_that_no_gradient_reaches() -> None:
    model = two_layers()
    model["unused"] = nn.Linear(3, 3)
    watch = Watch(network=model, num_steps=1)
    model["head"](model["body"]["stem"](torch.ones(1, 4))).sum().backward()
    watch.before_update(model, 0)
    watch.after_update(model, 0, {})
    missed = next(remark for remark in judge_updates(watch) if remark.check == "no gradient")
    assert missed.severity == "warning" and "unused.weight" in missed.words
    model["unused"].requires_grad_(False)
    again = Watch(network=model, num_steps=1)
    again.before_update(model, 0)
    again.after_update(model, 0, {})
    assert next(remark for remark in judge_updates(again) if remark.check == "no gradient").severity == "fine"


def test_trials_on_copies_are_passed_over() -> None:
    watch = Watch(network=two_layers(), num_steps=3)
    other = two_layers()
    watch.before_update(other, 0)
    watch.after_update(other, 0, {})
    assert not watch.moved and judge_updates(watch) == []


def test_layers_by_the_names_of_parameters() -> None:
    assert layer_of("body.layers.3.query.weight") == "body.layers.3"
    assert layer_of("body.blocks.0.up.bias") == "body.blocks.0"
    assert layer_of("body.embedding.weight") == "body.embedding"
    assert layer_of("head.output.weight") == "head"
