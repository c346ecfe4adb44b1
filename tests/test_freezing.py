"""What is frozen stays to the bit, at rest, and costs nothing; what thaws is trained from its step on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from seqtrain.averaging import EMA
from seqtrain.batching import Examples, microbatches, steps_from
from seqtrain.freezing import Body, Embeddings, Freezing, Gradual, Lowest, Thawing, freeze
from seqtrain.losses import CrossEntropy
from seqtrain.models.adapters import Lora, attach
from seqtrain.models.checkpointing import checkpoint_layers
from seqtrain.models.cnn import CNNConfig
from seqtrain.models.compiling import compile_layers
from seqtrain.models.heads import PooledHeadConfig
from seqtrain.models.network import BodyConfig, Network, build
from seqtrain.models.residual_cnn import ResidualCNNConfig
from seqtrain.models.transformer import TransformerConfig
from seqtrain.models.unet import UNetConfig
from seqtrain.objectives import Supervised
from seqtrain.optimizers import AdamW, Muon, Optimizer
from seqtrain.regularization import L1, L2, GradientNoise, MaxNorm, Regularization, SpectralNorm
from seqtrain.schedules import Constant
from seqtrain.training import LoopConfig, StepReport, train_steps
from tests.corpora import examples_of, proteins
from tests.optimizers.members import MEMBERS

STEPS = 12
TRANSFORMER = TransformerConfig(width=16, depth=2, num_heads=2, dropout=0.3)
RESIDUAL = ResidualCNNConfig(width=16, depth=2, stages=2, norm="batch", dropout=0.3)
EXAMPLES = examples_of(proteins([8 + i % 9 for i in range(24)]), targets=np.arange(24) % 3)
Parts = dict[str, Tensor]


def network_of(body: BodyConfig = TRANSFORMER, head_dropout: float = 0.2) -> Network:
    torch.manual_seed(0)
    network = build(body, PooledHeadConfig(outputs=3, dropout=head_dropout))
    with torch.no_grad():  # nothing starts at 0, where decay would not show
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return network


def copied(network: nn.Module) -> Parts:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


def moved(before: Parts, network: nn.Module) -> set[str]:
    return {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}


def trained(
    network: Network,
    freezing: Thawing,
    optimizer: Optimizer,
    num_steps: int = STEPS,
    tokens: int = 10**6,
    seen: Callable[[int], None] = lambda step: None,
    examples: Examples = EXAMPLES,
    **loop: Any,
) -> tuple[torch.optim.Optimizer, list[StepReport]]:
    """Train for some steps; ``seen`` is called after each with its number from 1."""
    built = optimizer.build(network)
    steps = steps_from(examples, 60, 0, seed=0)
    data = (list(microbatches(next(steps), examples, tokens)) for _ in range(num_steps))
    config = LoopConfig(device=torch.device("cpu"), freezing=freezing, **loop)
    reports = []
    for report in train_steps(
        network, Supervised(CrossEntropy()), data, built, Constant(num_steps=max(num_steps, 1)), config
    ):
        reports.append(report)
        seen(report.step)
    return built, reports


def below(network: Network, *starts: str) -> set[str]:
    return {name for name, _ in network.named_parameters() if name.startswith(starts)}


CASES: list[tuple[BodyConfig, Freezing, tuple[str, ...]]] = [
    (TRANSFORMER, Body(), ("body.",)),
    (TRANSFORMER, Embeddings(), ("body.embedding.",)),
    (TRANSFORMER, Lowest(layers=1), ("body.embedding.", "body.layers.0.")),
    (TRANSFORMER, Lowest(layers=2), ("body.",)),
    (CNNConfig(width=16, depth=2), Lowest(layers=1), ("body.embedding.", "body.blocks.0.")),
    (RESIDUAL, Embeddings(), ("body.stem.", "body.convolve.", "body.norm.")),
    (RESIDUAL, Lowest(layers=1), ("body.stem.", "body.convolve.", "body.norm.", "body.blocks.0.")),
    (UNetConfig(width=16, levels=1), Lowest(layers=2), ("body.embedding.", "body.blocks.0.", "body.blocks.1.")),
]


@pytest.mark.parametrize(
    ("body", "freezing", "places"), CASES, ids=[f"{type(body).__name__} {freezing}" for body, freezing, _ in CASES]
)
def test_what_is_frozen_is_left_out_of_everything(
    body: BodyConfig, freezing: Freezing, places: tuple[str, ...]
) -> None:
    network = network_of(body)
    before = copied(network)
    thawing = freeze(network, freezing, STEPS)
    still = below(network, *places)
    assert still and {name for name, p in network.named_parameters() if not p.requires_grad} == still
    optimizer, reports = trained(network, thawing, AdamW(learning_rate=0.05, weight_decay=0.5), 3)
    parameters = dict(network.named_parameters())
    assert moved(before, network) & set(parameters) == set(parameters) - still
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for name, p in parameters.items() if name not in still}
    assert {id(p) for p in optimizer.state} <= held
    assert reports[-1].gradient_norm > 0


@pytest.mark.parametrize("name", MEMBERS)
def test_no_optimiser_touches_what_is_frozen(name: str) -> None:
    network = network_of()
    before = copied(network)
    thawing = freeze(network, Gradual(until=1.0), STEPS)
    fresh = MEMBERS[name].build(network)
    lower = below(network, "body.embedding.", "body.layers.0.")
    sizes: list[set[str]] = []
    optimizer, _ = trained(network, thawing, MEMBERS[name], 7, seen=lambda step: sizes.append(moved(before, network)))
    # The top layer thaws at step 4 and the other one at step 8: 12 steps, two layers and the embeddings.
    assert all(each and all(place.startswith("head.") for place in each) for each in sizes[:4])
    assert not moved(before, network) & lower
    assert moved(before, network) & below(network, "body.layers.1.")
    for parameter in map(network.get_parameter, lower):
        # A number may be kept of the model as a whole, under its first parameter.
        kept, start = (
            {key: value for key, value in each.state.get(parameter, {}).items() if isinstance(value, Tensor)}
            for each in (optimizer, fresh)
        )
        assert kept.keys() == start.keys(), "no momentum"
        assert all(torch.equal(value, start[key]) for key, value in kept.items())


def test_layers_thaw_one_by_one_from_the_top_and_their_moments_begin_then() -> None:
    network = network_of()
    before = copied(network)
    thawing = freeze(network, Gradual(until=0.5), STEPS)
    groups = [below(network, start) for start in ("head.", "body.layers.1.", "body.layers.0.", "body.embedding.")]
    groups[1] |= below(network, "body.final_norm.")
    first: dict[str, int] = {}

    def see(step: int) -> None:
        for name in moved(before, network):
            first.setdefault(name, step - 1)

    optimizer, _ = trained(network, thawing, AdamW(learning_rate=0.01, weight_decay=0.1), seen=see)
    # Howard & Ruder 2018, at even distances over the first half: after 0, 2, 4 and 6 updates.
    for group, start in zip(groups, (0, 2, 4, 6), strict=True):
        assert {first[name] for name in group} == {start}
        for name in group:
            assert float(optimizer.state[network.get_parameter(name)]["step"]) == STEPS - start
    assert thawing.words == (
        "the head alone is trained for 2 steps, everything after 6, and one layer more at a time in between"
    )


@pytest.mark.parametrize(("num_steps", "until"), [(1, 0.5), (2, 1.0), (10, 0.3), (7, 0.01)])
def test_the_head_has_the_first_step_alone_and_all_are_trained_in_time(num_steps: int, until: float) -> None:
    starts = [Gradual(until=until).first_step(distance, 3, num_steps) for distance in range(5)]
    assert starts[0] == 0 and starts[1] >= 1
    assert starts == sorted(starts) and starts[-1] == int(np.ceil(round(until * num_steps, 6)))


def test_gradients_are_those_of_the_whole_network_where_they_are_computed() -> None:
    network = network_of(replace(TRANSFORMER, dropout=0.0), head_dropout=0.0)
    batch = next(iter(microbatches(next(steps_from(EXAMPLES, 60, 0, seed=0)), EXAMPLES, 10**6)))
    objective = Supervised(CrossEntropy())
    score = objective.score(network(batch), batch)
    (score.loss / score.count).backward()  # type: ignore[no-untyped-call]
    expected = {name: parameter.grad.clone() for name, parameter in network.named_parameters()}  # type: ignore[union-attr]
    thawing = freeze(network, Lowest(layers=1), 1)
    still = below(network, "body.embedding.", "body.layers.0.")
    for parameter in network.parameters():
        parameter.grad = None
    _, (report,) = trained(network, thawing, AdamW(learning_rate=0.0), 1, regularizers=())
    for name, parameter in network.named_parameters():
        if name in still:
            assert parameter.grad is None
        else:
            torch.testing.assert_close(parameter.grad, expected[name])
    norm = torch.stack([expected[name].norm() for name in expected if name not in still]).norm()
    assert report.gradient_norm == pytest.approx(float(norm), rel=1e-5)


@pytest.mark.parametrize("body", [TRANSFORMER, RESIDUAL], ids=lambda body: type(body).__name__)
def test_no_gradient_is_computed_below_what_is_trained(body: BodyConfig) -> None:
    network = network_of(body)
    layers = network.get_submodule("body.layers" if body is TRANSFORMER else "body.blocks")
    found: list[tuple[int, bool]] = []
    for number, layer in enumerate(layers):  # type: ignore[arg-type]
        layer.register_forward_hook(lambda _, __, out, n=number: found.append((n, out.requires_grad)))
    trained(network, freeze(network, Lowest(layers=1), 2), AdamW(learning_rate=0.1), 2)
    assert set(found) == {(0, False), (1, True)}
    found.clear()
    trained(network, freeze(network, Body(), 2), AdamW(learning_rate=0.1), 2)
    assert set(found) == {(0, False), (1, False)}


def test_frozen_layers_are_at_rest_and_the_others_are_not() -> None:
    network = network_of(RESIDUAL)
    before = copied(network)
    modes: list[dict[str, bool]] = []
    thawing = freeze(network, Gradual(until=1.0), 3)
    trained(
        network, thawing, AdamW(learning_rate=0.01), 3,
        seen=lambda step: modes.append({name: module.training for name, module in network.named_modules()}),
    )  # fmt: skip
    # Stem, two blocks and head: the head alone, then a block more at each step.
    assert [mode["body"] for mode in modes] == [False, True, True]
    assert [mode["body.blocks.1"] for mode in modes] == [False, True, True]
    assert [mode["body.blocks.0"] for mode in modes] == [False, False, True]
    assert all(mode["head.dropout"] for mode in modes)
    statistics = {name for name in moved(before, network) if "running" in name}
    assert statistics and all("blocks." in name for name in statistics), "the first norm never thawed"


def test_dropout_of_a_frozen_body_is_off() -> None:
    network = network_of(head_dropout=0.0)
    freeze(network, Body(), 1)(network.train(), 0)
    batch = next(iter(microbatches(next(steps_from(EXAMPLES, 60, 0, seed=0)), EXAMPLES, 10**6)))
    assert torch.equal(network(batch), network(batch))
    assert torch.equal(network(batch), network.eval()(batch))


REGULARIZERS: list[Regularization] = [
    L1(strength=0.1), L2(strength=0.1), MaxNorm(limit=0.1), SpectralNorm(strength=0.1), GradientNoise(eta=0.1),
]  # fmt: skip


@pytest.mark.parametrize("regularizer", REGULARIZERS, ids=lambda each: type(each).__name__)
@pytest.mark.parametrize("freezing", [Lowest(layers=1), Gradual(until=1.0)], ids=str)
def test_regularisers_leave_frozen_weights_alone(regularizer: Regularization, freezing: Freezing) -> None:
    network = network_of()
    before = copied(network)
    thawing = freeze(network, freezing, STEPS)
    trained(network, thawing, AdamW(learning_rate=0.01), 6, regularizers=(regularizer,))
    assert not moved(before, network) & below(network, "body.embedding.", "body.layers.0.")
    assert moved(before, network) & below(network, "body.layers.1.")


def test_averages_of_frozen_weights_are_the_weights() -> None:
    network = network_of()
    before = copied(network)
    thawing = freeze(network, Lowest(layers=1), STEPS)
    average = EMA(decay=0.5).build(network)
    trained(network, thawing, AdamW(learning_rate=0.05), 4, seen=lambda step: average.update(network, step))
    last = copied(network)
    average.copy_to(network)
    still = below(network, "body.embedding.", "body.layers.0.")
    assert not moved(before, network) & still
    assert moved(last, network) == set(dict(network.named_parameters())) - still


def test_a_gradual_average_keeps_what_has_not_thawed() -> None:
    network = network_of()
    before = copied(network)
    thawing = freeze(network, Gradual(until=1.0), STEPS)
    average = EMA(decay=0.5).build(network)
    trained(network, thawing, AdamW(learning_rate=0.05), 5, seen=lambda step: average.update(network, step))
    average.copy_to(network)
    assert not moved(before, network) & below(network, "body.embedding.", "body.layers.0.")


@pytest.mark.parametrize("freezing", [Body(), Lowest(layers=1), Gradual(until=1.0)], ids=str)
def test_how_a_step_is_cut_changes_nothing(freezing: Freezing) -> None:
    ends = []
    for tokens in (10**6, 25):
        network = network_of(replace(TRANSFORMER, dropout=0.0), head_dropout=0.0)
        _, reports = trained(network, freeze(network, freezing, 6), AdamW(learning_rate=0.01), 6, tokens=tokens)
        ends.append((copied(network), reports[-1].gradient_norm))
    for name, tensor in ends[0][0].items():
        torch.testing.assert_close(ends[1][0][name], tensor, rtol=1e-4, atol=1e-5)
    assert ends[0][1] == pytest.approx(ends[1][1], rel=1e-4)


@pytest.mark.parametrize(
    ("prepare", "freezing"),
    [
        (checkpoint_layers, Lowest(layers=1)),
        (checkpoint_layers, Gradual(until=1.0)),
        (lambda body: compile_layers(body, "aot_eager"), Gradual(until=1.0)),
    ],
    ids=["checkpointed, lowest", "checkpointed, gradual", "compiled, gradual"],
)
def test_checkpointed_and_compiled_layers_compute_the_same(
    prepare: Callable[[nn.Module], None], freezing: Freezing
) -> None:
    ends = []
    for change in (lambda body: None, prepare):
        network = network_of(replace(TRANSFORMER, dropout=0.0))
        change(network.body)
        trained(network, freeze(network, freezing, 6), AdamW(learning_rate=0.01), 6)
        ends.append(copied(network))
    for name, tensor in ends[0].items():
        torch.testing.assert_close(ends[1][name], tensor, rtol=1e-5, atol=1e-6)


def test_adapters_thaw_and_the_weights_below_them_never_do() -> None:
    network = network_of()
    torch.manual_seed(1)
    attach(network, Lora(rank=2, dropout=0.0))
    before = copied(network)
    thawing = freeze(network, Gradual(until=0.5), STEPS)
    trained(network, thawing, AdamW(learning_rate=0.01), 3)
    body = {name for name in moved(before, network) if name.startswith("body.")}
    assert body and all("layers.1." in name and "lora_" in name for name in body)
    trained(network, freeze(network_of(), Gradual(until=0.5), STEPS), AdamW(learning_rate=0.01), 1)
    assert not [name for name, p in network.named_parameters() if p.requires_grad and "base_layer" in name]


def test_lowest_layers_keep_their_adapters_as_they_are() -> None:
    network = network_of()
    attach(network, Lora(rank=2))
    before = copied(network)
    trained(network, freeze(network, Lowest(layers=1), STEPS), AdamW(learning_rate=0.01), 3)
    body = {name for name in moved(before, network) if name.startswith("body.")}
    assert body and all("layers.1." in name for name in body)


def test_muon_says_that_there_is_nothing_for_it() -> None:
    network = network_of()
    freeze(network, Body(), 1)
    with pytest.raises(ValueError, match="muon trains matrices of the body, and none is to be trained here"):
        Muon(learning_rate=0.1).build(network)


@pytest.mark.parametrize(
    ("freezing", "said"),
    [
        (lambda: Lowest(layers=0), "layers is 0; give a whole number above 0"),
        (lambda: Gradual(until=0.0), "until is 0.0; give a fraction above 0 and at most 1"),
        (lambda: Gradual(until=1.5), "until is 1.5"),
        (lambda: freeze(network_of(), Lowest(layers=3), 9), "layers is 3, and the body has 2; give at most as many"),
        (lambda: freeze(nn.Linear(2, 2), Body(), 9), "needs layers"),
    ],
)
def test_what_cannot_be_frozen_is_refused(freezing: Callable[[], object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        freezing()


def test_freezing_what_is_not_trained_anyway_is_refused() -> None:
    network = network_of()
    attach(network, Lora(rank=2))
    with pytest.raises(ValueError, match="nothing that would be trained is frozen by it"):
        freeze(network, Embeddings(), STEPS)


def test_every_kind_is_tried_here() -> None:
    assert {type(freezing) for _, freezing, _ in CASES} | {Gradual} == set(get_args(Freezing))
