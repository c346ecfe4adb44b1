"""Scores against transformers run by hand and against a network whose logits are known; batches, order and windows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from seqtrain.alphabet import DNA, PROTEIN
from seqtrain.batch import Batch
from seqtrain.errors import InputError
from seqtrain.inference import InferenceConfig
from seqtrain.models.cnn import CNNConfig
from seqtrain.models.heads import LanguageModelHead, LanguageModelHeadConfig
from seqtrain.models.network import BodyConfig, build, language_model_head
from seqtrain.models.pretrained import save_body
from seqtrain.models.transformer import TransformerConfig
from seqtrain.score.language_model import LanguageModel, Query, load_language_model
from seqtrain.score.methods import (
    MaskedMarginal,
    Method,
    PseudoLogLikelihood,
    Scorer,
    WildTypeMarginal,
    window_start,
)
from seqtrain.score.mutations import Notation, Variant, singles
from tests.corpora import proteins
from tests.models.packs import shake

BODY = TransformerConfig(width=16, depth=2, num_heads=2)
NOTATION = Notation(alphabet=PROTEIN)
WILD = proteins([31])[0]
CPU = InferenceConfig(device=torch.device("cpu"))
METHODS: list[Method] = [MaskedMarginal(), WildTypeMarginal(), PseudoLogLikelihood()]
IDS = torch.from_numpy(PROTEIN.vocabulary.lookup[PROTEIN.standard_letters].astype(np.int64))


def model_of(body: BodyConfig = BODY, max_length: int = 1000) -> LanguageModel:
    torch.manual_seed(0)
    network = shake(build(body, language_model_head(body)))
    return LanguageModel(network=network, alphabet=PROTEIN, max_length=max_length, config=CPU)


def variants(*texts: str, wild_type: str = WILD) -> list[Variant]:
    return [NOTATION.placed(NOTATION.parse(text), "W", wild_type.encode(), 0) for text in texts]


def changed(*positions: int, wild_type: str = WILD) -> str:
    """A text that replaces the letters at positions (from 1) by W, or by Y where W stands."""
    return ":".join(f"{wild_type[i - 1]}{i}{'Y' if wild_type[i - 1] == 'W' else 'W'}" for i in positions)


TEXTS = ["WT", changed(1), changed(31), changed(7), changed(8, 9, 20), changed(2, 31)]
INDELS = [f"{WILD[3]}4del", f"{WILD[9]}10_{WILD[10]}11insGPW", f"{WILD[0]}1_{WILD[4]}5delinsMK"]


def scores_of(model: LanguageModel, method: Method, texts: list[str], wild_type: str = WILD) -> NDArray[np.float64]:
    return np.array(list(Scorer(model, method)(variants(*texts, wild_type=wild_type))))


class Peer:
    """EsmForMaskedLM on the weights of a model, one sequence at a time."""

    def __init__(self, model: LanguageModel, folder: Path) -> None:
        from transformers import EsmForMaskedLM

        head = model.network.head
        assert isinstance(head, LanguageModelHead)
        save_body(folder, model.network.body, head, PROTEIN.tokens)
        self.network = EsmForMaskedLM.from_pretrained(folder, dtype=torch.float32).eval()

    def rows(self, text: str, masked: list[int]) -> torch.Tensor:
        """ln p over the 20 residues at every position of a text, some of them (from 0) masked."""
        ids = [PROTEIN.vocabulary.id(letter) for letter in text]
        for place in masked:
            ids[place] = PROTEIN.vocabulary.id("<mask>")
        with torch.no_grad():
            logits = self.network(input_ids=torch.tensor([[0, *ids, 2]])).logits[0, 1:-1]
        return logits[:, IDS].double().log_softmax(1)

    def likelihood(self, text: str) -> float:
        return sum(float(self.rows(text, [i])[i, PROTEIN.standard.index(letter)]) for i, letter in enumerate(text))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[LanguageModel, Peer]:
    model = model_of()
    return model, Peer(model, tmp_path_factory.mktemp("peer"))


@pytest.mark.parametrize("masking", [True, False])
def test_marginals_are_those_of_transformers(pair: tuple[LanguageModel, Peer], masking: bool) -> None:
    model, peer = pair
    expected = []
    for each in variants(*TEXTS):
        pairs = each.substitutions or ()
        rows = peer.rows(WILD, [position for position, _ in pairs] if masking else [])
        terms = [
            rows[position, PROTEIN.standard.index(chr(letter))] - rows[position, PROTEIN.standard.index(WILD[position])]
            for position, letter in pairs
        ]
        expected.append(float(sum(terms)))
    found = scores_of(model, MaskedMarginal() if masking else WildTypeMarginal(), TEXTS)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.abs(found[1:]).min() > 1e-3


def test_pseudo_log_likelihoods_are_those_of_transformers(pair: tuple[LanguageModel, Peer]) -> None:
    model, peer = pair
    texts = ["WT", TEXTS[4], *INDELS]
    base = peer.likelihood(WILD)
    expected = [peer.likelihood(each.sequence.decode()) - base for each in variants(*texts)]
    np.testing.assert_allclose(scores_of(model, PseudoLogLikelihood(), texts), expected, atol=1e-4)
    assert abs(expected[2]) > 1


class Neighbours(nn.Module):
    """Logits that are the sum of a row for the token on the left and one for that on the right."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.left, self.right = torch.randn(2, 33, 33, generator=generator)
        self.num_tokens: list[int] = []

    def forward(self, batch: Batch) -> torch.Tensor:
        assert batch.decode is not None and bool((batch.decode.diff() > 0).all())
        self.num_tokens.append(len(batch.inputs))
        return self.left[batch.inputs[batch.decode - 1]] + self.right[batch.inputs[batch.decode + 1]]


def known_model(max_length: int = 1000) -> LanguageModel:
    network = Neighbours()
    return LanguageModel(network=network, alphabet=PROTEIN, max_length=max_length, config=CPU)  # type: ignore[arg-type]


def known_rows(tokens: list[str]) -> torch.Tensor:
    """ln p at each position of a list of tokens, by hand."""
    network = Neighbours()
    ids = torch.tensor([PROTEIN.vocabulary.id(token) for token in ["<cls>", *tokens, "<eos>"]])
    return (network.left[ids[:-2]] + network.right[ids[2:]])[:, IDS].double().log_softmax(1)


def test_marginals_in_closed_form() -> None:
    # Neighbours are masked together, so that neither sees the letter of the wild type beside it.
    (double,) = variants("M1K:K2A", wild_type="MKVH")
    model = known_model()
    expected = {}
    for method, tokens in ((MaskedMarginal(), ["<mask>", "<mask>", "V", "H"]), (WildTypeMarginal(), list("MKVH"))):
        rows = known_rows(tokens)
        terms = [rows[i, PROTEIN.standard.index(n)] - rows[i, PROTEIN.standard.index(o)] for i, n, o in
                 ((0, "K", "M"), (1, "A", "K"))]  # fmt: skip
        expected[type(method)] = float(sum(terms))
        assert list(Scorer(model, method)([double])) == pytest.approx([expected[type(method)]], abs=1e-6)
    assert expected[MaskedMarginal] != pytest.approx(expected[WildTypeMarginal])


def test_pseudo_log_likelihood_in_closed_form() -> None:
    def likelihood(text: str) -> float:
        rows = known_rows(list(text))  # masking a position does not change its neighbours
        return sum(float(rows[i, PROTEIN.standard.index(letter)]) for i, letter in enumerate(text))

    texts = ["A3del", "A3_V4insGG", "M1W"]
    found = scores_of(known_model(), PseudoLogLikelihood(), texts, wild_type="MKAVH")
    expected = [likelihood(other) - likelihood("MKAVH") for other in ("MKVH", "MKAGGVH", "WKAVH")]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_odd_letters_of_the_wild_type_count_nothing() -> None:
    def likelihood(text: str) -> float:
        rows = known_rows(list(text))
        return sum(float(rows[i, PROTEIN.standard.index(letter)]) for i, letter in enumerate(text) if letter != "X")

    found = scores_of(known_model(), PseudoLogLikelihood(), ["M1W"], wild_type="MXAVH")
    np.testing.assert_allclose(found, [likelihood("WXAVH") - likelihood("MXAVH")], atol=1e-6)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: type(method).__name__)
@pytest.mark.parametrize("body", [BODY, CNNConfig(width=16, depth=2)], ids=lambda body: type(body).__name__)
def test_neither_batches_nor_order_nor_company_change_a_score(body: BodyConfig, method: Method) -> None:
    model = model_of(body)
    texts = [*TEXTS, TEXTS[1], *(INDELS if method.takes_indels else [])]
    together = scores_of(model, method, texts)
    np.testing.assert_allclose(scores_of(model, method, texts[::-1])[::-1], together, atol=1e-5)
    np.testing.assert_allclose([scores_of(model, method, [text])[0] for text in texts], together, atol=1e-5)
    assert together[0] == 0 and together[1] == together[6]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: type(method).__name__)
def test_a_protein_that_fits_is_scored_whole(method: Method) -> None:
    found = [scores_of(model_of(max_length=length), method, TEXTS) for length in (31, 32, 5000)]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_windows_stand_around_their_position() -> None:
    model = known_model(max_length=8)
    long = proteins([50], seed=3)[0]
    notation = changed(1, 25, 27, 50, wild_type=long)
    (variant,) = variants(notation, wild_type=long)
    queries = MaskedMarginal().queries(variant, 8)
    assert [query.letters.decode() for query in queries] == [long[:8], long[20:28], long[22:30], long[42:]]
    assert [query.asked for query in queries] == [(0,), (4,), (4,), (7,)]
    # The third sees that the second is masked, as both stand in its window.
    assert [query.masked for query in queries] == [(0,), (4, 6), (2, 4), (7,)]
    terms = [scores_of(model, MaskedMarginal(), [part], wild_type=long)[0] for part in notation.split(":")]
    assert scores_of(model, MaskedMarginal(), [notation], wild_type=long)[0] == pytest.approx(sum(terms), abs=1e-9)


def test_every_position_is_answered_by_the_window_around_it() -> None:
    long, size = proteins([23], seed=3)[0], 7
    for each in singles(long.encode(), PROTEIN):
        ((position, _),) = each.substitutions or ()
        (wild_type_query,) = WildTypeMarginal().queries(each, size)
        (masked_query,) = MaskedMarginal().queries(each, size)
        assert wild_type_query.letters == masked_query.letters and len(masked_query.letters) == size
        place = position - window_start(23, position, size)
        assert masked_query.asked == masked_query.masked == (place,) and place in wild_type_query.asked
        assert place == 3 or window_start(23, position, size) in (0, 16)
    # Where nothing is long, windows say what the whole protein does.
    whole = scores_of(known_model(), WildTypeMarginal(), [changed(9, wild_type=long)], long)
    np.testing.assert_allclose(
        scores_of(known_model(size), WildTypeMarginal(), [changed(9, wild_type=long)], long), whole, atol=1e-9
    )


def test_what_is_the_same_is_asked_once_and_batches_keep_to_their_budget() -> None:
    model = known_model()
    everything = [each for each in singles(WILD.encode(), PROTEIN) for _ in range(2)]
    assert len(list(Scorer(model, MaskedMarginal())(everything))) == 2 * 19 * 31
    network = model.network
    assert isinstance(network, Neighbours)
    assert sum(network.num_tokens) == 31 * 33  # a pass per position, not per variant
    assert max(network.num_tokens) <= CPU.tokens_per_batch
    assert len(network.num_tokens) == 1
    network.num_tokens.clear()
    scorer = Scorer(model, WildTypeMarginal())
    list(scorer(everything))
    list(scorer(everything))
    assert network.num_tokens == [33]


def test_memory_does_not_grow_with_the_variants(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqtrain.score.methods._KEPT", 40)
    monkeypatch.setattr("seqtrain.score.methods._AHEAD", 10)
    model, read = known_model(), 0
    long = proteins([200], seed=5)[0]

    def counted() -> Iterator[Variant]:
        nonlocal read
        for each in singles(long.encode(), PROTEIN):
            read += 1
            yield each

    scorer = Scorer(model, MaskedMarginal())
    found = scorer(counted())
    next(found)
    assert read <= 19 * 10
    assert len(list(found)) == 19 * 200 - 1 and len(scorer._known) <= 50
    expected = list(Scorer(known_model(), MaskedMarginal())(singles(long.encode(), PROTEIN)))
    again = list(Scorer(known_model(), MaskedMarginal())(singles(long.encode(), PROTEIN)))
    assert expected == again


def test_insertions_and_deletions_have_no_marginal() -> None:
    assert np.isnan(scores_of(known_model(), MaskedMarginal(), INDELS)).all()
    assert np.isnan(scores_of(known_model(), WildTypeMarginal(), INDELS)).all()


def test_a_network_comes_back_as_it_was() -> None:
    model = model_of(replace(BODY, dropout=0.5))
    model.network.train()
    first = scores_of(model, MaskedMarginal(), TEXTS)
    assert model.network.training
    np.testing.assert_array_equal(first, scores_of(model, MaskedMarginal(), TEXTS))
    list(model([Query(b"MKV", (0,), (0, 2))]))
    assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()


def test_nucleotides_are_scored_alike() -> None:
    body = replace(BODY, vocabulary_size=len(DNA.tokens), mask_id=DNA.vocabulary.id("<mask>"))
    network = shake(build(body, LanguageModelHeadConfig(vocabulary_size=len(DNA.tokens))))
    model = LanguageModel(network=network, alphabet=DNA, max_length=100, config=CPU)
    (answer,) = model([Query(b"ACGTAC", (2,), (2, 3))])
    assert answer.shape == (2, 4)
    np.testing.assert_allclose(np.exp(answer).sum(1), 1)


def test_a_folder_without_a_language_model_head_is_refused(tmp_path: Path) -> None:
    network = model_of().network
    save_body(tmp_path / "bare", network.body, None, PROTEIN.tokens)
    with pytest.raises(InputError, match="hold no language model head; save the model with it"):
        load_language_model(tmp_path / "bare")
    assert isinstance(network.head, LanguageModelHead)
    save_body(tmp_path / "whole", network.body, network.head, PROTEIN.tokens)
    assert load_language_model(tmp_path / "whole").max_length == 1022
