"""The teacher of a distillation: finished runs, checked against what the student is to learn, that answer as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from seqtrain.alphabet import Alphabet
from seqtrain.batch import Batch
from seqtrain.errors import InputError
from seqtrain.io.run_directory import sha256_of
from seqtrain.io.splits import TRAIN
from seqtrain.labeled import LabeledData
from seqtrain.losses import CosineDistance, PairwiseRanking, Quantized
from seqtrain.models.network import Network
from seqtrain.objectives.choosing import widest_float
from seqtrain.recipes.own_table import sets_of_rows
from seqtrain.run import Run, load_run, settings_of_run
from seqtrain.tasks import Classification, MultiLabel, Regression, ResidueClassification, Task
from seqtrain.training import Precision, autocast

TeacherMean = Literal["logits", "probabilities"]
_SHOWN_CLASSES = 5
_OTHER_UNITS = 3.0
"""Standard deviations between two means, or ratio of two deviations, from which numbers are taken for other units."""


@dataclass(frozen=True, kw_only=True)
class TeacherRun:
    """A finished run that teaches, alone or with others."""

    name: str
    """As the user named it."""
    run: Run
    precision: Precision
    """In which it was trained, and answers."""

    @property
    def networks(self) -> list[Network]:
        """Its network, or those of its members."""
        network = self.run.network
        return [network] if isinstance(network, Network) else list(network.members)  # type: ignore[arg-type]

    @property
    def task(self) -> Task:
        """What its outputs mean."""
        assert self.run.task is not None, "load_teachers refuses runs without labels"
        return self.run.task

    @property
    def digests(self) -> dict[str, str]:
        """SHA-256 of its weights and of what they mean, by the names of the files."""
        folder = self.run.folder
        patterns = (f"{part}{name}" for part in ("", "members/*/") for name in ("model/*.safetensors", "task.json"))
        found = [path for pattern in patterns for path in sorted(folder.glob(pattern))]
        return {str(path.relative_to(folder)): sha256_of(path) for path in found}


def load_teachers(names: Sequence[str], output: Path | None) -> list[TeacherRun]:
    """The runs that teach.

    Raises:
        InputError: none, one that is named twice or is the student's own folder, that cannot be loaded, is not finished
            or has no labels.
    """
    if not names:
        raise InputError("--teacher: name a finished run, or several, from which the student is to learn")
    teachers: list[TeacherRun] = []
    for number, name in enumerate(names):
        folder = Path(name)
        if folder.resolve() in [Path(other).resolve() for other in names[:number]]:
            raise InputError(f"--teacher {name}: is named twice; name it once")
        if output is not None and folder.resolve() == output.resolve():
            raise InputError(f"--teacher {name}: is the folder that the student is written to; choose another -o")
        try:
            run = load_run(folder)
        except InputError as error:
            raise InputError(f"--teacher {error}") from None
        if run.task is None:
            raise InputError(
                f"--teacher {name}: was pretrained only and has no labels to teach; finetune it, and name that run"
            )
        first = folder / "members/1"
        precision = settings_of_run(first if first.is_dir() else folder).get("precision")
        teachers.append(TeacherRun(name=name, run=run, precision="bf16" if precision == "bf16" else "fp32"))
    return teachers


def check_teacher(teacher: TeacherRun, student: Task, alphabet: Alphabet, table: str) -> None:
    """Refuse a teacher that says something else than the student is to learn.

    Raises:
        InputError: another alphabet, kind of task, column, classes, separator or units; names both sides and the fix.
    """
    name, task = f"--teacher {teacher.name}", teacher.task
    if teacher.run.alphabet.name != alphabet.name:
        raise InputError(
            f"{name}: reads {teacher.run.alphabet.name} letters, and {table} is read as {alphabet.name}; name a "
            f"teacher of {alphabet.name}, or pass --alphabet {teacher.run.alphabet.name} if that is what they are"
        )
    if type(task) is not type(student):
        raise InputError(
            f"{name}: teaches {task.words}, and {table} asks for {student.words}; name a teacher of the same task, or "
            "choose another --target or --task"
        )
    if isinstance(task, Regression):
        assert isinstance(student, Regression)
        _check_units(name, task, student, table)
        return
    assert isinstance(student, Classification | MultiLabel | ResidueClassification)
    if set(task.classes) != set(student.classes):
        sides = (("the teacher", task.classes, student.classes), (table, student.classes, task.classes))
        only = [f"only {who} has {_some(set(own) - set(other))}" for who, own, other in sides if set(own) - set(other)]
        raise InputError(
            f"{name}: its classes are not those of {table}: {', '.join(only)}; name a teacher that was trained on "
            "this table, or choose another --target"
        )


def _check_units(name: str, task: Regression, student: Regression, table: str) -> None:
    if task.columns != student.columns:
        raise InputError(
            f"{name}: teaches {', '.join(task.columns)}, and {table} asks for {', '.join(student.columns)}; choose the "
            "same --target, or another teacher"
        )
    rows = zip(task.columns, task.mean, task.scale, student.mean, student.scale, strict=True)
    for column, mean, scale, own_mean, own_scale in rows:
        wider = max(scale, own_scale)
        if abs(mean - own_mean) > _OTHER_UNITS * wider or wider > _OTHER_UNITS * min(scale, own_scale):
            raise InputError(
                f"{name}: learnt {column!r} of {mean:.4g} ± {scale:.2g}, and in {table} it is {own_mean:.4g} ± "
                f"{own_scale:.2g}; these are other units or other data, so convert the column or name another teacher"
            )
    for one, other, whose in ((task, student, "the teacher"), (student, task, "the student")):
        unscaled = isinstance(one.loss, PairwiseRanking | CosineDistance)
        if unscaled and type(one.loss) is not type(other.loss):
            raise InputError(
                f"{name}: by its loss, the outputs of {whose} have an order but no scale, and those of the other have "
                "one; give both the same --loss"
            )


def _some(names: set[str]) -> str:
    shown = sorted(names)[:_SHOWN_CLASSES]
    more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
    return ", ".join(map(repr, shown)) + more


class Teacher(nn.Module):
    """Networks that answer as one, in the classes and the scaling of the student; never trained.

    ``logits``: the mean of what they say, for classes the geometric mean of their probabilities, which is what an
    ensemble of ours predicts. ``probabilities``: the mean of their probabilities at the temperature that they are
    learnt at, given as logits. Numbers are averaged either way. Each network counts once, whatever run it is from.
    """

    def __init__(
        self, runs: Sequence[TeacherRun], student: Task, mean: TeacherMean = "logits", temperature: float = 1.0
    ) -> None:
        super().__init__()
        self.by_bins = says_bins(runs, student)
        """It says logits of bins, which are those of the student."""
        self.task = student if self.by_bins else replace(student, trained_loss=None)
        """How what it says is read."""
        self.members = nn.ModuleList(network for run in runs for network in run.networks)
        self._of_members = [run for run in runs for _ in run.networks]
        self._runs, self._student, self._mean, self._temperature = runs, student, mean, temperature
        self.eval()
        self.requires_grad_(False)

    def train(self, mode: bool = True) -> Teacher:
        """In evaluation mode, whatever is asked for."""
        return super().train(False)

    def __deepcopy__(self, memo: dict[int, Any]) -> Teacher:
        """The same: nothing ever changes it, and a range test that copies a training needs no second large one."""
        return self

    def at_temperature(self, temperature: float) -> Teacher:
        """The same networks, their probabilities averaged at another temperature."""
        return Teacher(self._runs, self._student, self._mean, temperature)

    @torch.no_grad()
    def forward(self, batch: Batch) -> Tensor:
        """(B, K) or (T, K) float32: logits of classes or labels, numbers, or (…, width) logits of bins."""
        total: Tensor | None = None
        device = batch.inputs.device
        for member, run in zip(self.members, self._of_members, strict=True):
            # Its own precision, whatever the student is computed in around it.
            with torch.autocast(device.type, enabled=False), autocast(device, run.precision):
                outputs = member(batch).float()
            said = self._said(outputs, run.task)
            total = said if total is None else total + said
        assert total is not None, "load_teachers refuses none"
        return self._as_logits(total / len(self.members))

    def _said(self, outputs: Tensor, task: Task) -> Tensor:
        """What one network says: outputs (N, width) -> (N, K), probabilities where these are averaged."""
        if self.by_bins:
            columns = self.task.outputs
            bins = outputs.reshape(len(outputs), columns, -1)
            return self._averaged(bins, "classes").reshape(outputs.shape)
        values = task.loss.value(outputs)
        if isinstance(task, Regression):
            assert isinstance(self.task, Regression)
            wide = widest_float(values.device)
            mean, scale, own_mean, own_scale = (
                torch.tensor(each, dtype=wide, device=values.device)
                for each in (task.mean, task.scale, self.task.mean, self.task.scale)
            )
            return ((values.to(wide) * scale + mean - own_mean) / own_scale).float()
        assert not isinstance(self.task, Regression)
        order = [task.classes.index(name) for name in self.task.classes]
        return self._averaged(values[:, order], "labels" if isinstance(task, MultiLabel) else "classes")

    def _averaged(self, logits: Tensor, kind: Literal["classes", "labels"]) -> Tensor:
        if self._mean == "logits":
            return logits
        softened = logits / self._temperature
        return softened.sigmoid() if kind == "labels" else softened.softmax(dim=-1)

    def _as_logits(self, mean: Tensor) -> Tensor:
        """Logits of averaged probabilities, at the temperature; other means as they are."""
        if self._mean == "logits" or (isinstance(self.task, Regression) and not self.by_bins):
            return mean
        smallest = torch.finfo(mean.dtype).tiny
        logits = mean.clamp_min(smallest).log()
        if isinstance(self.task, MultiLabel):
            # 1 - mean has no digits left where labels are certain; there log 1 / eps is the largest that there is.
            logits = logits - (1 - mean).clamp_min(torch.finfo(mean.dtype).eps).log()
        return self._temperature * logits


def num_seen(teacher: TeacherRun, data: LabeledData) -> int:
    """Held-out records of a table that a teacher of the same table was trained on, as far as its folder can tell."""
    sets = sets_of_rows(teacher.run.folder, data.table.path)
    held_out = data.rows[data.split.sets != TRAIN].tolist()
    return sum(sets.get(row) == TRAIN for row in held_out)


def says_bins(runs: Sequence[TeacherRun], student: Task) -> bool:
    """Whether teacher and student have the same bins of a quantised loss, so that these are what is said."""
    return isinstance(student.loss, Quantized) and all(run.task.loss == student.loss for run in runs)


def teacher_length(runs: Sequence[TeacherRun]) -> int:
    """Letters per window that every teacher can read."""
    return min(run.run.max_length for run in runs)


def num_parameters(network: nn.Module) -> int:
    """Of all its networks."""
    return sum(parameter.numel() for parameter in network.parameters())


def ensemble_words(runs: Sequence[TeacherRun], mean: TeacherMean) -> str:
    """What teaches, in a few words."""
    count = sum(len(run.networks) for run in runs)
    if count == 1:
        return "one network"
    several = f"{count} networks" + (f" of {len(runs)} runs" if len(runs) > 1 else "")
    return several if mean == "logits" else f"{several}, by the mean of their probabilities"
