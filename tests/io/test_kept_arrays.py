"""Arrays that are kept: computed once, and again when anything about them has changed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from seqtrain.io.kept_arrays import kept_arrays


class Counted:
    """Computes two arrays, and counts how often."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> dict[str, np.ndarray]:
        self.times += 1
        return {"rows": np.arange(6, dtype=np.float32).reshape(2, 3), "none": np.zeros((0, 3), np.int64)}


def test_arrays_are_computed_once(tmp_path: Path) -> None:
    compute = Counted()
    first, found = kept_arrays(tmp_path / "kept", "digest", compute)
    again, found_again = kept_arrays(tmp_path / "kept", "digest", compute)
    assert (found, found_again, compute.times) == (False, True, 1)
    assert first.keys() == again.keys() == {"rows", "none"}
    for name in first:
        assert first[name].dtype == again[name].dtype and np.array_equal(first[name], again[name])


def test_what_was_made_from_something_else_is_computed_again(tmp_path: Path) -> None:
    compute = Counted()
    kept_arrays(tmp_path / "kept", "digest", compute)
    assert kept_arrays(tmp_path / "kept", "other", compute)[1] is False
    assert kept_arrays(tmp_path / "kept", "other", compute)[1] is True and compute.times == 2


@pytest.mark.parametrize("damage", ["cut", "changed", "missing", "index", "list"])
def test_damaged_files_are_computed_again(damage: str, tmp_path: Path) -> None:
    compute = Counted()
    kept_arrays(tmp_path / "kept", "digest", compute)
    rows, index = tmp_path / "kept/rows.npy", tmp_path / "kept/index.json"
    whole = rows.read_bytes()
    if damage == "missing":
        rows.unlink()
    elif damage == "index":
        index.write_text("{")
    elif damage == "list":
        index.write_text("[1]")
    else:
        rows.write_bytes(whole[:-4] if damage == "cut" else whole[:-4] + b"\0\0\0\1")
    assert kept_arrays(tmp_path / "kept", "digest", compute)[1] is False
    assert rows.read_bytes() == whole


def test_a_computation_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def stopped() -> dict[str, np.ndarray]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        kept_arrays(tmp_path / "kept", "digest", stopped)
    assert list(tmp_path.iterdir()) == []
