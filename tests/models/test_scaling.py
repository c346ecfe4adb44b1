"""Any number of parameters: near, in order, near the curve; anything else is refused with what would work."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from seqtrain.alphabet import PROTEIN
from seqtrain.errors import InputError
from seqtrain.models.cnn import CNNConfig
from seqtrain.models.gated_transformer import GATED_SIZES, GatedTransformerConfig
from seqtrain.models.residual_cnn import ResidualCNNConfig
from seqtrain.models.scaling import TRANSFORMERS, Growth, count_parameters, width_and_depth
from seqtrain.models.transformer import SIZES, TransformerConfig
from seqtrain.models.unet import UNetConfig
from seqtrain.recipes.networks import body_config

FAMILIES = [TransformerConfig, GatedTransformerConfig]
REQUESTED = [round(10 ** (exponent / 20)) for exponent in range(100, 200)]
"""100,000 to 9 thousand million parameters, 12 % apart."""


def _size(parameters: int) -> str:
    return f"{parameters / 1000}K"


def _twelve_squares(width: int, depth: int) -> int:
    return 12 * width**2 * depth


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("size", "tolerance"), [("200K", 0.2), ("700K", 0.15), ("2.5M", 0.1), ("20M", 0.06), ("90m", 0.06), ("0.4B", 0.06)]
)
def test_a_network_has_about_the_parameters_asked_for(
    family: type[TransformerConfig | GatedTransformerConfig], size: str, tolerance: float
) -> None:
    units = {"K": 1e3, "M": 1e6, "B": 1e9}
    config = family(**family.shape(size))
    found = count_parameters(config.build)
    assert found == pytest.approx(float(size[:-1]) * units[size[-1].upper()], rel=tolerance)
    assert config.head_size == (32 if config.width < 512 else 64)


@pytest.mark.parametrize("family", [*FAMILIES, CNNConfig, ResidualCNNConfig, UNetConfig])
def test_every_family_grows_with_the_number(family: Any) -> None:
    found = [count_parameters(family(**family.shape(size)).build) for size in ("400K", "2M", "2.5M", "7M", "20M")]
    assert found == sorted(found)
    assert found[1:] == pytest.approx([2e6, 2.5e6, 7e6, 20e6], rel=0.15)
    assert found[0] == pytest.approx(400_000, rel=0.25)


def test_parameters_are_near_and_in_order_over_five_decades() -> None:
    found = [width_and_depth(_size(n), "network", (), TRANSFORMERS, _twelve_squares) for n in REQUESTED]
    parameters = [_twelve_squares(*shape) for shape in found]
    assert parameters == sorted(parameters)
    for requested, given in zip(REQUESTED, parameters, strict=True):
        bound = 1.21 if requested < 300_000 else 1.15 if requested < 1_000_000 else 1.1 if requested < 3e6 else 1.07
        assert 1 / bound < given / requested < bound, requested


def test_shapes_stay_near_the_curve() -> None:
    leans = []
    for requested in REQUESTED:
        width, depth = width_and_depth(_size(requested), "network", (), TRANSFORMERS, _twelve_squares)
        least, most = math.floor(TRANSFORMERS.depth_at(width) / 1.5), math.ceil(TRANSFORMERS.depth_at(width) * 1.5)
        assert least <= depth <= most
        leans.append(abs(math.log(depth / TRANSFORMERS.depth_at(width))))
    assert sum(leans) / len(leans) < 0.16, "of like parameters the shape nearest to the curve is taken"
    assert TRANSFORMERS.depth_at(1280) == pytest.approx(33, rel=0.02)


def test_a_family_that_only_widens_takes_the_nearest_width() -> None:
    growth = Growth(width=64, depth=1, exponent=0, multiple=lambda width: 8, least_width=8)
    for requested in (100_000, 1_000_000, 30_000_000):
        width, depth = width_and_depth(_size(requested), "net", (), growth, lambda w, d: 10 * w * w * d)
        assert width % 8 == 0
        assert depth in (1, 2)
        assert 10 * width**2 * depth == pytest.approx(requested, rel=0.1)


def test_named_sizes_stay_what_they_are() -> None:
    assert TransformerConfig.shape("8M") == {"width": 320, "depth": 6, "num_heads": 20}
    assert GatedTransformerConfig.shape("600M") == {"width": 1152, "depth": 36, "num_heads": 18}
    for family, names in ((TransformerConfig, SIZES), (GatedTransformerConfig, GATED_SIZES)):
        for name in names:
            assert family(**family.shape(name)).width == family.shape(name)["width"]


@pytest.mark.parametrize("size", ["huge", "20", "M", "20 M", "2e7", "-3M", "20G", "", "١M"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_typo_lists_the_names_and_says_that_a_number_works(
    family: type[TransformerConfig | GatedTransformerConfig], size: str
) -> None:
    with pytest.raises(InputError, match=r"choose one of 100K, 300K, .*B, or any number of parameters, such as 20M"):
        family.shape(size)


@pytest.mark.parametrize("size", ["0K", "0.001K", "3K", "999B"])
def test_an_impossible_number_is_refused_with_the_nearest(size: str) -> None:
    with pytest.raises(InputError, match=rf"no transformer has about {size} parameters; the nearest has [\d,]+$"):
        TransformerConfig.shape(size)


def test_words_take_any_number_of_parameters() -> None:
    config = body_config("gated-transformer:feedforward=96", "250K", PROTEIN, 0.1)
    assert isinstance(config, GatedTransformerConfig)
    assert (config.width, config.feedforward, config.dropout, config.vocabulary_size) == (96, 96, 0.1, 33)


def test_counting_takes_no_memory_and_gives_every_parameter() -> None:
    assert count_parameters(lambda: torch.nn.Linear(10**6, 10**6)) == 10**12 + 10**6
