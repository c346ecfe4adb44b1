"""Scoring variants: a model, wild types and mutations in; a table, a heat map and a correlation out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seqtrain.evaluation.intervals import bootstrap_interval
from seqtrain.evaluation.metrics import spearman
from seqtrain.fitting import Listener
from seqtrain.io.compressed import Source
from seqtrain.io.delimited import unique_names, write_table
from seqtrain.io.outputs import check_output
from seqtrain.io.run_directory import write_text_atomically
from seqtrain.recipes.score_job import ScoreConfig, ScoreJob, prepare_scoring
from seqtrain.score.heat_map import heat_map
from seqtrain.score.methods import Scorer
from seqtrain.score.mutations import Notation, Variant
from seqtrain.score.rows import Row
from seqtrain.words import name_of

HEADER = ("identifier", "mutation", "position", "wild_type", "mutant")
_CHUNK_ROWS = 1024
_SAID_EVERY_SECONDS = 10.0


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
    for source in filter(None, (config.wild_types, config.mutations)):
        check_output(output, Path(source))
    job = prepare_scoring(config, listener)
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


def _nothing(job: ScoreJob, letters: bytes) -> NDArray[np.float64]:
    return np.full((len(letters), len(job.model.alphabet.standard_letters)), np.nan)


def _table(job: ScoreJob, gathered: _Gathered, listener: Listener) -> tuple[list[str], Iterator[list[str | float]]]:
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


def _scored(job: ScoreJob) -> Iterator[tuple[Row, list[float]]]:
    """Each row with its score by every method."""
    scorers = [Scorer(job.model, method) for method in job.methods]
    rows = job.rows()
    while chunk := list(islice(rows, _CHUNK_ROWS)):
        found = [scorer(row.variant for row in chunk) for scorer in scorers]
        for row, *scores in zip(chunk, *found, strict=True):
            yield row, scores


def _gather(job: ScoreJob, gathered: _Gathered, row: Row, scores: list[float]) -> None:
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
    job: ScoreJob, measured: NDArray[np.float64], gathered: _Gathered, listener: Listener
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
