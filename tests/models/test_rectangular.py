"""On padded rectangles a network gives what it gives on packed sequences, whatever stands in the padding."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from seqtrain.batch import Batch
from seqtrain.models.aligned_head import AlignedHeadConfig
from seqtrain.models.cnn import CNNConfig
from seqtrain.models.gated_transformer import GatedTransformerConfig
from seqtrain.models.heads import LanguageModelHeadConfig, PooledHeadConfig, PositionHeadConfig
from seqtrain.models.light_attention import LightAttentionHeadConfig
from seqtrain.models.network import BodyConfig, HeadConfig, Network, build, language_model_head
from seqtrain.models.padding import lengths_of_rectangle, segments_of_rectangle
from seqtrain.models.rectangular import Rectangular
from seqtrain.models.residual_cnn import ResidualCNNConfig
from seqtrain.models.transformer import TransformerConfig
from seqtrain.models.unet import UNetConfig
from tests.models.packs import shake

BODIES: list[BodyConfig] = [
    TransformerConfig(width=16, depth=2, num_heads=2),
    CNNConfig(width=16, depth=3, dilations=(1, 4)),
    CNNConfig(width=16, depth=1, norm="group"),
    ResidualCNNConfig(width=16, depth=2, stages=2, norm="group", input="ngram"),
    GatedTransformerConfig(width=32, depth=2, num_heads=2),
    UNetConfig(width=16, levels=3, growth=1.5),
]
HEADS: list[HeadConfig] = [
    LanguageModelHeadConfig(),
    PooledHeadConfig(outputs=3),
    LightAttentionHeadConfig(outputs=3),
    AlignedHeadConfig(outputs=2, length=1024),
    PositionHeadConfig(outputs=4),
]
FRAMING = [0, 1, 2]
LENGTHS = [[1], [2], [40], [7, 7, 7], [3, 90, 1, 2, 25, 90], [5, 4]]
"""Positions, the special tokens counted."""


def _rectangle(lengths: list[int], padding: int = 1) -> tuple[Tensor, Tensor]:
    """Random ids of every token but <cls>, <pad> and <eos>, which stand where they belong; and the mask."""
    generator = torch.Generator().manual_seed(sum(lengths))
    input_ids = torch.full((len(lengths), max(lengths) + padding), 1)
    for row, length in zip(input_ids, lengths, strict=True):
        row[:length] = torch.randint(3, 33, (length,), generator=generator)
        row[length - 1], row[0] = 2, 0
    return input_ids, (torch.arange(input_ids.shape[1]) < torch.tensor(lengths)[:, None]).long()


def _packed(input_ids: Tensor, mask: Tensor) -> Batch:
    inputs = input_ids[mask.bool()]
    return Batch(
        inputs=inputs,
        boundaries=torch.cat((torch.zeros(1, dtype=torch.int64), mask.sum(dim=1).cumsum(0))),
        letters=(~torch.isin(inputs, torch.tensor(FRAMING))).to(torch.uint8),
        records=torch.arange(len(mask)),
        keys=torch.zeros(len(mask), dtype=torch.int64),
    )


def _network(body: BodyConfig, head: HeadConfig) -> Network:
    torch.manual_seed(3)
    return shake(build(body, head))


@torch.no_grad()
@pytest.mark.parametrize("body", BODIES, ids=lambda config: type(config).__name__)
@pytest.mark.parametrize("head", HEADS, ids=lambda config: type(config).__name__)
def test_a_rectangle_gives_what_packed_sequences_give(body: BodyConfig, head: HeadConfig) -> None:
    if isinstance(head, LanguageModelHeadConfig):
        head = language_model_head(body)
    network = _network(body, head)
    rectangular = Rectangular(network, FRAMING).eval()
    for lengths in LENGTHS:
        input_ids, mask = _rectangle(lengths)
        expected = network(_packed(input_ids, mask))
        outputs = rectangular(input_ids, mask)
        if rectangular.per_position:
            assert outputs.shape[:2] == input_ids.shape
            outputs = outputs[mask.bool()]
        torch.testing.assert_close(outputs, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("body", BODIES, ids=lambda config: type(config).__name__)
def test_neither_what_stands_in_padding_nor_how_much_there_is_matters(body: BodyConfig) -> None:
    rectangular = Rectangular(_network(body, HEADS[1]), FRAMING).eval()
    input_ids, mask = _rectangle([3, 20, 9])
    more_ids, more_mask = _rectangle([3, 20, 9], padding=60)
    other_ids = more_ids.masked_fill(more_mask == 0, 32)
    expected = rectangular(input_ids, mask)
    for ids in (more_ids, other_ids):
        torch.testing.assert_close(rectangular(ids, more_mask), expected, atol=1e-5, rtol=1e-5)


def test_padding_is_a_sequence_of_its_own() -> None:
    real = torch.tensor([[True, True, False], [True, True, True]])
    assert segments_of_rectangle(real).tolist() == [0, 0, 1, 2, 2, 2]
    assert lengths_of_rectangle(real).tolist() == [2, 1, 3, 0]
