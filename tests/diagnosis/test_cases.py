"""Planted faults are named, and healthy trainings are left in peace."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from seqtrain.diagnosis import Remark
from tests.diagnosis.cases import FAULTS, HEALTHY, warned

SEED = 1
"""Of many, which benchmarks/benchmark_diagnosis.py tries."""
ROOT = Path(__file__).parents[2]


def check_words(remarks: list[Remark]) -> None:
    """Each remark is one line with a number or a reason, and says what to do unless all is well."""
    for remark in remarks:
        assert "\n" not in remark.line and remark.check in remark.line
        assert bool(remark.advice) == (remark.severity != "fine"), remark


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_named(name: str, tmp_path: Path) -> None:
    checks, found = FAULTS[name]
    remarks = found(tmp_path, SEED)
    check_words(remarks)
    assert warned(remarks) & set(checks), [remark.line for remark in remarks]


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_training_raises_no_alarm(name: str, tmp_path: Path) -> None:
    remarks = HEALTHY[name](tmp_path, SEED)
    check_words(remarks)
    assert not warned(remarks), [remark.line for remark in remarks if remark.severity == "warning"]
    assert len(remarks) >= 15


def test_figures_of_the_page_are_those_of_the_benchmark() -> None:
    measured = json.loads((ROOT / "benchmarks/results/diagnosis.json").read_text(encoding="utf-8"))
    page = " ".join((ROOT / "docs/diagnosis.md").read_text(encoding="utf-8").split())
    found = re.search(
        r"Of (\d+) trainings with .*? (\d+) were named .*? of (\d+) healthy .*? (\d+) got a warning", page
    )
    assert found and set(measured["faults"]) == set(FAULTS) and set(measured["healthy"]) == set(HEALTHY)
    faults, healthy = measured["faults"].values(), measured["healthy"].values()
    sums = [sum(each[key] for each in cases) for cases, key in ((faults, "runs"), (faults, "named"))]
    sums += [sum(each[key] for each in cases) for cases, key in ((healthy, "runs"), (healthy, "warned"))]
    assert [int(number) for number in found.groups()] == sums
