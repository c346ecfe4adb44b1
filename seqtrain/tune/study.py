"""The study of a search: its trials in a database, which several processes share and any of them can go on with."""

from __future__ import annotations

import math
import shutil
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from seqtrain.errors import InputError
from seqtrain.tune.knobs import Settings
from seqtrain.tune.locks import held, taken
from seqtrain.tune.pruners import Pruner
from seqtrain.tune.samplers import Past, Sampler
from seqtrain.tune.space import Space
from seqtrain.tune.study_folder import LOCK, quiet, settle_folder

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial, Trial

_NAME = "tune"
_MOST_DEATHS = 3
State = Literal["finished", "pruned", "failed", "interrupted", "running", "waiting"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """A trial as everybody else sees it."""

    number: int
    """From 1 on."""
    state: State
    """interrupted: its settings are tried again by another trial."""
    settings: Settings
    values: tuple[float, ...] = ()
    """Of each objective, once it is finished."""
    reason: str = ""
    """Why it did not come to its end."""
    seconds: float | None = None
    reported: Mapping[int, float] = field(default_factory=dict)
    """The score at each evaluation."""
    retry_of: int | None = None


@dataclass(frozen=True, kw_only=True)
class OpenTrial:
    """A trial that this process is at work on."""

    trial: Trial
    settings: Settings
    folder: Path
    lock: TextIOWrapper
    reported: set[int]
    """Evaluations whose score the study knows, those before an interruption among them."""

    @property
    def number(self) -> int:
        """Of the trial, from 1 on."""
        return self.trial.number + 1


@dataclass(frozen=True, kw_only=True)
class SharedStudy:
    """A study in a folder, as one of the processes at work on it sees it."""

    folder: Path
    study: Study
    space: Space
    sampler: Sampler
    lower: tuple[bool, ...]
    """Whether each objective is the better the lower; the score is the first."""
    num_trials: int
    """Of all processes together."""
    seed: int

    def rows(self) -> list[Row]:
        """All trials so far, in their order."""
        trials = self.study.get_trials(deepcopy=False)
        retried = {each.user_attrs.get("retry_of") for each in trials}
        return [_row(each, each.number in retried) for each in trials]

    def start(self) -> OpenTrial | None:
        """Begin the next trial; None where there are as many as are wanted."""
        with held(self.folder / LOCK):
            self._bury_dead()
            rows = [row for row in self.rows() if row.state != "interrupted"]
            waiting = any(row.state == "waiting" for row in rows)
            if not waiting and len(rows) >= self.num_trials:
                return None
            with quiet():
                self._set_sampler(rows, propose=not waiting)
                trial = self.study.ask()
            lock = taken(self._lock_of(trial.number))
            assert lock is not None, "only trials that run are locked, and this one is new"
            with quiet():
                settings = self.space.settings(lambda knob: knob.suggest(trial))
            folder, earlier = self._folder_of(trial.number), trial.user_attrs.get("retry_of")
            if earlier is not None and self._folder_of(earlier).is_dir():
                # Its checkpoints are those of the same settings: the training goes on where it was interrupted.
                self._folder_of(earlier).rename(folder)
            reported = {step for row in self.rows() if row.number == trial.number + 1 for step in row.reported}
            return OpenTrial(trial=trial, settings=settings, folder=folder, lock=lock, reported=reported)

    def report(self, opened: OpenTrial, score: float, place: int) -> bool:
        """Note the score at an evaluation; whether the trial should end there."""
        if len(self.lower) > 1:
            return False
        with quiet():
            if place not in opened.reported and math.isfinite(score):
                opened.reported.add(place)
                opened.trial.report(score, place)
            return bool(opened.trial.should_prune())

    def finish(self, opened: OpenTrial, values: Sequence[float], seconds: float) -> None:
        """Note what a trial came to."""
        from optuna.trial import TrialState

        opened.trial.set_user_attr("seconds", round(seconds, 1))
        self._tell(opened, TrialState.COMPLETE, values)

    def prune(self, opened: OpenTrial, reason: str, seconds: float) -> None:
        """Note that a trial was ended early, and remove what it wrote."""
        from optuna.trial import TrialState

        self._give_up(opened, TrialState.PRUNED, reason, seconds)

    def fail(self, opened: OpenTrial, reason: str, seconds: float) -> None:
        """Note why a trial came to nothing, and remove what it wrote."""
        from optuna.trial import TrialState

        self._give_up(opened, TrialState.FAIL, reason, seconds)

    def interrupt(self, opened: OpenTrial) -> None:
        """Leave a trial to whoever goes on with the study."""
        with held(self.folder / LOCK):
            frozen = next(each for each in self.study.get_trials(deepcopy=False) if each.number == opened.trial.number)
            self._requeue(frozen, deaths=int(frozen.user_attrs.get("deaths", 0)))
            self._unlock(opened)

    def _give_up(self, opened: OpenTrial, state: Any, reason: str, seconds: float) -> None:
        opened.trial.set_user_attr("reason", reason)
        opened.trial.set_user_attr("seconds", round(seconds, 1))
        shutil.rmtree(opened.folder, ignore_errors=True)
        self._tell(opened, state, None)

    def _tell(self, opened: OpenTrial, state: Any, values: Sequence[float] | None) -> None:
        with held(self.folder / LOCK), quiet():
            self.study.tell(opened.trial, values, state=state)
            self._unlock(opened)

    def _set_sampler(self, rows: Sequence[Row], *, propose: bool) -> None:
        """Let the sampler choose the next settings, keyed by how many trials there were."""
        index, several = len(rows), len(self.lower) > 1
        self.study.sampler = self.sampler.sampler(index, self.seed, several)
        past = [each for row in rows if (each := self._past(row)) is not None]
        proposal = self.sampler.proposal(self.space, past, index, self.seed, several) if propose else None
        if proposal is not None:
            self.study.enqueue_trial(proposal)

    def _past(self, row: Row) -> Past | None:
        if row.state == "finished":
            return Past(settings=row.settings, score=-row.values[0] if self.lower[0] else row.values[0])
        return Past(settings=row.settings, score=float("-inf")) if row.state == "pruned" else None

    def _bury_dead(self) -> None:
        """Trials that run in no process any more are tried again, unless they have brought down several processes."""
        from optuna.trial import TrialState

        for frozen in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            lock = taken(self._lock_of(frozen.number))
            if lock is not None:
                lock.close()
                self._lock_of(frozen.number).unlink(missing_ok=True)
                self._requeue(frozen, deaths=int(frozen.user_attrs.get("deaths", 0)) + 1)

    def _requeue(self, frozen: FrozenTrial, deaths: int) -> None:
        # optuna's own callback would wait for a heartbeat to fail, and count an interruption like a death.
        from optuna.trial import TrialState, create_trial

        self.study.tell(frozen.number, state=TrialState.FAIL)
        if deaths < _MOST_DEATHS:
            self.study.add_trial(
                create_trial(
                    state=TrialState.WAITING,
                    params=frozen.params,
                    distributions=frozen.distributions,
                    user_attrs={"retry_of": frozen.number, "deaths": deaths},
                    intermediate_values=dict(frozen.intermediate_values),
                )
            )
        else:
            shutil.rmtree(self._folder_of(frozen.number), ignore_errors=True)

    def _folder_of(self, number: int) -> Path:
        """Of a trial by optuna's number, which is one less than that which people see."""
        return self.folder / "trials" / str(number + 1)

    def _lock_of(self, number: int) -> Path:
        return self.folder / "trials" / f".{number + 1}.lock"

    def _unlock(self, opened: OpenTrial) -> None:
        self._lock_of(opened.trial.number).unlink(missing_ok=True)
        opened.lock.close()


def open_study(
    folder: Path, facts: Mapping[str, Any], space: Space, sampler: Sampler, pruner: Pruner | None, *,
    num_evaluations: int, lower: tuple[bool, ...], num_trials: int, seed: int, overwrite: bool,
) -> SharedStudy:  # fmt: skip
    """The study of a folder, new or left by an earlier start of the same search.

    Args:
        facts: what decides the scores of trials; a study of others is refused.

    Raises:
        InputError: the folder holds another study or something else; somebody is at work on what should be overwritten.
    """
    import optuna
    from optuna.storages import RDBStorage

    try:
        (folder / "trials").mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InputError(f"{folder}: is a file, not a folder; choose another -o") from None
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror}; choose another -o") from None
    with held(folder / LOCK):
        settle_folder(folder, facts, overwrite=overwrite)
        try:
            with quiet():
                # A ? would begin the options of the address, and { a place to fill in.
                address = f"sqlite:///{urllib.parse.quote(str(folder / 'study.db'))}"
                storage = RDBStorage(address, engine_kwargs={"connect_args": {"timeout": 60}})
                study = optuna.create_study(
                    storage=storage,
                    study_name=_NAME,
                    directions=["minimize" if each else "maximize" for each in lower],
                    pruner=pruner.pruner(num_evaluations) if pruner else optuna.pruners.NopPruner(),
                    load_if_exists=True,
                )
        except Exception as error:
            reason = str(error).partition("\n")[0]
            raise InputError(
                f"{folder / 'study.db'}: cannot be opened ({reason}); use a copy, or pass --overwrite to start anew"
            ) from error
    return SharedStudy(
        folder=folder, study=study, space=space, sampler=sampler, lower=lower, num_trials=num_trials, seed=seed
    )


def _row(trial: FrozenTrial, retried: bool) -> Row:
    names: dict[str, State] = {
        "COMPLETE": "finished", "PRUNED": "pruned", "RUNNING": "running", "WAITING": "waiting", "FAIL": "failed",
    }  # fmt: skip
    state: State = "interrupted" if retried else names[trial.state.name]
    reason = trial.user_attrs.get("reason", "")
    if state == "interrupted":
        reason = "interrupted, and tried again"
    elif state == "failed" and not reason:
        reason = f"its process ended {_MOST_DEATHS} times, as when memory runs out"
    return Row(
        number=trial.number + 1,
        state=state,
        settings=dict(trial.params),
        values=tuple(trial.values) if state == "finished" and trial.values else (),
        reason=reason,
        seconds=trial.user_attrs.get("seconds"),
        reported=dict(trial.intermediate_values),
        retry_of=earlier + 1 if (earlier := trial.user_attrs.get("retry_of")) is not None else None,
    )
