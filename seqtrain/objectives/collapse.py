"""Whether a network tells sequences apart: measures of projections that a falling loss may hide."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

LEAST_SPREAD = 0.1
"""Below this, the mean cosine of two sequences is above 0.99."""
LEAST_RANK = 1.5
_RANKED = 8
"""Sequences from which on the rank of their directions is told: that of few is low, whatever was learnt."""


def collapse_measures(first: Tensor, second: Tensor) -> dict[str, float]:
    """What N sequences look like in the directions of their projections.

    Args:
        first: (N, K) projections of one view of each.
        second: (N, K) projections of another.

    Returns:
        spread: the standard deviation of each number, averaged and multiplied by √K: 1 for directions drawn evenly, 0
            when all are the same (Chen & He 2021, section 4.1, who compare it with 1/√K); nan for one sequence.
        effective_rank: the exponential of the entropy of the normalised singular values of the directions, between 1
            and the smaller of N and K (Roy & Vetterli 2007, EUSIPCO); nan for fewer than 8 sequences.
        cosine: the mean over all pairs of different sequences; nan for one sequence.
        alignment: the mean squared distance between the views of a sequence; 0 is best (Wang & Isola 2020,
            arXiv:2005.10242).
        uniformity: the logarithm of the mean of exp(-2 d²) over pairs at distance d, there too; lower is more even.
    """
    one, other = (functional.normalize(rows.detach().cpu().double(), dim=1) for rows in (first, second))
    num_rows, width = one.shape
    spread = float(one.std(0, unbiased=False).mean()) * math.sqrt(width) if num_rows > 1 else math.nan
    # The sum over all pairs is the squared length of the sum; those of each with itself are 1.
    pairs = num_rows * (num_rows - 1)
    cosine = (one.sum(0).square().sum() - one.square().sum()) / pairs if pairs else torch.tensor(math.nan)
    return {
        "spread": spread,
        "effective_rank": _effective_rank(one) if num_rows >= _RANKED else math.nan,
        "cosine": float(cosine),
        "alignment": float((one - other).square().sum(1).mean()),
        "uniformity": _uniformity(one),
    }


def collapsed(measures: Mapping[str, float]) -> str | None:
    """What is wrong, in words, with a network of such measures; None where nothing is."""
    advice = (
        "lower --learning-rate, hold more sequences in a step (--tokens-per-step), or take sim-clr, which pushes "
        "sequences apart"
    )
    if measures.get("spread", 1.0) < LEAST_SPREAD:
        return (
            f"the network answers nearly the same for all sequences (mean cosine {measures['cosine']:.3f}, spread "
            f"{measures['spread']:.3f} of 1): it has collapsed; {advice}"
        )
    if measures.get("effective_rank", math.inf) < LEAST_RANK:
        return (
            "the network answers along a single direction for all sequences (effective rank "
            f"{measures['effective_rank']:.2f}): it has collapsed; {advice}"
        )
    return None


def _effective_rank(rows: Tensor) -> float:
    """rows (N, K) -> exp of the entropy of their normalised singular values."""
    singular = torch.linalg.svdvals(rows)
    shares = singular / singular.sum().clamp(min=1e-300)
    return float(torch.special.entr(shares).sum().exp())


def _uniformity(rows: Tensor, at_once: int = 512) -> float:
    """rows (N, K) of unit length -> log of the mean over pairs of exp(-2 d²); nan for one row."""
    total, count = 0.0, len(rows) * (len(rows) - 1)
    for part in torch.split(rows, at_once):
        total += float((4 * (part @ rows.T) - 4).exp().sum())  # d² is 2 - 2 cos
    return math.log(max((total - len(rows)) / count, 1e-300)) if count else math.nan
