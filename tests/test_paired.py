"""Two predictions of the same records: words, directions, and ways to one number."""

from __future__ import annotations

import numpy as np
import pytest

from seqtrain.evaluation import metrics
from seqtrain.paired import Difference, Said, chance_of_ranks, difference, p_in_words
from seqtrain.tasks import Classification, MultiLabel, Regression, ResidueClassification, Task

NAN = float("nan")


@pytest.mark.parametrize(
    ("low", "high", "p", "metric", "sign"),
    [
        (0.1, 0.2, 0.01, "accuracy", 1),
        (-0.2, -0.1, 0.01, "accuracy", -1),
        (-0.2, -0.1, 0.01, "mae", 1),
        (0.1, 0.2, 0.01, "mse[y]", -1),
        (0.1, 0.2, 0.06, "accuracy", 0),
        (-0.1, 0.2, 0.01, "accuracy", 0),
        (NAN, NAN, 0.01, "accuracy", 0),
        (0.1, 0.2, NAN, "accuracy", 0),
    ],
)
def test_both_interval_and_test_must_say_so(low: float, high: float, p: float, metric: str, sign: int) -> None:
    assert Difference(low=low, high=high, p=p).sign(metric) == sign


def test_words_of_p() -> None:
    assert [p_in_words(p) for p in (0.00099, 0.0123, 0.31, 1.0, NAN)] == [
        "p < 0.001",
        "p = 0.012",
        "p = 0.31",
        "p = 1",
        "p not defined",
    ]
    assert "too few records" in Difference(low=NAN, high=NAN, p=NAN).words()


def test_every_metric_of_every_task_has_an_interval_and_p() -> None:
    rng = np.random.default_rng(0)
    classes = Classification(columns=("y",), classes=("a", "b"))
    labels = MultiLabel(columns=("y",), classes=("a", "b", "c"), separator=";")
    residues = ResidueClassification(columns=("y",), classes=("E", "H"))
    numbers = Regression(columns=("y", "z"), mean=(0.0, 0.0), scale=(1.0, 1.0))
    true_class, true_labels = rng.integers(0, 2, 60), rng.integers(0, 2, (60, 3)).astype(float)
    true_numbers = rng.normal(size=(60, 2))
    groups = np.repeat(np.arange(12), 5)

    def of_classes(t: np.ndarray, said: Said) -> dict[str, float]:
        return metrics.classification_metrics(t, said.values, said.decided)

    def of_labels(t: np.ndarray, said: Said) -> dict[str, float]:
        return metrics.multilabel_metrics(t, said.values, said.decided)

    def of_numbers(t: np.ndarray, said: Said) -> dict[str, float]:
        return metrics.multi_regression_metrics(t, said.values, ["y", "z"])

    cases: list[tuple[Task, np.ndarray, np.ndarray | None, object]] = [
        (classes, true_class, None, of_classes),
        (residues, true_class, groups, of_classes),
        (labels, true_labels, None, of_labels),
        (numbers, true_numbers, None, of_numbers),
    ]
    for task, true, records, measured in cases:
        width = task.outputs
        truth = np.eye(2)[true] if true.ndim == 1 else true
        one, other = (Said.by(task, share * truth + (1 - share) * rng.random((60, width))) for share in (0.9, 0.1))
        for metric in measured(true, one):
            found = difference(
                task,
                metric,
                true,
                one,
                other,
                measured=lambda t, said, metric=metric, measured=measured: measured(t, said)[metric],
                groups=records,
                num_resamples=40,
                seed=0,
            )
            gap = measured(true, one)[metric] - measured(true, other)[metric]
            assert found.low - 1e-9 <= gap <= found.high + 1e-9, (task.words, metric)
            assert 0 < found.p <= 1, (task.words, metric)


def test_chance_of_ranks() -> None:
    rng = np.random.default_rng(1)
    true = rng.normal(size=(50, 2))
    true[:10, 1] = NAN
    noise = rng.normal(size=(50, 2))
    related = chance_of_ranks(true, np.nan_to_num(true) + noise, num_shuffles=300, seed=0)
    unrelated = chance_of_ranks(true, noise, num_shuffles=300, seed=0)
    assert related < 0.01 < 0.05 < unrelated
    assert np.isnan(chance_of_ranks(true, np.ones((50, 2)), num_shuffles=10, seed=0))
    assert np.isnan(chance_of_ranks(true, np.full((50, 2), NAN), num_shuffles=10, seed=0))
