"""The projection head: what it makes of hidden states, when it remembers, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from seqtrain.errors import InputError
from seqtrain.models.projection import ProjectionHead, ProjectionHeadConfig


def pack(num_sequences: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Hidden states of sequences of 2, 3, 4 … positions, the first of each no residue."""
    segments = torch.repeat_interleave(torch.arange(num_sequences), torch.arange(num_sequences) + 2)
    hidden = torch.randn(len(segments), width, generator=torch.Generator().manual_seed(0))
    residues = torch.ones(len(segments), dtype=torch.bool)
    residues[0] = False
    residues[1:] = segments[1:] == segments[:-1]
    return hidden, segments, residues


def test_outputs_are_the_layers_one_after_the_other() -> None:
    torch.manual_seed(0)
    head = ProjectionHeadConfig(projections=4, hidden_width=6, depth=2, predictor_width=3).build(5)
    hidden, segments, residues = pack(3, 5)
    outputs = head(hidden, segments, residues, 3, torch.arange(3))
    for index in range(3):
        mean = hidden[residues & (segments == index)].mean(0)
        first, norm, _, last = head.projector
        expected = last(functional.relu(norm(first(head.norm(mean)))))
        torch.testing.assert_close(outputs[index, :4], expected)
        assert head.predictor is not None
        torch.testing.assert_close(outputs[index, 4:], head.predictor(expected))
    assert head.config.outputs == 8 and ProjectionHeadConfig(projections=4).outputs == 4


def test_first_views_are_remembered_in_training_alone() -> None:
    torch.manual_seed(0)
    head: ProjectionHead = ProjectionHeadConfig(projections=4, support_size=3).build(5)
    hidden, segments, residues = pack(4, 5)
    assert head.support is not None
    records = torch.tensor([7, 7, 9, 9])
    head.eval()(hidden, segments, residues, 4, records)
    assert head.support.records.tolist() == [-1, -1, -1] and not head.support.scaled.any()
    outputs = head.train()(hidden, segments, residues, 4, records)
    assert head.support.records.tolist() == [7, 9, -1]
    expected = functional.normalize(outputs[::2].detach(), dim=1)
    torch.testing.assert_close(head.support.directions[:2], expected, atol=4e-5, rtol=0)
    assert set(dict(head.named_buffers())) == {"support.scaled", "support.records", "support.num_written"}
    head.without_support()
    assert head.support is None and head.config.support_size == 0 and not list(head.buffers())


@pytest.mark.parametrize(
    "fields",
    [{"projections": 1}, {"depth": 0}, {"hidden_width": -1}, {"predictor_width": 0.5}, {"support_size": -2}],
)
def test_what_cannot_be_built_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"ProjectionHeadConfig: {next(iter(fields))} is"):
        ProjectionHeadConfig(**fields)
