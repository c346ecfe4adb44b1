"""Mixed pairs: what is drawn, which letters meet, what becomes of labels, whatever the cut of a step."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn.functional import cross_entropy, one_hot

from seqtrain.batch import Batch
from seqtrain.batching import Examples
from seqtrain.draws import Draws, record_keys
from seqtrain.errors import InputError
from seqtrain.losses import CrossEntropy, MeanSquaredError
from seqtrain.mixing import Cutmix, Mixing, Mixup, Remix, kept_shares
from seqtrain.models.embedding import TokenEmbedding, mixture
from seqtrain.objectives import Supervised
from seqtrain.orders import Resampled
from tests.corpora import examples_of, proteins

TEXTS = proteins([5, 60, 33, 1, 48, 60, 12, 29])
CLASSES = np.array([0, 0, 0, 0, 0, 0, 1, 1])
KEYS = record_keys(3, np.zeros(40_000, np.int64), np.arange(40_000))


def mixed(mixing: Mixing, targets: Any = CLASSES, **fields: Any) -> tuple[Examples, Batch]:
    examples = examples_of(TEXTS, targets=targets, mixing=mixing, **fields)
    return examples, examples.batch(np.arange(len(TEXTS)), np.zeros(len(TEXTS), np.int64))


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_shares_are_the_larger_part_of_beta(alpha: float) -> None:
    shares = kept_shares(Draws(KEYS), alpha, 1.0)
    folded = stats.beta(alpha, alpha)
    assert stats.kstest(shares, lambda x: 2 * (folded.cdf(x) - 0.5)).pvalue > 0.01
    assert (shares >= 0.5).all()


def test_some_sequences_stay_unmixed() -> None:
    shares = kept_shares(Draws(KEYS), 1.0, 0.3)
    assert (shares < 1).mean() == pytest.approx(0.3, abs=0.01)
    _, batch = mixed(Mixup(probability=0.0))
    assert batch.input_shares is not None and (batch.input_shares == 1).all()
    assert batch.target_shares is not None and (batch.target_shares == 1).all()


@pytest.mark.parametrize("mixing", [Mixup(alpha=1.0), Cutmix(probability=1.0)])
def test_letters_meet_from_the_first_on_and_nothing_else_is_touched(mixing: Mixing) -> None:
    _, batch = mixed(mixing)
    plain = examples_of(TEXTS, targets=CLASSES).batch(np.arange(len(TEXTS)), np.zeros(len(TEXTS), np.int64))
    assert batch.other_inputs is not None and batch.input_shares is not None and batch.target_shares is not None
    assert torch.equal(batch.inputs, plain.inputs) and torch.equal(batch.boundaries, plain.boundaries)
    assert (batch.input_shares[~batch.residues] == 1).all()
    ids = [plain.inputs[start + 1 : stop - 1] for start, stop in pairwise(plain.boundaries.tolist())]
    touched = 0
    for index, own in enumerate(ids):
        start, stop = int(batch.boundaries[index]) + 1, int(batch.boundaries[index + 1]) - 1
        shares, others = batch.input_shares[start:stop], batch.other_inputs[start:stop]
        partners = [each for each in ids if torch.equal(others[: len(each)], each[: len(own)])]
        assert partners, "the other letters are those of one other example, from its first letter on"
        met = min(len(own), max(map(len, partners)))
        assert (shares[met:] == 1).all() and torch.equal(others[met:], own[met:])
        assert float(batch.target_shares[index]) == pytest.approx(float(shares.double().mean()), abs=1e-6)
        touched += int((shares < 1).any())
    assert touched >= 4


def test_cutmix_replaces_one_stretch() -> None:
    _, batch = mixed(Cutmix(probability=1.0))
    assert batch.input_shares is not None
    for start, stop in pairwise(batch.boundaries.tolist()):
        shares = batch.input_shares[start:stop]
        assert set(shares.tolist()) <= {0.0, 1.0}
        assert int((shares.diff() != 0).sum()) in (0, 2)
    starts, lengths = [], []
    shared = np.full(20_000, 10)
    shares, sequences = Cutmix(probability=1.0).shares(Draws(KEYS[:20_000]), shared)
    rows = shares.reshape(-1, 10)
    for row in rows[(rows == 0).any(axis=1)]:
        starts.append(int(row.argmin()))
        lengths.append(int((row == 0).sum()))
    assert set(lengths) == {1, 2, 3, 4, 5}, "at most half is replaced"
    assert set(starts) == set(range(10)), "every letter is reached, both ends included"
    assert np.array_equal(np.bincount(sequences), shared)


def test_any_cut_of_a_step_gives_the_same_mixtures() -> None:
    examples, whole = mixed(Mixup(alpha=1.0))
    parts = [examples.batch(np.array([unit]), np.zeros(1, np.int64)) for unit in range(len(TEXTS))]
    for name in ("other_inputs", "input_shares", "other_targets", "target_shares"):
        assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(whole, name))


def test_others_change_with_the_epoch_and_follow_the_order() -> None:
    order = Resampled(CLASSES, np.array([1.0, 1.0]), seed=0)
    examples = examples_of(TEXTS, targets=CLASSES, mixing=Mixup(), order=order)
    drawn = torch.cat(
        [examples.batch(np.arange(8), np.full(8, epoch)).other_targets for epoch in range(200)]  # type: ignore[misc]
    )
    assert float(drawn.double().mean()) == pytest.approx(0.5, abs=0.05), "a quarter of the examples, half of the epoch"


@pytest.mark.parametrize(("sizes", "share", "expected"), [(1, 0.6, 0.6), (3, 0.6, 0.6), (3, 0.4, 0), (1 / 3, 0.6, 1)])
def test_remix_gives_labels_to_the_rarer_class(sizes: float, share: float, expected: float) -> None:
    got = Remix().label_shares(np.array([share], np.float32), np.array([sizes]))
    assert got.tolist() == pytest.approx([expected])


@pytest.mark.parametrize(("num_common", "keeps"), [(6, True), (5, False)])
def test_remix_counts_the_classes_of_the_training_records(num_common: int, keeps: bool) -> None:
    targets = np.where(np.arange(8) < 6 - num_common, -100, CLASSES)
    examples, _ = mixed(Remix(), targets=targets)
    shares = []
    for epoch in range(20):
        batch = examples.batch(np.arange(8), np.full(8, epoch))
        assert batch.target_shares is not None and batch.targets is not None and batch.other_targets is not None
        shares.append(batch.target_shares[(batch.targets == 1) & (batch.other_targets == 0)])
    together = torch.cat(shares)
    assert len(together) > 10 and bool((together == 1).all()) == keeps, "kept whole from three times as many on"


def test_the_loss_is_shared_like_the_label() -> None:
    _, batch = mixed(Mixup(alpha=1.0), weights=np.linspace(0.5, 2, 8, dtype=np.float32))
    assert batch.targets is not None and batch.other_targets is not None and batch.target_shares is not None
    logits = torch.randn(8, 2, generator=torch.Generator().manual_seed(0))
    soft = batch.target_shares[:, None] * one_hot(batch.targets, 2)
    soft = soft + (1 - batch.target_shares)[:, None] * one_hot(batch.other_targets, 2)
    score = Supervised(CrossEntropy()).score(logits, batch)
    assert batch.weights is not None
    expected = (cross_entropy(logits, soft, reduction="none") * batch.weights).sum()
    assert float(score.loss) == pytest.approx(float(expected), rel=1e-5)
    assert float(score.count) == pytest.approx(float(batch.weights.sum()), rel=1e-6)


def test_numbers_mix_too() -> None:
    _, batch = mixed(Mixup(alpha=1.0), targets=np.arange(8, dtype=np.float32)[:, None])
    score = Supervised(MeanSquaredError()).score(torch.zeros(8, 1), batch)
    assert batch.targets is not None and batch.other_targets is not None and batch.target_shares is not None
    own, share = batch.targets[:, 0], batch.target_shares
    expected = (share * own**2 + (1 - share) * batch.other_targets[:, 0] ** 2).sum()
    assert float(score.loss) == pytest.approx(float(expected), rel=1e-5)


def test_a_mixture_of_ids_is_a_mixture_of_embeddings() -> None:
    embedding = TokenEmbedding(7, 5)
    own, other = torch.tensor([1, 2, 6, 6]), torch.tensor([3, 2, 0, 6])
    shares = torch.tensor([0.75, 0.5, 0.6, 1.0])
    expected = shares[:, None] * embedding(own) + (1 - shares)[:, None] * embedding(other)
    torch.testing.assert_close(embedding(mixture(own, other, shares, 7)), expected)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Mixup(alpha=0), "alpha is 0"),
        (lambda: Cutmix(probability=1.5), "probability is 1.5"),
        (lambda: Remix(kappa=0.5), "kappa is 0.5"),
        (lambda: Remix(tau=2), "tau is 2"),
    ],
)
def test_impossible_settings_are_refused(make: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        make()
