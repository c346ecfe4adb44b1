"""Databases that do not wait for the disk: nothing here has to outlive a power cut."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine


def _hasten(connection: Any, record: Any) -> None:
    connection.execute("PRAGMA synchronous=OFF")


@pytest.fixture(autouse=True, scope="package")
def hasty_databases() -> Iterator[None]:
    event.listen(Engine, "connect", _hasten)
    yield
    event.remove(Engine, "connect", _hasten)
