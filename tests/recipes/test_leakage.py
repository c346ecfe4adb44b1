"""Scores by nearness to the training records are those of just these records."""

from __future__ import annotations

import numpy as np
import pytest

from seqtrain.alphabet import PROTEIN
from seqtrain.config import FinetuneConfig
from seqtrain.evaluation.leakage import Leakage
from seqtrain.io.columns import find_columns
from seqtrain.io.delimited import Table
from seqtrain.io.ledger import Ledger
from seqtrain.io.records import RecordReader
from seqtrain.labeled import LabeledData, read_labeled
from seqtrain.recipes.leakage import leakage_of
from seqtrain.tasks import TaskKind
from tests.corpora import proteins

TRAIN = proteins([40] * 30, seed=1)
STRANGERS = proteins([40] * 25, seed=2)


def labeled(kind: TaskKind, labels: list[str], sets: list[str] | None = None) -> LabeledData:
    """29 training records and one to validate; of the test records 25 are copies and 25 strangers."""
    columns = {
        "sequence": [*TRAIN, *TRAIN[:25], *STRANGERS],
        "y": labels,
        "set": sets or ["train"] * 29 + ["valid"] + ["test"] * 50,
    }
    table = Table("t.csv", columns, list(range(2, 82)))
    found = find_columns(table, targets=["y"])
    return read_labeled(table, found, kind, RecordReader(PROTEIN, "error", Ledger()), seed=0)


def found_in(data: LabeledData, outputs: np.ndarray, **settings: object) -> Leakage | None:
    said: list[str] = []
    return leakage_of(FinetuneConfig(**settings), data, outputs.astype(np.float32), said.append)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def classes() -> LabeledData:
    return labeled("classification", list("ab" * 40))


def test_each_band_has_the_score_of_its_records(classes: LabeledData) -> None:
    # The copies are predicted right and the strangers wrong.
    outputs = np.eye(2)[np.asarray(classes.targets, np.int64)]
    outputs[55:] = outputs[55:, ::-1]
    found = found_in(classes, outputs)
    assert found is not None and found.metric == "accuracy"
    by_name = {each.name: each for each in found.strata}
    near = by_name["90 % and more"]
    assert near.num_records == 25 and near.metrics["accuracy"] == 1
    assert sum(each.num_records for each in found.strata) == 50
    assert all(each.metrics["accuracy"] == 0 for name, each in by_name.items() if name != "90 % and more")
    assert np.isnan(near.intervals["accuracy"]).all(), "all right: nothing varies"
    assert "accuracy 1.00 among the nearest (90 % and more, 25)" in found.words()[0]


def test_labels_of_residues_are_scored_letter_by_letter() -> None:
    data = labeled("residue", ["HE" * 20] * 80)
    outputs = np.eye(2)[np.asarray(data.targets, np.int64)]
    outputs[40 * 55 :] = outputs[40 * 55 :, ::-1]
    outputs[40 * 55 :: 40] = outputs[40 * 55 :: 40, ::-1]  # of the strangers only the first letter is right
    found = found_in(data, outputs)
    assert found is not None
    near = found.strata[-1]
    far = [each for each in found.strata if each is not near]
    assert near.metrics["accuracy"] == 1
    assert sum(each.metrics["accuracy"] * each.num_records for each in far) == pytest.approx(25 / 40)


def test_it_can_be_left_out_and_members_leave_it_to_their_ensemble(classes: LabeledData) -> None:
    outputs = np.zeros((80, 2))
    assert found_in(classes, outputs, leakage="none") is None
    assert found_in(classes, outputs, member=0) is None


def test_without_a_test_set_validation_is_looked_at() -> None:
    data = labeled("classification", list("ab" * 40), ["train"] * 55 + ["valid"] * 25)
    found = found_in(data, np.zeros((80, 2)))
    assert found is not None and set(found.sets.tolist()) == {"valid"} and len(found.records) == 25


def test_numbers_have_numbers_metrics() -> None:
    data = labeled("regression", [f"{i / 7:.3f}" for i in range(80)])
    found = found_in(data, np.arange(80.0)[:, None])
    assert found is not None and found.metric == "spearman"
    assert found.strata[-1].metrics["spearman"] == pytest.approx(1)
