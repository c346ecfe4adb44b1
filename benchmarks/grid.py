"""Cells of a grid, computed in several processes until time is up; a grid that is started again goes on."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from timing import RESULTS, write_report

Task = tuple[Callable[..., dict[str, Any]], tuple[Any, ...]]


def grid_parser(description: str | None, *, seeds: int | None, processes: int = 2, minutes: float = 60) -> Any:
    """The options that every grid has, with its defaults."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the real data")
    if seeds is not None:
        parser.add_argument("--seeds", type=int, default=seeds)
    parser.add_argument("--processes", type=int, default=processes)
    parser.add_argument("--minutes", type=float, default=minutes, help="begin no cell after so long")
    return parser


@dataclass(kw_only=True)
class Grid:
    """A result file with one entry per cell, and the table that they make."""

    name: str
    """Of the result file."""
    title: str
    packages: tuple[str, ...]
    """Whose versions stand in the file."""
    table: Callable[[dict[str, Any]], Any]
    """What the cells that are there say, the missing ones shown as missing."""
    same: dict[str, Any] = field(default_factory=dict)
    """Facts that decide what a cell says: cells of a file with others are left behind."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What else stands in the file."""
    cells: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        kept = self.kept
        same = all(kept.get(name) == value for name, value in self.same.items())
        self.cells = kept.get("cells", {}) if same else {}

    @property
    def kept(self) -> dict[str, Any]:
        """The result file as it is."""
        path = RESULTS / f"{self.name}.json"
        found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return found

    def write(self) -> None:
        """Write the result file."""
        facts = {**self.same, **self.facts}
        write_report(
            self.name, self.title, packages=self.packages, **facts, table=self.table(self.cells), cells=self.cells
        )

    def fill(self, wanted: Iterable[tuple[str, Callable[[], Task]]], *, processes: int, minutes: float) -> None:
        """Compute the cells that are missing, writing after each; begins none after so many minutes.

        Args:
            wanted: the key of each cell, and what makes the function and arguments that compute it.
        """
        deadline = time.monotonic() + 60 * minutes
        queue = (pair for pair in wanted if pair[0] not in self.cells)
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            running: dict[Any, str] = {}
            while True:
                while len(running) < processes and time.monotonic() < deadline:
                    key, prepare = next(queue, (None, None))
                    if key is None or prepare is None:
                        break
                    function, arguments = prepare()
                    running[pool.submit(function, *arguments)] = key
                if not running:
                    return
                done = next(as_completed(running))
                key = running.pop(done)
                self.cells[key] = done.result()
                shown = {name: value for name, value in self.cells[key].items() if isinstance(value, float)}
                print(key, shown, flush=True)
                self.write()

    def show(self) -> None:
        """Print the table: a line per row, indented under what it belongs to."""
        _show(self.table(self.cells), "")


def _show(table: dict[str, Any], indent: str) -> None:
    for name, row in table.items():
        if isinstance(row, dict) and any(isinstance(value, dict) for value in row.values()):
            print(f"{indent}{name}")
            _show(row, f"{indent}  ")
        else:
            words = " ".join(f"{key} {value}" for key, value in row.items()) if isinstance(row, dict) else row
            print(f"{indent}{name:<28} {words}")


def compared(found: list[float | None], base: list[float | None], measure: str) -> dict[str, Any] | str:
    """Mean and standard deviation over seeds, and the paired difference from a base; "missing" without any seed."""
    values = [value for value in found if value is not None]
    if not values:
        return "missing"
    paired = [a - b for a, b in zip(found, base, strict=True) if a is not None and b is not None]
    return {
        "seeds": len(values),
        measure: round(mean(values), 4),
        "sd": round(stdev(values), 4) if len(values) > 1 else None,
        "difference": round(mean(paired), 4) if paired else None,
        "sd_of_difference": round(stdev(paired), 4) if len(paired) > 1 else None,
        "seeds_above": sum(value > 0 for value in paired),
    }
