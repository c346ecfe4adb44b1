"""A body and a head: what a batch goes into and logits come out of; and their configs as plain dicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, cast, get_args

import torch
from torch import Tensor, nn

from seqtrain.batch import Batch
from seqtrain.errors import InputError
from seqtrain.models.backbone import Backbone, BackboneConfig
from seqtrain.models.cnn import CNN, CNNConfig
from seqtrain.models.decoder_head import DecoderHead, DecoderHeadConfig
from seqtrain.models.embedding import mixture, shifted
from seqtrain.models.encoder import RotaryEncoder
from seqtrain.models.gated_transformer import GatedTransformer, GatedTransformerConfig
from seqtrain.models.heads import (
    LanguageModelHead,
    LanguageModelHeadConfig,
    PooledHead,
    PositionHead,
    PositionHeadConfig,
    SequenceHead,
    SequenceHeadConfig,
)
from seqtrain.models.imprinted_head import ImprintedHead
from seqtrain.models.precision import full_precision
from seqtrain.models.projection import ProjectionHead, ProjectionHeadConfig
from seqtrain.models.residual_cnn import ResidualCNN, ResidualCNNConfig
from seqtrain.models.transformer import Transformer, TransformerConfig
from seqtrain.models.unet import UNet, UNetConfig

FreshConfig = TransformerConfig | CNNConfig | ResidualCNNConfig | GatedTransformerConfig | UNetConfig
"""Bodies that can be trained from scratch."""
BodyConfig = FreshConfig | BackboneConfig
HeadConfig = (
    LanguageModelHeadConfig | SequenceHeadConfig | PositionHeadConfig | ProjectionHeadConfig | DecoderHeadConfig
)
Body = Transformer | CNN | ResidualCNN | GatedTransformer | UNet | Backbone
Head = LanguageModelHead | SequenceHead | PositionHead | ProjectionHead | DecoderHead


class Network(nn.Module):
    """A body, which turns ids into hidden states, and a head, which turns those into logits."""

    body: Body
    head: Head

    def __init__(self, body: Body, head: Head) -> None:
        super().__init__()
        self.body = body
        self.head = head

    def forward(self, batch: Batch) -> Tensor:
        """The logits of a batch.

        Returns:
            (M, V) at batch.decode, or (T, V) without it, from a language model head, or from a decoder head, which
            hides these positions from the body; (B, K) from a sequence head or a projection head; (T, K) from a
            position head.
        """
        if batch.features is not None:
            return self._answer(batch.features)
        if batch.shift is None:
            return self._logits(batch)
        with shifted(self._first_layer, batch.shift):
            return self._logits(batch)

    def embedded(self, batch: Batch) -> Tensor:
        """What the first layer makes of each position of a batch, (T, D), to which its shift would be added."""
        rows: Tensor = (
            self.body.stem(self._inputs(batch), batch.segments)
            if isinstance(self.body, ResidualCNN)
            else self.body.embedding(self._inputs(batch))
        )
        return rows

    @property
    def _first_layer(self) -> nn.Module:
        return self.body.stem if isinstance(self.body, ResidualCNN) else self.body.embedding

    def _inputs(self, batch: Batch) -> Tensor:
        """(T,) ids, or (T, V) shares of ids."""
        if batch.other_inputs is None or batch.input_shares is None:
            return batch.inputs
        return mixture(batch.inputs, batch.other_inputs, batch.input_shares, self.body.config.vocabulary_size)

    def _logits(self, batch: Batch) -> Tensor:
        inputs = self._inputs(batch)
        if isinstance(self.head, LanguageModelHead):
            hidden = self.body(inputs, batch.boundaries, batch.decode)
            with full_precision(hidden.device):
                logits: Tensor = self.head(hidden.to(self.head_dtype), self.body.token_embedding)
            return logits
        if isinstance(self.head, DecoderHead):
            return self._decoded(inputs, batch.boundaries, batch.decode)
        hidden = self.body(inputs, batch.boundaries)
        with full_precision(hidden.device):
            if isinstance(self.head, SequenceHead):
                logits = self.head(hidden.to(self.head_dtype), batch.segments, batch.residues, len(batch))
            elif isinstance(self.head, ProjectionHead):
                where = batch.segments, batch.residues, len(batch), batch.records
                logits = self.head(hidden.to(self.head_dtype), *where)
            else:
                logits = self.head(hidden.to(self.head_dtype))
        return logits

    def _answer(self, features: Tensor) -> Tensor:
        """Pooled hidden states (B, F) -> logits (B, K); the body is not asked."""
        assert isinstance(self.head, PooledHead | ImprintedHead), "only these answer to what was pooled before"
        with torch.autocast(features.device.type, enabled=False):
            return self.head.answer(features.to(self.head_dtype))

    def _decoded(self, inputs: Tensor, boundaries: Tensor, decode: Tensor | None) -> Tensor:
        """The logits (M, V) of positions that the body does not see; (T, V) without any, of a body that sees all."""
        body = cast(RotaryEncoder, self.body)  # which build_head makes sure of
        kept = torch.arange(len(inputs), device=inputs.device)
        if decode is None:
            hidden = body(inputs, boundaries)
        else:
            seen = torch.ones(len(inputs), dtype=torch.bool, device=inputs.device)
            seen[decode] = False
            kept = kept[seen]
            hidden = body.forward_kept(inputs, boundaries, kept)
        logits: Tensor = self.head(hidden, kept, boundaries, decode)
        return logits

    @property
    def head_dtype(self) -> torch.dtype:
        """In which the head keeps its weights."""
        return next(self.head.parameters()).dtype


def build(body_config: BodyConfig, head_config: HeadConfig) -> Network:
    """A network with fresh weights, drawn from torch's global generator: call torch.manual_seed first.

    Raises:
        InputError: a language model head for another vocabulary than the body's.
    """
    body = body_config.build()
    return Network(body, build_head(body, head_config))


def build_head(body: Body, head_config: HeadConfig) -> Head:
    """A head with fresh weights that fits a body.

    Raises:
        InputError: a language model head for another vocabulary than the body's, or tied to what the body lacks.
    """
    if isinstance(head_config, LanguageModelHeadConfig):
        expected = body.config.vocabulary_size
        if head_config.vocabulary_size != expected:
            raise InputError(
                f"the language model head has {head_config.vocabulary_size} tokens and its body {expected}; "
                f"give both the same vocabulary_size"
            )
        if head_config.tied and body.token_embedding is None:
            raise InputError("the language model head is tied to token embeddings, and its body lends none; untie it")
    if isinstance(head_config, DecoderHeadConfig) and not isinstance(body, RotaryEncoder):
        raise InputError("a decoder head hides positions from its body, which only the two transformers can do without")
    return head_config.build(body.width)


def language_model_head(config: BodyConfig) -> LanguageModelHeadConfig:
    """The language model head that goes with a body: tied to its token embeddings where it has some of its width."""
    return LanguageModelHeadConfig(vocabulary_size=config.vocabulary_size, tied=config.ties_head)


def to_dict(config: BodyConfig | HeadConfig) -> dict[str, Any]:
    """The fields of a config and, as "kind", the name of its class: numbers, strings and lists only."""
    plain: dict[str, Any] = {"kind": type(config).__name__}
    for field in fields(config):
        value = getattr(config, field.name)
        plain[field.name] = list(value) if isinstance(value, tuple) else value
    return plain


def body_from_dict(plain: Mapping[str, Any], place: str = "body") -> BodyConfig:
    """The inverse of :func:`to_dict` for bodies; place names the source in errors.

    Raises:
        InputError: an unknown kind or key, a missing key, or a value that the config refuses.
    """
    config: BodyConfig = _from_dict(plain, get_args(BodyConfig), place)
    return config


def head_from_dict(plain: Mapping[str, Any], place: str = "head") -> HeadConfig:
    """The inverse of :func:`to_dict` for heads; place names the source in errors.

    Raises:
        InputError: an unknown kind or key, a missing key, or a value that the config refuses.
    """
    config: HeadConfig = _from_dict(plain, get_args(HeadConfig), place)
    return config


def _from_dict(plain: Mapping[str, Any], kinds: tuple[type, ...], place: str) -> Any:
    choices = {kind.__name__: kind for kind in kinds}
    kind = plain.get("kind")
    if kind not in choices:
        raise InputError(f"{place}: kind is {kind!r}; choose one of {', '.join(choices)}")
    known = {field.name: field for field in fields(choices[kind])}
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in plain.items()}
    del values["kind"]
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise InputError(f"{place}: {kind} has no {unknown[0]!r}; it has {', '.join(known)}")
    missing = [name for name, field in known.items() if field.default is MISSING and name not in values]
    if missing:
        raise InputError(f"{place}: {kind} needs {missing[0]!r}; add it")
    return choices[kind](**values)
