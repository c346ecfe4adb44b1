"""Saving and resuming: a checkpoint appears whole or not at all, and is checked before it is trusted."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from seqtrain.averaging import AveragedWeights
from seqtrain.bandit import BanditState
from seqtrain.errors import RunError
from seqtrain.io.run_directory import finite, replacing_folder, sha256_of, write_json_atomically
from seqtrain.schedules import Evaluation, history_of

_PREFIX = "step-"


@dataclass(frozen=True)
class Progress:
    """Where a training stands, apart from the tensors."""

    step: int
    """Updates done."""
    position: int
    """Examples consumed."""
    best_step: int | None = None
    """The step with the best validation score so far; its checkpoint is kept."""
    best_score: float | None = None
    history: tuple[Evaluation, ...] = ()
    """Evaluations so far, which schedules and early stopping look at."""
    loss_sum: float = 0.0
    """Of the training losses of the steps since the last evaluation."""
    num_losses: int = 0
    """Of these steps, those that had one."""
    stopped: str | None = None
    """Why the training ended before its last step."""
    tokens_per_microbatch: int | None = None
    """Computed at once, found by trying or lowered when memory ran out; None: as the training is set."""
    bandit: BanditState | None = None
    """What an automated curriculum has learnt of its groups."""


def save_checkpoint(
    folder: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    average: AveragedWeights | None = None,
) -> Path:
    """Write ``folder/step-N`` through a partial folder that is synced and renamed.

    Raises:
        RunError: the disk is full; the checkpoints before stay as they were.
    """
    target = checkpoint_of_step(folder, progress.step)
    with replacing_folder(target) as partial:
        save_file(_unshared(model.state_dict()), partial / "model.safetensors")
        tensors, scalars = _optimizer_state(optimizer)
        save_file(tensors, partial / "optimizer.safetensors")
        if average is not None:
            save_file(average.state_dict(), partial / "average.safetensors")
        history = [[row.step, finite(row.loss), finite(row.training_loss)] for row in progress.history]
        bandit = None if progress.bandit is None else asdict(progress.bandit)
        state = {"progress": {**vars(progress), "history": history, "bandit": bandit}, "optimizer": scalars}
        write_json_atomically(partial / "state.json", state)
        hashes = {path.name: sha256_of(path) for path in sorted(partial.iterdir())}
        write_json_atomically(partial / "manifest.json", hashes)
    return target


def load_checkpoint(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None,
    average: AveragedWeights | None = None,
) -> Progress:
    """Fill the model (the optimiser, the average) with what was saved; every tensor must be there and fit."""
    state = json.loads((path / "state.json").read_text())
    _fill(model, load_file(path / "model.safetensors"))
    if optimizer is not None:
        _load_optimizer(optimizer, load_file(path / "optimizer.safetensors"), state["optimizer"])
    if average is not None:
        average.load_state_dict(load_file(path / "average.safetensors"))
    saved = state["progress"]
    bandit = None if saved.get("bandit") is None else BanditState.from_json(saved["bandit"])
    return Progress(**{**saved, "history": history_of(saved["history"]), "bandit": bandit})


def latest_checkpoint(folder: Path) -> tuple[Path | None, list[Path]]:
    """The newest checkpoint whose files match their hashes, and the damaged ones that were passed over."""
    damaged: list[Path] = []
    for path in reversed(checkpoints(folder)):
        if is_sound(path):
            return path, damaged
        damaged.append(path)
    return None, damaged


def checkpoints(folder: Path) -> list[Path]:
    """Finished checkpoints, oldest first."""
    return sorted(path for path in folder.glob(f"{_PREFIX}*") if path.is_dir())


def purge_checkpoints(folder: Path, progress: Progress, keep: int = 2) -> None:
    """Remove all but the newest ``keep`` and the best, and partial folders of killed processes."""
    for path in folder.glob(".*.partial"):
        shutil.rmtree(path, ignore_errors=True)
    for path in checkpoints(folder)[:-keep]:
        if progress.best_step is None or path != checkpoint_of_step(folder, progress.best_step):
            shutil.rmtree(path, ignore_errors=True)


def checkpoint_of_step(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return folder / f"{_PREFIX}{step:08d}"


def is_sound(path: Path) -> bool:
    """Whether the files of a checkpoint are those that were written."""
    try:
        hashes = json.loads((path / "manifest.json").read_text())
        return all(sha256_of(path / name) == expected for name, expected in hashes.items())
    except (OSError, ValueError, AttributeError):
        return False


def _unshared(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Each storage once: tied weights are saved under the name that comes first."""
    seen: set[int] = set()
    unshared = {}
    for name, tensor in state.items():
        if tensor.data_ptr() not in seen or tensor.numel() == 0:
            unshared[name] = tensor.detach().contiguous()
            seen.add(tensor.data_ptr())
    return unshared


def _fill(model: nn.Module, tensors: dict[str, Tensor]) -> None:
    expected = {(name, tensor.shape) for name, tensor in _unshared(model.state_dict()).items()}
    found = {(name, tensor.shape) for name, tensor in tensors.items()}
    if found != expected:
        names = sorted({name for name, _ in found ^ expected})
        raise RunError(f"the checkpoint is of another model: {names[0]} and {len(names) - 1} more differ")
    model.load_state_dict(tensors, strict=False)


def _optimizer_state(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors under "parameter//name" and everything else as JSON."""
    tensors: dict[str, Tensor] = {}
    scalars: dict[str, Any] = {}
    for parameter, values in optimizer.state_dict()["state"].items():
        for name, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"{parameter}//{name}"] = value.contiguous()
            else:
                scalars[f"{parameter}//{name}"] = value
    return tensors, scalars


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], scalars: dict[str, Any]) -> None:
    state: dict[int, dict[str, Any]] = {}
    for key, value in {**tensors, **scalars}.items():
        parameter, _, name = key.partition("//")
        state.setdefault(int(parameter), {})[name] = value
    whole = optimizer.state_dict()
    optimizer.load_state_dict({"state": state, "param_groups": whole["param_groups"]})
