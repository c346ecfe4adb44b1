"""The corpus of a pretraining run: read once into a store, with some of it held out."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqtrain.alphabet import Alphabet
from seqtrain.config import PretrainConfig
from seqtrain.draws import fold, mix
from seqtrain.errors import InputError
from seqtrain.families import Families
from seqtrain.fitting import Listener
from seqtrain.io.delimited import write_table
from seqtrain.io.ledger import HEADER, Ledger
from seqtrain.io.records import Record, RecordReader, read_fasta_files
from seqtrain.io.store import SequenceStore, open_store, write_store

_NUM_SAMPLED = 2000
_VALID_FRACTION = 0.05
_MAX_VALID_LETTERS = 100_000
"""Held out of the inputs, and scored while the training runs; a --valid file is scored whole at the end."""


@dataclass(frozen=True)
class Corpus:
    """What is trained on and what is held out."""

    store: SequenceStore
    train: NDArray[np.int64]
    """(N,) records."""
    valid_store: SequenceStore
    valid: NDArray[np.int64]
    """(M,) records, all that are held out."""
    watched: NDArray[np.int64]
    """(≤ M,) records, those that are scored while the training runs."""
    families: Families | None = None
    """Of the training records, where they are sampled by these."""

    @cached_property
    def train_counts(self) -> NDArray[np.int64]:
        """(V,) how often each token occurs in the training records."""
        return _token_counts(self.store, self.train)

    def unigram_perplexity(self) -> float:
        """Of the held-out standard letters under the letter frequencies of the training records: the floor."""
        ids = self.store.alphabet.standard_ids
        train = self.train_counts[ids] + 1
        valid = _token_counts(self.valid_store, self.valid)[ids]
        return float(np.exp(-(valid * np.log(train / train.sum())).sum() / max(valid.sum(), 1)))


def first_sequences(paths: list[Path]) -> Iterator[bytes]:
    """The sequences at the beginning of the first file, to tell the alphabet by."""
    return (record.sequence for record in islice(read_fasta_files(paths[:1]), _NUM_SAMPLED))


def read_corpus(
    config: PretrainConfig,
    alphabet: Alphabet,
    train_paths: list[Path],
    valid_paths: list[Path],
    folder: Path,
    listener: Listener,
) -> Corpus:
    """The stores in ``folder``, written now or by an earlier start of the same run, and what is held out."""
    stores = [_store(config, alphabet, train_paths, folder / "store", listener)]
    if valid_paths:
        # What is scored is never cropped.
        scored = replace(config, long="window") if config.long == "crop" else config
        stores.append(_store(scored, alphabet, valid_paths, folder / "valid_store", listener))
    ledgers = [row for store in stores for row in store.manifest["ledger"]]
    write_table(folder / "ledger.csv", HEADER, [[*row] for row in ledgers])
    store, everything = stores[0], np.arange(len(stores[0]))
    if valid_paths:
        valid_store, train, valid = stores[1], everything, np.arange(len(stores[1]))
    else:
        valid_store = store
        train, valid = _hold_out(store, config.seed)
    corpus = Corpus(store, train, valid_store, valid, _first(valid_store, valid, config.seed))
    for name, counts in (
        ("train on", corpus.train_counts),
        ("be held out", _token_counts(valid_store, corpus.watched)),
    ):
        if not counts[alphabet.standard_ids].any():
            raise InputError(
                f"{train_paths[0]}: the sequences to {name} hold no letter that can be masked; give others"
            )
    return corpus


def _store(
    config: PretrainConfig, alphabet: Alphabet, paths: list[Path], folder: Path, listener: Listener
) -> SequenceStore:
    if (folder / "manifest.json").exists():
        return open_store(folder)
    ledger = Ledger()
    reader = RecordReader(alphabet, config.bad_records, ledger, max_length=config.max_length, long=config.long)
    manifest: dict[str, Any] = {}

    def records() -> Iterator[Record]:
        yield from reader(read_fasta_files(paths))
        ledger.check()
        manifest["ledger"] = ledger.rows()
        for line in ledger.lines():
            listener.say(line)

    return write_store(records(), folder, alphabet, manifest)


def _hold_out(store: SequenceStore, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Records to train on and to hold out. Equal sequences go to the same side; homologues may not.

    Raises:
        InputError: too few sequences to hold any out.
    """
    hashes = np.array([zlib.crc32(store[i].tobytes()) for i in range(len(store))], dtype=np.int64)
    order = np.lexsort((hashes, mix(hashes + fold(seed, "held out"))))
    letters = np.cumsum(store.lengths[order])
    wanted = min(_MAX_VALID_LETTERS, _VALID_FRACTION * letters[-1])
    cut = max(1, int(np.searchsorted(letters, wanted, side="right")))
    while cut < len(order) and hashes[order[cut]] == hashes[order[cut - 1]]:
        cut += 1
    if cut == len(order):
        raise InputError("too few different sequences to hold some out; give at least 2, or a --valid file")
    return np.sort(order[cut:]), np.sort(order[:cut])


def _first(store: SequenceStore, records: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """A keyed choice of records that stays within the letters that are scored while the training runs."""
    order = records[np.argsort(mix(records + fold(seed, "watched")), kind="stable")]
    count = max(1, int(np.searchsorted(np.cumsum(store.lengths[order]), _MAX_VALID_LETTERS, side="right")))
    return np.sort(order[:count])


def _token_counts(store: SequenceStore, records: NDArray[np.int64]) -> NDArray[np.int64]:
    """(V,) how often each token occurs in some records."""
    counts = np.zeros(256, dtype=np.int64)
    for record in records:
        counts += np.bincount(store[record], minlength=256)
    vocabulary = store.alphabet.vocabulary
    return np.bincount(vocabulary.lookup, weights=counts, minlength=len(vocabulary)).astype(np.int64)
