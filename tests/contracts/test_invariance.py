"""In evaluation, the output for a sequence never depends on its neighbours, their order, or how long ones are cut."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from seqtrain.alphabet import PROTEIN
from seqtrain.batching import Examples
from seqtrain.encode import Tokens
from seqtrain.inference import InferenceConfig, Pooling, embeddings, residue_outputs, sequence_outputs
from seqtrain.io.records import Record
from seqtrain.io.store import SequenceStore
from seqtrain.mc_dropout import sampled_outputs
from seqtrain.models.aligned_head import AlignedHeadConfig
from seqtrain.models.cnn import CNNConfig
from seqtrain.models.gated_transformer import GatedTransformerConfig
from seqtrain.models.heads import PooledHeadConfig, PositionHeadConfig, SequenceHeadConfig
from seqtrain.models.imprinted_head import ImprintedHeadConfig
from seqtrain.models.light_attention import LightAttentionHeadConfig
from seqtrain.models.network import BodyConfig, build, language_model_head
from seqtrain.models.projection import ProjectionHeadConfig
from seqtrain.models.residual_cnn import ResidualCNNConfig
from seqtrain.models.transformer import TransformerConfig
from seqtrain.models.unet import UNetConfig
from seqtrain.score.language_model import LanguageModel, Query
from seqtrain.spans import Spans
from seqtrain.training import Precision
from tests.models.backbones import small_config

BODIES: list[BodyConfig] = [
    TransformerConfig(width=32, depth=2, num_heads=4, dropout=0.5),
    GatedTransformerConfig(width=32, depth=2, num_heads=4, dropout=0.5),
    CNNConfig(width=32, depth=3, dropout=0.5),
    ResidualCNNConfig(width=32, depth=3, norm="batch", dropout=0.5, drop_block=0.2, shake_drop=0.3, shake_shake=True),
    UNetConfig(width=32, levels=3, growth=1.5, dropout=0.5),
    small_config("bert", PROTEIN.tokens, dropout=0.5),
    small_config("t5", PROTEIN.tokens, dropout=0.5),
]
LENGTHS = (1, 2, 9, 40, 40, 77, 130)
MAX_LENGTH = 50
CONFIG = InferenceConfig(device=torch.device("cpu"))
BF16_BOUND = 0.02
"""Of the length of a vector; docs/embeddings.md states it. bf16 rounds by up to 0.004, layer after layer, and products
of matrices of other sizes may be summed in another order."""


def _sequences() -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(7)
    letters = np.frombuffer(b"ACDEFGHIKLMNPQRSTVWYXJ*-", dtype=np.uint8)
    return [rng.choice(letters, size=length) for length in LENGTHS]


def _examples(sequences: list[NDArray[np.uint8]], max_length: int = MAX_LENGTH) -> Examples:
    records = [Record(f"r{i}", letters, "", "") for i, letters in enumerate(sequences)]
    store = SequenceStore.in_memory(records, PROTEIN)
    spans = Spans.windows(np.arange(len(store)), store.lengths, max_length)
    return Examples(store=store, spans=spans, encoder=Tokens(PROTEIN))


@pytest.mark.parametrize("body", BODIES, ids=lambda body: type(body).__name__)
@pytest.mark.parametrize(
    "head",
    [
        PooledHeadConfig(outputs=3),
        LightAttentionHeadConfig(outputs=3),
        AlignedHeadConfig(outputs=3, length=max(LENGTHS)),
        ImprintedHeadConfig(outputs=3),
        PositionHeadConfig(outputs=3),
        ProjectionHeadConfig(projections=3, predictor_width=2),
    ],
    ids=["pooled", "light attention", "aligned", "imprinted", "residue", "projection"],
)
def test_batch_mates_and_order_never_change_an_output(
    body: BodyConfig, head: SequenceHeadConfig | PositionHeadConfig | ProjectionHeadConfig
) -> None:
    torch.manual_seed(1)
    network = build(body, head)
    per_residue = isinstance(head, PositionHeadConfig)
    run = residue_outputs if per_residue else sequence_outputs

    # Windows have other positions, for which this head has weights.
    longest = max(LENGTHS) if isinstance(head, AlignedHeadConfig) else MAX_LENGTH

    def outputs(sequences: list[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        examples = _examples(sequences, longest)
        values = run(network, examples, CONFIG)
        return np.split(values, examples.store.offsets[1:-1] if per_residue else np.arange(1, len(sequences)))

    sequences = _sequences()
    together = outputs(sequences)
    backwards = outputs(sequences[::-1])[::-1]
    alone = [outputs([sequence])[0] for sequence in sequences]
    for whole, back, single, length in zip(together, backwards, alone, LENGTHS, strict=True):
        assert len(whole) == (length if per_residue else 1)
        np.testing.assert_allclose(back, whole, atol=1e-5)
        np.testing.assert_allclose(single, whole, atol=1e-5)
    assert np.abs(together[0][0] - together[1][0]).max() > 1e-4, "different sequences must give different outputs"
    assert network.training, "the mode the network came in is given back"


@pytest.mark.parametrize("body", BODIES, ids=lambda body: type(body).__name__)
@pytest.mark.parametrize("pooling", ["none", "mean", "max"])
@pytest.mark.parametrize(("precision", "bound"), [("fp32", 1e-5), ("bf16", BF16_BOUND)])
def test_batch_mates_and_order_change_embeddings_within_a_bound(
    body: BodyConfig, pooling: Pooling, precision: Precision, bound: float
) -> None:
    torch.manual_seed(1)
    network = build(body, language_model_head(body))
    config = InferenceConfig(device=torch.device("cpu"), precision=precision)

    def vectors(sequences: list[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        examples = _examples(sequences)
        found = embeddings(network, examples, config, lambda b: network.body(b.inputs, b.boundaries), pooling)
        return np.split(found, examples.store.offsets[1:-1] if pooling == "none" else np.arange(1, len(sequences)))

    sequences = _sequences()
    together, backwards = vectors(sequences), vectors(sequences[::-1])[::-1]
    for index, sequence in enumerate(sequences):
        (alone,) = vectors([sequence])
        lengths = np.linalg.norm(alone, axis=1)
        assert alone.dtype == np.float32 and len(alone) == (len(sequence) if pooling == "none" else 1)
        for other in (together[index], backwards[index]):
            assert (np.linalg.norm(other - alone, axis=1) <= bound * lengths).all()
    first, second = together[0][0], together[1][0]
    assert np.linalg.norm(first - second) > 3 * bound * np.linalg.norm(first), "else the bound would say nothing"


@pytest.mark.parametrize(
    "head", [PooledHeadConfig(outputs=3), PositionHeadConfig(outputs=3)], ids=["pooled", "residue"]
)
@pytest.mark.parametrize("body", BODIES, ids=lambda body: type(body).__name__)
def test_batch_mates_and_order_never_change_an_answer_with_dropout_on(
    body: BodyConfig, head: SequenceHeadConfig
) -> None:
    torch.manual_seed(1)
    network = build(body, head).eval()

    def answers(sequences: list[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        examples = replace(_examples(sequences), per_residue=isinstance(head, PositionHeadConfig))
        return list(sampled_outputs(network, examples, CONFIG, 3))

    sequences = _sequences()
    together, backwards = answers(sequences), answers(sequences[::-1])[::-1]
    for index, sequence in enumerate(sequences):
        (alone,) = answers([sequence])
        np.testing.assert_array_equal(together[index], alone)
        np.testing.assert_array_equal(backwards[index], alone)
        assert (alone.std(axis=0) > 0).any(), "else nothing was drawn"


@pytest.mark.parametrize("body", BODIES, ids=lambda body: type(body).__name__)
def test_batch_mates_and_order_never_change_the_probability_of_a_letter(body: BodyConfig) -> None:
    torch.manual_seed(1)
    network = build(body, language_model_head(body))
    model = LanguageModel(network=network, alphabet=PROTEIN, max_length=MAX_LENGTH, config=CONFIG)
    queries = [
        Query(sequence.tobytes(), (0, len(sequence) // 2)[: len(sequence)], (len(sequence) // 2,))
        for sequence in _sequences()
    ]
    together = list(model(queries))
    for index, (other, backwards) in enumerate(zip(together, list(model(queries[::-1]))[::-1], strict=True)):
        (alone,) = model([queries[index]])
        np.testing.assert_allclose(other, alone, atol=1e-5)
        np.testing.assert_allclose(backwards, alone, atol=1e-5)
