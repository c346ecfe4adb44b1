"""Whether something that should not know the labels does: ends and lengths of sequences, columns, names, duplicates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from seqtrain.diagnosis.remarks import Remark, fine, note, some, warning

LEAKS, DUPLICATES = "leaking labels", "duplicates"
_NEARLY_ALL = 0.98
"""Of the records, or of the variance, that one feature alone predicts."""
_LEAST = 20
_MANY = 0.1
_END = 3


def leaking_labels(
    sequences: Sequence[str], labels: Sequence[str] | NDArray[np.float64], beside: Mapping[str, Sequence[str]]
) -> list[Remark]:
    """Look for one plain feature that predicts all labels by itself: first and last letters, lengths, other columns.

    Args:
        sequences: N.
        labels: N classes as text, or (N,) numbers.
        beside: N cells each of what stands beside the sequences, by name; the network does not see these.
    """
    if len(sequences) < _LEAST:
        return [fine(LEAKS, f"{len(sequences)} records are too few to tell")]
    inside = {"the length": [str(len(sequence)) for sequence in sequences]}
    for width in range(1, _END + 1):
        inside[f"the first {width} letter{'s' * (width > 1)}"] = [sequence[:width] for sequence in sequences]
        inside[f"the last {width} letter{'s' * (width > 1)}"] = [sequence[-width:] for sequence in sequences]
    remarks = []
    found = {name: share for name, cells in inside.items() if (share := predicted(cells, labels)) >= _NEARLY_ALL}
    if found:
        name, share = next(iter(found.items()))
        remarks.append(
            warning(
                LEAKS,
                f"{name} of a sequence alone predict{'s' * name.endswith('length')} {share:.1%} of the labels: the "
                "network need not learn anything else",
                "look for tags, adapters or padding that was added class by class, and take it off",
                share,
            )
        )
    known = {name: share for name, cells in beside.items() if (share := predicted(cells, labels)) >= _NEARLY_ALL}
    if known:
        remarks.append(
            note(
                LEAKS,
                f"{some(known)} predicts {max(known.values()):.1%} of the labels; the network does not see it",
                "make sure that the split was not made by it",
                max(known.values()),
            )
        )
    return remarks or [fine(LEAKS, "no length, end of the sequences or other column predicts the labels by itself")]


def predicted(cells: Sequence[str], labels: Sequence[str] | NDArray[np.float64]) -> float:
    """Share of labels that a feature predicts: of classes that beyond the commonest, of numbers of the variance.

    Each record is predicted from the others with the same cell; without any, as the commonest class or the mean.
    """
    groups = np.unique(np.array(cells), return_inverse=True)[1]
    if groups.max(initial=0) == 0:
        return 0.0
    if isinstance(labels, np.ndarray):
        return _variance_predicted(groups, labels.astype(np.float64))
    classes = np.unique(np.array(labels), return_inverse=True)[1]
    counts = np.zeros((groups.max() + 1, classes.max() + 1), np.int64)
    np.add.at(counts, (groups, classes), 1)
    others = counts[groups]
    others[np.arange(len(groups)), classes] -= 1
    commonest = np.bincount(classes).argmax()
    guesses = np.where(others.any(axis=1), others.argmax(axis=1), commonest)
    chance = float((classes == commonest).mean())
    return (float((guesses == classes).mean()) - chance) / (1 - chance) if chance < 1 else 0.0


def duplicates(sequences: Sequence[str], labels: Sequence[str], sets: Sequence[str], train: str) -> list[Remark]:
    """Count held-out records whose very sequence was trained on, and training records that contradict each other.

    Args:
        sequences, labels, sets: of N records.
        train: the name of the set that is trained on.
    """
    of_sequence: dict[str, set[str]] = {}
    for sequence, label, name in zip(sequences, labels, sets, strict=True):
        if name == train:
            of_sequence.setdefault(sequence, set()).add(label)
    held_out = [sequence for sequence, name in zip(sequences, sets, strict=True) if name != train]
    shared = sum(sequence in of_sequence for sequence in held_out)
    remarks = []
    if shared:
        share = shared / len(held_out)
        made = warning if share >= _MANY else note
        remarks.append(
            made(
                DUPLICATES,
                f"{shared:,} of {len(held_out):,} held-out records have the very sequence of a training record: scores "
                "on them show what is remembered",
                "take duplicates out, or let seqtrain make the split, which keeps them together",
                share,
            )
        )
    torn = sum(len(found) > 1 for found in of_sequence.values())
    if torn:
        remarks.append(
            note(
                DUPLICATES,
                f"{torn:,} of {len(of_sequence):,} different training sequences have more than one label",
                "keep one, or their mean, if they are measurements of the same",
                torn / len(of_sequence),
            )
        )
    return remarks or [fine(DUPLICATES, "no held-out record has the sequence of a training record", 0.0)]


def _variance_predicted(groups: NDArray[np.int64], labels: NDArray[np.float64]) -> float:
    known = np.isfinite(labels)
    groups, labels = groups[known], labels[known]
    if not len(labels) or not labels.var():
        return 0.0
    sums, counts = np.bincount(groups, labels), np.bincount(groups)
    others = counts[groups] - 1
    means = np.where(others > 0, (sums[groups] - labels) / np.maximum(others, 1), labels.mean())
    return 1 - float(((labels - means) ** 2).mean() / labels.var())
