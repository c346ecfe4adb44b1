"""Masked autoencoding: most letters are taken away, and a light decoder answers for them (He et al. 2021)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from seqtrain.alphabet import Alphabet
from seqtrain.batch import Batch
from seqtrain.draws import Draws
from seqtrain.errors import InputError
from seqtrain.objectives.choosing import chosen_among, uniform
from seqtrain.objectives.masked_lm import MaskedLM, check_fraction
from seqtrain.objectives.objective import Score


@dataclass(frozen=True)
class MaskedAutoencoder:
    """Take away an exact share of the letters of each sequence; the body sees the rest, at the places they stand at.

    As the body computes the letters that are left only, a step costs a fraction of one of masked-lm, and no ``<mask>``
    token, which finetuning never has, is seen by it. The paper takes 75 % of image patches away; proteins, of which
    less can be guessed from so little, are also tried at 50 %. Odd letters and special tokens always stay.
    """

    alphabet: Alphabet
    masked_fraction: float = 0.6
    """Of the standard letters of each sequence; the rounding up or down is drawn."""
    decoder_depth: int = 1
    """Layers of the decoder."""
    decoder_width: int | None = None
    """Numbers per position in the decoder; None: half of those in the body."""

    separable = True
    num_views: ClassVar[int] = 1
    predicts_letters: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_fraction("masked_fraction", self.masked_fraction)
        if self.decoder_depth < 1:
            raise InputError(f"decoder_depth is {self.decoder_depth}; give a whole number of layers, at least 1")
        if self.decoder_width is not None and (self.decoder_width < 2 or self.decoder_width % 2):
            raise InputError(f"decoder_width is {self.decoder_width}; give an even number of at least 2")

    def prepare(self, batch: Batch, draws: Draws) -> Batch:
        """Choose what is taken away; ``targets`` (M,) are the ids at the positions ``decode`` (M,), which read <mask>.

        A network with a decoder shows its body only the other positions.
        """
        device = batch.inputs.device
        standard = torch.from_numpy(self.alphabet.standard_ids).to(device)
        candidates = torch.isin(batch.inputs, standard).nonzero().squeeze(1)
        segments = batch.segments[candidates]
        letters = torch.bincount(segments, minlength=len(batch))
        wanted = self.masked_fraction * letters + uniform(draws.per_sequence("letters to take away"))
        bits = draws.per_position("take away", segments, batch.positions[candidates])
        decode = candidates[chosen_among(bits, segments, wanted.floor().long())]
        hidden = batch.inputs[decode]
        mask = torch.full_like(hidden, self.alphabet.vocabulary.id("<mask>"))
        return replace(batch, inputs=batch.inputs.index_put((decode,), mask), targets=hidden, decode=decode)

    def score(self, outputs: Tensor, batch: Batch) -> Score:
        """outputs (M, V) -> cross-entropy in nats per letter taken away, and how many were right."""
        return MaskedLM(self.alphabet).score(outputs, batch)
