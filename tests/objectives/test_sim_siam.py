"""SimSiam against the paper's algorithm with torch's batch norm, and that the other view stands still."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from seqtrain.alphabet import PROTEIN
from seqtrain.objectives import SimSiam
from tests.objectives.contrasts import batch_of_views, outputs_of


def test_the_loss_is_algorithm_1_of_the_paper() -> None:
    outputs = outputs_of(8, 10)
    score = SimSiam(alphabet=PROTEIN).score(outputs, batch_of_views(4))
    normed = functional.batch_norm(outputs[:, :5], None, None, training=True)
    z1, p1, z2, p2 = normed[::2], outputs[::2, 5:], normed[1::2], outputs[1::2, 5:]

    def distance(p: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        return -(functional.normalize(p, dim=1) * functional.normalize(z.detach(), dim=1)).sum(1).mean()

    expected = distance(p1, z2) / 2 + distance(p2, z1) / 2
    assert float(score.loss / score.count) == pytest.approx(float(expected))
    mine, theirs = (torch.autograd.grad(each, outputs)[0] for each in (score.loss / score.count, expected))
    torch.testing.assert_close(mine, theirs)
    assert not mine[:, :5].any(), "gradients stop at projections"


def test_weights_of_examples_count_in_loss_and_count() -> None:
    outputs = outputs_of(4, 6)
    score = SimSiam(alphabet=PROTEIN).score(outputs, batch_of_views(2, weights=[0.25, 2.0]))
    alone = SimSiam(alphabet=PROTEIN)
    losses = [float(alone.score(outputs, batch_of_views(2, weights=each)).loss) for each in ([1.0, 0.0], [0.0, 1.0])]
    assert float(score.loss) == pytest.approx(0.25 * losses[0] + 2 * losses[1])
    assert float(score.count) == 4.5


def test_predictions_that_point_at_the_other_view_are_worth_minus_one() -> None:
    projections = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    about_the_mean = (projections - projections.mean(0)) / projections.std(0)
    outputs = torch.cat((5 * projections + 9, 3 * about_the_mean[[1, 0, 3, 2, 5, 4]]), dim=1)
    score = SimSiam(alphabet=PROTEIN).score(outputs, batch_of_views(3))
    assert float(score.loss / score.count) == pytest.approx(-1, abs=1e-4)


def test_one_answer_for_all_is_worth_nothing() -> None:
    outputs = torch.ones(6, 8)
    assert float(SimSiam(alphabet=PROTEIN).score(outputs, batch_of_views(3)).loss) == 0
