"""Planted faults are named, and healthy trainings are left in peace."""

from __future__ import annotations

from pathlib import Path

import pytest

from seqtrain.diagnosis import Remark
from tests.diagnosis.cases import FAULTS, HEALTHY, warned

CLEAR_SEED = 1
"""Of 20 seeds, the faults and the alarms of which benchmarks/results/diagnosis.json counts."""


def check_words(remarks: list[Remark]) -> None:
    """Each remark is one line with a number or a reason, and says what to do unless all is well."""
    for remark in remarks:
        assert "\n" not in remark.line and remark.check in remark.line
        assert bool(remark.advice) == (remark.severity != "fine"), remark


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_named(name: str, tmp_path: Path) -> None:
    checks, found = FAULTS[name]
    remarks = found(tmp_path, CLEAR_SEED)
    check_words(remarks)
    assert warned(remarks) & set(checks), [remark.line for remark in remarks]


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_training_raises_no_alarm(name: str, tmp_path: Path) -> None:
    remarks = HEALTHY[name](tmp_path, CLEAR_SEED)
    check_words(remarks)
    assert not warned(remarks), [remark.line for remark in remarks if remark.severity == "warning"]
    assert len(remarks) >= 15
