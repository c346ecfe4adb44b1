"""The convolutional body against torch's own convolution, sequence by sequence."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest
import torch
from torch.nn import functional

from seqtrain.errors import InputError
from seqtrain.models.cnn import CNN, CNNConfig, PackedConvolution, Spacing
from tests.models.packs import LENGTHS, directional_error, draw_sequences, pack, shake

CONFIG = CNNConfig(width=32, depth=5, kernel_size=5, dilations=(1, 4, 30))


@pytest.fixture(scope="module")
def body() -> CNN:
    torch.manual_seed(0)
    return shake(CONFIG.build())


@torch.no_grad()
@pytest.mark.parametrize("kernel_size", [1, 3, 9])
@pytest.mark.parametrize("dilation", [1, 3, 40])
@pytest.mark.parametrize("lengths", [LENGTHS, [1], [4, 4, 4], [200]])
def test_packed_convolution_is_one_per_sequence(kernel_size: int, dilation: int, lengths: list[int]) -> None:
    torch.manual_seed(0)
    layer = PackedConvolution(6, kernel_size, dilation)
    hidden = torch.randn(sum(lengths), 6)
    boundaries = torch.tensor([0, *lengths]).cumsum(0)
    reach = dilation * (kernel_size // 2)
    weight, bias = layer.convolution.weight, layer.convolution.bias
    expected = [
        functional.conv1d(piece.T[None], weight, bias, padding=reach, dilation=dilation)[0].T
        for piece in torch.split(hidden, lengths)
    ]
    torch.testing.assert_close(layer(hidden, Spacing.of(boundaries)), torch.cat(expected), atol=1e-6, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 4e-6), (torch.float64, 1e-14)])
def test_a_sequence_does_not_depend_on_its_companions(body: CNN, dtype: torch.dtype, tolerance: float) -> None:
    exact = copy.deepcopy(body).to(dtype)
    sequences = draw_sequences()
    batch = pack(sequences)
    together = torch.split(exact(batch.inputs, batch.boundaries), LENGTHS)
    backwards = pack(sequences[::-1])
    reordered = torch.split(exact(backwards.inputs, backwards.boundaries), LENGTHS[::-1])[::-1]
    for index, ids in enumerate(sequences):
        alone = exact(ids, torch.tensor([0, len(ids)]))
        torch.testing.assert_close(together[index], alone, atol=tolerance, rtol=0)
        torch.testing.assert_close(reordered[index], alone, atol=tolerance, rtol=0)


@torch.no_grad()
def test_decode_gives_the_rows_of_the_full_computation(body: CNN) -> None:
    batch = pack(draw_sequences())
    decode = torch.arange(1, len(batch.inputs), 6)
    full = body(batch.inputs, batch.boundaries)
    torch.testing.assert_close(body(batch.inputs, batch.boundaries, decode), full[decode], atol=1e-6, rtol=1e-6)
    assert body(batch.inputs, batch.boundaries, decode[:0]).shape == (0, 32)


@torch.no_grad()
def test_hidden_states_end_with_the_output(body: CNN) -> None:
    batch = pack(draw_sequences())
    states = body.hidden_states(batch.inputs, batch.boundaries)
    assert [tuple(state.shape) for state in states] == [(sum(LENGTHS), 32)] * 6
    assert torch.equal(states[-1], body(batch.inputs, batch.boundaries))
    assert torch.equal(states[0], body.embedding(batch.inputs))


@torch.no_grad()
def test_receptive_field_is_the_sum_of_the_reaches() -> None:
    torch.manual_seed(0)
    narrow = shake(CNNConfig(width=16, depth=2, kernel_size=3, dilations=(1, 5)).build())
    ids = torch.full((41,), 5)
    changed = ids.clone()
    changed[20] = 9
    boundaries = torch.tensor([0, 41])
    differs = (narrow(ids, boundaries) != narrow(changed, boundaries)).any(dim=1).nonzero().squeeze(1)
    assert differs.min() == 14
    assert differs.max() == 26


def test_gradient_is_that_of_a_finite_difference() -> None:
    torch.manual_seed(0)
    small = shake(CNNConfig(width=8, depth=2, kernel_size=3, dilations=(1, 2)).build().double()).train()
    batch = pack(draw_sequences([4, 9, 3]))
    assert directional_error(small, lambda: small(batch.inputs, batch.boundaries).pow(3).sum()) < 1e-6


@torch.no_grad()
def test_bfloat16_stays_within_two_hundredths_of_the_spread_of_float32(body: CNN) -> None:
    batch = pack(draw_sequences())
    exact = body(batch.inputs, batch.boundaries)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = body(batch.inputs, batch.boundaries)
    assert (mixed - exact).square().mean().sqrt() < 0.02 * exact.std()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kernel_size": 4}, "kernel_size 4 has no centre; make it odd"),
        ({"width": 33}, "width 33 is odd"),
        ({"dilations": ()}, r"dilations is \(\)"),
        ({"dilations": (1, 0)}, "dilations is 0"),
        ({"dropout": -0.1}, "dropout is -0.1"),
        ({"depth": 0}, "depth is 0"),
    ],
)
def test_impossible_configs_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        dataclasses.replace(CONFIG, **changes)
