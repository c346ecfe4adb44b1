"""From a store to batches: which stretches are read, in which order, and how they are laid end to end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from seqtrain.augment import Augmenter, RandomCrop
from seqtrain.augment.augmenter import composed
from seqtrain.batch import Batch
from seqtrain.draws import Draws, fold, mix, record_keys
from seqtrain.encode import Tokens
from seqtrain.encode.tokens import Encoded
from seqtrain.letters import PackedLetters
from seqtrain.losses import IGNORED_CLASS
from seqtrain.mixing import Mixing
from seqtrain.orders import Order, Shuffled, partner_positions
from seqtrain.spans import Spans

_LOOK_AHEAD = 1024


class Letters(Protocol):
    """Where letters come from: a store on disk or in memory."""

    @property
    def letters(self) -> NDArray[np.uint8]: ...
    @property
    def offsets(self) -> NDArray[np.int64]: ...


@dataclass(frozen=True, kw_only=True)
class Examples:
    """What batches are made of: stretches of stored letters with their targets, an augmenter and an encoder."""

    store: Letters
    spans: Spans
    encoder: Tokens
    augmenter: Augmenter | None = None
    targets: NDArray[np.generic] | None = None
    """(N,) or (N, K) one per record, or (total letters,) one per letter of the store when ``per_residue``."""
    per_residue: bool = False
    weights: NDArray[np.float32] | None = None
    """(N,) weight of each record in the loss."""
    max_length: int | None = None
    """Letters that the augmenter leaves at most, for the token budget."""
    seed: int = 0
    order: Order | None = None
    """In which they come in training; None shuffles them anew each epoch."""
    mixing: Mixing | None = None
    """How pairs of them are mixed; only where there is one target per sequence."""
    num_views: int = 1
    """How often each example is laid into a batch, one view behind the other, each augmented by draws of its own."""
    length_at: Callable[[int], int | None] | None = None
    """Letters of the random crops after so many examples; None where sequences stay as they are."""

    def __len__(self) -> int:
        return len(self.spans)

    @cached_property
    def num_tokens(self) -> NDArray[np.int64]:
        """(U,) positions that each example takes in a batch, in all its views, special tokens included."""
        lengths = self.spans.lengths
        if self.max_length is not None:
            lengths = np.minimum(lengths, self.max_length)
        return self.num_views * (lengths + self.encoder.num_special)

    def tokens_of(self, units: NDArray[np.int64], cropped_to: int | None) -> NDArray[np.int64]:
        """(B,) positions that examples take in a batch where they are cropped to a number of letters, or are not."""
        num_tokens = self.num_tokens[units]
        return (
            num_tokens
            if cropped_to is None
            else np.minimum(num_tokens, self.num_views * (cropped_to + self.encoder.num_special))
        )

    def batch(self, units: NDArray[np.int64], epochs: NDArray[np.int64], cropped_to: int | None = None) -> Batch:
        """Lay the examples ``units`` (B,), as they come in ``epochs`` (B,), end to end, each in all its views."""
        keys = record_keys(self.seed, epochs, units)
        if self.num_views > 1:
            views = np.array([fold(0, "view", view) for view in range(self.num_views)])
            keys = mix(np.repeat(keys, self.num_views) + np.tile(views, len(units)))
            units, epochs = (np.repeat(each, self.num_views) for each in (units, epochs))
        read = self._read(units, keys, cropped_to)
        weights = self._weights(units)
        batch = Batch(
            inputs=torch.from_numpy(read.encoded.inputs),
            boundaries=torch.from_numpy(read.encoded.boundaries),
            letters=torch.from_numpy(read.letters),
            records=torch.from_numpy(self.spans.records[units]),
            keys=torch.from_numpy(keys),
            targets=self._targets(units, _follow(read.origin, read.encoded.source), read.encoded.boundaries),
            weights=None if weights is None else torch.from_numpy(weights),
        )
        return batch if self.mixing is None else self._mixed(batch, read, units, epochs, cropped_to)

    def _read(self, units: NDArray[np.int64], keys: NDArray[np.int64], cropped_to: int | None = None) -> _Read:
        """The letters of examples (B,), augmented by draws of their keys (B,), and their tokens."""
        starts = self.store.offsets[self.spans.records[units]] + self.spans.starts[units]
        packed, origin = _gather(self.store.letters, starts, self.spans.lengths[units])
        if self.augmenter is not None:
            augmented = self.augmenter(packed, Draws(keys))
            packed, origin = augmented.packed, composed(origin, augmented.moved)
        if cropped_to is not None:
            cropped = RandomCrop(cropped_to)(packed, Draws(keys).derived("growing crop"))
            packed, origin = cropped.packed, composed(origin, cropped.moved)
        encoded = self.encoder(packed)
        letters = np.where(encoded.source >= 0, packed.letters[encoded.source], 0).astype(np.uint8)
        return _Read(encoded, letters, origin, packed.lengths)

    def _mixed(
        self, batch: Batch, read: _Read, units: NDArray[np.int64], epochs: NDArray[np.int64], cropped_to: int | None
    ) -> Batch:
        """The batch with another example laid over each of its sequences."""
        assert self.mixing is not None and self.targets is not None and not self.per_residue
        draws = Draws(batch.keys.numpy())
        order = self.order or Shuffled(len(self), self.seed)
        others, their_epochs = order(partner_positions(order, draws.per_sequence("partner"), epochs, len(self)))
        their_keys = Draws(record_keys(self.seed, their_epochs, others)).per_sequence("mixed in")
        other = self._read(others, their_keys, cropped_to)
        shares, sequences = self.mixing.shares(draws, np.minimum(read.lengths, other.lengths))
        here, there = (side.meeting(sequences) for side in (read, other))
        share_of_other = np.bincount(sequences, 1 - shares, len(units)) / np.maximum(read.lengths, 1)
        own_classes, other_classes = (self.targets[self.spans.records[each]] for each in (units, others))
        sizes = None
        if self.mixing.only_classes:
            sizes = self._class_sizes[own_classes] / self._class_sizes[other_classes]
        label_shares = self.mixing.label_shares((1 - share_of_other).astype(np.float32), sizes)
        input_shares = np.ones(len(batch.inputs), np.float32)
        input_shares[here] = shares
        other_inputs = read.encoded.inputs.copy()
        other_inputs[here] = other.encoded.inputs[there]
        return replace(
            batch,
            other_inputs=torch.from_numpy(other_inputs),
            input_shares=torch.from_numpy(input_shares),
            other_targets=torch.from_numpy(other_classes),
            target_shares=torch.from_numpy(label_shares),
        )

    @cached_property
    def _class_sizes(self) -> NDArray[np.float64]:
        """(C + 100,) records of each class; 1 at -100, for what has none."""
        assert self.targets is not None
        classes = self.targets[self.spans.records].astype(np.int64)
        known = classes >= 0
        sizes = np.bincount(classes[known], self.spans.record_shares[known])
        return np.concatenate([sizes, np.ones(-IGNORED_CLASS)])

    def _targets(
        self, units: NDArray[np.int64], source: NDArray[np.int64], boundaries: NDArray[np.int64]
    ) -> torch.Tensor | None:
        """source (T,): the stored letter that each position stands for, or -1."""
        if self.targets is None:
            return None
        if not self.per_residue:
            return torch.from_numpy(self.targets[self.spans.records[units]])
        unit = np.repeat(units, np.diff(boundaries))
        first_letter = self.store.offsets[self.spans.records[unit]]
        own = (source >= first_letter + self.spans.own_starts[unit]) & (
            source < first_letter + self.spans.own_stops[unit]
        )
        return torch.from_numpy(np.where(own, self.targets[source], IGNORED_CLASS))

    def _weights(self, units: NDArray[np.int64]) -> NDArray[np.float32] | None:
        """(B,) weights; that of a record is shared among its windows, except where each window has its own residues."""
        # All batches have weights or none has: those of a step are joined for losses that compare its records.
        if self.weights is None and (self.per_residue or self.spans.record_shares.min() == 1):
            return None
        shares = np.ones(len(units)) if self.per_residue else self.spans.record_shares[units]
        return (shares if self.weights is None else shares * self.weights[self.spans.records[units]]).astype(np.float32)


@dataclass(frozen=True)
class _Read:
    """Examples as they are read for a batch."""

    encoded: Encoded
    letters: NDArray[np.uint8]
    """(T,) the letter at each position, 0 at special tokens."""
    origin: NDArray[np.int64]
    """(letters,) the stored letter that each one is; -1 where it was inserted."""
    lengths: NDArray[np.int64]
    """(B,) letters of each."""

    def meeting(self, sequences: NDArray[np.int64]) -> NDArray[np.int64]:
        """(S,) the sequence of each, in order -> (S,) positions of as many first letters of each sequence."""
        steps = np.arange(len(sequences)) - np.searchsorted(sequences, sequences)
        firsts = np.cumsum(self.lengths) - self.lengths
        return np.flatnonzero(self.encoded.source >= 0)[firsts[sequences] + steps]


def _gather(
    letters: NDArray[np.uint8], starts: NDArray[np.int64], lengths: NDArray[np.int64]
) -> tuple[PackedLetters, NDArray[np.int64]]:
    """Stretches of the store laid end to end, and (T,) the stored letter that each one is."""
    boundaries = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    origin = np.arange(boundaries[-1]) + np.repeat(starts - boundaries[:-1], lengths)
    return PackedLetters(letters[origin], boundaries), origin


def _follow(origin: NDArray[np.int64], then: NDArray[np.int64]) -> NDArray[np.int64]:
    """Compose two maps from positions to where they came from; -1 stays -1."""
    return np.where(then >= 0, origin[then], -1) if len(origin) else then


@dataclass(frozen=True)
class Step:
    """The examples of one optimiser update."""

    units: NDArray[np.int64]
    """(B,) indices of examples."""
    epochs: NDArray[np.int64]
    """(B,) the epoch in which each of them comes; a step may end one epoch and begin the next."""
    next_position: int
    """Examples consumed since the start of training when this step is done: all that a resumed run needs to know."""
    cropped_to: int | None = None
    """Letters of the random crops of this step; None where sequences stay as they are."""


def steps_from(
    examples: Examples,
    tokens_per_step: int,
    position: int,
    seed: int,
    *,
    first_step: int = 0,
    growth: Callable[[int], float] = lambda step: 1.0,
) -> Iterator[Step]:
    """Endless steps, beginning after ``position`` examples and ``first_step`` steps.

    Examples come in their order, shuffled by the seed unless they have one of their own. A step takes the next examples
    while their total stays within ``tokens_per_step`` times the growth at that step, and at least one.
    """
    order = examples.order or Shuffled(len(examples), seed)
    units = epochs = np.zeros(0, np.int64)
    ahead = position
    for number in count(first_step):
        budget = round(tokens_per_step * growth(number))
        cropped_to = examples.length_at(position) if examples.length_at else None
        while int(examples.tokens_of(units, cropped_to).sum()) <= budget:
            more, their_epochs = order(np.arange(ahead, ahead + _LOOK_AHEAD))
            units, epochs = np.concatenate([units, more]), np.concatenate([epochs, their_epochs])
            ahead += _LOOK_AHEAD
        totals = np.cumsum(examples.tokens_of(units, cropped_to))
        taken = max(1, int(np.searchsorted(totals, budget, side="right")))
        position += taken
        yield Step(units[:taken], epochs[:taken], position, cropped_to)
        units, epochs = units[taken:], epochs[taken:]


def microbatches(step: Step, examples: Examples, tokens_per_microbatch: int) -> Iterator[Batch]:
    """The batches that a step is computed in, one after the other; how they are cut never changes the step."""
    for part in budgeted(examples.tokens_of(step.units, step.cropped_to), tokens_per_microbatch):
        yield examples.batch(step.units[part], step.epochs[part], step.cropped_to)


@dataclass
class MicrobatchBudget:
    """Tokens that are computed at once; shared by the steps of a training, and lowered when memory runs out."""

    tokens: int


@dataclass(frozen=True)
class Microbatches:
    """The batches of one step, cut anew whenever they are iterated over."""

    step: Step
    examples: Examples
    budget: MicrobatchBudget

    def __iter__(self) -> Iterator[Batch]:
        return microbatches(self.step, self.examples, self.budget.tokens)

    def halve(self) -> int | None:
        """Half as many tokens at once, from now on; None where every batch holds a single example already."""
        num_tokens = self.examples.tokens_of(self.step.units, self.step.cropped_to)
        if len(list(budgeted(num_tokens, self.budget.tokens))) == len(num_tokens):
            return None
        self.budget.tokens = max(1, min(self.budget.tokens, int(num_tokens.sum())) // 2)
        return self.budget.tokens


def budgeted(num_tokens: NDArray[np.int64], budget: int) -> Iterator[slice]:
    """Cut a row of examples into runs of at most ``budget`` tokens, each with at least one example."""
    start = total = 0
    for index, tokens in enumerate(num_tokens.tolist()):
        if index > start and total + tokens > budget:
            yield slice(start, index)
            start, total = index, 0
        total += tokens
    if start < len(num_tokens):
        yield slice(start, len(num_tokens))
