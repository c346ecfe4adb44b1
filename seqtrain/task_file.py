"""Tasks in ``task.json``: as plain values, and read back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from seqtrain.losses import check_loss, loss_from_json, loss_to_json
from seqtrain.tasks import READINGS, TASKS, Task, check_readings, kind_of


def task_to_json(task: Task) -> dict[str, Any]:
    """A task as plain values, for ``task.json``."""
    values = {name: value for name, value in vars(task).items() if name not in ("trained_loss", *READINGS)}
    values |= {name: value for name in READINGS if (value := getattr(task, name, ()))}
    if task.trained_loss is not None:
        values["trained_loss"] = loss_to_json(task.trained_loss)
    return {"kind": kind_of(task), **values}


def task_from_json(value: dict[str, Any]) -> Task:
    """The task of a ``task.json``.

    Raises:
        InputError: a loss that does not exist, or not for such a task; temperatures or thresholds that cannot be.
    """
    fields: dict[str, Any] = {
        name: tuple(cell) if isinstance(cell, list) else cell
        for name, cell in value.items()
        if name not in ("kind", "trained_loss")
    }
    task = TASKS[value["kind"]](**fields)
    check_readings(task)
    if "trained_loss" not in value:
        return task
    loss = loss_from_json(value["trained_loss"])
    check_loss(loss, task.loss.kind, task.words, task.outputs)
    return replace(task, trained_loss=loss)
