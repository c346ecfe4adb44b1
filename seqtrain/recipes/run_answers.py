"""What finished runs predicted for the records that they were not trained on, read back from their folders."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqtrain.errors import InputError
from seqtrain.io.delimited import Table, read_table
from seqtrain.io.run_directory import sha256_of
from seqtrain.io.splits import TRAIN
from seqtrain.losses import IGNORED_CLASS
from seqtrain.paired import Said
from seqtrain.run import settings_of_run
from seqtrain.run_record import DAMAGED, ENSEMBLE, RECORD, TASK, damaged
from seqtrain.task_file import task_from_json
from seqtrain.tasks import MultiLabel, Regression, Task, split_labels

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Answers:
    """N records of one set of a run, what they are and what the run says they are."""

    folder: Path
    task: Task
    table: str
    """SHA-256 of the table that the run was made of."""
    rows: tuple[int, ...]
    """N rows of that table, from 1."""
    names: tuple[str, ...]
    labels: tuple[tuple[str, ...], ...]
    """N rows of label cells."""
    cells: tuple[tuple[str, ...], ...]
    """N rows of predictions, under the header of the task."""
    mask: tuple[str, ...] | None
    """N texts of 0 and 1, which residues count; None: all."""
    simple: dict[str, dict[str, float]]
    """Metrics of the simple models beside the run, on all N records."""

    def __len__(self) -> int:
        return len(self.rows)

    def some(self, places: Sequence[int]) -> tuple[Array, Said, Array | None]:
        """True values, what the run says, and of residues the record of each, of some records in an order.

        Raises:
            InputError: cells that are no predictions of this task.
        """
        labels, cells = [self.labels[i] for i in places], [self.cells[i] for i in places]
        try:
            if isinstance(self.task, Regression):
                true = np.array([[float(cell) if cell else np.nan for cell in row] for row in labels])
                values = np.array([[float(cell) for cell in row] for row in cells])
                return true, Said(values=values, decided=values), None
            if isinstance(self.task, MultiLabel):
                said = [
                    [name in split_labels(row[0], self.task.separator) for name in self.task.classes] for row in cells
                ]
                values = np.array([[float(cell) for cell in row[1:]] for row in cells])
                return self.task.encode(labels).astype(np.float64), Said(values=values, decided=np.array(said)), None
            if self.task.per_residue:
                return self._residues(places)
            decided = np.array([self.task.classes.index(row[0]) for row in cells])
            values = np.array([[float(cell) for cell in row[1:]] for row in cells])
            return self.task.encode(labels), Said(values=values, decided=decided), None
        except (ValueError, IndexError, KeyError) as error:
            raise damaged(self.folder / "predictions.csv", error) from error

    def _residues(self, places: Sequence[int]) -> tuple[Array, Said, Array]:
        """The classes of residues stand for their probabilities, which are not in the file."""
        assert not isinstance(self.task, Regression)
        true = self.task.encode([self.labels[i] for i in places])
        lengths = [len(self.labels[i][0]) for i in places]
        decided = self.task.encode([self.cells[i] for i in places])
        if [len(self.cells[i][0]) for i in places] != lengths:
            raise ValueError("labels and predictions differ in length")
        if self.mask is not None:
            text = "".join(self.mask[i] for i in places)
            true = np.where(np.frombuffer(text.encode(), np.uint8) == ord("1"), true, IGNORED_CLASS)
        values = np.eye(self.task.outputs)[decided]
        return true, Said(values=values, decided=decided), np.repeat(np.arange(len(places)), lengths)


def read_answers(folder: Path, test_set: str) -> Answers:
    """The predictions of a finished run for one of its sets.

    Raises:
        InputError: no run, one that is not finished or has no labels, no such set, or a damaged file.
    """
    facts, results = _record(folder)
    task, mask_column = _task(folder)
    table = read_table(folder / "predictions.csv")
    columns = list(table.columns.values())
    width = len(task.columns)
    if len(columns) < 2 + width + len(task.header):
        raise InputError(f"{folder / 'predictions.csv'}: has too few columns; the file was changed, rerun the training")
    rows = _rows(folder, columns[0])
    kept = [i for i, name in enumerate(columns[1]) if name == test_set]
    if not kept:
        there = ", ".join(sorted(set(columns[1]))) or "no record at all"
        raise InputError(f"{folder}: has no set {test_set!r} but {there}; choose one with --set")
    settings = settings_of_run(folder)
    name = Path(str(settings.get("table", ""))).name
    scored: dict[str, Any] = next((each for each in results.get("sets", []) if each["name"] == test_set), {})
    numbers = [rows[i] for i in kept]
    return Answers(
        folder=folder,
        task=task,
        table=str(facts.get(f"data {name}", "")),
        rows=tuple(numbers),
        names=tuple(columns[0][i] for i in kept),
        labels=tuple(tuple(column[i] for column in columns[2 : 2 + width]) for i in kept),
        cells=tuple(tuple(column[i] for column in columns[2 + width : 2 + width + len(task.header)]) for i in kept),
        mask=None if mask_column is None else _masks(folder, settings, facts, mask_column, numbers),
        simple={
            other: {metric: float("nan") if value is None else float(value) for metric, value in metrics.items()}
            for other, metrics in scored.get("baselines", {}).items()
        },
    )


def matched(answers: Sequence[Answers], test_set: str, common: bool) -> list[list[int]]:
    """For each run the places of the records that all have, in the order of the first.

    Raises:
        InputError: no record is in all of them; or, unless ``common``, one is not.
    """
    one_table = len({each.table for each in answers}) == 1 and bool(answers[0].table)
    keys = [_keys(each, one_table) for each in answers]
    shared = set(keys[0]).intersection(*keys[1:])
    first = answers[0]
    if not shared:
        how = "row of the table" if one_table else "identifier and label"
        raise InputError(
            f"{answers[1].folder} and {first.folder}: have no record of set {test_set!r} in common, by {how}; "
            "finetune both with one --split"
        )
    for each, own in zip(answers, keys, strict=True):
        if not common and set(own) != set(keys[0]):
            both = len(set(own) & set(keys[0]))
            raise InputError(
                f"{each.folder} and {first.folder}: differ in set {test_set!r} ({len(own):,} and {len(first):,} "
                f"records, {both:,} in both); pass --common to compare them on the {len(shared):,} that all have"
            )
    return [[own[key] for key in keys[0] if key in shared] for own in keys]


def _keys(answers: Answers, one_table: bool) -> dict[tuple[Any, ...], int]:
    """The place of each record by what names it; of the same identifier and label, the first, the second …"""
    if one_table:
        return {(row,): place for place, row in enumerate(answers.rows)}
    seen: Counter[tuple[str, ...]] = Counter()
    found: dict[tuple[Any, ...], int] = {}
    for place, (name, labels) in enumerate(zip(answers.names, answers.labels, strict=True)):
        record = (name, *labels)
        found[(*record, seen[record])] = place
        seen[record] += 1
    return found


def _record(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What decided a run, and its results."""
    if not folder.is_dir() or not (folder / RECORD).exists():
        what = "is not a run directory" if folder.exists() else "no such run directory"
        raise InputError(f"{folder}: {what}; give one that finetune or distill wrote")
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        facts, finished, results = dict(record["facts"]), bool(record["finished"]), dict(record.get("results") or {})
    except DAMAGED as error:
        raise damaged(folder / RECORD, error) from error
    if facts.get("kind") == "pretrain":
        raise InputError(f"{folder}: was pretrained without labels; compare runs of finetune or distill")
    if not finished:
        raise InputError(f"{folder}: the training is not finished; rerun its command to continue it")
    if not (folder / "predictions.csv").exists():
        raise InputError(
            f"{folder}: has no predictions.csv; score it on a table by seqtrain evaluate, or compare its members"
        )
    return facts, results


def _task(folder: Path) -> tuple[Task, str | None]:
    """The task of a run, and its column of masks."""
    path = folder / TASK
    try:
        if (folder / ENSEMBLE).exists():
            members = json.loads((folder / ENSEMBLE).read_text(encoding="utf-8"))["members"]
            path = folder / str(members[0]) / TASK
        meaning = json.loads(path.read_text(encoding="utf-8"))
        mask = meaning["columns"].get("mask")
        return task_from_json(meaning["task"]), None if mask is None else str(mask)
    except (*DAMAGED, OSError) as error:
        raise damaged(path, error) from error


def _rows(folder: Path, names: Sequence[str]) -> list[int]:
    """The row of the table of each prediction: those of split.csv that were not trained on, in order."""
    split = read_table(folder / "split.csv")
    sets = split.column("set")
    kept = [i for i, name in enumerate(sets) if name != TRAIN]
    if [split.column("identifier")[i] for i in kept] != list(names):
        raise InputError(f"{folder}: split.csv and predictions.csv do not fit together; the folder was changed")
    try:
        return [int(split.column("row")[i]) for i in kept]
    except ValueError as error:
        raise damaged(folder / "split.csv", error) from error


def _masks(
    folder: Path, settings: dict[str, Any], facts: dict[str, Any], column: str, rows: Sequence[int]
) -> tuple[str, ...]:
    """Which residues count, from the table that the run was made of: predictions.csv does not say."""
    path = Path(str(settings.get("table", "")))
    where = f"{folder}: its labels are masked by column {column!r} of {path}"
    if not path.is_file():
        raise InputError(f"{where}, which is not there; compare where the table is")
    if sha256_of(path) != facts.get(f"data {path.name}"):
        raise InputError(f"{where}, which is not the one that it was trained on; restore that one")
    table: Table = read_table(path)
    return tuple(table.column(column)[row - 1].strip() for row in rows)
