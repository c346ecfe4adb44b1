"""Folders in the layout of ESM C: transformers in both directions, and everything that must be refused."""

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
from seqtrain.models.esmc import load_esmc
from seqtrain.models.gated_transformer import GatedTransformer, GatedTransformerConfig
from seqtrain.models.heads import LanguageModelHeadConfig, PositionHeadConfig
from seqtrain.models.network import HeadConfig, Network, build, language_model_head
from seqtrain.models.pretrained import load_body, load_network, save_network
from tests.models.packs import draw_sequences, pack, shake

CONFIG = GatedTransformerConfig(width=32, depth=2, num_heads=2, dropout=0.1)
SCALED = GatedTransformerConfig(width=32, depth=2, num_heads=2, branch_scale=1.0)
PADDED = GatedTransformerConfig(vocabulary_size=64, width=32, depth=2, num_heads=2, feedforward=100)


def _network(body: GatedTransformerConfig = CONFIG, head: HeadConfig | None = None) -> Network:
    torch.manual_seed(0)
    return shake(build(body, head or language_model_head(body)))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_network(_network(), tmp_path / "model", PROTEIN.tokens)
    return tmp_path / "model"


@pytest.fixture(scope="module")
def peer() -> Any:
    """A small EsmcForMaskedLM with random weights and the 64 rows of the published ones, in evaluation mode."""
    transformers = pytest.importorskip("transformers")
    if not hasattr(transformers, "EsmcForMaskedLM"):
        pytest.skip("this transformers has no ESM C")
    torch.manual_seed(0)
    config = transformers.EsmcConfig(
        hidden_size=48, num_attention_heads=4, num_hidden_layers=3, intermediate_size=100, dtype="float32"
    )
    return shake(transformers.EsmcForMaskedLM(config))


@torch.no_grad()
@pytest.mark.parametrize("options", [{}, {"max_shard_size": "40KB"}], ids=str)
def test_agrees_with_transformers(peer: Any, options: dict[str, Any], tmp_path: Path) -> None:
    peer.save_pretrained(tmp_path, **options)
    assert (tmp_path / "model.safetensors.index.json").exists() == ("max_shard_size" in options)
    network, tokens = load_network(tmp_path)
    assert tokens == PROTEIN.tokens
    sequences = draw_sequences()
    batch = pack(sequences)
    assert (batch.inputs == 32).any()
    ids = torch.nn.utils.rnn.pad_sequence(sequences, batch_first=True, padding_value=1)
    theirs = peer(input_ids=ids, attention_mask=(ids != 1).long(), output_hidden_states=True)
    real = ids != 1
    logits = network(batch)
    assert logits.shape == (len(batch.inputs), 64)
    torch.testing.assert_close(logits, theirs.logits[real], atol=1e-4, rtol=0)
    states = network.body.hidden_states(batch.inputs, batch.boundaries)
    assert len(states) == len(theirs.hidden_states) == 4
    for state, reference in zip(states, theirs.hidden_states, strict=True):
        torch.testing.assert_close(state, reference[real], atol=1e-4, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("config", [CONFIG, SCALED, PADDED], ids=["33 rows", "scaled", "64 rows"])
def test_transformers_reads_what_is_written(config: GatedTransformerConfig, peer: Any, tmp_path: Path) -> None:
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    network = _network(config)
    save_network(network, tmp_path, PROTEIN.tokens)
    theirs, info = AutoModelForMaskedLM.from_pretrained(tmp_path, output_loading_info=True)
    assert type(theirs) is type(peer)
    assert not any(info.values()), info
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    ids = tokenizer("MKTXUB<mask>ZOJ", return_tensors="pt")["input_ids"]
    expected = [PROTEIN.vocabulary.id(token) for token in ("<cls>", *"MKTXUB", "<mask>", *"ZO", "<unk>", "<eos>")]
    assert ids[0].tolist() == expected
    torch.testing.assert_close(network(pack([ids[0]])), theirs.eval()(ids).logits[0], atol=1e-4, rtol=0)


@torch.no_grad()
def test_transformers_reads_a_finetuned_body(peer: Any, tmp_path: Path) -> None:
    from transformers import AutoModel

    network = _network(head=PositionHeadConfig(outputs=3))
    save_network(network, tmp_path, PROTEIN.tokens)
    theirs, info = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert type(theirs) is type(peer.esmc)
    assert not any(info.values()), info
    ids = draw_sequences([30])[0]
    hidden = network.body(ids, torch.tensor([0, 30]))
    torch.testing.assert_close(hidden, theirs.eval()(ids[None]).last_hidden_state[0], atol=1e-4, rtol=0)


@torch.no_grad()
def test_reads_a_bare_body(peer: Any, tmp_path: Path) -> None:
    peer.esmc.save_pretrained(tmp_path)
    loaded = load_esmc(tmp_path)
    assert loaded.lm_head_state is None
    body = loaded.config.build().eval()
    body.load_state_dict(loaded.body_state)
    ids = draw_sequences([50])[0]
    expected = peer.esmc(ids[None]).last_hidden_state[0]
    torch.testing.assert_close(body(ids, torch.tensor([0, 50])), expected, atol=1e-4, rtol=0)


def test_the_vocabulary_of_their_tokenizer_is_checked(peer: Any, tmp_path: Path) -> None:
    from transformers import EsmcTokenizer

    peer.save_pretrained(tmp_path)
    EsmcTokenizer().save_pretrained(tmp_path)
    assert load_body(tmp_path, PROTEIN.tokens).tokens == PROTEIN.tokens
    theirs = EsmcTokenizer().get_vocab()
    assert [theirs.get(token) for token in PROTEIN.tokens] == [*range(31), None, 32]
    text = (tmp_path / "tokenizer.json").read_text()
    assert '"W": 22' in text
    (tmp_path / "tokenizer.json").write_text(text.replace('"W": 22', '"W": 31'))
    with pytest.raises(InputError, match=r"tokenizer\.json: 'W' is not token 22"):
        load_body(tmp_path)


def test_names_are_those_of_the_hub(saved: Path) -> None:
    # Listed from an EsmcForMaskedLM, so that they are checked where no transformers has one.
    layer = [
        *(f"self_attn.{part}.weight" for part in ("q_proj", "k_proj", "v_proj", "o_proj", "q_norm", "k_norm")),
        *(f"mlp.{part}_proj.weight" for part in ("gate", "up", "down")),
        *(f"{norm}.{kind}" for norm in ("input_layernorm", "post_attention_layernorm") for kind in ("weight", "bias")),
    ]
    assert set(load_file(saved / "model.safetensors")) == {
        *(f"esmc.layers.{i}.{name}" for i in range(2) for name in layer),
        "esmc.embed_tokens.weight",
        "esmc.norm.weight",
        *(f"lm_head.{part}.{kind}" for part in ("dense", "layer_norm", "decoder") for kind in ("weight", "bias")),
    }


@torch.no_grad()
@pytest.mark.parametrize("config", [CONFIG, PADDED], ids=["33 rows", "64 rows"])
@pytest.mark.parametrize("head", [None, PositionHeadConfig(outputs=4)], ids=["tokens", "residues"])
def test_a_reloaded_network_gives_the_same_bits(
    config: GatedTransformerConfig, head: HeadConfig | None, tmp_path: Path
) -> None:
    network = _network(config, head)
    save_network(network, tmp_path, PROTEIN.tokens)
    reloaded, tokens = load_network(tmp_path)
    assert tokens == PROTEIN.tokens
    assert reloaded.body.config == config
    batch = pack(draw_sequences())
    assert torch.equal(reloaded(batch), network(batch))
    assert torch.equal(reloaded.body.embedding.weight, network.body.embedding.weight)


@torch.no_grad()
def test_a_scale_of_our_own_goes_into_the_weights_and_comes_back(tmp_path: Path) -> None:
    network = _network(SCALED)
    save_network(network, tmp_path, PROTEIN.tokens)
    reloaded, _ = load_network(tmp_path)
    assert reloaded.body.config == SCALED
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(reloaded.state_dict()[name], tensor, atol=0, rtol=3e-7)
    _edit_config(tmp_path, seqtrain_branch_scale="gone")
    batch = pack(draw_sequences())
    torch.testing.assert_close(load_network(tmp_path)[0](batch), network(batch), atol=1e-5, rtol=1e-5)
    _edit_config(tmp_path, seqtrain_branch_scale=-1)
    with pytest.raises(InputError, match="added_scale is -1"):
        load_network(tmp_path)


@torch.no_grad()
def test_a_tied_head_goes_into_our_own_layout(tmp_path: Path) -> None:
    network = _network(head=LanguageModelHeadConfig(tied=True))
    save_network(network, tmp_path, PROTEIN.tokens)
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "seqtrain"
    reloaded, _ = load_network(tmp_path)
    batch = pack(draw_sequences())
    assert torch.equal(reloaded(batch), network(batch))


@torch.no_grad()
def test_other_alphabets_are_kept(tmp_path: Path) -> None:
    body = GatedTransformerConfig(vocabulary_size=len(DNA.tokens), width=16, depth=1, num_heads=1)
    network = _network(body)
    save_network(network, tmp_path, DNA.tokens)
    assert not (tmp_path / "tokenizer_config.json").exists()
    reloaded, tokens = load_network(tmp_path)
    assert tokens == DNA.tokens
    batch = pack(draw_sequences(vocabulary_size=len(DNA.tokens)))
    assert torch.equal(reloaded(batch), network(batch))
    with pytest.raises(InputError, match="22 tokens for a body with vocabulary_size 33"):
        save_network(_network(), tmp_path, DNA.tokens)
    with pytest.raises(InputError, match=r"vocab\.txt: line 5 is 'A' where this alphabet has 'L'"):
        load_body(tmp_path, PROTEIN.tokens)


def _edit_weights(folder: Path, edit: Callable[[dict[str, Tensor]], object]) -> None:
    tensors = load_file(folder / "model.safetensors")
    edit(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _edit_config(folder: Path, **changes: Any) -> None:
    settings = json.loads((folder / "config.json").read_text())
    settings.update(changes)
    (folder / "config.json").write_text(json.dumps({key: value for key, value in settings.items() if value != "gone"}))


WEIGHT_ERRORS: dict[str, tuple[Callable[[dict[str, Tensor]], object], str]] = {
    "missing": (lambda tensors: tensors.pop("esmc.layers.1.self_attn.q_norm.weight"), r"q_norm\.weight is missing"),
    "missing head": (lambda tensors: tensors.pop("lm_head.decoder.bias"), r"lm_head\.decoder\.bias is missing"),
    "surplus layer": (
        lambda tensors: tensors.update({"esmc.layers.2.mlp.up_proj.weight": torch.zeros(96, 32)}),
        r"layers\.2\.mlp\.up_proj\.weight is not in an ESM C encoder of 2 layers",
    ),
    "surplus head": (lambda tensors: tensors.update({"lm_head.other": torch.zeros(1)}), r"other not part|other is not"),
    "other shape": (
        lambda tensors: tensors.update({"esmc.norm.weight": torch.zeros(31)}),
        r"norm\.weight has shape \(31,\) where config\.json promises \(32,\)",
    ),
    "nan": (lambda tensors: tensors["esmc.norm.weight"][3].fill_(float("nan")), r"norm\.weight holds NaN"),
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
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu', but must be 'silu'; use an ESM C model"),
        ({"mlp_bias": True}, "mlp_bias is True"),
        ({"attention_bias": True}, "attention_bias is True"),
        ({"tie_word_embeddings": True}, "tie_word_embeddings is True"),
        ({"num_key_value_heads": 1}, "num_key_value_heads is 1, but must be 2"),
        ({"head_dim": 8}, "head_dim is 8, but must be 16"),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}}, "are not those of ESM C"),
        ({"hidden_size": "gone"}, "hidden_size is missing"),
        ({"hidden_size": "16"}, "width is '16'"),
        ({"vocab_size": 32}, "33 tokens where config.json promises 32"),
        ({"num_hidden_layers": 1}, "not in an ESM C encoder of 1 layers|more are not in"),
    ],
)
def test_unusable_configs_are_refused(changes: dict[str, Any], message: str, saved: Path) -> None:
    _edit_config(saved, **changes)
    with pytest.raises(InputError, match=message):
        load_network(saved)


def test_pickles_are_refused_unread(saved: Path, tmp_path: Path) -> None:
    (saved / "model.safetensors").unlink()
    marker = tmp_path / "marker"
    (saved / "pytorch_model.bin").write_bytes(b"cpathlib\nPath\n(V" + str(marker).encode() + b"\ntR.")
    with pytest.raises(InputError, match=r"pytorch_model\.bin: pickled weights can run code when read"):
        load_network(saved)
    assert not marker.exists()


def test_16_bit_weights_come_in_float32(saved: Path) -> None:
    _edit_weights(saved, lambda tensors: tensors.update({name: t.bfloat16() for name, t in tensors.items()}))
    loaded = load_esmc(saved)
    assert {tensor.dtype for tensor in loaded.body_state.values()} == {torch.float32}
    body = _network().body
    assert isinstance(body, GatedTransformer)
    assert torch.equal(loaded.body_state["embedding.weight"], body.embedding.weight.bfloat16().float())
