"""Running a trained network over any number of sequences: sorted into batches, windows stitched, order given back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from seqtrain.batch import Batch
from seqtrain.batching import Examples, budgeted
from seqtrain.training import Precision, autocast

Compute = Callable[[Batch], Tensor]


@dataclass(frozen=True, kw_only=True)
class InferenceConfig:
    """Where and how a network is run."""

    device: torch.device
    precision: Precision = "fp32"

    @property
    def tokens_per_batch(self) -> int:
        return tokens_per_batch(self.device, self.precision)


def tokens_per_batch(device: torch.device, precision: Precision) -> int:
    """What is computed at once. Where attention is padded, one long sequence among short ones takes many times more."""
    if device.type == "cpu":
        return 4096
    return 65_536 if device.type == "cuda" and precision == "bf16" else 8192


def evaluation_batches(examples: Examples, tokens_per_batch: int) -> Iterator[Batch]:
    """Every example once, longest first, in batches of at most a number of tokens (or of one example)."""
    num_tokens = examples.num_tokens
    order = np.argsort(-num_tokens, kind="stable")
    for part in budgeted(num_tokens[order], tokens_per_batch):
        yield examples.batch(order[part], np.zeros(len(order[part]), np.int64))


def sequence_outputs(network: nn.Module, examples: Examples, config: InferenceConfig) -> NDArray[np.float32]:
    """(N, K) logits, one row per record of the store; a windowed record gets the mean over its residues' windows.

    Records of the store that are not among the examples get 0, here and in :func:`residue_outputs`.
    """
    counts = _own_residues(examples)
    totals: NDArray[np.float64] | None = None
    for batch, logits in _outputs(network, examples, config, network):
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
    for batch, logits in _outputs(network, examples, config, compute or network):
        assert batch.targets is not None
        if outputs is None:
            outputs = np.zeros((len(examples.store.letters), logits.shape[1]), np.float32)
        own = _own_positions(batch)
        outputs[batch.targets[own].numpy()] = logits[own].numpy()
    assert outputs is not None, "a store has at least one record"
    return outputs


def embeddings(
    network: nn.Module, examples: Examples, config: InferenceConfig, body: Compute, *, per_residue: bool
) -> NDArray[np.float32]:
    """Hidden states of residues: (total letters, D), or their mean over each sequence, (N, D).

    Special tokens are left out. ``body`` gives (T, D) hidden states of a batch.
    """
    if per_residue:
        return residue_outputs(network, examples, config, body)
    counts = _own_residues(examples)
    totals: NDArray[np.float64] | None = None
    for batch, hidden in _outputs(network, examples, config, body):
        own = _own_positions(batch)
        sums = torch.zeros(len(batch), hidden.shape[1], dtype=torch.float64)
        sums.index_add_(0, batch.segments[own], hidden[own].double())
        totals = np.zeros((len(counts), hidden.shape[1])) if totals is None else totals
        np.add.at(totals, batch.records.numpy(), sums.numpy())
    assert totals is not None, "a store has at least one record"
    return (totals / np.maximum(counts, 1)[:, None]).astype(np.float32)


def _outputs(
    network: nn.Module, examples: Examples, config: InferenceConfig, compute: Compute
) -> Iterator[tuple[Batch, Tensor]]:
    """Batches whose targets (T,) are the stored letters they answer for, with float32 outputs, on the CPU."""
    indexed = replace(
        examples, targets=np.arange(len(examples.store.letters)), per_residue=True, augmenter=None, weights=None
    )
    was_training = network.training
    network.eval()
    try:
        for batch in evaluation_batches(indexed, config.tokens_per_batch):
            with torch.inference_mode(), autocast(config.device, config.precision):
                outputs = compute(batch.to(config.device)).float().cpu()
            yield batch, outputs
    finally:
        network.train(was_training)


def _own_positions(batch: Batch) -> Tensor:
    """(T,) bool: the residues that each example answers for."""
    assert batch.targets is not None
    return batch.targets >= 0


def _own_residues(examples: Examples) -> NDArray[np.int64]:
    """(N,) letters of each record."""
    return np.diff(examples.store.offsets)
