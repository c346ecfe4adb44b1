"""``seqtrain tune``: trials of a finetuning, judged on validation records, and a run with the best settings."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from seqtrain.config import TuneConfig
from seqtrain.errors import InputError, RunError, Stopped
from seqtrain.fitting import Listener
from seqtrain.io.run_directory import locked
from seqtrain.largest_batch import release_memory
from seqtrain.recipes.finetune import finetune
from seqtrain.recipes.trials import PrunedTrial, Watcher, run_trial, without_model
from seqtrain.recipes.tune_report import front_of, write_trials, write_tuning
from seqtrain.recipes.tune_setting import Search, prepare_search
from seqtrain.run_record import clear_run
from seqtrain.tune.knobs import short
from seqtrain.tune.locks import held, taken
from seqtrain.tune.study import OpenTrial, Row, SharedStudy, open_study
from seqtrain.tune.study_folder import FINISH_LOCK, LOCK, require_optuna

_SHOWN_SETTINGS = 6


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """What a search came to."""

    folder: Path
    trials: tuple[Row, ...]
    best: Row | None = None
    """None: no trial has come to its end yet, or other processes are still at work."""
    expected: float = float("nan")
    """What choosing the best of so many is worth on records that it was not chosen by; nan where nobody can say."""
    front: tuple[Row, ...] = ()
    """With several objectives: the trials that no other one beats in all of them."""
    importance: Mapping[str, float] | None = None
    """Share of each knob in what decided the score."""
    results: Mapping[str, Any] | None = None
    """Of the run with the best settings, as its ``run.json`` keeps them."""


def tune(
    config: TuneConfig, listener: Listener, *, command: str = "", overwrite: bool = False, dry_run: bool = False
) -> Tuned:
    """Search for the settings of a finetuning, or go on with a search; several processes may share one.

    Raises:
        InputError: input or options that cannot be used, before any trial; a folder with another search.
        RunError: every trial failed, or the run with the best settings did.
        Stopped: a signal came; the trial at hand goes on with the next start.
    """
    require_optuna()
    search = prepare_search(config, listener)
    for line in search.words():
        listener.say(line)
    if dry_run:
        return Tuned(folder=search.folder, trials=())
    study = open_study(
        search.folder,
        search.facts,
        search.space,
        search.sampler,
        search.pruner,
        num_evaluations=search.judge.num_evaluations,
        lower=search.lower,
        num_trials=search.num_trials,
        seed=config.seed,
        overwrite=overwrite,
    )
    done = sum(row.state in ("finished", "pruned", "failed") for row in study.rows())
    if done:
        listener.say(f"{search.folder}: going on after {done} of {search.num_trials} trials")
    try:
        _run_trials(search, study, listener, command)
        return _finished(search, study, listener, command)
    except KeyboardInterrupt:
        raise Stopped(signal.SIGINT, f"{search.folder}: stopped; rerun the same command to go on") from None


def _run_trials(search: Search, study: SharedStudy, listener: Listener, command: str) -> None:
    """Trial after trial until there are as many as are wanted, or the time is up."""
    started = time.monotonic()
    while True:
        timeout = search.config.timeout
        if timeout is not None and time.monotonic() - started > timeout:
            listener.say(f"--timeout {timeout:g}: no more trials; rerun the same command to go on")
            return
        opened = study.start()
        if opened is None:
            return
        _run_one(search, study, opened, listener, command)
        release_memory()
        with held(study.folder / LOCK):
            rows = study.rows()
            _thin(search, rows, study.folder)
            write_trials(study.folder, rows, search)
        row = rows[opened.number - 1]
        listener.say(_line(row, _best(rows, search), search))


def _run_one(search: Search, study: SharedStudy, opened: OpenTrial, listener: Listener, command: str) -> None:
    """One trial, and what became of it."""
    started = time.monotonic()
    watcher = Watcher(
        listener=listener,
        name=f"trial {opened.number}",
        judge=search.judge,
        report=lambda score, place: study.report(opened, score, place),
    )
    try:
        config = search.configured(opened.settings)
        values = run_trial(config, opened.folder, search.judge, watcher, command)
    except PrunedTrial as error:
        study.prune(opened, str(error), time.monotonic() - started)
    except Stopped as error:
        study.interrupt(opened)
        raise Stopped(
            error.signal_number,
            f"{study.folder}: stopped in trial {opened.number}, which goes on where it was; rerun the same command",
        ) from None
    except Exception as error:
        # One trial that cannot be trained, for whatever reason, is an answer and does not end the others.
        said = " ".join(str(error).split()) or type(error).__name__
        named = "" if isinstance(error, InputError | RunError) else f"{type(error).__name__}: "
        study.fail(opened, f"{named}{said}", time.monotonic() - started)
    except BaseException:
        study.interrupt(opened)
        raise
    else:
        study.finish(opened, values, time.monotonic() - started)


def _finished(search: Search, study: SharedStudy, listener: Listener, command: str) -> Tuned:
    """The last process to end a search trains the best settings and reports."""
    rows = study.rows()
    at_work = sum(row.state == "running" for row in rows)
    lock = taken(study.folder / FINISH_LOCK) if not at_work else None
    if lock is None:
        others = f"trials still running in other processes: {at_work}" if at_work else "another process is at its end"
        listener.say(f"{study.folder}: {others}, the last of which finishes the search")
        return Tuned(folder=study.folder, trials=tuple(rows))
    with lock:
        best = _best(rows, search)
        if best is None:
            return _nothing(rows, study.folder)
        front = front_of(rows, search.lower)
        result = write_tuning(study, rows, best, front, search, command)
        for line in result.sentences:
            listener.say(line)
        results = _train_best(search, study, best, listener, command)
        write_tuning(study, rows, best, front, search, command, results)
        listener.say(f"wrote {study.folder}: see tuning.html and trials.csv; the run to use is {study.folder / 'best'}")
    return Tuned(
        folder=study.folder,
        trials=tuple(rows),
        best=best,
        expected=result.expected,
        front=tuple(front) if len(search.lower) > 1 else (),
        importance=result.importance,
        results=results,
    )


def _train_best(search: Search, study: SharedStudy, best: Row, listener: Listener, command: str) -> dict[str, Any]:
    """Finetune the best settings anew, as an ordinary run that looks at the test set, too."""
    folder = study.folder / "best"
    listener.say(f"finetuning the settings of trial {best.number} anew, into {folder}")
    with locked(folder):
        if study.study.user_attrs.get("best_trained") not in (None, best.number):
            clear_run(folder)
        study.study.set_user_attr("best_trained", best.number)
    return finetune(replace(search.configured(best.settings), output=str(folder)), listener, command=command)


def _nothing(rows: list[Row], folder: Path) -> Tuned:
    """What there is to say where no trial came to its end.

    Raises:
        RunError: some failed; the commonest reason.
    """
    reasons = Counter(row.reason for row in rows if row.state == "failed")
    if not reasons:
        return Tuned(folder=folder, trials=tuple(rows))
    reason, count = reasons.most_common(1)[0]
    raise RunError(
        f"{folder}: no trial came to its end: {reasons.total()} failed, {count} of them because: {reason} "
        f"(see {folder / 'trials.csv'}; --overwrite starts anew)"
    )


def _best(rows: list[Row], search: Search) -> Row | None:
    """The finished trial with the best score, the earliest of several."""
    finished = [row for row in rows if row.state == "finished"]
    if not finished:
        return None
    sign = 1 if search.lower[0] else -1
    return min(finished, key=lambda row: (sign * row.values[0], row.number))


def _thin(search: Search, rows: list[Row], folder: Path) -> None:
    """Remove the models of all but the best trials, and but those on the front."""
    finished = [row for row in rows if row.state == "finished"]
    sign = 1 if search.lower[0] else -1
    ranked = sorted(finished, key=lambda row: (sign * row.values[0], row.number))
    kept = {row.number for row in ranked[: search.config.keep]}
    if len(search.lower) > 1:
        kept |= {row.number for row in front_of(rows, search.lower)}
    for row in finished:
        if row.number not in kept:
            without_model(folder / "trials" / str(row.number))


def _line(row: Row, best: Row | None, search: Search) -> str:
    """What a trial came to, in one line."""
    of = f" of {search.num_trials}" if row.number <= search.num_trials else ""
    if row.state == "finished":
        names = (search.judge.metric, *search.judge.costs)
        outcome = ", ".join(f"{name} {value:.4g}" for name, value in zip(names, row.values, strict=True))
    else:
        outcome = f"{row.state}: {row.reason}"
    leader = f" (best {best.values[0]:.4g}, trial {best.number})" if best is not None else ""
    shown = [f"{name} {short(value)}" for name, value in row.settings.items()]
    more = f"  and {len(shown) - _SHOWN_SETTINGS} more" if len(shown) > _SHOWN_SETTINGS else ""
    return f"trial {row.number}{of}: {outcome}{leader}  {'  '.join(shown[:_SHOWN_SETTINGS])}{more}"
