"""Work of several threads, its results in the order of what came in."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TypeVar

Given = TypeVar("Given")
Made = TypeVar("Made")


def in_order(pool: Executor, work: Callable[[Given], Made], given: Iterable[Given], ahead: int) -> Iterator[Made]:
    """work(each) of what is given, at most so many begun ahead of what was taken: memory stays bounded."""
    begun: deque[Future[Made]] = deque()
    try:
        for each in given:
            begun.append(pool.submit(work, each))
            if len(begun) > ahead:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    finally:
        for future in begun:
            future.cancel()
