"""Adversarial shifts against closed forms, and what they leave as it was."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from seqtrain.alphabet import PROTEIN
from seqtrain.batch import Batch
from seqtrain.draws import Draws
from seqtrain.losses import CrossEntropy, MeanSquaredError
from seqtrain.models.cnn import CNNConfig
from seqtrain.models.gated_transformer import GatedTransformerConfig
from seqtrain.models.heads import PooledHeadConfig, PositionHeadConfig
from seqtrain.models.network import BodyConfig, Network, build
from seqtrain.models.residual_cnn import ResidualCNNConfig
from seqtrain.models.transformer import TransformerConfig
from seqtrain.models.unet import UNetConfig
from seqtrain.objectives import Adversarial, Supervised
from seqtrain.objectives.adversarial import GradientSign, ProjectedGradient, worst_shift
from tests.models.backbones import small_config
from tests.models.packs import draw_sequences, pack, shake

BODIES: list[BodyConfig] = [
    TransformerConfig(width=32, depth=2, num_heads=4),
    GatedTransformerConfig(width=32, depth=2, num_heads=4),
    CNNConfig(width=32, depth=2),
    ResidualCNNConfig(width=16, depth=2, stages=2),
    UNetConfig(width=16, levels=2),
    small_config("bert", PROTEIN.tokens),
    small_config("t5", PROTEIN.tokens),
]
OTHER_STEMS = [
    ResidualCNNConfig(width=16, depth=2, stages=1, input="one-hot"),
    ResidualCNNConfig(width=16, depth=2, stages=1, input="ngram", n=2),
]


def named(body: BodyConfig) -> str:
    return f"{type(body).__name__} {getattr(body, 'input', getattr(body, 'family', ''))}"


def labelled(num_classes: int = 3) -> Batch:
    batch = pack(draw_sequences())
    return replace(batch, targets=torch.arange(len(batch)) % num_classes)


def network_of(body: BodyConfig) -> Network:
    torch.manual_seed(0)
    return shake(build(body, PooledHeadConfig(outputs=3, dropout=0.0)))


def objective() -> Supervised:
    return Supervised(CrossEntropy())


class Linear(nn.Module):
    """One number per sequence: the mean over its positions of w · embedding."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(33, 5)
        self.weight = nn.Parameter(torch.randn(5))

    def embedded(self, batch: Batch) -> Tensor:
        rows: Tensor = self.embedding(batch.inputs)
        return rows

    def forward(self, batch: Batch) -> Tensor:
        rows = self.embedded(batch) if batch.shift is None else self.embedded(batch) + batch.shift
        sums = rows.new_zeros(len(batch), 5).index_add(0, batch.segments, rows)
        return (sums / batch.lengths[:, None]) @ self.weight[:, None]


@pytest.mark.parametrize("attack", [GradientSign(size=0.3), ProjectedGradient(size=0.3, steps=2)])
def test_of_a_linear_network_the_worst_shift_has_a_closed_form(attack: GradientSign | ProjectedGradient) -> None:
    network = Linear()
    batch = pack(draw_sequences())
    batch = replace(batch, targets=torch.linspace(-3, 3, len(batch))[:, None])
    shift = worst_shift(network, Supervised(MeanSquaredError()), batch, attack)
    with torch.no_grad():
        above = torch.sign(network(batch) - batch.targets)[batch.segments]
        rows = network.embedded(batch)
        expected = 0.3 * rows.pow(2).mean(1, keepdim=True).sqrt() * above * torch.sign(network.weight)
    # The squared error grows away from the target, along w: every number moves by all it may, several steps end there.
    torch.testing.assert_close(shift, expected)


@torch.no_grad()
@pytest.mark.parametrize("body", BODIES, ids=named)
def test_a_shift_of_every_token_is_a_change_of_its_embedding(body: BodyConfig) -> None:
    network, batch = network_of(body), labelled()
    weight = network.body.embedding.weight if not isinstance(body, ResidualCNNConfig) else None
    if weight is None:
        weight = network.body.stem.embedding.weight
    rows = torch.tensor(getattr(body, "letter_ids", range(len(weight))))
    change = torch.zeros_like(weight).index_copy(0, rows.unique(), torch.randn(len(rows.unique()), weight.shape[1]))
    change[rows[PROTEIN.tokens.index("<mask>")]] = 0  # of which ESM-2 shows nothing
    shifted = network(replace(batch, shift=change[rows[batch.inputs]]))
    before = network(batch)
    weight += change
    torch.testing.assert_close(shifted, network(batch), atol=1e-5, rtol=1e-4)
    assert not torch.allclose(shifted, before, atol=1e-3)


@pytest.mark.parametrize("attack", [GradientSign(), ProjectedGradient()], ids=lambda attack: type(attack).__name__)
@pytest.mark.parametrize("body", [*BODIES, *OTHER_STEMS], ids=named)
def test_the_loss_grows_by_more_than_under_noise_of_that_size(
    body: BodyConfig, attack: GradientSign | ProjectedGradient
) -> None:
    network, batch = network_of(body), labelled()
    shift = worst_shift(network, objective(), batch, attack)
    with torch.no_grad():
        limits = attack.size * network.embedded(batch).pow(2).mean(dim=1, keepdim=True).sqrt()
        assert (shift.abs() <= limits * (1 + 1e-5)).all() and shift.abs().max() > 0

        def loss(moved: Tensor) -> float:
            return float(objective().score(network(replace(batch, shift=moved)), batch).loss)

        noise = [loss(torch.randint(0, 2, shift.shape).mul(2).sub(1) * limits) for _ in range(10)]
        assert loss(shift) > max(*noise, loss(torch.zeros_like(shift)))


def test_both_copies_count_alike_and_evaluations_see_one() -> None:
    network, batch = network_of(BODIES[2]), labelled()
    adversarial = Adversarial(objective=objective(), network=network, attack=GradientSign(size=0.5))
    draws = Draws(batch.keys)
    prepared = adversarial.prepare(batch, draws)
    assert len(prepared) == 2 * len(batch) and prepared.shift is not None
    score = adversarial.score(network(prepared), prepared)
    clean, moved = (
        objective().score(network(replace(batch, shift=half)), batch).loss for half in prepared.shift.chunk(2)
    )
    torch.testing.assert_close(score.loss, clean + moved)
    torch.testing.assert_close(score.loss / score.count, (clean + moved) / (2 * len(batch)))
    torch.testing.assert_close(clean, objective().score(network(batch), batch).loss)
    with torch.no_grad():
        assert adversarial.prepare(batch, draws) is batch


@pytest.mark.parametrize("per_residue", [False, True])
def test_the_gradient_of_a_step_does_not_depend_on_how_it_is_cut(per_residue: bool) -> None:
    torch.manual_seed(0)
    head = PositionHeadConfig if per_residue else PooledHeadConfig
    network = build(BODIES[0], head(outputs=3, dropout=0.0)).double()
    sequences = draw_sequences()
    whole = pack(sequences)
    targets = torch.arange(len(whole.inputs) if per_residue else len(whole)) % 3
    adversarial = Adversarial(objective=objective(), network=network, attack=GradientSign(size=0.2))

    def gradient(parts: list[slice]) -> list[Tensor]:
        network.zero_grad()
        for part in parts:
            batch = pack(sequences[part])
            of_whole = targets[part]
            if per_residue:
                starts = whole.boundaries.tolist()
                of_whole = targets[starts[part.start] : starts[part.stop]]
            prepared = adversarial.prepare(replace(batch, targets=of_whole), Draws(batch.keys))
            adversarial.score(network(prepared), prepared).loss.backward()
        return [parameter.grad.clone() for parameter in network.parameters() if parameter.grad is not None]

    count = len(sequences)
    for one, several in zip(
        gradient([slice(0, count)]), gradient([slice(0, 2), slice(2, 3), slice(3, count)]), strict=True
    ):
        torch.testing.assert_close(one, several, atol=1e-10, rtol=1e-8)


def test_running_statistics_gradients_and_the_mode_stay() -> None:
    torch.manual_seed(0)
    body = ResidualCNNConfig(width=16, depth=2, stages=1, norm="batch", dropout=0.2)
    network, batch = build(body, PooledHeadConfig(outputs=3)).train(), labelled()
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    worst_shift(network, objective(), batch, ProjectedGradient())
    assert all(torch.equal(buffer, before[name]) for name, buffer in network.named_buffers())
    assert all(parameter.grad is None for parameter in network.parameters()) and network.training
    assert not network.body.stem._forward_hooks


def test_where_nothing_is_scored_nothing_is_moved() -> None:
    network, batch = network_of(BODIES[2]), labelled()
    unknown = replace(batch, targets=torch.full((len(batch),), -100))
    assert not worst_shift(network, objective(), unknown, GradientSign()).any()
