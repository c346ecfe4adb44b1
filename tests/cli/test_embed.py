"""``seqtrain embed``: every format holds the same, with how it was made, from runs and from folders of models."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow.parquet
import pytest

from tests.cli.conftest import SEQUENCES, Command, fasta
from tests.cli.test_runs import room_for

NAMES = [f"p{i}" for i in range(40)]


def test_three_formats_of_the_same_embeddings(command: Command, pretrained: Path, inputs: Path, tmp_path: Path) -> None:
    path = inputs / "proteins.fasta"
    for name in ("x.npz", "x.h5", "x.parquet"):
        assert command("embed", pretrained, path, "-o", tmp_path / name, "--max-length", 25).code == 0
        residues = tmp_path / f"residues-{name}"
        assert command("embed", pretrained, path, "-o", residues, "--max-length", 25, "--per-residue").code == 0
    arrays, residues = np.load(tmp_path / "x.npz"), np.load(tmp_path / "residues-x.npz")
    facts = json.loads(arrays["facts"].item())
    assert (facts["layers"], facts["depth"], facts["pooling"], facts["max_length"]) == ([2], 2, "mean", 25)
    assert (facts["alphabet"], facts["run"], facts["precision"]) == ("protein", str(pretrained), "fp32")
    assert arrays["lengths"].tolist() == [len(sequence) for sequence in SEQUENCES]
    table = pyarrow.parquet.read_table(tmp_path / "x.parquet")
    assert json.loads(table.schema.metadata[b"seqtrain"]) == facts
    assert table["identifier"].to_pylist() == arrays["identifiers"].tolist() == NAMES
    assert np.array_equal(np.array(table["embedding"].to_pylist(), np.float32), arrays["embeddings"])
    rows = pyarrow.parquet.read_table(tmp_path / "residues-x.parquet")["embedding"].to_pylist()
    assert np.array_equal(np.concatenate([np.array(row, np.float32) for row in rows]), residues["embeddings"])
    with h5py.File(tmp_path / "x.h5") as one, h5py.File(tmp_path / "residues-x.h5") as all_:
        assert list(one) == list(all_) == NAMES and one.attrs["pooling"] == "mean" and one.attrs["max_length"] == 25
        assert np.array_equal([one[name] for name in NAMES], arrays["embeddings"])
        assert np.array_equal(np.concatenate([all_[name] for name in NAMES]), residues["embeddings"])


def test_layers_pooling_and_half_precision(command: Command, pretrained: Path, inputs: Path, tmp_path: Path) -> None:
    def embedded(*options: str) -> np.ndarray:
        outcome = command("embed", pretrained, inputs / "proteins.fasta", "-o", tmp_path / "x.npz", *options)
        assert outcome.code == 0, outcome.err
        return np.asarray(np.load(tmp_path / "x.npz")["embeddings"])

    first, last, both = embedded("--layer", "1"), embedded(), embedded("--layer", "1", "--layer", "-1")
    assert np.array_equal(np.concatenate([first, last], axis=1), both) and not np.allclose(first, last)
    highest = embedded("--pooling", "max")
    assert (highest >= last).all() and not np.allclose(highest, last)
    half = embedded("--dtype", "float16")
    assert half.dtype == np.float16 and np.array_equal(half, last.astype(np.float16))


def test_a_folder_with_nothing_but_a_model(command: Command, pretrained: Path, inputs: Path, tmp_path: Path) -> None:
    shutil.copytree(pretrained / "model", tmp_path / "esm2")
    path = inputs / "proteins.fasta"
    for number, model in enumerate((pretrained, tmp_path / "esm2")):
        assert command("embed", model, path, "-o", tmp_path / f"{number}.npz").code == 0
    assert np.array_equal(np.load(tmp_path / "0.npz")["embeddings"], np.load(tmp_path / "1.npz")["embeddings"])
    command("predict", tmp_path / "esm2", path).refused("pretrained without labels", "finetune it first", "--from")
    (tmp_path / "esm2" / "model.safetensors").unlink()
    command("embed", tmp_path / "esm2", path, "-o", tmp_path / "x.npz").refused(tmp_path / "esm2")


@pytest.mark.parametrize("ending", ["h5", "parquet"])
def test_a_full_disk(ending: str, command: Command, pretrained: Path, tmp_path: Path) -> None:
    path, output = tmp_path / "many.fasta", tmp_path / f"x.{ending}"
    path.write_text(fasta(SEQUENCES * 80))
    with room_for(20_000):
        command("embed", pretrained, path, "-o", output).failed(1, output, "write elsewhere")
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_asked_for(command: Command, pretrained: Path, inputs: Path, tmp_path: Path) -> None:
    path, output = inputs / "proteins.fasta", ("-o", tmp_path / "x.npz")
    words = ("--pooling max", "--per-residue", "leave one")
    command("embed", pretrained, path, *output, "--pooling", "max", "--per-residue").refused(*words)
    command("embed", pretrained, path, *output, "--layer", "-4").refused("--layer -4", "0 to 2")
    command("embed", pretrained, path, *output, "--layer", "2", "--layer", "-1").refused("--layer 2, -1", "twice")
    assert not list(tmp_path.iterdir())


def test_what_the_page_says(
    command: Command, pretrained: Path, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "embeddings.md").read_text(encoding="utf-8")
    shutil.copytree(pretrained, tmp_path / "runs" / "base")
    shutil.copy(inputs / "proteins.fasta", tmp_path)
    monkeypatch.chdir(tmp_path)
    (line,) = re.findall(r"^```sh\nseqtrain (.*)\n```$", page, flags=re.MULTILINE)
    assert command(*line.split()).code == 0
    reading, computing = re.findall(r"^```python\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)
    found: dict[str, Any] = {}
    exec(reading, found)
    assert list(found["vectors"]) == NAMES and found["facts"]["run"] == "runs/base"
    exec(computing, found)
    assert [rows.shape for rows in found["vectors"]] == [(64,)] * 2
    assert [rows.shape for rows in found["residues"]] == [(10, 128)]
