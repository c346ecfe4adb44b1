"""How a step is cut into microbatches never changes its gradient, its loss or its measures (dropout off)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from seqtrain.alphabet import PROTEIN
from seqtrain.batch import Batch
from seqtrain.batching import Examples, microbatches, steps_from
from seqtrain.draws import Draws
from seqtrain.encode import Tokens
from seqtrain.features import FeatureExamples
from seqtrain.io.records import Record
from seqtrain.io.store import SequenceStore
from seqtrain.losses import BinaryCrossEntropy, CrossEntropy, Dice, MeanSquaredError
from seqtrain.models.backbone import BackboneConfig
from seqtrain.models.cnn import CNNConfig
from seqtrain.models.decoder_head import DecoderHeadConfig
from seqtrain.models.gated_transformer import GatedTransformerConfig
from seqtrain.models.heads import LanguageModelHeadConfig, PooledHeadConfig, PositionHeadConfig
from seqtrain.models.imprinted_head import ImprintedHeadConfig
from seqtrain.models.light_attention import LightAttentionHeadConfig
from seqtrain.models.network import BodyConfig, HeadConfig, Network, build, language_model_head
from seqtrain.models.projection import ProjectionHead, ProjectionHeadConfig
from seqtrain.models.residual_cnn import ResidualCNNConfig
from seqtrain.models.spectral import normalise_layers
from seqtrain.models.transformer import TransformerConfig
from seqtrain.models.unet import UNetConfig
from seqtrain.objectives import (
    NNCLR,
    Distillation,
    MaskedAutoencoder,
    MaskedLM,
    Objective,
    Pretext,
    Score,
    SimCLR,
    SimSiam,
    SpanMasking,
    Supervised,
)
from seqtrain.objectives.distillation import Teacher
from seqtrain.objectives.similarity import SimilarityDistillation
from seqtrain.optimizers import AdamW
from seqtrain.recipes.contrast import with_support_of
from seqtrain.schedules import WarmupCosine
from seqtrain.spans import Spans
from seqtrain.training import LoopConfig, StepReport, train_steps
from tests.models.backbones import small_config

RNG = np.random.default_rng(3)
LENGTHS = RNG.integers(3, 60, size=24)
LETTERS = RNG.choice(np.frombuffer(b"ACDEFGHIKLMNPQRSTVWYX", dtype=np.uint8), size=int(LENGTHS.sum()))


@dataclass(frozen=True)
class Ranking:
    """Logistic loss on all pairs of a step, which no sum over records is."""

    separable = False

    def prepare(self, batch: Batch, draws: Draws) -> Batch:
        return batch

    def score(self, outputs: torch.Tensor, batch: Batch) -> Score:
        assert batch.targets is not None and batch.weights is not None
        differences = outputs - outputs.T
        above = (batch.targets > batch.targets.T) * batch.weights[:, None]
        return Score((torch.nn.functional.softplus(-differences) * above).sum(), above.sum())


def _teacher(head: HeadConfig) -> Teacher:
    """A network of its own, in evaluation mode."""
    torch.manual_seed(1)
    network = build(CNNConfig(width=32, depth=2, dropout=0.5), head).eval()

    def said(batch: Batch) -> torch.Tensor:
        outputs: torch.Tensor = 20 * network(batch)
        return outputs

    return said


def _pretext() -> Pretext:
    objective = Pretext(PROTEIN, motifs=("A-C", "N-{P}-[ST]"))
    return objective.fitted(torch.rand(10, objective.outputs, generator=torch.Generator().manual_seed(0)))


CASES: dict[str, tuple[Objective, HeadConfig, np.ndarray | None, bool]] = {
    "masked_lm": (MaskedLM(PROTEIN), LanguageModelHeadConfig(vocabulary_size=33), None, False),
    "changing share": (
        MaskedLM(PROTEIN, 0.5, final_fraction=0.1, num_steps=10), LanguageModelHeadConfig(vocabulary_size=33), None,
        False,
    ),
    "span masking": (SpanMasking(PROTEIN), LanguageModelHeadConfig(vocabulary_size=33), None, False),
    "masked autoencoder": (MaskedAutoencoder(PROTEIN), DecoderHeadConfig(width=16, num_heads=2), None, False),
    "pretext": (_pretext(), PooledHeadConfig(outputs=_pretext().outputs, dropout=0.0), None, False),
    "regression": (
        Supervised(MeanSquaredError()),
        PooledHeadConfig(outputs=2, dropout=0.0),
        np.where(RNG.random((24, 2)) < 0.2, np.nan, RNG.normal(size=(24, 2))).astype(np.float32),
        False,
    ),
    "classification": (
        Supervised(CrossEntropy()), PooledHeadConfig(outputs=3, dropout=0.0), RNG.integers(0, 3, 24), False,
    ),
    "light attention": (
        Supervised(CrossEntropy()), LightAttentionHeadConfig(outputs=3, dropout=0.0), RNG.integers(0, 3, 24), False,
    ),
    "imprinted": (Supervised(CrossEntropy()), ImprintedHeadConfig(outputs=3), RNG.integers(0, 3, 24), False),
    "multilabel": (
        Supervised(BinaryCrossEntropy()),
        PooledHeadConfig(outputs=4, dropout=0.0),
        RNG.integers(0, 2, (24, 4)).astype(np.float32),
        False,
    ),
    "distillation": (
        Distillation(
            teacher=_teacher(PositionHeadConfig(outputs=3, dropout=0.5)), supervised=Supervised(CrossEntropy()),
        ),
        PositionHeadConfig(outputs=3, dropout=0.0),
        np.where(RNG.random(len(LETTERS)) < 0.3, -100, RNG.integers(0, 3, len(LETTERS))),
        True,
    ),
    "distillation beside a loss that is no sum": (
        Distillation(
            teacher=_teacher(PooledHeadConfig(outputs=3, dropout=0.5)), supervised=Supervised(Dice()),
            hard_fraction=0.3,
        ),
        PooledHeadConfig(outputs=3, dropout=0.0),
        np.where(RNG.random(24) < 0.3, -100, RNG.integers(0, 3, 24)),
        False,
    ),
    "similarities": (
        SimilarityDistillation(
            teacher=_teacher(ProjectionHeadConfig(projections=11)), weight=10.0, projections=(8, 8),
            distillation=Distillation(teacher=_teacher(PooledHeadConfig(outputs=3)), supervised=Supervised(Dice())),
        ),
        ProjectionHeadConfig(projections=11),
        np.where(RNG.random(24) < 0.3, -100, RNG.integers(0, 3, 24)),
        False,
    ),
    "ranking": (
        Ranking(),
        PooledHeadConfig(outputs=1, dropout=0.0),
        RNG.normal(size=(24, 1)).astype(np.float32),
        False,
    ),
    "residue": (
        Supervised(CrossEntropy()),
        PositionHeadConfig(outputs=3, dropout=0.0),
        np.where(RNG.random(len(LETTERS)) < 0.3, -100, RNG.integers(0, 3, len(LETTERS))),
        True,
    ),
    "sim-clr": (SimCLR(alphabet=PROTEIN, temperature=0.5), ProjectionHeadConfig(projections=8), None, False),
    "nnclr": (
        NNCLR(alphabet=PROTEIN, temperature=0.5),
        ProjectionHeadConfig(projections=8, predictor_width=4, support_size=50),
        None,
        False,
    ),
    "sim-siam": (SimSiam(alphabet=PROTEIN), ProjectionHeadConfig(projections=8, predictor_width=4), None, False),
}  # fmt: skip
BODIES: list[BodyConfig] = [
    TransformerConfig(width=32, depth=2, num_heads=4),
    GatedTransformerConfig(width=32, depth=2, num_heads=4),
    CNNConfig(width=32, depth=2),
    ResidualCNNConfig(width=32, depth=2, stages=2, norm="group"),
    UNetConfig(width=32),
    small_config("bert", PROTEIN.tokens),
]


def _one_step(body: BodyConfig, case: str, tokens_per_microbatch: int) -> tuple[list[torch.Tensor], StepReport, int]:
    objective, head, targets, per_residue = CASES[case]
    splits = np.split(LETTERS, np.cumsum(LENGTHS)[:-1])
    store = SequenceStore.in_memory([Record(f"r{i}", part, "", "") for i, part in enumerate(splits)], PROTEIN)
    examples = Examples(
        store=store,
        spans=Spans.windows(np.arange(24), store.lengths, 40),
        encoder=Tokens(PROTEIN),
        targets=targets,
        per_residue=per_residue,
        weights=np.linspace(0.5, 2, 24).astype(np.float32) if targets is not None else None,
        num_views=getattr(objective, "num_views", 1),
        seed=5,
    )
    torch.manual_seed(0)
    network = build(body, language_model_head(body) if isinstance(head, LanguageModelHeadConfig) else head)
    if isinstance(objective, NNCLR):
        assert isinstance(network.head, ProjectionHead) and network.head.support is not None
        network.head.support.write(torch.randn(40, 8), torch.arange(40))  # of records in the step, and of others
        objective = with_support_of(objective, network)
    step = next(steps_from(examples, 700, 0, 5))
    batches = list(microbatches(step, examples, tokens_per_microbatch))
    optimizer = AdamW(learning_rate=1e-3).build(network)
    schedule = WarmupCosine(num_steps=10)
    config = LoopConfig(device=torch.device("cpu"), regularizers=())
    report = next(iter(train_steps(network, objective, [batches], optimizer, schedule, config)))
    return [p.grad for p in network.parameters() if p.grad is not None], report, len(batches)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("body", BODIES, ids=lambda body: type(body).__name__)
def test_microbatches_never_change_a_step(body: BodyConfig, case: str) -> None:
    if case == "masked autoencoder" and not isinstance(body, TransformerConfig | GatedTransformerConfig):
        pytest.skip("hides letters from the body, which others cannot do without")
    if case == "nnclr" and isinstance(body, BackboneConfig):
        pytest.skip("fresh BERTs project all sequences so alike that all find one neighbour, and nothing is asked")
    whole, report, count = _one_step(body, case, 100_000)
    assert count == 1 and report.gradient_norm > 1e-6
    for tokens in (300, 60):
        parts, other, count = _one_step(body, case, tokens)
        assert count > 1
        assert other.count == pytest.approx(report.count)
        assert other.loss == pytest.approx(report.loss, rel=1e-5, abs=1e-6)
        for gradient, expected in zip(parts, whole, strict=True):
            torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-6 * max(1.0, report.gradient_norm))


@pytest.mark.parametrize("loss", [CrossEntropy(), Dice()], ids=lambda loss: type(loss).__name__)
def test_microbatches_never_change_a_step_on_features(loss: CrossEntropy | Dice) -> None:
    splits = np.split(LETTERS, np.cumsum(LENGTHS)[:-1])
    store = SequenceStore.in_memory([Record(f"r{i}", part, "", "") for i, part in enumerate(splits)], PROTEIN)
    spans = Spans.windows(np.arange(24), store.lengths, 40)
    plain = Examples(store=store, spans=spans, encoder=Tokens(PROTEIN), targets=np.arange(24) % 3, seed=5)
    rows = np.random.default_rng(4).normal(size=(len(spans) + 6, 16)).astype(np.float32)
    examples = FeatureExamples.of(plain, rows[:-6]).with_points(np.arange(2, 24), rows[-6:], np.arange(6) % 3)
    found = []
    for tokens in (100_000, 300, 60):
        torch.manual_seed(0)
        network = build(CNNConfig(width=16, depth=1), PooledHeadConfig(outputs=3, pooling="mean", dropout=0.0))
        batches = list(microbatches(next(steps_from(examples, 700, 0, 5)), examples, tokens))
        optimizer, schedule = AdamW(learning_rate=1e-3).build(network), WarmupCosine(num_steps=10)
        config = LoopConfig(device=torch.device("cpu"), regularizers=())
        report = next(iter(train_steps(network, Supervised(loss), [batches], optimizer, schedule, config)))
        found.append((report, [p.grad for p in network.parameters() if p.grad is not None], len(batches)))
    (whole, expected, _), *parts = found
    assert whole.gradient_norm > 1e-6
    for report, gradients, count in parts:
        assert count > 1 and report.loss == pytest.approx(whole.loss, rel=1e-5)
        for one, other in zip(gradients, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("case", ["masked_lm", "ranking"])
def test_microbatches_never_change_a_step_of_normalised_layers(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = build

    def normalised(body: BodyConfig, head: HeadConfig) -> Network:
        network = plain(body, head)
        normalise_layers(network, 1.0)
        return network

    unlike = _one_step(BODIES[2], case, 100_000)[0]
    monkeypatch.setitem(globals(), "build", normalised)
    test_microbatches_never_change_a_step(BODIES[2], case)
    assert not torch.equal(unlike[3], _one_step(BODIES[2], case, 100_000)[0][3])
