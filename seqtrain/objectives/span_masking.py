"""Span masking: hide stretches of neighbouring letters and ask for them (Joshi et al. 2020, SpanBERT)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from seqtrain.alphabet import Alphabet
from seqtrain.batch import Batch
from seqtrain.draws import Draws
from seqtrain.errors import InputError
from seqtrain.objectives.choosing import chosen_among, uniform, widest_float
from seqtrain.objectives.masked_lm import USUAL_FRACTION, MaskedLM, check_fraction, check_shares, hidden_at
from seqtrain.objectives.objective import Score


@dataclass(frozen=True)
class SpanMasking:
    """Hide spans of letters, of geometric lengths; of all spans 80 % become ``<mask>``, 10 % random letters, 10 % stay.

    Lengths follow the paper: p (1 - p)^(n - 1) for n up to ``longest``, made to sum to 1, which for 0.2 and 10 has the
    mean 3.8. Where the paper draws spans until a share of the letters is hidden, and cuts the last one short, each
    sequence here gets a random number of whole spans whose expected sum is that share: so lengths keep their law and
    short sequences their share. In sequences of fewer letters than the longest span, spans are at most as long as
    the sequence. Spans may touch, and step over odd letters, which are never hidden. The objective on the borders of
    spans, which the paper adds, is left out.
    """

    alphabet: Alphabet
    masked_fraction: float = USUAL_FRACTION
    """Of the standard letters. Above 0.5 spans do not always fit, and a little less is hidden."""
    end_chance: float = 0.2
    """p of the geometric law: the chance of a span to end after each of its letters."""
    longest: int = 10
    """Letters."""
    mask_share: float = 0.8
    """Of the spans, those that are shown as ``<mask>``."""
    random_share: float = 0.1
    """Of the spans, those that are shown as random letters; the rest are shown as they are."""
    evaluated_fraction: float = USUAL_FRACTION
    """Of held-out letters, which are hidden one by one, so that perplexities compare with those of masked-lm."""

    separable = True
    num_views: ClassVar[int] = 1
    predicts_letters: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_fraction("masked_fraction", self.masked_fraction)
        check_fraction("evaluated_fraction", self.evaluated_fraction)
        check_shares(self.mask_share, self.random_share)
        if not 0 < self.end_chance < 1:
            raise InputError(f"end_chance is {self.end_chance:g}; give a chance above 0 and below 1, such as 0.2")
        if self.longest < 1:
            raise InputError(f"longest is {self.longest}; give a whole number of letters, at least 1")

    def at_evaluation(self) -> MaskedLM:
        """What is asked of held-out sequences."""
        return MaskedLM(self.alphabet, self.evaluated_fraction)

    def prepare(self, batch: Batch, draws: Draws) -> Batch:
        """Put the mask in; ``targets`` (M,) are the hidden ids at the positions ``decode`` (M,)."""
        decode, spans = self.choose(batch, draws)
        fate = draws.per_position("mask, replace or keep a span", batch.segments[decode], spans)
        return hidden_at(batch, draws, decode, fate, self.alphabet, self.mask_share, self.random_share)

    def choose(self, batch: Batch, draws: Draws) -> tuple[Tensor, Tensor]:
        """(M,) int64 increasing, the positions to hide, and (M,) int64, the span of each within its sequence."""
        device = batch.inputs.device
        standard = torch.from_numpy(self.alphabet.standard_ids).to(device)
        candidates = torch.isin(batch.inputs, standard).nonzero().squeeze(1)
        letters = torch.bincount(batch.segments[candidates], minlength=len(batch))
        owners, lengths = self._spans(letters, draws)
        # What is left of a sequence are places of one letter each; the spans stand among them in every way alike.
        spans = torch.bincount(owners, minlength=len(batch))
        covered = torch.zeros_like(letters).index_add_(0, owners, lengths)
        places = letters - covered + spans
        place_owners = torch.repeat_interleave(torch.arange(len(batch), device=device), places)
        steps = _steps(places, place_owners)
        bits = draws.per_position("place of spans", place_owners, steps)
        taken = chosen_among(bits, place_owners, spans)
        widths = torch.ones_like(place_owners)
        widths[taken] = lengths
        number = torch.full_like(place_owners, -1)
        number[taken] = _steps(spans, owners)
        span_of_letter = torch.repeat_interleave(number, widths)
        inside = span_of_letter >= 0
        return candidates[inside], span_of_letter[inside]

    def _spans(self, letters: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """letters (B,) per sequence -> (S,) the sequence of each span, increasing, and (S,) its letters."""
        device, wide = letters.device, widest_float(letters.device)
        table = self._cumulative().to(device, wide)
        longest = letters.clamp(1, self.longest)
        means = self._means().to(device, wide)[longest - 1]
        wanted = self.masked_fraction * letters / means
        counts = (wanted + uniform(draws.per_sequence("number of spans"))).floor().long()
        counts = torch.minimum(counts, letters)
        owners = torch.repeat_interleave(torch.arange(len(letters), device=letters.device), counts)
        drawn = uniform(draws.per_position("length of a span", owners, _steps(counts, owners)))
        lengths = 1 + (drawn[:, None] >= table[longest[owners] - 1]).sum(dim=1)
        # The last spans of a crowded sequence end where it does.
        ends = lengths.cumsum(0)
        ends = ends - (ends - lengths)[(counts.cumsum(0) - counts)[owners]]
        room = letters[owners]
        lengths = torch.minimum(ends, room) - torch.minimum(ends - lengths, room)
        kept = lengths > 0
        return owners[kept], lengths[kept]

    def _law(self) -> Tensor:
        """(longest, longest) float64: the chance of each length, where spans have at most 1, 2, ... letters."""
        steps = torch.arange(self.longest, dtype=torch.float64)
        chances = (self.end_chance * (1 - self.end_chance) ** steps).expand(self.longest, -1).tril()
        return chances / chances.sum(dim=1, keepdim=True)

    def _cumulative(self) -> Tensor:
        """(longest, longest - 1) float64: the chance to have at most 1, 2, ... letters."""
        return self._law().cumsum(dim=1)[:, :-1]

    def _means(self) -> Tensor:
        """(longest,) float64: the mean length, where spans have at most 1, 2, ... letters."""
        return (self._law() * torch.arange(1, self.longest + 1)).sum(dim=1)

    def score(self, outputs: Tensor, batch: Batch) -> Score:
        """outputs (M, V) -> cross-entropy in nats per chosen letter, and how many were right."""
        return MaskedLM(self.alphabet).score(outputs, batch)


def _steps(counts: Tensor, owners: Tensor) -> Tensor:
    """0, 1, ... within each owner, from how many each has (B,) and the owner of each (n,), increasing."""
    return torch.arange(len(owners), device=owners.device) - (counts.cumsum(0) - counts)[owners]
