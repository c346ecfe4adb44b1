"""A trained network in its run directory: all that predicting needs, read and written."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from seqtrain.alphabet import ALPHABETS, Alphabet
from seqtrain.errors import InputError
from seqtrain.io.run_directory import replacing_folder, write_json_atomically
from seqtrain.models.adapter_folder import Adapter, save_adapter
from seqtrain.models.ensemble import Ensemble, single
from seqtrain.models.heads import LanguageModelHead
from seqtrain.models.network import Network
from seqtrain.models.pretrained import load_network, save_network
from seqtrain.run_record import DAMAGED, ENSEMBLE, RECORD, TASK, damaged
from seqtrain.task_file import task_from_json, task_to_json
from seqtrain.tasks import Task, as_trained, read_by

_NO_TASK = ("masked_lm", "self_supervised")
"""Of runs without labels: with a language model head, and with the head of another objective."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """A trained network and what its inputs and outputs mean."""

    folder: Path
    network: Network | Ensemble
    alphabet: Alphabet
    task: Task | None
    """None for what was pretrained only."""
    max_length: int
    """Letters per window."""
    columns: dict[str, Any]
    """The part that each column of the training table played."""

    @property
    def single(self) -> Network:
        """The network, where it is one.

        Raises:
            InputError: the run is an ensemble.
        """
        return single(self.network)


def load_run(folder: Path) -> Run:
    """A finished run.

    Raises:
        InputError: not a run, or one that is not finished.
    """
    _refuse_non_run(folder)
    if (folder / ENSEMBLE).exists():
        return _load_ensemble(folder)
    if not (folder / "model").is_dir() or not (folder / TASK).exists():
        raise InputError(f"{folder}: the training is not finished; rerun its command to continue it")
    network, tokens = load_network(folder / "model")
    try:
        meaning = json.loads((folder / TASK).read_text(encoding="utf-8"))
        alphabet = ALPHABETS[meaning["alphabet"]]
        task = None if meaning["task"]["kind"] in _NO_TASK else task_from_json(meaning["task"])
        max_length, columns = int(meaning["max_length"]), dict(meaning["columns"])
    except DAMAGED as error:
        raise damaged(folder / TASK, error) from error
    if max_length < 1 or (
        task is not None and task.loss.width(task.outputs) != getattr(network.head.config, "outputs", None)
    ):
        raise InputError(f"{folder}: {TASK} and the model do not fit together; the folder was changed")
    if tokens != alphabet.tokens:
        raise InputError(
            f"{folder}: its vocabulary is not that of the {alphabet.name} alphabet; the folder was changed"
        )
    return Run(folder=folder, network=network, alphabet=alphabet, task=task, max_length=max_length, columns=columns)


def _load_ensemble(folder: Path) -> Run:
    """The members of an ensemble as one network, with the task that all of them have."""
    try:
        values = json.loads((folder / ENSEMBLE).read_text(encoding="utf-8"))
        names = [str(name) for name in values["members"]]
        readings = tuple(values.get("temperature", ())), tuple(values.get("threshold", ()))
        inside = bool(names) and all(re.fullmatch(r"members/[\w.-]+", name) and ".." not in name for name in names)
    except DAMAGED as error:
        raise damaged(folder / ENSEMBLE, error) from error
    if not inside:
        raise InputError(f"{folder / ENSEMBLE}: must name folders in members/; the folder was changed")
    members = [load_run(folder / name) for name in names]
    check_alike(members)
    networks = []
    for member in members:
        assert isinstance(member.network, Network), "check_alike refuses ensembles"
        networks.append(member.network)
    # Windows that every member can read.
    max_length = min(member.max_length for member in members)
    # Not the temperatures of the members: outputs of a mean are smaller, and less sure already.
    task = members[0].task
    try:
        task = None if task is None else read_by(task, *readings)
    except DAMAGED as error:
        raise damaged(folder / ENSEMBLE, error) from error
    return replace(members[0], folder=folder, network=Ensemble(networks).eval(), max_length=max_length, task=task)


def check_alike(runs: Sequence[Run]) -> None:
    """Refuse runs that cannot answer together.

    Raises:
        InputError: names the first two that differ, and in what.
    """
    first = runs[0]
    for run in runs:
        if isinstance(run.network, Ensemble):
            raise InputError(f"{run.folder}: is an ensemble itself; name its members instead")
        if run.task is None:
            raise InputError(
                f"{run.folder}: was pretrained without labels and has none to answer with; finetune it first"
            )
        if run.alphabet.name != first.alphabet.name:
            raise InputError(
                f"{run.folder}: reads {run.alphabet.name} letters and {first.folder} {first.alphabet.name}; "
                "an ensemble needs one alphabet"
            )
        assert first.task is not None
        if _meaning(run.task) != _meaning(first.task):
            raise InputError(
                f"{run.folder}: its outputs do not mean what those of {first.folder} mean (classes, units, or how "
                "numbers were scaled); train the members together: seqtrain finetune TABLE --members N"
            )
        if not _read_alike(run.task, first.task):
            raise InputError(
                f"{run.folder}: was trained with another --loss than {first.folder}, by which outputs mean something "
                "else, so that their mean would mean nothing; join runs of one loss"
            )


def _meaning(task: Task) -> dict[str, Any]:
    """What outputs mean, however they were trained and are read."""
    return {name: value for name, value in task_to_json(as_trained(task)).items() if name != "trained_loss"}


def _read_alike(one: Task, other: Task) -> bool:
    """Whether the same outputs say the same to both, tried on some: losses with bins or of one class each do not."""
    width = one.loss.width(one.outputs)
    if other.loss.width(other.outputs) != width:
        return False
    outputs = torch.randn(8, width, generator=torch.Generator().manual_seed(0))
    return torch.allclose(one.loss.value(outputs), other.loss.value(outputs), atol=1e-5)


def save_ensemble(folder: Path, members: Sequence[str], task: Task | None = None) -> None:
    """Write which runs inside a folder, such as members/1, answer together, and how a task reads what they answer."""
    readings = {name: value for name in ("temperature", "threshold") if (value := getattr(task, name, ()))}
    write_json_atomically(folder / ENSEMBLE, {"members": list(members), **readings})


def alphabet_of_run(folder: Path) -> Alphabet:
    """The alphabet of a finished run.

    Raises:
        InputError: its ``task.json`` is damaged.
    """
    try:
        return ALPHABETS[json.loads((folder / TASK).read_text(encoding="utf-8"))["alphabet"]]
    except DAMAGED as error:
        raise damaged(folder / TASK, error) from error


def settings_of_run(folder: Path) -> dict[str, Any]:
    """The settings that a run was started with; none where there is no readable config.toml."""
    try:
        return tomllib.loads((folder / "config.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _refuse_non_run(folder: Path) -> None:
    if not folder.exists():
        raise InputError(f"{folder}: no such run directory; check the path")
    if not folder.is_dir():
        raise InputError(f"{folder}: is a file; give the run directory that pretrain or finetune wrote")
    if not (folder / RECORD).exists():
        raise InputError(
            f"{folder}: is not a run directory (it has no {RECORD}); give one that pretrain or finetune wrote"
        )


def save_model(
    folder: Path,
    network: Network,
    alphabet: Alphabet,
    task: Task | None,
    max_length: int,
    columns: Mapping[str, Any],
    adapter: Adapter | None = None,
) -> None:
    """Write ``model/`` and ``task.json``; the model appears whole or not at all.

    With an adapter, which the network has merged already, only that and the head are written.

    Raises:
        RunError: the disk is full.
    """
    with replacing_folder(folder / "model") as partial:
        if adapter is None:
            save_network(network, partial, alphabet.tokens)
        else:
            save_adapter(partial, adapter, network.body.config, network.head, alphabet.tokens)
    meaning = {
        "task": {"kind": kind_without_task(network)} if task is None else task_to_json(task),
        "alphabet": alphabet.name,
        "max_length": max_length,
        "columns": dict(columns),
    }
    write_json_atomically(folder / TASK, meaning)


def kind_without_task(network: Network) -> str:
    """What stands in the place of a task's kind where there are no labels."""
    return _NO_TASK[0 if isinstance(network.head, LanguageModelHead) else 1]
