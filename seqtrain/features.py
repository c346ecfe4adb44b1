"""What a frozen body makes of sequences, computed once: it is the same in every epoch, and only the head is trained.

Shapes: U examples (windows of records), F numbers of each, as many as the body is wide.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Literal, Self, cast, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from seqtrain.batch import Batch
from seqtrain.batching import Examples, budgeted
from seqtrain.draws import record_keys
from seqtrain.inference import InferenceConfig, evaluating
from seqtrain.models.heads import PooledHead
from seqtrain.models.imprinted_head import ImprintedHead
from seqtrain.models.network import Network
from seqtrain.models.pooling import accumulating, maxima, means
from seqtrain.spans import Spans

FixedPooling = Literal["mean", "max"]
"""Poolings without weights, so that what they give can be computed before the head is trained."""
_ROWS_AT_ONCE = 4096


@dataclass(frozen=True, kw_only=True)
class FeatureExamples(Examples):
    """Examples that come as their features, in the same order, steps and weights as the sequences they are of.

    Behind the examples of records there may be points that no record has (see :mod:`seqtrain.resampling`): their record
    is -1, and they count as so many tokens as a record of mean length.
    """

    features: NDArray[np.float32]
    """(U, F)."""
    example_targets: NDArray[np.generic]
    """(U,) or (U, K)."""
    example_weights: NDArray[np.float32] | None
    """(U,) in the loss."""

    @classmethod
    def of(cls, examples: Examples, features: NDArray[np.float32]) -> Self:
        """Examples with targets by record, as their features (U, F)."""
        assert examples.targets is not None and not examples.per_residue
        return cls(
            **{field.name: getattr(examples, field.name) for field in fields(Examples)},
            features=features,
            example_targets=examples.targets[examples.spans.records],
            example_weights=examples._weights(np.arange(len(examples))),
        )

    def with_points(
        self, kept: NDArray[np.int64], made: NDArray[np.float32], made_classes: NDArray[np.int64]
    ) -> FeatureExamples:
        """The examples of some records, and points (M, F) of classes (M,) that weigh as the mean record of their class.

        Args:
            kept: records.
        """
        stay = np.isin(self.spans.records, kept)
        lengths = np.full(len(made), round(float(self.spans.lengths.mean())))
        none = np.full(len(made), -1)
        zeros = np.zeros(len(made), np.int64)
        spans = _joined(self.spans.chosen(stay), Spans(none, zeros, lengths, zeros, zeros))
        weights = self.example_weights
        if weights is not None:
            weights = np.concatenate([weights[stay], self._mean_weights[made_classes]])
        return replace(
            self,
            spans=spans,
            features=np.concatenate([self.features[stay], made]),
            example_targets=np.concatenate([self.example_targets[stay], made_classes]),
            example_weights=weights,
        )

    @property
    def _mean_weights(self) -> NDArray[np.float32]:
        """(C,) weight of a record of each class."""
        assert self.example_weights is not None
        classes = self.example_targets.astype(np.int64)
        first = np.unique(self.spans.records, return_index=True)[1]
        sizes = np.bincount(classes[first], minlength=int(classes.max()) + 1)
        return (np.bincount(classes, self.example_weights) / np.maximum(sizes, 1)).astype(np.float32)

    def batch(self, units: NDArray[np.int64], epochs: NDArray[np.int64], cropped_to: int | None = None) -> Batch:
        """The features of examples ``units`` (B,), with the keys that their sequences have in ``epochs`` (B,)."""
        weights = self.example_weights
        return Batch(
            inputs=torch.zeros(0, dtype=torch.int64),
            boundaries=torch.zeros(len(units) + 1, dtype=torch.int64),
            letters=torch.zeros(0, dtype=torch.uint8),
            records=torch.from_numpy(self.spans.records[units]),
            keys=torch.from_numpy(record_keys(self.seed, epochs, units)),
            targets=torch.from_numpy(self.example_targets[units]),
            weights=None if weights is None else torch.from_numpy(weights[units]),
            features=torch.from_numpy(self.features[units]),
        )


def fixed_pooling(head: nn.Module) -> FixedPooling | None:
    """How a head pools, if it does so without weights and goes on from there by its ``answer``."""
    if isinstance(head, ImprintedHead):
        return "mean"
    if isinstance(head, PooledHead) and head.config.pooling in get_args(FixedPooling):
        return cast(FixedPooling, head.config.pooling)
    return None


def pooled_features(
    network: Network,
    examples: Examples,
    pooling: FixedPooling,
    config: InferenceConfig,
    report: Callable[[int, int], None] = lambda done, of: None,
) -> NDArray[np.float32]:
    """(U, F) mean or maximum of the hidden states over the residues of each example, as a pooled head computes it.

    Args:
        examples: are read as they are stored, without augmentation or mixing.
        report: is told after every batch how many of how many examples are done.
    """
    plain = replace(examples, augmenter=None, mixing=None, targets=None, weights=None, order=None, num_views=1)
    features = np.zeros((len(plain), network.body.width), np.float32)
    # Longest first, as in inference: lengths in a batch are alike.
    order = np.argsort(-plain.num_tokens, kind="stable")
    done = 0
    with evaluating(network, config):
        for part in budgeted(plain.num_tokens[order], config.tokens_per_batch):
            batch = plain.batch(order[part], np.zeros(len(order[part]), np.int64)).to(config.device)
            features[order[part]] = _pooled(network, batch, pooling).cpu().numpy()
            done += len(batch)
            report(done, len(plain))
    return features


def _pooled(network: Network, batch: Batch, pooling: FixedPooling) -> Tensor:
    """(B, F) float32."""
    hidden = network.body(batch.inputs, batch.boundaries)
    with torch.autocast(hidden.device.type, enabled=False):
        chosen = batch.residues.nonzero().squeeze(1)
        rows = accumulating(hidden.to(network.head_dtype).index_select(0, chosen))
        pool = means if pooling == "mean" else maxima
        return pool(rows, batch.segments[chosen], len(batch)).float()


def feature_outputs(
    network: Network, features: NDArray[np.float32], spans: Spans, num_records: int, config: InferenceConfig
) -> NDArray[np.float32]:
    """(N, K) logits of the head for the features (U, F) of examples, as :func:`seqtrain.inference.sequence_outputs`
    gives them for the examples themselves: windows of a record by the residues they answer for, 0 for other records.
    """
    parts = []
    with evaluating(network, config):
        for rows in np.split(features, range(_ROWS_AT_ONCE, len(features), _ROWS_AT_ONCE)):
            parts.append(network(_batch_of(rows).to(config.device)).float().cpu().numpy())
    return _over_windows(np.concatenate(parts), spans, num_records)


def record_features(features: NDArray[np.float32], spans: Spans, pooling: FixedPooling) -> NDArray[np.float32]:
    """(n, F) features of records, in increasing order, out of those of their windows (U, F): the mean by the residues
    that each answers for, or the maximum.
    """
    records = np.unique(spans.records)
    if pooling == "mean":
        return _over_windows(features, spans, int(records[-1]) + 1)[records]
    highest = np.full((len(records), features.shape[1]), -np.inf, np.float32)
    np.maximum.at(highest, np.searchsorted(records, spans.records), features)
    return highest


def body_digest(network: Network) -> str:
    """SHA-256 of the weights of the body as they are now."""
    digest = hashlib.sha256()
    for name, tensor in network.body.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _over_windows(rows: NDArray[np.float32], spans: Spans, num_records: int) -> NDArray[np.float32]:
    """rows (U, …) of examples -> (N, …), the mean over the windows of each record by their own residues."""
    own = (spans.own_stops - spans.own_starts).astype(np.float64)
    totals = np.zeros((num_records, rows.shape[1]))
    np.add.at(totals, spans.records, rows.astype(np.float64) * own[:, None])
    counts = np.bincount(spans.records, own, num_records)
    return (totals / np.maximum(counts, 1)[:, None]).astype(np.float32)


def _batch_of(rows: NDArray[np.float32]) -> Batch:
    """Features (B, F) without anything else."""
    number = len(rows)
    return Batch(
        inputs=torch.zeros(0, dtype=torch.int64),
        boundaries=torch.zeros(number + 1, dtype=torch.int64),
        letters=torch.zeros(0, dtype=torch.uint8),
        records=torch.zeros(number, dtype=torch.int64),
        keys=torch.zeros(number, dtype=torch.int64),
        features=torch.from_numpy(rows),
    )


def _joined(first: Spans, second: Spans) -> Spans:
    return Spans(*(np.concatenate([getattr(each, field.name) for each in (first, second)]) for field in fields(Spans)))
