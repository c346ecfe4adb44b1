"""The convolutional body against torch's own convolution, sequence by sequence."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any, get_args

import pytest
import torch
from torch.nn import functional

from seqtrain.errors import InputError
from seqtrain.models.cnn import CNN, CNN_SIZES, CNNConfig
from seqtrain.models.convolution import PackedConvolution, Spacing
from seqtrain.models.network import body_from_dict
from seqtrain.models.normalization import Norm
from seqtrain.models.scaling import count_parameters
from tests.models.packs import LENGTHS, directional_error, draw_sequences, pack, shake

CONFIG = CNNConfig(width=32, depth=5, kernel_size=5, dilations=(1, 4, 30))


@pytest.fixture(scope="module")
def body() -> CNN:
    torch.manual_seed(0)
    return shake(CONFIG.build())


@pytest.mark.parametrize("kernel_size", [1, 3, 9])
@pytest.mark.parametrize("dilation", [1, 3, 40])
@pytest.mark.parametrize("lengths", [LENGTHS, [1], [4, 4, 4], [200]])
def test_packed_convolution_is_one_per_sequence(kernel_size: int, dilation: int, lengths: list[int]) -> None:
    torch.manual_seed(0)
    layer = PackedConvolution(6, kernel_size, dilation, outputs=4).double()
    hidden = torch.randn(sum(lengths), 6, dtype=torch.float64, requires_grad=True)
    boundaries = torch.tensor([0, *lengths]).cumsum(0)
    decode = torch.arange(0, sum(lengths), 3)
    reach = dilation * (kernel_size // 2)
    weight, bias = layer.convolution.weight, layer.convolution.bias
    expected = [
        functional.conv1d(piece.T[None], weight, bias, padding=reach, dilation=dilation)[0].T
        for piece in torch.split(hidden, lengths)
    ]
    wanted = torch.cat(expected)
    inputs = (hidden, weight, bias)
    for rows, places in ((slice(None), None), (decode, decode)):
        found = layer(hidden, Spacing.of(boundaries), places)
        torch.testing.assert_close(found, wanted[rows])
        with torch.no_grad():
            torch.testing.assert_close(layer(hidden, Spacing.of(boundaries), places), wanted[rows])
        gradients = torch.autograd.grad(found.pow(3).sum(), inputs)
        assert bias is not None
        for gradient, peer in zip(
            gradients, torch.autograd.grad(wanted[rows].pow(3).sum(), inputs, retain_graph=True), strict=True
        ):
            torch.testing.assert_close(gradient, peer)


def test_packed_convolution_has_gradients_of_gradients() -> None:
    layer = PackedConvolution(2, 3, 2).double()
    spacing = Spacing.of(torch.tensor([0, 4, 5, 9]))
    hidden = torch.randn(9, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda rows: layer(rows, spacing), hidden)


def test_packed_convolution_under_autocast_has_the_gradients_of_its_rounded_operands() -> None:
    torch.manual_seed(0)
    layer, spacing = PackedConvolution(16, 5, 2), Spacing.of(torch.tensor([0, 40, 47, 100]))
    hidden = torch.randn(100, 16, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(hidden, spacing)
    assert found.dtype == torch.bfloat16
    wanted = layer(hidden, spacing)
    inputs = [hidden, *layer.parameters()]
    for gradient, peer in zip(
        torch.autograd.grad(found.float().sum(), inputs), torch.autograd.grad(wanted.sum(), inputs), strict=True
    ):
        assert gradient.dtype == torch.float32
        assert float((gradient - peer).norm() / peer.norm()) < 0.01


@torch.no_grad()
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("norm", get_args(Norm))
def test_every_norm_gives_the_same_rows_with_and_without_decode(norm: Norm, training: bool) -> None:
    torch.manual_seed(0)
    network = dataclasses.replace(CONFIG, norm=norm, activation="silu").build().train(training)
    batch, decode = pack(draw_sequences()), torch.arange(1, sum(LENGTHS), 6)
    full = copy.deepcopy(network)(batch.inputs, batch.boundaries)
    torch.testing.assert_close(network(batch.inputs, batch.boundaries, decode), full[decode], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_every_noise_is_heard_in_training_only() -> None:
    batch = pack(draw_sequences())
    for name in ("dropout", "drop_block", "stochastic_depth", "shake_drop", "drop_connect", "feature_noise"):
        network = dataclasses.replace(CONFIG, **{name: 0.5}).build()
        first = network(batch.inputs, batch.boundaries)
        assert not torch.equal(first, network(batch.inputs, batch.boundaries)), name
        network.eval()
        assert torch.equal(network(batch.inputs, batch.boundaries), network(batch.inputs, batch.boundaries)), name


def test_runs_saved_before_there_was_a_choice_of_norms_still_load() -> None:
    fields = {"width": 32, "depth": 1, "kernel_size": 5, "dilations": [1], "dropout": 0.1, "layer_norm_eps": 1e-5}
    config = body_from_dict({"kind": "CNNConfig", "vocabulary_size": 33, **fields})
    shapes = {name: tuple(tensor.shape) for name, tensor in config.build().state_dict().items()}
    assert shapes == {
        "embedding.weight": (33, 32),
        "blocks.0.norm_down.weight": (32,),
        "blocks.0.norm_down.bias": (32,),
        "blocks.0.down.weight": (16, 32),
        "blocks.0.down.bias": (16,),
        "blocks.0.norm_convolve.weight": (16,),
        "blocks.0.norm_convolve.bias": (16,),
        "blocks.0.convolve.convolution.weight": (16, 16, 5),
        "blocks.0.convolve.convolution.bias": (16,),
        "blocks.0.norm_up.weight": (16,),
        "blocks.0.norm_up.bias": (16,),
        "blocks.0.up.weight": (32, 16),
        "blocks.0.up.bias": (32,),
        "final_norm.weight": (32,),
        "final_norm.bias": (32,),
    }


@pytest.mark.parametrize("size", ["50K", "20M", "2.5M"])
def test_sizes_by_number_have_these_parameters(size: str) -> None:
    config = CNNConfig(**CNNConfig.shape(size))
    wanted = float(size[:-1]) * {"K": 1e3, "M": 1e6}[size[-1]]
    assert 0.9 < count_parameters(config.build) / wanted < 1.1


def test_an_unknown_size_lists_those_there_are() -> None:
    assert CNNConfig.shape("1M") == dict(zip(("width", "depth"), CNN_SIZES["1M"], strict=True))
    with pytest.raises(InputError, match="there is no CNN of size 'huge'; choose one of 100K, 300K"):
        CNNConfig.shape("huge")


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
    assert narrow.config.receptive_field == 26 - 14 + 1


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
