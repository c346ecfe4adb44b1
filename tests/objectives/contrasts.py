"""Batches and outputs for the tests of contrastive objectives."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from seqtrain.batch import Batch
from tests.corpora import examples_of, proteins


def batch_of_views(num_examples: int, records: list[int] | None = None, weights: list[float] | None = None) -> Batch:
    """Two views of each example, one behind the other; of these records, with these weights of examples."""
    batch = examples_of(proteins([5] * num_examples), num_views=2).batch(
        np.arange(num_examples), np.zeros(num_examples, np.int64)
    )
    fields = vars(batch).copy()
    if records is not None:
        fields["records"] = torch.tensor(records).repeat_interleave(2)
    if weights is not None:
        fields["weights"] = torch.tensor(weights, dtype=torch.float64).repeat_interleave(2)
    names = Batch.__dataclass_fields__
    return Batch(**{name: value for name, value in fields.items() if name in names})


def outputs_of(num_rows: int, width: int, seed: int = 0) -> Tensor:
    """(rows, width) float64 that wants gradients."""
    return torch.randn(
        num_rows, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    ).requires_grad_()
