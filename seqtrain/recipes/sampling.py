"""From words to how often each record of a corpus is drawn: families that are redundant weigh less."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seqtrain.config import PretrainConfig
from seqtrain.errors import InputError
from seqtrain.families import Families, SharedKmers, read_families
from seqtrain.fitting import Listener
from seqtrain.io.compressed import open_bytes
from seqtrain.io.run_directory import sha256_of
from seqtrain.io.store import SequenceStore
from seqtrain.orders import Order, Weighted
from seqtrain.spans import Spans
from seqtrain.words import read_words


@dataclass(frozen=True, kw_only=True)
class Natural:
    """Every record once per epoch."""


@dataclass(frozen=True, kw_only=True)
class ByFamily:
    """A record by the size of its family to the power of minus ``power``."""

    power: float = 0.5
    """0: as records are; 1: all families alike."""

    def __post_init__(self) -> None:
        if not 0 <= self.power <= 1:
            raise InputError(f"power is {self.power:g}; give a number from 0 to 1")


def sampling_of(config: PretrainConfig) -> ByFamily | None:
    """How records are drawn; None where each comes once per epoch.

    Raises:
        InputError: words that name no sampling, options that do not fit each other, or a table that cannot be read.
    """
    words = config.sampling.strip()
    # What can be named is not the class: families:power=0.5 reads better than by-family:power=0.5.
    name, colon, rest = words.partition(":")
    if name.strip() not in ("natural", "families"):
        raise InputError(f"--sampling {words}: no sampling is called {name!r}; choose from natural, families")
    kind = {"natural": "natural", "families": "by-family"}[name.strip()]
    try:
        sampling = read_words(kind + colon + rest, Natural | ByFamily, "sampling")[0]
    except InputError as error:
        raise InputError(f"--sampling {words}: {str(error).replace(kind, name.strip())}") from None
    if isinstance(sampling, ByFamily):
        if config.curriculum is not None and config.curriculum.strip().partition(":")[0] != "length-growth":
            raise InputError(
                f"--sampling {words}: --curriculum {config.curriculum} decides the order, too; leave one of the two out"
            )
        if config.families is not None:
            with open_bytes(Path(config.families)):
                pass  # refuses what cannot be read, before the corpus is
        return sampling
    if config.families is not None:
        raise InputError(f"--families {config.families}: is used by --sampling families; add it, or leave this out")
    return None


def digest_of_families(config: PretrainConfig) -> dict[str, str]:
    """SHA-256 of the table of families, if there is one, under "--families"."""
    return {} if config.families is None else {"--families": sha256_of(Path(config.families))}


def families_of(
    config: PretrainConfig, store: SequenceStore, records: NDArray[np.int64], listener: Listener
) -> Families:
    """The families that some records of a store are in: of a table, or found by shared k-mers.

    Raises:
        InputError: a table that cannot be used.
    """
    if config.families is None:
        lengths = store.lengths[records]
        starts = store.offsets[records]
        bounds = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        if len(records) == len(store):
            return SharedKmers()(store.letters, store.offsets)
        source = np.arange(bounds[-1]) + np.repeat(starts - bounds[:-1], lengths)
        return SharedKmers()(store.letters[source], bounds)
    found, missing = read_families(Path(config.families), [store.name(int(record)) for record in records])
    if missing:
        listener.say(f"{config.families}: {missing:,} sequences are not named in it; each is a family of its own")
    return found


def family_order(sampling: ByFamily, families: Families, records: NDArray[np.int64], spans: Spans, seed: int) -> Order:
    """The order in which stretches of records (N,) come as often as the records' families ask for."""
    place = np.full(int(records.max()) + 1, -1)
    place[records] = np.arange(len(records))
    return Weighted(families.weights(sampling.power)[place[spans.records]], seed)


def say_families(facts: dict[str, float | int | str], listener: Listener) -> None:
    """Say what was found, and what sampling makes of it."""
    listener.say(
        f"{facts['families']:,} families among {facts['records']:,} sequences ({facts['made_how']}), the largest of "
        f"{facts['largest']:,}; effective number {facts['effective_number']:,}, as sampled "
        f"{facts['effective_number_sampled']:,}"
    )
