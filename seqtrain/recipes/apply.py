"""Applying a run: predictions, scores and embeddings for files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from seqtrain.device import choose_device, choose_precision
from seqtrain.embed import FloatName, Form, write_embeddings
from seqtrain.errors import InputError
from seqtrain.fitting import Listener
from seqtrain.inference import InferenceConfig, Pooling
from seqtrain.io.columns import find_columns
from seqtrain.io.compressed import Source
from seqtrain.io.delimited import Table, read_table, unique_names, write_table
from seqtrain.io.inputs import Input, read_input
from seqtrain.io.ledger import Ledger
from seqtrain.io.outputs import check_output
from seqtrain.io.records import BadRecords, Long, RawRecord, Record, RecordReader, nucleotide_fraction
from seqtrain.io.splits import TRAIN, VALID
from seqtrain.labeled import LabeledData, read_labeled
from seqtrain.predict import Predictor, load_run_or_model
from seqtrain.recipes.calibration import reliability_of
from seqtrain.recipes.chosen_split import chosen_split, warn_of_other_rows, without_own_sets
from seqtrain.recipes.networks import describe
from seqtrain.recipes.own_table import sets_of_rows
from seqtrain.recipes.uncertainty import (
    all_uncertainties,
    num_answers,
    uncertainty_header,
    uncertainty_words,
    with_uncertainty,
    with_worths,
    worths_of,
)
from seqtrain.run import Run
from seqtrain.run_record import environment
from seqtrain.scoring import Scored, score_set
from seqtrain.tasks import Regression, Task, kind_of


@dataclass(frozen=True, kw_only=True)
class ApplyConfig:
    """How a run is applied."""

    run: str
    sequence_column: str | None = None
    alphabet: str = "auto"
    long: Long = "window"
    max_length: int | None = None
    """Letters per window; None for that of the training."""
    bad_records: BadRecords = "error"
    device: str = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    uncertainty: bool = False
    """How unsure each prediction is, beside it (see :mod:`seqtrain.recipes.uncertainty`)."""
    samples: int | None = None
    """Answers of one network with its dropout on; None: 20."""


@dataclass(frozen=True, kw_only=True)
class EmbedConfig:
    """What of the hidden states is written."""

    layers: tuple[int, ...] = (-1,)
    """See :meth:`seqtrain.predict.Predictor.embed`."""
    pooling: Pooling = "mean"
    dtype: FloatName = "float32"


def predict_file(source: Source, output: Source, config: ApplyConfig, listener: Listener) -> None:
    """Predict every record of a FASTA or table and write one row for each, in order; "-" is standard output.

    A FASTA gives the identifier and the prediction; a table keeps its columns and gets the prediction beside them.

    Raises:
        InputError: a run without labels, input that cannot be used, or an output that is the input.
    """
    check_output(output, source)
    run, predictor = _load(config, listener)
    task = _task_of(run)
    answers = _answers(run, config, listener)
    given = _read(source, run, config)
    if given.table is not None:
        ignored = [name for name in run.columns.get("targets") or () if name in given.table.columns]
        if ignored:
            listener.say(f"column {', '.join(ignored)}: holds labels already; they are not looked at, and kept")
    ledger = Ledger()
    records = _reader(config, run, ledger)(_checked(given.records, run, config))
    header, rows = _prediction_rows(given, task, predictor, records, answers)
    # The first row before the header: input that is refused at once leaves nothing on standard output.
    first = list(islice(rows, 1))
    write_table(output, header, chain(first, rows))
    _close(ledger, listener)


def embed_file(
    source: Source, output: Path, config: ApplyConfig, listener: Listener, embedding: EmbedConfig | None = None
) -> None:
    """Embed every record of a FASTA or table into a file, see :func:`seqtrain.embed.write_embeddings`.

    Raises:
        InputError: input or an output name that cannot be used, or a layer that the model does not have.
    """
    check_output(output, source)
    embedding = embedding or EmbedConfig()
    run, predictor = _load(config, listener)
    form = Form(
        width=predictor.embedding_width(embedding.layers),
        per_residue=embedding.pooling == "none",
        dtype=embedding.dtype,
        facts=_embedding_facts(run, predictor, config, embedding),
    )
    given = _read(source, run, config)
    ledger = Ledger()
    records = _reader(config, run, ledger)(_checked(given.records, run, config))
    rows = predictor.embed(records, layers=embedding.layers, pooling=embedding.pooling)
    count = write_embeddings(output, rows, form)
    _close(ledger, listener)
    noun = "record" if count == 1 else "records"
    listener.say(f"wrote {output}: embeddings of {count:,} {noun}, width {form.width}")


def _embedding_facts(run: Run, predictor: Predictor, config: ApplyConfig, embedding: EmbedConfig) -> dict[str, Any]:
    """How embeddings are made, for whoever finds the file later."""
    return {
        "made_by": f"seqtrain {environment()['seqtrain']}",
        "run": str(config.run),
        "network": describe(run.single),
        "alphabet": run.alphabet.name,
        "layers": list(predictor.layer_numbers(embedding.layers)),
        "depth": run.single.body.config.depth,
        "pooling": embedding.pooling,
        "special_tokens": "left out",
        "max_length": run.max_length,
        "windows": "longer sequences in overlapping windows, each residue from the one in which it sees more context",
        "precision": predictor.config.precision,
    }


def evaluate_file(
    source: Source,
    config: ApplyConfig,
    listener: Listener,
    *,
    split_column: str | None = None,
    split: str | None = None,
    fold: int | None = None,
) -> list[Scored]:
    """Score a run on a labelled table: each set of its split column or of a split file apart, or all records together.

    Raises:
        InputError: a run without labels, a table without the run's label columns, labels the run does not know, or a
            split of another table.
    """
    chosen = chosen_split(split, fold, split_column)
    run, predictor = _load(config, listener)
    task = _task_of(run)
    answers = _answers(run, config, listener)
    table = read_table(source)
    mask = run.columns.get("mask")
    columns = find_columns(
        table,
        sequence=_column(config, run, table),
        targets=task.columns,
        split=split_column,
        mask=mask if mask in table.columns else None,
    )
    columns = without_own_sets(columns, chosen, listener.say)
    listener.say(f"{table.path}: {columns.words()}")
    warn_of_other_rows(table, columns, chosen, listener.say)
    ledger = Ledger()
    reader = _reader(config, run, ledger)
    data = read_labeled(table, columns, kind_of(task), reader, seed=0, task=task, split=chosen)
    _close(ledger, listener)
    sequences = [data.store[i].tobytes() for i in range(min(len(data.store), 10_000))]
    _refuse_nucleotides(nucleotide_fraction(sequences), run, config, table.path)
    outputs = np.concatenate([values for _, values in predictor.outputs(_records(data)) if values is not None])
    uncertainty = all_uncertainties(predictor, _records(data), answers) if answers else {}
    sets = {"all": np.arange(len(data.store))}
    if columns.split is not None or chosen is not None:
        sets = {name: data.split.indices(name) for name in sorted(set(data.split.sets.tolist()))}
        if "train" in sets:
            listener.say("train: if the run was trained on these records, their score says nothing about new ones")
    _say_seen(run, data, {name: records for name, records in sets.items() if name != "train"}, listener)
    return [_evaluated(name, data, outputs, records, uncertainty, listener) for name, records in sets.items()]


def _say_seen(run: Run, data: LabeledData, sets: Mapping[str, NDArray[np.int64]], listener: Listener) -> None:
    """Say of which records a score is hopeful, where this is the table that the run was made of: other splits are."""
    before = sets_of_rows(run.folder, data.table.path)
    for name, records in sets.items():
        rows = data.rows[records].tolist()
        learnt, chose = (sum(before.get(row) == each for row in rows) for each in (TRAIN, VALID))
        if learnt:
            listener.say(
                f"{name}: the run was trained on {learnt:,} of these {len(rows):,} records"
                + (f", and {chose:,} chose its weights" if chose else "")
                + ": the score says little about new ones"
            )


def _evaluated(
    name: str,
    data: LabeledData,
    outputs: NDArray[np.float32],
    records: NDArray[np.int64],
    uncertainty: dict[str, NDArray[np.float64]],
    listener: Listener,
) -> Scored:
    """The scores of a set, how far its probabilities can be trusted, and what uncertainties are worth."""
    scored = score_set(name, data.task, data, outputs, records)
    if not isinstance(data.task, Regression):
        found = reliability_of(data, outputs, name, records)
        listener.say(found.words())
        scored = replace(scored, metrics={**scored.metrics, "calibration_error": found.expected_calibration_error})
    if not uncertainty:
        return scored
    worths = worths_of(data, outputs, uncertainty, records)
    for each in worths:
        listener.say(f"{name}: {each.words()}")
    return with_worths(scored, worths)


def _records(data: LabeledData) -> Iterator[Record]:
    return (Record(data.store.name(i), data.store[i], "", "") for i in range(len(data.store)))


def _load(config: ApplyConfig, listener: Listener) -> tuple[Run, Predictor]:
    if config.max_length is not None and config.max_length < 1:
        raise InputError(f"--max-length {config.max_length}: must be greater than 0")
    run = load_run_or_model(Path(config.run))
    run = replace(run, max_length=config.max_length or run.max_length)
    if config.alphabet not in ("auto", run.alphabet.name):
        raise InputError(f"--alphabet {config.alphabet}: {run.folder} was trained on the {run.alphabet.name} alphabet")
    device, why = choose_device(config.device)
    listener.say(f"device: {why}")
    precision = choose_precision(config.precision, device)
    predictor = Predictor.of_run(run, InferenceConfig(device=device, precision=precision))
    return run, predictor


def _answers(run: Run, config: ApplyConfig, listener: Listener) -> int | None:
    """How often each record is asked about to learn how unsure the run is; None: it is not wanted."""
    answers = num_answers(run, config.uncertainty, config.samples)
    if answers is not None:
        listener.say(uncertainty_words(run, answers))
    return answers


def _task_of(run: Run) -> Task:
    if run.task is None:
        raise InputError(
            f"{run.folder}: was pretrained without labels and predicts none; "
            f"finetune it first: seqtrain finetune TABLE --from {run.folder}"
        )
    return run.task


def _read(source: Source, run: Run, config: ApplyConfig) -> Input:
    return read_input(source, sequence_column=config.sequence_column, usual_column=run.columns.get("sequence"))


def _column(config: ApplyConfig, run: Run, table: Table) -> str | None:
    """The column of sequences that was asked for, or the one that the training table had."""
    trained = run.columns.get("sequence")
    return config.sequence_column or (trained if trained in table.columns else None)


def _reader(config: ApplyConfig, run: Run, ledger: Ledger) -> RecordReader:
    return RecordReader(
        run.alphabet,
        config.bad_records,
        ledger,
        max_length=run.max_length,
        long=config.long,
        keep_bad=True,
    )


def _checked(raw_records: Iterator[RawRecord], run: Run, config: ApplyConfig) -> Iterator[RawRecord]:
    """The records, after a look at whether the first ones are nucleotides given to a protein model."""
    ahead = list(islice(raw_records, 1000))
    if ahead:
        fraction = nucleotide_fraction(raw.sequence for raw in ahead)
        _refuse_nucleotides(fraction, run, config, ahead[0].place)
    yield from ahead
    yield from raw_records


def _refuse_nucleotides(fraction: float, run: Run, config: ApplyConfig, place: str) -> None:
    if fraction > 0.9 and run.alphabet.name == "protein" and config.alphabet == "auto":
        raise InputError(
            f"{place}: {fraction:.0%} of the letters are A, C, G, T, U or N, but {run.folder} reads proteins; "
            "translate them first, or pass --alphabet protein if they are residues"
        )


def _prediction_rows(
    given: Input, task: Task, predictor: Predictor, records: Iterator[Record], answers: int | None
) -> tuple[list[str], Iterator[list[str | float]]]:
    """Header and rows; with ``answers`` to each record, also how unsure they are."""
    predictions, header = predictor.predict(records), task.header
    if answers is not None:
        predictions, header = with_uncertainty(predictor, records, answers), [*header, *uncertainty_header(task)]
    if given.table is None:
        return ["identifier", *header], ([record.identifier, *cells] for record, cells in predictions)
    columns = given.table.columns

    def rows() -> Iterator[list[str | float]]:
        for index, (_, cells) in enumerate(predictions):
            yield [*(column[index] for column in columns.values()), *cells]

    return unique_names([*columns, *header]), rows()


def _close(ledger: Ledger, listener: Listener) -> None:
    ledger.check()
    for line in ledger.lines():
        listener.say(line)
