"""Models by name, from a hub on this machine: what is fetched, what is not, and what is said where it cannot be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from seqtrain.models.hub import is_hub_name
from tests.fake_hub import FakeHub, serving

NAME = "lab/tiny"
MODEL = {
    "config.json": b'{"model_type": "bert"}',
    "model.safetensors": b"weights",
    "vocab.txt": b"A",
    "README.md": b"text",
    "modeling.py": b"raise SystemExit",
    "pytorch_model.bin": b"pickle",
    "training_args.bin": b"pickle",
    "onnx/model.safetensors": b"others",
    "tf_model.h5": b"others",
}
SHARDED = {
    "config.json": b"{}",
    "model.safetensors.index.json": b'{"weight_map": {"a": "model-00001-of-00002.safetensors", '
    b'"b": "model-00002-of-00002.safetensors"}}',
    "model-00001-of-00002.safetensors": b"1",
    "model-00002-of-00002.safetensors": b"2",
    "adapter.safetensors": b"others",
}
CODE = """
import json, sys
from seqtrain.errors import InputError
from seqtrain.models.hub import fetch

for name, revision in json.loads(sys.argv[1]):
    said = []
    try:
        found = fetch(name, revision, said.append)
        answer = {"commit": found.commit, "folder": str(found.folder)}
    except InputError as error:
        answer = {"error": str(error)}
    print(json.dumps({**answer, "said": said}))
"""


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with serving(FakeHub()) as hub:
        hub.publish(NAME, MODEL)
        yield hub


def fetched(url: str, cache: Path, *asked: tuple[str, str | None], **more: str) -> list[dict[str, Any]]:
    """What a new process gets, one answer per name and revision."""
    environment = {**os.environ, "HF_ENDPOINT": url, "HF_HOME": str(cache), "HF_HUB_DISABLE_TELEMETRY": "1", **more}
    for name in ("HF_HUB_CACHE", "HF_TOKEN", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HTTP_PROXY", "http_proxy"):
        if name not in more:
            environment.pop(name, None)
    command = [sys.executable, "-c", CODE, json.dumps(asked)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_what_is_fetched_and_what_is_refused_in_one_line(hub: FakeHub, tmp_path: Path) -> None:
    commit = hub.commits[NAME]["main"]
    hub.publish("lab/pickled", {"config.json": b"{}", "pytorch_model.bin": b"pickle"})
    hub.publish("lab/empty", {"config.json": b"{}"})
    answer, *refused = fetched(
        hub.url, tmp_path, (NAME, None), ("lab/absent", None), (NAME, "v9"), ("lab/pickled", None), ("lab/empty", None)
    )
    assert answer["commit"] == commit
    files = {path.name: path.read_bytes() for path in Path(answer["folder"]).iterdir()}
    assert files == {name: MODEL[name] for name in ("config.json", "model.safetensors", "vocab.txt")}
    assert hub.fetched() == sorted(files)
    assert answer["said"] == [f"{NAME}: fetching 3 files, 0.0 MB, of revision {commit}"]

    absent, revision, pickled, empty = (answer["error"] for answer in refused)
    assert "no such folder here" in absent and hub.url in absent
    assert "has no revision 'v9'" in revision
    assert "pickled weights (pytorch_model.bin)" in pickled and "--revision refs/pr/" in pickled
    assert "has no model.safetensors" in empty
    assert "\n" not in absent + revision + pickled + empty


def test_cache_revisions_and_a_hub_that_is_away(hub: FakeHub, tmp_path: Path) -> None:
    old = hub.commits[NAME]["main"]
    hub.publish(NAME, {**MODEL, "config.json": b"{}"}, "refs/pr/3")
    new = hub.commits[NAME]["refs/pr/3"]
    first, again, other = fetched(hub.url, tmp_path, (NAME, None), (NAME, None), (NAME, "refs/pr/3"))
    assert (first["commit"], again["commit"], other["commit"]) == (old, old, new)
    assert first["said"] and not again["said"] and other["said"]
    assert (Path(other["folder"]) / "config.json").read_bytes() == b"{}"

    hub.publish(NAME, SHARDED)
    num_asked = len(hub.asked)
    pinned, moved = fetched(hub.url, tmp_path, (NAME, old), (NAME, None))
    assert pinned["commit"] == old and moved["commit"] == hub.commits[NAME]["main"] != old
    assert not any(old in path for path in hub.asked[num_asked:]), "a commit in the cache is not asked for"
    assert {path.name for path in Path(moved["folder"]).iterdir()} == set(SHARDED) - {"adapter.safetensors"}

    offline = {"HF_HUB_OFFLINE": "1"}
    by_commit, by_name, absent = fetched(hub.url, tmp_path, (NAME, old), (NAME, None), ("lab/other", None), **offline)
    assert by_commit["commit"] == old and not by_commit["said"]
    assert by_name["commit"] == moved["commit"] and "cannot be asked" in by_name["said"][0]
    assert "cannot be reached" in absent["error"] and str(tmp_path) in absent["error"] and "folder" in absent["error"]


def test_a_hub_that_does_not_answer(tmp_path: Path) -> None:
    (answer,) = fetched("http://127.0.0.1:9", tmp_path, (NAME, None))
    assert answer["error"].startswith(f"{NAME}: no such folder here, http://127.0.0.1:9 cannot be reached")
    assert "\n" not in answer["error"]


def test_names() -> None:
    assert is_hub_name("facebook/esm2_t6_8M_UR50D") and is_hub_name("Rostlab/prot_t5_xl_half_uniref50-enc")
    for text in ("runs", "./runs/x", "/tmp/x", "a/b/c", "a//b", "../b", "a b/c", ""):
        assert not is_hub_name(text)
