"""Distillation against closed forms, finite differences and Hinton's gradient; what teacher and student see."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from seqtrain.augment import Chain, MatrixSubstitution, RandomCrop, RandomInsertion
from seqtrain.batch import Batch
from seqtrain.draws import Draws
from seqtrain.errors import InputError
from seqtrain.losses import (
    BinaryCrossEntropy,
    CosineDistance,
    CrossEntropy,
    Dice,
    KlDivergence,
    Loss,
    MeanSquaredError,
    Quantized,
    WeightedSum,
)
from seqtrain.mixing import Cutmix
from seqtrain.models.cnn import CNNConfig
from seqtrain.models.heads import PooledHeadConfig, PositionHeadConfig
from seqtrain.models.network import HeadConfig, Network, build
from seqtrain.models.transformer import TransformerConfig
from seqtrain.objectives import Distillation, Supervised
from seqtrain.objectives.distillation import kl_of_classes, kl_of_labels
from seqtrain.training import LoopConfig, forward_and_score
from tests.corpora import examples_of, proteins

TEXTS = proteins([12, 30, 7, 25, 18], seed=4)
RNG = np.random.default_rng(0)
QUANTIZED = Quantized(num_bins=4).fitted(RNG.normal(size=(50, 2)))


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def network_of(head: HeadConfig, *, seed: int = 0, body: TransformerConfig | CNNConfig | None = None) -> Network:
    torch.manual_seed(seed)
    return build(body or CNNConfig(width=16, depth=1, dropout=0.5), head)


@dataclass
class Saying:
    """A teacher that keeps what it was asked about."""

    network: Network
    asked: list[Batch] = field(default_factory=list)

    def __call__(self, batch: Batch) -> Tensor:
        self.asked.append(batch)
        said: Tensor = self.network.eval()(batch)
        return said


def nobody(batch: Batch) -> Tensor:
    raise AssertionError("the teacher was asked")


def objective_of(loss: Loss, **fields: object) -> Distillation:
    given = {"teacher": nobody, "supervised": Supervised(loss), **fields}
    return Distillation(**given)  # type: ignore[arg-type]


def batch_of(targets: Tensor | None, said: Tensor, weights: Tensor | None = None) -> Batch:
    """Sequences of three positions each, the first and last special."""
    count = len(said) // 3 if targets is not None and len(targets) == len(said) and targets.ndim == 0 else len(said)
    inputs = torch.arange(3 * count) % 3
    return Batch(
        inputs=inputs, boundaries=torch.arange(0, 3 * count + 1, 3), records=torch.arange(count),
        letters=torch.where(inputs == 1, 65, 0).to(torch.uint8), keys=torch.arange(count), targets=targets,
        weights=weights, teacher_outputs=said,
    )  # fmt: skip


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_classes_have_the_closed_form_and_that_of_torch(temperature: float) -> None:
    student, teacher = drawn(7, 5), 3 * drawn(7, 5, seed=1)
    p, q = (np.exp((each / temperature).numpy()) for each in (student, teacher))
    p, q = p / p.sum(1, keepdims=True), q / q.sum(1, keepdims=True)
    expected = temperature**2 * (q * np.log(q / p)).sum(1)
    found = kl_of_classes(student, teacher, temperature)
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    theirs = torch.nn.functional.kl_div(
        (student / temperature).log_softmax(1),
        (teacher / temperature).log_softmax(1),
        reduction="none",
        log_target=True,
    )
    torch.testing.assert_close(found, temperature**2 * theirs.sum(1))
    # The loss of the same name, which takes probabilities.
    own, _ = KlDivergence(temperature).elements(student, teacher.softmax(1))
    torch.testing.assert_close(found, own)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_labels_are_two_classes_each(temperature: float) -> None:
    student, teacher = drawn(6, 3), 2 * drawn(6, 3, seed=1)
    zeros = torch.zeros_like(student)
    expected = kl_of_classes(torch.stack([student, zeros], 2), torch.stack([teacher, zeros], 2), temperature)
    torch.testing.assert_close(kl_of_labels(student, teacher, temperature), expected)
    certain = torch.tensor([[80.0, -80.0]], dtype=torch.float64)
    assert torch.isfinite(kl_of_labels(-certain, certain, temperature)).all()


def test_gradients_equal_finite_differences_and_hintons() -> None:
    student, teacher = drawn(4, 3).requires_grad_(), drawn(4, 3, seed=1)
    for divergence in (kl_of_classes, kl_of_labels):
        assert torch.autograd.gradcheck(lambda s, f=divergence: f(s, teacher, 3.0), (student,))
    # Equation 2 of the paper, times T²: T (softmax(s / T) - softmax(z / T)).
    (gradient,) = torch.autograd.grad(kl_of_classes(student, teacher, 3.0).sum(), student)
    expected = 3 * ((student / 3).softmax(1) - (teacher / 3).softmax(1))
    torch.testing.assert_close(gradient, expected)


def test_at_high_temperature_logits_are_matched() -> None:
    """Section 2.1 of the paper: (1 / 2C) Σ (s - z)² of centred logits."""
    student, teacher = drawn(5, 4), drawn(5, 4, seed=1)
    centred = [each - each.mean(1, keepdim=True) for each in (student, teacher)]
    expected = (centred[0] - centred[1]).square().sum(1) / (2 * 4)
    torch.testing.assert_close(kl_of_classes(student, teacher, 1e4), expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("loss", [CrossEntropy(), BinaryCrossEntropy(), MeanSquaredError(), QUANTIZED], ids=str)
def test_a_student_that_says_what_the_teacher_says_has_nothing_to_learn_from_it(loss: Loss) -> None:
    said = drawn(6, loss.width(2)).requires_grad_()
    targets = torch.tensor([0, 1, 0, 1, 1, 0]) if loss.kind == "classes" else torch.ones(6, 2, dtype=torch.float64)
    objective = objective_of(loss, hard_fraction=0.0, by_bins=isinstance(loss, Quantized), temperature=3.0)
    score = objective.score(said, batch_of(targets, said.detach()))
    (gradient,) = torch.autograd.grad(score.loss, said)
    assert float(score.loss.detach().abs()) < 1e-12 and float(gradient.abs().max()) < 1e-12
    other = objective.score(said + 0.5 * drawn(6, loss.width(2), seed=2), batch_of(targets, said.detach()))
    assert float(other.loss.detach()) > 0.01


def test_hard_and_soft_parts_add_up_over_labelled_and_unlabelled_records() -> None:
    outputs, said = drawn(4, 3), drawn(4, 3, seed=1)
    targets, weights = torch.tensor([2, -100, 0, -100]), torch.tensor([1.0, 2.0, 0.5, 1.0], dtype=torch.float64)
    score = objective_of(CrossEntropy(), hard_fraction=0.3, temperature=2.0).score(
        outputs, batch_of(targets, said, weights)
    )
    hard = -outputs.log_softmax(1)[[0, 2], [2, 0]] * weights[[0, 2]]
    soft = kl_of_classes(outputs, said, 2.0) * weights
    torch.testing.assert_close(score.loss, 0.3 * hard.sum() + 0.7 * soft.sum())
    assert float(score.count) == 4.5
    torch.testing.assert_close(score.sums["label_loss"], hard.sum())
    torch.testing.assert_close(score.sums["teacher_divergence"], soft.sum())


@pytest.mark.parametrize("loss", [MeanSquaredError(), BinaryCrossEntropy(), CosineDistance(), QUANTIZED], ids=str)
def test_both_parts_are_divided_by_what_the_loss_of_the_labels_counts(loss: Loss) -> None:
    outputs, said = drawn(3, loss.width(2)), drawn(3, 2, seed=1)
    targets = drawn(3, 2, seed=2).sigmoid()
    objective = objective_of(loss, hard_fraction=0.5, temperature=2.0)
    score = objective.score(outputs, batch_of(targets, said))
    hard, count = loss(outputs, targets)
    assert float(score.count) == float(count) == 6
    values = loss.value(outputs)
    each = kl_of_labels(values, said, 2.0) if loss.kind == "labels" else (values - said).square()
    torch.testing.assert_close(score.loss, 0.5 * hard + 0.5 * each.sum())


def test_labels_alone_are_the_supervised_loss_and_nobody_asks_the_teacher() -> None:
    objective = objective_of(CrossEntropy(), hard_fraction=1.0)
    batch = replace(batch_of(torch.tensor([0, 1, -100]), drawn(3, 2)), teacher_outputs=None)
    outputs = drawn(3, 2, seed=1)
    ours, theirs = objective.score(outputs, objective.prepare(batch, Draws(batch.keys))), Supervised(CrossEntropy())
    expected = theirs.score(outputs, batch)
    assert (float(ours.loss), float(ours.count)) == (float(expected.loss), float(expected.count))


def test_a_loss_that_is_no_sum_weighs_what_was_asked_for_however_many_records_have_labels() -> None:
    outputs, said = drawn(5, 3), drawn(5, 3, seed=1)
    targets = torch.tensor([0, 1, 2, -100, -100])
    objective = objective_of(Dice(), hard_fraction=0.25, temperature=1.0)
    assert not objective.separable
    score = objective.score(outputs, batch_of(targets, said))
    hard, count = Dice()(outputs, targets)
    expected = 0.25 * hard / count + 0.75 * kl_of_classes(outputs, said, 1.0).mean()
    torch.testing.assert_close(score.loss / score.count, expected)


def test_residues_alone_count_and_weigh_what_their_sequence_weighs() -> None:
    said, outputs = drawn(6, 2), drawn(6, 2, seed=1)
    targets, weights = torch.tensor([-100, 1, -100, -100, -100, -100]), torch.tensor([1.0, 3.0], dtype=torch.float64)
    batch = replace(batch_of(targets, said[:2], weights), teacher_outputs=said)
    score = objective_of(CrossEntropy(), hard_fraction=0.5, temperature=2.0).score(outputs, batch)
    soft = kl_of_classes(outputs[[1, 4]], said[[1, 4]], 2.0) * weights
    hard = -outputs.log_softmax(1)[1, 1]
    torch.testing.assert_close(score.loss, 0.5 * hard + 0.5 * soft.sum())
    assert float(score.count) == 4


@pytest.mark.parametrize(
    "body", [CNNConfig(width=16, depth=1), TransformerConfig(width=32, depth=1, num_heads=2)], ids=str
)
@pytest.mark.parametrize("mixed", [False, True])
def test_teacher_and_student_see_the_same_tensors(body: CNNConfig | TransformerConfig, mixed: bool) -> None:
    """Augmented, cropped, in windows and mixed: every tensor that a network reads is one and the same."""
    examples = replace(
        examples_of(TEXTS, seed=3),
        targets=np.arange(5) % 2,
        augmenter=Chain((MatrixSubstitution(rate=0.3), RandomInsertion(rate=0.2), RandomCrop(20))),
        max_length=20,
        mixing=Cutmix(probability=1.0) if mixed else None,
    )
    batch = examples.batch(np.arange(5), np.arange(5))
    plain = replace(examples, augmenter=None, mixing=None).batch(np.arange(5), np.arange(5))
    assert batch.inputs.shape != plain.inputs.shape or not torch.equal(batch.inputs, plain.inputs)
    teacher = Saying(network_of(PooledHeadConfig(outputs=2, dropout=0.5), body=body))
    objective = objective_of(CrossEntropy(), teacher=teacher)
    student = network_of(PooledHeadConfig(outputs=2, dropout=0.0), seed=1)
    seen: list[Batch] = []
    student.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    forward_and_score(student, objective, batch, LoopConfig(device=torch.device("cpu")))
    (asked,), (shown,) = teacher.asked, seen
    for name in ("inputs", "boundaries", "letters", "other_inputs", "input_shares", "decode", "records", "keys"):
        one, other = getattr(asked, name), getattr(shown, name)
        assert (one is None) == (other is None), name
        assert one is None or (one is other and torch.equal(one, getattr(batch, name))), name
    assert (asked.other_inputs is not None) == mixed
    assert shown.teacher_outputs is not None and not shown.teacher_outputs.requires_grad


@pytest.mark.parametrize(("head", "count"), [(PooledHeadConfig(outputs=3), 5), (PositionHeadConfig(outputs=3), 102)])
def test_what_a_teacher_says_does_not_depend_on_batch_mates(head: HeadConfig, count: int) -> None:
    examples = replace(examples_of(TEXTS), augmenter=MatrixSubstitution(rate=0.3))
    objective = objective_of(CrossEntropy(), teacher=Saying(network_of(head)))

    def said(*units: int) -> Tensor:
        batch = examples.batch(np.array(units), np.full(len(units), 2))
        outputs = objective.prepare(batch, Draws(batch.keys)).teacher_outputs
        assert outputs is not None
        return outputs

    whole = said(0, 1, 2, 3, 4)
    assert len(whole) == count
    torch.testing.assert_close(torch.cat([said(0, 1), said(2), said(3, 4)]), whole, rtol=1e-5, atol=1e-6)


def test_what_cannot_be_distilled_is_refused() -> None:
    for fields, words in (({"temperature": 0.0}, "temperature"), ({"hard_fraction": 1.5}, "hard_fraction")):
        with pytest.raises(ValueError, match=words):
            objective_of(CrossEntropy(), **fields)
    with pytest.raises(ValueError, match="bins"):
        objective_of(MeanSquaredError(), by_bins=True)
    several = WeightedSum(losses=(MeanSquaredError(), MeanSquaredError()), sizes=(1, 1))
    with pytest.raises(InputError, match="one task at a time"):
        objective_of(several)
    with pytest.raises(ValueError, match="of the teacher"):
        objective_of(MeanSquaredError()).divergences(drawn(3, 2), drawn(3, 4))
