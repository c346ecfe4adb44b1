"""Networks to folders and back: bit for bit, and readable by transformers where the body is a transformer.

Of a gated transformer the layers' last weights are scaled for ESM C and back, which may change their last bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from seqtrain.errors import InputError
from seqtrain.models.adapter_folder import ADAPTER_CONFIG, load_adapted
from seqtrain.models.backbone import Backbone
from seqtrain.models.backbone_folder import BACKBONE_TYPES, load_backbone, save_backbone
from seqtrain.models.esm import load_esm, save_esm
from seqtrain.models.esmc import MODEL_TYPE as ESMC_MODEL_TYPE
from seqtrain.models.esmc import fits_esmc, has_spare_rows, load_esmc, save_esmc
from seqtrain.models.gated_transformer import GatedTransformer
from seqtrain.models.heads import LanguageModelHead, LanguageModelHeadConfig
from seqtrain.models.loaded import LoadedBody
from seqtrain.models.network import (
    Body,
    HeadConfig,
    Network,
    body_from_dict,
    build_head,
    head_from_dict,
    language_model_head,
    to_dict,
)
from seqtrain.models.transformer import Transformer
from seqtrain.models.weightless import weightless
from seqtrain.models.weights import (
    WEIGHTS,
    check_state,
    check_tokens,
    read_folder_weights,
    read_json,
    read_tokens,
    read_weights,
    write_json,
    write_tokens,
    write_weights,
)

__all__ = [
    "LoadedBody",
    "load_body",
    "load_esm",
    "load_network",
    "save_body",
    "save_esm",
    "save_network",
    "start_network",
]

OWN_MODEL_TYPE = "seqtrain"
HEAD_CONFIG = "head.json"
HEAD_WEIGHTS = "head.safetensors"


def save_network(network: Network, folder: Path, tokens: Sequence[str]) -> None:
    """Write a network into a folder, made if need be, replacing a network that was there.

    The body, and a language model head with it, goes where :func:`save_body` puts it; head.json tells the kind of head
    and head.safetensors holds its weights, so that other readers of the body do not stumble over them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / HEAD_WEIGHTS).unlink(missing_ok=True)
    head = network.head
    if isinstance(head, LanguageModelHead):
        save_body(folder, network.body, head, tokens)
    else:
        save_body(folder, network.body, None, tokens)
        write_weights(folder / HEAD_WEIGHTS, head.state_dict())
    write_json(folder / HEAD_CONFIG, to_dict(head.config))


def load_network(folder: Path) -> tuple[Network, tuple[str, ...]]:
    """The network in a folder, in evaluation mode, and its tokens.

    A folder without head.json, such as a published ESM-2, is read as a language model.

    Raises:
        InputError: see :func:`load_body`; also a folder without a head or without vocab.txt.
    """
    loaded = load_body(folder)
    if loaded.tokens is None:
        raise InputError(f"{folder}: no vocab.txt, so the meaning of its ids is unknown; add the file")
    path = folder / HEAD_CONFIG
    head_config: HeadConfig = head_from_dict(read_json(path), str(path)) if path.exists() else loaded.lm_head_config
    network = start_network(loaded, head_config)
    if isinstance(head_config, LanguageModelHeadConfig):
        if loaded.lm_head_state is None:
            raise InputError(f"{folder}: holds a body without a head; finetune it before predicting with it")
    else:
        _load(network.head, read_weights(folder / HEAD_WEIGHTS), folder / HEAD_WEIGHTS)
    return network.eval(), loaded.tokens


def start_network(loaded: LoadedBody, head_config: HeadConfig) -> Network:
    """A network on a loaded body: a language model head takes the loaded weights, any other starts from fresh ones.

    Fresh weights are drawn from torch's global generator: call torch.manual_seed first.
    """
    with weightless():  # no weights are drawn that would be overwritten at once
        body = loaded.config.build()
    body.load_state_dict({name: tensor.clone() for name, tensor in loaded.body_state.items()}, assign=True)
    head = build_head(body, head_config)
    if isinstance(head, LanguageModelHead) and loaded.lm_head_state is not None:
        head.load_state_dict(loaded.lm_head_state)
    return Network(body, head)


def save_body(folder: Path, body: Body, lm_head: LanguageModelHead | None, tokens: Sequence[str]) -> None:
    """Write a body, and its language model head if it has one: in the layout of ESM-2, of ESM C, or in our own.

    Raises:
        InputError: tokens that are not as many as the body's vocabulary.
    """
    if len(tokens) != body.config.vocabulary_size and not has_spare_rows(body, tokens):
        raise InputError(
            f"{folder}: {len(tokens)} tokens for a body with vocabulary_size {body.config.vocabulary_size}; "
            "save a model with the tokens of its own alphabet"
        )
    if isinstance(body, Backbone):
        save_backbone(folder, body, lm_head, tokens)
        return
    if isinstance(body, Transformer):
        save_esm(folder, body, lm_head, tokens)
        return
    if isinstance(body, GatedTransformer) and fits_esmc(lm_head):
        save_esmc(folder, body, lm_head, tokens)
        return
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer_config.json").unlink(missing_ok=True)
    state = {f"body.{name}": tensor for name, tensor in body.state_dict().items()}
    if lm_head is not None:
        state.update({f"lm_head.{name}": tensor for name, tensor in lm_head.state_dict().items()})
    write_weights(folder / WEIGHTS, state)
    write_json(folder / "config.json", {"model_type": OWN_MODEL_TYPE, "body": to_dict(body.config)})
    write_tokens(folder, tokens)


def load_body(folder: Path, tokens: Sequence[str] | None = None) -> LoadedBody:
    """Read a body written by :func:`save_body`, or a folder in the layout of ESM-2 or ESM C by anybody.

    Args:
        folder: with config.json, model.safetensors or its shards, and perhaps vocab.txt.
        tokens: the vocabulary that it must have; None takes any.

    Raises:
        InputError: not a model folder, an unknown architecture, unusable weights, another vocabulary.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give the folder of a model")
    if (folder / ADAPTER_CONFIG).exists():
        return load_adapted(folder, tokens, load_body)
    settings = read_json(folder / "config.json")
    if settings.get("model_type") in BACKBONE_TYPES:
        return load_backbone(folder, tokens)
    if settings.get("model_type") == ESMC_MODEL_TYPE:
        return load_esmc(folder, tokens)
    if settings.get("model_type") != OWN_MODEL_TYPE:
        return load_esm(folder, tokens)
    plain = settings.get("body")
    place = str(folder / "config.json")
    if not isinstance(plain, dict):
        raise InputError(f"{place}: body is missing; the file is damaged, use another copy")
    config = body_from_dict(plain, place)
    found = read_tokens(folder)
    check_tokens(folder, found, tokens, config.vocabulary_size)
    tensors = read_folder_weights(folder)
    states: dict[str, dict[str, Tensor]] = {"body": {}, "lm_head": {}}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        if part not in states:
            raise InputError(f"{folder / WEIGHTS}: {name} is neither body nor lm_head; the file is damaged")
        states[part][rest] = tensor
    with weightless():
        shapes = {name: tensor.shape for name, tensor in config.build().state_dict().items()}
    check_state(states["body"], shapes, {}, folder)
    return LoadedBody(
        config=config,
        body_state=states["body"],
        lm_head_config=language_model_head(config),
        lm_head_state=states["lm_head"] or None,
        tokens=found,
    )


def _load(module: torch.nn.Module, state: dict[str, Tensor], path: Path) -> None:
    check_state(state, {name: tensor.shape for name, tensor in module.state_dict().items()}, {}, path)
    module.load_state_dict(state)
