"""Running a trained network over any number of sequences: sorted into batches, windows stitched, order given back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from seqtrain.batch import Batch
from seqtrain.batching import Examples, budgeted
from seqtrain.errors import InputError
from seqtrain.models.aligned_head import AlignedHead
from seqtrain.training import Precision, autocast

Compute = Callable[[Batch], Tensor]
Pooling = Literal["mean", "max", "none"]
"""Over the residues of a sequence; "none" keeps them all."""


@dataclass(frozen=True, kw_only=True)
class InferenceConfig:
    """Where and how a network is run."""

    device: torch.device
    precision: Precision = "fp32"

    @property
    def tokens_per_batch(self) -> int:
        return tokens_per_batch(self.device, self.precision)


def tokens_per_batch(device: torch.device, precision: Precision) -> int:
    """What is computed at once. Where attention is padded, one long sequence among short ones takes many times more.

    On a CPU, measured with ESM-2 8M on proteins of natural lengths: 2,048 take 3.3 CPU seconds where 256 take 3.6,
    4,096 take 3.5 and 8,192 take 3.7, as large buffers are handed back to the system and cleared again each time.
    """
    if device.type == "cpu":
        return 2048
    return 65_536 if device.type == "cuda" and precision == "bf16" else 8192


def evaluation_batches(examples: Examples, tokens_per_batch: int) -> Iterator[Batch]:
    """Every example once, longest first, in batches of at most a number of tokens (or of one example)."""
    num_tokens = examples.num_tokens
    order = np.argsort(-num_tokens, kind="stable")
    for part in budgeted(num_tokens[order], tokens_per_batch):
        yield examples.batch(order[part], np.zeros(len(order[part]), np.int64))


def check_windows(network: nn.Module, examples: Examples) -> None:
    """Refuse windows, whose positions are not those of their sequence, for a head that has weights for positions.

    Raises:
        InputError: says how long the record is.
    """
    if examples.spans.record_shares.min(initial=1) < 1 and any(isinstance(m, AlignedHead) for m in network.modules()):
        longest = int(examples.spans.stops.max())
        raise InputError(
            f"a sequence of {longest:,} letters is read in windows, and the aligned head of this run has weights for "
            "the positions of whole sequences; raise the length of windows (max-length), or leave such records out"
        )


def sequence_outputs(network: nn.Module, examples: Examples, config: InferenceConfig) -> NDArray[np.float32]:
    """(N, K) logits, one row per record of the store; a windowed record gets the mean over its residues' windows.

    Records of the store that are not among the examples get 0, here and in :func:`residue_outputs`.

    Raises:
        InputError: the network has weights for positions, and a record is read in windows.
    """
    check_windows(network, examples)
    counts = _own_residues(examples)
    totals: NDArray[np.float64] | None = None
    with evaluating(network, config):
        for batch, logits in _outputs(examples, config, network):
            own = _own_positions(batch)
            shares = torch.zeros(len(batch)).index_add_(0, batch.segments[own], torch.ones(int(own.sum())))
            totals = np.zeros((len(counts), logits.shape[1])) if totals is None else totals
            np.add.at(totals, batch.records.numpy(), logits.double().numpy() * shares.double().numpy()[:, None])
    assert totals is not None, "a store has at least one record"
    return (totals / np.maximum(counts, 1)[:, None]).astype(np.float32)


def residue_outputs(
    network: nn.Module, examples: Examples, config: InferenceConfig, compute: Compute | None = None
) -> NDArray[np.float32]:
    """(total letters, K) logits, end to end as in the store; each residue from the window that answers for it.

    With ``compute``, what it gives for the positions of a batch, (T, K), instead of the network's logits.
    """
    outputs: NDArray[np.float32] | None = None
    with evaluating(network, config):
        for batch, logits in _outputs(examples, config, compute or network):
            assert batch.targets is not None
            if outputs is None:
                outputs = np.zeros((len(examples.store.letters), logits.shape[1]), np.float32)
            own = _own_positions(batch)
            outputs[batch.targets[own].numpy()] = logits[own].numpy()
    assert outputs is not None, "a store has at least one record"
    return outputs


def embeddings(
    network: nn.Module, examples: Examples, config: InferenceConfig, body: Compute, pooling: Pooling
) -> NDArray[np.float32]:
    """Hidden states of residues: (total letters, D), or their mean or maximum over each sequence, (N, D).

    Special tokens are left out, and each residue counts once, from the window that answers for it: pooled over a
    sequence of several windows is exactly what its residues' vectors give. ``body`` gives (T, D) for a batch.
    """
    if pooling == "none":
        return residue_outputs(network, examples, config, body)
    counts = _own_residues(examples)
    pooled: NDArray[np.float64] | None = None
    with evaluating(network, config):
        for batch, hidden in _outputs(examples, config, body):
            if pooled is None:
                pooled = np.full((len(counts), hidden.shape[1]), 0.0 if pooling == "mean" else -np.inf)
            parts = _pooled(hidden, batch, pooling).numpy()
            (np.add if pooling == "mean" else np.maximum).at(pooled, batch.records.numpy(), parts)
    assert pooled is not None, "a store has at least one record"
    return (pooled / np.maximum(counts, 1)[:, None] if pooling == "mean" else pooled).astype(np.float32)


def _pooled(hidden: Tensor, batch: Batch, pooling: Pooling) -> Tensor:
    """hidden (T, D) -> (B, D) float64, the sums or the maxima over the residues that each sequence answers for."""
    own = _own_positions(batch)
    rows, segments = hidden[own].double(), batch.segments[own]
    if pooling == "mean":
        return rows.new_zeros(len(batch), rows.shape[1]).index_add_(0, segments, rows)
    lowest = rows.new_full((len(batch), rows.shape[1]), -torch.inf)
    return lowest.scatter_reduce_(0, segments[:, None].expand_as(rows), rows, "amax")


@contextmanager
def evaluating(network: nn.Module, config: InferenceConfig) -> Iterator[None]:
    """A network in evaluation mode, without gradients, in the precision asked for, and as it was afterwards.

    Autocast spans all batches, so that it casts the weights once and not once per batch.
    """
    was_training = network.training
    network.eval()
    try:
        with torch.inference_mode(), autocast(config.device, config.precision):
            yield
    finally:
        network.train(was_training)


def _outputs(examples: Examples, config: InferenceConfig, compute: Compute) -> Iterator[tuple[Batch, Tensor]]:
    """Batches whose targets (T,) are the stored letters they answer for, with float32 outputs, on the CPU."""
    indexed = replace(
        examples, targets=np.arange(len(examples.store.letters)), per_residue=True, augmenter=None, weights=None
    )
    for batch in evaluation_batches(indexed, config.tokens_per_batch):
        yield batch, compute(batch.to(config.device)).float().cpu()


def _own_positions(batch: Batch) -> Tensor:
    """(T,) bool: the residues that each example answers for."""
    assert batch.targets is not None
    return batch.targets >= 0


def _own_residues(examples: Examples) -> NDArray[np.int64]:
    """(N,) letters of each record."""
    return np.diff(examples.store.offsets)
