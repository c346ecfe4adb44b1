"""Features that are computed once against what a network makes of the sequences themselves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from seqtrain.batching import microbatches, steps_from
from seqtrain.draws import Draws
from seqtrain.features import (
    FeatureExamples,
    FixedPooling,
    body_digest,
    feature_outputs,
    fixed_pooling,
    pooled_features,
    record_features,
)
from seqtrain.freezing import Body, freeze
from seqtrain.imbalance import sampled
from seqtrain.inference import InferenceConfig, embeddings, sequence_outputs
from seqtrain.losses import CrossEntropy
from seqtrain.models.cnn import CNNConfig
from seqtrain.models.heads import PooledHeadConfig
from seqtrain.models.imprinted_head import ImprintedHeadConfig
from seqtrain.models.light_attention import LightAttentionHeadConfig
from seqtrain.models.network import BodyConfig, HeadConfig, Network, build
from seqtrain.models.transformer import TransformerConfig
from seqtrain.objectives import Supervised
from seqtrain.optimizers import AdamW
from seqtrain.orders import Order
from seqtrain.schedules import WarmupCosine
from seqtrain.training import LoopConfig, StepReport, train_steps
from tests.corpora import examples_of, proteins

CPU = InferenceConfig(device=torch.device("cpu"))
LENGTHS = [30, 5, 61, 12, 44, 100, 8, 25, 17, 70]
TEXTS = proteins(LENGTHS, seed=4)
TARGETS = np.array([0, 1, 2, 0, 1, 2, 0, 0, 1, 0])
BODIES: list[BodyConfig] = [
    TransformerConfig(width=32, depth=2, num_heads=4, dropout=0.2),
    CNNConfig(width=32, depth=2),
]
HEADS: list[HeadConfig] = [
    PooledHeadConfig(outputs=3, pooling="mean", dropout=0.3),
    PooledHeadConfig(outputs=3, pooling="max", dropout=0.0),
    ImprintedHeadConfig(outputs=3),
]


def network_of(body: BodyConfig, head: HeadConfig) -> Network:
    torch.manual_seed(1)
    network = build(body, head)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network


def pooling_of(network: Network) -> FixedPooling:
    pooling = fixed_pooling(network.head)
    assert pooling is not None
    return pooling


@pytest.mark.parametrize("window", [None, 40], ids=["whole", "windows"])
@pytest.mark.parametrize("head", HEADS, ids=str)
@pytest.mark.parametrize("body", BODIES, ids=lambda body: type(body).__name__)
def test_outputs_on_features_are_those_of_the_network(body: BodyConfig, head: HeadConfig, window: int | None) -> None:
    network = network_of(body, head)
    examples = examples_of(TEXTS, window)
    assert (len(examples) > len(TEXTS)) == (window is not None)
    features = pooled_features(network, examples, pooling_of(network), CPU)
    assert features.shape == (len(examples), 32) and features.dtype == np.float32
    found = feature_outputs(network, features, examples.spans, len(TEXTS), CPU)
    expected = sequence_outputs(network, examples, CPU)
    assert expected.std() > 1e-3
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_learnt_poolings_have_no_features() -> None:
    for config in (PooledHeadConfig(outputs=3), PooledHeadConfig(outputs=3, pooling="attention")):
        assert fixed_pooling(config.build(32)) is None
    assert fixed_pooling(LightAttentionHeadConfig(outputs=3).build(32)) is None


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_features_of_whole_records_are_their_embeddings(pooling: FixedPooling) -> None:
    network = network_of(BODIES[0], HEADS[0])
    examples = examples_of(TEXTS)
    features = pooled_features(network, examples, pooling, CPU)
    expected = embeddings(network, examples, CPU, lambda b: network.body(b.inputs, b.boundaries), pooling)
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(record_features(features, examples.spans, pooling), features, rtol=1e-6)


def test_records_of_several_windows_are_summed_up() -> None:
    examples = examples_of(TEXTS[4:6], 40)
    spans = examples.spans
    rows = np.arange(2 * len(spans), dtype=np.float32).reshape(-1, 2)
    own = spans.own_stops - spans.own_starts
    means = [np.average(rows[spans.records == r], axis=0, weights=own[spans.records == r]) for r in (0, 1)]
    np.testing.assert_allclose(record_features(rows, spans, "mean"), means, rtol=1e-6)
    maxima = [rows[spans.records == r].max(axis=0) for r in (0, 1)]
    np.testing.assert_array_equal(record_features(rows, spans, "max"), maxima)


def trained(
    network: Network, examples: Any, steps: int, tokens: int, objective: Supervised
) -> tuple[dict[str, torch.Tensor], list[StepReport]]:
    """The head's weights and the reports after some steps on a frozen body."""
    loop = LoopConfig(device=torch.device("cpu"), seed=5, freezing=freeze(network, Body(), steps))
    rows = steps_from(examples, 150, 0, 5)
    batches = (list(microbatches(next(rows), examples, tokens)) for _ in range(steps))
    optimizer = AdamW(learning_rate=1e-2).build(network)
    reports = list(train_steps(network, objective, batches, optimizer, WarmupCosine(num_steps=steps), loop))
    return {name: tensor.clone() for name, tensor in network.head.state_dict().items()}, reports


@pytest.mark.parametrize(
    ("body", "head", "window", "order"),
    [
        (BODIES[0], HEADS[0], None, "balanced"),
        (BODIES[0], HEADS[1], 40, "shuffled"),
        (BODIES[0], HEADS[2], None, "shuffled"),
        (BODIES[1], HEADS[0], 40, "balanced"),
    ],
    ids=["mean", "max in windows", "imprinted", "mean in windows"],
)
def test_training_on_features_is_training_through_the_frozen_body(
    body: BodyConfig, head: HeadConfig, window: int | None, order: str
) -> None:
    examples = examples_of(TEXTS, window, targets=TARGETS, seed=5, weights=np.linspace(0.5, 2, 10).astype(np.float32))
    chosen: Order | None = sampled(TARGETS[examples.spans.records], "balanced", 5) if order == "balanced" else None
    examples = replace(examples, order=chosen)
    objective = Supervised(CrossEntropy(), disturbed_fraction=0.2, num_classes=3)
    through, reports = trained(network_of(body, head), examples, 12, 80, objective)
    network = network_of(body, head)
    start = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    features = pooled_features(network, examples, pooling_of(network), CPU)
    once, others = trained(network, FeatureExamples.of(examples, features), 12, 80, objective)
    assert any(not torch.equal(start[f"head.{name}"], tensor) for name, tensor in once.items())
    for name, tensor in through.items():
        torch.testing.assert_close(once[name], tensor, rtol=2e-3, atol=2e-4)
    for one, other in zip(reports, others, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-3, abs=1e-5)
        assert (one.num_records, one.count) == (other.num_records, pytest.approx(other.count))
        assert one.num_residues > 0 and other.num_residues == 0
    for name, tensor in network.body.state_dict().items():
        assert torch.equal(tensor, start[f"body.{name}"])


class Forbidden(nn.Module):
    """A body that must not be asked."""

    def forward(self, *arguments: Any) -> None:
        raise AssertionError("the body was computed")


def test_the_body_is_not_computed_again() -> None:
    network = network_of(BODIES[0], HEADS[0])
    examples = examples_of(TEXTS, targets=TARGETS)
    features = pooled_features(network, examples, "mean", CPU)
    batch = FeatureExamples.of(examples, features).batch(np.arange(10), np.zeros(10, np.int64))
    network.body.forward = Forbidden().forward  # type: ignore[method-assign]
    assert network(batch).shape == (10, 3)
    with pytest.raises(AssertionError, match="was computed"):
        network(examples.batch(np.arange(10), np.zeros(10, np.int64)))


def test_made_points_join_with_the_weight_of_their_class() -> None:
    weights = np.arange(1, 11, dtype=np.float32)
    examples = examples_of(TEXTS, 40, targets=TARGETS, weights=weights)
    rows = np.random.default_rng(0).normal(size=(len(examples), 4)).astype(np.float32)
    whole = FeatureExamples.of(examples, rows)
    kept = np.array([0, 1, 2, 5, 8])
    made = np.ones((3, 4), np.float32)
    fewer = whole.with_points(kept, made, np.array([2, 2, 1]))
    stay = np.isin(examples.spans.records, kept)
    assert len(fewer) == stay.sum() + 3 and len(fewer.num_tokens) == len(fewer)
    batch = fewer.batch(np.arange(len(fewer)), np.zeros(len(fewer), np.int64))
    assert batch.records[-3:].tolist() == [-1, -1, -1] and batch.targets is not None and batch.weights is not None
    assert batch.targets[-3:].tolist() == [2, 2, 1]
    assert batch.weights[-3:].tolist() == pytest.approx([4.5, 4.5, (2 + 5 + 9) / 3])
    # A record's weight is shared among its windows, as without features.
    for record in kept:
        assert batch.weights[batch.records == record].sum() == pytest.approx(weights[record])
    assert batch.features is not None
    np.testing.assert_array_equal(batch.features[:-3].numpy(), rows[stay])
    unweighted = FeatureExamples.of(examples_of(TEXTS, targets=TARGETS), rows[:10])
    assert unweighted.with_points(kept, made, np.array([0, 1, 2])).example_weights is None


def test_keys_of_records_are_those_of_their_sequences() -> None:
    examples = examples_of(TEXTS, targets=TARGETS, seed=9)
    units, epochs = np.array([3, 1, 4]), np.array([0, 0, 2])
    batch = FeatureExamples.of(examples, np.zeros((10, 4), np.float32)).batch(units, epochs)
    assert torch.equal(batch.keys, examples.batch(units, epochs).keys)
    disturbed = Supervised(CrossEntropy(), disturbed_fraction=0.9, num_classes=3)
    one, other = (disturbed.prepare(b, Draws(b.keys)).targets for b in (batch, examples.batch(units, epochs)))
    assert one is not None and other is not None and torch.equal(one, other)


def test_the_digest_is_of_every_weight_of_the_body() -> None:
    network = network_of(BODIES[1], HEADS[0])
    before = body_digest(network)
    with torch.no_grad():
        network.head.output.bias.add_(1)  # type: ignore[union-attr, operator]
    assert body_digest(network) == before
    with torch.no_grad():
        next(network.body.parameters()).view(-1)[-1].add_(1)
    assert body_digest(network) != before


def test_progress_of_a_long_computation_is_told() -> None:
    told: list[tuple[int, int]] = []
    network = network_of(BODIES[1], HEADS[0])
    pooled_features(network, examples_of(TEXTS), "mean", CPU, lambda done, of: told.append((done, of)))
    assert told[-1] == (10, 10)
    assert not network.training or network.body.training, "the mode of the network is given back"
