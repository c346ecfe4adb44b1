"""Losses of classes agree with torch, scikit-learn, scipy and the formulas of their papers, in float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import linprog, minimize
from scipy.stats import energy_distance, wasserstein_distance
from sklearn.metrics import f1_score, hinge_loss, log_loss
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor

from seqtrain.losses import (
    ClassBalanced,
    ConfidencePenalty,
    CrossEntropy,
    Dice,
    Focal,
    Hierarchical,
    Hinge,
    InverseFrequency,
    KlDivergence,
    LargeMarginSoftmax,
    Ldam,
    LogitAdjusted,
    OptimalTransport,
    OrderedTransport,
)
from seqtrain.losses.elements import ClassLoss, log_sum_others
from tests.losses.cases import COST, COUNTS, LOSSES, NAMES, K, N, case, probabilities

OUTPUTS, TARGETS, WEIGHTS = case(CrossEntropy())
KNOWN = TARGETS != -100
Z, Y, W = OUTPUTS[KNOWN], TARGETS[KNOWN], WEIGHTS[KNOWN]


def mean(loss: object, targets: Tensor = TARGETS) -> float:
    value, count = loss(OUTPUTS, targets, WEIGHTS)
    return float(value / count)


def weighted(losses: Tensor) -> float:
    """Mean of losses (n,) of the known rows, by their weights."""
    return float((losses * W).sum() / W.sum())


def test_cross_entropy() -> None:
    known = log_loss(Y, Z.softmax(1), sample_weight=W, labels=list(range(K)))
    assert mean(CrossEntropy()) == pytest.approx(known, rel=1e-10)
    class_weights = torch.tensor(COUNTS, dtype=torch.float64)
    for smoothing in (0.0, 0.3):
        losses = F.cross_entropy(Z, Y, weight=class_weights, label_smoothing=smoothing, reduction="none")
        ours = CrossEntropy(label_smoothing=smoothing, class_weights=COUNTS)
        assert mean(ours) == pytest.approx(weighted(losses), rel=1e-12)
        soft = probabilities()
        value, count = ours(OUTPUTS, soft)
        rows = ~soft.isnan().any(dim=1)
        expected = F.cross_entropy(OUTPUTS[rows], soft[rows], weight=class_weights, label_smoothing=smoothing)
        assert float(value / count) == pytest.approx(float(expected), rel=1e-12)


def test_confidence_penalty() -> None:
    entropy = torch.distributions.Categorical(logits=Z).entropy()
    expected = weighted(F.cross_entropy(Z, Y, reduction="none") - 0.3 * entropy)
    assert mean(ConfidencePenalty(strength=0.3)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal(gamma: float) -> None:
    p = Z.softmax(1).gather(1, Y[:, None])[:, 0]
    assert mean(Focal(gamma=gamma)) == pytest.approx(weighted(-((1 - p) ** gamma) * p.log()), rel=1e-12)
    alpha = torch.tensor(COUNTS).double()[Y]
    expected = weighted(-alpha * (1 - p) ** gamma * p.log())
    assert mean(Focal(gamma=gamma, class_weights=COUNTS)) == pytest.approx(expected, rel=1e-12)


def test_focal_keeps_its_digits_where_the_class_is_all_but_certain() -> None:
    outputs = torch.tensor([[40.0, 0.0, 0.0]], requires_grad=True)
    value, _ = Focal(gamma=0.5)(outputs, torch.tensor([0]))
    value.backward()
    rest = 2 * math.exp(-40)  # 1 - p to first order, as is -log p
    assert float(value.detach()) == pytest.approx(rest**1.5, rel=1e-4) or value.item() == 0
    assert outputs.grad is not None and outputs.grad.isfinite().all()


def test_log_sum_of_others_is_exact_at_any_size() -> None:
    for size in (1.0, 30.0, 1e4):
        outputs = size * OUTPUTS
        keep = ~torch.eye(K, dtype=torch.bool)
        expected = torch.stack([outputs[:, keep[c]].logsumexp(1) for c in range(K)], dim=1)
        torch.testing.assert_close(log_sum_others(outputs), expected, rtol=1e-13, atol=1e-13)
        torch.testing.assert_close(log_sum_others(outputs.float()), expected.float(), rtol=1e-5, atol=1e-5)


def test_inverse_frequency() -> None:
    labels = np.repeat(np.arange(K), np.array(COUNTS, int))
    balanced = torch.from_numpy(compute_class_weight("balanced", classes=np.arange(K), y=labels))
    expected = weighted(F.cross_entropy(Z, Y, weight=balanced, reduction="none"))
    assert mean(InverseFrequency(class_counts=COUNTS)) == pytest.approx(expected, rel=1e-12)
    root = np.array(COUNTS) ** -0.5
    root *= sum(COUNTS) / (root * COUNTS).sum()
    expected = weighted(F.cross_entropy(Z, Y, weight=torch.from_numpy(root), reduction="none"))
    assert mean(InverseFrequency(power=0.5, class_counts=COUNTS)) == pytest.approx(expected, rel=1e-12)
    assert mean(InverseFrequency(power=0, class_counts=COUNTS)) == pytest.approx(mean(CrossEntropy()), rel=1e-12)


@pytest.mark.parametrize("beta", ["0", "0.9", "0.999999"])
@pytest.mark.parametrize("form", ["softmax", "sigmoid", "focal"])
def test_class_balanced(beta: str, form: str) -> None:
    exact = Fraction(beta)
    effective = [(1 - exact ** int(n)) / (1 - exact) for n in COUNTS]
    class_weights = [float(K / e / sum(1 / e for e in effective)) for e in effective]
    total = 0.0
    for z, y, w in zip(Z.tolist(), Y.tolist(), W.tolist(), strict=True):
        if form == "softmax":
            loss = math.log(sum(map(math.exp, z))) - z[y]
        else:
            lowered = [v - math.log(K - 1) for v in z]
            right = [1 / (1 + math.exp(-v if c == y else v)) for c, v in enumerate(lowered)]
            loss = -sum((1 - p) ** (1.5 if form == "focal" else 0) * math.log(p) for p in right)
        total += w * class_weights[y] * loss
    ours = ClassBalanced(beta=float(beta), form=form, gamma=1.5, class_counts=COUNTS)
    assert mean(ours) == pytest.approx(total / float(W.sum()), rel=1e-9)


def test_class_balanced_probabilities_are_in_proportion_to_the_sigmoids() -> None:
    found = ClassBalanced(form="sigmoid", class_counts=COUNTS).value(Z).softmax(1)
    sigmoids = (Z - math.log(K - 1)).sigmoid()
    torch.testing.assert_close(found, sigmoids / sigmoids.sum(1, keepdim=True))
    guess = ClassBalanced(form="sigmoid", class_counts=(3.0,) * 40)(torch.zeros(1, 40), torch.tensor([7]))[0]
    assert float(guess) == pytest.approx(math.log(40) + 39 * math.log(40 / 39), rel=1e-5), "a chance of 1 / C for each"


def test_ldam() -> None:
    margins = 1 / np.array(COUNTS) ** 0.25
    margins *= 0.4 / margins.max()
    lowered = Z - torch.from_numpy(margins)[Y][:, None] * F.one_hot(Y, K)
    expected = weighted(F.cross_entropy(30 * lowered, Y, reduction="none"))
    assert mean(Ldam(max_margin=0.4, class_counts=COUNTS)) == pytest.approx(expected, rel=1e-12)
    unscaled = mean(CrossEntropy())
    assert mean(Ldam(max_margin=0, scale=1, class_counts=COUNTS)) == pytest.approx(unscaled, rel=1e-12)
    torch.testing.assert_close(Ldam(class_counts=COUNTS).value(Z), 30 * Z)


def test_logit_adjusted() -> None:
    prior = torch.tensor(COUNTS).double().log() - math.log(sum(COUNTS))
    expected = weighted(F.cross_entropy(Z + 1.5 * prior, Y, reduction="none"))
    assert mean(LogitAdjusted(tau=1.5, class_counts=COUNTS)) == pytest.approx(expected, rel=1e-12)


def test_logit_adjustment_recovers_the_balanced_posterior() -> None:
    # Outputs o with p(x | c) ∝ exp o: the minimum over a distribution with this prior is at the likelihoods.
    likelihood = torch.tensor([[0.7, 0.2, 0.1], [0.3, 0.8, 0.9]]).double()  # x, c
    counts = torch.tensor([90.0, 9.0, 1.0]).double()
    joint = likelihood * counts
    outputs = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([outputs], max_iter=200, tolerance_grad=1e-12, tolerance_change=1e-15)
    loss = LogitAdjusted(class_counts=(90.0, 9.0, 1.0))

    def closure() -> float:
        optimizer.zero_grad()
        value, _ = loss(outputs, joint / joint.sum(1, keepdim=True), joint.sum(1))
        value.backward()
        return value.item()

    optimizer.step(closure)
    torch.testing.assert_close(outputs.softmax(1), likelihood / likelihood.sum(1, keepdim=True), rtol=1e-5, atol=1e-6)


def test_hinge() -> None:
    assert mean(Hinge()) == pytest.approx(hinge_loss(Y, Z, sample_weight=W, labels=list(range(K))), rel=1e-12)
    expected = weighted(K * F.multi_margin_loss(Z, Y, margin=0.7, reduction="none"))
    assert mean(Hinge(form="weston-watkins", margin=0.7)) == pytest.approx(expected, rel=1e-12)


def test_hinge_sums_keep_their_digits() -> None:
    outputs = 1e4 + torch.randn(4, 1000, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([0, 1, 2, 3])
    value, _ = Hinge(form="weston-watkins")(outputs, targets)
    exact, _ = Hinge(form="weston-watkins")(outputs.double(), targets)
    reference = 1000 * F.multi_margin_loss(outputs.double(), targets, reduction="sum")
    assert float(exact) == pytest.approx(float(reference), rel=1e-12)
    assert float(value) == pytest.approx(float(exact), rel=1e-5)


def test_hinge_goes_on_where_the_margin_is_lost_to_rounding() -> None:
    outputs = torch.tensor([[1e9, -1e9, 0.0]], requires_grad=True)
    for form in ("crammer-singer", "weston-watkins"):
        value, _ = Hinge(form=form)(outputs, torch.tensor([1]))
        assert value.item() == pytest.approx(2e9 if form == "crammer-singer" else 3e9, rel=1e-6)


@pytest.mark.parametrize("margin", [1, 2, 3, 4])
@pytest.mark.parametrize("easing", [0.0, 2.0])
def test_large_margin(margin: int, easing: float) -> None:
    total = 0.0
    for z, y, w in zip(Z.tolist(), Y.tolist(), W.tolist(), strict=True):
        length = math.sqrt(sum(v * v for v in z))
        angle = math.acos(z[y] / length)
        k = min(int(angle * margin / math.pi), margin - 1)
        psi = (-1) ** k * math.cos(margin * angle) - 2 * k
        z[y] = (easing * z[y] + length * psi) / (1 + easing)
        total += w * (math.log(sum(map(math.exp, z))) - z[y])
    ours = LargeMarginSoftmax(margin=margin, easing=easing)
    assert mean(ours) == pytest.approx(total / float(W.sum()), rel=1e-10)


def test_dice_of_certain_predictions_is_macro_f1() -> None:
    predicted = torch.where(torch.arange(len(Y)) % 3 == 0, (Y + 1) % K, Y)
    value, count = Dice(smooth=0)(1000 * F.one_hot(predicted, K).double(), Y, W)
    expected = f1_score(Y, predicted, sample_weight=W, average="macro")
    assert float(1 - value / count) == pytest.approx(expected, rel=1e-12)
    # Classes that are not in the step do not count.
    few = Y < 2
    value, count = Dice(smooth=0)(1000 * F.one_hot(predicted[few], K).double(), Y[few])
    expected = f1_score(Y[few], predicted[few], average="macro", labels=[0, 1])
    assert float(1 - value / count) == pytest.approx(expected, rel=1e-12)


def test_dice_by_hand() -> None:
    p, hot = Z.softmax(1).numpy(), F.one_hot(Y, K).numpy()
    w = W.numpy()
    terms = [
        1 - (2 * (w * p[:, c] * hot[:, c]).sum() + 2) / ((w * p[:, c]).sum() + (w * hot[:, c]).sum() + 2)
        for c in range(K)
    ]
    assert mean(Dice(smooth=2)) == pytest.approx(np.mean(terms), rel=1e-12)


def test_hierarchical() -> None:
    total = 0.0
    for p, y, w in zip(Z.softmax(1).tolist(), Y.tolist(), W.tolist(), strict=True):
        for level in range(3):
            prefix = NAMES[y].split(".")[: level + 1]
            share = sum(q for q, name in zip(p, NAMES, strict=True) if name.split(".")[: level + 1] == prefix)
            total -= w * 0.5**level * math.log(share)
    ours = Hierarchical(class_names=NAMES, level_factor=0.5)
    assert mean(ours) == pytest.approx(total / float(W.sum()), rel=1e-12)


def test_a_mistake_within_the_family_costs_less() -> None:
    loss = Hierarchical(class_names=("a.1.1", "a.1.2", "b.1.1"))
    near, far = torch.tensor([[0.0, 5.0, 0.0]]), torch.tensor([[0.0, 0.0, 5.0]])
    target = torch.tensor([0])
    assert float(CrossEntropy()(near, target)[0]) == pytest.approx(float(CrossEntropy()(far, target)[0]))
    assert float(loss(near, target)[0]) < 0.6 * float(loss(far, target)[0])


def test_ordered_transport_is_the_distance_of_scipy() -> None:
    for targets in (TARGETS, probabilities()):
        rows = [
            row for row in range(N) if (targets[row] != -100 if targets.ndim == 1 else not targets[row].isnan().any())
        ]
        weights = WEIGHTS[rows].numpy()
        distances, energies = [], []
        for row in rows:
            p = OUTPUTS[row].softmax(0).numpy()
            q = targets[row].numpy() if targets.ndim == 2 else np.eye(K)[targets[row]]
            distances.append(wasserstein_distance(range(K), range(K), p, q))
            energies.append(energy_distance(range(K), range(K), p, q) ** 2 / 2)
        assert mean(OrderedTransport(power=1), targets) == pytest.approx(
            np.average(distances, weights=weights), rel=1e-10
        )
        assert mean(OrderedTransport(), targets) == pytest.approx(np.average(energies, weights=weights), rel=1e-10)


def test_transport_to_a_class_is_the_expected_cost() -> None:
    cost = np.array(COST).reshape(K, K)
    expected = np.average([p @ cost[:, y] for p, y in zip(Z.softmax(1).numpy(), Y, strict=True)], weights=W)
    assert mean(OptimalTransport(cost=COST)) == pytest.approx(expected, rel=1e-12)


def _exact_cost(p: np.ndarray, q: np.ndarray, cost: np.ndarray) -> float:
    sums = [np.kron(np.eye(K), np.ones(K)), np.kron(np.ones(K), np.eye(K))]
    return float(linprog(cost.ravel(), A_eq=np.concatenate(sums), b_eq=np.concatenate([p, q])).fun)


def _regularized_cost(p: np.ndarray, q: np.ndarray, cost: np.ndarray, step: float) -> float:
    """min <P, C> + ε KL(P | p qᵀ), by a general optimiser on the dual instead of Sinkhorn's iterations."""

    def negative_dual(both: np.ndarray) -> float:
        f, g = both[:K], both[K:]
        plan = p[:, None] * q * np.exp((f[:, None] + g - cost) / step)
        return float(-(f @ p + g @ q - step * (plan.sum() - 1)))

    return -minimize(negative_dual, np.zeros(2 * K), method="BFGS", options={"gtol": 1e-9}).fun


def test_transport_to_soft_targets() -> None:
    soft = probabilities()[4:10]
    cost = np.array(COST).reshape(K, K)
    for row, q in enumerate(soft.numpy(), start=4):
        p = OUTPUTS[row].softmax(0).numpy()
        one = OUTPUTS[row : row + 1], soft[row - 4 : row - 3]
        value, _ = OptimalTransport(cost=COST, regularization=0.2)(*one)
        assert float(value) == pytest.approx(_regularized_cost(p, q, cost, 0.2 * cost.max()), rel=1e-5)
        close, _ = OptimalTransport(cost=COST, regularization=0.01, num_iterations=1000)(*one)
        exact = _exact_cost(p, q, cost)
        assert exact - 1e-6 <= float(close) < exact + 0.01 * cost.max() * math.log(K)


def test_divergence() -> None:
    teacher = torch.randn(N, K, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    for temperature in (1.0, 3.0):
        expected = temperature**2 * F.kl_div(
            (OUTPUTS / temperature).log_softmax(1), (teacher / temperature).softmax(1), reduction="none"
        ).sum(1)
        value, _ = KlDivergence(temperature=temperature)(OUTPUTS, teacher.softmax(1), WEIGHTS)
        assert float(value) == pytest.approx(float((expected * WEIGHTS).sum()), rel=1e-12)
    assert mean(KlDivergence()) == pytest.approx(mean(CrossEntropy()), rel=1e-12)
    same, _ = KlDivergence(temperature=2)(teacher, teacher.softmax(1))
    assert float(same) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("name", [name for name, loss in LOSSES.items() if isinstance(loss, ClassLoss)])
def test_soft_targets_are_the_mean_over_classes(name: str) -> None:
    loss, soft = LOSSES[name], probabilities()
    value, count = loss(OUTPUTS, soft, WEIGHTS)
    expected = 0.0
    for c in range(K):
        chance = soft[:, c].nan_to_num(0) * WEIGHTS
        expected += float(loss(OUTPUTS, torch.full((N,), c), chance)[0])
    assert float(value) == pytest.approx(expected, rel=1e-10)
    assert float(count) == pytest.approx(float(WEIGHTS.sum() - WEIGHTS[3]), rel=1e-12)


@pytest.mark.parametrize("kind", [InverseFrequency, ClassBalanced, Ldam, LogitAdjusted])
def test_classes_without_records_have_no_weight(kind: type[Ldam]) -> None:
    with pytest.raises(ValueError, match=r"class 1 \(counting from 0\) has no training record"):
        kind(class_counts=(3.0, 0.0, 2.0))
    with pytest.raises(ValueError, match="class_counts, the number of training records of each class"):
        kind()(Z, Y)
    with pytest.raises(ValueError, match="3 class_counts for 5 outputs"):
        kind(class_counts=(3.0, 1.0, 2.0))(Z, Y)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: CrossEntropy(label_smoothing=1.0), "label_smoothing=1"),
        (lambda: CrossEntropy(class_weights=(1.0, -1.0)), "class 1"),
        (lambda: CrossEntropy(class_weights=(1.0, 1.0))(Z, Y), "2 class_weights for 5"),
        (lambda: ConfidencePenalty(strength=-1.0), "strength=-1"),
        (lambda: Focal(gamma=-1.0), "gamma=-1"),
        (lambda: ClassBalanced(beta=1.0), "beta=1"),
        (lambda: Ldam(scale=0.0), "scale=0"),
        (lambda: Ldam(scale=math.inf), "scale=inf is not a number above 0"),
        (lambda: Focal(gamma=math.inf), "gamma=inf is not a number of at least 0"),
        (lambda: LargeMarginSoftmax(margin=0), "margin=0"),
        (lambda: Hinge(margin=0.0), "margin=0"),
        (lambda: Hierarchical()(Z, Y), "class_names"),
        (lambda: Hierarchical(class_names=("a", "b")), "cross-entropy"),
        (lambda: Hierarchical(class_names=("a.1", "a.2"))(Z, Y), "2 class_names for 5"),
        (lambda: Hierarchical(class_names=(1.1, 1.2)), "no text"),
        (lambda: OrderedTransport(power=3), "choose 1 or 2"),
        (lambda: OptimalTransport(cost=(0.0, 1.0, 1.0)), "square"),
        (lambda: OptimalTransport(cost=(0.0, 1.0, 1.0, -1.0)), "numbers ≥ 0"),
        (lambda: OptimalTransport(cost=(0.0, 1.0, 1.0, 0.0))(Z, Y), "give 25"),
        (lambda: KlDivergence(temperature=0.0), "temperature=0"),
        (lambda: CrossEntropy()(Z, Y[:, None]), "one class index or one probability"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(make: Callable[[], object], words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        make()
    assert "\n" not in str(caught.value)
