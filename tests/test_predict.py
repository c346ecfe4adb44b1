"""Embedding with a network: any layers, pooled over residues alone, the same from texts, records, runs and folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqtrain.alphabet import PROTEIN
from seqtrain.errors import InputError
from seqtrain.inference import InferenceConfig
from seqtrain.models.heads import LanguageModelHeadConfig
from seqtrain.models.network import BodyConfig, build, language_model_head
from seqtrain.models.pretrained import save_esm
from seqtrain.models.transformer import Transformer, TransformerConfig
from seqtrain.models.unet import UNetConfig
from seqtrain.predict import Predictor
from tests.corpora import proteins, record_of
from tests.models.packs import shake

BODY = TransformerConfig(width=16, depth=3, num_heads=2)
TEXTS = ["MKVLAX", "A", *proteins([40, 23])]


def predictor_of(body: BodyConfig = BODY, max_length: int = 1000) -> Predictor:
    torch.manual_seed(0)
    network = shake(build(body, language_model_head(body)))
    config = InferenceConfig(device=torch.device("cpu"))
    return Predictor(network=network, alphabet=PROTEIN, task=None, max_length=max_length, config=config)


def states_of(predictor: Predictor, text: str) -> list[Tensor]:
    """Of the residues of one sequence, at every layer, without windows and batches."""
    ids = [0, *(PROTEIN.vocabulary.id(letter) for letter in text), 2]
    with torch.no_grad():
        states = predictor.network.body.hidden_states(torch.tensor(ids), torch.tensor([0, len(ids)]))
    return [state[1:-1] for state in states]


@pytest.mark.parametrize(("asked", "meant"), [((-1,), [3]), ((0,), [0]), ((-2,), [2]), ((1, -4, 3), [1, 0, 3])])
@pytest.mark.parametrize("body", [BODY, UNetConfig(width=8, levels=1)], ids=lambda body: type(body).__name__)
def test_layers_are_those_of_the_network(body: BodyConfig, asked: tuple[int, ...], meant: list[int]) -> None:
    predictor = predictor_of(body)
    depth = body.depth
    found = predictor.embed_texts(TEXTS, layers=asked, pooling="none")
    for text, rows in zip(TEXTS, found, strict=True):
        states = states_of(predictor, text)
        wanted = [states[layer % (depth + 1)] for layer in asked]
        if depth == 3:
            assert [layer % 4 for layer in asked] == meant
        np.testing.assert_allclose(rows, torch.cat(wanted, dim=1), atol=1e-6)


def test_layers_above_the_highest_are_not_computed() -> None:
    predictor = predictor_of()
    body = predictor.network.body
    assert isinstance(body, Transformer)
    expected = predictor.embed_texts(TEXTS, layers=[1])
    for layer in list(body.layers)[1:]:
        layer.register_forward_pre_hook(lambda *_: pytest.fail("a layer that nobody wanted was computed"))
    np.testing.assert_array_equal(expected, predictor.embed_texts(TEXTS, layers=[1]))


@pytest.mark.parametrize(("pooling", "over"), [("mean", np.mean), ("max", np.max)])
def test_pooled_is_over_residues_alone(pooling: str, over: Callable[..., NDArray[np.float32]]) -> None:
    predictor = predictor_of()
    found = predictor.embed_texts(TEXTS, pooling=pooling)  # type: ignore[arg-type]
    for text, vector in zip(TEXTS, found, strict=True):
        np.testing.assert_allclose(vector, over(states_of(predictor, text)[-1].numpy(), axis=0), atol=1e-6)


@pytest.mark.parametrize(("pooling", "over"), [("mean", np.mean), ("max", np.max)])
def test_pooled_over_windows_is_what_the_residues_give(pooling: str, over: Callable[..., NDArray[np.float32]]) -> None:
    predictor = predictor_of(max_length=11)
    vectors = predictor.embed_texts(TEXTS, pooling=pooling)  # type: ignore[arg-type]
    residues = predictor.embed_texts(TEXTS, pooling="none")
    assert [len(rows) for rows in residues] == [len(text) for text in TEXTS]
    np.testing.assert_allclose(vectors, [over(rows, axis=0) for rows in residues], atol=1e-6)


def test_records_and_texts_give_the_same_and_empty_ones_stay_visible() -> None:
    predictor = predictor_of()
    records = [record_of(text) for text in ["MKV", "", "AC"]]
    found = [vectors for _, vectors in predictor.embed(records)]
    assert found[1] is None
    texts = predictor.embed_texts(["MKV", "", "AC"])
    np.testing.assert_array_equal(texts[0], np.ravel(np.asarray(found[0])))
    assert np.isnan(texts[1]).all() and texts[1].shape == (16,)
    assert predictor.embed_texts(["", "A"], pooling="none")[0].shape == (0, 16)
    assert predictor.embed_texts([]) == []


@pytest.mark.parametrize(
    ("layers", "words"), [((4,), "--layer 4: .* 0 to 3"), ((-5,), "--layer -5"), ((3, -1), "twice"), ((), "at least")]
)
def test_layers_that_are_not_there(layers: tuple[int, ...], words: str) -> None:
    with pytest.raises(InputError, match=words):
        predictor_of().embed_texts(["A"], layers=layers)


def test_a_folder_with_nothing_but_a_model(tmp_path: Path) -> None:
    """Against transformers, which reads the same folder."""
    from transformers import EsmModel

    torch.manual_seed(0)
    network = shake(build(BODY, LanguageModelHeadConfig()))
    assert isinstance(network.body, Transformer)
    save_esm(tmp_path, network.body, None, PROTEIN.tokens)
    predictor = Predictor.load(tmp_path, device="cpu")
    assert (predictor.max_length, predictor.task, predictor.alphabet) == (1022, None, PROTEIN)
    peer = EsmModel.from_pretrained(tmp_path, add_pooling_layer=False, dtype=torch.float32).eval()
    for text, vector in zip(TEXTS, predictor.embed_texts(TEXTS), strict=True):
        ids = torch.tensor([[0, *(PROTEIN.vocabulary.id(letter) for letter in text), 2]])
        with torch.no_grad():
            expected = peer(input_ids=ids).last_hidden_state[0, 1:-1].mean(0)
        np.testing.assert_allclose(vector, expected, atol=1e-5)


def test_a_folder_with_neither_a_run_nor_a_model(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a run directory"):
        Predictor.load(tmp_path)
    with pytest.raises(InputError, match="no such run directory"):
        Predictor.load(tmp_path / "none")
