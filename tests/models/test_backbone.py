"""BERT and T5 against transformers run by hand, one sequence at a time."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from seqtrain.alphabet import PROTEIN
from seqtrain.batch import Batch
from seqtrain.encode import Tokens
from seqtrain.errors import InputError
from seqtrain.letters import PackedLetters
from seqtrain.models import backbone
from seqtrain.models.backbone import Backbone, Rectangles
from seqtrain.models.embedding import mixture
from seqtrain.models.heads import LanguageModelHead, PooledHeadConfig, PositionHeadConfig
from seqtrain.models.network import Network
from seqtrain.models.pieces import read_pieces
from seqtrain.models.pretrained import load_body, load_network, save_network, start_network
from tests.models.backbones import (
    PROTBERT,
    PROTT5,
    as_tokenizer_json,
    bert_input,
    sentence_pieces,
    t5_input,
    write_bert,
    write_t5,
)
from tests.models.packs import shake

LENGTHS = [1, 2, 3, 10, 10, 57, 58, 9, 100, 10, 31]
TOLERANCE = 1e-4
INPUTS = {"bert": bert_input, "t5": t5_input}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Any]]:
    """A folder of each family and its encoder in transformers; read only."""
    place = tmp_path_factory.mktemp("backbones")
    masked = write_bert(place / "bert")
    return {
        "bert": (place / "bert", masked.bert),
        "t5": (place / "t5", write_t5(place / "t5", feed_forward_proj="gated-gelu")),
    }


def sequences() -> list[str]:
    rng = np.random.default_rng(3)
    return ["".join(rng.choice(list("ACDEFGHIKLMNPQRSTVWYXUZOBJ*-."), size=length)) for length in LENGTHS]


def packed(texts: list[str]) -> Batch:
    letters = PackedLetters.from_sequences([np.frombuffer(text.encode(), np.uint8) for text in texts])
    encoded = Tokens(PROTEIN)(letters)
    real = encoded.source >= 0
    shown = np.where(real, letters.letters[encoded.source], 0).astype(np.uint8)
    return Batch(
        inputs=torch.from_numpy(encoded.inputs),
        boundaries=torch.from_numpy(encoded.boundaries),
        letters=torch.from_numpy(shown),
        records=torch.arange(len(texts)),
        keys=torch.zeros(len(texts), dtype=torch.int64),
    )


def body_of(folder: Path) -> Backbone:
    body = start_network(load_body(folder, PROTEIN.tokens), PositionHeadConfig(outputs=1)).body.eval()
    assert isinstance(body, Backbone)
    return body


@pytest.mark.parametrize("family", ["bert", "t5"])
@pytest.mark.parametrize("largest", [8192, 60], ids=["whole", "cut"])
def test_hidden_states_equal_those_of_transformers(
    family: str, largest: int, folders: dict[str, tuple[Path, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(backbone.LARGEST_RECTANGLE, "cpu", largest)
    folder, peer = folders[family]
    body = body_of(folder)
    texts = sequences()
    batch = packed(texts)
    hidden = body(batch.inputs, batch.boundaries)
    states = body.hidden_states(batch.inputs, batch.boundaries)
    assert len(states) == body.config.depth + 1 == 4
    torch.testing.assert_close(states[-1], hidden)
    for index, text in enumerate(texts):
        with torch.no_grad():
            expected = peer(INPUTS[family](text), output_hidden_states=True).hidden_states
        own = slice(int(batch.boundaries[index]), int(batch.boundaries[index + 1]))
        for ours, theirs in zip(states, expected, strict=True):
            ours = ours[own]
            if family == "t5":
                assert not ours[0].any(), "T5 has no start token"
                ours = ours[1:]
            torch.testing.assert_close(ours, theirs[0], atol=TOLERANCE, rtol=0)
    assert len(body.hidden_states(batch.inputs, batch.boundaries, 1)) == 2
    assert hidden[batch.residues].shape[0] == sum(LENGTHS)


@pytest.mark.parametrize("family", ["bert", "t5"])
def test_positions_asked_for_mixtures_and_rectangles_agree(family: str, folders: dict[str, tuple[Path, Any]]) -> None:
    body = body_of(folders[family][0])
    batch = packed(sequences())
    whole = body(batch.inputs, batch.boundaries)
    wanted = torch.tensor([0, 4, 5, 40, len(batch.inputs) - 1])
    torch.testing.assert_close(body(batch.inputs, batch.boundaries, wanted), whole[wanted])
    ones = torch.ones(len(batch.inputs))
    shares = mixture(batch.inputs, batch.inputs.flip(0), ones, len(PROTEIN.tokens))
    torch.testing.assert_close(body(shares, batch.boundaries), whole, atol=1e-5, rtol=0)
    lengths = batch.boundaries.diff()
    real = torch.arange(int(lengths.max())) < lengths[:, None]
    inputs = torch.ones(real.shape, dtype=torch.int64)
    inputs[real] = batch.inputs
    rectangle = body.compute(inputs.flatten(), body.plan_rectangle(real))
    torch.testing.assert_close(rectangle[real.flatten()], whole, atol=1e-5, rtol=0)


def test_rectangles_hold_every_position_once_and_stay_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(backbone.LARGEST_RECTANGLE, "cpu", 8192)
    lengths = [500, 3, 3000, 480, 2, 9000, 470, 2900, 3, 8192]
    boundaries = torch.tensor([0, *np.cumsum(lengths).tolist()])
    for has_start in (True, False):
        plan = Rectangles.of(boundaries, None, has_start=has_start)
        skipped = set() if has_start else set(boundaries[:-1].tolist())
        assert sorted(plan.positions.tolist()) == [i for i in range(sum(lengths)) if i not in skipped]
        for member in plan.members:
            rows, longest = member.index.shape
            assert rows == 1 or rows * longest <= 8192
            if member.real is not None:
                assert int(member.real.sum(1).min()) >= backbone.LEAST_FILLED * longest
    assert len(Rectangles.of(boundaries, None, has_start=True).members) == 6


def test_masked_lm_scores_are_those_of_transformers(tmp_path: Path) -> None:
    peer = write_bert(tmp_path)
    loaded = load_body(tmp_path, PROTEIN.tokens)
    network = start_network(loaded, loaded.lm_head_config).eval()
    texts = sequences()
    batch = packed(texts)
    logits = network(batch)
    assert logits.shape == (len(batch.inputs), len(PROTEIN.tokens))
    for index, text in enumerate(texts):
        with torch.no_grad():
            expected = peer(bert_input(text)).logits[0]
        own = logits[int(batch.boundaries[index]) : int(batch.boundaries[index + 1])]
        for ours, token in enumerate(PROTEIN.tokens):
            name = {"<cls>": "[CLS]", "<pad>": "[PAD]", "<eos>": "[SEP]", "<unk>": "[UNK]", "<mask>": "[MASK]"}.get(
                token, token
            )
            if name in PROTBERT:
                theirs = expected[:, PROTBERT.index(name)]
                torch.testing.assert_close(own[:, ours], theirs, atol=TOLERANCE, rtol=0)
            else:
                assert (own[:, ours] < -1000).all(), f"{token} has no counterpart"


def test_masked_lm_goes_round_and_transformers_reads_it(tmp_path: Path) -> None:
    from transformers import AutoModelForMaskedLM, AutoTokenizer, BertForMaskedLM

    write_bert(tmp_path / "theirs")
    loaded = load_body(tmp_path / "theirs", PROTEIN.tokens)
    network = shake(start_network(loaded, loaded.lm_head_config), seed=8)
    save_network(network, tmp_path / "ours", PROTEIN.tokens)
    again, tokens = load_network(tmp_path / "ours")
    assert tokens == PROTEIN.tokens
    batch = packed(sequences())
    expected = network.eval()(batch)
    known = [token in PROTBERT for token in PROTEIN.tokens]
    torch.testing.assert_close(again(batch)[:, known], expected[:, known], atol=0, rtol=0)
    theirs, problems = BertForMaskedLM.from_pretrained(tmp_path / "ours", output_loading_info=True, dtype=torch.float32)
    assert not problems["missing_keys"] and not problems["unexpected_keys"] and not problems["mismatched_keys"]
    assert isinstance(AutoModelForMaskedLM.from_pretrained(tmp_path / "ours"), BertForMaskedLM)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "ours")
    ids = tokenizer(" ".join("MKTXL"), return_tensors="pt").input_ids
    assert ids.tolist() == bert_input("MKTXL").tolist()
    text = sequences()[5]
    with torch.no_grad():
        logits = theirs.eval()(bert_input(text)).logits[0]
    own = slice(int(batch.boundaries[5]), int(batch.boundaries[6]))
    column = PROTEIN.tokens.index("W")
    torch.testing.assert_close(expected[own, column], logits[:, PROTBERT.index("W")], atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("family", ["bert", "t5"])
def test_network_of_labels_goes_round_and_transformers_reads_its_body(
    family: str, folders: dict[str, tuple[Path, Any]], tmp_path: Path
) -> None:
    from transformers import AutoTokenizer, BertModel, T5EncoderModel

    loaded = load_body(folders[family][0], PROTEIN.tokens)
    network = shake(start_network(loaded, PooledHeadConfig(outputs=2)), seed=8)
    save_network(network, tmp_path, PROTEIN.tokens)
    batch = packed(sequences())
    again, _ = load_network(tmp_path)
    torch.testing.assert_close(again(batch), network(batch), atol=0, rtol=0)
    reader: Any = BertModel if family == "bert" else T5EncoderModel
    theirs, problems = reader.from_pretrained(tmp_path, output_loading_info=True, dtype=torch.float32)
    assert set(problems["missing_keys"]) <= {"pooler.dense.weight", "pooler.dense.bias"}
    assert not problems["unexpected_keys"] and not problems["mismatched_keys"]
    text = sequences()[5]
    with torch.no_grad():
        expected = theirs.eval()(INPUTS[family](text)).last_hidden_state[0]
    own = network.body(batch.inputs, batch.boundaries)[int(batch.boundaries[5]) : int(batch.boundaries[6])]
    torch.testing.assert_close(own[1:] if family == "t5" else own, expected, atol=TOLERANCE, rtol=0)
    if family == "bert":
        assert AutoTokenizer.from_pretrained(tmp_path)("M K").input_ids == bert_input("MK")[0].tolist()
    else:
        assert (tmp_path / "spiece.model").read_bytes() == sentence_pieces(PROTT5)


def test_encoder_of_a_whole_t5_is_taken(tmp_path: Path) -> None:
    peer = write_t5(tmp_path, whole=True)
    body = body_of(tmp_path)
    batch = packed(["MKTAYW"])
    with torch.no_grad():
        expected = peer(t5_input("MKTAYW")).last_hidden_state[0]
    torch.testing.assert_close(body(batch.inputs, batch.boundaries)[1:], expected, atol=TOLERANCE, rtol=0)
    names = {name for name, _ in body.named_parameters()}
    assert not [name for name in names if "decoder" in name or "lm_head" in name]


def test_every_weight_is_trained_once_and_in_the_right_group(folders: dict[str, tuple[Path, Any]]) -> None:
    for family in ("bert", "t5"):
        loaded = load_body(folders[family][0], PROTEIN.tokens)
        network = start_network(loaded, PooledHeadConfig(outputs=2))
        network(packed(sequences())).square().sum().backward()
        without = [name for name, parameter in network.named_parameters() if parameter.grad is None]
        assert without == []
        assert len({parameter.data_ptr() for parameter in network.parameters()}) == len(list(network.parameters()))
        assert "body.embedding.weight" in dict(network.named_parameters())


def test_nothing_is_kept_outside_of_the_weights(folders: dict[str, tuple[Path, Any]]) -> None:
    """The buffers of BERT are left out of its files, so a model built without weights and then filled has none."""
    for family in ("bert", "t5"):
        body = body_of(folders[family][0])
        assert [name for name, _ in body.named_buffers()] == []
        assert not any(parameter.is_meta for parameter in body.parameters())


def test_vocabularies_in_each_file_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "spiece.model").write_bytes(sentence_pieces(PROTT5))
    assert list(read_pieces(tmp_path).tokens) == PROTT5
    for scored, tokens in ((True, PROTT5), (False, PROTBERT)):
        folder = tmp_path / str(scored)
        folder.mkdir()
        (folder / "tokenizer.json").write_text(as_tokenizer_json(tokens, scored=scored))
        assert list(read_pieces(folder).tokens) == tokens
    long = [f"piece{'x' * 200}{index}" for index in range(3)]
    inner = [b"\x0a" + bytes([len(p) % 128 + 128, len(p) // 128]) + p.encode() for p in long]
    (tmp_path / "spiece.model").write_bytes(
        b"".join(b"\x0a" + bytes([len(i) % 128 + 128, len(i) // 128]) + i for i in inner)
    )
    assert list(read_pieces(tmp_path).tokens) == long


def _changed(path: Path, **values: Any) -> None:
    settings = json.loads(path.read_text())
    path.write_text(json.dumps({**settings, **values}))


def _reweighted(folder: Path, change: Any) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


REFUSALS: dict[str, tuple[str, Any, str]] = {
    "missing": (
        "bert",
        lambda f: _reweighted(f, lambda t: t.pop("bert.encoder.layer.1.output.dense.weight")),
        "missing",
    ),
    "surplus": ("bert", lambda f: _reweighted(f, lambda t: t.update(odd=torch.zeros(1))), "odd is not part"),
    "missing of T5": ("t5", lambda f: _reweighted(f, lambda t: t.pop("encoder.final_layer_norm.weight")), "missing"),
    "shape": ("t5", lambda f: _changed(f / "config.json", d_ff=44), "has shape"),
    "another layer": ("bert", lambda f: _changed(f / "config.json", num_hidden_layers=4), "missing from the weights"),
    "code": ("bert", lambda f: _changed(f / "config.json", auto_map={"AutoModel": "x.Y"}), "auto_map"),
    "kernel": ("bert", lambda f: _changed(f / "config.json", _attn_implementation_internal="odd/kernel"), "which code"),
    "decoder": ("bert", lambda f: _changed(f / "config.json", is_decoder=True), "is_decoder"),
    "positions": (
        "bert",
        lambda f: _changed(f / "config.json", position_embedding_type="relative_key"),
        "relative_key",
    ),
    "no number": ("bert", lambda f: _changed(f / "config.json", hidden_size="24"), "width is '24'"),
    "no such activation": ("bert", lambda f: _changed(f / "config.json", hidden_act="odd"), "transformers builds no"),
    "heads": ("bert", lambda f: _changed(f / "config.json", num_attention_heads=5), "transformers builds no"),
    "no vocabulary": ("t5", lambda f: (f / "spiece.model").unlink(), "has none of vocab.txt"),
    "damaged vocabulary": ("t5", lambda f: (f / "spiece.model").write_bytes(b"\x0a\xff\xff"), "not readable"),
    "cut vocabulary": ("t5", lambda f: (f / "spiece.model").write_bytes(sentence_pieces(PROTT5)[:100]), "not readable"),
    "English": ("bert", lambda f: (f / "vocab.txt").write_text("\n".join([*PROTBERT[:5], "the"])), "no token for LAGV"),
    "too many tokens": ("bert", lambda f: (f / "vocab.txt").write_text("\n".join([*PROTBERT, "one"])), "31 tokens"),
    "no special tokens": ("bert", lambda f: (f / "vocab.txt").write_text("\n".join(PROTBERT[5:])), "[CLS]"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_damaged_and_foreign_folders_are_refused(
    case: str, folders: dict[str, tuple[Path, Any]], tmp_path: Path
) -> None:
    family, damage, words = REFUSALS[case]
    shutil.copytree(folders[family][0], tmp_path / "copy")
    damage(tmp_path / "copy")
    with pytest.raises(InputError) as error:
        load_body(tmp_path / "copy", PROTEIN.tokens)
    assert words in str(error.value) and "\n" not in str(error.value)
    assert str(tmp_path / "copy") in str(error.value)


def test_pickled_weights_are_refused(folders: dict[str, tuple[Path, Any]], tmp_path: Path) -> None:
    shutil.copytree(folders["bert"][0], tmp_path / "copy")
    (tmp_path / "copy/model.safetensors").rename(tmp_path / "copy/pytorch_model.bin")
    with pytest.raises(InputError, match="pickled weights can run code"):
        load_body(tmp_path / "copy", PROTEIN.tokens)


def test_settings_that_choose_other_code_are_not_looked_at(
    folders: dict[str, tuple[Path, Any]], tmp_path: Path
) -> None:
    shutil.copytree(folders["bert"][0], tmp_path / "copy")
    _changed(tmp_path / "copy/config.json", attn_implementation="odd/kernel")
    config = body_of(tmp_path / "copy").config
    assert "odd" not in config.settings


def test_longer_sequences_than_bert_has_positions_are_refused(folders: dict[str, tuple[Path, Any]]) -> None:
    body = body_of(folders["bert"][0])
    batch = packed(["A" * 139])
    with pytest.raises(InputError, match="--max-length 138"):
        body(batch.inputs, batch.boundaries)
    batch = packed(["A" * 138])
    assert len(body(batch.inputs, batch.boundaries)) == 140


def test_a_published_folder_predicts_no_labels_by_itself(folders: dict[str, tuple[Path, Any]]) -> None:
    with pytest.raises(InputError, match="finetune it first"):
        load_network(folders["t5"][0])


def test_t5_has_no_head_of_masked_letters(folders: dict[str, tuple[Path, Any]]) -> None:
    loaded = load_body(folders["t5"][0], PROTEIN.tokens)
    assert loaded.lm_head_state is None and not loaded.lm_head_config.tied
    assert start_network(loaded, loaded.lm_head_config).body.token_embedding is None


def test_head_is_ours(folders: dict[str, tuple[Path, Any]]) -> None:
    loaded = load_body(folders["bert"][0], PROTEIN.tokens)
    network = start_network(loaded, loaded.lm_head_config)
    assert isinstance(network, Network) and isinstance(network.head, LanguageModelHead)
