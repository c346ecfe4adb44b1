"""What a trained network is found to be worth: what a finetuning looks at when its last step is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from seqtrain.fitting import Listener
from seqtrain.io.splits import TRAIN, VALID
from seqtrain.labeled import LabeledData
from seqtrain.recipes.finetuning import FinetuningJob
from seqtrain.scoring import Scored, rows_of, score_set, simple_models


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What the held-out records say; a part that could not be looked at is None."""

    scored: Sequence[Scored]
    """Validation and every test set apart."""

    def as_results(self) -> dict[str, Any]:
        """What ``run.json`` keeps of it."""
        return {"sets": [asdict(each) for each in self.scored]}


def findings_of(job: FinetuningJob, network: nn.Module, outputs: NDArray[np.float32], listener: Listener) -> Findings:
    """Look at what was held out.

    Args:
        network: trained, on the device of the job.
        outputs: (N, K) or (letters, K) logits of all records of the job's table, 0 for those trained on.
    """
    listener.say("scoring, with simple models beside")
    return Findings(scored=score_sets(job.data, outputs, job.config.seed))


def score_sets(data: LabeledData, outputs: NDArray[np.float32], seed: int) -> list[Scored]:
    """Validation and every test set apart, with simple models fitted to the same training records."""
    names = [name for name in (VALID, *data.split.test_sets) if (data.split.sets == name).any()]
    indices = [data.split.indices(name) for name in names]
    everything = np.concatenate([np.zeros(0, np.int64), *indices])
    simple = simple_models(data.task, data, data.split.indices(TRAIN), everything, seed)
    cuts = np.cumsum([0, *(len(rows_of(data.task, data, each)) for each in indices)])
    return [
        score_set(
            name,
            data.task,
            data,
            outputs,
            records,
            baselines={other: values[start:stop] for other, values in simple.items()},
            seed=seed,
        )
        for name, records, start, stop in zip(names, indices, cuts[:-1], cuts[1:], strict=True)
    ]
