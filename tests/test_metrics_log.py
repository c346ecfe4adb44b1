"""The log holds one line per event, survives a kill, and a resumed run continues it without doubles."""

from __future__ import annotations

import json
from pathlib import Path

from seqtrain.metrics_log import FILE_NAME, MetricsLog, read_metrics


def test_events_come_back_in_order(tmp_path: Path) -> None:
    assert read_metrics(tmp_path) == []
    with MetricsLog(tmp_path, 0) as log:
        log.write("train", 1, {"loss": 0.1 + 0.2})
        assert len(read_metrics(tmp_path)) == 1, "readable while the training runs"
        log.write("valid", 2, {"loss": 1e-300, "accuracy": 1.0})
    assert read_metrics(tmp_path) == [
        {"event": "train", "step": 1, "loss": 0.1 + 0.2},
        {"event": "valid", "step": 2, "loss": 1e-300, "accuracy": 1.0},
    ]
    lines = (tmp_path / FILE_NAME).read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2]


def test_a_resumed_run_drops_what_came_after_its_checkpoint(tmp_path: Path) -> None:
    with MetricsLog(tmp_path, 0) as log:
        for step in range(1, 6):
            log.write("train", step, {"loss": float(step)})
    with MetricsLog(tmp_path, 3) as log:
        log.write("train", 4, {"loss": 40.0})
    assert [(event["step"], event["loss"]) for event in read_metrics(tmp_path)] == [(1, 1), (2, 2), (3, 3), (4, 40)]


def test_an_unfinished_last_line_is_passed_over(tmp_path: Path) -> None:
    with MetricsLog(tmp_path, 0) as log:
        log.write("train", 1, {"loss": 1.0})
    path = tmp_path / FILE_NAME
    path.write_text(path.read_text() + '{"event": "train", "st')
    assert [event["step"] for event in read_metrics(tmp_path)] == [1]
    with MetricsLog(tmp_path, 1) as log:
        log.write("train", 2, {"loss": 2.0})
    assert [event["step"] for event in read_metrics(tmp_path)] == [1, 2]


def test_measures_that_are_not_defined_are_null(tmp_path: Path) -> None:
    with MetricsLog(tmp_path, 0) as log:
        log.write("valid", 1, {"loss": 1.0, "spearman": float("nan")})
    assert "NaN" not in (tmp_path / FILE_NAME).read_text()
    assert read_metrics(tmp_path) == [{"event": "valid", "step": 1, "loss": 1.0, "spearman": None}]


def test_tensorboard_gets_the_same_numbers(tmp_path: Path) -> None:
    with MetricsLog(tmp_path, 0, tensorboard=True) as log:
        log.write("valid", 7, {"loss": 0.5})
    files = list((tmp_path / "tensorboard").glob("events.*"))
    assert len(files) == 1 and b"valid/loss" in files[0].read_bytes()


def test_going_back_drops_what_came_after(tmp_path: Path) -> None:
    with MetricsLog(tmp_path, 0, tensorboard=True) as log:
        log.write("valid", 0, {"loss": 9.0})
        for step in range(1, 6):
            log.write("train", step, {"loss": float(step)})
        log.rewind(3)
        log.write("train", 4, {"loss": 40.0})
        assert [(each["step"], each["loss"]) for each in read_metrics(tmp_path)] == [
            (0, 9),
            (1, 1),
            (2, 2),
            (3, 3),
            (4, 40),
        ]
        log.rewind(0)
        log.write("train", 1, {"loss": 10.0})
    assert [(each["event"], each["step"]) for each in read_metrics(tmp_path)] == [("valid", 0), ("train", 1)]
    assert (tmp_path / "tensorboard").is_dir()
