"""Searches from a table to a run: judged on validation records alone, resumed, with what they write and refuse."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from seqtrain import scoring
from seqtrain.config import TuneConfig
from seqtrain.errors import InputError, RunError, Stopped
from seqtrain.fitting import Silent
from seqtrain.recipes import trials
from seqtrain.recipes.tune import Tuned, tune
from seqtrain.recipes.tune_report import front_of
from seqtrain.run import load_run
from seqtrain.tune.study import OpenTrial, Row, SharedStudy
from seqtrain_cli.main import main
from tests.corpora import proteins


class Heard(Silent):
    """A listener that keeps what it hears."""

    def __init__(self) -> None:
        object.__setattr__(self, "lines", [])

    def say(self, text: str) -> None:
        self.lines.append(text)  # type: ignore[attr-defined]


def hasten(patch: pytest.MonkeyPatch) -> None:
    """Neither intervals, simple models nor syncing to disk are looked at here."""
    patch.setattr(scoring, "_num_resamples", lambda count: 2)
    patch.setattr("seqtrain.recipes.findings.simple_models", lambda *given: {})
    patch.setattr("seqtrain.io.run_directory.os.fsync", lambda descriptor: None)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    hasten(monkeypatch)


def write_table(path: Path, *, scrambled: bool = False, valid: str = "valid") -> Path:
    """Sequences of two kinds, one of which begins with tryptophans."""
    rng = np.random.default_rng(5)
    texts = proteins(rng.integers(10, 16, size=72).tolist(), seed=1)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["sequence", "kind", "set"])
        for index, text in enumerate(texts):
            kind = index % 2
            of_set = "train" if index < 40 else valid if index < 56 else "test"
            label = 1 - kind if scrambled and of_set == "test" else kind
            writer.writerow([("WWW" if kind else "") + text, "ab"[label], of_set])
    return path


def config_of(folder: Path, **more: Any) -> TuneConfig:
    if not (folder / "table.csv").exists():
        write_table(folder / "table.csv")
    given: dict[str, Any] = {
        "table": str(folder / "table.csv"),
        "target": ("kind",),
        "output": str(folder / "search"),
        "model": "cnn:width=8,depth=1",
        "steps": 8,
        "num_evaluations": 4,
        "trials": 4,
        "search": ("none",),
        "vary": ("learning_rate:low=1e-3,high=0.1,log=true", "model.kernel_size:choices=3/5"),
        "device": "cpu",
        "seed": 2,
    }
    return TuneConfig(**given | more)


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "search" / "trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Tuned, list[str]]:
    folder, heard = tmp_path_factory.mktemp("searched"), Heard()
    with pytest.MonkeyPatch.context() as patch:
        hasten(patch)
        tuned = tune(config_of(folder, keep=2, pruner="none"), heard, command="seqtrain tune …")
    return folder, tuned, heard.lines  # type: ignore[attr-defined]


def test_the_best_settings_are_finetuned_anew_and_score_as_their_trial_did(
    searched: tuple[Path, Tuned, list[str]],
) -> None:
    folder, tuned, heard = searched
    assert tuned.best is not None and tuned.results is not None
    sets = {each["name"]: each for each in tuned.results["sets"]}
    assert set(sets) == {"valid", "test"}
    assert sets["valid"]["metrics"]["accuracy"] == tuned.best.values[0] == max(row.values[0] for row in tuned.trials)
    assert load_run(folder / "search" / "best").task.columns == ("kind",)
    config = (folder / "search" / "best" / "config.toml").read_text()
    assert f"kernel_size={tuned.best.settings['model.kernel_size']}" in config
    text = "\n".join(heard)
    assert "This score is hopeful, as it was chosen among 4" in text
    assert "trial 1 of 4: accuracy" in text and "learning_rate from 0.001 to 0.1, log scale" in text
    assert tuned.expected <= tuned.best.values[0] + 1e-9


def test_trials_know_nothing_of_the_test_set(searched: tuple[Path, Tuned, list[str]], tmp_path: Path) -> None:
    folder, tuned, _ = searched
    for number in (row.number for row in tuned.trials):
        record = folder / "search" / "trials" / str(number) / "run.json"
        if record.exists():
            assert [each["name"] for each in json.loads(record.read_text())["results"]["sets"]] == ["valid"]
    write_table(tmp_path / "table.csv", scrambled=True)
    other = tune(config_of(tmp_path, keep=2, pruner="none"), Silent())
    assert [row.values for row in other.trials] == [row.values for row in tuned.trials]
    assert other.results is not None and tuned.results is not None
    test = [
        next(each["metrics"]["accuracy"] for each in results["sets"] if each["name"] == "test")
        for results in (other.results, tuned.results)
    ]
    assert test[0] == pytest.approx(1 - test[1])


def test_what_a_search_writes(searched: tuple[Path, Tuned, list[str]]) -> None:
    folder, tuned, _ = searched
    search = folder / "search"
    rows = rows_of(folder)
    assert [row["trial"] for row in rows] == ["1", "2", "3", "4"] and {row["state"] for row in rows} == {"finished"}
    assert [float(row["accuracy"]) for row in rows] == [row.values[0] for row in tuned.trials]
    assert [float(row["learning_rate"]) for row in rows] == [row.settings["learning_rate"] for row in tuned.trials]
    kept = [path.parent.name for path in search.glob("trials/*/model")]
    ranked = sorted(tuned.trials, key=lambda row: (-row.values[0], row.number))
    assert sorted(kept) == sorted(str(row.number) for row in ranked[:2])
    assert not list(search.glob("trials/*/checkpoints")) and not list(search.glob("trials/.*.lock"))
    assert len(list(search.glob("trials/*/config.toml"))) == 4
    page = (search / "tuning.html").read_text()
    for words in ("Best so far", "What decided", "By setting", "looked at for the first time", "model.kernel_size"):
        assert words in page
    assert (search / "importance.svg").read_text().count("<rect") == 3


def test_a_finished_search_is_found_done_and_more_trials_go_on(tmp_path: Path) -> None:
    config = config_of(tmp_path, trials=2, metric="loss", steps=4)
    first = tune(config, Silent())
    assert first.best is not None
    assert first.best.values[0] == min(row.values[0] for row in first.trials)
    stamp = (tmp_path / "search" / "best" / "run.json").read_bytes()
    tune(config, Silent())
    assert (tmp_path / "search" / "best" / "run.json").read_bytes() == stamp
    more = tune(replace(config, trials=4), Silent())
    assert [row.settings for row in more.trials[:2]] == [row.settings for row in first.trials]
    assert len(more.trials) == 4 and more.best is not None and more.results is not None
    valid = next(each for each in more.results["sets"] if each["name"] == "valid")
    assert valid["metrics"]["accuracy"] == pytest.approx(_accuracy_of_trial(tmp_path, more.best.number))
    with pytest.raises(InputError, match=r"holds a search that differs \(metric: 'loss' then, 'accuracy' now\)"):
        tune(replace(config, metric=None), Silent())
    write_table(tmp_path / "table.csv", scrambled=True)
    with pytest.raises(InputError, match=r"holds a search that differs \(data table.csv"):
        tune(config, Silent())


def test_a_stop_before_another_best_is_begun_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of(tmp_path, trials=2, metric="loss", steps=4)
    tune(config, Silent())
    best = tmp_path / "search" / "best"
    before = (best / "run.json").read_bytes()
    study = optuna.load_study(study_name="tune", storage=f"sqlite:///{tmp_path / 'search' / 'study.db'}")
    # As if another trial had been the best then, and its run stood there.
    study.set_user_attr("best_trained", 17)
    with monkeypatch.context() as patch:
        patch.setattr("seqtrain.recipes.tune.finetune", interrupted)
        with pytest.raises(Stopped):
            tune(config, Silent())
    assert tune(config, Silent()).results is not None
    assert json.loads((best / "run.json").read_text())["facts"] == json.loads(before)["facts"]


def interrupted(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def _accuracy_of_trial(folder: Path, number: int) -> float:
    record = json.loads((folder / "search" / "trials" / str(number) / "run.json").read_text())
    return float(record["results"]["sets"][0]["metrics"]["accuracy"])


def test_an_interrupted_trial_goes_on_from_its_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of(tmp_path, trials=3)
    whole = tune(replace(config, output=str(tmp_path / "whole")), Silent())
    done: list[int] = []

    def interrupt(watcher: trials.Watcher, report: Any, num_steps: int) -> None:
        done.append(report.step)
        if watcher.name == "trial 2" and report.step == 5:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(trials.Watcher, "step_done", interrupt)
    with pytest.raises(Stopped, match="stopped in trial 2, which goes on where it was; rerun the same command"):
        tune(config, Silent())
    assert done[-1] == 5 and (tmp_path / "search" / "trials" / "2" / "checkpoints").is_dir()
    done.clear()
    again = tune(config, Silent())
    assert done[0] == 6  # not from the start
    assert [row.state for row in again.trials].count("interrupted") == 1
    ended = [row for row in again.trials if row.state != "interrupted"]
    assert [(row.settings, row.values) for row in ended] == [(row.settings, row.values) for row in whole.trials]
    assert rows_of(tmp_path)[1]["reason"] == "interrupted, and tried again"


def test_hopeless_trials_end_early_and_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[tuple[int, int]] = []

    def report(study: SharedStudy, opened: OpenTrial, score: float, place: int) -> bool:
        heard.append((opened.number, place))
        assert 0 <= score <= 1
        return opened.number == 2 and place == 2

    monkeypatch.setattr(SharedStudy, "report", report)
    tuned = tune(config_of(tmp_path, trials=2), Silent())
    assert heard == [(1, 1), (1, 2), (1, 3), (1, 4), (2, 1), (2, 2)]
    assert [row.state for row in tuned.trials] == ["finished", "pruned"]
    assert tuned.trials[1].reason.startswith("at evaluation 2 of 4, with accuracy ")
    assert [path.name for path in (tmp_path / "search" / "trials").iterdir()] == ["1"]


def test_several_objectives_give_a_front(tmp_path: Path) -> None:
    config = config_of(
        tmp_path, model=None, vary=("model:choices=cnn:width=8,depth=1/cnn:width=32,depth=2",),
        also=("parameters", "latency", "memory"), sampler="grid", keep=0,
    )  # fmt: skip
    heard = Heard()
    tuned = tune(config, heard)
    assert any("the grid has 2 settings" in line for line in heard.lines)  # type: ignore[attr-defined]
    assert len(tuned.trials) == 2 and len(tuned.front) in (1, 2)
    sizes = {str(row.settings["model"]): row.values[1] for row in tuned.trials}
    assert 0 < sizes["cnn:width=8,depth=1"] < sizes["cnn:width=32,depth=2"]
    assert all(row.values[2] > 0 and row.values[3] >= 0 for row in tuned.trials)
    assert "Pareto front" in (tmp_path / "search" / "tuning.html").read_text()
    for row in tuned.front:
        assert (tmp_path / "search" / "trials" / str(row.number) / "model").is_dir()


def test_the_front_is_what_nothing_beats() -> None:
    values = [(0.9, 5.0), (0.8, 1.0), (0.8, 2.0), (0.7, 1.0), (0.95, 9.0), (0.9, 5.0)]
    rows = [Row(number=i + 1, state="finished", settings={}, values=each) for i, each in enumerate(values)]
    rows.append(Row(number=9, state="pruned", settings={}))
    assert [row.number for row in front_of(rows, (False, True))] == [5, 1, 6, 2]
    assert [row.number for row in front_of(rows, (False,))] == [5]


def test_trials_that_cannot_be_trained_are_told_and_do_not_end_the_search(tmp_path: Path) -> None:
    vary = ("model.width:choices=8/7", "loss:choices=none/focal:gamma=2")
    tuned = tune(config_of(tmp_path, model="cnn:depth=1", vary=vary, sampler="grid", trials=4), Silent())
    states = {str(row.settings["model.width"]): row.state for row in tuned.trials}
    assert states == {"8": "finished", "7": "failed"}
    assert all("width 7 is odd" in row["reason"] for row in rows_of(tmp_path) if row["model.width"] == "7")
    odd = ("model.width:choices=7", "dropout:choices=0/0.1")
    with pytest.raises(RunError, match=r"no trial came to its end: 2 failed, 2 of them because: .*width 7 is odd"):
        tune(config_of(tmp_path, output=str(tmp_path / "b"), model="cnn:depth=1", vary=odd, sampler="grid"), Silent())


def test_settings_that_change_the_validation_records_are_not_compared(tmp_path: Path) -> None:
    config = config_of(tmp_path, vary=("long:choices=window/drop",), max_length=15, sampler="grid")
    tuned = tune(config, Silent())
    assert {str(row.settings["long"]): row.state for row in tuned.trials} == {"window": "finished", "drop": "failed"}
    assert any("other records cannot be compared" in row.reason for row in tuned.trials)


def test_a_search_is_shown_without_being_begun_and_time_may_be_up(tmp_path: Path) -> None:
    heard = Heard()
    assert tune(config_of(tmp_path), heard, dry_run=True).trials == ()
    assert not (tmp_path / "search").exists()
    assert any("model.kernel_size: 3, 5" in line for line in heard.lines)  # type: ignore[attr-defined]
    tuned = tune(config_of(tmp_path, timeout=1e-9), heard)
    assert tuned.best is None and tuned.trials == ()
    assert any("rerun the same command to go on" in line for line in heard.lines)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"vary": ("lerning_rate:low=1,high=2",)}, "did you mean 'learning_rate'"),
        ({"vary": ()}, "nothing is varied"),
        ({"sampler": "grid"}, "a grid needs the number of values"),
        ({"sampler": "tpa"}, "did you mean 'tpe'"),
        ({"pruner": "median", "num_evaluations": 1}, "raise --num-evaluations"),
        ({"pruner": "median", "also": ("parameters",)}, "several objectives"),
        ({"also": ("speed",)}, "choose from latency, parameters, memory"),
        ({"metric": "spearman"}, "has no such metric; choose from .*accuracy"),
        ({"members": 3}, "trials are single networks"),
        ({"learning_rate": 0.1}, "--learning-rate 0.1 says that it stays"),
        (
            {"weight_decay": 0.01, "fixed": ("weight_decay",), "vary": ("weight_decay:low=0,high=1",)},
            "says that it stays",
        ),
        ({"vary": ("epochs:low=1,high=9",)}, "--steps 8 says that it stays"),
        ({"model": "cnn:kernel_size=3"}, "--model cnn:kernel_size=3 says that it stays"),
        ({"vary": ("model.kernal_size:choices=3/5",)}, "did you mean 'model.kernel_size'"),
        ({"model": None, "vary": ("model:choices=cnn/transfomer",)}, "did you mean 'transformer'"),
        ({"vary": ("optimizer:choices=adamw/sdg",)}, "--vary optimizer: .*no optimiser|--vary optimizer: "),
        ({"vary": ("dropout:low=0,high=1",)}, "--vary dropout: .*less than 1"),
        ({"vary": ("head:choices=pooled-head/none-such",)}, "no head is called"),
        ({"vary": ("model.kernel_size:choices=3/5,when=x=1",)}, "when"),
        ({"space": "none.toml", "search": ()}, "check the path of --space"),
        ({"space": "s.toml"}, "both say what is varied"),
        ({"keep": -1}, "--keep -1"),
        ({"init_from": "nowhere", "model": None, "search": ("architecture",)}, "nowhere"),
    ],
    ids=str,
)
def test_what_cannot_be_searched_is_refused_before_anything_is_written(
    tmp_path: Path, more: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said) as caught:
        tune(config_of(tmp_path, **more), Silent())
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "search").exists()


def test_without_validation_records_there_is_nothing_to_judge_by(tmp_path: Path) -> None:
    lines = [f"{'WW' * (index % 2)}ACDEFGHIK{'LMNPQRST'[index]},{'ab'[index % 2]}" for index in range(8)]
    sets = ["train"] * 4 + ["test"] * 4
    rows = [f"{line},{name}" for line, name in zip(lines, sets, strict=True)]
    (tmp_path / "table.csv").write_text("\n".join(["sequence,kind,set", *rows]) + "\n")
    with pytest.raises(InputError, match=r"there is no validation set .*make a split with seqtrain split"):
        tune(config_of(tmp_path, split_column="set"), Silent())


def test_optuna_is_asked_for_by_the_name_of_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(InputError, match=r'pip install "seqtrain\[tune\]"'):
        tune(config_of(tmp_path), Silent())


def test_the_command_reads_options_and_holds_what_was_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = write_table(tmp_path / "table.csv")

    def code_of(*words: str) -> int:
        with pytest.raises(SystemExit) as left:
            main(["tune", str(table), "--target", "kind", "-o", str(tmp_path / "o"), *words])
        return int(left.value.code or 0)

    assert code_of("--trials", "0") == 2
    assert "--trials 0: must be a whole number greater than 0" in capsys.readouterr().err
    assert code_of("--search", "nothing") == 2
    assert code_of("--weight-decay", "0.01", "--dry-run") == 0
    shown = capsys.readouterr().err
    assert "weight_decay" not in shown and "dropout from 0 to 0.4" in shown and "learning_rate from" in shown
    file = tmp_path / "tune.toml"
    file.write_text('weight_decay = 0.01\ntrials = 7\nsampler = "random"\n')
    assert code_of("--config", str(file), "--dry-run") == 0
    shown = capsys.readouterr().err
    assert "weight_decay" not in shown and "7 trials by random" in shown
    assert code_of("--members", "3") == 2
    assert code_of("--search", "augmentation", "--dry-run") == 0
    assert "augment.policy: none, rand, auto" in capsys.readouterr().err


def test_the_command_and_its_parts_load_neither_torch_nor_optuna() -> None:
    code = "import seqtrain_cli.tune, seqtrain.tune, seqtrain.tune.study; import sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not {"torch", "optuna", "sqlalchemy", "sklearn"} & loaded
