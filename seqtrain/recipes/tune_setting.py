"""What a search is: what stays, what is varied, and how trials are judged; settled before the first trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from seqtrain.config import FinetuneConfig, TuneConfig, option
from seqtrain.config_files import facts
from seqtrain.errors import InputError, did_you_mean
from seqtrain.evaluation.metrics import LOWER_IS_BETTER
from seqtrain.fitting import Listener
from seqtrain.io.splits import VALID
from seqtrain.models.heads import SequenceHeadConfig
from seqtrain.models.network import FreshConfig
from seqtrain.recipes.adapters import lora_of
from seqtrain.recipes.finetune import digests
from seqtrain.recipes.finetuning import FinetuningJob, prepare_finetuning
from seqtrain.recipes.held_out import measures_of
from seqtrain.recipes.networks import body_config
from seqtrain.recipes.resampling import resampling_of
from seqtrain.recipes.training_core import check_words
from seqtrain.recipes.transfer import freezing_of
from seqtrain.recipes.trials import COSTS, Judge
from seqtrain.scoring import MAIN_METRIC
from seqtrain.tune.defaults import Situation, default_knobs
from seqtrain.tune.knobs import Choices, Knob, Settings, Value
from seqtrain.tune.pruners import Pruner, read_pruner
from seqtrain.tune.reading import WORDED, hint_of, read_knob, read_space
from seqtrain.tune.samplers import Sampler, read_sampler
from seqtrain.tune.settings import configured, default_of, has_field
from seqtrain.tune.space import Space, make_space
from seqtrain.words import names_of

_EVALUATIONS = 10


@dataclass(frozen=True, kw_only=True)
class Search:
    """A search before its first trial."""

    config: TuneConfig
    base: FinetuneConfig
    """What all trials share."""
    folder: Path
    space: Space
    sampler: Sampler
    pruner: Pruner | None
    judge: Judge
    lower: tuple[bool, ...]
    """Whether each objective is the better the lower; the score is the first."""
    num_trials: int
    alphabet: str
    moving: bool
    facts: Mapping[str, Any]
    """What decides the scores of trials."""

    def configured(self, settings: Settings) -> FinetuneConfig:
        """The finetuning of a trial.

        Raises:
            InputError: a value out of its range.
        """
        return configured(self.base, settings, self.alphabet, moving=self.moving)

    def words(self) -> list[str]:
        """What is searched, line by line."""
        better = "lower" if self.lower[0] else "higher"
        also = "".join(f", and few {name} ({COSTS[name]})" for name in self.judge.costs)
        return [
            f"search: {self.num_trials} trials by {self.config.sampler}, judged by the {self.judge.metric} of the "
            f"validation records ({better} is better){also}",
            *(f"  {knob.words()}" for knob in self.space.knobs),
        ]


def prepare_search(config: TuneConfig, listener: Listener) -> Search:
    """Read the input once, and settle everything that the trials share.

    Raises:
        InputError: input, settings or a space that cannot be used.
    """
    _check_plain(config)
    sampler = read_sampler(config.sampler)
    asked = [read_knob(words) for words in config.vary]
    base = FinetuneConfig(**{field.name: getattr(config, field.name) for field in fields(FinetuneConfig)})
    base = replace(base, output=None)
    fixed = _fixed(config)
    _check_conflicts(asked, fixed, base)
    job = prepare_finetuning(base, listener)
    base = replace(base, revision=job.config.revision)
    judge = _judge(config, job)
    moving = not (base.head or "").startswith("aligned-head")
    alphabet = job.data.store.alphabet.name
    knobs = read_space(Path(config.space)) if config.space is not None else []
    _check_conflicts(knobs, fixed, base)
    if config.space is None:
        found = default_knobs(config.search, _situation(config, job, asked, fixed, moving))
        knobs = [knob for knob in found if _conflict(knob, fixed, base) is None]
    known = _known(base)
    _check_conditions([*knobs, *asked], known)
    space = make_space([*knobs, *asked], known)
    _check_space(space, base, alphabet, job)
    pruner = read_pruner(config.pruner, num_objectives=1 + len(judge.costs), num_evaluations=judge.num_evaluations)
    limit = sampler.limit(space)
    if limit is not None and limit < config.trials:
        listener.say(f"the grid has {limit} settings, so there are as many trials")
    stem = Path(config.table).name.partition(".")[0]
    decides = {name: value for name, value in facts(job.config).items() if name in fixed}
    return Search(
        config=config,
        base=base,
        folder=Path(config.output or f"runs/tune-{stem}-{'-'.join(job.data.task.columns)}"),
        space=space,
        sampler=sampler,
        pruner=pruner,
        judge=judge,
        lower=(judge.metric.partition("[")[0] in LOWER_IS_BETTER, *(True for _ in judge.costs)),
        num_trials=config.trials if limit is None else min(limit, config.trials),
        alphabet=alphabet,
        moving=moving,
        facts={
            "kind": "tune",
            "metric": judge.metric,
            "also": list(judge.costs),
            "seed": config.seed,
            **decides,
            **{f"vary {knob.name}": knob.words() for knob in space.knobs},
            **{f"data {name}": digest for name, digest in digests(job).items()},
        },
    )


def _check_plain(config: TuneConfig) -> None:
    if config.members > 1:
        raise InputError(
            f"--members {config.members}: trials are single networks; leave it out, and finetune the best settings "
            "with it afterwards"
        )
    if config.keep < 0:
        raise InputError(f"--keep {config.keep}: give a whole number, at least 0")
    for name in config.also:
        if name not in COSTS:
            raise InputError(f"--also {name}: choose from {', '.join(COSTS)}")
    if len(set(config.also)) < len(config.also):
        raise InputError(f"--also {' --also '.join(config.also)}: each of them once")
    if config.space is not None and config.search:
        raise InputError(f"--space {config.space} and --search {config.search[0]}: both say what is varied; give one")


def _fixed(config: TuneConfig) -> set[str]:
    """Names of the settings that stay."""
    given = {each.name for each in fields(FinetuneConfig) if getattr(config, each.name) != each.default}
    return (given | {*config.fixed}) - {"table", "output"}


def _conflict(knob: Knob, fixed: set[str], base: FinetuneConfig) -> str | None:
    """The setting that stays and that a knob would vary."""
    setting, point, part = knob.name.partition(".")
    if not point:
        budget = {"epochs": "steps", "steps": "epochs"}.get(setting)
        return setting if setting in fixed else budget if budget in fixed else None
    words = getattr(base, setting, None)
    return setting if setting in WORDED and isinstance(words, str) and has_field(words, part) else None


def _check_conflicts(knobs: Sequence[Knob], fixed: set[str], base: FinetuneConfig) -> None:
    for knob in knobs:
        name = _conflict(knob, fixed, base)
        if name is not None:
            raise InputError(
                f"--vary {knob.name}: {option(name)} {getattr(base, name)} says that it stays; leave one of the two out"
            )


def _judge(config: TuneConfig, job: FinetuningJob) -> Judge:
    """How trials are judged.

    Raises:
        InputError: no validation records, or a metric that the task does not have.
    """
    data, task = job.data, job.data.task
    valid = data.split.indices(VALID)
    if not len(valid):
        raise InputError(
            f"{config.table}: there is no validation set ({data.split.made_how}), and trials are judged by nothing "
            "else; name some rows valid in the --split-column, or make a split with seqtrain split"
        )
    rows = int(data.store.offsets[-1]) if task.per_residue else len(data.store)
    known = measures_of(data, np.zeros((rows, task.loss.width(task.outputs)), np.float32), valid)
    metric = config.metric or MAIN_METRIC[type(task)]
    if metric not in known:
        raise InputError(f"--metric {metric}: {task.words} has no such metric; choose from {', '.join(sorted(known))}")
    return Judge(
        metric=metric, costs=tuple(config.also), data=data, num_evaluations=job.config.num_evaluations or _EVALUATIONS
    )


def _situation(
    config: TuneConfig, job: FinetuningJob, asked: Sequence[Knob], fixed: set[str], moving: bool
) -> Situation:
    models: tuple[str, ...] = ((config.model or "transformer").partition(":")[0].strip(),)
    if "architecture" in config.search and "model" not in fixed:
        models = ("cnn", "residual-cnn")
    for knob in asked:
        if knob.name == "model" and isinstance(knob, Choices):
            models = tuple(str(choice).partition(":")[0] for choice in knob.choices)
    return Situation(
        pretrained=job.origin is not None,
        models=models,
        epochs=job.config.epochs,
        tokens_per_step=job.config.tokens_per_step or 0,
        per_residue=job.data.task.per_residue,
        alphabet=job.data.store.alphabet.name,
        moving=moving,
        has_peft=find_spec("peft") is not None,
    )


def _known(base: FinetuneConfig) -> dict[str, Value]:
    """The settings that conditions may ask."""
    found: dict[str, Value] = {}
    for name, value in asdict(base).items():
        if value is None or isinstance(value, str | int | float | bool):
            found[name] = default_of(name) if value is None else value
    return found


def _check_conditions(knobs: Sequence[Knob], known: Mapping[str, Value]) -> None:
    """Refuse a condition on what is no setting."""
    names = {*known, *(knob.name for knob in knobs)}
    for when, name in ((knob.when, knob.name) for knob in knobs):
        if when is not None and when.name not in names:
            try:
                hint_of(when.name)
            except InputError as error:
                said = str(error).partition(": ")[2]
                raise InputError(f"--vary {name}: when={when.name}=…: {said}") from None


def _check_space(space: Space, base: FinetuneConfig, alphabet: str, job: FinetuningJob) -> None:
    """Refuse, before any trial, values that no trial could use.

    Raises:
        InputError: names the knob.
    """
    for knob in space.knobs:
        setting, point, part = knob.name.partition(".")
        if point:
            _check_part(knob.name, setting, part)
            continue
        for value in knob.choices if isinstance(knob, Choices) else (knob.low, knob.high):
            try:
                _check_words_of(configured(base, {knob.name: value}, alphabet), job)
            except InputError as error:
                raise InputError(f"--vary {knob.name}: {error}") from None
    if base.model is not None and job.origin is None:
        _check_words_of(base, job)


def _check_part(name: str, setting: str, part: str) -> None:
    """Refuse a field that no model or head has; those of other words are looked at when they are used."""
    union = {"model": FreshConfig, "head": SequenceHeadConfig}.get(setting)
    if union is None:
        return
    known = {field.name for kind in names_of(union).values() for field in fields(kind)}
    if part not in known:
        names = (f"{setting}.{each}" for each in sorted(known))
        raise InputError(f"--vary {name}: no {setting} has {part!r}; {did_you_mean(f'{setting}.{part}', names)}")


def _check_words_of(config: FinetuneConfig, job: FinetuningJob) -> None:
    alphabet = job.data.store.alphabet
    check_words(config, alphabet)
    lora_of(config)
    resampling_of(config)
    freezing_of(replace(config, lora=None))
    if config.model is not None:
        body_config(config.model, config.size or "100K", alphabet, 0.0)
    if isinstance(config.head, str):
        names = names_of(SequenceHeadConfig)
        name = config.head.partition(":")[0].strip()
        if name not in names:
            raise InputError(f"no head is called {name!r}; choose from {', '.join(names)}")
