"""A scoring before its first score: the model, the wild types and the mutations read and checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from seqtrain.device import choose_device, choose_precision
from seqtrain.errors import InputError
from seqtrain.fitting import Listener
from seqtrain.inference import InferenceConfig
from seqtrain.io.cells import is_missing
from seqtrain.io.delimited import Table, read_table
from seqtrain.io.outputs import check_output
from seqtrain.recipes.networks import describe
from seqtrain.score.language_model import LanguageModel, load_language_model
from seqtrain.score.methods import Method
from seqtrain.score.mutations import Notation, singles
from seqtrain.score.rows import Row, VariantTable, find_mutation_columns
from seqtrain.score.wild_types import read_wild_types
from seqtrain.words import read_words


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
class ScoreJob:
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


def prepare_scoring(config: ScoreConfig, listener: Listener) -> ScoreJob:
    """Everything read and checked.

    Raises:
        InputError: a run without a language model head, wild types or mutations that cannot be used; by place.
    """
    if (config.mutations is None) != config.all_singles:
        raise InputError("what is scored? give either --mutations TABLE or --all-singles")
    if config.max_length is not None and config.max_length < 1:
        raise InputError(f"--max-length {config.max_length}: must be greater than 0")
    of_table = {
        "--measured": config.measured, "--mutation-column": config.mutation_column, "--name-column": config.name_column,
        "--sequence-column": config.sequence_column, "--offset": config.offset or None,
    }  # fmt: skip
    if config.all_singles and (given := [option for option, value in of_table.items() if value is not None]):
        raise InputError(f"{given[0]}: is for the table of --mutations, and --all-singles has none; leave it out")
    if config.heat_map is not None and not config.heat_map.lower().endswith(".svg"):
        raise InputError(f"--heat-map {config.heat_map}: is drawn as SVG; end the name in .svg")
    if config.heat_map is not None:
        check_output(Path(config.heat_map), option="--heat-map")
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
    return ScoreJob(
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
