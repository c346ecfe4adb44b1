"""Files appear whole or not at all, and a run directory belongs to one process at a time."""

from __future__ import annotations

import hashlib
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from seqtrain.errors import InputError
from seqtrain.io.run_directory import locked, sha256_of, write_json_atomically, write_text_atomically

HOLDER = """
import sys
from pathlib import Path
from seqtrain.io.run_directory import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_text_and_json_come_back(tmp_path: Path) -> None:
    write_text_atomically(tmp_path / "a.txt", "é→\n")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "é→\n"
    value = {"a": [1, 0.1, None, True], "b": {"c": "é"}}
    write_json_atomically(tmp_path / "a.json", value)
    assert json.loads((tmp_path / "a.json").read_text()) == value


def test_numbers_that_json_does_not_know_become_null(tmp_path: Path) -> None:
    value = {"a": [math.nan, 1.5, (math.inf, 2)], "b": {"c": -math.inf}, "d": "nan"}
    write_json_atomically(tmp_path / "a.json", value)
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": [None, 1.5, [None, 2]], "b": {"c": None}, "d": "nan"}


def test_a_failure_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json_atomically(path, 1)
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_json_atomically(path, {1, 2})
    with pytest.raises(UnicodeEncodeError):
        write_text_atomically(path, "\ud800")
    assert path.read_text() == "1\n" and list(tmp_path.iterdir()) == [path]


def test_hash(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc" * 100_000)
    assert sha256_of(tmp_path / "a") == hashlib.sha256(b"abc" * 100_000).hexdigest()


def test_a_second_process_is_refused_until_the_first_has_ended(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "one"
    command = [sys.executable, "-c", HOLDER, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        refused = pytest.raises(InputError, match=rf"one: in use by process {holder.pid} on .*; wait for it, or choose")
        with refused, locked(folder):
            pass
        holder.kill()
        holder.wait()
    with locked(folder):
        pass


def test_the_lock_ends_with_its_block_even_by_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), locked(tmp_path):
        raise RuntimeError
    with locked(tmp_path), pytest.raises(InputError, match="in use by process"), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    for path in (tmp_path / "a", tmp_path / "a" / "b"):
        with pytest.raises(InputError, match="is a file, not a folder; choose another -o"), locked(path):
            pass
