"""A small sample of a table or FASTA, written as the same kind of file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from seqtrain.alphabet import Alphabet
from seqtrain.config import FinetuneConfig
from seqtrain.config_files import read_config
from seqtrain.copies.files import write_records, write_rows
from seqtrain.errors import InputError
from seqtrain.evaluation.variant_distance import common_wild_type
from seqtrain.families import Families, read_families
from seqtrain.fitting import Listener
from seqtrain.homology import Similarity, homology_clusters
from seqtrain.io.columns import find_columns
from seqtrain.io.compressed import Source, shown
from seqtrain.io.delimited import Table
from seqtrain.io.fasta import read_fasta
from seqtrain.io.inputs import read_input
from seqtrain.io.ledger import Ledger
from seqtrain.io.outputs import check_output
from seqtrain.io.records import BadRecords, RawRecord, RecordReader, find_alphabet
from seqtrain.io.splits import set_of
from seqtrain.labeled import LabeledData
from seqtrain.letters import PackedLetters
from seqtrain.microcosm import Microcosm, choose_microcosm, quantile_bins
from seqtrain.recipes.check import read_usable
from seqtrain.recipes.leakage import packed
from seqtrain.scoring import true_values
from seqtrain.tasks import Classification, MultiLabel, Regression

_MAX_RANGES = 10
_IDENTITY = 0.5
_IN_RANGE = 5
_LENGTH_RANGES = 4
_SHOWN_CLASSES = 20


@dataclass(frozen=True, kw_only=True)
class MicrocosmConfig:
    """What is sampled."""

    source: str
    """A table with labels, or a FASTA."""
    records: int = 300
    identity: float | None = None
    """From which on sequences are of one family; None: 0.5."""
    families: str | None = None
    """A table of representatives and members instead, as MMseqs2 writes its clusters."""
    target: tuple[str, ...] = ()
    sequence_column: str | None = None
    split_column: str | None = None
    task: Literal["auto", "regression", "classification", "multilabel", "residue"] = "auto"
    alphabet: str = "auto"
    bad_records: BadRecords = "drop"
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class _Given:
    """N usable records of a file."""

    sequences: PackedLetters
    alphabet: Alphabet
    names: Sequence[str]
    strata: NDArray[np.int64]
    """(N,)."""
    strata_names: Sequence[str]
    """Of the strata from 0 on; none where they are ranges."""
    balanced: str
    """What the sample is balanced by, in words."""
    sets: NDArray[np.str_]
    """(N,)."""


def write_microcosm(config: MicrocosmConfig, output: Source, listener: Listener) -> Microcosm:
    """Write a sample, in the order of the file and with everything that stands there, and say how good it is.

    Raises:
        InputError: input or options that cannot be used; a number of records that is too large, or too small for the
            classes.
    """
    if config.source == "-":
        raise InputError("-: name a file; it is read more than once")
    if config.records < 1:
        raise InputError(f"--records {config.records}: give at least 1")
    if config.families is not None and config.identity is not None:
        raise InputError(f"--identity {config.identity:g}: families are those of --families; leave one of the two out")
    _similarity(config)  # refuses what is out of range before anything is read
    source = Path(config.source)
    check_output(output, source)
    table = read_input(source, sequence_column=config.sequence_column).table
    chosen = (
        _of_fasta(config, source, output, listener) if table is None else _of_table(config, table, output, listener)
    )
    for line in chosen.words():
        listener.say(line)
    listener.say(f"wrote {shown(output)}: {len(chosen.records):,} records")
    return chosen


def _of_table(config: MicrocosmConfig, table: Table, output: Source, listener: Listener) -> Microcosm:
    reading = {
        name: getattr(config, name)
        for name in ("target", "sequence_column", "split_column", "task", "alphabet", "bad_records", "seed")
    }
    settings = read_config(FinetuneConfig, None, {"table": config.source, **reading})
    if not config.target:
        try:
            find_columns(table, sequence=config.sequence_column, split=config.split_column)
        except InputError as error:
            raise InputError(f"{error}; without labels give the sequences as FASTA") from None
    given = read_usable(settings, table, listener)
    data, split = given.data, given.columns.split
    strata, names, words = _strata(data, config.records)
    cells = [table.columns[split][row] for row in data.rows] if split is not None else [""] * len(data.rows)
    chosen = _choose(
        config,
        _Given(
            sequences=packed(data),
            alphabet=data.store.alphabet,
            names=[data.store.name(index) for index in range(len(data.store))],
            strata=strata,
            strata_names=names,
            balanced=words,
            sets=np.array([set_of(cell) or "" for cell in cells], dtype=np.str_),
        ),
        listener,
    )
    columns = list(table.columns.values())
    rows = ([column[row] for column in columns] for row in data.rows[chosen.records].tolist())
    write_rows(output, table.path, list(table.columns), rows)
    return chosen


def _of_fasta(config: MicrocosmConfig, source: Path, output: Source, listener: Listener) -> Microcosm:
    for option, value in (("--target", config.target), ("--sequence-column", config.sequence_column),
                          ("--split-column", config.split_column)):  # fmt: skip
        if value:
            raise InputError(f"{option}: {source} is FASTA and has no columns; leave it out, or give a table")
    records = list(read_fasta(source))
    alphabet = find_alphabet(config.alphabet, (record.sequence for record in records), str(source))
    ledger = Ledger()
    raws = (RawRecord(each.identifier, each.sequence, source.name, f"{source}:{each.line}") for each in records)
    judged = list(RecordReader(alphabet, config.bad_records, ledger, keep_bad=True)(raws))
    for line in ledger.lines():
        listener.say(line)
    kept = np.array([index for index, record in enumerate(judged) if len(record.letters)], dtype=np.int64)
    if not len(kept):
        raise InputError(f"{source}: no usable record is left of {len(records):,}; see above for what was dropped")
    sequences = PackedLetters.from_sequences([judged[index].letters for index in kept])
    chosen = _choose(
        config,
        _Given(
            sequences=sequences,
            alphabet=alphabet,
            names=[judged[index].identifier for index in kept],
            strata=quantile_bins(sequences.lengths.astype(np.float64), _LENGTH_RANGES),
            strata_names=(),
            balanced="over ranges of length, as there are no labels",
            sets=np.zeros(len(kept), dtype="<U1"),
        ),
        listener,
    )
    write_records(output, str(source), (records[index] for index in kept[chosen.records].tolist()))
    return chosen


def _strata(data: LabeledData, wanted: int) -> tuple[NDArray[np.int64], Sequence[str], str]:
    """The stratum (N,) of each record, the names of the strata, and what they are, in words."""
    task = data.task
    if isinstance(task, Classification):
        return np.asarray(data.targets, np.int64), task.classes, f"over the {task.outputs} classes"
    if isinstance(task, MultiLabel):
        there = np.nan_to_num(np.asarray(data.targets, np.float64)) > 0.5
        counts = there.sum(axis=0)
        rarest = np.where(there, counts, np.iinfo(np.int64).max).argmin(axis=1)
        rarest = np.where(there.any(axis=1), rarest, task.outputs)
        return rarest, (*task.classes, "no label"), "over the rarest label of each record"
    if isinstance(task, Regression):
        values = true_values(task, data)[:, 0].astype(np.float64)
        known = ~np.isnan(values)
        strata = np.full(len(values), -1, dtype=np.int64)
        count = int(np.clip(wanted // _IN_RANGE, 1, _MAX_RANGES))
        strata[known] = quantile_bins(values[known], count)
        return strata, (), f"over up to {count} ranges of {task.columns[0]!r} with as many records each"
    lengths = data.store.lengths.astype(np.float64)
    return quantile_bins(lengths, _LENGTH_RANGES), (), "over ranges of length, as labels are of residues"


def _choose(config: MicrocosmConfig, given: _Given, listener: Listener) -> Microcosm:
    """The sample, with what it holds said.

    Raises:
        InputError: too many or too few records were asked for.
    """
    count, num_strata = len(given.sequences), len(np.unique(given.strata))
    if config.records > count:
        raise InputError(
            f"--records {config.records}: {config.source} has {count:,} usable records; give fewer, or take it whole"
        )
    if config.records < num_strata and len(given.strata_names):
        raise InputError(
            f"--records {config.records}: there are {num_strata} classes; give at least {num_strata}, or "
            f"{2 * num_strata} to have two of each"
        )
    families = _families(config, given, listener)
    names, sets = np.unique(given.sets, return_inverse=True)
    if config.records < len(names):
        raise InputError(f"--records {config.records}: there are {len(names)} sets; give at least one record for each")
    chosen = choose_microcosm(
        given.sequences, given.strata, families.family, config.records, sets=sets, seed=config.seed
    )
    listener.say(f"families: {families.made_how}")
    listener.say(f"balanced {given.balanced}")
    for line in _what_it_holds(given, chosen, names):
        listener.say(line)
    return chosen


def _families(config: MicrocosmConfig, given: _Given, listener: Listener) -> Families:
    if config.families is not None:
        found, missing = read_families(Path(config.families), given.names)
        return replace(found, made_how=f"{found.made_how}, {missing:,} records alone") if missing else found
    if common_wild_type(given.sequences) is not None:
        one = np.zeros(len(given.sequences), dtype=np.int64)
        return Families(family=one, made_how="one, as all sequences are variants of one")
    similarity = _similarity(config)
    listener.say(f"looking for families at {similarity.least_identity:.0%} identity")
    return homology_clusters(given.sequences, similarity, listener.say, alphabet=given.alphabet)


def _similarity(config: MicrocosmConfig) -> Similarity:
    return Similarity(least_identity=_IDENTITY if config.identity is None else config.identity)


def _what_it_holds(given: _Given, chosen: Microcosm, set_names: NDArray[np.str_]) -> list[str]:
    """Records of each set and class in all and in the sample, and which classes are short."""
    lines = []
    if len(set_names) > 1 or set_names[0]:
        parts = [
            f"{name} {int((given.sets == name).sum()):,} → {int((given.sets[chosen.records] == name).sum()):,}"
            for name in set_names.tolist()
        ]
        lines.append(f"sets, which stay what the table says (all → sample): {', '.join(parts)}")
    if not len(given.strata_names):
        return lines
    count = len(given.strata_names)
    before, after = (np.bincount(strata, minlength=count) for strata in (given.strata, given.strata[chosen.records]))
    there = np.flatnonzero(before).tolist()
    shares = zip(before / before.sum(), after / after.sum(), strict=True)
    words = [f"({old:.1%}) → {new:,} ({share:.1%})" for (old, share), new in zip(shares, after, strict=True)]
    parts = [f"{given.strata_names[i]} {before[i]:,} {words[i]}" for i in there[:_SHOWN_CLASSES]]
    more = f" and {len(there) - _SHOWN_CLASSES} more" if len(there) > _SHOWN_CLASSES else ""
    lines.append(f"classes (all → sample): {', '.join(parts)}{more}")
    short = [given.strata_names[i] for i in there if after[i] == before[i] and after[i] < after.max()]
    if short:
        lines.append(f"short of {_listed(short)}: all there is was taken")
    single = [given.strata_names[i] for i in there if before[i] == 1]
    if single:
        lines.append(f"one member only: {_listed(single)}; such a class is either learnt or scored, never both")
    absent = [given.strata_names[i] for i in there if not after[i]]
    if absent:
        lines.append(f"no room for {_listed(absent)}, as sets keep their shares; give more --records to have them")
    return lines


def _listed(names: Sequence[str], limit: int = 5) -> str:
    return ", ".join(map(repr, names[:limit])) + (f" and {len(names) - limit} more" if len(names) > limit else "")
