"""How unsure a run is of each prediction: by the members of an ensemble, or by the dropout of one network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import tee
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqtrain.errors import InputError
from seqtrain.evaluation.uncertainty import Worth, entropy_of_classes, entropy_of_labels, spread, worth_of
from seqtrain.io.records import Record
from seqtrain.labeled import LabeledData
from seqtrain.mc_dropout import NUM_SAMPLES, check_noisy
from seqtrain.models.ensemble import Ensemble
from seqtrain.predict import Predictor
from seqtrain.run import Run
from seqtrain.scoring import Scored, rows_of, true_values
from seqtrain.tasks import MultiLabel, Regression, ResidueClassification, Task

ENTROPY, MUTUAL_INFORMATION, PER_RESIDUE = "entropy", "mutual_information", "entropy_per_residue"


def num_answers(run: Run, uncertainty: bool, samples: int | None) -> int | None:
    """How often a run is asked about each record; None where no uncertainty is wanted.

    Raises:
        InputError: samples without use, fewer than two, or a network whose answers would all be one.
    """
    if not uncertainty:
        if samples is not None:
            raise InputError(f"--samples {samples}: is for --uncertainty; give both, or leave it out")
        return None
    if isinstance(run.network, Ensemble):
        if samples is not None:
            raise InputError(
                f"--samples {samples}: {run.folder} is an ensemble, whose members answer once each; leave it out"
            )
        if len(run.network.members) < 2:
            raise InputError(f"{run.folder}: is an ensemble of one member, which agrees with itself; train more")
        return len(run.network.members)
    if samples is not None and samples < 2:
        raise InputError(f"--samples {samples}: must be at least 2; 20 is usual")
    check_noisy(run.network, run.folder)
    return samples or NUM_SAMPLES


def uncertainty_words(run: Run, answers: int) -> str:
    """Whose answers are compared."""
    if isinstance(run.network, Ensemble):
        return f"uncertainty: by the spread of the {answers} members"
    return f"uncertainty: by {answers} answers of the network with its dropout on; predictions are made without"


def uncertainty_header(task: Task) -> list[str]:
    """Names of the columns of :func:`uncertainty_cells`."""
    if isinstance(task, Regression):
        return ["uncertainty"] if task.outputs == 1 else [f"std[{column}]" for column in task.columns]
    return [ENTROPY, MUTUAL_INFORMATION, *([PER_RESIDUE] if isinstance(task, ResidueClassification) else [])]


def uncertainty_cells(task: Task, answers: NDArray[np.float32]) -> list[str | float]:
    """The cells of one record from its answers (S, 1, K) or (S, L, K): means over the residues, then each residue's."""
    found = list(uncertainties(task, answers).values())
    cells: list[str | float] = [round(float(values.mean()), 6) for values in found]
    if isinstance(task, ResidueClassification):
        cells.append(" ".join(f"{value:.3f}" for value in found[0]))
    return cells


def uncertainties(task: Task, answers: NDArray[np.float32]) -> dict[str, NDArray[np.float64]]:
    """(S, N, K) logits -> (N,) of each uncertainty: standard deviations in label units, or entropies in nats."""
    values = np.stack([task.values(answer) for answer in answers])
    if isinstance(task, Regression):
        return dict(zip(uncertainty_header(task), spread(values).T, strict=True))
    entropies = entropy_of_labels if isinstance(task, MultiLabel) else entropy_of_classes
    return dict(zip((ENTROPY, MUTUAL_INFORMATION), entropies(values), strict=True))


def with_uncertainty(
    predictor: Predictor, records: Iterable[Record], num_samples: int
) -> Iterator[tuple[Record, list[str | float]]]:
    """Each record with its prediction, as without uncertainty, and the cells of :func:`uncertainty_header`."""
    task = predictor.task
    assert task is not None
    nothing: list[str | float] = [""] * len(uncertainty_header(task))
    # A tee keeps what one has read and the other has not, which is a chunk of the predictor's.
    one, other = tee(records)
    for (record, cells), (_, answers) in zip(
        predictor.predict(one), predictor.answers(other, num_samples=num_samples), strict=True
    ):
        yield record, [*cells, *(nothing if answers is None else uncertainty_cells(task, answers))]


def all_uncertainties(
    predictor: Predictor, records: Iterable[Record], num_samples: int
) -> dict[str, NDArray[np.float64]]:
    """(N,) or (letters,) of each uncertainty, of all records end to end."""
    task = predictor.task
    assert task is not None
    found = [
        uncertainties(task, answers)
        for _, answers in predictor.answers(records, num_samples=num_samples)
        if answers is not None
    ]
    return {name: np.concatenate([each[name] for each in found]) for name in found[0]}


def worths_of(
    data: LabeledData,
    outputs: NDArray[np.float32],
    uncertainty: Mapping[str, NDArray[np.float64]],
    records: NDArray[np.int64],
    seed: int = 0,
) -> list[Worth]:
    """Whether each uncertainty tells where the predictions of some records are wrong.

    Args:
        outputs: (N, K) or (letters, K) of all records.
        uncertainty: of all records, as :func:`all_uncertainties` gives it.
    """
    task, rows = data.task, rows_of(data.task, data, records)
    errors = _errors(task, np.asarray(true_values(task, data)[rows]), task.values(outputs[rows]))
    groups = np.repeat(records, data.store.lengths[records]) if task.per_residue else None
    return [
        worth_of(name, values[rows], error, groups=groups, seed=seed)
        for (name, values), error in zip(uncertainty.items(), errors, strict=True)
    ]


def with_worths(scored: Scored, worths: Sequence[Worth]) -> Scored:
    """The scores of a set with those of its uncertainties behind them."""
    metrics, intervals = dict(scored.metrics), dict(scored.intervals)
    for each in worths:
        metrics[f"error_correlation[{each.name}]"] = each.rank_correlation
        intervals[f"error_correlation[{each.name}]"] = each.low, each.high
        metrics[f"risk_coverage[{each.name}]"] = each.risk_coverage
    return replace(scored, metrics=metrics, intervals=intervals)


def _errors(task: Task, true: NDArray[Any], values: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """(N,) of each uncertainty: absolute errors of each number, else the share of what is wrong; nan: not known."""
    if isinstance(task, Regression):
        return list(np.abs(true.astype(np.float64) - values).T)
    if isinstance(task, MultiLabel):
        known = ~np.isnan(true.astype(np.float64))
        wrong = known & ((true > 0.5) != task.decide(values))
        counts = known.sum(axis=1)
        shares = np.divide(wrong.sum(axis=1), counts, out=np.full(len(counts), np.nan), where=counts > 0)
        return [shares, shares]
    errors = np.where(true < 0, np.nan, true != task.decide(values))
    return [errors, errors]
