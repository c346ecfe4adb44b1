"""Mixed pairs: what is drawn, which letters meet, what becomes of labels, whatever the cut of a step."""

from __future__ import annotations

from itertools import islice, pairwise
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn.functional import cross_entropy, one_hot

from seqtrain.alphabet import PROTEIN
from seqtrain.batch import Batch
from seqtrain.batching import Examples, steps_from
from seqtrain.draws import Draws, record_keys
from seqtrain.errors import InputError
from seqtrain.losses import CrossEntropy, MeanSquaredError
from seqtrain.mixing import Cutmix, Mixing, Mixup, Remix, kept_shares
from seqtrain.models.cnn import CNNConfig
from seqtrain.models.embedding import TokenEmbedding, mixture
from seqtrain.models.gated_transformer import GatedTransformerConfig
from seqtrain.models.network import BodyConfig
from seqtrain.models.residual_cnn import ResidualCNNConfig
from seqtrain.models.transformer import TransformerConfig
from seqtrain.models.unet import UNetConfig
from seqtrain.objectives import Supervised
from seqtrain.orders import Resampled
from seqtrain.recipes.training_examples import with_curriculum
from tests.corpora import examples_of, proteins
from tests.models.backbones import small_config
from tests.models.packs import draw_sequences, pack, shake

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


def test_nothing_harder_is_mixed_in_while_easy_examples_come_first() -> None:
    lengths = [10 + number for number in range(60)]
    plain = examples_of(proteins(lengths), targets=np.arange(60), mixing=Mixup())
    examples = with_curriculum("shortest-first:until=0.5,first_fraction=0.1", plain, 4000)
    hardest = []
    for step in islice(steps_from(examples, 400, 0, 0), 300):
        others = examples.batch(step.units, step.epochs).other_targets
        assert others is not None
        hardest.append((step.next_position, int(others.max())))
    for position, other in hardest:
        assert position > 2000 or other <= 60 * (0.1 + 0.9 * position / 2000)
    assert max(other for position, other in hardest if position < 500) > 8, "and all that was easy enough is"
    assert max(other for position, other in hardest if position > 2500) > 55


def test_growing_crops_are_mixed_with_crops() -> None:
    examples = examples_of(["A" * 50, "C" * 25 + "D" * 25], targets=np.array([0, 1]), mixing=Cutmix(probability=1))
    seen = set()
    for epoch in range(200):
        batch = examples.batch(np.array([0]), np.array([epoch]), 5)
        assert batch.other_inputs is not None and len(batch.other_inputs) == 7
        seen |= set(batch.other_inputs.tolist())
    assert PROTEIN.vocabulary.id("D") in seen, "not only with the first letters of the other"


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


BODIES: dict[str, BodyConfig] = {
    "transformer": TransformerConfig(width=32, depth=2, num_heads=2),
    "transformer without token dropout": TransformerConfig(width=32, depth=2, num_heads=2, token_dropout=False),
    "gated transformer": GatedTransformerConfig(width=32, depth=2, num_heads=2),
    "cnn": CNNConfig(width=16, depth=2),
    "residual cnn": ResidualCNNConfig(width=16, depth=3),
    "residual cnn, one-hot": ResidualCNNConfig(width=16, depth=3, input="one-hot"),
    "u-net": UNetConfig(width=16, levels=2),
    "bert": small_config("bert", PROTEIN.tokens),
    "t5": small_config("t5", PROTEIN.tokens),
}


@pytest.mark.parametrize("name", BODIES)
def test_every_body_takes_shares_of_ids(name: str) -> None:
    torch.manual_seed(0)
    body = shake(BODIES[name].build())
    batch = pack(draw_sequences())
    inputs, shares = batch.inputs, torch.full((len(batch.inputs),), 0.7)
    with torch.inference_mode():
        alone = body(inputs, batch.boundaries)
        itself = body(mixture(inputs, inputs, shares, 33), batch.boundaries)
        mixed_in = body(mixture(inputs, (inputs + 5) % 24 + 4, shares, 33), batch.boundaries)
    torch.testing.assert_close(itself, alone, atol=1e-5, rtol=1e-4)
    assert (mixed_in - alone).abs().max() > 1e-3


def test_token_dropout_counts_the_shares_that_are_shown() -> None:
    torch.manual_seed(0)
    body = shake(TransformerConfig(width=32, depth=1, num_heads=2).build())
    inputs, boundaries = torch.tensor([0, 5, 6, 2]), torch.tensor([0, 4])
    shares = mixture(inputs, torch.tensor([0, 32, 6, 2]), torch.tensor([1.0, 0.25, 1.0, 1.0]), 33)
    with torch.inference_mode():
        found = body.hidden_states(shares, boundaries)[0]
        rows = body.embedding(inputs) * torch.tensor([1.0, 0.25, 1.0, 1.0])[:, None]
    torch.testing.assert_close(found, rows * 0.88 * 4 / 3.25)


def test_mixed_embeddings_are_not_rounded_by_autocast() -> None:
    embedding = TokenEmbedding(7, 5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        one_hot_rows = embedding(one_hot(torch.tensor([1, 6]), 7).float())
    assert torch.equal(one_hot_rows, embedding.weight[[1, 6]])


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
