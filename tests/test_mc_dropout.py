"""Answers with dropout on: those of a sequence alone, whatever stands beside it, and of the network when it is off."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from seqtrain.alphabet import PROTEIN
from seqtrain.errors import InputError
from seqtrain.inference import InferenceConfig, residue_outputs, sequence_outputs
from seqtrain.mc_dropout import check_noisy, noisy_modules, sampled_outputs
from seqtrain.models.aligned_head import AlignedHeadConfig
from seqtrain.models.cnn import CNNConfig
from seqtrain.models.ensemble import Ensemble
from seqtrain.models.gated_transformer import GatedTransformerConfig
from seqtrain.models.heads import PooledHeadConfig, PositionHeadConfig
from seqtrain.models.network import BodyConfig, Network, build
from seqtrain.models.residual_cnn import ResidualCNNConfig
from seqtrain.models.transformer import TransformerConfig
from seqtrain.models.unet import UNetConfig
from seqtrain.predict import Predictor
from seqtrain.tasks import Classification
from tests.corpora import examples_of, proteins, record_of

CPU = InferenceConfig(device=torch.device("cpu"))
BODIES: tuple[BodyConfig, ...] = (
    TransformerConfig(width=16, depth=2, num_heads=2, dropout=0.2),
    GatedTransformerConfig(width=16, depth=2, num_heads=2, dropout=0.2),
    CNNConfig(width=16, depth=2, dropout=0.2, stochastic_depth=0.3),
    UNetConfig(width=8, levels=1, dropout=0.2, drop_block=0.1),
    ResidualCNNConfig(width=8, depth=1, stages=1, shake_shake=True),
)
TEXTS = proteins([30, 12, 50, 7])


def network_of(body: BodyConfig, *, per_residue: bool = False) -> Network:
    torch.manual_seed(0)
    head = PositionHeadConfig(outputs=3, dropout=0.1) if per_residue else PooledHeadConfig(outputs=3, dropout=0.1)
    return build(body, head).eval()


def answers(network: Network, texts: list[str], *, per_residue: bool = False, window: int = 20) -> list[NDArray]:
    examples = examples_of(texts, window, per_residue=per_residue)
    return list(sampled_outputs(network, examples, CPU, 6))


@pytest.mark.parametrize("per_residue", [False, True])
@pytest.mark.parametrize("body", BODIES, ids=lambda body: type(body).__name__)
def test_neighbours_and_order_never_change_an_answer(body: BodyConfig, per_residue: bool) -> None:
    network = network_of(body, per_residue=per_residue)
    together = answers(network, TEXTS, per_residue=per_residue)
    backwards = answers(network, TEXTS[::-1], per_residue=per_residue)[::-1]
    for text, one, other in zip(TEXTS, together, backwards, strict=True):
        (alone,) = answers(network, [text], per_residue=per_residue)
        assert alone.shape == (6, len(text) if per_residue else 1, 3)
        np.testing.assert_array_equal(one, alone)
        np.testing.assert_array_equal(other, alone)
        assert (one.std(axis=0) > 0).all(), "every answer is another one"


@pytest.mark.parametrize("per_residue", [False, True])
def test_without_noise_the_answers_are_those_of_the_network(per_residue: bool) -> None:
    body = TransformerConfig(width=16, depth=2, num_heads=2)
    torch.manual_seed(0)
    head = PositionHeadConfig(outputs=3, dropout=0) if per_residue else PooledHeadConfig(outputs=3, dropout=0)
    network = build(body, head).eval()
    run = residue_outputs if per_residue else sequence_outputs
    expected = run(network, examples_of(TEXTS, 20), CPU)
    found = answers(network, TEXTS, per_residue=per_residue)
    for sample in range(6):
        got = np.concatenate([each[sample] for each in found])
        np.testing.assert_allclose(got, expected, atol=1e-5)
    with pytest.raises(InputError, match=r"runs/a: was trained without dropout.*--dropout 0.1.*--members"):
        check_noisy(network, "runs/a")


def test_windows_are_refused_where_positions_have_weights() -> None:
    network = build(BODIES[0], AlignedHeadConfig(outputs=2, length=60)).eval()
    whole, cut = examples_of(TEXTS, 60), examples_of(TEXTS, 20)
    assert sequence_outputs(network, whole, CPU).shape == (len(TEXTS), 2)
    for run in (sequence_outputs, lambda *given: list(sampled_outputs(*given, 2))):
        with pytest.raises(InputError, match=r"read in windows, and the aligned head of this run.*max-length"):
            run(network, cut, CPU)


def test_the_mean_of_many_answers_is_near_what_the_network_says() -> None:
    network = network_of(BODIES[0])
    examples = examples_of(TEXTS)
    expected = sequence_outputs(network, examples, CPU)
    found = np.concatenate([each.mean(axis=0) for each in sampled_outputs(network, examples, CPU, 400)])
    deviations = np.concatenate([each.std(axis=0) for each in sampled_outputs(network, examples, CPU, 400)])
    assert np.abs(found - expected).max() < 0.75 * deviations.mean()


def test_what_is_borrowed_is_given_back() -> None:
    network = network_of(BODIES[0])
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    for _ in sampled_outputs(network, examples_of(TEXTS), CPU, 2):
        assert not torch.is_inference_mode_enabled()
        assert not any(module.training for module in network.modules())
    assert torch.equal(torch.rand(3), expected)
    noisy = noisy_modules(network)
    assert noisy and all(module in list(network.modules()) for module in noisy)


def test_an_ensemble_answers_once_per_member() -> None:
    members = []
    for seed in range(3):
        torch.manual_seed(seed)
        members.append(build(TransformerConfig(width=16, depth=1, num_heads=2), PooledHeadConfig(outputs=3)).eval())
    predictor = Predictor(
        network=Ensemble(members),
        alphabet=PROTEIN,
        task=Classification(columns=("kind",), classes=("a", "b", "c")),
        max_length=20,
        config=CPU,
    )
    records = [record_of(text, f"r{i}") for i, text in enumerate([*TEXTS, ""])]
    found = list(predictor.answers(records))
    assert [record.identifier for record, _ in found] == ["r0", "r1", "r2", "r3", "r4"] and found[-1][1] is None
    for number, member in enumerate(members):
        alone = list(replace(predictor, network=member).outputs(records))
        for (_, many), (_, one) in zip(found[:-1], alone[:-1], strict=True):
            assert many is not None and one is not None and many.shape == (3, 1, 3)
            np.testing.assert_array_equal(many[number], one)
