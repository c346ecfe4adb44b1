"""Several answers of one network to one sequence, dropout left on (Gal & Ghahramani 2016, arXiv:1506.02142).

Torch's dropout draws from one generator for a whole batch, so that a sequence would get other masks beside other
neighbours. Here the copies of one sequence are a batch of their own, and the generator is seeded by its letters: its
answers are the same alone, in any file and in any order, and equal sequences get equal answers.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from seqtrain.batching import Examples
from seqtrain.draws import generator_seed
from seqtrain.errors import InputError
from seqtrain.inference import InferenceConfig, check_windows, evaluating
from seqtrain.models.noise import BranchNoise, ShakeShake

NUM_SAMPLES = 20
_TOKENS_PER_PASS = 4096
"""Of copies of one sequence; the same on every device, as the draws go by passes."""


def noisy_modules(network: nn.Module) -> list[nn.Module]:
    """Where a network draws by position or by sequence in training: dropout, DropBlock, stochastic depth, ShakeDrop,
    Shake-Shake.

    Not DropConnect, whose draw is one for all copies, nor noise on embeddings, which is no dropout.
    """
    return [
        module
        for module in network.modules()
        if (isinstance(module, nn.Dropout) and module.p > 0)
        or (isinstance(module, BranchNoise) and _draws(module))
        or isinstance(module, ShakeShake)
    ]


def check_noisy(network: nn.Module, folder: object) -> None:
    """Refuse a network whose answers would all be one.

    Raises:
        InputError: it has no dropout.
    """
    if not noisy_modules(network):
        raise InputError(
            f"{folder}: was trained without dropout, so that all its answers are one; train it with --dropout 0.1, or "
            "several together with --members 5"
        )


def sampled_outputs(
    network: nn.Module, examples: Examples, config: InferenceConfig, num_samples: int, *, seed: int = 0
) -> Iterator[NDArray[np.float32]]:
    """The logits of each record in turn with its dropout on: (S, 1, K), or (S, L, K) per residue.

    A windowed record gets the mean over its residues' windows, or per residue that of the window that answers for it;
    windows draw by themselves.

    Args:
        examples: ``per_residue`` says which; the windows of a record stand together, as ``Spans.windows`` gives them.

    Raises:
        InputError: the network has weights for positions, and a record is read in windows.
    """
    check_windows(network, examples)
    records, per_residue = examples.spans.records, examples.per_residue
    lengths = np.diff(examples.store.offsets)
    indexed = replace(examples, targets=np.arange(len(examples.store.letters)), per_residue=True, augmenter=None)
    for units in np.split(np.arange(len(records)), np.flatnonzero(np.diff(records)) + 1):
        record = int(records[units[0]])
        parts = []
        # Not around the yield: whoever takes the answers would stand inside.
        with evaluating(network, config), _dropping(network), torch.random.fork_rng(_devices(config)):
            for window, unit in enumerate(units.tolist()):
                parts.append(_of_window(network, indexed, config, unit, (seed, num_samples, window), per_residue))
        if per_residue:
            yield np.concatenate(parts, axis=1).astype(np.float32)
            continue
        spans = examples.spans
        shares = (spans.own_stops - spans.own_starts)[units] / lengths[record]
        yield sum(part * share for part, share in zip(parts, shares, strict=True)).astype(np.float32)


def _of_window(
    network: nn.Module,
    indexed: Examples,
    config: InferenceConfig,
    unit: int,
    which: tuple[int, int, int],
    per_residue: bool,
) -> NDArray[np.float64]:
    """(S, 1 or own letters, K) logits of one example; which = (seed, S, number of the window in its record)."""
    seed, num_samples, window = which
    per_pass = max(1, _TOKENS_PER_PASS // int(indexed.num_tokens[unit]))
    found = []
    for first in range(0, num_samples, per_pass):
        copies = min(per_pass, num_samples - first)
        batch = indexed.batch(np.full(copies, unit), np.zeros(copies, np.int64))
        assert batch.targets is not None
        key = zlib.crc32(batch.letters[: int(batch.lengths[0])].numpy().tobytes())
        torch.manual_seed(generator_seed(seed, "mc dropout", key, window, first))
        logits = network(batch.to(config.device)).cpu().double()
        own = (batch.targets >= 0).view(copies, -1)[0]
        logits = logits.view(copies, -1, logits.shape[-1])
        found.append((logits[:, own] if per_residue else logits).numpy())
    return np.concatenate(found)


@contextmanager
def _dropping(network: nn.Module) -> Iterator[None]:
    """A network in evaluation mode but for what draws, and as it was afterwards."""
    modules = noisy_modules(network)
    for module in modules:
        module.train()
    try:
        yield
    finally:
        for module in modules:
            module.eval()


def _draws(noise: BranchNoise) -> bool:
    settings = noise.noise
    return any((settings.dropout, settings.drop_block, settings.stochastic_depth, settings.shake_drop))


def _devices(config: InferenceConfig) -> list[int]:
    """Whose generators are given back as they were, beside that of the CPU."""
    if config.device.type != "cuda":
        return []
    return [torch.cuda.current_device() if config.device.index is None else config.device.index]
