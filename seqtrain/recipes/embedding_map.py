"""A map of what a finished network makes of the held-out records."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from seqtrain.batch import Batch
from seqtrain.draws import fold, permuted
from seqtrain.evaluation.embedding_map import EmbeddingMap, embedding_map
from seqtrain.inference import InferenceConfig, embeddings
from seqtrain.io.splits import TRAIN
from seqtrain.models.ensemble import Ensemble
from seqtrain.models.network import Network
from seqtrain.recipes.finetuning import FinetuningJob
from seqtrain.recipes.training_examples import labeled_examples

MAX_RECORDS = 1_000
MAX_LETTERS = 200_000
"""Of the records together, so that large networks on a CPU take no longer for it than for the scores."""


def map_of(job: FinetuningJob, network: nn.Module) -> EmbeddingMap | None:
    """Where the held-out records lie by their mean embeddings; of an ensemble, by those of its members side by side.

    At most 1,000 records and 200,000 letters, drawn by the seed.

    Args:
        network: trained, on the device of the job.

    Returns:
        None where there is nothing to lay out, see :func:`seqtrain.evaluation.embedding_map.embedding_map`.
    """
    records = _chosen(job)
    if len(records) < 3:
        return None
    members = list(network.members) if isinstance(network, Ensemble) else [network]
    loop = job.training.loop
    examples = labeled_examples(job.config, job.data, records)
    config = InferenceConfig(device=loop.device, precision=loop.precision)
    vectors = [embeddings(each, examples, config, partial(_hidden, each), "mean")[records] for each in members]
    return embedding_map(records, np.concatenate(vectors, axis=1), job.config.seed)


def _chosen(job: FinetuningJob) -> NDArray[np.int64]:
    """Held-out records, increasing."""
    held_out = np.flatnonzero(job.data.split.sets != TRAIN)
    drawn = held_out[permuted(np.arange(len(held_out)), len(held_out), fold(job.config.seed, "embedding map"))]
    drawn = drawn[:MAX_RECORDS]
    return np.sort(drawn[np.cumsum(job.data.store.lengths[drawn]) <= MAX_LETTERS])


def _hidden(network: nn.Module, batch: Batch) -> Tensor:
    """(T, D)"""
    assert isinstance(network, Network)
    hidden: Tensor = network.body(batch.inputs, batch.boundaries)
    return hidden
