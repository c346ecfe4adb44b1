"""Modules without numbers: the same shapes, nothing drawn, and nothing imported for it."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from seqtrain.models.cnn import CNNConfig
from seqtrain.models.gated_transformer import GatedTransformerConfig
from seqtrain.models.network import BodyConfig
from seqtrain.models.residual_cnn import ResidualCNNConfig
from seqtrain.models.transformer import TransformerConfig
from seqtrain.models.unet import UNetConfig
from seqtrain.models.weightless import weightless

BODIES: list[BodyConfig] = [
    TransformerConfig(width=16, depth=2, num_heads=2),
    GatedTransformerConfig(width=16, depth=2, num_heads=2),
    CNNConfig(width=16, depth=2),
    ResidualCNNConfig(width=16, depth=2, stages=2),
    UNetConfig(width=16),
]


@pytest.mark.parametrize("config", BODIES, ids=lambda config: type(config).__name__)
def test_a_weightless_body_has_the_shapes_of_a_real_one(config: BodyConfig) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    with weightless():
        light = config.build().state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    real = config.build().state_dict()
    assert {name: tensor.shape for name, tensor in light.items()} == {name: t.shape for name, t in real.items()}
    assert all(tensor.is_meta for tensor in light.values())
    assert not any(tensor.is_meta for tensor in real.values()), "outside of it everything is as before"


def test_it_imports_no_symbolic_mathematics() -> None:
    # torch's own drawing on "meta" imports sympy and 800 other modules, for more than a second.
    program = (
        "import sys; from seqtrain.models.network import ResidualCNNConfig, TransformerConfig; "
        "from seqtrain.models.weightless import weightless\n"
        "with weightless(): TransformerConfig(width=16, depth=1, num_heads=2).build(), "
        "ResidualCNNConfig(width=16, depth=1, stages=1).build()\n"
        "assert 'sympy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
