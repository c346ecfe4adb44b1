"""Cells of a grid, computed in several processes until time is up; a grid that is started again goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from statistics import mean, stdev
from typing import Any

Task = tuple[Callable[..., dict[str, Any]], tuple[Any, ...]]


def fill(
    cells: dict[str, Any],
    missing: Iterable[tuple[str, Callable[[], Task]]],
    write: Callable[[], None],
    *,
    processes: int,
    minutes: float,
) -> None:
    """Compute the missing cells into ``cells``, writing after each; begins none after so many minutes.

    Args:
        missing: the key of each cell, and what makes the function and arguments that compute it.
    """
    deadline = time.monotonic() + 60 * minutes
    queue = iter(missing)
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
            cells[key] = done.result()
            print(key, {name: value for name, value in cells[key].items() if isinstance(value, float)}, flush=True)
            write()


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
