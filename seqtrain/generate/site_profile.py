"""Independent columns: what a generative model of a family has to beat, and what it falls back to.

Shapes: N members, C columns, A = 20 letters, S = 21 symbols (letters and the gap).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from seqtrain.alphabet import PROTEIN
from seqtrain.augment.log_odds import default_background, target_frequencies
from seqtrain.generate.family import GAP, NUM_SYMBOLS

PSEUDOCOUNTS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)
"""Totals that held-out members choose from, in letters per column."""
_MATRIX = "BLOSUM62"
_GAP_PSEUDOCOUNT = 1.0


def site_profile(symbols: NDArray[np.uint8], weights: NDArray[np.float64], pseudocounts: float) -> NDArray[np.float64]:
    """(C, S) log-probabilities of independent columns, from (N, C) symbols with weights (N,).

    Letters: (n f + β g) / (n + β) with n letters of weighted frequencies f in the column, and pseudocounts
    g_b = Σ_a f_a p(b | a) by BLOSUM62 (Henikoff & Henikoff 1996, CABIOS 12:135-143). Their β is 5 times the number of
    different letters; here held-out members choose it. A column without letters has the background. Gaps: the same
    with one pseudocount, at the share that gaps have in the whole family.
    """
    columns = symbols.shape[1]
    cells = symbols.astype(np.int64) + np.arange(columns) * (NUM_SYMBOLS + 1)
    size = columns * (NUM_SYMBOLS + 1)
    weighted = np.bincount(cells.ravel(), np.repeat(weights, columns), size).reshape(columns, -1)[:, :NUM_SYMBOLS]
    counts = np.bincount(cells.ravel(), minlength=size).reshape(columns, -1)[:, :NUM_SYMBOLS]
    letters, num_letters = weighted[:, :GAP], counts[:, :GAP].sum(axis=1, keepdims=True)
    sums = letters.sum(axis=1, keepdims=True)
    background = default_background(PROTEIN)
    frequencies = np.where(sums > 0, letters / np.where(sums > 0, sums, 1), background)
    pseudo = np.where(sums > 0, frequencies @ _replacements(), background)
    mixed = (num_letters * frequencies + pseudocounts * pseudo) / (num_letters + pseudocounts)
    known = np.maximum(weighted.sum(axis=1, keepdims=True), 1e-12)
    num_known = counts.sum(axis=1, keepdims=True)
    # Laplace: also in a family without gaps one is not impossible.
    share = (counts[:, GAP].sum() + 0.5) / (counts.sum() + 1)
    gaps = (num_known * weighted[:, GAP:] / known + _GAP_PSEUDOCOUNT * share) / (num_known + _GAP_PSEUDOCOUNT)
    logs: NDArray[np.float64] = np.log(np.concatenate([mixed * (1 - gaps), gaps], axis=1))
    return logs


def log_likelihoods(profile: NDArray[np.float64], symbols: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(N,) nats of (N, C) symbols under (C, S) log-probabilities; unknown letters count 0."""
    padded = np.concatenate([profile, np.zeros((len(profile), 1))], axis=1)
    total: NDArray[np.float64] = padded[np.arange(len(profile)), symbols].sum(axis=1)
    return total


@lru_cache(maxsize=1)
def similarity() -> NDArray[np.float64]:
    """(S, S) how alike symbols are: the square root of BLOSUM62's log-odds, less their negative part, with rows of mean
    square 1; the gap is like itself alone.

    Weights that are independent before they are multiplied by it have log-odds as their covariance.
    """
    targets = target_frequencies(_MATRIX, PROTEIN)
    background = default_background(PROTEIN)
    odds = np.log(targets / np.outer(background, background))
    values, vectors = np.linalg.eigh((odds + odds.T) / 2)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    alike = np.eye(NUM_SYMBOLS)
    alike[:GAP, :GAP] = root / np.sqrt((root**2).sum(axis=1).mean())
    return alike


@lru_cache(maxsize=1)
def _replacements() -> NDArray[np.float64]:
    """(A, A) p(b | a)."""
    targets = target_frequencies(_MATRIX, PROTEIN)
    conditional: NDArray[np.float64] = targets / targets.sum(axis=1, keepdims=True)
    return conditional
