"""Figures of networks against closed forms, sums and gradients; the picture as a file that a reader can open."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from seqtrain.describe import Description, describe_network
from seqtrain.models.aligned_head import AlignedHeadConfig
from seqtrain.models.cnn import CNN, CNNConfig
from seqtrain.models.decoder_head import DecoderHeadConfig
from seqtrain.models.heads import LanguageModelHeadConfig, PooledHeadConfig, PositionHeadConfig
from seqtrain.models.light_attention import LightAttentionHeadConfig
from seqtrain.models.network import BodyConfig, FreshConfig, HeadConfig, Network, build, language_model_head
from seqtrain.models.transformer import Packing, Transformer, TransformerConfig
from seqtrain.network_picture import network_picture, short
from seqtrain.probe import probe_network
from seqtrain.shape_letters import ShapeLetters
from seqtrain.words import names_of

SMALL = TransformerConfig(width=48, depth=3, num_heads=4, feedforward=100)


def _sizes() -> dict[str, Any]:
    """A small config of every body that can be built from scratch."""
    return {name: kind(**kind.shape("100K")) for name, kind in names_of(FreshConfig).items()}


CONFIGS = _sizes()
HEADS: list[HeadConfig] = [
    PooledHeadConfig(outputs=3),
    PositionHeadConfig(outputs=8),
    LightAttentionHeadConfig(outputs=2),
    AlignedHeadConfig(outputs=2, length=1024),
]


def _on_meta(config: BodyConfig, head: HeadConfig | None = None) -> Network:
    with torch.device("meta"):
        return build(config, head or language_model_head(config))


@pytest.mark.parametrize("head", [LanguageModelHeadConfig(), DecoderHeadConfig()], ids=lambda head: type(head).__name__)
def test_language_models_are_described_by_shapes_alone(head: HeadConfig) -> None:
    found = probe_network(_on_meta(SMALL, head), length=20)
    assert {parameter.device.type for parameter in found.body.parameters()} == {"meta"}


@pytest.mark.parametrize("length", [1, 50, 511])
def test_flops_of_a_transformer(length: int) -> None:
    width, inner, depth, ids, positions = 48, 100, 3, 33, length + 2
    described = describe_network(_on_meta(SMALL), length=length)
    layer = 2 * positions * (4 * width**2 + 2 * width * inner) + 2 * 2 * positions**2 * width
    head = 2 * positions * (width**2 + width * ids)
    assert described.flops == depth * layer + head
    assert [part.flops for part in described.parts] == [0, depth * layer, 0, head]
    assert described.flops_per_residue == described.flops / length


def test_flops_of_a_cnn() -> None:
    width, half, positions = 32, 16, 102
    config = CNNConfig(width=width, depth=5, kernel_size=5, dilations=(1, 4))
    described = describe_network(_on_meta(config, PositionHeadConfig(outputs=7)), length=100)
    block = 2 * positions * (2 * width * half + 5 * half**2)
    assert described.flops == 5 * block + 2 * positions * (width**2 + 7 * width)


def test_parts_of_a_transformer() -> None:
    described = describe_network(build(SMALL, PooledHeadConfig(outputs=3)), length=50)
    assert [(part.name, part.count, part.letters, part.shape) for part in described.parts] == [
        ("embedding", 1, ("T", "D"), (52, 48)),
        ("layers.0 – 2", 3, ("T", "D"), (52, 48)),
        ("final_norm", 1, ("T", "D"), (52, 48)),
        ("head", 1, ("B", "K"), (1, 3)),
    ]
    assert described.parts[0].parameters == 33 * 48 and described.receptive_field is None


@pytest.mark.parametrize("name", CONFIGS)
def test_every_body_with_every_head(name: str) -> None:
    config = CONFIGS[name]
    for head in (language_model_head(config), *HEADS):
        network = build(config, head)
        described = describe_network(network, length=64)
        assert described.parameters == sum(parameter.numel() for parameter in network.parameters())
        assert sum(part.parameters for part in described.parts) == described.parameters
        assert sum(part.flops for part in described.parts) == described.flops > 0
        assert described.weight_bytes >= 4 * described.parameters
        assert all(part.shape is not None for part in described.parts if part.kind != "parameters of its own")
        edges = described.flow.edges
        for part in described.parts[1:]:
            assert any(end == part.name for _, end in edges), part.name
        _check_picture(describe_network(network, length=64, inside=True))


def test_the_network_stays_as_it_was() -> None:
    network = build(SMALL, PooledHeadConfig(outputs=3)).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    describe_network(network, length=20, inside=True)
    assert network.training and all(torch.equal(before[name], now) for name, now in network.state_dict().items())
    assert all(parameter.requires_grad and parameter.device.type == "cpu" for parameter in network.parameters())


def test_a_body_that_looks_at_values() -> None:
    class Curious(Transformer):
        def compute(self, inputs: Tensor, packing: Packing) -> Tensor:
            assert int(inputs.sum()) == 0
            return super().compute(inputs, packing)

    network = build(SMALL, PooledHeadConfig(outputs=3))
    curious = Network(Curious(SMALL), network.head)
    assert describe_network(curious, length=40).parts == describe_network(network, length=40).parts


@pytest.mark.parametrize("dilations", [(1,), (1, 2, 4), (3,)])
def test_receptive_field(dilations: tuple[int, ...]) -> None:
    config = CNNConfig(width=8, depth=4, kernel_size=5, dilations=dilations)
    network = build(config, LanguageModelHeadConfig())
    field = describe_network(network, length=30).receptive_field
    assert field is not None
    length = 2 * field + 1
    body = network.body
    assert isinstance(body, CNN)
    embedded: list[Tensor] = []
    body.embedding.register_forward_hook(lambda module, args, result: embedded.append(result))
    hidden = body(torch.randint(4, 24, (length,)), torch.tensor([0, length]))
    (gradient,) = torch.autograd.grad(hidden[length // 2].square().sum(), embedded[0])
    reached = gradient.abs().sum(1).nonzero()
    assert int(reached.max() - reached.min()) + 1 == field


def test_parts_that_differ_stay_apart() -> None:
    network = build(SMALL, LanguageModelHeadConfig())
    assert isinstance(network.body, Transformer)
    network.body.layers[1].expand = nn.Linear(48, 100, bias=False)  # type: ignore[union-attr]
    names = [part.name for part in describe_network(network, length=20).parts]
    assert names == ["embedding", "layers.0", "layers.1", "layers.2", "final_norm", "head"]


def test_skips_of_the_u_net() -> None:
    described = describe_network(_on_meta(CONFIGS["u-net"]), length=64)
    order = {part.name: number for number, part in enumerate(described.parts)}
    places = [(order[start], order[end]) for start, end in described.flow.edges if end in order]
    skips = sorted((start, end) for start, end in places if end - start > 1)
    # Each encoder but the last feeds the decoder of its own size: brackets around one middle.
    assert len(skips) >= 2 and len({start + end for start, end in skips}) == 1
    for start, end in skips:
        assert described.parts[start].shape == described.parts[end].shape


def test_letters_of_shapes() -> None:
    letters = ShapeLetters(514, 320, (33, "V")).letters
    assert letters((514, 320)) == ("T", "D") and letters((514, 33)) == ("T", "V")
    assert ShapeLetters(514, 320).width_letter(257) == "257"
    assert letters((1, 640, 129)) == ("B", "2D", "L/4") and letters((514, 160, 7)) == ("L", "D/2", "7")


def _check_picture(described: Description) -> None:
    picture = network_picture(described)
    root = ElementTree.fromstring(picture)
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    texts = ["".join(node.itertext()) for node in root.iter() if node.tag.endswith("text")]
    for part in described.parts:
        assert part.name in texts
        assert any(text == (f"{part.count} × {part.kind}" if part.count > 1 else part.kind) for text in texts)
    for box in (node.attrib for node in root.iter() if node.tag.endswith("rect")):
        assert 0 <= float(box["x"]) <= float(box["x"]) + float(box["width"]) <= width
        assert 0 <= float(box["y"]) <= float(box["y"]) + float(box["height"]) <= height
    assert network_picture(described) == picture


def test_picture_shows_the_inside_of_equal_layers_once() -> None:
    picture = network_picture(describe_network(_on_meta(SMALL), length=20, inside=True))
    assert picture.count(">attention_norm<") == 1 and picture.count("3 × TransformerLayer") == 1
    assert picture.count(">attention<") == 1 and picture.count('class="skip"') == 2


def test_short_numbers() -> None:
    assert [short(n) for n in (0, 512, 7_401_000, 18.99e9, 2e12)] == ["0", "512", "7.4 M", "19 G", "2 T"]
