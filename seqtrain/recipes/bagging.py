"""Which records each member of an ensemble is trained on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from seqtrain.config import FinetuneConfig
from seqtrain.draws import fold, generator_seed, permuted
from seqtrain.errors import InputError
from seqtrain.io.splits import TRAIN
from seqtrain.labeled import LabeledData
from seqtrain.tasks import Classification


def bagged(config: FinetuneConfig, data: LabeledData) -> tuple[LabeledData, NDArray[np.int64]]:
    """The training records (n,) of a member, in data whose weights say how often each was drawn.

    * none: all of them; the members differ by their weights at the start and the order of records (deep ensembles,
      Lakshminarayanan et al. 2017).
    * bootstrap: as many as there are, drawn with replacement (Breiman 1996).
    * balanced: of every class as many as the rarest one has (EasyEnsemble, Liu et al. 2009).

    Raises:
        InputError: balanced subsets of what are no classes.
    """
    records = data.split.indices(TRAIN)
    if config.member is None or config.bagging == "none":
        return data, records
    if config.bagging == "bootstrap":
        key = fold(config.seed, "bootstrap", config.member)
        drawn = np.random.Generator(np.random.Philox(key & (2**64 - 1))).integers(0, len(records), len(records))
        counts = np.bincount(records[drawn], minlength=len(data.store)).astype(np.float32)
        weights = counts if data.weights is None else counts * data.weights
        return replace(data, weights=weights), records[counts[records] > 0]
    if not isinstance(data.task, Classification):
        raise InputError(
            f"--bagging balanced: needs one class per sequence, and this is {data.task.words}; use bootstrap"
        )
    return data, balanced_subset(data.targets[records].astype(np.int64), config.seed, config.member, records)


def training_seed(config: FinetuneConfig) -> int:
    """The seed of all but the split, which the members of an ensemble share."""
    return config.seed if config.member is None else generator_seed(config.seed, "member", config.member)


def balanced_subset(
    classes: NDArray[np.int64], seed: int, member: int, records: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Of records (N,) with classes (N,), as many of each class as the rarest has, others for each member.

    Members draw on: the larger classes are used up before any of their records comes again.
    """
    groups = [records[classes == each] for each in np.unique(classes)]
    size = min(map(len, groups))
    chosen = []
    for number, group in enumerate(groups):
        places = np.arange(member * size, (member + 1) * size)
        rounds, within = np.divmod(places, len(group))
        for each in np.unique(rounds).tolist():
            key = fold(seed, "balanced", number, each)
            chosen.append(group[permuted(within[rounds == each], len(group), key)])
    return np.unique(np.concatenate(chosen))
