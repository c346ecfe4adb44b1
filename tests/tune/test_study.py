"""A study in a folder: shared, resumed, refused; how samplers choose and what a choice is worth."""

from __future__ import annotations

import math
import multiprocessing
from collections.abc import Callable
from pathlib import Path

import numpy as np
import optuna
import pytest

from seqtrain.draws import fold, permuted
from seqtrain.errors import InputError
from seqtrain.tune import (
    Choices,
    Evolution,
    Grid,
    Median,
    Random,
    Range,
    Sampler,
    Space,
    Tpe,
    When,
    make_space,
    read_pruner,
    read_sampler,
)
from seqtrain.tune.importance import importance_picture, importances
from seqtrain.tune.optimism import score_of_choosing
from seqtrain.tune.samplers import Past, mutated
from seqtrain.tune.study import SharedStudy, open_study
from seqtrain.tune.study_folder import quiet

SPACE = make_space(
    [
        Range(name="learning_rate", low=1e-4, high=1.0, log=True),
        Choices(name="model", choices=("cnn", "transformer")),
        Range(name="model.kernel_size", low=3, high=9, step=2, whole=True, when=When(name="model", values=("cnn",))),
    ],
    {},
)


@pytest.mark.parametrize("name", ["what?", "a%20b", "b{x}d"])
def test_the_search_stands_in_its_folder_whatever_that_is_called(name: str, tmp_path: Path) -> None:
    opened(tmp_path / name, Random(), 1)
    assert (tmp_path / name / "study.db").is_file()


def opened(
    folder: Path,
    sampler: Sampler,
    trials: int,
    *,
    space: Space = SPACE,
    lower: tuple[bool, ...] = (True,),
    **more: bool,
) -> SharedStudy:
    return open_study(
        folder,
        {"metric": "mse", "space": [knob.words() for knob in space.knobs]},
        space,
        sampler,
        None if len(lower) > 1 else Median(startup=2, warmup=0),
        num_evaluations=4,
        lower=lower,
        num_trials=trials,
        seed=3,
        overwrite=more.get("overwrite", False),
    )


def in_memory(
    folder: Path, sampler: Sampler, trials: int, *, space: Space = SPACE, study: optuna.Study | None = None
) -> SharedStudy:
    """The same without a database, whose every write is waited for."""
    (folder / "trials").mkdir(parents=True, exist_ok=True)
    with quiet():
        study = study or optuna.create_study(pruner=Median(startup=2, warmup=0).pruner(4))
    return SharedStudy(
        folder=folder, study=study, space=space, sampler=sampler, lower=(True,), num_trials=trials, seed=3
    )


def loss_of(settings: dict[str, object]) -> float:
    """Smallest at a rate of 0.01 with a CNN of kernel size 5."""
    rate = math.log10(float(str(settings["learning_rate"]))) + 2
    kernel = abs(int(str(settings.get("model.kernel_size", 11))) - 5)
    return rate**2 + kernel / 4


def run(study: SharedStudy, score: Callable[[dict[str, object]], float] = loss_of, most: int = 1000) -> None:
    for _ in range(most):
        trial = study.start()
        if trial is None:
            return
        study.finish(trial, [score(dict(trial.settings))], 0.0)


@pytest.mark.parametrize("sampler", [Tpe(startup=4), Random(), Evolution(population=4, sample=2)], ids=str)
def test_a_search_that_is_stopped_and_killed_goes_on_as_if_it_had_not_been(tmp_path: Path, sampler: Sampler) -> None:
    whole = in_memory(tmp_path / "whole", sampler, 12)
    run(whole)
    broken = in_memory(tmp_path / "broken", sampler, 12)
    run(broken, most=5)
    stopped = broken.start()
    assert stopped is not None
    broken.interrupt(stopped)
    run(broken, most=3)
    killed = broken.start()
    assert killed is not None
    killed.lock.close()  # what the system does to the locks of a process that ends
    run(in_memory(tmp_path / "broken", sampler, 12, study=broken.study))
    rows = broken.rows()
    assert [row.state for row in rows].count("interrupted") == 2
    assert {row.retry_of for row in rows} == {None, stopped.number, killed.number}
    assert [row.settings for row in rows if row.state == "finished"] == [row.settings for row in whole.rows()]
    assert len(whole.rows()) == 12


def test_a_retried_trial_finds_its_folder_and_what_it_reported(tmp_path: Path) -> None:
    study = opened(tmp_path, Random(), 1)
    trial = study.start()
    assert trial is not None
    trial.folder.mkdir()
    (trial.folder / "checkpoint").write_text("here")
    assert study.report(trial, 0.5, 1) is False
    study.interrupt(trial)
    again = study.start()
    assert again is not None
    assert again.settings == trial.settings and again.number == 2 and again.reported == {1}
    assert (again.folder / "checkpoint").read_text() == "here" and not trial.folder.exists()
    study.fail(again, "no good", 0.1)
    assert not again.folder.exists() and study.start() is None
    assert study.rows()[1].reason == "no good"


def test_settings_that_bring_down_their_process_three_times_are_given_up(tmp_path: Path) -> None:
    study = in_memory(tmp_path, Random(), 1)
    for _ in range(3):
        trial = study.start()
        assert trial is not None
        trial.lock.close()
    assert study.start() is None
    rows = study.rows()
    assert [row.state for row in rows] == ["interrupted", "interrupted", "failed"]
    assert "its process ended 3 times" in rows[-1].reason


def _work(folder: str, trials: int) -> None:
    run(opened(Path(folder), Random(), trials))


def test_processes_share_the_trials_of_one_folder(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_work, args=(str(tmp_path), 7)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    rows = opened(tmp_path, Random(), 7).rows()
    assert [row.state for row in rows] == ["finished"] * 7
    assert len({str(row.settings) for row in rows}) == 7
    alone = in_memory(tmp_path / "alone" / "x", Random(), 7)
    run(alone)
    assert [row.settings for row in alone.rows()] == [row.settings for row in rows]


def test_a_grid_is_gone_through_once_in_an_order_of_the_seed(tmp_path: Path) -> None:
    space = make_space([Choices(name="a", choices=(1, 2, 3)), Choices(name="b", choices=("x", "y"))], {})
    assert Grid().limit(space) == 6
    study = in_memory(tmp_path, Grid(), 6, space=space)
    run(study, score=lambda settings: 0.0)
    order = permuted(np.arange(6), 6, fold(3, "grid"))
    assert [row.settings for row in study.rows()] == [space.grid()[int(i)] for i in order]


def test_samplers_that_learn_find_what_random_ones_do_not(tmp_path: Path) -> None:
    best: dict[str, float] = {}
    for name, sampler in {"tpe": Tpe(), "evolution": Evolution(population=8, sample=3), "random": Random()}.items():
        study = in_memory(tmp_path / name, sampler, 50)
        run(study)
        best[name] = float(np.mean(sorted(row.values[0] for row in study.rows())[:10]))
    assert best["tpe"] < best["random"] and best["evolution"] < best["random"]


def test_a_child_differs_from_its_parent_in_one_knob_and_in_what_hangs_on_it() -> None:
    parent = {"learning_rate": 0.01, "model": "cnn", "model.kernel_size": 5}
    rng = np.random.default_rng(0)
    for _ in range(60):
        child = mutated(SPACE, parent, rng)  # type: ignore[arg-type]
        if child["model"] == "transformer":
            assert "model.kernel_size" not in child and child["learning_rate"] == 0.01
        else:
            assert sum(child[name] != parent[name] for name in parent) == 1


def test_the_oldest_die_and_the_best_of_the_sample_is_copied() -> None:
    young = [Past(settings={"learning_rate": 0.1, "model": "transformer"}, score=score) for score in (-3.0, -2.0)]
    old = Past(settings={"learning_rate": 1e-4, "model": "cnn", "model.kernel_size": 9}, score=99.0)
    evolution = Evolution(population=2, sample=2)
    assert evolution.proposal(SPACE, [old], 1, 0, False) is None
    children = [evolution.proposal(SPACE, [old, *young], index, 0, False) for index in range(20)]
    assert all(child is not None and child["learning_rate"] != 1e-4 for child in children)
    assert evolution.proposal(SPACE, [old, *young], 3, 0, True) is None


def test_a_trial_that_does_worse_than_the_median_ends(tmp_path: Path) -> None:
    study = in_memory(tmp_path, Random(), 4)
    for score in (0.1, 0.2):
        trial = study.start()
        assert trial is not None and not study.report(trial, score, 1)
        study.finish(trial, [score], 0.0)
    good, bad = study.start(), study.start()
    assert good is not None and bad is not None
    assert not study.report(good, 0.05, 1) and study.report(bad, 5.0, 1)
    assert not study.report(good, float("nan"), 2)
    study.prune(bad, "at evaluation 1", 0.0)
    assert study.rows()[3].state == "pruned" and not study.rows()[3].values


def test_another_search_is_refused_by_what_differs_and_overwritten_on_demand(tmp_path: Path) -> None:
    run(opened(tmp_path, Random(), 2))
    other = make_space([Choices(name="model", choices=("cnn",))], {})
    with pytest.raises(InputError, match=r"holds a search that differs \(space: .*learning_rate.* then, .*--overwrite"):
        opened(tmp_path, Random(), 2, space=other)
    held = opened(tmp_path, Random(), 3)
    trial = held.start()
    assert trial is not None
    with pytest.raises(InputError, match="another process is at work"):
        opened(tmp_path, Random(), 2, space=other, overwrite=True)
    held.finish(trial, [1.0], 0.0)
    assert opened(tmp_path, Random(), 2, space=other, overwrite=True).rows() == []


def test_folders_of_others_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")
    for overwrite in (False, True):
        with pytest.raises(InputError, match="holds files but no search"):
            opened(tmp_path, Random(), 2, overwrite=overwrite)
    assert (tmp_path / "mine.txt").exists()
    with pytest.raises(InputError, match="is a file, not a folder"):
        opened(tmp_path / "mine.txt", Random(), 2)
    opened(tmp_path / "study", Random(), 2)
    (tmp_path / "study" / "study.db").write_bytes(b"no database" * 100)
    with pytest.raises(InputError, match=r"study.db: cannot be opened"):
        opened(tmp_path / "study", Random(), 2)


@pytest.mark.parametrize(
    ("read", "said"),
    [
        (lambda: read_sampler("tpa"), "did you mean 'tpe'"),
        (lambda: read_sampler("evolution:population=1"), "population is 1"),
        (lambda: read_sampler("evolution:sample=90"), "from 1 to the population"),
        (lambda: read_sampler("tpe:startup=0"), "startup is 0"),
        (lambda: read_pruner("medan", num_objectives=1, num_evaluations=9), "did you mean 'median'"),
        (lambda: read_pruner("median", num_objectives=1, num_evaluations=1), "raise --num-evaluations"),
        (lambda: read_pruner("hyperband", num_objectives=2, num_evaluations=9), "several objectives"),
        (lambda: read_pruner("hyperband:reduction=1", num_objectives=1, num_evaluations=9), "reduction is 1"),
        (lambda: read_pruner("median:warmup=-1", num_objectives=1, num_evaluations=9), "warmup is -1"),
    ],
)
def test_bad_samplers_and_pruners_are_refused(read: Callable[[], object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        read()


def test_no_pruner_where_none_can_work() -> None:
    assert read_pruner("none", num_objectives=1, num_evaluations=9) is None
    assert read_pruner(None, num_objectives=2, num_evaluations=9) is None
    assert read_pruner(None, num_objectives=1, num_evaluations=1) is None
    assert read_pruner(None, num_objectives=1, num_evaluations=2) == Median()
    assert read_sampler("evolution:population=5") == Evolution(population=5)


def test_the_correction_takes_back_what_choosing_among_equals_pretended() -> None:
    corrected, hopeful = [], []
    for seed in range(30):
        right = np.random.default_rng(seed).random((20, 60)) < 0.5  # twenty trials that guess, on 60 records
        corrected.append(
            score_of_choosing(
                lambda trial, records, right=right: float(right[trial, records].mean()),  # type: ignore[misc]
                20,
                60,
                lower=False,
                num_resamples=60,
                seed=seed,
            )
        )
        hopeful.append(right.mean(1).max())
    assert np.mean(hopeful) > 0.6
    assert abs(np.mean(corrected) - 0.5) < 0.03


def test_the_correction_says_nothing_where_it_cannot() -> None:
    for trials, records in ((1, 50), (5, 3)):
        assert math.isnan(score_of_choosing(lambda t, r: 1.0, trials, records, lower=True, num_resamples=9, seed=0))
    assert math.isnan(score_of_choosing(lambda t, r: math.nan, 5, 50, lower=True, num_resamples=9, seed=0))
    assert score_of_choosing(lambda t, r: float(t), 5, 50, lower=True, num_resamples=9, seed=0) == 0


def test_the_setting_that_decides_is_found_and_drawn(tmp_path: Path) -> None:
    flat = make_space([Range(name="a", low=0.0, high=1.0), Range(name="b<", low=0.0, high=1.0)], {})
    study = in_memory(tmp_path / "flat", Random(), 30, space=flat)
    run(study, score=lambda settings: float(str(settings["a"])))
    found, how = importances(study.study)
    assert how == "fANOVA" and list(found) == ["a", "b<"] and found["a"] > 0.9
    picture = importance_picture(found, "mse")
    assert "b&lt;" in picture and picture.startswith("<svg")
    study = in_memory(tmp_path / "conditional", Random(), 30)
    run(study)
    found, how = importances(study.study)
    assert how == "PED-ANOVA" and set(found) == {knob.name for knob in SPACE.knobs}
    assert sum(found.values()) == pytest.approx(1)
    few = in_memory(tmp_path / "few", Random(), 3, space=flat)
    run(few, score=lambda settings: float(str(settings["a"])))
    assert importances(few.study) == ({}, "")
