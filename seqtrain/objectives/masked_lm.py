"""Masked language modelling: hide some letters and ask for them (Devlin et al. 2018)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from seqtrain.alphabet import Alphabet
from seqtrain.batch import Batch
from seqtrain.draws import Draws, below, chance
from seqtrain.errors import InputError
from seqtrain.losses import CrossEntropy
from seqtrain.objectives.objective import Score

USUAL_FRACTION = 0.15
"""Of the letters, hidden by BERT and ESM-2; held-out letters are hidden so whatever the training hides."""


@dataclass(frozen=True)
class MaskedLM:
    """Choose letters at random; of those replace 80 % by ``<mask>``, 10 % by a random letter, and keep 10 %.

    Random letters are drawn evenly from the standard letters of the alphabet. Odd letters and special tokens are
    never chosen: nothing is learnt from predicting an X. With ``final_fraction`` the share of chosen letters changes
    during the training, usually from more to less (Wettig et al. 2023, arXiv:2202.08005, on higher shares; Yang et al.
    2023, arXiv:2208.10806, on shares that fall).
    """

    alphabet: Alphabet
    masked_fraction: float = USUAL_FRACTION
    """Of the standard letters."""
    final_fraction: float | None = None
    """The share at the end of the training; None keeps it as it is."""
    shape: Literal["linear", "cosine"] = "linear"
    """How the share changes on the way."""
    mask_share: float = 0.8
    """Of the chosen letters, those that are shown as ``<mask>``."""
    random_share: float = 0.1
    """Of the chosen letters, those that are shown as a random letter; the rest are shown as they are."""
    evaluated_fraction: float = USUAL_FRACTION
    """Of held-out letters; the same for all runs whose perplexities are compared."""
    num_steps: int = 0
    """Of the training, for a share that changes."""

    separable = True
    num_views: ClassVar[int] = 1
    predicts_letters: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_fraction("masked_fraction", self.masked_fraction)
        check_fraction("evaluated_fraction", self.evaluated_fraction)
        if self.final_fraction is not None:
            check_fraction("final_fraction", self.final_fraction)
        check_shares(self.mask_share, self.random_share)

    def at_step(self, step: int) -> MaskedLM:
        """With the share of letters that is hidden in the update after ``step`` updates."""
        if self.final_fraction is None:
            return self
        progress = min(1.0, step / max(1, self.num_steps - 1))
        if self.shape == "cosine":
            progress = (1 - math.cos(math.pi * progress)) / 2
        now = self.masked_fraction + (self.final_fraction - self.masked_fraction) * progress
        return replace(self, masked_fraction=now, final_fraction=None)

    def at_evaluation(self) -> MaskedLM:
        """What is asked of held-out sequences."""
        return MaskedLM(self.alphabet, self.evaluated_fraction)

    def prepare(self, batch: Batch, draws: Draws) -> Batch:
        """Put the mask in; ``targets`` (M,) are the hidden ids at the positions ``decode`` (M,)."""
        standard = torch.from_numpy(self.alphabet.standard_ids).to(batch.inputs.device)
        candidates = torch.isin(batch.inputs, standard)
        bits = draws.per_position("choose masked letters", batch.segments, batch.positions)
        decode = (candidates & chance(bits, self.masked_fraction)).nonzero().squeeze(1)
        fate = draws.per_position("mask, replace or keep", batch.segments[decode], batch.positions[decode])
        return hidden_at(batch, draws, decode, fate, self.alphabet, self.mask_share, self.random_share)

    def score(self, outputs: Tensor, batch: Batch) -> Score:
        """outputs (M, V) -> cross-entropy in nats per chosen letter, and how many were right."""
        assert batch.targets is not None
        loss, count = CrossEntropy()(outputs, batch.targets)
        return Score(loss, count, {"accuracy": (outputs.argmax(1) == batch.targets).sum()})


def hidden_at(
    batch: Batch, draws: Draws, decode: Tensor, fate: Tensor, alphabet: Alphabet, mask_share: float, random_share: float
) -> Batch:
    """The batch with the letters at decode (M,) shown as ``<mask>``, as a random letter or as they are.

    Args:
        fate: (M,) int64 random bits that settle which of the three.
    """
    standard = torch.from_numpy(alphabet.standard_ids).to(batch.inputs.device)
    hidden = batch.inputs[decode]
    where = batch.segments[decode], batch.positions[decode]
    letters = standard[below(draws.per_position("replacing letter", *where), len(standard))]
    shown = torch.where(chance(fate, min(1.0, mask_share + random_share)), letters, hidden)
    shown = torch.where(chance(fate, mask_share), alphabet.vocabulary.id("<mask>"), shown)
    return replace(batch, inputs=batch.inputs.index_put((decode,), shown), targets=hidden, decode=decode)


def check_fraction(name: str, value: float) -> None:
    """Refuse a share of hidden letters that leaves nothing to see or nothing to ask.

    Raises:
        InputError: it is not between 0 and 1.
    """
    if not 0 < value < 1:
        raise InputError(f"{name} is {value:g}; give a fraction above 0 and below 1, such as {USUAL_FRACTION}")


def check_shares(mask_share: float, random_share: float) -> None:
    """Refuse shares of what becomes of chosen letters that are none, or more than all.

    Raises:
        InputError: a share below 0, or a sum above 1.
    """
    if not (mask_share >= 0 and random_share >= 0 and mask_share + random_share <= 1 + 1e-9):
        raise InputError(
            f"mask_share {mask_share:g} and random_share {random_share:g} are no shares of all chosen letters; "
            "give numbers from 0 on that sum to at most 1, such as 0.8 and 0.1"
        )
