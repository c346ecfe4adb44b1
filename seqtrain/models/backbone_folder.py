"""Folders of BERT and of T5's encoder: read from whoever wrote them, and written so that transformers reads them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seqtrain.errors import InputError
from seqtrain.models.backbone import Backbone, BackboneConfig, Family
from seqtrain.models.heads import LanguageModelHead, LanguageModelHeadConfig
from seqtrain.models.hub_settings import refuse_code
from seqtrain.models.loaded import LoadedBody
from seqtrain.models.pieces import WORD_START, Pieces, read_pieces
from seqtrain.models.weightless import weightless
from seqtrain.models.weights import (
    WEIGHTS,
    check_state,
    check_tokens,
    listed,
    read_folder_weights,
    read_json,
    write_json,
    write_weights,
)

BACKBONE_TYPES: dict[str, Family] = {"bert": "bert", "t5": "t5"}
TOKENS = "tokens.json"
RESIDUES = "ACDEFGHIKLMNPQRSTVWY"
_REPLACED = "UZOB"
"""Letters that both models' authors write as X before they encode (Elnaggar et al. 2021), though ProtBERT's vocabulary
has them."""
_NO_TOKEN_BIAS = -1e4
"""What a language model head adds to the score of a token that they do not have: a probability of 0 in every format."""
_SPECIAL: dict[Family, dict[str, str]] = {
    "bert": {"<cls>": "[CLS]", "<pad>": "[PAD]", "<eos>": "[SEP]", "<unk>": "[UNK]", "<mask>": "[MASK]"},
    "t5": {"<pad>": "<pad>", "<eos>": "</s>", "<unk>": "<unk>"},
}
_SETTINGS: dict[Family, dict[str, Any]] = {
    "bert": {
        "hidden_act": "gelu", "attention_probs_dropout_prob": 0.1, "max_position_embeddings": 512, "type_vocab_size": 2,
        "initializer_range": 0.02, "layer_norm_eps": 1e-12, "pad_token_id": 0, "vocab_size": None, "hidden_size": None,
        "num_hidden_layers": None, "num_attention_heads": None, "intermediate_size": None,
    },
    "t5": {
        "d_kv": 64, "relative_attention_num_buckets": 32, "relative_attention_max_distance": 128,
        "layer_norm_epsilon": 1e-6, "initializer_factor": 1.0, "feed_forward_proj": "relu", "pad_token_id": 0,
        "vocab_size": None, "d_model": None, "num_layers": None, "num_heads": None, "d_ff": None,
    },
}  # fmt: skip
"""What is taken from config.json, with the value of transformers where it is left out; None: it must be there."""
_FIXED: dict[str, tuple[Any, ...]] = {
    "position_embedding_type": ("absolute", None),
    "is_decoder": (False, None),
    "add_cross_attention": (False, None),
}
_UNUSED: dict[Family, re.Pattern[str]] = {
    "bert": re.compile(r"pooler\.|cls\.seq_relationship\.|cls\.predictions\.decoder\.|embeddings\.position_ids$"),
    "t5": re.compile(r"decoder\.|lm_head\.|encoder\.embed_tokens\."),
}
"""Weights of parts that are not run, or that are held twice."""
_EMBEDDING: dict[Family, str] = {"bert": "embeddings.word_embeddings.weight", "t5": "shared.weight"}
_HEAD = {"transform.dense.weight": "dense.weight", "transform.dense.bias": "dense.bias",
         "transform.LayerNorm.weight": "layer_norm.weight", "transform.LayerNorm.bias": "layer_norm.bias"}  # fmt: skip


def load_backbone(folder: Path, tokens: Sequence[str] | None = None) -> LoadedBody:
    """Read a BERT or a T5, the encoder of the latter, whoever wrote it.

    Args:
        folder: with config.json, model.safetensors or its shards, and the vocabulary.
        tokens: our tokens, in the order of our ids; None for those that tokens.json names.

    Raises:
        InputError: another architecture, pickled, damaged, missing or surplus weights, a vocabulary without residues.
    """
    if tokens is None:
        tokens = _own_tokens(folder)
    plain = read_json(folder / "config.json")
    pieces = read_pieces(folder)
    config = _config(plain, pieces, tokens, folder)
    check_tokens(folder, None, tokens, config.vocabulary_size)
    tensors = {_plain_name(name): tensor for name, tensor in read_folder_weights(folder).items()}
    unused = _UNUSED[config.family]
    body, head = {}, {}
    for name, tensor in tensors.items():
        if name.startswith("cls.predictions.") and config.family == "bert":
            head[name.removeprefix("cls.predictions.")] = tensor
        elif not unused.match(name):
            body[_our_name(name, config.family)] = tensor
    with weightless():
        shapes = {name: tensor.shape for name, tensor in config.build().state_dict().items()}
    check_state(body, shapes, {name: their_name(name, config.family) for name in shapes}, folder)
    return LoadedBody(
        config=config,
        body_state=body,
        lm_head_config=lm_head_config(config),
        lm_head_state=_lm_head_state(head, config, folder),
        tokens=tuple(tokens),
    )


def save_backbone(folder: Path, body: Backbone, lm_head: LanguageModelHead | None, tokens: Sequence[str]) -> None:
    """Write config.json, model.safetensors, the vocabulary and tokens.json, which names our tokens.

    BertForMaskedLM (with an lm_head), BertModel or T5EncoderModel then load it with nothing missing but, for BertModel,
    the pooler that no task here uses. Scores of tokens that our alphabet lacks are not kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config, family = body.config, body.config.family
    prefix = "bert." if family == "bert" and lm_head is not None else ""
    state = {prefix + their_name(name, family): tensor for name, tensor in body.state_dict().items()}
    if family == "t5":
        state["encoder.embed_tokens.weight"] = body.embedding.weight
    if lm_head is not None:
        own = lm_head.state_dict()
        state.update({f"cls.predictions.{theirs}": own[ours] for theirs, ours in _HEAD.items()})
        state["cls.predictions.bias"] = _their_bias(own["bias"], config)
    write_weights(folder / WEIGHTS, state)
    write_json(folder / "config.json", _settings_to_write(config, lm_head))
    (folder / config.vocabulary_name).write_bytes(config.vocabulary_text.encode("latin-1"))
    if config.vocabulary_name != "tokenizer.json":
        tokenizer = {"bert": "BertTokenizer", "t5": "T5Tokenizer"}[family]
        write_json(folder / "tokenizer_config.json", {"tokenizer_class": tokenizer, "do_lower_case": False})
    write_json(folder / TOKENS, {"tokens": list(tokens)})


def lm_head_config(config: BackboneConfig) -> LanguageModelHeadConfig:
    """BERT's head over our tokens; for T5, which is published without one, a fresh one's."""
    eps = config.plain_settings.get("layer_norm_eps", 1e-12)
    return LanguageModelHeadConfig(vocabulary_size=config.vocabulary_size, layer_norm_eps=eps, tied=config.ties_head)


def their_name(name: str, family: Family) -> str:
    """The name in BertModel or T5EncoderModel of a tensor of :class:`Backbone`."""
    return _EMBEDDING[family] if name == "embedding.weight" else name.removeprefix("model.")


def _our_name(name: str, family: Family) -> str:
    return "embedding.weight" if name == _EMBEDDING[family] else f"model.{name}"


def _plain_name(name: str) -> str:
    """Names as in BertModel, and norms as weight and bias, whichever of the spellings in use the writer chose."""
    name = name.removeprefix("bert.")
    return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")


def _own_tokens(folder: Path) -> tuple[str, ...]:
    if not (folder / TOKENS).exists():
        raise InputError(f"{folder}: is a model of others, which predicts no labels; finetune it first, with --from")
    tokens = read_json(folder / TOKENS).get("tokens")
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise InputError(f"{folder / TOKENS}: names no tokens; the file is damaged, use another copy")
    return tuple(tokens)


def _config(plain: Mapping[str, Any], pieces: Pieces, tokens: Sequence[str], folder: Path) -> BackboneConfig:
    place = folder / "config.json"
    refuse_code(plain, place)
    family = BACKBONE_TYPES[str(plain["model_type"])]
    for key, allowed in _FIXED.items():
        if plain.get(key) not in allowed:
            raise InputError(f"{place}: {key} is {plain.get(key)!r}, but must be {allowed[0]!r}; use another model")
    settings = {name: plain.get(name, default) for name, default in _SETTINGS[family].items()}
    for name, value in settings.items():
        if value is None:
            raise InputError(f"{place}: {name} is missing; fetch the file again")
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise InputError(f"{place}: {name} is {value!r}, which is no number or name; fetch the file again")
    if len(pieces.tokens) > settings["vocab_size"]:
        count, path = len(pieces.tokens), folder / pieces.name
        raise InputError(
            f"{path}: {count} tokens where config.json promises {settings['vocab_size']}; fetch both again"
        )
    dropout = plain.get("hidden_dropout_prob" if family == "bert" else "dropout_rate", 0.1)
    letter_ids, output_ids = _ids(pieces, tokens, family, folder)
    try:
        config = BackboneConfig(
            family=family,
            settings=json.dumps(settings, sort_keys=True),
            letter_ids=letter_ids,
            output_ids=output_ids,
            vocabulary_name=pieces.name,
            vocabulary_text=pieces.contents.decode("latin-1"),
            dropout=dropout,
        )
        with weightless():
            config.build()
    except (InputError, ValueError, KeyError, TypeError, RuntimeError, ImportError) as error:
        words = " ".join(str(error).split())[:200]
        raise InputError(f"{place}: transformers builds no {family} from it ({words}); fetch the file again") from None
    return config


def _ids(
    pieces: Pieces, tokens: Sequence[str], family: Family, folder: Path
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Their id of each of our tokens, for reading; and, -1 where they have none, for scoring."""
    found = {token: index for index, token in reversed(list(enumerate(pieces.tokens)))}
    special = _SPECIAL[family]
    place = folder / pieces.name
    for token in special.values():
        if token not in found and token != "[MASK]":
            raise InputError(f"{place}: has no token {token}; use a protein model's vocabulary")
    output_ids = []
    for token in tokens:
        names = (special.get(token, token), WORD_START + token)
        output_ids.append(next((found[name] for name in names if name in found), -1))
    lacking = [token for token, index in zip(tokens, output_ids, strict=True) if token in RESIDUES and index < 0]
    if lacking:
        raise InputError(f"{place}: has no token for {''.join(lacking)}; use a protein model's vocabulary")
    unknown = found[special["<unk>"]]
    letter_ids = [unknown if index < 0 else index for index in output_ids]
    any_letter = letter_ids[tokens.index("X")] if "X" in tokens else unknown
    for letter in _REPLACED:
        if letter in tokens:
            letter_ids[tokens.index(letter)] = any_letter
    return tuple(letter_ids), tuple(output_ids)


def _lm_head_state(head: Mapping[str, Tensor], config: BackboneConfig, folder: Path) -> dict[str, Tensor] | None:
    """Their head over our tokens; None where there is none, or one of another arithmetic than ours."""
    if not head or config.plain_settings["hidden_act"] != "gelu":
        return None
    state = {ours: head[theirs] for theirs, ours in _HEAD.items() if theirs in head}
    bias = head.get("bias", head.get("decoder.bias"))
    ids = torch.tensor(config.output_ids)
    if bias is not None and len(bias) == config.plain_settings["vocab_size"]:
        state["bias"] = bias[ids.clamp(min=0)].masked_fill(ids < 0, _NO_TOKEN_BIAS)
    surplus = sorted(set(head) - {*_HEAD, "bias", "decoder.bias", "decoder.weight"})
    if surplus:
        raise InputError(f"{folder}: {listed(surplus)} not in BERT's language model head; fetch the folder again")
    with weightless():
        built = lm_head_config(config).build(config.width).state_dict()
    shapes = {name: tensor.shape for name, tensor in built.items()}
    theirs_of = {ours: f"cls.predictions.{theirs}" for theirs, ours in _HEAD.items()}
    check_state(state, shapes, {**theirs_of, "bias": "cls.predictions.bias"}, folder)
    return state


def _their_bias(bias: Tensor, config: BackboneConfig) -> Tensor:
    """(V,) over our tokens -> over theirs; 0 probability for those that our alphabet lacks."""
    ids = torch.tensor(config.output_ids, device=bias.device)
    theirs = bias.new_full((config.plain_settings["vocab_size"],), _NO_TOKEN_BIAS)
    theirs[ids[ids >= 0]] = bias[ids >= 0]
    return theirs


def _settings_to_write(config: BackboneConfig, lm_head: LanguageModelHead | None) -> dict[str, Any]:
    settings = {**config.plain_settings, "torch_dtype": "float32", "model_type": config.family}
    if config.family == "bert":
        architecture = "BertModel" if lm_head is None else "BertForMaskedLM"
        return {**settings, "architectures": [architecture], "hidden_dropout_prob": config.dropout}
    more = {"architectures": ["T5EncoderModel"], "dropout_rate": config.dropout, "is_encoder_decoder": False}
    return {**settings, **more, "use_cache": False}
