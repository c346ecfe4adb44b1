"""Networks that may be trained, changed or asked without the real one noticing, and what batch they are asked about."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor, nn

from seqtrain.batch import Batch
from seqtrain.objectives import Objective, Score
from seqtrain.training import LoopConfig, forward_and_score

Network = TypeVar("Network", bound=nn.Module)


def copied(network: Network, objective: Objective) -> tuple[Network, Objective]:
    """Copies of both in evaluation mode; in one copy, as an objective may look into its network."""
    network, objective = copy.deepcopy((network, objective))
    network.eval()
    network.zero_grad(set_to_none=True)
    return network, objective


@contextmanager
def borrowed(network: nn.Module) -> Iterator[None]:
    """A network in evaluation mode, and the modes of all its modules as they were afterwards."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def same_draws(seed: int = 0) -> Iterator[None]:
    """Draws of torch's global generators from a seed, and their state of before afterwards."""
    on_gpu = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    devices = list(range(torch.cuda.device_count())) if on_gpu else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


def scored(network: nn.Module, objective: Objective, batch: Batch) -> Score | None:
    """The score of a batch, without mixed precision; None when nothing in it is to be predicted."""
    device = device_of(network)
    return forward_and_score(network, objective, batch.to(device), LoopConfig(device=device))


def mean_loss(network: nn.Module, objective: Objective, batch: Batch) -> Tensor | None:
    """() the loss of a batch by its count, with its gradient; None when nothing is to be predicted."""
    score = scored(network, objective, batch)
    if score is None or not float(score.count):
        return None
    return score.loss / score.count


def device_of(network: nn.Module) -> torch.device:
    """Where a network is."""
    return next(network.parameters()).device


def alone(batch: Batch, number: int) -> Batch:
    """One sequence of an unmixed batch as a batch of its own, without targets."""
    here = slice(int(batch.boundaries[number]), int(batch.boundaries[number + 1]))
    this = slice(number, number + 1)
    return Batch(
        inputs=batch.inputs[here],
        letters=batch.letters[here],
        boundaries=torch.tensor([0, here.stop - here.start], device=batch.boundaries.device),
        records=batch.records[this],
        keys=batch.keys[this],
    )


def unmixed(batch: Batch) -> Batch:
    """The sequences of a batch by themselves: nothing mixed in, nothing asked for."""
    return replace(
        batch,
        other_inputs=None,
        input_shares=None,
        other_targets=None,
        target_shares=None,
        teacher_outputs=None,
        targets=None,
        decode=None,
    )
