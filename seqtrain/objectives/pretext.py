"""Pretext labels: predict, of a partly hidden sequence, what can be computed from the whole (Doersch et al. 2015)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional

from seqtrain.alphabet import Alphabet
from seqtrain.batch import Batch
from seqtrain.draws import Draws, chance
from seqtrain.errors import InputError
from seqtrain.motifs import Motif, known_motifs
from seqtrain.objectives.masked_lm import check_fraction
from seqtrain.objectives.objective import Score
from seqtrain.properties import composition, hydropathy, net_charge

Property = Literal["composition", "charge", "hydropathy", "motifs"]
OF_PROTEINS: tuple[Property, ...] = ("composition", "charge", "hydropathy", "motifs")


@dataclass(frozen=True, kw_only=True)
class LabelStatistics:
    """How labels lie in a corpus: what they are standardised by, and which of them say anything."""

    means: tuple[float, ...]
    """Of each label; of a motif, the share of sequences that have it."""
    deviations: tuple[float, ...]
    """Of each label; 0 where all sequences have the same, and then it is not asked for."""


@dataclass(frozen=True)
class Pretext:
    """The properties of a sequence, from what is left of it when some letters are hidden.

    Labels are those of the sequence as the network is shown it, augmented and cropped, before letters are hidden: so
    that counting what is seen is not enough. The loss is a sum over the properties, each the mean over its labels: the
    squared error of numbers in standard deviations of the corpus, and the cross-entropy of motifs being there.
    """

    alphabet: Alphabet
    masked_fraction: float = 0.5
    """Of the standard letters, those that are shown as ``<mask>``."""
    properties: tuple[Property, ...] | None = None
    """composition: the share of each letter. charge: the net charge at pH 7 per 100 residues. hydropathy: the mean of
    Kyte & Doolittle's scale. motifs: whether each is there. None: all of them for proteins, else the composition."""
    motifs: tuple[str, ...] | None = None
    """Patterns in the notation of PROSITE, for the property of that name; None: those that ship with the toolkit."""
    statistics: LabelStatistics | None = None
    """Of the corpus."""

    separable = True
    num_views: ClassVar[int] = 1
    predicts_letters: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_fraction("masked_fraction", self.masked_fraction)
        is_protein = self.alphabet.name == "protein"
        for name in self.asked:
            if name in ("charge", "hydropathy") and not is_protein:
                raise InputError(f"{name} is a property of proteins, and these are {self.alphabet.name} letters")
        if self.motifs is not None and "motifs" not in self.asked:
            raise InputError("motifs are given and not among the properties; add /motifs to these")
        if "motifs" in self.asked and self.alphabet.bases_per_letter > 1:
            raise InputError("motifs are patterns of single letters, and codons are no such; leave them out")
        if "motifs" in self.asked and self.motifs is None and not is_protein:
            raise InputError(f"no motifs of {self.alphabet.name} ship with the toolkit; give motifs=…")
        _ = self.patterns  # refuses what is no pattern

    @property
    def asked(self) -> tuple[Property, ...]:
        """The properties, in the order of their labels."""
        if self.properties is not None:
            return tuple(name for name in OF_PROTEINS if name in self.properties)
        if self.alphabet.name == "protein":
            return OF_PROTEINS
        return ("composition", "motifs") if self.motifs is not None else ("composition",)

    @cached_property
    def patterns(self) -> tuple[Motif, ...]:
        """What is looked for in sequences."""
        if "motifs" not in self.asked:
            return ()
        known = known_motifs() if self.alphabet.name == "protein" else {}
        if self.motifs is None:
            return tuple(Motif.from_text(text, self.alphabet.standard, name) for name, text in known.items())
        return tuple(Motif.from_text(known.get(text, text), self.alphabet.standard, text) for text in self.motifs)

    @cached_property
    def labels(self) -> tuple[tuple[Property, str], ...]:
        """The property and the name of every label, the motifs last."""
        letters = self._letter_names()
        return tuple(
            (name, label)
            for name in self.asked
            for label in (
                [f"share of {letter}" for letter in letters]
                if name == "composition"
                else [motif.name for motif in self.patterns]
                if name == "motifs"
                else [name]
            )
        )

    def _letter_names(self) -> list[str]:
        return [self.alphabet.text(self.alphabet.standard_letters[i : i + 1]) for i in range(len(self._standard))]

    @property
    def _standard(self) -> Tensor:
        """(A,) uint8"""
        return torch.from_numpy(self.alphabet.standard_letters.copy())

    @property
    def outputs(self) -> int:
        """K, numbers that a network is asked for."""
        return len(self.labels)

    @property
    def is_motif(self) -> Tensor:
        """(K,) bool"""
        return torch.tensor([name == "motifs" for name, _ in self.labels])

    def fitted(self, values: Tensor) -> Pretext:
        """With the statistics of a corpus, whose labels are values (N, K).

        Raises:
            InputError: all sequences have the same labels.
        """
        means, deviations = values.double().nanmean(dim=0), torch.zeros(self.outputs, dtype=torch.float64)
        deviations = (values.double() - means).square().nanmean(dim=0).sqrt()
        deviations = torch.where(deviations > 1e-6, deviations, 0.0).nan_to_num()
        if not deviations.any():
            raise InputError("all sequences have the same labels, so that nothing can be learnt; give other properties")
        statistics = LabelStatistics(means=tuple(means.nan_to_num().tolist()), deviations=tuple(deviations.tolist()))
        return replace(self, statistics=statistics)

    def compute(self, batch: Batch) -> Tensor:
        """(B, K) float32, the labels in their units; nan where a sequence has none."""
        where = batch.letters, batch.segments, len(batch)
        parts: list[Tensor] = []
        for name in self.asked:
            if name == "composition":
                parts.append(composition(*where, self._standard))
            elif name == "charge":
                residues = torch.bincount(batch.segments[batch.residues], minlength=len(batch))
                parts.append(100 * (net_charge(*where) / residues)[:, None])
            elif name == "hydropathy":
                parts.append(hydropathy(*where)[:, None])
            else:
                parts += [motif.present(*where)[:, None].float() for motif in self.patterns]
        return torch.cat(parts, dim=1)

    def prepare(self, batch: Batch, draws: Draws) -> Batch:
        """Compute the labels and hide letters; ``targets`` (B, K), numbers standardised, nan where nothing is asked."""
        assert self.statistics is not None, "labels are standardised by those of the corpus: call fitted first"
        values = self.compute(batch)
        means, deviations = (
            torch.tensor(numbers, device=values.device)
            for numbers in (self.statistics.means, self.statistics.deviations)
        )
        targets = torch.where(self.is_motif.to(values.device), values, (values - means) / deviations)
        targets = targets.masked_fill(deviations == 0, torch.nan)
        standard = torch.from_numpy(self.alphabet.standard_ids).to(batch.inputs.device)
        bits = draws.per_position("hide letters", batch.segments, batch.positions)
        hidden = torch.isin(batch.inputs, standard) & chance(bits, self.masked_fraction)
        inputs = batch.inputs.masked_fill(hidden, self.alphabet.vocabulary.id("<mask>"))
        return replace(batch, inputs=inputs, targets=targets)

    def score(self, outputs: Tensor, batch: Batch) -> Score:
        """outputs (B, K) -> the sum over properties of the mean loss of their labels, per sequence."""
        assert batch.targets is not None
        losses = self.losses(outputs, batch.targets)
        count = outputs.new_tensor(float(len(batch)))
        return Score((losses * self.shares().to(losses.device)).sum(), count)

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """outputs (B, K), targets (B, K) -> (B, K) losses, 0 where nothing is asked."""
        known = ~targets.isnan()
        wanted = torch.where(known, targets, 0.0)
        squared = (outputs - wanted).square()
        crossed = functional.binary_cross_entropy_with_logits(outputs, wanted, reduction="none")
        return torch.where(self.is_motif.to(outputs.device), crossed, squared) * known

    def constant_guess(self) -> Tensor:
        """(K,) the outputs that are best for a network that sees nothing: means, and log-odds of motifs."""
        assert self.statistics is not None
        shares = torch.tensor(self.statistics.means).clamp(1e-4, 1 - 1e-4)
        return torch.where(self.is_motif, shares.logit(), 0.0)

    def shares(self) -> Tensor:
        """(K,) what each label counts: those of a property that are asked for sum to 1."""
        assert self.statistics is not None
        asked = torch.tensor(self.statistics.deviations) > 0
        names = [name for name, _ in self.labels]
        sizes = {name: sum(bool(a) for other, a in zip(names, asked, strict=True) if other == name) for name in names}
        return torch.tensor([1 / max(sizes[name], 1) for name in names]) * asked
