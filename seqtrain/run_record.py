"""``run.json``: how a run directory is opened, known again and finished."""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NoReturn

import torch

from seqtrain.config import RunConfig
from seqtrain.config_files import differences, facts, to_toml
from seqtrain.errors import InputError
from seqtrain.io.run_directory import locked, write_json_atomically, write_text_atomically

RECORD = "run.json"
TASK = "task.json"
ENSEMBLE = "ensemble.json"
DAMAGED = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""What reading a JSON file raises when somebody else wrote it."""


def damaged(path: Path, error: Exception) -> InputError:
    """The error that a damaged file of a run is told by."""
    return InputError(f"{path}: damaged ({type(error).__name__}: {error}); use another copy, or start the run anew")


@contextmanager
def opened_run(
    folder: Path, kind: str, config: RunConfig, data: Mapping[str, str], command: str, *, overwrite: bool
) -> Iterator[dict[str, Any] | None]:
    """Hold a run directory, new or left by an earlier start of the same training.

    A start that ended before its first checkpoint, such as one whose input was refused, binds nobody: with the input or
    the settings corrected, the same command starts anew.

    Args:
        data: SHA-256 of each input by its name.
        overwrite: Remove the run that is there first.

    Yields:
        The results of the run if it is finished already, else None.

    Raises:
        InputError: the directory is in use, or holds a run of other settings or data; names what differs.
    """
    with locked(folder):
        if overwrite:
            clear_run(folder)
        now = json.loads(json.dumps({"kind": kind, **facts(config), **{f"data {key}": data[key] for key in data}}))
        path = folder / RECORD
        _remove_leavings(folder)
        if path.exists():
            before, results = _earlier_start(path)
            # Not by equality: a setting that is younger than the run was left open then, as it is now.
            if not differences(before, now):
                yield results
                return
            if results is not None or _has_checkpoints(folder):
                _refuse_changes(folder, before, now)
            clear_run(folder)
        write_text_atomically(folder / "config.toml", to_toml(config))
        write_json_atomically(path, {"facts": now, "command": command, "finished": False, "environment": environment()})
        yield None


def _has_checkpoints(folder: Path) -> bool:
    """Whether something was trained that would be lost, by the run itself or by a member of an ensemble."""
    return any(any(folder.glob(f"{place}checkpoints/step-*")) for place in ("", "members/*/"))


def _refuse_changes(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> NoReturn:
    changed = differences(before, now)
    more = f" and {len(changed) - 3} more differences" if len(changed) > 3 else ""
    raise InputError(
        f"{folder}: holds a run that differs ({'; '.join(changed[:3])}{more}); "
        "choose another -o, or pass --overwrite to start it anew"
    )


def _remove_leavings(folder: Path) -> None:
    """Remove the files that a killed process was writing."""
    for path in folder.glob("*.tmp-*"):
        if path.name.partition(".tmp-")[0] in RUN_FILES:
            path.unlink()


def finish_run(folder: Path, results: Mapping[str, Any]) -> None:
    """Mark the run as finished and keep its results beside its facts."""
    record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    write_json_atomically(folder / RECORD, {**record, "finished": True, "results": dict(results)})


def clear_run(folder: Path) -> None:
    """Remove what a run wrote, and nothing else; for ``--overwrite``.

    Raises:
        InputError: the folder holds files but is not a run directory.
    """
    # config.toml alone is what a start that was killed at once leaves.
    contents = [path for path in folder.iterdir() if path.name not in (".lock", "config.toml")]
    if contents and not (folder / RECORD).exists():
        raise InputError(
            f"{folder}: holds files but is not a run directory; --overwrite would not touch it, choose another -o"
        )
    for name in RUN_FILES:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


RUN_FILES: Sequence[str] = (
    "checkpoints", "model", ".model.partial", "store", ".store.partial", "valid_store", ".valid_store.partial",
    "tensorboard", "config.toml", "ledger.csv", "split.csv", "metrics.jsonl", "predictions.csv", "report.html",
    "lr_range.json", "lr_range.svg", "largest_batch.json", "members", "teacher", ".teacher.partial", "features",
    ".features.partial", "similarity", ".similarity.partial", "resampling.csv", "debug.json", ENSEMBLE, TASK, RECORD,
)  # fmt: skip


def environment() -> dict[str, str]:
    """Versions of what decides a result."""
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    for name in ("seqtrain", "numpy", "transformers", "scikit-learn"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    return {**versions, "platform": platform.platform(terse=True), "processor": platform.machine()}


def _earlier_start(path: Path) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """What decided the run when it was started, and its results if it is finished."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return dict(record["facts"]), dict(record["results"]) if record["finished"] else None
    except DAMAGED as error:
        raise damaged(path, error) from error
