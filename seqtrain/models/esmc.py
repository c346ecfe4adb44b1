"""The folder layout of ESM C on the Hugging Face hub: written for transformers from 5.23 on, and read from it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from seqtrain.errors import InputError
from seqtrain.models.gated_transformer import GatedTransformer, GatedTransformerConfig, scale_of_esmc
from seqtrain.models.heads import LanguageModelHead, LanguageModelHeadConfig
from seqtrain.models.hub_settings import needed_settings, refuse_code, require_settings
from seqtrain.models.loaded import LoadedBody
from seqtrain.models.rotary import Rotary
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

MODEL_TYPE = "esmc"
TOKENIZER = "tokenizer.json"
CHAIN_BREAK = "|"
"""Token 31 of ESM C, where ESM-2 and our proteins have <null_1>, which no sequence contains."""
TOKENS = ("<cls>", "<pad>", "<eos>", "<unk>", *"LAGVSERTIDPKQNFYMHWCXBUZO.-", "<null_1>", "<mask>")
"""Of proteins, in the order of ids."""
MAX_POSITIONS = 2048
"""Longest input of the published models in their own settings; rotary embeddings set no limit themselves."""

BRANCH_SCALE = "seqtrain_branch_scale"
"""A setting of ours, which transformers keeps and does not use."""

_ENDS = re.compile(r"\.(attention_output|contract)\.weight$")
_BODY_NAMES = {"embedding": "embed_tokens", "final_norm": "norm"}
_LAYER_NAMES = {
    "attention_norm": "input_layernorm",
    "query": "self_attn.q_proj",
    "key": "self_attn.k_proj",
    "value": "self_attn.v_proj",
    "query_norm": "self_attn.q_norm",
    "key_norm": "self_attn.k_norm",
    "attention_output": "self_attn.o_proj",
    "feedforward_norm": "post_attention_layernorm",
    "gate": "mlp.gate_proj",
    "expand": "mlp.up_proj",
    "contract": "mlp.down_proj",
}
_FIXED: dict[str, tuple[Any, ...]] = {
    "hidden_act": ("silu", None),
    "attention_bias": (False, None),
    "mlp_bias": (False, None),
    "tie_word_embeddings": (False, None),
    "rope_theta": (10000.0, None),
}
"""Settings of an EsmcConfig for which there is one arithmetic here, and the values that mean it."""


def has_spare_rows(body: object, tokens: Sequence[str]) -> bool:
    """Whether a body has, as ESM C does, rows of embeddings beyond those of the tokens of proteins."""
    is_protein = tuple(tokens) == TOKENS
    return is_protein and isinstance(body, GatedTransformer) and body.config.vocabulary_size > len(tokens)


def fits_esmc(lm_head: LanguageModelHead | None) -> bool:
    """Whether the layout has a place for such a language model head: an untied one with its layer norm."""
    return lm_head is None or lm_head.config == LanguageModelHeadConfig(
        vocabulary_size=lm_head.config.vocabulary_size, tied=False
    )


def save_esmc(folder: Path, body: GatedTransformer, lm_head: LanguageModelHead | None, tokens: Sequence[str]) -> None:
    """Write config.json, model.safetensors, vocab.txt and tokenizer_config.json into a folder.

    AutoModelForMaskedLM (with an lm_head) or AutoModel, and AutoTokenizer, then load it with nothing missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_weights(folder / WEIGHTS, to_esmc(body, lm_head))
    write_json(folder / "config.json", _esmc_config(body, lm_head, tokens))
    write_tokens(folder, tokens)
    for name in (TOKENIZER, "tokenizer_config.json"):
        (folder / name).unlink(missing_ok=True)
    if tuple(tokens) == TOKENS:  # the only vocabulary that an EsmcTokenizer has
        write_json(folder / "tokenizer_config.json", {"tokenizer_class": "EsmcTokenizer"})


def to_esmc(body: GatedTransformer, lm_head: LanguageModelHead | None) -> dict[str, Tensor]:
    """The weights by the hub's names."""
    # ESM C has no scale of its own in branches: ours goes into the weights that a branch ends with.
    factor = body.config.added_scale / scale_of_esmc(body.config.depth)
    state = {
        f"esmc.{_esmc_name(name)}": tensor * factor if _ENDS.search(name) and factor != 1 else tensor
        for name, tensor in body.state_dict().items()
        if name != "rotary.inv_freq"
    }
    if lm_head is not None:
        for name, tensor in lm_head.state_dict().items():
            state["lm_head.decoder.bias" if name == "bias" else f"lm_head.{name}"] = tensor
    return state


def _esmc_config(body: GatedTransformer, lm_head: LanguageModelHead | None, tokens: Sequence[str]) -> dict[str, Any]:
    config = body.config
    return {
        "architectures": ["EsmcModel" if lm_head is None else "EsmcForMaskedLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        BRANCH_SCALE: config.branch_scale,
        "bos_token_id": _id(tokens, "<cls>"),
        "dtype": str(body.embedding.weight.dtype).removeprefix("torch."),
        "eos_token_id": _id(tokens, "<eos>"),
        "head_dim": config.head_size,
        "hidden_act": "silu",
        "hidden_dropout_prob": config.dropout,
        "hidden_size": config.width,
        "initializer_range": 0.02,
        "intermediate_size": config.inner_width,
        "mask_token_id": _id(tokens, "<mask>"),
        "max_position_embeddings": MAX_POSITIONS,
        "mlp_bias": False,
        "model_type": MODEL_TYPE,
        "num_attention_heads": config.num_heads,
        "num_hidden_layers": config.depth,
        "num_key_value_heads": config.num_heads,
        "pad_token_id": _id(tokens, "<pad>"),
        "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"},
        "tie_word_embeddings": False,
        "vocab_size": config.vocabulary_size,
    }


def _id(tokens: Sequence[str], token: str) -> int | None:
    return tokens.index(token) if token in tokens else None


def load_esmc(folder: Path, tokens: Sequence[str] | None = None) -> LoadedBody:
    """Read a folder in the layout of ESM C, whoever wrote it.

    The published models have 64 rows of embeddings and logits, of which tokens use 33; all rows are kept.

    Args:
        folder: with config.json, model.safetensors or its shards, and perhaps vocab.txt or tokenizer.json.
        tokens: the vocabulary that it must have; None takes any.

    Raises:
        InputError: another architecture, code in the config, pickled, damaged, missing or surplus weights, another
            vocabulary.
    """
    config = config_from_esmc(read_json(folder / "config.json"), folder / "config.json")
    found = _tokens_of(folder)
    check_tokens(folder, found, tokens, len(found))
    if len(found) > config.vocabulary_size:
        raise InputError(
            f"{folder}: {len(found)} tokens where config.json promises {config.vocabulary_size}; fetch both again"
        )
    tensors = {name.removeprefix("esmc."): tensor for name, tensor in read_folder_weights(folder).items()}
    head_config = LanguageModelHeadConfig(vocabulary_size=config.vocabulary_size, tied=False)
    return LoadedBody(
        config=config,
        body_state=_body_state(tensors, config, folder),
        lm_head_config=head_config,
        lm_head_state=_lm_head_state(tensors, head_config, config.width, folder),
        tokens=found,
    )


def config_from_esmc(settings: Mapping[str, Any], place: Path) -> GatedTransformerConfig:
    """An EsmcConfig as our own; place names the file in errors.

    Raises:
        InputError: code to be run, another architecture or arithmetic, a missing or impossible number.
    """
    refuse_code(settings, place)
    if settings.get("model_type") != MODEL_TYPE:
        raise InputError(f"{place}: model_type is {settings.get('model_type')!r} where 'esmc' was expected")
    require_settings(settings, _FIXED, "ESM C", place)
    keys = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    vocabulary_size, width, depth, num_heads, feedforward = needed_settings(settings, keys, place)
    try:
        config = GatedTransformerConfig(
            vocabulary_size=vocabulary_size,
            width=width,
            depth=depth,
            num_heads=num_heads,
            feedforward=feedforward,
            dropout=settings.get("hidden_dropout_prob", 0.0),
            branch_scale=settings.get(BRANCH_SCALE),
        )
    except InputError as error:
        raise InputError(f"{place}: {error}") from None
    for key, value in (("num_key_value_heads", num_heads), ("head_dim", config.head_size)):
        if settings.get(key) not in (value, None):
            raise InputError(f"{place}: {key} is {settings[key]!r}, but must be {value}; use an ESM C model")
    plain = replace(config, feedforward=None)
    return plain if plain.inner_width == config.inner_width else config


def _tokens_of(folder: Path) -> tuple[str, ...]:
    """The tokens of vocab.txt, or those of ESM C, from which tokenizer.json must not differ if there is one.

    Raises:
        InputError: another vocabulary in tokenizer.json.
    """
    found = read_tokens(folder)
    if found is not None:
        return tuple("<null_1>" if token == CHAIN_BREAK else token for token in found)
    path = folder / TOKENIZER
    if path.exists():
        model = read_json(path).get("model")
        vocabulary = model.get("vocab") if isinstance(model, dict) else None
        for index, token in enumerate(TOKENS):
            expected = CHAIN_BREAK if token == "<null_1>" else token
            if not isinstance(vocabulary, dict) or vocabulary.get(expected) != index:
                raise InputError(f"{path}: {expected!r} is not token {index}; this is not the vocabulary of ESM C")
    return TOKENS


def layer_name_in_esmc_model(layer: str) -> str:
    """The name in EsmcModel of a layer of :class:`GatedTransformer` that has a weight."""
    return _esmc_name(f"{layer}.weight").removesuffix(".weight")


def _esmc_name(name: str) -> str:
    """The hub's name of a tensor of :class:`GatedTransformer`, in EsmcModel."""
    parts = name.split(".")
    if parts[0] == "layers":
        return f"layers.{parts[1]}.{_LAYER_NAMES[parts[2]]}.{parts[3]}"
    return f"{_BODY_NAMES[parts[0]]}.{parts[1]}"


def _body_state(tensors: Mapping[str, Tensor], config: GatedTransformerConfig, folder: Path) -> dict[str, Tensor]:
    with weightless():
        shapes = {name: tensor.shape for name, tensor in config.build().state_dict().items()}
    names = {_esmc_name(name): name for name in shapes if name != "rotary.inv_freq"}
    surplus = [name for name in sorted(tensors) if name not in names and not name.startswith("lm_head.")]
    if surplus:
        raise InputError(
            f"{folder}: {listed(surplus)} not in an ESM C encoder of {config.depth} layers; "
            "the weights do not belong to config.json, fetch both again"
        )
    state = {ours: tensors[theirs] for theirs, ours in names.items() if theirs in tensors}
    factor = scale_of_esmc(config.depth) / config.added_scale
    if factor != 1:
        state = {name: tensor * factor if _ENDS.search(name) else tensor for name, tensor in state.items()}
    state["rotary.inv_freq"] = Rotary(config.head_size).inv_freq
    check_state(state, shapes, {ours: theirs for theirs, ours in names.items()}, folder)
    return state


def _lm_head_state(
    tensors: Mapping[str, Tensor], config: LanguageModelHeadConfig, width: int, folder: Path
) -> dict[str, Tensor] | None:
    state = {
        "bias" if name == "lm_head.decoder.bias" else name.removeprefix("lm_head."): tensor
        for name, tensor in tensors.items()
        if name.startswith("lm_head.")
    }
    if not state:
        return None
    with weightless():
        shapes = {name: tensor.shape for name, tensor in config.build(width).state_dict().items()}
    names = {name: "lm_head.decoder.bias" if name == "bias" else f"lm_head.{name}" for name in shapes}
    check_state(state, shapes, names, folder)
    return state
