"""How hopeful the score of a winner is, which was chosen because it is high.

The correction is that of Tsamardinos, Greasidou & Borboudakis (2018, "Bootstrapping the out-of-sample predictions for
efficient and accurate cross-validation", Machine Learning 107): the choice is made again on records drawn with
replacement, and its winner scored on the records that were not drawn. It corrects for the choice among trials; not for
the weights of each trial, which were kept at their best evaluation on the same records.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from seqtrain.draws import below, fold, mix

Score = Callable[[int, NDArray[np.int64]], float]
"""The score of a trial on some records, which may be named several times; nan where it has none."""


def score_of_choosing(
    score: Score, num_trials: int, num_records: int, *, lower: bool, num_resamples: int, seed: int
) -> float:
    """The score that choosing the best of these trials is worth on records that it was not chosen by.

    Returns:
        nan with one trial, with fewer than 4 records, and where half of the resamples have no score.
    """
    if num_trials < 2 or num_records < 4:
        return math.nan
    found = []
    for index in range(num_resamples):
        bits = mix(np.arange(num_records, dtype=np.int64) + fold(seed, "optimism", index))
        drawn = below(bits, num_records)
        left = np.setdiff1d(np.arange(num_records), drawn)
        scores = np.array([score(trial, drawn) for trial in range(num_trials)])
        if not len(left) or np.isnan(scores).all():
            continue
        winner = int(np.nanargmin(scores) if lower else np.nanargmax(scores))
        value = score(winner, left)
        if not math.isnan(value):
            found.append(value)
    return float(np.mean(found)) if 2 * len(found) >= num_resamples else math.nan
