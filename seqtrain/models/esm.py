"""The folder layout of ESM-2 on the Hugging Face hub: written for transformers 4 and 5, and read from both."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from seqtrain.errors import InputError
from seqtrain.models.heads import LanguageModelHead, LanguageModelHeadConfig
from seqtrain.models.hub_settings import needed_settings, refuse_code, require_settings
from seqtrain.models.loaded import LoadedBody
from seqtrain.models.rotary import Rotary
from seqtrain.models.transformer import Transformer, TransformerConfig
from seqtrain.models.weightless import weightless
from seqtrain.models.weights import (
    WEIGHTS,
    check_state,
    check_tokens,
    listed,
    read_folder_weights,
    read_json,
    read_tokens,
    write_json,
    write_tokens,
    write_weights,
)

MAX_POSITIONS = 1026
"""Longest input that the published models were trained on, 1,024 residues and two special tokens; rotary embeddings set
no limit themselves."""

_LAYER_NAMES = {
    "attention_norm": "attention.LayerNorm",
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attention_output": "attention.output.dense",
    "feedforward_norm": "LayerNorm",
    "expand": "intermediate.dense",
    "contract": "output.dense",
}
_IGNORED = re.compile(
    r"(contact_head|pooler)\.|embeddings\.position_(embeddings\.weight|ids)$|lm_head\.decoder\.weight$"
)
_FREQUENCIES = "rotary_embeddings.inv_freq"
_FIXED: dict[str, tuple[Any, ...]] = {
    "position_embedding_type": ("rotary",),
    "emb_layer_norm_before": (False, None),
    "is_folding_model": (False, None),
    "is_decoder": (False, None),
    "add_cross_attention": (False, None),
    "rope_theta": (10000.0, None),
    "tie_word_embeddings": (True, None),
}
"""Settings of an EsmConfig for which there is one arithmetic here, and the values that mean it."""


def save_esm(folder: Path, body: Transformer, lm_head: LanguageModelHead | None, tokens: Sequence[str]) -> None:
    """Write config.json, model.safetensors, vocab.txt and tokenizer_config.json into a folder.

    AutoModelForMaskedLM (with an lm_head) or AutoModel, and AutoTokenizer, then load it with nothing missing but, for
    AutoModel, the pooler that ESM-2 never had. The contact head that they expect is written as zeros: it is a
    regression on attention maps of the published weights and means nothing after training.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_weights(folder / WEIGHTS, to_esm(body, lm_head))
    write_json(folder / "config.json", _esm_config(body, lm_head, tokens))
    write_tokens(folder, tokens)
    _write_tokenizer_config(folder, tokens)


def to_esm(body: Transformer, lm_head: LanguageModelHead | None) -> dict[str, Tensor]:
    """The weights by the hub's names."""
    state = {_esm_name(name): tensor for name, tensor in body.state_dict().items() if name != "rotary.inv_freq"}
    for layer in range(body.config.depth):
        state[f"esm.encoder.layer.{layer}.attention.self.{_FREQUENCIES}"] = body.rotary.inv_freq
    num_maps = body.config.depth * body.config.num_heads
    state["esm.contact_head.regression.weight"] = body.embedding.weight.new_zeros(1, num_maps)
    state["esm.contact_head.regression.bias"] = body.embedding.weight.new_zeros(1)
    if lm_head is not None:
        state.update({f"lm_head.{name}": tensor for name, tensor in lm_head.state_dict().items()})
    return state


def _esm_config(body: Transformer, lm_head: LanguageModelHead | None, tokens: Sequence[str]) -> dict[str, Any]:
    config = body.config
    return {
        "architectures": ["EsmModel" if lm_head is None else "EsmForMaskedLM"],
        "attention_probs_dropout_prob": 0.0,
        "emb_layer_norm_before": False,
        "eos_token_id": _id(tokens, "<eos>"),
        "hidden_dropout_prob": config.dropout,
        "hidden_size": config.width,
        "initializer_range": 0.02,
        "intermediate_size": config.inner_width,
        "is_folding_model": False,
        "layer_norm_eps": config.layer_norm_eps,
        "mask_token_id": config.mask_id,
        "max_position_embeddings": MAX_POSITIONS,
        "model_type": "esm",
        "num_attention_heads": config.num_heads,
        "num_hidden_layers": config.depth,
        "pad_token_id": _id(tokens, "<pad>"),
        "position_embedding_type": "rotary",
        "rope_theta": 10000.0,
        "tie_word_embeddings": True,
        "token_dropout": config.token_dropout and config.mask_id is not None,
        "torch_dtype": str(body.embedding.weight.dtype).removeprefix("torch."),
        "use_cache": True,
        "vocab_size": config.vocabulary_size,
    }


def _id(tokens: Sequence[str], token: str) -> int | None:
    return tokens.index(token) if token in tokens else None


def _write_tokenizer_config(folder: Path, tokens: Sequence[str]) -> None:
    special = {f"{name}_token": f"<{name}>" for name in ("cls", "pad", "eos", "unk", "mask")}
    if set(special.values()) <= set(tokens):
        settings = {"tokenizer_class": "EsmTokenizer", "model_max_length": MAX_POSITIONS, **special}
        write_json(folder / "tokenizer_config.json", settings)


def load_esm(folder: Path, tokens: Sequence[str] | None = None) -> LoadedBody:
    """Read a folder in the layout of ESM-2, whoever wrote it.

    Args:
        folder: with config.json, model.safetensors or its shards, and perhaps vocab.txt.
        tokens: the vocabulary that it must have; None takes any.

    Raises:
        InputError: another architecture, code in the config, pickled, damaged, missing or surplus weights, another
            vocabulary.
    """
    settings = read_json(folder / "config.json")
    config = config_from_esm(settings, folder / "config.json")
    found = read_tokens(folder)
    check_tokens(folder, found, tokens, config.vocabulary_size)
    tensors = _without_prefix(read_folder_weights(folder))
    return LoadedBody(
        config=config,
        body_state=_body_state(tensors, config, folder),
        lm_head_config=_lm_head_config(config),
        lm_head_state=_lm_head_state(tensors, config, folder),
        tokens=found,
    )


def config_from_esm(settings: Mapping[str, Any], place: Path) -> TransformerConfig:
    """An EsmConfig as our own; place names the file in errors.

    Raises:
        InputError: code to be run, another architecture or arithmetic, a missing or impossible number.
    """
    refuse_code(settings, place)
    if settings.get("model_type") != "esm":
        raise InputError(
            f"{place}: model_type is {settings.get('model_type')!r}; only 'esm' can be read from this layout"
        )
    require_settings(settings, _FIXED, "ESM-2", place)
    needed = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    vocabulary_size, width, depth, num_heads, feedforward = needed_settings(settings, needed, place)
    try:
        return TransformerConfig(
            vocabulary_size=vocabulary_size,
            width=width,
            depth=depth,
            num_heads=num_heads,
            feedforward=None if isinstance(width, int) and feedforward == 4 * width else feedforward,
            dropout=settings.get("hidden_dropout_prob", 0.1),
            mask_id=settings.get("mask_token_id"),
            token_dropout=bool(settings.get("token_dropout", False)),
            layer_norm_eps=settings.get("layer_norm_eps", 1e-12),
        )
    except InputError as error:
        raise InputError(f"{place}: {error}") from None


def _esm_name(name: str) -> str:
    """The hub's name of a tensor of :class:`Transformer`."""
    if name == "embedding.weight":
        return "esm.embeddings.word_embeddings.weight"
    if name.startswith("final_norm."):
        return f"esm.encoder.emb_layer_norm_after.{name.removeprefix('final_norm.')}"
    _, layer, part, kind = name.split(".")
    return f"esm.encoder.layer.{layer}.{_LAYER_NAMES[part]}.{kind}"


def layer_name_in_esm_model(layer: str) -> str:
    """The name in EsmModel of a layer of :class:`Transformer` that has a weight."""
    return _esm_name(f"{layer}.weight").removeprefix("esm.").removesuffix(".weight")


def _without_prefix(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names as in EsmModel, and norms as weight and bias, whichever of the spellings in use the writer chose."""
    renamed = {}
    for name, tensor in tensors.items():
        name = name.removeprefix("esm.").replace("LayerNorm.gamma", "LayerNorm.weight")
        renamed[name.replace("LayerNorm.beta", "LayerNorm.bias")] = tensor
    return renamed


def _body_state(tensors: Mapping[str, Tensor], config: TransformerConfig, folder: Path) -> dict[str, Tensor]:
    with weightless():
        shapes = {name: tensor.shape for name, tensor in config.build().state_dict().items()}
    names = {_esm_name(name).removeprefix("esm."): name for name in shapes if name != "rotary.inv_freq"}
    frequencies = [name for name in sorted(tensors) if name.endswith(_FREQUENCIES)]
    surplus = [
        name
        for name in sorted(tensors)
        if name not in names
        and not _IGNORED.search(name)
        and name not in frequencies
        and not name.startswith("lm_head.")
    ]
    if surplus:
        raise InputError(
            f"{folder}: {listed(surplus)} not in an ESM-2 encoder of {config.depth} layers; "
            "the weights do not belong to config.json, fetch both again"
        )
    state = {ours: tensors[theirs] for theirs, ours in names.items() if theirs in tensors}
    # Kept, not recomputed: some published checkpoints were trained with, and hold, frequencies rounded to 16 bits.
    state["rotary.inv_freq"] = tensors[frequencies[0]] if frequencies else Rotary(config.head_size).inv_freq
    check_state(state, shapes, {ours: theirs for theirs, ours in names.items()}, folder)
    return state


def _lm_head_state(tensors: Mapping[str, Tensor], config: TransformerConfig, folder: Path) -> dict[str, Tensor] | None:
    state = {
        name.removeprefix("lm_head."): tensor
        for name, tensor in tensors.items()
        if name.startswith("lm_head.") and not _IGNORED.search(name)
    }
    if not state:
        return None
    with weightless():
        shapes = {
            name: tensor.shape for name, tensor in _lm_head_config(config).build(config.width).state_dict().items()
        }
    check_state(state, shapes, {name: f"lm_head.{name}" for name in shapes}, folder)
    return state


def _lm_head_config(config: TransformerConfig) -> LanguageModelHeadConfig:
    return LanguageModelHeadConfig(vocabulary_size=config.vocabulary_size, layer_norm_eps=config.layer_norm_eps)
