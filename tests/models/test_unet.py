"""The U-Net against torch's own convolutions and pooling, sequence by sequence."""

from __future__ import annotations

import dataclasses
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from seqtrain.errors import InputError
from seqtrain.models.noise import BranchNoise
from seqtrain.models.normalization import Norm
from seqtrain.models.scaling import count_parameters
from seqtrain.models.unet import UNET_SIZES, UNet, UNetConfig, _parameters_of
from tests.models.packs import LENGTHS, directional_error, draw_sequences, pack, shake

CONFIG = UNetConfig(width=32, levels=3, growth=1.5, kernel_size=5)


@pytest.fixture(scope="module")
def body() -> UNet:
    torch.manual_seed(0)
    return shake(CONFIG.build())


def _norm(norm: Any, hidden: Tensor) -> Tensor:
    return functional.layer_norm(hidden.T, (len(hidden),), norm.weight, norm.bias, 1e-5).T


def _block(block: Any, hidden: Tensor) -> Tensor:
    inner = hidden
    for norm, side in ((block.norm_first, block.first), (block.norm_second, block.second)):
        convolution = side.convolution
        inner = functional.gelu(_norm(norm, inner))
        inner = functional.conv1d(inner[None], convolution.weight, convolution.bias, padding="same")[0]
    return hidden + inner


def _pointwise(layer: nn.Linear, hidden: Tensor) -> Tensor:
    return functional.conv1d(hidden[None], layer.weight[:, :, None], layer.bias)[0]


def _reference(body: Any, ids: Tensor) -> Tensor:
    """One sequence, channels first, by pooling that rounds lengths up and transposed convolutions cut to length."""
    levels = body.config.levels
    hidden = _block(body.blocks[0], body.embedding(ids).T)
    skips = [hidden]
    for block in body.blocks[1 : levels + 1]:
        hidden = functional.max_pool1d(hidden[None], 2, ceil_mode=True)[0]
        hidden = _block(block, _pointwise(block.widen, hidden))
        skips.append(hidden)
    skips.pop()
    for block in body.blocks[levels + 1 :]:
        weight = block.rise.weight.unflatten(0, (2, -1)).permute(2, 1, 0)  # (in, out, 2)
        risen = functional.conv_transpose1d(hidden[None], weight, stride=2)[0]
        risen = risen + block.rise.bias.unflatten(0, (2, -1)).T.repeat(1, hidden.shape[1])
        skipped = skips.pop()
        joined = torch.cat((skipped, risen[:, : skipped.shape[1]]))
        hidden = _block(block, _pointwise(block.merge, joined))
    return _norm(body.final_norm, hidden).T


@torch.no_grad()
def test_packed_is_the_textbook_network_on_each_sequence(body: UNet) -> None:
    sequences = draw_sequences([*LENGTHS, 1, 2, 8, 16, 17])
    batch = pack(sequences)
    expected = torch.cat([_reference(body, ids) for ids in sequences])
    torch.testing.assert_close(body(batch.inputs, batch.boundaries), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("norm", get_args(Norm))
def test_a_sequence_does_not_depend_on_its_companions(norm: Norm) -> None:
    torch.manual_seed(0)
    exact = shake(dataclasses.replace(CONFIG, norm=norm).build()).double()
    sequences = draw_sequences()
    batch, backwards = pack(sequences), pack(sequences[::-1])
    together = torch.split(exact(batch.inputs, batch.boundaries), LENGTHS)
    reordered = torch.split(exact(backwards.inputs, backwards.boundaries), LENGTHS[::-1])[::-1]
    for index, ids in enumerate(sequences):
        alone = exact(ids, torch.tensor([0, len(ids)]))
        torch.testing.assert_close(together[index], alone, atol=1e-9, rtol=0)
        torch.testing.assert_close(reordered[index], alone, atol=1e-9, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("length", [101, 104, 120])
def test_padding_of_a_rectangle_changes_nothing(body: UNet, length: int) -> None:
    batch = pack(draw_sequences())
    real = torch.arange(length) < batch.lengths[:, None]
    for filler in (1, 20):
        ids = torch.full(real.shape, filler)
        ids[real] = batch.inputs
        hidden = body.compute(ids.flatten(), body.plan_rectangle(real)).view(*real.shape, -1)
        torch.testing.assert_close(hidden[real], body(batch.inputs, batch.boundaries), atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("norm", ["layer", "batch", "group"])
def test_decode_gives_the_rows_of_the_full_computation(norm: Norm) -> None:
    torch.manual_seed(0)
    exact = shake(dataclasses.replace(CONFIG, norm=norm).build()).double()
    batch = pack(draw_sequences())
    decode = torch.arange(1, len(batch.inputs), 6)
    full = exact(batch.inputs, batch.boundaries)
    torch.testing.assert_close(exact(batch.inputs, batch.boundaries, decode), full[decode], atol=1e-9, rtol=0)
    assert exact(batch.inputs, batch.boundaries, decode[:0]).shape == (0, 32)


@torch.no_grad()
def test_hidden_states_give_every_position_what_stands_for_it(body: UNet) -> None:
    batch = pack(draw_sequences())
    states = body.hidden_states(batch.inputs, batch.boundaries)
    assert [state.shape[1] for state in states] == [32, 32, 48, 72, 112, 72, 48, 32]
    assert torch.equal(states[-1], body(batch.inputs, batch.boundaries))
    assert torch.equal(states[0], body.embedding(batch.inputs))
    for state, pair in zip(states, (1, 1, 2, 4, 8, 4, 2, 1), strict=True):
        for rows in torch.split(state, LENGTHS):
            groups = torch.arange(len(rows)) // pair
            assert torch.equal(rows, rows[groups * pair])
            assert pair == 1 or len(rows.unique(dim=0)) == 1 + groups[-1]
    some = body.hidden_states(batch.inputs, batch.boundaries, last=5)
    assert [torch.equal(one, other) for one, other in zip(some, states, strict=False)] == [True] * 6


@pytest.mark.parametrize(("kernel_size", "levels"), [(3, 1), (3, 2), (5, 2), (1, 3), (3, 3)])
def test_receptive_field_is_its_closed_form(kernel_size: int, levels: int) -> None:
    torch.manual_seed(0)
    config = UNetConfig(width=16, levels=levels, growth=1.0, kernel_size=kernel_size)
    body = shake(config.build()).double()
    ids = torch.randint(4, 24, (config.receptive_field * 2 + 20,))
    rows: list[Tensor] = []
    body.embedding.register_forward_hook(lambda module, inputs, output: rows.append(output))
    sizes = []
    for phase in range(1 << levels):
        hidden = body(ids, torch.tensor([0, len(ids)]))
        gradient = torch.autograd.grad(hidden[len(ids) // 2 + phase].square().sum(), rows.pop())[0]
        seen = gradient.any(dim=1).nonzero().squeeze(1)
        sizes.append(int(seen.max() - seen.min()) + 1)
    assert sum(sizes) / len(sizes) == config.receptive_field


def test_gradient_is_that_of_a_finite_difference() -> None:
    torch.manual_seed(0)
    small = shake(UNetConfig(width=8, levels=2, growth=1.0).build().double()).train()
    batch = pack(draw_sequences([4, 9, 3]))
    assert directional_error(small, lambda: small(batch.inputs, batch.boundaries).pow(3).sum()) < 1e-6


def test_one_long_sequence_takes_no_room_from_short_ones(body: UNet) -> None:
    batch = pack(draw_sequences([3000, *[5] * 200]))
    largest = 0

    def keep(tensor: Tensor) -> Tensor:
        nonlocal largest
        largest = max(largest, len(tensor) if tensor.ndim == 2 else tensor.shape[-1])
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        body(batch.inputs, batch.boundaries)
    assert largest < 2 * len(batch.inputs), "a padded rectangle has 150 times the positions"


def test_noise_acts_in_training_only() -> None:
    batch = pack(draw_sequences())
    for name in ("dropout", "drop_block", "stochastic_depth", "shake_drop", "drop_connect", "feature_noise"):
        torch.manual_seed(0)
        noisy = shake(dataclasses.replace(CONFIG, **{name: 0.3}).build())
        torch.manual_seed(0)
        quiet = shake(CONFIG.build())
        assert torch.equal(noisy(batch.inputs, batch.boundaries), quiet(batch.inputs, batch.boundaries)), name
        noisy.train()
        once, again = (noisy(batch.inputs, batch.boundaries) for _ in range(2))
        assert not torch.equal(once, again), name
    shares = [module.depth_share for module in noisy.modules() if isinstance(module, BranchNoise)]
    assert shares == pytest.approx([(index + 1) / 7 for index in range(7)]), "of a block, by its place"


@torch.no_grad()
def test_bfloat16_stays_within_three_hundredths_of_the_spread_of_float32(body: UNet) -> None:
    batch = pack(draw_sequences())
    exact = body(batch.inputs, batch.boundaries)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = body(batch.inputs, batch.boundaries)
    assert (mixed - exact).square().mean().sqrt() < 0.03 * exact.std()


@torch.no_grad()
def test_shares_of_ids_mix_embeddings(body: UNet) -> None:
    batch = pack(draw_sequences())
    shares = functional.one_hot(batch.inputs, 33).float()
    expected = body(batch.inputs, batch.boundaries)
    torch.testing.assert_close(body(shares, batch.boundaries), expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(("size", "least", "most"), [*((size, 0.88, 1.12) for size in UNET_SIZES), ("20M", 0.98, 1.02)])
def test_sizes_have_about_as_many_parameters(size: str, least: float, most: float) -> None:
    config = UNetConfig(**UNetConfig.shape(size))
    parameters = count_parameters(config.build)
    number = float(size[:-1]) * {"K": 1e3, "M": 1e6}[size[-1]]
    assert least < parameters / number < most
    assert parameters == _parameters_of(config.width, config.levels)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kernel_size": 4}, "kernel_size 4 has no centre; make it odd"),
        ({"width": 33}, "width is 33; make it a multiple of 8"),
        ({"levels": 0}, "levels is 0"),
        ({"growth": 0.5}, "growth is 0.5; give a number of at least 1"),
        ({"norm": "layers"}, "norm is 'layers'; choose one of layer, rms"),
        ({"activation": "swish"}, "activation is 'swish'; choose one of sigmoid"),
        ({"dropout": -0.1}, "dropout is -0.1"),
    ],
)
def test_impossible_configs_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        dataclasses.replace(CONFIG, **changes)
    with pytest.raises(InputError, match="of size 'huge'; choose one of 100K, "):
        UNetConfig.shape("huge")
