"""How near the held-out records of a finetuning come to its training records, and what that does to the score."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from seqtrain.config import FinetuneConfig
from seqtrain.evaluation.leakage import LEAST_RECORDS, MAX_SAMPLED, Leakage, Stratum, find_leakage
from seqtrain.io.splits import VALID
from seqtrain.labeled import LabeledData
from seqtrain.letters import PackedLetters
from seqtrain.scoring import MAIN_METRIC, measure, rows_of, score_set, true_values


def leakage_of(
    config: FinetuneConfig, data: LabeledData, outputs: NDArray[np.float32], say: Callable[[str], None]
) -> Leakage | None:
    """The leakage of the test sets, or of the validation set where there is no test set, with scores by nearness.

    Args:
        outputs: (N, K) or (letters, K) logits of all records of ``data``.

    Returns:
        None where it was not asked for, where there is nothing to compare, and for the members of an ensemble, which
        says it for all of them.
    """
    if config.leakage == "none" or config.member is not None:
        return None
    limit = None if config.leakage == "full" else MAX_SAMPLED
    found = find_leakage(
        packed(data),
        data.split.sets,
        data.split.test_sets or [VALID],
        alphabet=data.store.alphabet,
        limit=limit,
        seed=config.seed,
        say=say,
    )
    return None if found is None else with_scores(found, data, outputs, config.seed)


def with_scores(found: Leakage, data: LabeledData, outputs: NDArray[np.float32], seed: int) -> Leakage:
    """The same with the scores of its bands; an interval where a band has 20 records or more."""
    strata = []
    for name in found.held_out:
        for words, places in found.bands(name):
            records = found.records[places]
            metrics, intervals = _scored(data, outputs, records, seed)
            strata.append(
                Stratum(test_set=name, name=words, num_records=len(records), metrics=metrics, intervals=intervals)
            )
    return replace(found, strata=tuple(strata), metric=MAIN_METRIC[type(data.task)])


def packed(data: LabeledData) -> PackedLetters:
    """The letters of all records."""
    return PackedLetters(np.asarray(data.store.letters), np.asarray(data.store.offsets))


def _scored(
    data: LabeledData, outputs: NDArray[np.float32], records: NDArray[np.int64], seed: int
) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    if len(records) >= LEAST_RECORDS:
        scored = score_set("", data.task, data, outputs, records, seed=seed)
        return dict(scored.metrics), dict(scored.intervals)
    rows = rows_of(data.task, data, records)
    return measure(data.task, true_values(data.task, data)[rows], data.task.values(outputs[rows])), {}
