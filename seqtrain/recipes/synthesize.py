"""Synthetic members of rare classes: a generative model of each, fitted to its training rows, and what it draws."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from seqtrain.alphabet import PROTEIN
from seqtrain.augment.profile_alignment import read_alignment
from seqtrain.copies.files import write_records, write_rows
from seqtrain.draws import fold
from seqtrain.errors import InputError
from seqtrain.fitting import Listener
from seqtrain.generate.drawing import Proposals, Wanted, propose
from seqtrain.generate.family import Family
from seqtrain.generate.family_vae import LEAST_FOR_PROFILE, By, FamilyVAE, too_few
from seqtrain.generate.star_alignment import LEAST_IDENTITY, align_family, is_aligned
from seqtrain.io.compressed import Source, is_dash, open_bytes
from seqtrain.io.fasta import FastaRecord, read_fasta
from seqtrain.io.inputs import read_input
from seqtrain.io.ledger import Ledger
from seqtrain.io.outputs import check_output
from seqtrain.io.records import BadRecords, RecordReader, find_alphabet, read_fasta_files
from seqtrain.recipes.synthetic_table import Row, SyntheticTable

_ALIGNMENTS = (b"# STOCKHOLM", b"CLUSTAL")


@dataclass(frozen=True, kw_only=True)
class SynthesizeConfig:
    """What is drawn, and from what."""

    count: int
    """Synthetic sequences of each class, or of the family."""
    target: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    below: int | None = None
    """All classes with fewer training rows than this."""
    by: By = "vae"
    """With "vae" independent columns take its place where they explain held-out members as well."""
    strict: bool = False
    """Refuse such a class instead."""
    rate: float | None = None
    temperature: float = 1.0
    prior_fraction: float = 0.0
    identity: tuple[float, float] | None = None
    """These four: see :class:`seqtrain.generate.drawing.Wanted`."""
    least_identity: float | None = None
    """Members less alike to the one most like all are left out of the model; None: 0.3."""
    seed: int = 0
    task: Literal["auto", "classification"] = "auto"
    sequence_column: str | None = None
    split_column: str | None = None
    split: str | None = None
    fold: int | None = None
    weight_column: str | None = None
    alphabet: str = "auto"
    bad_records: BadRecords = "error"


@dataclass(frozen=True, kw_only=True)
class _Members:
    """What a model is fitted to."""

    name: str
    identifiers: Sequence[str]
    sequences: Sequence[str]


def synthesize_file(source: Source, output: Source, config: SynthesizeConfig, listener: Listener) -> None:
    """Write the table again with synthetic rows behind its own, or the synthetic members of a FASTA or alignment.

    Raises:
        InputError: options or input that cannot be used, or an output that cannot be written.
    """
    _check(config)
    if is_dash(source):
        raise InputError("-: the input is read more than once, which standard input does not allow; name a file")
    check_output(output, source)
    path = Path(source)
    with open_bytes(path) as stream:
        is_alignment = stream.peek(16).lstrip().startswith(_ALIGNMENTS)
    if is_alignment or read_input(path, sequence_column=config.sequence_column).table is None:
        _synthesize_family(path, output, config, listener, is_alignment=is_alignment)
    else:
        _synthesize_table(path, output, config, listener)


def _synthesize_table(path: Path, output: Source, config: SynthesizeConfig, listener: Listener) -> None:
    table = SyntheticTable.read(path, config, listener)
    chosen = table.chosen(config.classes, config.below)
    total = 0

    def rows() -> Iterator[Row]:
        # Everything is drawn before the first row: an output that cannot be written was refused before it.
        nonlocal total
        made = list(_each_class(table, chosen, config, listener))
        yield from table.given_rows()
        for name, proposals, members in made:
            for number, each in enumerate(proposals.found, start=1):
                total += 1
                parent = "" if each.parent is None else members.identifiers[each.parent]
                yield table.row(name, number, each.sequence, parent, each.identity)

    write_rows(output, str(path), table.header, rows())
    listener.say(f"wrote {output}: {len(table):,} given rows, {total:,} synthetic ones (set train)")
    for line in table.advice(output):
        listener.say(line)


def _each_class(
    table: SyntheticTable, chosen: Sequence[str], config: SynthesizeConfig, listener: Listener
) -> Iterator[tuple[str, Proposals, _Members]]:
    """What was drawn for each class that can be modelled; a class that was named has to be.

    Raises:
        InputError: a class that was named cannot be modelled, or none can.
    """
    path = table.table.path
    known = set(table.every_sequence())
    made = 0
    for name in chosen:
        members = _Members(name=f"{path}: class {name!r}", **table.members(name))
        try:
            proposals, used = _draw(members, known, fold(config.seed, "class", name), config, listener)
        except InputError as error:
            if config.classes:
                raise
            listener.say(f"left out: {error}")
            continue
        known |= {each.sequence for each in proposals.found}
        made += 1
        yield name, proposals, used
    if not made:
        raise InputError(f"{path}: none of the classes below {config.below} can be modelled; see the lines above")


def _synthesize_family(
    path: Path, output: Source, config: SynthesizeConfig, listener: Listener, *, is_alignment: bool
) -> None:
    for option, value in (
        ("--target", config.target), ("--class", config.classes), ("--below", config.below),
        ("--sequence-column", config.sequence_column), ("--split-column", config.split_column),
        ("--split", config.split), ("--fold", config.fold),
        ("--weight-column", config.weight_column),
    ):  # fmt: skip
        if value:
            raise InputError(f"{option}: {path} is a family and no table; leave it out")
    members, family = _read_family(path, config, listener, is_alignment=is_alignment)
    if family is not None and config.least_identity is not None:
        raise InputError(f"--least-identity {config.least_identity:g}: {path} is aligned as it is; leave it out")
    written = 0

    def records() -> Iterator[FastaRecord]:
        nonlocal written
        proposals, used = _draw(members, set(members.sequences), config.seed, config, listener, family)
        for number, each in enumerate(proposals.found, start=1):
            parent = "" if each.parent is None else f"parent={used.identifiers[each.parent]} "
            name = f"synthetic-{number}"
            while name in members.identifiers:
                name += "-new"
            written += 1
            description = f"{parent}identity={each.identity:.4f} seed={config.seed}"
            yield FastaRecord(name, description, each.sequence.encode(), 0)

    write_records(output, str(path), records())
    listener.say(f"wrote {output}: {written:,} synthetic sequences")


def _read_family(
    path: Path, config: SynthesizeConfig, listener: Listener, *, is_alignment: bool
) -> tuple[_Members, Family | None]:
    """The members in a file, and on which columns they stand if it is an alignment."""
    if is_alignment or is_aligned([each.sequence.decode("latin-1") for each in read_fasta(path)]):
        family = Family.from_alignment(read_alignment(path))
        listener.say(f"{path}: {len(family):,} aligned members on {family.symbols.shape[1]:,} columns")
        return _Members(name=str(path), identifiers=family.identifiers, sequences=family.texts), family
    alphabet = find_alphabet(config.alphabet, (each.sequence for each in read_fasta(path)), str(path))
    if alphabet.name != PROTEIN.name:
        raise InputError(
            f"{path}: {alphabet.name} sequences; families are modelled as proteins: translate them, or use seqtrain "
            "augment"
        )
    ledger = Ledger()
    records = list(RecordReader(alphabet, config.bad_records, ledger)(read_fasta_files([path])))
    ledger.check()
    for line in ledger.lines():
        listener.say(line)
    identifiers = [each.identifier for each in records]
    texts = [alphabet.text(each.letters) for each in records]
    return _Members(name=str(path), identifiers=identifiers, sequences=texts), None


def _draw(
    members: _Members,
    known: set[str],
    seed: int,
    config: SynthesizeConfig,
    listener: Listener,
    family: Family | None = None,
) -> tuple[Proposals, _Members]:
    """Fit a model to the members, say what held-out ones make of it, and draw; with those members that were used."""
    count = len(members.sequences)
    if count < LEAST_FOR_PROFILE:
        raise too_few(members.name, count, config.by)
    if family is None:
        family, used = align_family(
            members.sequences, members.identifiers, members.name, least_identity=_least_identity(config), seed=seed
        )
        left = f"; {count - len(used):,} others are less alike, and left out" if len(used) < count else ""
        listener.say(
            f"{members.name}: {len(used):,} members on {family.symbols.shape[1]:,} columns, mean identity "
            f"{family.mean_identity:.0%}{left}"
        )
    model = FamilyVAE.fit_family(family, seed, by="profile" if config.by == "profile" else "auto")
    listener.say(f"{members.name}: {model.evidence.words()}")
    if model.by != config.by:
        if config.strict:
            raise InputError(
                f"{members.name}: the VAE explains held-out members no better than independent columns; leave out "
                "--strict to draw from these"
            )
        listener.say(f"{members.name}: the VAE is no better than independent columns, so these are drawn from")
    wanted = Wanted(
        count=config.count,
        seed=seed,
        rate=config.rate,
        temperature=config.temperature,
        prior_fraction=config.prior_fraction,
        identity=config.identity,
    )
    proposals = propose(model, family, wanted, known)
    if proposals.missing:
        listener.say(f"{members.name}: {proposals.shortfall()}")
    if proposals.found:
        alike = [each.identity for each in proposals.found]
        listener.say(
            f"{members.name}: {len(alike):,} synthetic sequences, identity to the nearest member {min(alike):.0%} to "
            f"{max(alike):.0%} (mean {np.mean(alike):.0%})"
        )
    return proposals, _Members(name=members.name, identifiers=family.identifiers, sequences=family.texts)


def _least_identity(config: SynthesizeConfig) -> float:
    return LEAST_IDENTITY if config.least_identity is None else config.least_identity


def _check(config: SynthesizeConfig) -> None:
    try:
        Wanted(
            count=config.count,
            rate=config.rate,
            temperature=config.temperature,
            prior_fraction=config.prior_fraction,
            identity=config.identity,
        )
    except ValueError as error:
        words = str(error)
        raise InputError(f"--{words.replace('prior fraction', 'prior-fraction', 1)}") from None
    if not 0 <= _least_identity(config) <= 1:
        raise InputError(f"--least-identity {config.least_identity}: give a number from 0 to 1")
    if config.below is not None and config.below < 1:
        raise InputError(f"--below {config.below}: must be greater than 0")
    if config.by == "profile" and config.strict:
        raise InputError("--strict: belongs to --by vae; leave it out")
