"""Readings are chosen on validation records alone, refused without any, and leave the most probable class as it is."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from scipy.special import expit, softmax

from seqtrain.config import FinetuneConfig
from seqtrain.errors import InputError
from seqtrain.evaluation.thresholds import best_threshold
from seqtrain.fitting import Silent
from seqtrain.io.delimited import Table
from seqtrain.io.splits import Split
from seqtrain.labeled import LabeledData
from seqtrain.recipes.calibration import check_calibration, reliabilities, with_readings
from seqtrain.recipes.student_and_teacher import beside_teacher
from seqtrain.recipes.uncertainty import uncertainties, uncertainty_cells, uncertainty_header, worths_of
from seqtrain.scoring import MAIN_METRIC, score_set
from seqtrain.tasks import Classification, MultiLabel, Regression, ResidueClassification, Task, read_by
from tests.corpora import proteins, store_of

CLASSES = Classification(columns=("y",), classes=("no", "yes"))
MARKS = MultiLabel(columns=("y",), classes=("p", "q", "r"), separator=";")
RESIDUES = ResidueClassification(columns=("y",), classes=("E", "H"))
NUMBER = Regression(columns=("y",), mean=(3.0,), scale=(2.0,))
TASKS: tuple[Task, ...] = (CLASSES, MARKS, RESIDUES, NUMBER)
SETS = ("train", "valid", "test")


def data_of(task: Task, count: int = 90, sets: tuple[str, ...] = SETS, seed: int = 0) -> tuple[LabeledData, np.ndarray]:
    """Labelled data and logits that are three times too large."""
    rng = np.random.default_rng(seed)
    store = store_of(proteins([8] * count))
    rows = int(store.offsets[-1]) if task.per_residue else count
    logits = 2 * rng.normal(size=(rows, task.outputs))
    targets: Any
    if isinstance(task, MultiLabel):
        targets = (rng.random(logits.shape) < expit(logits)).astype(np.float32)
    elif isinstance(task, Regression):
        targets = (logits + rng.normal(size=logits.shape)).astype(np.float32)
    else:
        targets = (rng.random(rows) < softmax(logits, axis=1)[:, 1]).astype(np.int64)
    data = LabeledData(
        table=Table("t.csv", {}, []),
        store=store,
        rows=np.arange(count),
        labels=[["?"]] * count,
        task=task,
        targets=targets,
        weights=None,
        split=Split(np.array([sets[i % len(sets)] for i in range(count)]), "by hand"),
        warnings=[],
    )
    return data, (3 * logits).astype(np.float32)


def asked(**settings: Any) -> FinetuneConfig:
    return FinetuneConfig(table="t.csv", **settings)


@pytest.mark.parametrize("task", TASKS[:3], ids=lambda task: type(task).__name__)
def test_only_validation_records_decide_and_the_most_probable_stays(task: Task) -> None:
    data, outputs = data_of(task)
    config = asked(calibrate="temperature", threshold="mcc")
    chosen = with_readings(config, data, outputs, Silent()).task
    assert not isinstance(chosen, Regression) and chosen.temperature and chosen.threshold
    assert 2 < np.median(chosen.temperature) < 4.5
    elsewhere = np.repeat(data.split.sets != "valid", 8 if task.per_residue else 1)
    other = replace(data, targets=np.where(elsewhere[(...,) + (None,) * (data.targets.ndim - 1)], 1, data.targets))
    changed = np.where(elsewhere[:, None], -outputs, outputs).astype(np.float32)
    assert with_readings(config, other, changed, Silent()).task == chosen
    # Without a threshold, what is predicted is what it was.
    tempered = replace(chosen, threshold=())
    assert not isinstance(task, Regression)
    np.testing.assert_array_equal(task.decide(task.values(outputs)), tempered.decide(tempered.values(outputs)))
    plain, better = (reliabilities(replace(data, task=each), outputs, ["test"])[0] for each in (task, tempered))
    assert better.expected_calibration_error < plain.expected_calibration_error
    assert better.cross_entropy < plain.cross_entropy
    assert plain.temperature is None and better.temperature == pytest.approx(np.mean(tempered.temperature))


def test_thresholds_are_those_of_the_calibrated_probabilities() -> None:
    data, outputs = data_of(CLASSES)
    said: list[str] = []
    listener = Silent()
    object.__setattr__(listener, "say", said.append)
    chosen = with_readings(asked(calibrate="temperature", threshold="f1"), data, outputs, listener).task
    assert isinstance(chosen, Classification)
    valid = data.split.indices("valid")
    found = best_threshold(data.targets[valid] == 1, chosen.values(outputs[valid])[:, 1], "f1")
    assert chosen.threshold == (found.value,)
    assert said[0].startswith(f"temperature {chosen.temperature[0]:.3g}, chosen on the validation records")
    assert "threshold 0.49973 for" in replace(found, value=0.49973).words()
    assert said[1] == found.words() + " (from there on 'yes' is predicted)"


def test_a_student_with_a_threshold_stands_beside_its_teacher_without(monkeypatch: pytest.MonkeyPatch) -> None:
    data, outputs = data_of(CLASSES)
    threshold = replace(CLASSES, threshold=(0.999999,), temperature=(2.0,))
    teacher = SimpleNamespace(task=CLASSES, at_temperature=lambda temperature: teacher)
    monkeypatch.setattr("seqtrain.recipes.student_and_teacher.outputs_of", lambda *given: outputs)
    read = replace(data, task=threshold)
    scored = [score_set("test", threshold, read, outputs, data.split.indices("test"))]
    loop: Any = SimpleNamespace(seed=0)
    found, kept = beside_teacher(scored, read, outputs, cast(Any, teacher), cast(Any, None), loop)
    assert kept[0].student == kept[0].teacher != found[0].metrics["accuracy"] == scored[0].metrics["accuracy"]
    assert kept[0].low == kept[0].high == 0 and "both deciding at 0.5" in kept[0].words()
    assert "0.5" not in replace(kept[0], at_half=False, student=0.7, teacher=0.7).words()


def test_a_label_that_nobody_has_keeps_a_half_and_is_said() -> None:
    data, outputs = data_of(MARKS)
    data.targets[:, 1] = 0  # type: ignore[index]
    said: list[str] = []
    listener = Silent()
    object.__setattr__(listener, "say", said.append)
    chosen = with_readings(asked(threshold="f1"), data, outputs, listener).task
    assert isinstance(chosen, MultiLabel) and chosen.threshold[1] == 0.5 and chosen.temperature == ()
    assert "q 0.5" in said[0] and "0.5 for 1 that all or none of them have" in said[0]


@pytest.mark.parametrize("settings", [{"calibrate": "temperature"}, {"threshold": "f1"}])
def test_without_validation_records_nothing_is_chosen(settings: dict[str, str]) -> None:
    data, _ = data_of(CLASSES, sets=("train", "test"))
    with pytest.raises(InputError, match="chosen on validation records, and there are none"):
        check_calibration(asked(**settings), data)
    check_calibration(asked(threshold="0.4", calibrate="none"), data)
    labels, _ = data_of(MARKS)
    labels.targets[:] = 1  # type: ignore[index]
    with pytest.raises(InputError, match="has both values of any label"):
        check_calibration(asked(threshold="f1"), labels)


def test_all_right_gives_no_temperature_and_says_so() -> None:
    data, outputs = data_of(CLASSES)
    outputs = np.where(np.arange(2) == data.targets[:, None], 5, -5).astype(np.float32)
    said: list[str] = []
    listener = Silent()
    object.__setattr__(listener, "say", said.append)
    chosen = with_readings(asked(calibrate="temperature"), data, outputs, listener).task
    assert isinstance(chosen, Classification) and chosen.temperature == (1.0,)
    assert "all of them are right" in said[0]


def test_there_is_no_reliability_of_numbers() -> None:
    data, outputs = data_of(NUMBER)
    assert reliabilities(data, outputs, ["valid"]) == ()
    assert with_readings(asked(), data, outputs, Silent()) is data


@pytest.mark.parametrize("task", TASKS, ids=lambda task: type(task).__name__)
def test_uncertainties_are_in_the_units_of_the_labels_and_worth_what_they_are(task: Task) -> None:
    data, outputs = data_of(task)
    rng = np.random.default_rng(1)
    answers = outputs + rng.normal(size=(7, *outputs.shape)).astype(np.float32)
    found = uncertainties(task, answers)
    if isinstance(task, Regression):
        assert found["uncertainty"] == pytest.approx(2 * answers[..., 0].std(axis=0, ddof=1), rel=1e-5)
    else:
        assert list(found) == ["entropy", "mutual_information"]
    cells = uncertainty_cells(task, answers[:, :1])
    assert len(cells) == len(uncertainty_header(task))
    records = data.split.indices("test")
    worths = worths_of(data, outputs, found, records)
    assert [each.name for each in worths] == list(found)
    if isinstance(task, Classification):
        wrong = outputs[records].argmax(axis=1) != data.targets[records]
        assert worths[0].risk == pytest.approx(wrong.mean())
        assert worths[0].rank_correlation > 0.2
    if isinstance(task, Regression):
        errors = np.abs(task.in_units(data.targets[records]) - task.values(outputs[records]))
        assert worths[0].risk == pytest.approx(errors.mean())


@pytest.mark.parametrize("task", (CLASSES, MARKS), ids=lambda task: type(task).__name__)
def test_a_threshold_decides_scores_but_not_the_comparison_with_simple_models(task: Task) -> None:
    data, outputs = data_of(task)
    records = data.split.indices("test")
    simple = {"a simple model": task.values(outputs[records]) * 0.9 + 0.05}
    low = read_by(task, (), [0.05] * (task.outputs if isinstance(task, MultiLabel) else 1))
    assert not isinstance(low, Regression)
    before = score_set("test", task, data, outputs, records, baselines=simple)
    after = score_set("test", low, replace(data, task=low), outputs, records, baselines=simple)
    main = MAIN_METRIC[type(task)]
    decided = low.decide(low.values(outputs[records]))
    if isinstance(task, Classification):
        assert after.metrics[main] == pytest.approx((decided == data.targets[records]).mean())
    assert after.metrics[main] != before.metrics[main]
    low_end, high_end = after.intervals[main]
    assert low_end <= after.metrics[main] <= high_end
    assert after.baselines == before.baselines and after.lead == before.lead
    assert any(line.startswith("deciding at 0.5, as simple models do: ") for line in after.words(low))
    assert not any("deciding" in line for line in before.words(task))
