"""Distillation of similarities against plain loops, finite differences and hand-made ranks."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from seqtrain.batch import Batch
from seqtrain.draws import Draws
from seqtrain.losses import BinaryCrossEntropy, CrossEntropy, Dice, Loss, MeanSquaredError
from seqtrain.objectives import Distillation, Supervised
from seqtrain.objectives.distillation import kl_of_classes
from seqtrain.objectives.similarity import (
    OriginalRetrieval,
    SimilarityDistillation,
    row_divergences,
    similarities,
    trusted,
)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def nobody(batch: Batch) -> Tensor:
    raise AssertionError("the teacher was asked")


def batch_of(said: Tensor, targets: Tensor | None, records: Tensor | None = None, **fields: Any) -> Batch:
    """2 B sequences of three positions each, the first and last special; two views of each record in turns."""
    count = len(said)
    inputs = torch.arange(3 * count) % 3
    return Batch(
        inputs=inputs, boundaries=torch.arange(0, 3 * count + 1, 3), keys=torch.arange(count),
        records=torch.arange(count) // 2 if records is None else records, targets=targets, teacher_outputs=said,
        letters=torch.where(inputs == 1, 65, 0).to(torch.uint8), **fields,
    )  # fmt: skip


def objective_of(loss: Loss, *, projections: tuple[int, int] = (4, 4), **fields: Any) -> SimilarityDistillation:
    of_distillation = {key: fields.pop(key) for key in ("hard_fraction",) if key in fields}
    inner = Distillation(teacher=nobody, supervised=Supervised(loss), temperature=3.0, **of_distillation)
    given: dict[str, Any] = {"weight": 2.0, "teacher": nobody, **fields}
    return SimilarityDistillation(distillation=inner, projections=projections, **given)


def looped(student: Tensor, teacher: Tensor, temperature: float) -> list[float]:
    """τ² KL of each row, one number after the other."""

    def rows(projections: Tensor) -> list[list[float]]:
        found = []
        for i in range(1, len(projections), 2):
            cosines = []
            for k in range(0, len(projections), 2):
                a, b = projections[i], projections[k]
                cosines.append(float((a * b).sum() / (a.square().sum().sqrt() * b.square().sum().sqrt())))
            whole = sum(math.exp(each / temperature) for each in cosines)
            found.append([math.exp(each / temperature) / whole for each in cosines])
        return found

    pairs = zip(rows(teacher), rows(student), strict=True)
    return [temperature**2 * sum(t * math.log(t / s) for t, s in zip(*each, strict=True)) for each in pairs]


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
def test_rows_have_the_divergence_of_a_plain_loop(temperature: float) -> None:
    student, teacher, records = drawn(10, 4), drawn(10, 7, seed=1), torch.arange(10) // 2
    found = row_divergences(similarities(student, records), similarities(teacher, records), temperature)
    torch.testing.assert_close(found, torch.tensor(looped(student, teacher, temperature), dtype=torch.float64))
    assert float(found.min()) > 1e-4


@pytest.mark.parametrize(
    ("loss", "targets"),
    [
        (CrossEntropy(), torch.tensor([0, 0, 2, 2, 1, 1, 0, 0])),
        (BinaryCrossEntropy(), drawn(4, 3, seed=5).sigmoid().round().repeat_interleave(2, 0)),
        (MeanSquaredError(), drawn(4, 3, seed=6).repeat_interleave(2, 0)),
        (Dice(), torch.tensor([0, 0, 2, 2, 1, 1, 0, 0])),
    ],
    ids=lambda value: type(value).__name__,
)
def test_all_parts_add_up(loss: Loss, targets: Tensor) -> None:
    answers, said = drawn(8, 3), drawn(8, 3, seed=1)
    projected, theirs = drawn(8, 4, seed=2), drawn(8, 5, seed=3)
    objective = objective_of(loss, projections=(4, 5), weight=2.0, hard_fraction=0.3, kept_fraction=1.0)
    weights = torch.tensor([1.0, 1, 2, 2, 0.5, 0.5, 1, 1], dtype=torch.float64)
    batch = batch_of(torch.cat((said, theirs), 1), targets, weights=weights)
    score = objective.score(torch.cat((answers, projected), 1), batch)
    inner = objective.distillation
    plain = inner.score(answers[::2], batch_of(said[::2], targets[::2], weights=weights[::2]))
    each = weights[1::2]
    augmented = (inner.divergences(answers[1::2], said[1::2]) * each).sum() / each.sum()
    rows = torch.tensor(looped(projected, theirs, 0.5), dtype=torch.float64)
    similar = (rows * each).sum() / each.sum()
    torch.testing.assert_close(score.count, plain.count)
    torch.testing.assert_close(score.loss / score.count, plain.loss / plain.count + 0.7 * augmented + 2 * similar)
    torch.testing.assert_close(score.sums["similarity_divergence"] / score.count, similar)
    torch.testing.assert_close(score.sums["augmented_divergence"] / score.count, augmented)
    # Labels are learnt from the unchanged sequences alone.
    other = targets.clone()
    other[1::2] = targets[[3, 5, 7, 1]]
    assert float(objective.score(torch.cat((answers, projected), 1), replace(batch, targets=other)).loss) == float(
        score.loss
    )


@pytest.mark.parametrize("hard_fraction", [0.0, 0.5, 1.0])
def test_gradients_equal_finite_differences(hard_fraction: float) -> None:
    outputs, said = drawn(8, 7).requires_grad_(), drawn(8, 7, seed=1)
    targets, records = torch.tensor([0, 0, 2, 2, -100, -100, 1, 1]), torch.tensor([4, 4, 4, 4, 0, 0, 2, 2])
    objective = objective_of(CrossEntropy(), hard_fraction=hard_fraction)
    batch = batch_of(said, targets, records)
    assert torch.autograd.gradcheck(lambda each: objective.score(each, batch).loss, (outputs,))
    (gradient,) = torch.autograd.grad(objective.score(outputs, batch).loss, outputs)
    assert float(gradient[:, 3:].abs().max()) > 1e-3, "the module learns"
    assert bool(gradient[1::2, :3].any()) == (hard_fraction < 1)


def test_a_student_that_is_its_teacher_has_nothing_to_learn_from_it() -> None:
    outputs = drawn(8, 7).requires_grad_()
    objective = objective_of(CrossEntropy(), hard_fraction=0.0)
    batch = batch_of(outputs.detach(), torch.full((8,), -100))
    score = objective.score(outputs, batch)
    (gradient,) = torch.autograd.grad(score.loss, outputs)
    assert float(score.loss.detach().abs()) < 1e-12 and float(gradient.abs().max()) < 1e-12
    # Longer projections of the same directions are the same similarities; other directions are not.
    longer, turned = outputs.detach().clone(), outputs.detach().clone()
    longer[:, 3:] *= 5
    turned[1::2, 3:] = turned[1::2, 3:].roll(1, 0)
    assert float(objective.score(longer, batch).loss) < 1e-12 < 1e-3 < float(objective.score(turned, batch).loss)


def test_other_windows_of_a_record_are_not_compared() -> None:
    projected, records = drawn(8, 4), torch.tensor([7, 7, 3, 3, 7, 7, 5, 5])
    found = similarities(projected, records)
    assert found.isneginf().nonzero().tolist() == [[0, 2], [2, 0]]
    teacher = similarities(drawn(8, 4, seed=1), records)
    rows = row_divergences(found, teacher, 0.5)
    keep = torch.tensor([0, 1, 3])
    torch.testing.assert_close(rows[0], kl_of_classes(found[0, keep], teacher[0, keep], 0.5))
    assert bool(torch.isfinite(rows).all())


def test_rows_are_trusted_that_are_right_and_the_least_wrong_of_the_others() -> None:
    # Ranks of the own column: 0, 3, 1, 0, 2, 1.
    teacher = torch.tensor(
        [
            [0.9, 0.1, 0.2, 0.3, 0.4, 0.5],
            [0.9, 0.2, 0.8, 0.7, 0.1, 0.0],
            [0.9, 0.1, 0.8, 0.7, 0.1, 0.0],
            [0.0, 0.1, 0.2, 0.9, 0.1, 0.0],
            [0.9, 0.8, 0.2, 0.1, 0.7, 0.0],
            [0.9, 0.1, 0.2, 0.1, 0.3, 0.8],
        ]
    )
    for fraction, expected in (
        (0.0, [1, 0, 0, 1, 0, 0]),
        (0.25, [1, 0, 1, 1, 0, 0]),
        (0.5, [1, 0, 1, 1, 0, 1]),
        (0.75, [1, 0, 1, 1, 1, 1]),
        (1.0, [1, 1, 1, 1, 1, 1]),
    ):
        assert trusted(teacher, fraction).tolist() == expected
    projected = torch.cat([drawn(8, 3), drawn(8, 4, seed=2)], 1)
    said = drawn(8, 7, seed=9)
    objective = objective_of(CrossEntropy(), kept_fraction=0.0)
    kept = trusted(similarities(said[:, 3:], torch.arange(8) // 2), 0.0)
    assert 0 < float(kept.sum()) < 4
    score = objective.score(projected, batch_of(said, torch.zeros(8, dtype=torch.int64)))
    rows = torch.tensor(looped(projected[:, 3:], said[:, 3:], 0.5), dtype=torch.float64)
    torch.testing.assert_close(score.sums["similarity_divergence"] / score.count, rows[kept > 0].mean())


def test_a_module_is_asked_which_sequence_an_augmented_one_was_made_from() -> None:
    outputs, records = drawn(6, 4), torch.tensor([0, 0, 1, 1, 0, 0])
    batch = replace(batch_of(outputs, None, records), teacher_outputs=None)
    objective = OriginalRetrieval(pooled=lambda each: torch.ones(len(each), 2))
    prepared = objective.prepare(batch, Draws(batch.keys))
    assert prepared.features is not None and prepared.features.shape == (6, 2)
    score = objective.score(outputs, prepared)
    logits = similarities(outputs, records) / 0.5
    expected, found = 0.0, 0
    for row, compared in ((0, (0, 1)), (1, (0, 1, 2)), (2, (1, 2))):
        expected += math.log(sum(math.exp(float(logits[row, k])) for k in compared)) - float(logits[row, row])
        found += max(compared, key=lambda k, row=row: float(logits[row, k])) == row  # type: ignore[misc]
    assert float(score.loss) == pytest.approx(expected) and float(score.count) == 3
    assert float(score.sums["accuracy"]) == found


def test_what_cannot_be_is_refused() -> None:
    for fields, words in (({"weight": 0.0}, "weight"), ({"kept_fraction": 2.0}, "kept"), ({"temperature": 0}, "temp")):
        with pytest.raises(ValueError, match=words):
            objective_of(CrossEntropy(), **fields)
    with pytest.raises(ValueError, match="temperature"):
        OriginalRetrieval(pooled=nobody, temperature=0.0)
