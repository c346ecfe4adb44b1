"""What the classes of a table look like, and what each method against imbalance would do to them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from seqtrain.config import FinetuneConfig
from seqtrain.errors import InputError
from seqtrain.fitting import Listener
from seqtrain.imbalance import ClassTable
from seqtrain.io.delimited import read_table
from seqtrain.recipes.finetuning import read_training_table
from seqtrain.recipes.training_core import training_counts
from seqtrain.tasks import Classification, MultiLabel, ResidueClassification


def class_table(config: FinetuneConfig, listener: Listener) -> ClassTable:
    """The classes of a table's training records.

    Raises:
        InputError: a table that cannot be used, labels that are numbers, or training records without any label.
    """
    data = read_training_table(config, read_table(Path(config.table)), None, listener).data
    if not isinstance(data.task, Classification | MultiLabel | ResidueClassification):
        raise InputError(f"{config.table}: {data.task.words} has no classes; --task classification takes them as such")
    counts = training_counts(data)
    if not counts.any():
        raise InputError(f"{config.table}: no training record has a label; look at its labels, its mask and its sets")
    of: Literal["residues", "sequences", "labels"] = "residues"
    if not data.task.per_residue:
        of = "sequences" if isinstance(data.task, Classification) else "labels"
    return ClassTable(data.task.classes, counts, of)
