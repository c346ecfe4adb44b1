"""Every body with every head: shapes, companions, and configs as plain dicts."""

from __future__ import annotations

import json
from typing import get_args

import pytest
import torch

from seqtrain.alphabet import PROTEIN
from seqtrain.batch import Batch
from seqtrain.errors import InputError
from seqtrain.models.aligned_head import AlignedHeadConfig
from seqtrain.models.cnn import CNNConfig
from seqtrain.models.decoder_head import DecoderHeadConfig
from seqtrain.models.gated_transformer import GatedTransformerConfig
from seqtrain.models.heads import LanguageModelHeadConfig, PooledHeadConfig, PositionHeadConfig, SequenceHeadConfig
from seqtrain.models.imprinted_head import ImprintedHeadConfig
from seqtrain.models.light_attention import LightAttentionHeadConfig
from seqtrain.models.network import (
    BodyConfig,
    HeadConfig,
    body_from_dict,
    build,
    head_from_dict,
    language_model_head,
    to_dict,
)
from seqtrain.models.projection import ProjectionHeadConfig
from seqtrain.models.residual_cnn import ResidualCNNConfig
from seqtrain.models.transformer import TransformerConfig
from seqtrain.models.unet import UNetConfig
from tests.models.backbones import small_config
from tests.models.packs import LENGTHS, draw_sequences, pack, shake

BODIES: list[BodyConfig] = [
    TransformerConfig(width=16, depth=2, num_heads=2, dropout=0.1),
    CNNConfig(width=16, depth=3, dilations=(1, 2)),
    ResidualCNNConfig(width=16, depth=3, stages=2, kernel_size=3, dilations=(1, 2)),
    GatedTransformerConfig(width=16, depth=2, num_heads=2),
    UNetConfig(width=16, levels=2, growth=1.5, kernel_size=3),
    small_config("bert", PROTEIN.tokens),
]
HEADS: list[HeadConfig] = [
    LanguageModelHeadConfig(),
    PooledHeadConfig(outputs=3),
    LightAttentionHeadConfig(outputs=3, kernel_size=3),
    AlignedHeadConfig(outputs=2, length=1024),
    ImprintedHeadConfig(outputs=3),
    PositionHeadConfig(outputs=4),
    ProjectionHeadConfig(projections=4, predictor_width=3, support_size=2),
]


def test_the_lists_above_have_every_member() -> None:
    assert {type(config) for config in BODIES} == set(get_args(BodyConfig))
    # A decoder head goes with two of the bodies only, and has tests of its own.
    assert {type(config) for config in HEADS} | {DecoderHeadConfig} == set(get_args(HeadConfig))


def language_model_head_of(body: BodyConfig, head: HeadConfig) -> HeadConfig:
    """The head as it is, or, of a language model, the one that goes with the body."""
    return language_model_head(body) if isinstance(head, LanguageModelHeadConfig) else head


@torch.no_grad()
@pytest.mark.parametrize("body", BODIES, ids=lambda config: type(config).__name__)
@pytest.mark.parametrize("head", HEADS, ids=lambda config: type(config).__name__)
def test_logits_of_a_sequence_do_not_depend_on_its_companions(body: BodyConfig, head: HeadConfig) -> None:
    torch.manual_seed(0)
    network = shake(build(body, language_model_head_of(body, head)))
    sequences = draw_sequences()
    together = network(pack(sequences))
    alone = torch.cat([network(pack([ids])) for ids in sequences])
    torch.testing.assert_close(together, alone, atol=2e-6, rtol=1e-5)
    rows = len(LENGTHS) if isinstance(head, SequenceHeadConfig | ProjectionHeadConfig) else sum(LENGTHS)
    assert together.shape == (rows, 33 if isinstance(head, LanguageModelHeadConfig) else head.outputs)


@pytest.mark.parametrize("body", BODIES, ids=lambda config: type(config).__name__)
@pytest.mark.parametrize("head", HEADS, ids=lambda config: type(config).__name__)
def test_gradients_reach_every_parameter(body: BodyConfig, head: HeadConfig) -> None:
    torch.manual_seed(0)
    network = shake(build(body, language_model_head_of(body, head))).train()
    network(pack(draw_sequences())).pow(2).sum().backward()
    for name, parameter in network.named_parameters():
        # Adding one number to all keys of a query changes no softmax: this gradient is zero but for rounding.
        if not name.endswith("key.bias"):
            assert parameter.grad is not None and parameter.grad.any(), name


@torch.no_grad()
def test_only_a_language_model_head_decodes() -> None:
    decode = torch.tensor([1, 7, 40])
    sequences = draw_sequences()
    for head in HEADS:
        whole = sum(LENGTHS) if isinstance(head, PositionHeadConfig) else len(LENGTHS)
        rows = 3 if isinstance(head, LanguageModelHeadConfig) else whole
        assert len(build(BODIES[0], head)(pack(sequences, decode))) == rows


@pytest.mark.parametrize("config", BODIES)
def test_body_config_survives_json(config: BodyConfig) -> None:
    assert body_from_dict(json.loads(json.dumps(to_dict(config)))) == config


@pytest.mark.parametrize("config", HEADS)
def test_head_config_survives_json(config: HeadConfig) -> None:
    assert head_from_dict(json.loads(json.dumps(to_dict(config)))) == config


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"kind": "RNNConfig"}, r"model\.toml: kind is 'RNNConfig'; choose one of TransformerConfig, CNNConfig"),
        ({}, "kind is None; choose one of"),
        ({"kind": "CNNConfig", "widht": 4}, "CNNConfig has no 'widht'; it has .*width"),
        ({"kind": "CNNConfig", "width": 4}, "CNNConfig needs 'depth'"),
        ({"kind": "CNNConfig", "width": "4", "depth": 1}, "width is '4'"),
        ({"kind": "CNNConfig", "width": 4, "depth": 1, "dilations": 3}, "dilations is 3"),
    ],
)
def test_wrong_dicts_are_refused(plain: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        body_from_dict(plain, "model.toml")


def test_two_vocabularies_in_one_network_are_refused() -> None:
    with pytest.raises(InputError, match="head has 20 tokens and its body 33"):
        build(BODIES[0], LanguageModelHeadConfig(vocabulary_size=20))


@pytest.mark.parametrize(
    "head",
    [
        PooledHeadConfig(outputs=1),
        PositionHeadConfig(outputs=1),
        LanguageModelHeadConfig(),
        DecoderHeadConfig(width=16),
    ],
)
def test_heads_answer_in_full_precision_under_autocast(head: HeadConfig) -> None:
    torch.manual_seed(0)
    network = build(TransformerConfig(width=32, depth=1, num_heads=2), head).eval()
    boundaries = torch.arange(0, 2001, 5)
    batch = Batch(
        inputs=torch.randint(4, 24, (2000,)),
        boundaries=boundaries,
        letters=torch.full((2000,), 65, dtype=torch.uint8),
        records=torch.arange(400),
        keys=torch.arange(400),
    )
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        logits = network(batch)
    assert logits.dtype == torch.float32
    assert (logits.bfloat16().float() != logits).float().mean() > 0.9, "16 bits would make many of them equal"
