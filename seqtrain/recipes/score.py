"""Scoring variants: a model, wild types and mutations in; a table, a heat map and a correlation out."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from seqtrain.device import choose_device, choose_precision
from seqtrain.errors import InputError
from seqtrain.evaluation.intervals import bootstrap_interval
from seqtrain.evaluation.metrics import spearman
from seqtrain.fitting import Listener
from seqtrain.inference import InferenceConfig
from seqtrain.io.columns import is_missing
from seqtrain.io.compressed import Source
from seqtrain.io.delimited import Table, read_table, unique_names, write_table
from seqtrain.io.run_directory import write_text_atomically
from seqtrain.recipes.networks import describe
from seqtrain.score.heat_map import heat_map
from seqtrain.score.language_model import LanguageModel, load_language_model
from seqtrain.score.methods import Method, Scorer
from seqtrain.score.mutations import Notation, Variant, singles
from seqtrain.score.rows import Row, VariantTable, find_mutation_columns
from seqtrain.score.wild_types import read_wild_types
from seqtrain.words import name_of, read_words

HEADER = ("identifier", "mutation", "position", "wild_type", "mutant")
_CHUNK_ROWS = 1024
_SAID_EVERY_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class ScoreConfig:
    """What is scored, and how."""

    run: str
    """A run of pretrain, or a folder of a published model."""
    wild_types: str
    """A FASTA of one or several wild types."""
    mutations: str | None = None
    """A table; None for all single replacements."""
    all_singles: bool = False
    methods: tuple[str, ...] = ("masked-marginal",)
    mutation_column: str | None = None
    sequence_column: str | None = None
    name_column: str | None = None
    offset: int = 0
    """Added to the positions of the table, which then count from 1 in the FASTA."""
    max_length: int | None = None
    """Letters of a window; None for that of the training."""
    measured: str | None = None
    """A column of numbers to correlate the scores with."""
    heat_map: str | None = None
    """An SVG file, drawn from the first method."""
    device: str = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"


@dataclass(frozen=True, kw_only=True)
class _Job:
    """A scoring before its first score."""

    model: LanguageModel
    notation: Notation
    wild_types: Mapping[str, bytes]
    methods: tuple[Method, ...]
    variants: VariantTable | None
    """None for all single replacements."""
    measured: NDArray[np.float64] | None
    """(N,) nan where nothing was measured."""

    @property
    def num_rows(self) -> int:
        """How many variants are scored."""
        if self.variants is not None:
            return len(self.variants.table)
        moves = [sum(1 for _ in singles(bytes([letter]), self.model.alphabet)) for letter in range(256)]
        return sum(moves[letter] for letters in self.wild_types.values() for letter in letters)

    def rows(self) -> Iterator[Row]:
        """What is scored, in order."""
        if self.variants is not None:
            yield from self.variants.rows()
            return
        for name, letters in self.wild_types.items():
            for variant in singles(letters, self.model.alphabet):
                yield Row(identifier=name, mutation=self.notation.written(variant), variant=variant)


@dataclass
class _Gathered:
    """What is kept of the scores for the heat map and the correlation; nothing else grows with the table."""

    singles: dict[str, NDArray[np.float64]]
    """(L, A) of each wild type by the first method."""
    scores: list[list[float]] = field(default_factory=list)
    """Of each row by each method, where they are to be correlated."""


def score_file(config: ScoreConfig, output: Source, listener: Listener) -> dict[str, tuple[float, float, float]]:
    """Score variants into a table of one row for each, in order; "-" is standard output.

    Every input is read and checked before anything is computed.

    Returns:
        For each method Spearman's correlation with the measured column and its 95 % interval; nothing without one.

    Raises:
        InputError: a run without a language model head, wild types or mutations that cannot be used; by place.
    """
    job = _prepared(config, listener)
    gathered = _Gathered({name: _nothing(job, letters) for name, letters in job.wild_types.items()})
    header, rows = _table(job, gathered, listener)
    # The first row before the header: what goes wrong at once leaves nothing on standard output.
    first = list(islice(rows, 1))
    write_table(output, header, chain(first, rows))
    if config.heat_map is not None:
        words = name_of(type(job.methods[0]))
        picture = heat_map(gathered.singles, job.wild_types, job.model.alphabet, words)
        write_text_atomically(Path(config.heat_map), picture)
        listener.say(f"wrote {config.heat_map}")
    return {} if job.measured is None else _correlations(job, job.measured, gathered, listener)


def _prepared(config: ScoreConfig, listener: Listener) -> _Job:
    """Everything read and checked.

    Raises:
        InputError: see :func:`score_file`.
    """
    if (config.mutations is None) != config.all_singles:
        raise InputError("what is scored? give either --mutations TABLE or --all-singles")
    if config.max_length is not None and config.max_length < 1:
        raise InputError(f"--max-length {config.max_length}: must be greater than 0")
    if config.all_singles and config.measured is not None:
        raise InputError("--measured: is a column of --mutations, and --all-singles has no table; leave it out")
    if config.heat_map is not None and not config.heat_map.lower().endswith(".svg"):
        raise InputError(f"--heat-map {config.heat_map}: is drawn as SVG; end the name in .svg")
    # A missing folder would otherwise be found after hours of computing, when the picture is written.
    if config.heat_map is not None and not (folder := Path(config.heat_map).absolute().parent).is_dir():
        raise InputError(f"--heat-map {config.heat_map}: there is no folder {folder}; make it first")
    methods = _methods(config.methods)
    run = load_language_model(Path(config.run))
    wild_types, ledger = read_wild_types(Path(config.wild_types), run.alphabet, run.folder)
    for line in ledger.lines():
        listener.say(line)
    notation = Notation(alphabet=run.alphabet)
    variants = measured = None
    if config.mutations is not None:
        table = read_table(Path(config.mutations))
        variants = _variants(config, table, wild_types, notation, methods, listener)
        measured = None if config.measured is None else _measured(table, config.measured)
    device, why = choose_device(config.device)
    listener.say(f"device: {why}")
    precision = choose_precision(config.precision, device)
    model = LanguageModel(
        network=run.single.to(device),
        alphabet=run.alphabet,
        max_length=config.max_length or run.max_length,
        config=InferenceConfig(device=device, precision=precision),
    )
    listener.say(f"model: {describe(run.single)}, windows of up to {model.max_length:,} letters")
    _say_windows(wild_types, model, listener)
    return _Job(
        model=model, notation=notation, wild_types=wild_types, methods=methods, variants=variants, measured=measured
    )


def _methods(words: tuple[str, ...]) -> tuple[Method, ...]:
    found: list[Method] = []
    for each in words:
        try:
            method: Method = read_words(each, Method, "method")[0]
        except InputError as error:
            raise InputError(f"--method {each}: {error}") from None
        if method in found:
            raise InputError(f"--method {each}: given twice; name each once")
        found.append(method)
    if not found:
        raise InputError("--method: name at least one")
    return tuple(found)


def _variants(
    config: ScoreConfig,
    table: Table,
    wild_types: Mapping[str, bytes],
    notation: Notation,
    methods: tuple[Method, ...],
    listener: Listener,
) -> VariantTable:
    """The table with its columns found and every row checked."""
    columns = find_mutation_columns(
        table,
        wild_types,
        notation,
        mutation=config.mutation_column,
        sequence=config.sequence_column,
        name=config.name_column,
    )
    listener.say(f"{table.path}: {columns.words()}")
    if columns.mutation is None and config.offset:
        raise InputError(f"--offset {config.offset}: is for positions in a column of mutations; leave it out")
    variants = VariantTable(
        table=table, columns=columns, wild_types=wild_types, notation=notation, offset=config.offset
    )
    indels = variants.check(takes_indels=any(method.takes_indels for method in methods))
    some = f", {indels:,} of them with insertions or deletions" if indels else ""
    listener.say(f"{table.path}: {len(table):,} variants{some}")
    if indels and not all(method.takes_indels for method in methods):
        listener.say("insertions and deletions have a pseudo-log-likelihood only: their other scores are left empty")
    return variants


def _measured(table: Table, column: str) -> NDArray[np.float64]:
    """(N,) numbers, nan for cells that are empty or say that there is none.

    Raises:
        InputError: no such column, another text, or fewer than two numbers.
    """
    values = np.full(len(table), np.nan)
    for index, cell in enumerate(table.column(column)):
        if cell.strip() and not is_missing(cell):
            try:
                values[index] = float(cell)
            except ValueError:
                raise InputError(
                    f"{table.place(index)}: {cell!r} in column {column!r} is no number; "
                    "correct it, leave the cell empty, or choose another --measured"
                ) from None
    if np.isfinite(values).sum() < 2:
        raise InputError(f"{table.path}: column {column!r} has fewer than two numbers; choose another --measured")
    return np.where(np.isfinite(values), values, np.nan)


def _say_windows(wild_types: Mapping[str, bytes], model: LanguageModel, listener: Listener) -> None:
    long = [name for name, letters in wild_types.items() if len(letters) > model.max_length]
    if long:
        listener.say(
            f"{len(long):,} of {len(wild_types):,} wild types longer than {model.max_length:,} letters, such as "
            f"{long[0]}: each position is scored in a window around it"
        )


def _nothing(job: _Job, letters: bytes) -> NDArray[np.float64]:
    return np.full((len(letters), len(job.model.alphabet.standard_letters)), np.nan)


def _table(job: _Job, gathered: _Gathered, listener: Listener) -> tuple[list[str], Iterator[list[str | float]]]:
    """The header and the rows of the output: ours, then the columns of the table that say something else."""
    names = [name_of(type(method)).replace("-", "_") for method in job.methods]
    ours, kept = [*HEADER, *names], list[str]()
    columns: dict[str, list[str]] = {}
    if job.variants is not None:
        parts, columns = job.variants.columns, job.variants.table.columns
        kept = [name for name in columns if name not in (parts.mutation, parts.name)]
    # The table's own column of this name steps back, so that ours mean the same in every output.
    shown = [f"{name}_of_table" if name in ours else name for name in kept]

    def rows() -> Iterator[list[str | float]]:
        said_at, num_rows = time.monotonic(), job.num_rows
        for index, (row, scores) in enumerate(_scored(job)):
            if time.monotonic() - said_at > _SAID_EVERY_SECONDS:
                said_at = time.monotonic()
                listener.say(f"scored {index:,} of {num_rows:,} variants")
            _gather(job, gathered, row, scores)
            cells: list[str | float] = ["" if np.isnan(score) else round(score, 6) + 0.0 for score in scores]
            place = _place(job.notation, row.variant)
            yield [row.identifier, row.mutation, *place, *cells, *(columns[name][index] for name in kept)]

    return unique_names([*ours, *shown]), rows()


def _scored(job: _Job) -> Iterator[tuple[Row, list[float]]]:
    """Each row with its score by every method."""
    scorers = [Scorer(job.model, method) for method in job.methods]
    rows = job.rows()
    while chunk := list(islice(rows, _CHUNK_ROWS)):
        found = [scorer(row.variant for row in chunk) for scorer in scorers]
        for row, *scores in zip(chunk, *found, strict=True):
            yield row, scores


def _gather(job: _Job, gathered: _Gathered, row: Row, scores: list[float]) -> None:
    if job.measured is not None:
        gathered.scores.append(scores)
    replaced = row.variant.substitutions
    if replaced is not None and len(replaced) == 1:
        ((position, letter),) = replaced
        gathered.singles[row.identifier][position, job.model.columns[letter]] = scores[0]


def _place(notation: Notation, variant: Variant) -> list[str]:
    """Positions from 1, letters of the wild type and new letters; of several changes joined by ":"."""
    replaced = variant.substitutions
    if replaced is not None:
        return [
            ":".join(str(position + 1) for position, _ in replaced),
            ":".join(notation.text(variant.wild_type[position]) for position, _ in replaced),
            ":".join(notation.text(letter) for _, letter in replaced),
        ]
    # The whole sequence was given: which of its letters are new is not known.
    if any(edit.start == 0 and edit.stop == len(variant.wild_type) for edit in variant.edits):
        return ["", "", ""]
    edits = variant.edits
    return [
        ":".join(_range(edit.start, edit.stop) for edit in edits),
        ":".join(notation.text(variant.wild_type[edit.start : edit.stop]) for edit in edits),
        ":".join(notation.text(edit.inserted) for edit in edits),
    ]


def _range(start: int, stop: int) -> str:
    """Positions from 1; of an insertion the two that it is between."""
    if stop == start:
        return f"{start}_{start + 1}"
    return f"{start + 1}" if stop == start + 1 else f"{start + 1}_{stop}"


def _correlations(
    job: _Job, measured: NDArray[np.float64], gathered: _Gathered, listener: Listener
) -> dict[str, tuple[float, float, float]]:
    """Spearman's correlation of each method with what was measured, said and returned."""
    found = {}
    scores = np.array(gathered.scores, np.float64)
    for column, method in enumerate(job.methods):
        both = np.isfinite(measured) & np.isfinite(scores[:, column])
        true, predicted = measured[both], scores[both, column]
        value = spearman(true, predicted)
        low, high = bootstrap_interval(spearman, (true, predicted), seed=0)
        name = name_of(type(method))
        found[name] = (value, low, high)
        interval = f"95 % interval {_shown(low)} to {_shown(high)}"
        counts = f"{int(both.sum()):,} of {len(both):,} variants"
        listener.say(f"{name}: Spearman {_shown(value)} ({interval}) over {counts}")
    return found


def _shown(value: float) -> str:
    return "undefined" if np.isnan(value) else f"{value:.3f}"
