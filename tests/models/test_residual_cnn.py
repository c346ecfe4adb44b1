"""The residual body against torch's own layers, sequence by sequence."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any, get_args

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from seqtrain.errors import InputError
from seqtrain.models.activations import Activation
from seqtrain.models.normalization import NoNorm, Norm
from seqtrain.models.residual_cnn import RESIDUAL_CNN_SIZES, ResidualBlock, ResidualCNN, ResidualCNNConfig
from seqtrain.models.scaling import count_parameters
from tests.models.packs import LENGTHS, directional_error, draw_sequences, pack, shake

CONFIG = ResidualCNNConfig(width=16, depth=4, kernel_size=3, dilations=(1, 4, 30), norm="group")


@pytest.fixture(scope="module")
def body() -> ResidualCNN:
    torch.manual_seed(0)
    return shake(CONFIG.build())


def _convolved(rows: Tensor, layer: torch.nn.Conv1d, dilation: int) -> Tensor:
    reach = dilation * (layer.kernel_size[0] // 2)
    return functional.conv1d(rows.T[None], layer.weight, layer.bias, padding=reach, dilation=dilation)[0].T


def _normed(rows: Tensor, norm: Any) -> Tensor:
    if isinstance(norm, NoNorm):
        return rows
    return functional.group_norm(rows.T[None], norm.num_groups, norm.weight, norm.bias, norm.eps)[0].T


def _by_hand(body: ResidualCNN, ids: Tensor) -> Tensor:
    """One sequence through the layers of the paper, written with torch's functions."""
    stem: Any = body.stem
    rows = functional.relu(_normed(_convolved(stem.embedding.weight[ids], body.convolve.convolution, 1), body.norm))
    for index, block in enumerate(body.blocks):
        assert isinstance(block, ResidualBlock)
        dilation = (1, 4, 30)[index % 3]
        before, between, scale = 0.0, 0.0, 1.0
        if block.shifts is not None and block.scale is not None:
            (before, between), scale = block.shifts.tolist(), float(block.scale)
        inner = _normed(_convolved(rows + before, block.convolve_first.convolution, dilation), block.norm_first)
        inner = functional.relu(inner) + between
        inner = _normed(_convolved(inner, block.convolve_second.convolution, dilation), block.norm_second) * scale
        if block.projection is not None:
            rows = _normed(
                functional.linear(rows, block.projection.weight, block.projection.bias), block.norm_projection
            )
        rows = functional.relu(rows + inner)
    return rows


@torch.no_grad()
@pytest.mark.parametrize("norm", ["group", "none"])
def test_is_the_network_of_the_paper_on_each_sequence_alone(norm: Norm) -> None:
    torch.manual_seed(0)
    exact = shake(dataclasses.replace(CONFIG, norm=norm).build().double())
    sequences = draw_sequences()
    batch = pack(sequences)
    together = torch.split(exact(batch.inputs, batch.boundaries), LENGTHS)
    assert CONFIG.widths == (16, 16, 24, 32)
    for rows, ids in zip(together, sequences, strict=True):
        torch.testing.assert_close(rows, _by_hand(exact, ids), atol=1e-12, rtol=1e-10)


@torch.no_grad()
@pytest.mark.parametrize("norm", get_args(Norm))
@pytest.mark.parametrize("seen", ["tokens", "one-hot", "ngram"])
def test_a_sequence_does_not_depend_on_its_companions(norm: Norm, seen: Any) -> None:
    torch.manual_seed(0)
    network = dataclasses.replace(CONFIG, norm=norm, input=seen, n=2).build()
    sequences = draw_sequences()
    batch = pack(sequences)
    network(batch.inputs, batch.boundaries)
    shake(network)
    together = torch.split(network(batch.inputs, batch.boundaries), LENGTHS)
    backwards = pack(sequences[::-1])
    reordered = torch.split(network(backwards.inputs, backwards.boundaries), LENGTHS[::-1])[::-1]
    scale = float(torch.cat(together).std())
    for index, ids in enumerate(sequences):
        alone = network(ids, torch.tensor([0, len(ids)]))
        torch.testing.assert_close(together[index], alone, atol=1e-5 * scale, rtol=0)
        torch.testing.assert_close(reordered[index], alone, atol=1e-5 * scale, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("norm", ["layer", "none"])
def test_two_branches_count_by_half_each_in_evaluation(norm: Norm) -> None:
    torch.manual_seed(0)
    plain = shake(dataclasses.replace(CONFIG, norm=norm).build().double())
    double = dataclasses.replace(CONFIG, norm=norm, shake_shake=True).build().double()
    weights = plain.state_dict()
    names = [name for name, _ in double.named_parameters() if ".other." in name]
    assert len(names) == sum(".convolve_" in name or ".norm_f" in name or ".norm_s" in name or name.endswith(
        (".shifts", ".scale")) for name in weights if name.startswith("blocks."))  # fmt: skip
    same = weights | {name: weights[name.replace(".other.", ".")] for name in names}
    double.load_state_dict(same)
    batch = pack(draw_sequences())
    expected = plain(batch.inputs, batch.boundaries)
    torch.testing.assert_close(double.eval()(batch.inputs, batch.boundaries), expected, atol=1e-12, rtol=1e-10)
    # The sum of what two branches without norms add is halved: a branch of zeros leaves half of the other one.
    if norm == "none":
        double.load_state_dict(same | {name: torch.zeros_like(weights[name.replace(".other.", ".")]) for name in names})
        halved = {name: tensor / 2 if name.endswith(".scale") else tensor for name, tensor in weights.items()}
        plain.load_state_dict(halved)
        expected = plain(batch.inputs, batch.boundaries)
        torch.testing.assert_close(double(batch.inputs, batch.boundaries), expected, atol=1e-12, rtol=1e-10)
    # Equal branches are mixed to themselves by any share; others are not.
    double.load_state_dict(same)
    torch.testing.assert_close(
        double.train()(batch.inputs, batch.boundaries), double.eval()(batch.inputs, batch.boundaries)
    )


def test_two_branches_have_the_gradient_of_a_finite_difference_in_evaluation() -> None:
    torch.manual_seed(0)
    config = dataclasses.replace(CONFIG, width=8, depth=2, stages=2, activation="softplus", shake_shake=True)
    small = shake(config.build().double()).eval()
    batch = pack(draw_sequences([4, 9, 3]))
    assert directional_error(small, lambda: small(batch.inputs, batch.boundaries).pow(3).sum()) < 1e-5


@torch.no_grad()
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("norm", get_args(Norm))
def test_decode_gives_the_rows_of_the_full_computation(norm: Norm, training: bool) -> None:
    torch.manual_seed(0)
    network = dataclasses.replace(CONFIG, norm=norm).build().train(training)
    batch = pack(draw_sequences())
    decode = torch.arange(1, len(batch.inputs), 6)
    full = copy.deepcopy(network)(batch.inputs, batch.boundaries)
    torch.testing.assert_close(network(batch.inputs, batch.boundaries, decode), full[decode], atol=1e-5, rtol=1e-5)
    assert network(batch.inputs, batch.boundaries, decode[:0]).shape == (0, 32)


@torch.no_grad()
def test_hidden_states_have_the_widths_of_their_stages_and_end_with_the_output(body: ResidualCNN) -> None:
    batch = pack(draw_sequences())
    states = body.hidden_states(batch.inputs, batch.boundaries)
    assert [state.shape[1] for state in states] == [16, 16, 16, 24, 32]
    assert torch.equal(states[-1], body(batch.inputs, batch.boundaries))
    assert len(body.hidden_states(batch.inputs, batch.boundaries, last=2)) == 3


@torch.no_grad()
@pytest.mark.parametrize("changes", [{}, {"input": "ngram", "n": 2}, {"dilations": (2, 5)}])
def test_receptive_field_is_the_formula(changes: dict[str, Any]) -> None:
    torch.manual_seed(0)
    smooth = dataclasses.replace(CONFIG, depth=2, stages=2, norm="layer", activation="gelu", dilations=(1, 3))
    config = dataclasses.replace(smooth, **changes)
    narrow = shake(config.build()).double()
    ids = torch.full((81,), 5)
    changed = ids.clone()
    changed[40] = 9
    boundaries = torch.tensor([0, 81])
    differs = (narrow(ids, boundaries) != narrow(changed, boundaries)).any(dim=1).nonzero().squeeze(1)
    assert int(differs.max() - differs.min()) + 1 == config.receptive_field


@pytest.mark.parametrize("norm", ["layer", "rms", "batch", "group", "none"])
def test_gradient_is_that_of_a_finite_difference(norm: Norm) -> None:
    torch.manual_seed(0)
    config = dataclasses.replace(CONFIG, width=8, depth=2, stages=2, norm=norm, activation="softplus")
    small = shake(config.build().double()).train()
    batch = pack(draw_sequences([4, 9, 3]))
    assert directional_error(small, lambda: small(batch.inputs, batch.boundaries).pow(3).sum()) < 1e-5


@torch.no_grad()
@pytest.mark.parametrize("name", get_args(Activation))
def test_every_activation_builds_and_runs(name: Activation) -> None:
    torch.manual_seed(0)
    batch = pack(draw_sequences([5, 8]))
    assert dataclasses.replace(CONFIG, activation=name).build()(batch.inputs, batch.boundaries).isfinite().all()


def test_every_noise_is_heard_in_training_and_lets_gradients_through() -> None:
    batch = pack(draw_sequences())
    for name in ("dropout", "drop_block", "stochastic_depth", "shake_drop", "drop_connect", "feature_noise"):
        torch.manual_seed(0)
        network = dataclasses.replace(CONFIG, **{name: 0.5}).build()
        first = network(batch.inputs, batch.boundaries)
        assert not torch.equal(first, network(batch.inputs, batch.boundaries)), name
        first.square().sum().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters()), name
        network.eval()
        assert torch.equal(network(batch.inputs, batch.boundaries), network(batch.inputs, batch.boundaries)), name


@pytest.mark.parametrize("size", [*RESIDUAL_CNN_SIZES, "20M", "450K"])
def test_sizes_have_about_the_parameters_of_their_names(size: str) -> None:
    config = ResidualCNNConfig(**ResidualCNNConfig.shape(size))
    wanted = float(size[:-1]) * {"K": 1e3, "M": 1e6}[size[-1]]
    assert 0.9 < count_parameters(config.build) / wanted < 1.1
    assert list(config.widths) == sorted(config.widths)
    assert config.widths[-1] > config.widths[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kernel_size": 4}, "kernel_size 4 has no centre; make it odd"),
        ({"stages": 5}, "5 stages need at least as many blocks, and depth is 4"),
        ({"growth": 0.5}, "growth is 0.5; give a number of at least 1"),
        ({"norm": "instance"}, "norm is 'instance'; choose one of layer, rms"),
        ({"activation": "swish"}, "activation is 'swish'; choose one of sigmoid"),
        ({"dilations": ()}, r"dilations is \(\)"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"input": "bytes"}, "input is 'bytes'"),
    ],
)
def test_impossible_configs_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        dataclasses.replace(CONFIG, **changes)


def test_an_unknown_size_lists_those_there_are() -> None:
    with pytest.raises(InputError, match="there is no residual CNN of size 'big'; choose one of 100K, 300K"):
        ResidualCNNConfig.shape("big")
