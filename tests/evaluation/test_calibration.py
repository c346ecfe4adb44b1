"""Calibration: errors by hand, temperatures where scipy finds them, a remark only where chance explains nothing."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from seqtrain.evaluation.calibration import (
    HOTTEST,
    best_temperature,
    best_temperatures,
    bins_of,
    reliability,
)
from seqtrain.io.run_directory import finite


def drawn(num_rows: int, num_classes: int, seed: int, temperature: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Classes drawn from the softmax of logits, and those logits times a temperature."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=(num_rows, num_classes))
    true = (softmax(logits, axis=1).cumsum(axis=1) < rng.random((num_rows, 1))).sum(axis=1)
    return true, logits * temperature


def test_bins_are_closed_above() -> None:
    assert bins_of(np.array([0, 0.1, 0.100001, 0.2, 1.0]), 10).tolist() == [0, 0, 1, 1, 9]


def test_the_error_is_that_of_the_paper() -> None:
    true, logits = drawn(500, 4, 0, 1.7)
    probabilities = softmax(logits, axis=1)
    found = reliability(true, probabilities, 15, test_set="valid")
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == true
    error = 0.0
    for number in range(15):
        inside = (confidence > number / 15) & (confidence <= (number + 1) / 15)
        assert found.counts[number] == inside.sum()
        if inside.any():
            assert found.confidence[number] == pytest.approx(confidence[inside].mean())
            assert found.observed[number] == pytest.approx(right[inside].mean())
            error += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
        else:
            assert np.isnan(found.confidence[number]) and np.isnan(found.observed[number])
    assert found.expected_calibration_error == pytest.approx(error)
    assert found.mean_confidence == pytest.approx(confidence.mean())
    assert found.share_right == pytest.approx(right.mean())
    assert found.cross_entropy == pytest.approx(-np.log(probabilities[np.arange(500), true]).mean())
    assert json.loads(json.dumps(finite(found.as_plain())))["counts"] == found.counts.tolist()


def test_labels_are_compared_cell_by_cell_and_unknown_ones_left_out() -> None:
    true = np.array([[1.0, 0], [np.nan, 1], [0, 0]])
    probabilities = np.array([[0.9, 0.1], [0.5, 0.6], [0.2, 0.1]])
    found = reliability(true, probabilities, 2)
    assert found.of_labels and found.counts.tolist() == [3, 2]
    assert found.confidence == pytest.approx([0.4 / 3, 0.75]) and found.observed == pytest.approx([0, 1])
    assert found.brier == pytest.approx(np.mean(np.square([0.1, 0.1, 0.4, 0.2, 0.1])))


@pytest.mark.parametrize("sharper", [0.4, 1.0, 2.5])
def test_the_temperature_is_where_scipy_finds_it_and_undoes_what_was_done(sharper: float) -> None:
    true, logits = drawn(4000, 5, 1, sharper)
    found = best_temperature(true, logits)
    assert found is not None

    def loss(log_temperature: float) -> float:
        return float(-log_softmax(logits / np.exp(log_temperature), axis=1)[np.arange(len(true)), true].mean())

    expected = minimize_scalar(loss, bounds=(-4, 4), method="bounded", options={"xatol": 1e-9})
    assert np.log(found) == pytest.approx(expected.x, abs=1e-4)
    assert loss(np.log(found)) <= expected.fun + 1e-12
    assert found == pytest.approx(sharper, rel=0.1)
    assert (np.argmax(logits / found, axis=1) == logits.argmax(axis=1)).all()


def test_no_temperature_is_best_where_all_is_right_and_the_highest_where_nothing_is_known() -> None:
    eye = np.eye(3)
    assert best_temperature(np.arange(3), eye) is None
    assert best_temperature(np.zeros(0, int), np.zeros((0, 3))) is None
    assert best_temperature(np.array([-100, -100]), eye[:2]) is None
    assert best_temperature(np.array([1, 2, 0]), eye) == HOTTEST
    masked, logits = drawn(300, 3, 2, 2.0)
    hidden = np.where(np.arange(300) % 3 == 0, -100, masked)
    assert best_temperature(hidden, logits) == best_temperature(masked[hidden >= 0], logits[hidden >= 0])


def test_each_label_has_its_own_temperature() -> None:
    rng = np.random.default_rng(3)
    logits = 2 * rng.normal(size=(6000, 4))
    true = (rng.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(float)
    true[:, 2] = 0  # nobody has it
    true[::7, 0] = np.nan
    scaled = logits * np.array([0.5, 3.0, 2.0, 1.0])
    found = best_temperatures(true, scaled)
    assert found[[0, 1, 3]] == pytest.approx([0.5, 3.0, 1.0], rel=0.12)
    known = ~np.isnan(true)
    cells = np.stack([np.zeros(int(known.sum())), scaled[known]], axis=1)
    assert found[2] == best_temperature(true[known] > 0.5, cells)
    true[:, 2] = np.arange(6000) < 9  # too few to go by
    assert best_temperatures(true, scaled)[2] == best_temperatures(true, scaled[:, [0, 1, 2, 3]])[2] != found[2]
    assert (best_temperatures(np.zeros((0, 2)), np.zeros((0, 2))) == 1).all()


def test_calibrated_probabilities_are_remarked_on_as_often_as_chance_says() -> None:
    above = sum(
        found.expected_calibration_error > found.chance_error
        for seed in range(200)
        for true, logits in [drawn(150, 3, 100 + seed)]
        for found in [reliability(true, softmax(logits, axis=1), seed=seed)]
    )
    assert 2 <= above <= 20  # of 200, 10 expected


def test_the_sentence_says_in_which_direction_and_what_to_do() -> None:
    true, logits = drawn(2000, 3, 4)
    sure = reliability(true, softmax(3 * logits, axis=1), test_set="test")
    assert sure.miscalibrated and "test: probabilities are too sure: " in sure.words()
    assert "--calibrate temperature" in sure.words()
    unsure = reliability(true, softmax(logits / 3, axis=1), temperature=3.0)
    assert "not sure enough" in unsure.words() and "--calibrate" not in unsure.words()
    fine = reliability(true, softmax(logits, axis=1))
    assert "nothing speaks against" in fine.words()
    labels = (np.random.default_rng(5).random((500, 3)) < 0.2).astype(float)
    assert "too high: 0.50 on average where 0." in reliability(labels, np.full((500, 3), 0.5)).words()


def test_nothing_to_look_at_is_nan_and_no_bins_are_refused() -> None:
    found = reliability(np.zeros(0, int), np.zeros((0, 3)))
    assert np.isnan([found.expected_calibration_error, found.brier, found.mean_confidence]).all()
    assert not found.miscalibrated and found.words()
    with pytest.raises(ValueError, match="num_bins"):
        reliability(np.zeros(1, int), np.ones((1, 2)) / 2, 0)
