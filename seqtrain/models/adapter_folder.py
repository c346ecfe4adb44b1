"""Adapters kept apart from the weights they were trained on: in peft's layout, with a reference to those weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from seqtrain.errors import InputError
from seqtrain.models.adapters import Lora, product
from seqtrain.models.backbone import BackboneConfig
from seqtrain.models.backbone_folder import their_name
from seqtrain.models.esm import layer_name_in_esm_model
from seqtrain.models.esmc import layer_name_in_esmc_model
from seqtrain.models.gated_transformer import GatedTransformerConfig
from seqtrain.models.heads import LanguageModelHeadConfig
from seqtrain.models.hub import fetch
from seqtrain.models.loaded import LoadedBody
from seqtrain.models.network import BodyConfig, Head, head_from_dict, to_dict
from seqtrain.models.transformer import TransformerConfig
from seqtrain.models.weights import check_state, read_json, read_weights, weights_digest, write_json, write_weights

ADAPTER_CONFIG = "adapter_config.json"
_ADAPTER_WEIGHTS = "adapter_model.safetensors"
_BASE = "base.json"
_HEAD_CONFIG, _HEAD_WEIGHTS = "head.json", "head.safetensors"
_PEFT = "base_model.model."
"""What peft puts before the names of the model that it wraps."""


@dataclass(frozen=True, kw_only=True)
class Base:
    """The weights that adapters were trained on."""

    place: str
    """A folder, or a name on the hub."""
    commit: str | None
    """On the hub; None for a folder."""
    digest: str
    """See :func:`seqtrain.models.weights.weights_digest`."""


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """Trained adapters, and what they belong to."""

    lora: Lora
    tensors: Mapping[str, Tensor]
    """As :func:`seqtrain.models.adapters.merge` returns them."""
    base: Base


def save_adapter(folder: Path, adapter: Adapter, body: BodyConfig, head: Head, tokens: Sequence[str]) -> None:
    """Write the adapters as peft does, the head beside them, and base.json, which says what weights they belong to.

    Where the body is ESM-2, BERT or T5, peft's own ``PeftModel.from_pretrained`` puts them into EsmModel, BertModel or
    T5EncoderModel.
    """
    from peft import LoraConfig

    folder.mkdir(parents=True, exist_ok=True)
    layers = set()
    tensors = {}
    for name, tensor in adapter.tensors.items():
        layer, _, rest = name.partition(".lora_")
        layers.add(_their_layer(layer, body))
        tensors[f"{_PEFT}{_their_layer(layer, body)}.lora_{rest}"] = tensor
    write_weights(folder / _ADAPTER_WEIGHTS, tensors)
    config = LoraConfig(
        r=adapter.lora.rank,
        lora_alpha=adapter.lora.alpha,  # type: ignore[arg-type]
        lora_dropout=adapter.lora.dropout,
        target_modules=sorted(layers),
        bias="none",
        inference_mode=True,
        base_model_name_or_path=adapter.base.place,
        revision=adapter.base.commit,
    )
    settings: dict[str, Any] = config.to_dict()  # type: ignore[no-untyped-call]
    write_json(folder / ADAPTER_CONFIG, {name: _plain(value) for name, value in settings.items()})
    reference = {"place": adapter.base.place, "commit": adapter.base.commit, "sha256": adapter.base.digest}
    lora = {"rank": adapter.lora.rank, "alpha": adapter.lora.alpha}
    write_json(folder / _BASE, {**reference, **lora, "tokens": list(tokens)})
    write_weights(folder / _HEAD_WEIGHTS, head.state_dict())
    write_json(folder / _HEAD_CONFIG, to_dict(head.config))


def load_adapted(
    folder: Path, tokens: Sequence[str] | None, load: Callable[[Path, Sequence[str]], LoadedBody]
) -> LoadedBody:
    """The weights that the adapters in a folder belong to, with the adapters merged into them.

    Args:
        load: reads the body in a folder that has a given vocabulary.

    Raises:
        InputError: those weights are gone or others now, or the adapters do not fit them.
    """
    reference = read_json(folder / _BASE)
    try:
        base = Base(place=str(reference["place"]), commit=reference["commit"], digest=str(reference["sha256"]))
        lora = Lora(rank=int(reference["rank"]), alpha=float(reference["alpha"]))
        found = tuple(str(token) for token in reference["tokens"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{folder / _BASE}: damaged ({error}); use another copy") from None
    if tokens is not None and tuple(tokens) != found:
        raise InputError(f"{folder / _BASE}: is of another alphabet; choose the --alphabet it was trained with")
    loaded = load(_base_folder(base, folder), found)
    adapters = read_weights(folder / _ADAPTER_WEIGHTS)
    state = dict(loaded.body_state)
    weights = [name for name in state if name.endswith(".weight")]
    names = {_PEFT + _their_layer(name.removesuffix(".weight"), loaded.config): name for name in weights}
    for layer in sorted({name.partition(".lora_")[0] for name in adapters}):
        down, up = adapters.get(f"{layer}.lora_A.weight"), adapters.get(f"{layer}.lora_B.weight")
        weight = state.get(names.get(layer, ""))
        if weight is None or down is None or up is None or not _fit(down, up, weight, lora.rank):
            raise InputError(f"{folder / _ADAPTER_WEIGHTS}: {layer} is no adapter of the model in {base.place}")
        state[names[layer]] = weight + product(down, up, lora.scaling, weight)
    return _with_head(replace(loaded, body_state=state, tokens=found), folder)


def _with_head(loaded: LoadedBody, folder: Path) -> LoadedBody:
    """The language model head that was trained with the adapters; none where it was another kind of head."""
    head = head_from_dict(read_json(folder / _HEAD_CONFIG), str(folder / _HEAD_CONFIG))
    if not isinstance(head, LanguageModelHeadConfig):
        return replace(loaded, lm_head_state=None)
    state = read_weights(folder / _HEAD_WEIGHTS)
    shapes = {name: tensor.shape for name, tensor in head.build(loaded.config.width).state_dict().items()}
    check_state(state, shapes, {}, folder / _HEAD_WEIGHTS)
    return replace(loaded, lm_head_config=head, lm_head_state=state)


def _base_folder(base: Base, folder: Path) -> Path:
    if base.commit is not None:
        place = fetch(base.place, base.commit, lambda text: None).folder
    else:
        place = Path(base.place)
        if not place.is_dir():
            raise InputError(
                f"{folder}: its adapters belong to the weights in {place}, which is gone; put that folder back"
            )
    if weights_digest(place) != base.digest:
        raise InputError(
            f"{folder}: its adapters belong to other weights than those now in {base.place}; put those back"
        )
    return place


def _fit(down: Tensor, up: Tensor, weight: Tensor, rank: int) -> bool:
    return (
        weight.ndim > 1
        and up.flatten(1).shape == (len(weight), rank)
        and down.flatten(1).shape == (rank, weight[0].numel())
    )


def _their_layer(layer: str, config: BodyConfig) -> str:
    """The name of a layer of ours in the class of transformers that has its weights; our own where there is none."""
    if isinstance(config, TransformerConfig):
        return layer_name_in_esm_model(layer)
    if isinstance(config, GatedTransformerConfig) and config.branch_scale is None:
        return layer_name_in_esmc_model(layer)
    return their_name(layer, config.family) if isinstance(config, BackboneConfig) else layer


def _plain(value: Any) -> Any:
    """A setting of peft as JSON has it."""
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    return getattr(value, "value", value)
