"""Checks of a network, an objective and a batch, against what is known of small ones."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from seqtrain.alphabet import PROTEIN
from seqtrain.batch import Batch
from seqtrain.diagnosis import (
    first_loss,
    frozen_parameters,
    gradient_check,
    hidden_letters,
    initial_weights,
    judge_gradients,
    judge_memory,
    judge_units,
    look_at_units,
    neighbours,
    not_finite,
    overfit_one_batch,
)
from seqtrain.losses import BinaryCrossEntropy, CrossEntropy, MeanSquaredError
from seqtrain.models.cnn import CNNConfig
from seqtrain.models.heads import PooledHeadConfig
from seqtrain.models.network import Network, build, language_model_head
from seqtrain.models.transformer import TransformerConfig
from seqtrain.objectives import Distillation, MaskedLM, Objective, SpanMasking, Supervised
from tests.corpora import examples_of, proteins

TRANSFORMER = TransformerConfig(width=16, depth=2, num_heads=2)
CLASSES = Supervised(CrossEntropy())


def classifier(outputs: int = 3, seed: int = 0) -> Network:
    torch.manual_seed(seed)
    return build(TRANSFORMER, PooledHeadConfig(outputs=outputs))


def language_model() -> Network:
    torch.manual_seed(0)
    return build(TRANSFORMER, language_model_head(TRANSFORMER))


def batch_of(targets: Any = None, number: int = 9) -> Batch:
    texts = proteins([8 + i for i in range(number)])
    examples = examples_of(texts, targets=None if targets is None else np.asarray(targets))
    return examples.batch(np.arange(number), np.zeros(number, np.int64))


LABELS = [0, 1, 2] * 3


class Answering(nn.Module):
    """Says the same of every sequence."""

    def __init__(self, logits: list[float]) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits))

    def forward(self, batch: Batch) -> Tensor:
        return self.logits.expand(len(batch), -1)


@pytest.mark.parametrize("number", [2, 3, 7])
def test_first_loss_of_classes_is_ln_c(number: int) -> None:
    batch = batch_of(np.arange(9) % number)
    remark = first_loss(Answering([0.0] * number), CLASSES, batch)
    assert remark.severity == "fine" and remark.value == pytest.approx(math.log(number), rel=1e-5)
    assert f"ln({number})" in remark.words
    sure = first_loss(Answering([9.0] + [0.0] * (number - 1)), CLASSES, batch)
    assert sure.severity == "warning" and "--initialise" in sure.advice
    assert first_loss(classifier(number), CLASSES, batch).severity == "fine"


def test_first_loss_of_numbers_is_their_variance() -> None:
    targets = np.linspace(-2, 2, 9, dtype=np.float32)[:, None]
    objective = Supervised(MeanSquaredError())
    remark = first_loss(Answering([0.0]), objective, batch_of(targets))
    assert remark.severity == "fine" and remark.value == pytest.approx(targets.var())
    assert first_loss(Answering([4.0]), objective, batch_of(targets)).severity == "warning"


def test_first_loss_of_hidden_letters_and_of_labels() -> None:
    remark = first_loss(language_model(), MaskedLM(PROTEIN, 0.5), batch_of())
    assert "ln(20)" in remark.words and remark.severity == "fine"
    labels = np.array([[0.0, 1.0]] * 9, np.float32)
    said = first_loss(Answering([0.0, 0.0]), Supervised(BinaryCrossEntropy()), batch_of(labels))
    assert said.value == pytest.approx(math.log(2), rel=1e-5)
    nothing = first_loss(Answering([0.0, 0.0]), CLASSES, batch_of([-100] * 9))
    assert nothing.severity == "note"


def test_a_low_first_loss_is_no_wonder_after_a_training() -> None:
    knowing = Answering([9.0, 0.0])
    assert first_loss(knowing, CLASSES, batch_of([0] * 9)).severity == "note"
    assert first_loss(knowing, CLASSES, batch_of([0] * 9), is_trained=True).severity == "fine"


@pytest.mark.parametrize("logits", [[0.0, 0.0], [4.0, -4.0]])
def test_first_loss_of_a_distillation_is_beside_its_own_guess(logits: list[float]) -> None:
    objective = Distillation(teacher=Answering(logits), supervised=CLASSES)
    remark = first_loss(Answering([0.0, 0.0]), objective, batch_of(np.arange(9) % 2))
    assert remark.severity == "fine" and "equal chances" in remark.words
    assert first_loss(Answering([30.0, 0.0]), objective, batch_of(np.arange(9) % 2)).severity == "warning"


def test_one_batch_is_learnt_and_the_network_is_not_touched() -> None:
    network, batch = classifier(), batch_of(LABELS)
    network.train()
    before, state = copy.deepcopy(network.state_dict()), torch.get_rng_state()
    memorised = overfit_one_batch(network, CLASSES, batch)
    assert memorised.losses[0] == pytest.approx(math.log(3), rel=0.02)
    assert min(memorised.losses) < 0.1 and memorised.floor < 0.01 and not memorised.unmoved
    assert judge_memory(memorised).severity == "fine"
    assert torch.equal(torch.get_rng_state(), state) and network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_batch_that_cannot_be_learnt() -> None:
    memorised = overfit_one_batch(Answering([0.0, 0.0, 0.0]), CLASSES, batch_of(LABELS), num_steps=20)
    assert memorised.floor < 0.01 and min(memorised.losses) == pytest.approx(math.log(3), abs=1e-3)
    assert judge_memory(memorised).severity == "warning"
    assert judge_memory(memorised, frozen=True).severity == "note"


def test_the_least_loss_of_soft_targets_is_their_entropy() -> None:
    smooth = Supervised(CrossEntropy(label_smoothing=0.3))
    memorised = overfit_one_batch(classifier(), smooth, batch_of(LABELS))
    shares = np.array([0.8, 0.1, 0.1])
    assert memorised.floor == pytest.approx(-(shares * np.log(shares)).sum(), abs=1e-3)
    assert judge_memory(memorised).severity == "fine"


class Straight(torch.autograd.Function):
    """A square whose gradient somebody wrote by hand, and wrongly."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return values**2

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return gradients[0]


class Wrong(Answering):
    def forward(self, batch: Batch) -> Tensor:
        return Straight.apply(self.logits).expand(len(batch), -1)  # type: ignore[no-any-return, no-untyped-call]


@pytest.mark.parametrize("objective", [CLASSES, Supervised(CrossEntropy(label_smoothing=0.1))], ids=["hard", "soft"])
def test_gradients_are_those_of_the_loss(objective: Objective) -> None:
    check = gradient_check(classifier(), objective, batch_of(LABELS))
    assert check is not None and check.error < 1e-5 and len(check.gradients) == 3
    assert judge_gradients(check).severity == "fine"
    masked = gradient_check(language_model(), MaskedLM(PROTEIN, 0.3), batch_of())
    assert judge_gradients(masked).severity == "fine"


def test_a_derivative_in_closed_form() -> None:
    # d/dz of the mean cross-entropy is the softmax less the frequencies; along itself its length.
    logits, labels = [1.0, 0.0, -1.0], [0, 0, 1, 2, 0, 0, 0, 0, 0]
    check = gradient_check(Answering(logits), CLASSES, batch_of(labels), num_directions=1)
    assert check is not None
    softmax = np.exp(logits) / np.exp(logits).sum()
    expected = np.linalg.norm(softmax - np.bincount(labels) / 9)
    assert check.gradients[0] == pytest.approx(expected) and check.differences[0] == pytest.approx(expected, rel=1e-6)


def test_a_wrong_gradient_is_found() -> None:
    remark = judge_gradients(gradient_check(Wrong([1.0, 0.3, -2.0]), CLASSES, batch_of(LABELS)))
    assert remark.severity == "warning" and "detached" in remark.advice
    assert judge_gradients(None).severity == "note"


def test_frozen_parameters_are_told_unless_they_were_asked_for() -> None:
    network = classifier()
    assert frozen_parameters(network).severity == "fine"
    network.head.output.weight.requires_grad_(False)  # type: ignore[union-attr]
    remark = frozen_parameters(network)
    assert remark.severity == "warning" and "head.output.weight" in remark.words
    assert frozen_parameters(network, asked=True).severity == "fine"
    network.requires_grad_(False)
    assert frozen_parameters(network, asked=True).severity == "warning"


@torch.no_grad()
def test_weights_that_start_alike() -> None:
    network = classifier()
    assert initial_weights(network).severity == "fine"  # the learned average of the head starts at 0 on purpose
    network.body.layers[0].expand.weight.fill_(0.1)  # type: ignore[union-attr]
    remark = initial_weights(network)
    assert remark.severity == "warning" and "body.layers.0.expand.weight" in remark.words


def test_what_is_not_finite_is_named_with_its_place() -> None:
    batch, network = batch_of(LABELS), classifier()
    assert not_finite(network, CLASSES, batch).severity == "fine"
    weighted = replace(batch, weights=torch.ones(9).index_fill(0, torch.tensor([4]), math.inf))
    assert "weights of records 4" in not_finite(network, CLASSES, weighted).words
    with torch.no_grad():
        network.body.layers[1].expand.weight.mul_(1e30)  # type: ignore[union-attr]
        network.body.layers[1].contract.weight.mul_(1e30)  # type: ignore[union-attr]
    remark = not_finite(network, CLASSES, batch)
    assert remark.severity == "warning" and "body.layers.1.contract is not finite" in remark.words
    with torch.no_grad():
        network.head.output.bias[1] = math.nan  # type: ignore[union-attr]
    assert "head.output.bias holds 1" in not_finite(network, CLASSES, batch).words
    infinite = replace(batch_of(np.ones((9, 1), np.float32)), targets=torch.full((9, 1), math.inf))
    assert "targets of records 0, 1, 2 and 6 more" in not_finite(Answering([0.0]), CLASSES, infinite).words


class Blind(nn.Module):
    """Has a fault: the mean over the batch is taken with the neighbours in it."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.inner, self.share = classifier(), share

    def forward(self, batch: Batch) -> Tensor:
        outputs: Tensor = self.inner(batch)
        return outputs + self.share * (outputs.mean(dim=0) - outputs)


def test_neighbours_must_not_matter() -> None:
    assert neighbours(classifier(), batch_of()).severity == "fine"
    assert neighbours(language_model(), batch_of()).severity == "fine"
    assert neighbours(Blind(0.0), batch_of()).severity == "fine"
    assert neighbours(Blind(0.1), batch_of()).severity == "warning"


class Units(nn.Module):
    """Six units with known outputs at T positions: of each activation a dead, a saturated and a living one."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[0.0, -5.0], [0.0, 9.0], [1.0, 0.0]]))
        self.act = nn.ReLU()

    def forward(self, batch: Batch) -> Tensor:
        x = batch.positions.float()[:, None] / 10
        rows = x * self.weight[:, 0] + self.weight[:, 1]
        return self.act(rows) + rows.tanh() + torch.sigmoid(rows)


def test_dead_and_saturated_units_are_counted() -> None:
    network, batch = Units(), batch_of()
    objective = Supervised(MeanSquaredError())
    units = look_at_units(network, objective, [batch, batch])
    found = {layer.kind: layer for layer in units.layers}
    assert list(found) == ["relu", "tanh", "sigmoid"] and found["relu"].name == "act (relu)"
    assert found["relu"].dead == pytest.approx(2 / 3)  # 0 everywhere, 9 everywhere
    assert found["tanh"].saturated == pytest.approx(2 / 3)
    assert math.isnan(found["relu"].saturated) and found["relu"].num_rows == 2 * len(batch.inputs)
    remarks = {remark.check: remark for remark in judge_units(units)}
    assert remarks["dead units"].severity == remarks["saturated units"].severity == "warning"
    assert "act (relu)" in remarks["dead units"].words
    edges, counts = found["tanh"].histogram()
    assert len(edges) == len(counts) + 1 and counts.sum() > 0.99 * sum(len(v) for v in found["tanh"].values)


def test_units_of_our_networks_live_and_nothing_is_left_behind() -> None:
    network = classifier()
    network.train()
    before = [len(module._forward_hooks) for module in network.modules()]
    units = look_at_units(network, CLASSES, [batch_of(LABELS)])
    assert network.training and before == [len(module._forward_hooks) for module in network.modules()]
    assert [layer.name for layer in units.layers] == [
        "body.layers.0 (gelu)", "body.layers.0", "body.layers.1 (gelu)", "body.layers.1", "head (gelu)"
    ]  # fmt: skip
    assert {remark.severity for remark in judge_units(units)} == {"fine"}
    # Fresh weights are small, so that attention is nearly even.
    assert all(0.99 < share <= 1 + 1e-6 for heads in units.entropies.values() for share in heads)
    assert set(units.entropies) == {"body.layers.0", "body.layers.1"}


def test_attention_that_has_collapsed() -> None:
    network = classifier()
    with torch.no_grad():
        for layer in network.body.layers:  # type: ignore[union-attr]
            layer.query.weight.mul_(3000)  # type: ignore[union-attr, operator]
            layer.key.weight.mul_(3000)  # type: ignore[union-attr, operator]
    remarks = {each.check: each for each in judge_units(look_at_units(network, CLASSES, [batch_of(LABELS)]))}
    assert remarks["attention entropy"].severity == "warning"


def test_dead_relu_of_a_convolutional_network() -> None:
    torch.manual_seed(0)
    config = CNNConfig(width=16, depth=2, activation="relu")
    network = build(config, PooledHeadConfig(outputs=3))
    check = {each.check: each for each in judge_units(look_at_units(network, CLASSES, [batch_of(LABELS)]))}
    assert check["dead units"].severity == "fine"
    with torch.no_grad():
        network.body.blocks[1].norm_up.bias.fill_(-30.0)  # type: ignore[union-attr]
    check = {each.check: each for each in judge_units(look_at_units(network, CLASSES, [batch_of(LABELS)]))}
    assert check["dead units"].severity == "warning" and "blocks.1.activation_up" in check["dead units"].words


class Half(MaskedLM):
    """Hides one letter in two whatever it says."""

    def prepare(self, batch: Batch, draws: Any) -> Batch:
        return MaskedLM(self.alphabet, 0.5).prepare(batch, draws)


def test_masks() -> None:
    batch = batch_of(number=40)
    for objective in (MaskedLM(PROTEIN), MaskedLM(PROTEIN, 0.4), SpanMasking(PROTEIN)):
        remark = hidden_letters(objective, batch)
        assert remark is not None and remark.severity == "fine", remark
    wrong = hidden_letters(Half(PROTEIN, 0.15), batch)
    assert wrong is not None and wrong.severity == "warning"
    turned = hidden_letters(MaskedLM(PROTEIN, 0.85), batch, masked_fraction=0.15)
    assert turned is not None and "inverted" in turned.words
    assert hidden_letters(CLASSES, batch_of(LABELS)) is None
