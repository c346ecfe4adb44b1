"""Properties that follow from the letters of proteins: composition, net charge, hydropathy; of a batch at once."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqtrain_data.tables import table_path


def composition(letters: Tensor, segments: Tensor, num_sequences: int, standard: Tensor) -> Tensor:
    """The share of each standard letter.

    Args:
        letters: (T,) uint8 of packed sequences, 0 at special tokens.
        segments: (T,) int64 the sequence of each position.
        standard: (A,) uint8 the standard letters.

    Returns:
        (B, A) float32, which sum to 1 over the standard letters that a sequence has; nan where it has none.
    """
    column = torch.full((256,), -1, dtype=torch.int64, device=letters.device)
    column[standard.to(letters.device).long()] = torch.arange(len(standard), device=letters.device)
    columns = column[letters.int()]
    known = columns >= 0
    places = segments[known] * len(standard) + columns[known]
    counts = torch.bincount(places, minlength=num_sequences * len(standard)).view(num_sequences, -1).float()
    return counts / counts.sum(dim=1, keepdim=True)


def hydropathy(letters: Tensor, segments: Tensor, num_sequences: int) -> Tensor:
    """(T,) and (T,) as in :func:`composition` -> (B,) float32, the mean over the standard residues of the scale of Kyte
    & Doolittle (1982), known as GRAVY; nan where there are none."""
    scale = torch.from_numpy(_hydropathies()).to(letters.device)[letters.int()]
    known = ~scale.isnan()
    sums = torch.zeros(num_sequences, device=letters.device).index_add_(0, segments[known], scale[known])
    counts = torch.bincount(segments[known], minlength=num_sequences)
    return sums / counts


def net_charge(letters: Tensor, segments: Tensor, num_sequences: int, ph: float = 7.0) -> Tensor:
    """(T,) and (T,) as in :func:`composition` -> (B,) float32, elementary charges at a pH; nan for no letters.

    Each group that can be charged is so to the part that Henderson and Hasselbalch's equation gives it; pKa by
    Bjellqvist et al. (1993, 1994), those of the ends by the first and the last residue.
    """
    tables = _charges(ph)
    side, first, last = (torch.from_numpy(tables[where]).to(letters.device) for where in ("side", "first", "last"))
    index, real = letters.int(), letters != 0
    before = torch.cat((real.new_zeros(1), real[:-1]))
    behind = torch.cat((real[1:], real.new_zeros(1)))
    # Neighbouring positions of different sequences are not neighbours, though there were no 0 between them.
    moved = segments.diff(prepend=segments[:1] - 1) != 0
    ends = segments.diff(append=segments[-1:] + 1) != 0
    charges = side[index] + first[index] * (~before | moved) + last[index] * (~behind | ends)
    total = torch.zeros(num_sequences, device=letters.device).index_add_(0, segments[real], charges[real])
    counts = torch.bincount(segments[real], minlength=num_sequences)
    return torch.where(counts > 0, total, torch.nan)


@cache
def _hydropathies() -> NDArray[np.float32]:
    """(256,) nan for what has none."""
    scale = np.full(256, np.nan, np.float32)
    for residue, value in _rows("kyte_doolittle.txt"):
        scale[ord(residue)] = float(value)
    return scale


@cache
def _charges(ph: float) -> dict[str, NDArray[np.float32]]:
    """(256,) the charge of each residue at a pH, of its side chain, and of the end when it stands there."""
    tables = {where: np.zeros(256, np.float32) for where in ("side", "first", "last")}
    for where, residue, sign, pka in _rows("pka_bjellqvist.txt"):
        charge = int(sign)
        held = charge / (1 + 10 ** (charge * (ph - float(pka))))
        if residue == "*":
            tables[where][:] = held
        else:
            tables[where][ord(residue)] = held
    return tables


def _rows(name: str) -> Iterator[list[str]]:
    for line in table_path(name).read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            yield line.split()
