"""A checkpoint gives every bit back, is not trusted when a byte has changed, and appears whole or not at all."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from seqtrain import checkpoint
from seqtrain.checkpoint import (
    Progress,
    checkpoint_of_step,
    checkpoints,
    latest_checkpoint,
    load_checkpoint,
    purge_checkpoints,
    save_checkpoint,
)
from seqtrain.errors import RunError
from seqtrain.optimizers import AdamW


class Tied(nn.Module):
    """A network with tied weights, a buffer and an embedding of which some rows never get a gradient."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.embedding = nn.Embedding(9, width)
        self.norm = nn.BatchNorm1d(width)
        self.output = nn.Linear(width, 9)
        self.output.weight = self.embedding.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        hidden: torch.Tensor = self.output(self.norm(self.embedding(ids)))
        return hidden


def started(seed: int, width: int = 6) -> tuple[Tied, torch.optim.Optimizer]:
    torch.manual_seed(seed)
    model = Tied(width)
    return model, AdamW(learning_rate=0.01, weight_decay=0.1).build(model)


def train(model: Tied, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        ids = (torch.arange(5) * (step + 1)) % 7
        nn.functional.cross_entropy(model(ids), ids).backward()
        optimizer.step()
        optimizer.zero_grad()


def states_equal(first: tuple[Tied, torch.optim.Optimizer], second: tuple[Tied, torch.optim.Optimizer]) -> bool:
    ours, theirs = first[0].state_dict(), second[0].state_dict()
    moments, their_moments = first[1].state_dict()["state"], second[1].state_dict()["state"]
    return (
        all(torch.equal(ours[name], theirs[name]) for name in {*ours, *theirs})
        and moments.keys() == their_moments.keys()
        and all(
            torch.equal(torch.as_tensor(moments[i][name]), torch.as_tensor(their_moments[i][name]))
            for i in moments
            for name in {*moments[i], *their_moments[i]}
        )
    )


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with checkpoints of the steps 2, 4 and 6."""
    folder = tmp_path_factory.mktemp("original")
    model, optimizer = started(0)
    for step in (2, 4, 6):
        train(model, optimizer, range(step - 2, step))
        save_checkpoint(folder, model, optimizer, Progress(step=step, position=step * 5))
    return folder


@pytest.fixture
def saved(original: Path, tmp_path: Path) -> Path:
    """A copy of those checkpoints to do harm to."""
    return shutil.copytree(original, tmp_path, dirs_exist_ok=True)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_every_bit_comes_back_and_the_training_goes_on_alike(tmp_path: Path) -> None:
    unbroken = started(0)
    train(*unbroken, range(5))
    progress = Progress(step=5, position=123, best_step=3, best_score=0.1 + 0.2)
    path = save_checkpoint(tmp_path, *unbroken, progress)
    assert path == checkpoint_of_step(tmp_path, 5) and path.is_dir()
    resumed = started(1)
    assert not states_equal(resumed, unbroken)
    assert load_checkpoint(path, *resumed) == progress
    assert states_equal(resumed, unbroken)
    assert resumed[0].output.weight is resumed[0].embedding.weight
    train(*unbroken, range(5, 9))
    train(*resumed, range(5, 9))
    assert states_equal(resumed, unbroken)


def test_a_training_that_loses_its_moments_differs(tmp_path: Path) -> None:
    unbroken = started(0)
    train(*unbroken, range(5))
    path = save_checkpoint(tmp_path, *unbroken, Progress(step=5, position=25))
    model, optimizer = started(1)
    load_checkpoint(path, model, None)
    train(*unbroken, range(5, 7))
    train(model, optimizer, range(5, 7))
    assert not torch.equal(model.embedding.weight, unbroken[0].embedding.weight)


def test_saving_changes_nothing(tmp_path: Path) -> None:
    first, second = started(0), started(0)
    for run in (first, second):
        train(*run, range(3))
    save_checkpoint(tmp_path, *first, Progress(step=3, position=15))
    assert states_equal(first, second)


def test_nothing_is_pickled(saved: Path) -> None:
    files = {path.name for path in checkpoint_of_step(saved, 6).iterdir()}
    assert files == {"model.safetensors", "optimizer.safetensors", "state.json", "manifest.json"}


def test_the_newest_is_found_and_numbers_are_ordered_as_numbers(tmp_path: Path) -> None:
    model, optimizer = started(0)
    for step in (9, 10, 200):
        save_checkpoint(tmp_path, model, optimizer, Progress(step=step, position=step))
    assert checkpoints(tmp_path) == [checkpoint_of_step(tmp_path, step) for step in (9, 10, 200)]
    assert latest_checkpoint(tmp_path) == (checkpoint_of_step(tmp_path, 200), [])
    assert latest_checkpoint(tmp_path / "none") == (None, [])


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json", "manifest.json"])
@pytest.mark.parametrize("place", [0.0, 0.5, 0.95])
def test_a_flipped_byte_is_noticed_and_the_one_before_is_used(saved: Path, name: str, place: float) -> None:
    path = checkpoint_of_step(saved, 6) / name
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1
    path.write_bytes(content)
    assert latest_checkpoint(saved) == (checkpoint_of_step(saved, 4), [checkpoint_of_step(saved, 6)])
    assert load_checkpoint(checkpoint_of_step(saved, 4), *started(1)) == Progress(step=4, position=20)


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json", "manifest.json"])
def test_a_file_that_is_cut_or_missing_is_noticed(saved: Path, name: str) -> None:
    path = checkpoint_of_step(saved, 6) / name
    path.write_bytes(path.read_bytes()[:-5])
    (checkpoint_of_step(saved, 4) / name).unlink()
    two, four, six = (checkpoint_of_step(saved, step) for step in (2, 4, 6))
    assert latest_checkpoint(saved) == (two, [six, four])


def test_partial_folders_are_no_checkpoints_and_are_purged(saved: Path) -> None:
    partial = saved / ".step-00000008.partial"
    partial.mkdir()
    (partial / "model.safetensors").write_bytes(b"half")
    assert latest_checkpoint(saved)[0] == checkpoint_of_step(saved, 6)
    purge_checkpoints(saved, Progress(step=6, position=30), keep=5)
    assert names(saved) == ["step-00000002", "step-00000004", "step-00000006"]


def test_the_newest_two_and_the_best_are_kept(saved: Path) -> None:
    model, optimizer = started(0)
    save_checkpoint(saved, model, optimizer, Progress(step=8, position=40))
    purge_checkpoints(saved, Progress(step=8, position=40, best_step=2, best_score=0.5))
    assert names(saved) == ["step-00000002", "step-00000006", "step-00000008"]
    purge_checkpoints(saved, Progress(step=8, position=40))
    assert names(saved) == ["step-00000006", "step-00000008"]


def test_a_full_disk_leaves_the_earlier_ones_and_no_remains(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "write_json_atomically", full)
    before = names(saved)
    with pytest.raises(RunError, match=r"step-00000008: cannot save: .*No space left on device; free some space"):
        save_checkpoint(saved, *started(0), Progress(step=8, position=40))
    assert names(saved) == before
    assert latest_checkpoint(saved)[0] == checkpoint_of_step(saved, 6)


def test_the_same_step_can_be_saved_again(saved: Path) -> None:
    run = started(3)
    save_checkpoint(saved, *run, Progress(step=6, position=30))
    other = started(1)
    load_checkpoint(checkpoint_of_step(saved, 6), *other)
    assert states_equal(run, other)


def test_a_checkpoint_of_another_model_is_refused(saved: Path) -> None:
    path = checkpoint_of_step(saved, 6)
    with pytest.raises(RunError, match=r"the checkpoint is of another model: 0\.bias and 8 more differ"):
        load_checkpoint(path, nn.Sequential(nn.Linear(2, 2)), None)
    with pytest.raises(RunError, match=r"of another model: embedding\.weight and 4 more differ"):
        load_checkpoint(path, Tied(width=8), None)
