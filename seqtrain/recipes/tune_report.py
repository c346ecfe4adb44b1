"""What a search tells its reader: ``trials.csv``, ``tuning.html`` and a picture of what decided."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from seqtrain.evaluation.metrics import label_metrics
from seqtrain.io.delimited import write_table
from seqtrain.io.run_directory import write_text_atomically
from seqtrain.io.splits import VALID
from seqtrain.recipes.trials import COSTS, kept_outputs
from seqtrain.report.html import write_report
from seqtrain.report.records import Curve, Points, Report, Section, Series, Table
from seqtrain.run_record import environment
from seqtrain.scoring import measure, rows_of, true_values
from seqtrain.tasks import Classification, ResidueClassification
from seqtrain.tune.importance import importance_picture, importances
from seqtrain.tune.knobs import Choices, Knob, short, text_of
from seqtrain.tune.optimism import score_of_choosing
from seqtrain.tune.study import Row, SharedStudy

if TYPE_CHECKING:
    from seqtrain.recipes.tune_setting import Search

_FEW = 20
"""Trials below which it is said that importances are guessed."""
_RESAMPLED_ROWS = 5_000_000
_RESAMPLES = (20, 200)
_MOST_SLICES = 12


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What a report says of a search."""

    sentences: tuple[str, ...]
    expected: float
    importance: Mapping[str, float]


def front_of(rows: Sequence[Row], lower: Sequence[bool]) -> list[Row]:
    """The finished trials that no other one beats or equals in all objectives while beating it in one, best score
    first."""
    finished = [row for row in rows if row.state == "finished"]
    sign = np.where(lower, 1.0, -1.0)
    costs = [sign * np.array(row.values) for row in finished]
    front = [
        row
        for row, mine in zip(finished, costs, strict=True)
        if not any((other <= mine).all() and (other < mine).any() for other in costs)
    ]
    return sorted(front, key=lambda row: (float(sign[0]) * row.values[0], row.number))


def write_trials(folder: Path, rows: Sequence[Row], search: Search) -> None:
    """Write ``trials.csv``: every trial, its settings, its scores, and why it did not come to its end."""
    names = [knob.name for knob in search.space.knobs]
    objectives = [search.judge.metric, *search.judge.costs]

    def cells() -> Iterator[list[str | int | float]]:
        for row in rows:
            values: list[str | float] = [*row.values] if row.values else [""] * len(objectives)
            settings = [text_of(row.settings[name]) if name in row.settings else "" for name in names]
            seconds = "" if row.seconds is None else row.seconds
            yield [row.number, row.state, *values, seconds, *settings, row.retry_of or "", row.reason]

    header = ["trial", "state", *objectives, "seconds", *names, "retry of", "reason"]
    write_table(folder / "trials.csv", header, cells())


def write_tuning(
    study: SharedStudy,
    rows: Sequence[Row],
    best: Row,
    front: Sequence[Row],
    search: Search,
    command: str,
    results: Mapping[str, Any] | None = None,
) -> Shown:
    """Write ``tuning.html`` and ``importance.svg``; what they say."""
    found, how = importances(study.study)
    expected = _expected(study, rows, search)
    # By chance the estimate may be better than the hopeful score, which nothing could be worth.
    if not math.isnan(expected):
        expected = max(expected, best.values[0]) if search.lower[0] else min(expected, best.values[0])
    sentences = _sentences(rows, best, search, expected)
    sections = [_history(rows, search)]
    if found:
        write_text_atomically(study.folder / "importance.svg", importance_picture(found, search.judge.metric))
        header = ("setting", "importance")
        sections.append(
            Section(
                title="What decided",
                sentences=(_importance_words(found, search.judge.metric, _count(rows, "finished")),),
                tables=(Table(header=header, rows=tuple((name, round(value, 3)) for name, value in found.items())),),
                note=f"By {how} over the finished trials. From few trials it is a guess.",
            )
        )
    sections.append(_slices(rows, search, found))
    if len(search.lower) > 1:
        sections.append(_front(front, search))
    sections.append(_trials(rows, search))
    scores = _scores_of_best(results, search.judge.metric)
    write_report(
        study.folder / "tuning.html",
        Report(
            title=f"Tuning {study.folder.name}",
            command=command,
            summary=(*sentences, *scores),
            sections=tuple(sections),
            configuration=tuple((name, str(value)) for name, value in search.facts.items()),
            environment=tuple(environment().items()),
        ),
    )
    return Shown(
        sentences=(*sentences, *_front_words(front, search, study.folder)), expected=expected, importance=found
    )


def _sentences(rows: Sequence[Row], best: Row, search: Search, expected: float) -> tuple[str, ...]:
    counts = [f"{count} {state}" for state in ("finished", "pruned", "failed") if (count := _count(rows, state))]
    metric, score = search.judge.metric, best.values[0]
    finished = _count(rows, "finished")
    said = [f"Best of {sum(_count(rows, s) for s in ('finished', 'pruned', 'failed'))} trials ({', '.join(counts)}): "
            f"trial {best.number}, with a validation {metric} of {score:.4g}."]  # fmt: skip
    if finished > 1:
        said.append(
            f"This score is hopeful, as it was chosen among {finished}: only records that nobody chose by, such as the "
            "test set, say what the settings are worth."
        )
    if not math.isnan(expected):
        said.append(
            f"Choosing the best of these trials is worth about {expected:.4g} on validation records that the choice "
            "did not see (bootstrap bias correction, Tsamardinos et al. 2018)."
        )
    settings = ", ".join(f"{name} {short(value)}" for name, value in best.settings.items())
    return (*said, f"Its settings: {settings}.")


def _scores_of_best(results: Mapping[str, Any] | None, metric: str) -> tuple[str, ...]:
    """The scores of the run with the best settings on the test sets."""
    sets = [each for each in (results or {}).get("sets", ()) if each["name"] != VALID]
    if results is not None and not sets:
        return ("There is no test set, so nothing says what the best settings are worth on other records.",)
    return tuple(
        f"Finetuned anew, they reach {metric} {each['metrics'][metric]:.4g} on {each['name']} "
        f"({each['num_records']:,} records, looked at for the first time)."
        for each in sets
        if each["metrics"].get(metric) is not None
    )


def _expected(study: SharedStudy, rows: Sequence[Row], search: Search) -> float:
    """What choosing the best is worth; nan where the score is a loss, or the answers are not kept."""
    data, metric = search.judge.data, search.judge.metric
    task = data.task
    valid = data.split.indices(VALID)
    if metric == "loss" or len(search.lower) > 1:
        return math.nan
    finished = [row for row in rows if row.state == "finished"]
    outputs = [kept_outputs(study.folder / "trials" / str(row.number)) for row in finished]
    kept = [each for each in outputs if each is not None]
    if len(kept) < len(finished):
        return math.nan
    values = [task.values(each) for each in kept]
    true = true_values(task, data)[rows_of(task, data, valid)]
    lengths = data.store.lengths[valid] if task.per_residue else np.ones(len(valid), np.int64)
    starts = np.concatenate([[0], np.cumsum(lengths)])

    def score(trial: int, records: NDArray[np.int64]) -> float:
        places = records
        if task.per_residue:
            places = np.concatenate([np.arange(starts[i], starts[i + 1]) for i in records])
        if isinstance(task, Classification | ResidueClassification):
            cheap = label_metrics(true[places], task.decide(values[trial][places]))
            if metric in cheap:
                return float(cheap[metric])
        return measure(task, true[places], values[trial][places]).get(metric, math.nan)

    wanted = _RESAMPLED_ROWS // max(1, len(true) * len(kept))
    return score_of_choosing(
        score,
        len(kept),
        len(valid),
        lower=search.lower[0],
        num_resamples=int(np.clip(wanted, *_RESAMPLES)),
        seed=search.config.seed,
    )


def _history(rows: Sequence[Row], search: Search) -> Section:
    finished = [row for row in rows if row.state == "finished"]
    x = np.array([row.number for row in finished], float)
    y = np.array([row.values[0] for row in finished])
    best = np.minimum.accumulate(y) if search.lower[0] else np.maximum.accumulate(y)
    metric = search.judge.metric
    scores = Points(
        title="Scores",
        what="trials",
        x_label="trial",
        y_label=metric,
        x=x,
        y=y,
        names=tuple(f"trial {row.number}" for row in finished),
    )
    curve = Curve(title="Best so far", x_label="trial", y_label=metric, series=(Series(name="best", x=x, y=best),))
    return Section(title="History", charts=(curve, scores), early=True)


def _slices(rows: Sequence[Row], search: Search, found: Mapping[str, float]) -> Section:
    """The score by each setting: a chart for a range, a table for choices; those that decided come first."""
    finished = [row for row in rows if row.state == "finished"]
    ranked = sorted(search.space.knobs, key=lambda knob: -found.get(knob.name, 0.0))[:_MOST_SLICES]
    charts = [chart for knob in ranked if (chart := _slice(knob, finished, search)) is not None]
    choices = [line for knob in ranked if isinstance(knob, Choices) for line in _by_choice(knob, finished, search)]
    header = ("setting", "value", "trials", "best", "mean")
    tables = (Table(header=header, rows=tuple(choices)),) if choices else ()
    return Section(title="By setting", charts=tuple(charts), tables=tables)


def _slice(knob: Knob, finished: Sequence[Row], search: Search) -> Points | None:
    if isinstance(knob, Choices):
        return None
    having = [row for row in finished if knob.name in row.settings]
    if len(having) < 2:
        return None
    x = np.array([float(row.settings[knob.name] or 0) for row in having])
    return Points(
        title=knob.name,
        what="trials",
        x_label=f"{knob.name} (powers of ten)" if knob.log else knob.name,
        y_label=search.judge.metric,
        x=np.log10(x) if knob.log else x,
        y=np.array([row.values[0] for row in having]),
        names=tuple(f"trial {row.number}: {short(row.settings[knob.name])}" for row in having),
    )


def _by_choice(knob: Choices, finished: Sequence[Row], search: Search) -> Iterator[tuple[str | int | float, ...]]:
    for choice in knob.choices:
        scores = [row.values[0] for row in finished if row.settings.get(knob.name, ...) == choice]
        if scores:
            best = min(scores) if search.lower[0] else max(scores)
            yield knob.name, text_of(choice), len(scores), best, float(np.mean(scores))


def _front(front: Sequence[Row], search: Search) -> Section:
    names = (search.judge.metric, *search.judge.costs)
    rows: tuple[tuple[str | int | float, ...], ...] = tuple(
        (row.number, *row.values, _settings_words(row)) for row in front
    )
    units = "; ".join(f"{name}: {COSTS[name]}" for name in search.judge.costs)
    return Section(
        title="Pareto front",
        sentences=("No other trial is as good in all of these and better in one.",),
        tables=(Table(header=("trial", *names, "settings"), rows=rows),),
        note=f"{units}. The models of these trials are kept; finetune another one of them anew with --config "
        "trials/N/config.toml -o NEW.",
        early=True,
    )


def _front_words(front: Sequence[Row], search: Search, folder: Path) -> tuple[str, ...]:
    if len(search.lower) == 1:
        return ()
    names = (search.judge.metric, *search.judge.costs)
    lines = [
        f"  trial {row.number}: " + ", ".join(f"{n} {v:.4g}" for n, v in zip(names, row.values, strict=True))
        for row in front
    ]
    return (f"Pareto front, of which the best score is finetuned anew (the others lie in {folder / 'trials'}):", *lines)


def _trials(rows: Sequence[Row], search: Search) -> Section:
    metric = search.judge.metric
    header = ("trial", "state", metric, "settings", "reason")
    cells: tuple[tuple[str | int | float, ...], ...] = tuple(
        (row.number, row.state, row.values[0] if row.values else math.nan, _settings_words(row), row.reason)
        for row in rows
    )
    return Section(title="Trials", tables=(Table(header=header, rows=cells),))


def _settings_words(row: Row) -> str:
    return ", ".join(f"{name} {short(value)}" for name, value in row.settings.items())


def _importance_words(found: Mapping[str, float], metric: str, finished: int) -> str:
    name, share = next(iter(found.items()))
    guess = f"Guessed from {finished} trials: the" if finished < _FEW else "The"
    return f"{guess} {metric} depended most on {name} ({share:.0%} of what the settings decided)."


def _count(rows: Sequence[Row], state: str) -> int:
    return sum(row.state == state for row in rows)
