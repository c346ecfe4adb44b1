"""Masked language modelling: hide some letters and ask for them (Devlin et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from seqtrain.alphabet import Alphabet
from seqtrain.batch import Batch
from seqtrain.draws import Draws, below, chance
from seqtrain.losses import CrossEntropy
from seqtrain.objectives.objective import Score


@dataclass(frozen=True)
class MaskedLM:
    """Choose letters at random; of those replace 80 % by ``<mask>``, 10 % by a random letter, and keep 10 %.

    Random letters are drawn evenly from the standard letters of the alphabet. Odd letters and special tokens are
    never chosen: nothing is learnt from predicting an X.
    """

    alphabet: Alphabet
    masked_fraction: float = 0.15

    separable = True
    num_views: ClassVar[int] = 1
    predicts_letters: ClassVar[bool] = True

    def prepare(self, batch: Batch, draws: Draws) -> Batch:
        """Put the mask in; ``targets`` (M,) are the hidden ids at the positions ``decode`` (M,)."""
        standard = torch.from_numpy(self.alphabet.standard_ids).to(batch.inputs.device)
        candidates = torch.isin(batch.inputs, standard)
        bits = draws.per_position("choose masked letters", batch.segments, batch.positions)
        decode = (candidates & chance(bits, self.masked_fraction)).nonzero().squeeze(1)
        hidden = batch.inputs[decode]
        where = batch.segments[decode], batch.positions[decode]
        fate = draws.per_position("mask, replace or keep", *where)
        letters = standard[below(draws.per_position("replacing letter", *where), len(standard))]
        shown = torch.where(chance(fate, 0.9), letters, hidden)
        shown = torch.where(chance(fate, 0.8), self.alphabet.vocabulary.id("<mask>"), shown)
        return replace(batch, inputs=batch.inputs.index_put((decode,), shown), targets=hidden, decode=decode)

    def score(self, outputs: Tensor, batch: Batch) -> Score:
        """outputs (M, V) -> cross-entropy in nats per chosen letter, and how many were right."""
        assert batch.targets is not None
        loss, count = CrossEntropy()(outputs, batch.targets)
        return Score(loss, count, {"accuracy": (outputs.argmax(1) == batch.targets).sum()})
