"""Sequences without labels behind those of a table: trained on by what a teacher says of them, and never scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from seqtrain.config import FinetuneConfig
from seqtrain.errors import InputError
from seqtrain.fitting import Listener
from seqtrain.io.ledger import Ledger
from seqtrain.io.records import Record, RecordReader, expand_paths, nucleotide_fraction, read_fasta_files
from seqtrain.io.splits import TRAIN, Split
from seqtrain.io.store import SequenceStore
from seqtrain.labeled import LabeledData
from seqtrain.losses import IGNORED_CLASS

_HELD_OUT = "the sequence of a validation or test record"


def read_unlabelled(
    config: FinetuneConfig, patterns: Sequence[str], data: LabeledData, ledger: Ledger, listener: Listener
) -> list[Record]:
    """The records of FASTA files, judged as those of the table are, without those that are held out there.

    What was done goes into the ledger and is said.

    Raises:
        InputError: files that cannot be read, bad records, nucleotides for proteins, or nothing that is left.
    """
    paths, alphabet, own = expand_paths(patterns), data.store.alphabet, Ledger()
    given = ", ".join(map(str, paths))
    if alphabet.name == "protein":
        fraction = nucleotide_fraction(record.sequence for record in read_fasta_files(paths))
        if fraction > 0.9:
            raise InputError(
                f"--unlabeled {given}: {fraction:.0%} of the letters are A, C, G, T, U or N, and the sequences of "
                f"{data.table.path} are proteins; give proteins, or name what both are with --alphabet"
            )
    reader = RecordReader(alphabet, config.bad_records, own, max_length=config.max_length, long=config.long)
    held_out = {data.store[index].tobytes() for index in np.flatnonzero(data.split.sets != TRAIN).tolist()}
    kept = []
    for record in reader(read_fasta_files(paths)):
        if record.letters.tobytes() not in held_out:
            kept.append(record)
            continue
        own.add(record.source, "kept", records=-1, letters=-len(record.letters))
        own.add(record.source, "dropped", _HELD_OUT, letters=len(record.letters), example=record.identifier)
    own.check()
    for line in own.lines():
        listener.say(line)
    ledger.entries.update(own.entries)
    if not kept:
        raise InputError(
            f"--unlabeled {given}: no sequence is left of {own.total('read'):,}"
            + (", as all are held out in the table" if own.total("dropped") else "")
            + "; give other sequences, or leave it out"
        )
    return kept


def with_unlabelled(data: LabeledData, records: Sequence[Record]) -> LabeledData:
    """The data with records behind that are in the training set and have no label.

    Where records have weights, such a one has the mean of the training records.
    """
    store, count = data.store, len(records)
    more = SequenceStore.in_memory(records, store.alphabet)
    joined = replace(
        store,
        letters=np.concatenate([store.letters, more.letters]),
        offsets=np.concatenate([store.offsets, store.offsets[-1] + more.offsets[1:]]),
        names=np.concatenate([store.names, more.names]),
        name_offsets=np.concatenate([store.name_offsets, store.name_offsets[-1] + more.name_offsets[1:]]),
    )
    weights = data.weights
    if weights is not None:
        mean = weights[data.split.indices(TRAIN)].mean()
        weights = np.concatenate([weights, np.full(count, mean, np.float32)])
    return replace(
        data,
        store=joined,
        rows=np.concatenate([data.rows, np.full(count, -1)]),
        labels=[*data.labels, *([""] * len(data.task.columns) for _ in records)],
        targets=_without_label(data, len(more.letters) if data.task.per_residue else count),
        weights=weights,
        split=Split(np.concatenate([data.split.sets, np.full(count, TRAIN)]), data.split.made_how),
    )


def _without_label(data: LabeledData, count: int) -> NDArray[np.generic]:
    """The targets with ignored ones behind them."""
    targets = np.asarray(data.targets)
    ignored = np.nan if targets.dtype.kind == "f" else IGNORED_CLASS
    return np.concatenate([targets, np.full((count, *targets.shape[1:]), ignored, targets.dtype)])
