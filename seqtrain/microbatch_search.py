"""How many tokens of a training can be computed at once: found by trying before its first step, and kept in its run."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from seqtrain.batch import Batch
from seqtrain.batching import budgeted
from seqtrain.buffers import copied_buffers, restore_buffers
from seqtrain.io.run_directory import write_json_atomically
from seqtrain.largest_batch import largest_batch, release_memory
from seqtrain.memory_use import PeakMemory, free_bytes
from seqtrain.schedules import batch_factor_at
from seqtrain.training import train_steps

if TYPE_CHECKING:
    from seqtrain.fitting import Training

FILE_NAME = "largest_batch.json"
FIRST_TOKENS = 2048
"""The first size that is tried, and the one for whatever is done before the search."""
_SHARE_OF_CPU_MEMORY = 0.5
"""Of what is free at the start, that a step may take: a CPU that runs out of memory kills, and others want some too."""
_MARGIN = 1.2
"""On the memory of the next larger size, which is not tried where it is expected to pass the bound."""


@dataclass(frozen=True, kw_only=True)
class FoundMicrobatch:
    """What a search came to."""

    tokens: int
    how: str
    """Why not more, in words."""


def kept_or_found(training: Training, folder: Path, say: Callable[[str], None]) -> int:
    """The tokens that an earlier start of the same run found, or those of a search, which are kept in the folder.

    Raises:
        RunError: not even one sequence fits into memory.
    """
    path = folder / FILE_NAME
    if path.exists():
        found = FoundMicrobatch(**json.loads(path.read_text(encoding="utf-8")))
    else:
        say("looking for the most tokens that fit at once")
        found = found_microbatch(training)
        write_json_atomically(path, vars(found))
    say(f"tokens at once: {found.tokens:,}, {found.how}; kept in {path}")
    return found.tokens


def found_microbatch(training: Training) -> FoundMicrobatch:
    """Try whole steps of more and more tokens; the network ends up as it was.

    The trial is the worst case: the longest examples, behind another microbatch, with the optimiser's state in memory.
    On a CPU a trial that takes more than half of the free memory counts as one that does not fit.

    Raises:
        RunError: not even one sequence fits into memory.
    """
    device, network = training.loop.device, training.network
    lengths = np.sort(training.examples.num_tokens)
    most = max(batch_factor_at(training.schedule, step) for step in range(training.num_steps))
    limit = min(max(round(most * training.tokens_per_step), int(lengths[-1])), int(lengths.sum()))
    start = min(max(FIRST_TOKENS, int(lengths[-1])), limit)
    bound = _bound(device)
    if bound is not None and PeakMemory(device).since_start:
        return FoundMicrobatch(tokens=start, how="as this system does not say how much memory a step takes")
    weights = [parameter.detach().cpu().clone() for parameter in network.parameters()]
    trained = [parameter.requires_grad for parameter in network.parameters()]
    buffers = copied_buffers(network)
    try:
        tokens = largest_batch(_Trial(training, bound), start, limit, precision=max(1, limit // 16))
    finally:
        _restore(network, weights, trained)
        restore_buffers(network, buffers)
    if tokens >= limit:
        return FoundMicrobatch(tokens=tokens, how="the largest step whole")
    within = "" if bound is None else f" within half of the free memory, {bound / 1e9:.2f} GB"
    return FoundMicrobatch(tokens=tokens, how=f"the most that were found to fit{within}")


def _bound(device: torch.device) -> int | None:
    """Bytes that a trial may take on a CPU; None elsewhere, or where the system does not say what is free."""
    free = free_bytes(device) if device.type == "cpu" else None
    return None if free is None else int(_SHARE_OF_CPU_MEMORY * free)


class _Trial:
    """One step of the training with so many tokens in its second microbatch."""

    def __init__(self, training: Training, bound: int | None) -> None:
        self.training = training
        self.bound = bound
        self.per_token = 0.0
        self.optimizer = training.optimizer.build(training.network)
        examples = training.examples
        self.longest_first = np.argsort(-examples.num_tokens, kind="stable")
        self._step([self._batch(1)])  # what the optimiser keeps is in memory from here on

    def __call__(self, tokens: int) -> None:
        """Raises MemoryError where it takes more than the bound, or would."""
        if self.bound is not None and _MARGIN * self.per_token * tokens > self.bound:
            raise MemoryError(f"{tokens} tokens would pass the bound")
        memory = PeakMemory(self.training.loop.device)
        self._step([self._batch(1), self._batch(tokens)])
        if self.bound is None:
            return
        taken = memory.peak() - memory.before
        self.per_token = max(self.per_token, taken / tokens)
        if taken > self.bound:
            raise MemoryError(f"{tokens} tokens took more than the bound")

    def _batch(self, tokens: int) -> Batch:
        """The longest examples, up to so many tokens and at least one."""
        examples = self.training.examples
        first = next(budgeted(examples.num_tokens[self.longest_first], tokens))
        units = self.longest_first[first]
        return examples.batch(units, np.zeros_like(units))

    def _step(self, batches: list[Batch]) -> None:
        training = self.training
        loop = replace(training.loop, on_nan="skip", freezing=None, regularizers=(), warn=lambda text: None)
        step: Any = train_steps(
            training.network, training.objective, [batches], self.optimizer, training.schedule, loop
        )
        next(step)
        step.close()


@torch.no_grad()
def _restore(network: nn.Module, weights: list[Tensor], trained: list[bool]) -> None:
    network.zero_grad(set_to_none=True)
    for parameter, before, requires_grad in zip(network.parameters(), weights, trained, strict=True):
        parameter.copy_(before)
        parameter.requires_grad_(requires_grad)
    release_memory()
