"""Finished runs of one task joined into a run that predicts like one model."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import Any

from seqtrain.errors import InputError
from seqtrain.fitting import Listener
from seqtrain.io.run_directory import replacing_folder
from seqtrain.run import check_alike, load_run, save_ensemble

_COPIED = ("model", "task.json", "run.json", "config.toml")
"""Of each member: all that predicting needs."""


def join_runs(folders: Sequence[str], output: Path, listener: Listener) -> None:
    """Copy the models of finished runs into a new folder whose answer is the mean of theirs.

    Raises:
        InputError: fewer than two runs, unfinished ones, runs that mean different things, or an output that exists.
        RunError: the disk is full.
    """
    if len(folders) < 2:
        raise InputError("an ensemble needs two runs or more; name their folders")
    if output.exists():
        raise InputError(f"{output}: exists already; choose another -o")
    places = [Path(folder).resolve() for folder in folders]
    for number, place in enumerate(places):
        if place in places[:number]:
            raise InputError(f"{folders[number]}: is named twice; a run twice is no second opinion, name it once")
    runs = [load_run(Path(folder)) for folder in folders]
    check_alike(runs)
    if any(getattr(run.task, "temperature", ()) or getattr(run.task, "threshold", ()) for run in runs):
        listener.say(
            "temperatures and thresholds of the members are left out: they were chosen for the outputs of each alone; "
            "those of an ensemble are chosen where it is trained:  seqtrain finetune TABLE --members N --calibrate …"
        )
    with replacing_folder(output) as partial:
        names = [f"members/{number + 1}" for number in range(len(runs))]
        for name, run in zip(names, runs, strict=True):
            (partial / name).mkdir(parents=True)
            for part in _COPIED:
                _copy(run.folder / part, partial / name / part)
        _copy(runs[0].folder / "task.json", partial / "task.json")
        _copy(runs[0].folder / "run.json", partial / "run.json")
        save_ensemble(partial, names)
    listener.say(f"wrote {output}: {len(runs)} runs as one; predict with  seqtrain predict {quote(str(output))} FILE")


def _copy(source: Path, target: Path) -> Any:
    return shutil.copytree(source, target) if source.is_dir() else shutil.copy2(source, target)
