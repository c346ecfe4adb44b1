"""The head of a pretraining that goes on with the objective of the run it starts from."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from seqtrain.models.heads import LanguageModelHead
from seqtrain.models.network import HeadConfig, Network, head_from_dict
from seqtrain.models.pretrained import HEAD_CONFIG, HEAD_WEIGHTS
from seqtrain.models.projection import ProjectionHeadConfig
from seqtrain.models.weights import check_state, read_json, read_weights
from seqtrain.objectives import Pretext, SelfSupervised
from seqtrain.recipes.networks import Origin
from seqtrain.run_record import DAMAGED, RECORD, damaged
from seqtrain.words import name_of


def keeps_head(network: Network, objective: SelfSupervised, origin: Origin | None) -> bool:
    """Give the head the weights of the origin's where that answers the same; True if it now holds what was learnt.

    A language model head has taken them already, as bodies are saved with it. The support set of NNCLR begins anew.

    Raises:
        InputError: a head whose files are damaged.
    """
    if origin is None:
        return False
    if isinstance(network.head, LanguageModelHead):
        return origin.body.lm_head_state is not None
    path = origin.folder / HEAD_CONFIG
    if not path.exists() or _asked(head_from_dict(read_json(path), str(path))) != _asked(network.head.config):
        return False
    if isinstance(objective, Pretext) and _labels(origin) != [label for _, label in objective.labels]:
        return False
    state = read_weights(origin.folder / HEAD_WEIGHTS)
    shapes = {name: each.shape for name, each in network.head.state_dict().items() if not name.startswith("support.")}
    check_state(state, shapes, {}, origin.folder / HEAD_WEIGHTS)
    network.head.load_state_dict(state, strict=False)
    return True


def head_words(network: Network, origin: Origin, kept: bool) -> str:
    """What became of the head, as a line."""
    name = name_of(type(network.head.config))
    return f"{origin.place}: its {name} is kept" if kept else f"{origin.place}: a new {name} is trained on its body"


def _asked(config: HeadConfig) -> HeadConfig:
    """A head's config without what only training has."""
    return replace(config, support_size=0) if isinstance(config, ProjectionHeadConfig) else config


def _labels(origin: Origin) -> list[str]:
    """The computed labels that a run was trained on; none of any other run or model."""
    path = origin.place / RECORD
    if not path.exists():
        return []
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["results"].get("labels", {})
        return list(found)
    except DAMAGED as error:
        raise damaged(path, error) from error
