"""Whether what is hidden is what is asked for, in masked language models and in labels of residues with a mask."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from seqtrain.batch import Batch
from seqtrain.diagnosis.remarks import Remark, fine, note, warning
from seqtrain.draws import Draws
from seqtrain.losses import IGNORED_CLASS
from seqtrain.objectives import Changing, MaskedAutoencoder, MaskedLM, Objective, SpanMasking

CHECK = "masks"
_DEVIATIONS = 8.0
_SEEN = 0.5
"""Of the letters that are asked for, more of which do not stand in the input by chance or by a custom."""
_FEW_ASKED = 0.5


@torch.no_grad()
def hidden_letters(objective: Objective, batch: Batch, *, masked_fraction: float | None = None) -> Remark | None:
    """Look at the letters that a masked language model is asked for; None for other objectives.

    Args:
        batch: as it comes, not prepared.
        masked_fraction: of the letters, to be hidden; None: as the objective says.
    """
    asked = objective.at_step(0) if isinstance(objective, Changing) else objective
    if not isinstance(asked, MaskedLM | SpanMasking | MaskedAutoencoder):
        return None
    prepared = asked.prepare(batch, Draws(batch.keys))
    standard = torch.isin(batch.inputs, torch.from_numpy(asked.alphabet.standard_ids).to(batch.inputs.device))
    assert prepared.decode is not None and prepared.targets is not None
    letters, hidden = int(standard.sum()), len(prepared.decode)
    expected = asked.masked_fraction if masked_fraction is None else masked_fraction
    share = hidden / max(letters, 1)
    said = f"{hidden:,} of {letters:,} letters are asked for ({share:.1%}, where {expected:.1%} are to be)"
    # Spans come in runs, which vary more than single letters.
    deviation = 3 * math.sqrt(expected * (1 - expected) / max(letters, 1)) + 1 / max(letters, 1)
    is_mask = prepared.inputs == asked.alphabet.vocabulary.id("<mask>")
    unasked = is_mask.clone()
    unasked[prepared.decode] = False
    seen = float((prepared.inputs[prepared.decode] == prepared.targets).float().mean()) if hidden else 0.0
    in_sight = not isinstance(asked, MaskedAutoencoder) and seen > _SEEN
    if in_sight or int(unasked.sum()) > 0.01 * letters:
        return warning(
            CHECK,
            f"{said}; {seen:.0%} of them stand in the input as they are, and {int(unasked.sum()):,} hidden letters are "
            "not asked for: the mask is inverted",
            "ask for the letters that are hidden, and hide those that are asked for",
            seen,
        )
    if abs(share - expected) > max(_DEVIATIONS / 3 * deviation, 0.25 * expected):
        inverted = abs(share - (1 - expected)) < abs(share - expected)
        return warning(
            CHECK,
            f"{said}: {'the mask is inverted' if inverted else 'not as many as were to be'}",
            "look at masked_fraction and at what chooses the letters",
            share,
        )
    return fine(CHECK, f"{said}; {seen:.0%} of them are left as they are", share)


def masked_residues(targets: NDArray[np.int64], cells: NDArray[np.int64]) -> Remark:
    """Look at labels of residues of which a column of 0 and 1 says which count.

    Args:
        targets: (letters,) classes, those that do not count being -100.
        cells: (letters,) the class of every letter, whether it counts or not.
    """
    counted = targets != IGNORED_CLASS
    share = float(counted.mean())
    said = f"{share:.1%} of the labels of residues are scored"
    inside, outside = _spread(cells[counted]), _spread(cells[~counted])
    if not counted.any() or (outside > 0.1 and inside < 0.5 * outside):
        return warning(
            CHECK,
            f"{said}, and those that are not vary more than those that are ({outside:.2f} and {inside:.2f} nats): the "
            "mask is inverted",
            "write 1 where a label counts and 0 where it does not",
            share,
        )
    if share < _FEW_ASKED:
        advice = "write 1 where a label counts and 0 where it does not; few are right where few were measured"
        return note(CHECK, said, advice, share)
    return fine(CHECK, said, share)


def _spread(classes: NDArray[np.int64]) -> float:
    """Entropy of the frequencies of classes, in nats."""
    counts = np.unique(classes, return_counts=True)[1]
    shares = counts / max(counts.sum(), 1)
    return float(-(shares * np.log(shares)).sum())
