"""Folders: bit-equal reloads, transformers in both directions, and everything that must be refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from seqtrain.alphabet import DNA, PROTEIN
from seqtrain.errors import InputError
from seqtrain.models.aligned_head import AlignedHeadConfig
from seqtrain.models.cnn import CNNConfig
from seqtrain.models.heads import LanguageModelHeadConfig, PooledHeadConfig, PositionHeadConfig
from seqtrain.models.light_attention import LightAttentionHeadConfig
from seqtrain.models.network import BodyConfig, HeadConfig, Network, build
from seqtrain.models.pretrained import load_body, load_esm, load_network, save_network, start_network
from seqtrain.models.transformer import TransformerConfig
from seqtrain.models.unet import UNetConfig
from tests.models.packs import draw_sequences, pack, shake

TRANSFORMER = TransformerConfig(width=16, depth=2, num_heads=2, dropout=0.1)
CONVOLUTIONAL = CNNConfig(width=16, depth=3, dilations=(1, 2))
ENCODER_DECODER = UNetConfig(width=16, growth=1.5, norm="batch")
HEADS: list[HeadConfig] = [
    LanguageModelHeadConfig(),
    PooledHeadConfig(outputs=3, pooling="max"),
    LightAttentionHeadConfig(outputs=3),
    AlignedHeadConfig(outputs=2, length=1024),
    PositionHeadConfig(outputs=4),
]
BATCH = pack(draw_sequences())


def _network(body: BodyConfig = TRANSFORMER, head: HeadConfig = HEADS[0]) -> Network:
    torch.manual_seed(0)
    return shake(build(body, head))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_network(_network(), tmp_path / "model", PROTEIN.tokens)
    return tmp_path / "model"


@torch.no_grad()
@pytest.mark.parametrize(
    "body", [TRANSFORMER, CONVOLUTIONAL, ENCODER_DECODER], ids=lambda config: type(config).__name__
)
@pytest.mark.parametrize("head", HEADS, ids=lambda config: type(config).__name__)
def test_a_reloaded_network_gives_the_same_bits(body: BodyConfig, head: HeadConfig, tmp_path: Path) -> None:
    network = _network(body, head)
    save_network(network, tmp_path, PROTEIN.tokens)
    reloaded, tokens = load_network(tmp_path)
    assert tokens == PROTEIN.tokens
    assert (reloaded.body.config, reloaded.head.config) == (body, head)
    assert torch.equal(reloaded(BATCH), network(BATCH))
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in reloaded.state_dict().items())


@torch.no_grad()
def test_a_network_of_another_alphabet_reloads(tmp_path: Path) -> None:
    config = TransformerConfig.of_size("100K", vocabulary_size=len(DNA.tokens), mask_id=DNA.vocabulary.id("<mask>"))
    network = _network(config, LanguageModelHeadConfig(vocabulary_size=len(DNA.tokens)))
    save_network(network, tmp_path, DNA.tokens)
    reloaded, tokens = load_network(tmp_path)
    batch = pack(draw_sequences(vocabulary_size=len(DNA.tokens)))
    assert tokens == DNA.tokens
    assert torch.equal(reloaded(batch), network(batch))


def test_a_second_save_leaves_nothing_of_the_first(tmp_path: Path) -> None:
    save_network(_network(head=HEADS[1]), tmp_path, PROTEIN.tokens)
    save_network(_network(CONVOLUTIONAL), tmp_path, PROTEIN.tokens)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "config.json", "head.json", "model.safetensors", "vocab.txt",
    ]  # fmt: skip
    assert isinstance(load_network(tmp_path)[0].body.config, CNNConfig)


def test_a_loaded_network_may_be_saved_over_its_own_folder(saved: Path) -> None:
    before = load_file(saved / "model.safetensors")
    network, tokens = load_network(saved)
    save_network(network, saved, tokens)
    after = load_file(saved / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_tied_weights_are_written_once(saved: Path) -> None:
    names = load_file(saved / "model.safetensors").keys()
    assert "lm_head.decoder.weight" not in names
    assert "esm.embeddings.word_embeddings.weight" in names


def test_start_network_keeps_the_body_and_draws_a_new_head(saved: Path) -> None:
    loaded = load_body(saved, PROTEIN.tokens)
    states = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        states.append(start_network(loaded, PooledHeadConfig(outputs=2)).state_dict())
    original = _network().body.state_dict()
    assert all(torch.equal(states[0][f"body.{name}"], value) for name, value in original.items())
    assert torch.equal(states[0]["head.dense.weight"], states[1]["head.dense.weight"])
    assert not torch.equal(states[0]["head.dense.weight"], states[2]["head.dense.weight"])


@torch.no_grad()
def test_transformers_reads_what_is_written(saved: Path) -> None:
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    theirs, info = AutoModelForMaskedLM.from_pretrained(saved, output_loading_info=True)
    assert not any(info.values()), info
    tokenizer = AutoTokenizer.from_pretrained(saved)
    assert tokenizer.model_max_length == 1026
    ids = tokenizer("MKTXUB<mask>ZOJ", return_tensors="pt")["input_ids"]
    expected = [PROTEIN.vocabulary.id(token) for token in ("<cls>", *"MKTXUB", "<mask>", *"ZO", "<unk>", "<eos>")]
    assert ids[0].tolist() == expected
    torch.testing.assert_close(_network()(pack([ids[0]])), theirs.eval()(ids).logits[0], atol=1e-5, rtol=0)


@torch.no_grad()
def test_transformers_reads_a_finetuned_body(tmp_path: Path) -> None:
    from transformers import AutoModel

    network = _network(head=HEADS[1])
    save_network(network, tmp_path, PROTEIN.tokens)
    theirs, info = AutoModel.from_pretrained(tmp_path, output_loading_info=True, add_pooling_layer=False)
    assert not any(info.values()), info
    ids = draw_sequences([30])[0]
    hidden = network.body(ids, torch.tensor([0, 30]))
    torch.testing.assert_close(hidden, theirs.eval()(ids[None]).last_hidden_state[0], atol=1e-5, rtol=0)


def test_names_are_those_of_the_hub(saved: Path) -> None:
    # transformers 4 looks for exactly these; listed from facebook/esm2_t6_8M_UR50D, whose decoder and ids are optional.
    tensors = load_file(saved / "model.safetensors")
    layer = [
        *(f"attention.self.{part}.{kind}" for part in ("query", "key", "value") for kind in ("weight", "bias")),
        *(
            f"{part}.{kind}"
            for part in ("attention.output.dense", "attention.LayerNorm")
            for kind in ("weight", "bias")
        ),
        *(
            f"{part}.{kind}"
            for part in ("intermediate.dense", "output.dense", "LayerNorm")
            for kind in ("weight", "bias")
        ),
        "attention.self.rotary_embeddings.inv_freq",
    ]
    assert set(tensors) == {
        *(f"esm.encoder.layer.{i}.{name}" for i in range(2) for name in layer),
        *(f"esm.encoder.emb_layer_norm_after.{kind}" for kind in ("weight", "bias")),
        *(f"esm.contact_head.regression.{kind}" for kind in ("weight", "bias")),
        "esm.embeddings.word_embeddings.weight",
        *(f"lm_head.{name}" for name in ("bias", "dense.weight", "dense.bias", "layer_norm.weight", "layer_norm.bias")),
    }


@torch.no_grad()
@pytest.mark.parametrize("options", [{}, {"save_original_format": False}, {"max_shard_size": "40KB"}], ids=str)
def test_reads_what_transformers_writes(peer: Any, options: dict[str, Any], tmp_path: Path) -> None:
    peer.save_pretrained(tmp_path, **options)
    assert (tmp_path / "model.safetensors.index.json").exists() == ("max_shard_size" in options)
    (tmp_path / "vocab.txt").write_text("\n".join(PROTEIN.tokens))
    network, _ = load_network(tmp_path)
    ids = draw_sequences([50])[0]
    torch.testing.assert_close(network(pack([ids])), peer(ids[None]).logits[0], atol=1e-4, rtol=0)


@torch.no_grad()
def test_reads_a_bare_body(peer: Any, tmp_path: Path) -> None:
    peer.esm.save_pretrained(tmp_path)
    loaded = load_esm(tmp_path)
    assert loaded.lm_head_state is None
    assert loaded.tokens is None
    body = loaded.config.build().eval()
    body.load_state_dict(loaded.body_state)
    ids = draw_sequences([50])[0]
    expected = peer.esm(ids[None]).last_hidden_state[0]
    torch.testing.assert_close(body(ids, torch.tensor([0, 50])), expected, atol=1e-4, rtol=0)


def _edit_weights(folder: Path, edit: Callable[[dict[str, Tensor]], object]) -> None:
    tensors = load_file(folder / "model.safetensors")
    edit(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _edit_config(folder: Path, **changes: Any) -> None:
    settings = json.loads((folder / "config.json").read_text())
    settings.update(changes)
    (folder / "config.json").write_text(json.dumps({key: value for key, value in settings.items() if value != "gone"}))


def test_16_bit_weights_come_in_float32(saved: Path) -> None:
    _edit_weights(saved, lambda tensors: tensors.update({name: t.bfloat16() for name, t in tensors.items()}))
    loaded = load_esm(saved)
    assert {tensor.dtype for tensor in loaded.body_state.values()} == {torch.float32}
    expected = _network().body.state_dict()["layers.0.query.weight"].bfloat16().float()
    assert torch.equal(loaded.body_state["layers.0.query.weight"], expected)


def test_rounded_frequencies_are_kept(saved: Path) -> None:
    name = "esm.encoder.layer.{}.attention.self.rotary_embeddings.inv_freq"
    rounded = torch.tensor([1.0, 0.1, 0.01, 0.001]).half()
    _edit_weights(saved, lambda tensors: tensors.update({name.format(i): rounded.clone() for i in range(2)}))
    assert torch.equal(load_esm(saved).body_state["rotary.inv_freq"], rounded.float())


LAYER = "esm.encoder.layer.1."
WEIGHT_ERRORS: dict[str, tuple[Callable[[dict[str, Tensor]], object], str]] = {
    "missing layer": (
        lambda tensors: [tensors.pop(name) for name in list(tensors) if name.startswith(LAYER)],
        r"encoder\.layer\.1\.attention\.LayerNorm\.weight and 15 more are missing",
    ),
    "missing head": (lambda tensors: tensors.pop("lm_head.bias"), r"lm_head\.bias is missing"),
    "surplus layer": (
        lambda tensors: tensors.update({"esm.encoder.layer.2.output.dense.bias": torch.zeros(16)}),
        r"encoder\.layer\.2\.output\.dense\.bias is not in an ESM-2 encoder of 2 layers",
    ),
    "other shape": (
        lambda tensors: tensors.update({f"{LAYER}output.dense.bias": torch.zeros(17)}),
        r"encoder\.layer\.1\.output\.dense\.bias has shape \(17,\) where config\.json promises \(16,\)",
    ),
    "nan": (
        lambda tensors: tensors[f"{LAYER}output.dense.bias"][3].fill_(float("nan")),
        r"output\.dense\.bias holds NaN",
    ),
    "infinite": (lambda tensors: tensors["lm_head.bias"].fill_(float("inf")), r"lm_head\.bias holds NaN or infinite"),
}


@pytest.mark.parametrize("case", WEIGHT_ERRORS)
def test_unusable_weights_are_refused(case: str, saved: Path) -> None:
    edit, message = WEIGHT_ERRORS[case]
    _edit_weights(saved, edit)
    with pytest.raises(InputError, match=message) as caught:
        load_network(saved)
    assert "\n" not in str(caught.value)
    assert str(saved) in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"auto_map": {"AutoModel": "code.Model"}}, "auto_map would change which code runs"),
        ({"_attn_implementation_internal": "evil/kernel"}, "_attn_implementation_internal would change"),
        ({"model_type": "gpt2"}, "model_type is 'gpt2'; only 'esm' can be read"),
        ({"model_type": "gone"}, "model_type is None"),
        ({"position_embedding_type": "absolute"}, "position_embedding_type is 'absolute', but must be 'rotary'"),
        ({"position_embedding_type": "gone"}, "position_embedding_type is None"),
        ({"emb_layer_norm_before": True}, "emb_layer_norm_before is True"),
        ({"rope_theta": 500000.0}, "rope_theta is 500000.0"),
        ({"rope_parameters": {"rope_type": "yarn"}}, "are not those of ESM-2"),
        ({"hidden_size": "gone"}, "hidden_size is missing"),
        ({"hidden_size": "16"}, "width is '16'"),
        ({"num_attention_heads": 3}, "does not give 3 heads"),
        ({"vocab_size": 34}, "33 tokens where config.json promises 34"),
        ({"num_hidden_layers": 1}, "is not in an ESM-2 encoder of 1 layers|more are not in"),
    ],
)
def test_unusable_configs_are_refused(changes: dict[str, Any], message: str, saved: Path) -> None:
    _edit_config(saved, **changes)
    with pytest.raises(InputError, match=message):
        load_network(saved)


def test_harmless_config_keys_are_taken(saved: Path) -> None:
    _edit_config(saved, _name_or_path="facebook/esm2_t6_8M_UR50D", transformers_version="4.25.0")
    load_network(saved)


def test_another_vocabulary_is_refused(saved: Path) -> None:
    with pytest.raises(InputError, match=r"vocab\.txt: line 5 is 'L' where this alphabet has 'A'"):
        load_body(saved, DNA.tokens)
    (saved / "vocab.txt").unlink()
    with pytest.raises(InputError, match=r"config\.json: 33 tokens where this alphabet has 22"):
        load_body(saved, DNA.tokens)
    with pytest.raises(InputError, match=r"no vocab\.txt"):
        load_network(saved)


def test_saving_with_the_tokens_of_another_alphabet_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="22 tokens for a body with vocabulary_size 33"):
        save_network(_network(), tmp_path, DNA.tokens)


def test_pickles_are_refused_unread(saved: Path, tmp_path: Path) -> None:
    (saved / "model.safetensors").unlink()
    marker = tmp_path / "marker"
    (saved / "pytorch_model.bin").write_bytes(b"cpathlib\nPath\n(V" + str(marker).encode() + b"\ntR.")
    with pytest.raises(InputError, match=r"pytorch_model\.bin: pickled weights can run code when read"):
        load_network(saved)
    assert not marker.exists()


def test_damaged_files_are_refused(saved: Path) -> None:
    whole = (saved / "model.safetensors").read_bytes()
    (saved / "model.safetensors").write_bytes(whole[:-10])
    with pytest.raises(InputError, match="not readable as safetensors"):
        load_network(saved)
    (saved / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"no model\.safetensors"):
        load_network(saved)
    (saved / "config.json").write_text("[1, 2]")
    with pytest.raises(InputError, match="holds a JSON list"):
        load_network(saved)
    (saved / "config.json").write_text("{")
    with pytest.raises(InputError, match="not readable as JSON"):
        load_network(saved)
    (saved / "config.json").unlink()
    with pytest.raises(InputError, match=r"config\.json: no such file"):
        load_network(saved)
    with pytest.raises(InputError, match="no such folder"):
        load_network(saved / "elsewhere")


@pytest.mark.parametrize(
    ("weight_map", "message"),
    [
        ({"a": "../elsewhere.safetensors"}, "is not the name of a safetensors file in this folder"),
        ({"a": "absent.safetensors"}, r"absent\.safetensors: no such file"),
        ({"absent": "shard.safetensors"}, "promises absent, which its files lack"),
        ([], "has no weight_map"),
    ],
)
def test_wrong_shard_lists_are_refused(weight_map: object, message: str, saved: Path) -> None:
    (saved / "model.safetensors").rename(saved / "shard.safetensors")
    (saved / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(InputError, match=message):
        load_network(saved)


def test_a_body_without_head_is_not_a_network(saved: Path, tmp_path: Path) -> None:
    save_network(_network(head=HEADS[1]), saved, PROTEIN.tokens)
    (saved / "head.safetensors").unlink()
    with pytest.raises(InputError, match=r"head\.safetensors: no such file"):
        load_network(saved)
    (saved / "head.json").unlink()
    with pytest.raises(InputError, match="holds a body without a head"):
        load_network(saved)


def test_unusable_folders_of_our_own_layout_are_refused(tmp_path: Path) -> None:
    save_network(_network(CONVOLUTIONAL), tmp_path, PROTEIN.tokens)
    _edit_weights(tmp_path, lambda tensors: tensors.pop("body.blocks.1.up.bias"))
    with pytest.raises(InputError, match=r"blocks\.1\.up\.bias is missing"):
        load_network(tmp_path)
    _edit_weights(tmp_path, lambda tensors: tensors.update({"stray": torch.zeros(1)}))
    with pytest.raises(InputError, match="stray is neither body nor lm_head"):
        load_network(tmp_path)
    _edit_config(tmp_path, body={"kind": "RNNConfig"})
    with pytest.raises(InputError, match="kind is 'RNNConfig'; choose one of TransformerConfig, CNNConfig"):
        load_network(tmp_path)
