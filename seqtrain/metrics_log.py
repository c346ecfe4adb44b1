"""``metrics.jsonl``, and TensorBoard beside it when asked for: one line per event, in the order of the steps."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any

from seqtrain.errors import InputError, RunError
from seqtrain.io.run_directory import finite, write_text_atomically

FILE_NAME = "metrics.jsonl"


class MetricsLog:
    """Appends events to the log of a run. A resumed run first drops the lines after the step it resumes from."""

    def __init__(self, folder: Path, first_step: int, tensorboard: bool = False) -> None:
        self._path = folder / FILE_NAME
        kept = [event for event in read_metrics(folder) if first_step and event["step"] <= first_step]
        write_text_atomically(self._path, "".join(json.dumps(event) + "\n" for event in kept))
        self._file = self._path.open("a", encoding="utf-8")
        self._writer = _summary_writer(folder, first_step) if tensorboard else None

    def rewind(self, step: int) -> None:
        """Drop what came after a step, to which a training goes back."""
        self._file.close()
        kept = [event for event in read_metrics(self._path.parent) if event["step"] <= step]
        write_text_atomically(self._path, "".join(json.dumps(event) + "\n" for event in kept))
        self._file = self._path.open("a", encoding="utf-8")
        if self._writer is not None:
            self._writer.close()
            self._writer = _summary_writer(self._path.parent, step)

    def write(self, event: str, step: int, values: dict[str, float]) -> None:
        """One line: {"event": …, "step": …, name: number or null, …}."""
        try:
            self._file.write(json.dumps(finite({"event": event, "step": step, **values})) + "\n")
            self._file.flush()
        except OSError as error:
            raise RunError(f"{self._path}: cannot write: {error.strerror}; free some space and rerun") from error
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(f"{event}/{name}", value, step)

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()
        if self._writer is not None:
            self._writer.close()


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """All events of a run; a last line that a killed process left unfinished is passed over."""
    path = folder / FILE_NAME
    events = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            events.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return events


def _summary_writer(folder: Path, first_step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise InputError("--tensorboard needs the tensorboard package; pip install 'seqtrain[tensorboard]'") from None
    return SummaryWriter(folder / "tensorboard", purge_step=first_step + 1 if first_step else None)
