"""What a network says of held-out records, and how well: the evaluations of a training and what stands at its end."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from seqtrain.batching import Examples
from seqtrain.evaluation.streaming import ClassScores
from seqtrain.inference import InferenceConfig, residue_outputs, sequence_outputs
from seqtrain.labeled import LabeledData
from seqtrain.scoring import mean_loss, measure, rows_of, true_values
from seqtrain.tasks import ResidueClassification, Task
from seqtrain.training import LoopConfig

_CHUNK_RESIDUES = 65_536


def measures_of(data: LabeledData, outputs: NDArray[np.float32], records: NDArray[np.int64]) -> dict[str, float]:
    """Loss and metrics of some records, given outputs (N, K) or (letters, K); of residues those that can be summed."""
    task = data.task
    rows = rows_of(task, data, records)
    true = true_values(task, data)
    if isinstance(task, ResidueClassification):
        # Every evaluation of a training comes here: no second array of all residues, and no sorting for each class.
        scores = ClassScores(num_classes=task.outputs)
        for first in range(0, len(rows), _CHUNK_RESIDUES):
            part = rows[first : first + _CHUNK_RESIDUES]
            scores = scores.update(true[part], task.values(outputs[part]))
        metrics = scores.result()
    else:
        metrics = measure(task, true[rows], task.values(outputs[rows]))
    return {"loss": mean_loss(task, data, outputs, records), **metrics}


def outputs_of(network: torch.nn.Module, task: Task, examples: Examples, loop: LoopConfig) -> NDArray[np.float32]:
    """Logits for all records of the store, (N, K) or (letters, K); 0 for those that are not among the examples."""
    if not len(examples):
        rows = examples.store.offsets[-1] if task.per_residue else len(examples.store.offsets) - 1
        return np.zeros((int(rows), task.loss.width(task.outputs)), np.float32)
    run = residue_outputs if task.per_residue else sequence_outputs
    return run(network, examples, InferenceConfig(device=loop.device, precision=loop.precision))
