"""When memory runs out in the middle of training, the step is computed again in smaller pieces, and nothing is lost."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from seqtrain.batch import Batch
from seqtrain.batching import MicrobatchBudget, Microbatches, steps_from
from seqtrain.draws import Draws
from seqtrain.errors import RunError
from seqtrain.largest_batch import is_out_of_memory
from seqtrain.losses import MeanSquaredError
from seqtrain.models.cnn import CNNConfig
from seqtrain.models.heads import PooledHeadConfig
from seqtrain.models.network import build
from seqtrain.objectives import Score, Supervised
from seqtrain.optimizers import AdamW
from seqtrain.schedules import WarmupCosine
from seqtrain.training import LoopConfig, train_steps
from tests.corpora import examples_of, proteins


@dataclass(frozen=True)
class Cramped:
    """Mean squared error on a machine that holds so many tokens at once."""

    largest: int
    error: Exception
    separable: bool = True

    def prepare(self, batch: Batch, draws: Draws) -> Batch:
        return batch

    def score(self, outputs: torch.Tensor, batch: Batch) -> Score:
        if len(batch.inputs) > self.largest:
            raise self.error
        return Supervised(MeanSquaredError()).score(outputs, batch)


def trained(largest: int, error: Exception, said: list[str]) -> tuple[list[torch.Tensor], int]:
    """Weights after three steps of up to 400 tokens, and the budget at their end."""
    sequences = proteins([10 + i % 30 for i in range(40)])
    examples = examples_of(sequences, targets=np.linspace(-1, 1, 40).astype(np.float32)[:, None])
    torch.manual_seed(0)
    network = build(CNNConfig(width=16, depth=1), PooledHeadConfig(outputs=1, dropout=0.0))
    budget = MicrobatchBudget(400)
    steps = (
        Microbatches(step, examples, budget) for step, _ in zip(steps_from(examples, 400, 0, 0), range(3), strict=False)
    )
    config = LoopConfig(device=torch.device("cpu"), warn=said.append)
    optimizer = AdamW(learning_rate=1e-3).build(network)
    list(train_steps(network, Cramped(largest, error), steps, optimizer, WarmupCosine(num_steps=3), config))
    return [parameter.detach().clone() for parameter in network.parameters()], budget.tokens


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_step_that_did_not_fit_is_computed_in_smaller_pieces(error: Exception) -> None:
    said: list[str] = []
    whole, _ = trained(10_000, error, [])
    parts, budget = trained(120, error, said)
    for part, expected in zip(parts, whole, strict=True):
        torch.testing.assert_close(part, expected, rtol=1e-5, atol=1e-6)
    assert budget == 99 and len(said) == 2
    assert said[0] == "step 1: out of memory; computed again, and from now on, 199 tokens at once"


def test_a_single_sequence_that_does_not_fit_stops_the_training() -> None:
    with pytest.raises(RunError, match="step 1: out of memory with a single sequence at once; lower --max-length"):
        trained(5, MemoryError(), [])


def test_other_errors_are_not_taken_for_it() -> None:
    assert not is_out_of_memory(RuntimeError("shapes do not fit"))
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        trained(5, RuntimeError("shapes do not fit"), [])
