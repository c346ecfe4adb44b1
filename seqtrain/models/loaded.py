"""What a model folder holds, whoever wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from seqtrain.models.heads import LanguageModelHeadConfig
from seqtrain.models.network import BodyConfig


@dataclass(frozen=True, kw_only=True)
class LoadedBody:
    """A body read from a folder, checked against the shapes that its config promises."""

    config: BodyConfig
    body_state: Mapping[str, Tensor]
    """For ``config.build().load_state_dict``."""
    lm_head_config: LanguageModelHeadConfig
    """Of the language model head that goes with the body."""
    lm_head_state: Mapping[str, Tensor] | None
    """For that head; None when the folder has none."""
    tokens: tuple[str, ...] | None
    """The tokens in vocab.txt; None without that file."""
