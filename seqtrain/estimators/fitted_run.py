"""A finetuning without files: sequences, labels and settings in, what is in a run directory out.

The finetuning of the command line reads a table and leaves a run directory; both are made in a temporary folder.
"""

from __future__ import annotations

import csv
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from seqtrain.errors import InputError

if TYPE_CHECKING:
    from seqtrain.fitting import Listener
    from seqtrain.predict import Predictor

_TABLE, _RUN = "X.csv", "run"
_KEPT = ("model", "task.json", "run.json", "config.toml", "ledger.csv", "split.csv", "metrics.jsonl", "debug.json")
"""Of a run directory; checkpoints and reports are left behind."""
_OF_SETS = ("fold", "split", "split_by")


def fitted_run(
    texts: Sequence[str],
    labels: Sequence[Sequence[str]],
    weights: NDArray[np.float64] | None,
    *,
    own: Mapping[str, Any],
    further: Mapping[str, Any],
    listener: Listener,
) -> dict[str, bytes]:
    """N sequences, N rows of label cells and N weights -> path -> bytes of the run that finetuning on all of them left.

    Parameters:
        own: settings of :class:`seqtrain.config.FinetuneConfig` that the estimator decides; None leaves it to the rest.
        further: settings of the user.

    Raises:
        InputError: sequences, labels or settings that cannot be used; places are those in ``texts``.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        _write_table(folder / _TABLE, texts, labels, weights)
        of_files = {
            "table": str(folder / _TABLE), "output": str(folder / _RUN), "sequence_column": "sequence",
            "target": tuple(_label_columns(labels)), "split_column": "set",
            "weight_column": None if weights is None else "weight",
        }  # fmt: skip
        try:
            _finetune({**own, **of_files}, further, listener)
        except InputError as error:
            raise InputError(_in_words_of_python(str(error), folder)) from None
        return _read_files(folder / _RUN)


def write_files(files: Mapping[str, bytes], folder: Path) -> None:
    """Path -> bytes, as files within a folder."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def predictor_of(files: Mapping[str, bytes], device: str) -> Predictor:
    """What predicts by the files of a run."""
    from seqtrain.predict import Predictor

    with tempfile.TemporaryDirectory() as folder:
        write_files(files, Path(folder))
        return Predictor.load(folder, device=device)


def _finetune(own: Mapping[str, Any], further: Mapping[str, Any], listener: Listener) -> None:
    """Finetune without a test set, and leave a run directory."""
    from seqtrain.config import FinetuneConfig
    from seqtrain.config_files import checked, read_config
    from seqtrain.recipes.diagnosis import diagnosis_of, subject_of
    from seqtrain.recipes.finetune import digests, train, write_inputs
    from seqtrain.recipes.finetuning import prepare_finetuning
    from seqtrain.run_record import finish_run, opened_run

    _check(further, own)
    asked = {name: value for name, value in further.items() if value is not None}
    lists = {name: list(value) if isinstance(value, tuple) else value for name, value in asked.items()}
    settings = checked(FinetuneConfig, lists, "settings: ")
    job = prepare_finetuning(read_config(FinetuneConfig, None, {**own, **settings}), listener)
    output = Path(own["output"])
    with opened_run(output, "finetune", job.config, digests(job), "", overwrite=False):
        write_inputs(output, job)
        trained, outputs = train(job, output, listener)
        diagnosis_of(subject_of(trained), output, listener, outputs=outputs)
        finish_run(output, {"sets": []})


def _check(further: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    if repeated := sorted({name for name, value in own.items() if value is not None} & set(further)):
        raise InputError(f"settings: {repeated[0]} is decided by the estimator; set its own parameter instead")
    if further.get("members", 1) != 1 or further.get("bagging", "none") != "none":
        raise InputError("settings: members and bagging make several networks; join estimators with VotingClassifier")
    if sets := sorted(set(_OF_SETS) & set(further)):
        raise InputError(f"settings: {sets[0]} names sets, and fit learns from all of X; give folds to cross_val_score")


def _label_columns(labels: Sequence[Sequence[str]]) -> list[str]:
    return [f"label_{column}" for column in range(len(labels[0]))]


def _write_table(
    path: Path, texts: Sequence[str], labels: Sequence[Sequence[str]], weights: NDArray[np.float64] | None
) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["sequence", *_label_columns(labels), "set", *(["weight"] if weights is not None else [])])
        for index, (text, row) in enumerate(zip(texts, labels, strict=True)):
            weight = [] if weights is None else [repr(float(weights[index]))]
            writer.writerow([text, *row, "train", *weight])


def _in_words_of_python(message: str, folder: Path) -> str:
    """An error of the finetuning, with the place of a sequence in X for the line of its table."""
    table = re.escape(str(folder / _TABLE))
    message = re.sub(rf"{table}:(\d+)", lambda found: f"sequence {int(found[1]) - 2}", message)
    return re.sub(rf"{table}(: )?|record '[^']*': ", "", message)


def _read_files(folder: Path) -> dict[str, bytes]:
    """The files of a run that say all that is needed of it, by their paths within it."""
    found = [path for name in _KEPT for path in (folder / name, *sorted((folder / name).rglob("*")))]
    paths = [path for path in found if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
