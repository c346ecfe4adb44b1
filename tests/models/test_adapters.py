"""Low-rank adapters: against peft and transformers, merged and kept, on every kind of body."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from seqtrain.alphabet import PROTEIN
from seqtrain.errors import InputError
from seqtrain.models.adapter_folder import Adapter, Base, save_adapter
from seqtrain.models.adapters import Lora, attach, merge, product
from seqtrain.models.cnn import CNNConfig
from seqtrain.models.gated_transformer import GatedTransformerConfig
from seqtrain.models.heads import PooledHeadConfig, PositionHeadConfig
from seqtrain.models.network import BodyConfig, Network, build
from seqtrain.models.pretrained import load_body, load_network, save_network, start_network
from seqtrain.models.transformer import TransformerConfig
from seqtrain.models.unet import UNetConfig
from seqtrain.models.weights import weights_digest
from seqtrain.optimizers import AdamW
from tests.models.backbones import bert_input, t5_input, write_bert, write_t5
from tests.models.packs import draw_sequences, pack, shake

LORA = Lora(rank=3, alpha=7.0, dropout=0.0)
ESM = TransformerConfig(width=16, depth=2, num_heads=2)
BODIES: dict[str, BodyConfig] = {
    "transformer": ESM,
    "gated": GatedTransformerConfig(width=16, depth=2, num_heads=2),
    "cnn": CNNConfig(width=16, depth=2),
    "unet": UNetConfig(**UNetConfig.shape("100K")),
}


def adapted(network: Network, lora: Lora = LORA, seed: int = 5) -> Network:
    """The network with adapters that change its outputs."""
    attach(network, lora)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "lora_" in name:
                parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.3)
    return network.eval()


def network_of(config: BodyConfig) -> Network:
    torch.manual_seed(0)
    return build(config, PooledHeadConfig(outputs=2)).eval()


@pytest.mark.parametrize("name", BODIES)
def test_fresh_adapters_change_nothing_and_merged_ones_compute_the_same(name: str) -> None:
    network = network_of(BODIES[name])
    batch = pack(draw_sequences())
    before, names = network(batch), list(network.state_dict())
    layers = attach(network, LORA)
    assert layers
    torch.testing.assert_close(network(batch), before, atol=0, rtol=0)
    merge(network, LORA)
    adapted(network)
    kept = network(batch)
    assert not torch.allclose(kept, before, atol=1e-3)
    tensors = merge(network, LORA)
    assert list(network.state_dict()) == names
    assert len(tensors) == 2 * len(layers) and all(parameter.requires_grad for parameter in network.parameters())
    torch.testing.assert_close(network(batch), kept, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", BODIES)
def test_only_adapters_and_head_learn(name: str) -> None:
    network = network_of(BODIES[name])
    attach(network, LORA)
    optimizer = AdamW(learning_rate=1e-2, head_learning_rate=3e-2, weight_decay=0.1).build(network)
    before = {name: parameter.clone() for name, parameter in network.named_parameters()}
    for _ in range(2):  # what is multiplied by the zeros of B has no gradient at the first step
        optimizer.zero_grad()
        network(pack(draw_sequences())).square().sum().backward()
        optimizer.step()
    changed = {name for name, parameter in network.named_parameters() if not torch.equal(parameter, before[name])}
    assert changed == {name for name in before if "lora_" in name or name.startswith("head.")}
    peaks = {id(parameter): group["peak"] for group in optimizer.param_groups for parameter in group["params"]}
    for name, parameter in network.named_parameters():
        if name in changed:
            assert peaks[id(parameter)] == (3e-2 if name.startswith("head.") else 1e-2)
    assert len(peaks) == len(changed)


def test_targets_by_default_and_by_name() -> None:
    kinds = {name: attach(network_of(BODIES[name]), LORA) for name in BODIES}
    attention = [f"layers.{layer}.{kind}" for kind in ("query", "key", "value", "attention_output") for layer in (0, 1)]
    assert sorted(kinds["transformer"]) == sorted(kinds["gated"]) == sorted(attention)
    assert attach(network_of(ESM), Lora(targets=("query", "expand"))) == [
        f"layers.{layer}.{kind}" for kind in ("query", "expand") for layer in (0, 1)
    ]
    with pytest.raises(InputError) as error:
        attach(network_of(ESM), Lora(targets=("query", "q_proj")))
    for kind in ("q_proj", "query", "key", "value", "attention_output", "expand", "contract"):
        assert kind in str(error.value)


class Direct(nn.Module):
    """Takes the weight of one layer by itself, and calls the other."""

    def __init__(self) -> None:
        super().__init__()
        self.config = ESM
        self.taken, self.called, self.grouped = nn.Linear(4, 4), nn.Linear(4, 4), nn.Conv1d(4, 4, 1, groups=2)

    def forward(self, inputs: torch.Tensor, boundaries: torch.Tensor) -> torch.Tensor:
        rows = torch.ones(len(inputs), 4) @ self.taken.weight
        rows = self.grouped(rows.T).T
        called: torch.Tensor = self.called(rows)
        return called


def test_layers_whose_weights_a_body_uses_by_itself_get_no_adapter() -> None:
    network = nn.Module()
    network.body = Direct()
    assert attach(network, LORA) == ["called"]  # type: ignore[arg-type]


def test_product_is_what_peft_adds() -> None:
    from peft import LoraConfig, inject_adapter_in_model

    torch.manual_seed(0)
    holder = nn.Module()
    holder.linear, holder.conv = nn.Linear(5, 7), nn.Conv1d(5, 6, 3)
    inject_adapter_in_model(LoraConfig(r=3, lora_alpha=7, target_modules=["linear", "conv"]), holder)
    for layer in (holder.linear, holder.conv):
        layer: Any  # type: ignore[no-redef]
        nn.init.normal_(layer.lora_B["default"].weight)
        down, up = layer.lora_A["default"].weight, layer.lora_B["default"].weight
        expected = layer.get_delta_weight("default")
        torch.testing.assert_close(product(down, up, LORA.scaling, layer.get_base_layer().weight), expected)


@pytest.mark.parametrize(
    ("words", "value"), [("rank", {"rank": 0}), ("alpha", {"alpha": 0.0}), ("dropout", {"dropout": 1.0})]
)
def test_bad_values_are_refused(words: str, value: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"^{words} is"):
        Lora(**value)


def _base(folder: Path, kind: str) -> None:
    """A folder that adapters can be trained on."""
    if kind == "bert":
        write_bert(folder)
    elif kind == "t5":
        write_t5(folder)
    else:
        config = ESM if kind == "esm" else BODIES["gated"]
        save_network(shake(build(config, PositionHeadConfig(outputs=1))), folder, PROTEIN.tokens)


def _kept(base: Path, folder: Path) -> Network:
    """A network on the weights in ``base``, with its adapters kept apart in ``folder`` and merged in memory."""
    network = adapted(start_network(load_body(base, PROTEIN.tokens), PooledHeadConfig(outputs=2)))
    reference = Base(place=str(base), commit=None, digest=weights_digest(base))
    adapter = Adapter(lora=LORA, tensors=merge(network, LORA), base=reference)
    save_adapter(folder, adapter, network.body.config, network.head, PROTEIN.tokens)
    return network


READERS = {"esm": "EsmModel", "esmc": "EsmcModel", "bert": "BertModel", "t5": "T5EncoderModel"}


@pytest.mark.parametrize("kind", READERS)
def test_kept_adapters_load_here_and_in_peft(kind: str, tmp_path: Path) -> None:
    import transformers
    from peft import PeftModel

    reader: Any = getattr(transformers, READERS[kind], None)
    if reader is None:
        pytest.skip(f"this transformers has no {READERS[kind]}")
    base, folder = tmp_path / "base", tmp_path / "adapter"
    _base(base, kind)
    network = _kept(base, folder)
    assert not (folder / "model.safetensors").exists()
    batch = pack(draw_sequences())
    again, tokens = load_network(folder)
    assert tokens == PROTEIN.tokens
    torch.testing.assert_close(again(batch), network(batch), atol=0, rtol=0)

    theirs = reader.from_pretrained(base, dtype=torch.float32)
    theirs = PeftModel.from_pretrained(theirs, folder).eval()
    text = "MKTAYIAKQRUXW"
    ours = torch.tensor([0, *(PROTEIN.tokens.index(letter) for letter in text), 2])
    encoded = {"bert": bert_input, "t5": t5_input}[kind](text) if kind in ("bert", "t5") else ours[None]
    with torch.no_grad():
        expected = theirs(encoded).last_hidden_state[0]
        plain = theirs.get_base_model()
        assert sum("lora_A" in name for name, _ in plain.named_parameters()) == len(load_file(folder / _FILE)) // 2
    hidden = network.body(ours, torch.tensor([0, len(ours)]))
    torch.testing.assert_close(hidden[1:] if kind == "t5" else hidden, expected, atol=1e-5, rtol=1e-5)


_FILE = "adapter_model.safetensors"


def test_adapters_on_adapters_and_a_merged_copy(tmp_path: Path) -> None:
    _base(tmp_path / "base", "esm")
    _kept(tmp_path / "base", tmp_path / "first")
    second = _kept(tmp_path / "first", tmp_path / "second")
    batch = pack(draw_sequences())
    again, _ = load_network(tmp_path / "second")
    torch.testing.assert_close(again(batch), second(batch), atol=0, rtol=0)
    save_network(again, tmp_path / "merged", PROTEIN.tokens)
    merged, _ = load_network(tmp_path / "merged")
    torch.testing.assert_close(merged(batch), second(batch), atol=0, rtol=0)


def _changed(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def _reweighted(path: Path, change: Any) -> None:
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


_QUERY = "base_model.model.encoder.layer.0.attention.self.query.lora_A.weight"
REFUSALS: dict[str, tuple[Any, str]] = {
    "moved": (lambda place: (place / "base").rename(place / "elsewhere"), "which is gone"),
    "changed": (
        lambda place: _reweighted(
            place / "base/model.safetensors", lambda t: t["esm.embeddings.word_embeddings.weight"].add_(1)
        ),
        "other weights than those now in",
    ),
    "no counterpart": (lambda place: _reweighted(place / "adapter" / _FILE, lambda t: t.pop(_QUERY)), "is no adapter"),
    "other layer": (
        lambda place: _reweighted(place / "adapter" / _FILE, lambda t: t.update(odd=torch.zeros(2))),
        "odd is no adapter",
    ),
    "other rank": (lambda place: _changed(place / "adapter/base.json", rank=4), "is no adapter"),
    "damaged": (lambda place: _changed(place / "adapter/base.json", rank="much"), "damaged"),
    "rank 0": (lambda place: _changed(place / "adapter/base.json", rank=0), "damaged"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_does_not_belong_together_is_refused(case: str, tmp_path: Path) -> None:
    damage, words = REFUSALS[case]
    _base(tmp_path / "base", "esm")
    _kept(tmp_path / "base", tmp_path / "adapter")
    load_network(tmp_path / "adapter")
    damage(tmp_path)
    with pytest.raises(InputError) as error:
        load_network(tmp_path / "adapter")
    assert words in str(error.value) and str(tmp_path / "adapter") in str(error.value)


def test_other_alphabet_is_refused(tmp_path: Path) -> None:
    _base(tmp_path / "base", "esm")
    _kept(tmp_path / "base", tmp_path / "adapter")
    with pytest.raises(InputError, match="another alphabet"):
        load_body(tmp_path / "adapter", PROTEIN.tokens[::-1])


def test_moved_adapters_find_their_base(tmp_path: Path) -> None:
    _base(tmp_path / "base", "esm")
    network = _kept(tmp_path / "base", tmp_path / "adapter")
    shutil.move(tmp_path / "adapter", tmp_path / "elsewhere")
    batch = pack(draw_sequences())
    torch.testing.assert_close(load_network(tmp_path / "elsewhere")[0](batch), network(batch), atol=0, rtol=0)
