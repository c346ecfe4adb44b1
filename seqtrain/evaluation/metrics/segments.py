"""How well segments of equal residue labels, such as helices and strands, are found."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from seqtrain.evaluation.metrics.ranks import NAN, Array


def segment_overlap(true: Array, predicted: Array, records: Array) -> float:
    """Segment overlap SOV'99 (Zemla, Venclovas, Fidelis & Rost 1999, Proteins 34:220), 0 to 1, the mean over records.

    Of each pair of an observed and a predicted segment of one class that share a residue, (minov + delta) / maxov times
    the length of the observed one: minov residues are shared, maxov covered by either, and delta = min(maxov - minov,
    minov, half of each length rounded down) forgives ends that are a little off. Divided by the lengths of the observed
    segments, counted once for each pair they are in, and once where they are in none.

    Args:
        true: (N,) class indices; negative is not scored, and ends segments of both.
        predicted: (N,) class indices.
        records: (N,) the record of each residue; residues of a record stand together and in order.
    """
    true, records = np.asarray(true, np.int64), np.asarray(records)
    if not len(true):
        return NAN
    predicted = np.where(true < 0, -1, np.asarray(predicted, np.int64))
    new_record = np.append(True, records[1:] != records[:-1])
    ours, theirs = _segments(true, new_record), _segments(predicted, new_record)
    our_lengths, their_lengths = np.bincount(ours), np.bincount(theirs)
    # Two segments share one stretch at most, so that a pair is a run of residues that stay in both.
    changes = np.flatnonzero(np.append(True, (np.diff(ours) != 0) | (np.diff(theirs) != 0)))
    shared = np.diff(np.append(changes, len(true)))
    kept = (true[changes] == predicted[changes]) & (true[changes] >= 0)
    changes, shared = changes[kept], shared[kept]
    one, other = our_lengths[ours[changes]], their_lengths[theirs[changes]]
    covered = one + other - shared
    delta = np.minimum.reduce([covered - shared, shared, one // 2, other // 2])
    owner = np.cumsum(new_record) - 1
    num_records = int(owner[-1]) + 1
    gained = np.bincount(owner[changes], (shared + delta) / covered * one, minlength=num_records)
    # Without anything to count, bincount gives whole numbers.
    weight = np.bincount(owner[changes], one, minlength=num_records).astype(np.float64)
    starts = np.flatnonzero(np.append(True, np.diff(ours) != 0))
    paired = np.zeros(len(starts), bool)
    paired[ours[changes]] = True
    alone = ~paired & (true[starts] >= 0)
    weight += np.bincount(owner[starts[alone]], our_lengths[alone], minlength=num_records)
    scored = weight > 0
    return float(np.mean(gained[scored] / weight[scored])) if scored.any() else NAN


def _segments(states: NDArray[np.int64], new_record: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(N,) number of the segment that each residue is in."""
    return np.cumsum(np.append(True, np.diff(states) != 0) | new_record) - 1
