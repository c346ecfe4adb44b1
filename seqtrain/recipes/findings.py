"""What a trained network is found to be worth: what a finetuning looks at when its last step is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from seqtrain.diagnosis import Remark
from seqtrain.evaluation.baselines import Which
from seqtrain.evaluation.calibration import Reliability
from seqtrain.evaluation.embedding_map import EmbeddingMap
from seqtrain.evaluation.leakage import Leakage
from seqtrain.fitting import Listener
from seqtrain.io.splits import TRAIN, VALID
from seqtrain.labeled import LabeledData
from seqtrain.recipes.calibration import reliabilities
from seqtrain.recipes.diagnosis import diagnosis_of, subject_of
from seqtrain.recipes.embedding_map import map_of
from seqtrain.recipes.finetuning import FinetuningJob
from seqtrain.recipes.leakage import leakage_of
from seqtrain.scoring import Scored, rows_of, score_set, simple_models


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What the held-out records say; a part that could not be looked at is None."""

    scored: Sequence[Scored]
    """Validation and every test set apart."""
    reliability: tuple[Reliability, ...] = ()
    """Of the same sets, where there are probabilities."""
    leakage: Leakage | None = None
    """How near the test records, or without any the validation records, come to training records."""
    embedding_map: EmbeddingMap | None = None
    """Where held-out records lie in what the network makes of them."""

    diagnosis: tuple[Remark, ...] | None = None
    """What was found to be wrong or right with the training, the worst first; None where nobody asked."""

    def as_results(self) -> dict[str, Any]:
        """What ``run.json`` keeps of it."""
        return {
            "sets": [asdict(each) for each in self.scored],
            "reliability": [each.as_plain() for each in self.reliability],
            "leakage": None if self.leakage is None else self.leakage.as_results(),
            **({} if self.diagnosis is None else {"diagnosis": [each.to_json() for each in self.diagnosis]}),
        }


def findings_of(job: FinetuningJob, network: nn.Module, outputs: NDArray[np.float32], listener: Listener) -> Findings:
    """Look at what was held out.

    Args:
        network: trained, on the device of the job.
        outputs: (N, K) or (letters, K) logits of all records of the job's table, 0 for those trained on.
    """
    beside = "without simple models beside, as asked" if job.config.baselines == "none" else "with simple models beside"
    listener.say(f"scoring, {beside}")
    scored = score_sets(job.data, outputs, job.config.seed, job.config.baselines)
    return Findings(
        scored=scored,
        reliability=reliabilities(job.data, outputs, [each.name for each in scored]),
        leakage=leakage_of(job.config, job.data, outputs, listener.say),
        embedding_map=map_of(job, network),
        diagnosis=diagnosis_of(subject_of(job), Path(str(job.config.output)), listener, outputs=outputs),
    )


def score_sets(data: LabeledData, outputs: NDArray[np.float32], seed: int, which: Which = "all") -> list[Scored]:
    """Validation and every test set apart, with simple models fitted to the same training records."""
    names = [name for name in (VALID, *data.split.test_sets) if (data.split.sets == name).any()]
    indices = [data.split.indices(name) for name in names]
    everything = np.concatenate([np.zeros(0, np.int64), *indices])
    simple = simple_models(data.task, data, data.split.indices(TRAIN), everything, seed, which)
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
