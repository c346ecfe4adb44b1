"""Encoders of others, in the modules of transformers, behind the face that our own bodies have."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from seqtrain.errors import InputError
from seqtrain.models.checks import require_fraction, require_whole

Family = Literal["bert", "t5"]
LARGEST_RECTANGLE = {"cpu": 512, "gpu": 16_384}
"""Positions, padding included, that are computed at once; a longer sequence is computed alone.

On a CPU little is gained by company: 48 proteins of up to 1,022 residues through two layers of width 256 took 1.55 s in
rectangles of 512, 1.88 s in ones of 8,192, and 1.57 s one by one."""
LEAST_FILLED = 0.8
"""Of the longest sequence of a rectangle, how long the others are at least: sorted, few are kept apart by it."""


@dataclass(frozen=True, kw_only=True)
class BackboneConfig:
    """Shape and vocabulary of a :class:`Backbone`; read from a folder, not chosen."""

    family: Family
    """bert: ``[CLS]`` before and ``[SEP]`` after each sequence. t5, its encoder alone: only ``</s>`` after it."""
    settings: str = field(repr=False)
    """Of their config.json what decides the shape and the arithmetic, as JSON."""
    letter_ids: tuple[int, ...] = field(repr=False)
    """(V,) their id of each of our tokens."""
    output_ids: tuple[int, ...] = field(repr=False)
    """(V,) whose embedding of theirs scores each of our tokens in a language model head; -1 where they have none."""
    vocabulary_name: str = field(repr=False)
    vocabulary_text: str = field(repr=False)
    """Their vocabulary's file, one character per byte, to be written back beside the weights."""
    dropout: float = 0.0
    """Of hidden states; what their settings say of attention weights stays."""

    def __post_init__(self) -> None:
        owner = type(self).__name__
        require_fraction(owner, "dropout", self.dropout)
        if self.family not in get_args(Family):
            raise InputError(f"{owner}: family is {self.family!r}; choose one of {', '.join(get_args(Family))}")
        for name in ("width", "depth"):
            require_whole(owner, name, getattr(self, name), 1)

    @property
    def ties_head(self) -> bool:
        """Whether a language model head scores by the embeddings, as BERT's does."""
        return self.family == "bert"

    @property
    def vocabulary_size(self) -> int:
        """V, tokens of our alphabet."""
        return len(self.letter_ids)

    @property
    def width(self) -> int:
        """D, numbers per position."""
        return self._setting("hidden_size", "d_model")

    @property
    def depth(self) -> int:
        """Layers."""
        return self._setting("num_hidden_layers", "num_layers")

    @property
    def longest(self) -> int | None:
        """Positions of the longest sequence that there are embeddings for; None for no limit."""
        return int(self.plain_settings["max_position_embeddings"]) if self.family == "bert" else None

    @property
    def plain_settings(self) -> dict[str, Any]:
        """What decides the shape and the arithmetic, by their names."""
        settings: dict[str, Any] = json.loads(self.settings)
        return settings

    def build(self) -> Backbone:
        """A backbone with fresh weights, drawn from torch's global generator."""
        return Backbone(self)

    def _setting(self, bert: str, t5: str) -> int:
        value: int = self.plain_settings[bert if self.family == "bert" else t5]
        return value


@dataclass(frozen=True)
class Rectangle:
    """Sequences of nearly one length as rows."""

    index: Tensor
    """(R, L) int64 position in the packed batch of each place; any position where there is padding."""
    real: Tensor | None
    """(R, L) bool, False at padded places; None where there are none."""

    def back(self, rectangle: Tensor) -> Tensor:
        """(R, L, D) -> the rows of its real places, (P, D)."""
        return rectangle.flatten(0, 1) if self.real is None else rectangle[self.real]


@dataclass(frozen=True)
class Rectangles:
    """A packed batch as rectangles."""

    members: tuple[Rectangle, ...]
    positions: Tensor
    """(P,) int64 the packed position of each real place, rectangle by rectangle."""
    decode: Tensor | None
    """(M,) the positions that are wanted."""

    @classmethod
    def of(cls, boundaries: Tensor, decode: Tensor | None, *, has_start: bool) -> Rectangles:
        """Sorted by length and cut where a row would be much shorter than the longest, or the rectangle too large.

        Args:
            boundaries: (B + 1,) of sequences between start and end tokens.
            decode: (M,) the positions that are wanted; None for all.
            has_start: whether the network knows a start token; else that position is left out.
        """
        device, skipped = boundaries.device, 0 if has_start else 1
        largest = LARGEST_RECTANGLE["cpu" if device.type == "cpu" else "gpu"]
        starts = boundaries[:-1] + skipped
        lengths = (boundaries.diff() - skipped).tolist()
        order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
        order = [index for index in order if lengths[index] > 0]
        rows: list[list[int]] = []
        for index in order:
            longest = lengths[rows[-1][0]] if rows else 0
            fits = rows and (len(rows[-1]) + 1) * longest <= largest
            if fits and lengths[index] >= LEAST_FILLED * longest:
                rows[-1].append(index)
            else:
                rows.append([index])
        members = []
        for row in rows:
            longest = lengths[row[0]]
            chosen = torch.tensor(row, device=device)
            own = torch.tensor([lengths[index] for index in row], device=device)
            places = torch.arange(longest, device=device)
            real = None if lengths[row[-1]] == longest else places < own[:, None]
            members.append(Rectangle(starts[chosen, None] + places.clamp(max=own[:, None] - 1), real))
        return cls(tuple(members), _positions(members, boundaries), decode)

    @classmethod
    def of_rectangle(cls, real: Tensor, *, has_start: bool) -> Rectangles:
        """One rectangle of rows that lie end to end, padding included, real being (B, L) bool."""
        index = torch.arange(real.numel(), device=real.device).view(real.shape)
        if not has_start:
            real = torch.cat((torch.zeros_like(real[:, :1]), real[:, 1:]), dim=1)
        member = Rectangle(index, real)
        return cls((member,), member.back(index[..., None]).squeeze(1), None)


class BackboneEmbedding(nn.Embedding):
    """The rows of another's embedding for our ids."""

    def __init__(self, rows: int, width: int, letter_ids: tuple[int, ...]) -> None:
        super().__init__(rows, width)
        self.letter_ids = letter_ids

    def forward(self, inputs: Tensor) -> Tensor:
        """(T,) ids of ours, or (T, V) shares of them, -> (T, D)"""
        ids = torch.tensor(self.letter_ids, device=inputs.device)
        if inputs.ndim == 1:
            return functional.embedding(ids[inputs], self.weight)
        with torch.autocast(inputs.device.type, enabled=False):  # as rows that are looked up are not rounded
            return functional.linear(inputs.to(self.weight.dtype), self.weight[ids].T)


class Backbone(nn.Module):
    """Our token ids -> hidden states of another's encoder, by transformers' own modules."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.config = config
        settings = config.plain_settings
        # Kept outside of the model, which is given embedded positions: no weight then has two owners, and the
        # optimiser finds the embeddings by their name.
        self.embedding = BackboneEmbedding(settings["vocab_size"], config.width, config.letter_ids)
        self.model: nn.Module = _bert(config) if config.family == "bert" else _t5(config)
        self.has_start = config.family == "bert"
        nn.init.normal_(self.embedding.weight, std=0.02)

    @property
    def width(self) -> int:
        """D, numbers per position."""
        return self.config.width

    @property
    def token_embedding(self) -> Tensor | None:
        """(V, D) for a tied language model head, 0 where they have no such token; None for T5, without such a head."""
        if self.config.family != "bert":
            return None
        ids = torch.tensor(self.config.output_ids, device=self.embedding.weight.device)
        return self.embedding.weight[ids.clamp(min=0)] * (ids >= 0)[:, None]

    def forward(self, inputs: Tensor, boundaries: Tensor, decode: Tensor | None = None) -> Tensor:
        """Hidden states after the last layer, 0 at special tokens that the model does not have.

        Args:
            inputs: (T,) int64 ids of B packed sequences, or (T, V) shares of ids.
            boundaries: (B + 1,) int64.
            decode: (M,) int64 increasing positions.

        Returns:
            (T, D), or (M, D) with decode.

        Raises:
            InputError: a sequence is longer than the model's position embeddings.
        """
        return self.compute(inputs, self.plan(boundaries, decode))

    def plan(self, boundaries: Tensor, decode: Tensor | None = None) -> Rectangles:
        """How sequences with these boundaries (B + 1,) are laid out, for :meth:`compute`."""
        longest = int(boundaries.diff().max())
        if self.config.longest is not None and longest > self.config.longest:
            raise InputError(
                f"a sequence of {longest} positions, and this model has {self.config.longest}; "
                f"pass --max-length {self.config.longest - 2}"
            )
        return Rectangles.of(boundaries, decode, has_start=self.has_start)

    def plan_rectangle(self, real: Tensor) -> Rectangles:
        """How the places of a padded rectangle, real (B, L) bool, are laid out, for :meth:`compute`."""
        return Rectangles.of_rectangle(real, has_start=self.has_start)

    def compute(self, inputs: Tensor, plan: Rectangles) -> Tensor:
        """inputs (T,) or (T, V) -> (T, D), or (M, D) at the positions that the plan wants."""
        embedded = self.embedding(inputs)
        parts = [member.back(self._run(embedded, member).last_hidden_state) for member in plan.members]
        hidden = self._packed(parts, embedded, plan)
        return hidden if plan.decode is None else hidden.index_select(0, plan.decode)

    def hidden_states(self, inputs: Tensor, boundaries: Tensor, last: int | None = None) -> list[Tensor]:
        """The embeddings and the output of each layer, depth + 1 tensors (T, D), as transformers gives them.

        With ``last``, only those at 0 to ``last``.
        """
        plan, embedded = self.plan(boundaries), self.embedding(inputs)
        runs = [self._run(embedded, member, output_hidden_states=True).hidden_states for member in plan.members]
        layers = [
            [member.back(states[layer]) for member, states in zip(plan.members, runs, strict=True)]
            for layer in range(self.config.depth + 1 if last is None else last + 1)
        ]
        return [self._packed(parts, embedded, plan) for parts in layers]

    def _run(self, embedded: Tensor, member: Rectangle, *, output_hidden_states: bool = False) -> Any:
        given: dict[str, Tensor] = {}
        if self.config.family == "bert":
            given["position_ids"] = torch.arange(member.index.shape[1], device=embedded.device)[None]
            given["token_type_ids"] = torch.zeros_like(member.index)
        return self.model(
            inputs_embeds=embedded[member.index],
            attention_mask=None if member.real is None else member.real.long(),
            output_hidden_states=output_hidden_states,
            **given,
        )

    def _packed(self, parts: list[Tensor], embedded: Tensor, plan: Rectangles) -> Tensor:
        rows = torch.cat(parts) if parts else embedded[:0]
        return rows.new_zeros(embedded.shape).index_copy(0, plan.positions, rows)


def _positions(members: list[Rectangle], boundaries: Tensor) -> Tensor:
    if not members:
        return boundaries.new_zeros(0)
    return torch.cat([member.back(member.index[..., None]).squeeze(1) for member in members])


def _bert(config: BackboneConfig) -> nn.Module:
    from transformers import BertConfig, BertModel

    settings = {**config.plain_settings, "hidden_dropout_prob": config.dropout}
    model = BertModel(BertConfig(**settings), add_pooling_layer=False)
    del model.embeddings.word_embeddings
    # Buffers that are not among the weights hold nothing, or anything, where a model is built without weights and then
    # filled; what they would say is given at every call.
    del model.embeddings.position_ids, model.embeddings.token_type_ids
    return model


def _t5(config: BackboneConfig) -> nn.Module:
    from transformers import T5Config, T5EncoderModel

    settings = {**config.plain_settings, "dropout_rate": config.dropout}
    model = T5EncoderModel(T5Config(**settings))
    del model.shared, model.encoder.embed_tokens
    return model
