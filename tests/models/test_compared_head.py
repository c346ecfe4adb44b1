"""A module beside a head: its outputs in training, none in evaluation; and modules of several networks as one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from seqtrain.models.cnn import CNNConfig
from seqtrain.models.compared_head import ComparedHead, SimilarityModule, SimilarityModules
from seqtrain.models.heads import PooledHeadConfig, SequenceHeadConfig
from seqtrain.models.light_attention import LightAttentionHeadConfig
from seqtrain.models.network import build
from tests.corpora import examples_of, proteins

BATCH = examples_of(proteins([12, 30, 7], seed=4)).batch(np.arange(3), np.zeros(3, np.int64))


@pytest.mark.parametrize("head", [PooledHeadConfig(outputs=3, dropout=0.0), LightAttentionHeadConfig(outputs=3)])
def test_projections_stand_beside_the_answers_in_training_only(head: SequenceHeadConfig) -> None:
    torch.manual_seed(0)
    network = build(CNNConfig(width=16, depth=1, dropout=0.0), head)
    answers = network.eval()(BATCH)
    inner, module = network.head, SimilarityModule(16, 5)
    network.head = ComparedHead(inner, module)
    assert torch.equal(network.eval()(BATCH), answers) and network.head.config == inner.config
    network.train()
    inner.eval()
    both = network(BATCH)
    assert both.shape == (3, 8)
    torch.testing.assert_close(both[:, :3], answers)
    hidden = network.body(BATCH.inputs, BATCH.boundaries)
    for number in range(3):
        own = hidden[(BATCH.segments == number) & BATCH.residues].mean(0)
        expected = module.output(module.dense(module.norm(own)).relu())
        torch.testing.assert_close(both[number, 3:], expected)
    both[:, 3:].square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.body.parameters() if parameter.requires_grad)


def test_several_modules_find_the_mean_of_their_cosines() -> None:
    torch.manual_seed(0)
    modules = SimilarityModules([4, 6], 5)
    pooled = torch.randn(3, 10)
    directions = modules(pooled)
    expected = torch.zeros(3, 3)
    for member, part in zip(modules.members, (pooled[:, :4], pooled[:, 4:]), strict=True):
        rows = member(part)
        expected += functional.cosine_similarity(rows[:, None], rows[None], dim=2) / 2
    torch.testing.assert_close(directions @ directions.T, expected)
