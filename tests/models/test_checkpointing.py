"""Activation checkpointing: the same gradients and statistics, less kept in memory."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from seqtrain.alphabet import PROTEIN
from seqtrain.models.checkpointing import checkpoint_layers
from seqtrain.models.cnn import CNNConfig
from seqtrain.models.gated_transformer import GatedTransformerConfig
from seqtrain.models.network import BodyConfig
from seqtrain.models.transformer import TransformerConfig
from seqtrain.models.unet import UNetConfig
from tests.models.backbones import small_config
from tests.models.packs import draw_sequences, pack

BODIES: list[BodyConfig] = [
    TransformerConfig(width=32, depth=4, num_heads=4, dropout=0.3),
    GatedTransformerConfig(width=32, depth=4, num_heads=4, dropout=0.3),
    CNNConfig(width=32, depth=4, dropout=0.3),
    CNNConfig(width=32, depth=4, norm="batch"),
    CNNConfig(width=32, depth=4, norm="batch-renorm"),
    UNetConfig(width=32, levels=2, dropout=0.3),
    small_config("bert", PROTEIN.tokens),
    small_config("t5", PROTEIN.tokens),
]
NAMES = [f"{type(body).__name__}-{getattr(body, 'norm', getattr(body, 'family', ''))}" for body in BODIES]


def _two_steps(body: nn.Module) -> tuple[list[torch.Tensor], int]:
    """Outputs and gradients of two passes, and the numbers that autograd kept of the second."""
    batch = pack(draw_sequences())
    found, kept = [], 0

    def count(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal kept
        kept += tensor.numel()
        return tensor

    for seed in (1, 2):
        kept = 0
        torch.manual_seed(seed)
        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            hidden = body(batch.inputs, batch.boundaries, torch.arange(0, len(batch.inputs), 3))
        kept_in_pass = kept
        weights = [parameter for parameter in body.parameters() if parameter.requires_grad]
        gradients = torch.autograd.grad(hidden.square().sum(), weights, allow_unused=True)
        found += [hidden, *(gradient for gradient in gradients if gradient is not None)]
    return found, kept_in_pass


@pytest.mark.parametrize("config", BODIES, ids=NAMES)
def test_gradients_and_statistics_stay_and_memory_falls(config: BodyConfig) -> None:
    torch.manual_seed(0)
    plain = config.build().train()
    saving = copy.deepcopy(plain)
    checkpoint_layers(saving)
    expected, kept_before = _two_steps(plain)
    found, kept_after = _two_steps(saving)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    assert list(saving.state_dict()) == list(plain.state_dict())
    for name, value in plain.state_dict().items():
        assert torch.equal(saving.state_dict()[name], value), name
    assert kept_after < 0.5 * kept_before


def test_a_copy_computes_with_its_own_weights() -> None:
    torch.manual_seed(0)
    body = BODIES[0].build().train()
    checkpoint_layers(body)
    other = copy.deepcopy(body)
    with torch.no_grad():
        for parameter in body.parameters():
            parameter.zero_()
    batch = pack(draw_sequences([9, 12]))
    assert float(other(batch.inputs, batch.boundaries).detach().abs().sum()) > 1
    other(batch.inputs, batch.boundaries).sum().backward()
    assert all(parameter.grad is None for parameter in body.parameters())
