"""Ensembles: members on records of their own, joined into a run that predicts by their mean."""

from __future__ import annotations

import csv
import importlib
import json
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seqtrain.config import FinetuneConfig
from seqtrain.errors import InputError, Stopped
from seqtrain.fitting import Silent
from seqtrain.inference import InferenceConfig
from seqtrain.models.cnn import CNNConfig
from seqtrain.models.ensemble import Ensemble, single
from seqtrain.models.heads import PooledHeadConfig
from seqtrain.models.network import build
from seqtrain.predict import Predictor
from seqtrain.recipes.bagging import bagged, training_seed
from seqtrain.recipes.ensemble import join_runs
from seqtrain.recipes.finetune import finetune, finetune_members
from seqtrain.recipes.finetuning import prepare_finetuning
from seqtrain.run import load_run
from seqtrain.training import StepReport
from tests.corpora import examples_of, proteins, record_of

recipe = importlib.import_module("seqtrain.recipes.finetune")
TEXTS = proteins([20] * 40, seed=9)
CLASSES = ["a"] * 24 + ["b"] * 8 + ["c"] * 8
SETS = ["train" if number % 4 else "valid" for number in range(40)]
TABLE = "sequence,kind,set\n" + "".join(f"{t},{c},{s}\n" for t, c, s in zip(TEXTS, CLASSES, SETS, strict=True))


def config_of(folder: Path, **settings: Any) -> FinetuneConfig:
    table = folder / "t.csv"
    table.write_text(TABLE)
    given = {
        "target": ("kind",),
        "model": "cnn",
        "size": "100K",
        "epochs": 1,
        "output": str(folder / "run"),
        **settings,
    }
    return FinetuneConfig(table=str(table), **given)


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ensemble")
    finetune(config_of(folder, members=3, bagging="balanced"), Silent())
    return folder / "run"


def outputs_of(folder: Path) -> np.ndarray:
    predictor = Predictor.of_run(load_run(folder), InferenceConfig(device=torch.device("cpu")))
    return np.concatenate([row for _, row in predictor.outputs(map(record_of, TEXTS)) if row is not None])


def test_the_answer_is_the_mean_of_the_members_logits(ensemble: Path) -> None:
    members = [outputs_of(ensemble / "members" / name) for name in "123"]
    assert np.abs(members[0] - members[1]).max() > 1e-4, "members differ"
    np.testing.assert_allclose(outputs_of(ensemble), np.mean(members, axis=0), atol=1e-6)


def test_the_run_is_scored_and_reported_like_any_other(ensemble: Path) -> None:
    with (ensemble / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    held_out = np.array(SETS) == "valid"
    assert [row["kind"] for row in rows] == np.array(CLASSES)[held_out].tolist()
    expected = outputs_of(ensemble)[held_out].argmax(axis=1)
    assert [row["prediction"] for row in rows] == [("a", "b", "c")[index] for index in expected]
    assert (ensemble / "report.html").exists()


def test_a_finished_ensemble_is_found_done_and_another_one_refused(ensemble: Path) -> None:
    config = config_of(ensemble.parent, members=3, bagging="balanced")
    before = (ensemble / "members" / "1" / "model" / "model.safetensors").stat().st_mtime_ns
    assert finetune(config, Silent())["sets"]
    assert (ensemble / "members" / "1" / "model" / "model.safetensors").stat().st_mtime_ns == before
    with pytest.raises(InputError, match="members: 3 then, 2 now"):
        finetune(config_of(ensemble.parent, members=2, bagging="balanced"), Silent())


def test_an_ensemble_that_was_stopped_goes_on_with_the_members_it_lacks(ensemble: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(ensemble, run)
    for part in ("ensemble.json", "report.html", "predictions.csv"):
        (run / part).unlink()
    shutil.rmtree(run / "members" / "3")
    record = (run / "run.json").read_text().replace('"finished": true', '"finished": false')
    (run / "run.json").write_text(record)
    kept = (run / "members" / "2" / "model" / "model.safetensors").stat().st_mtime_ns
    shutil.copy(ensemble.parent / "t.csv", tmp_path / "t.csv")
    finetune(config_of(tmp_path, members=3, bagging="balanced"), Silent())
    np.testing.assert_array_equal(outputs_of(run), outputs_of(ensemble))
    assert (run / "members" / "2" / "model" / "model.safetensors").stat().st_mtime_ns == kept


class StopsInMember(Silent):
    """Sends this process SIGTERM at a step of a member."""

    def __init__(self, number: int, step: int) -> None:
        super().__init__()
        object.__setattr__(self, "left", [1] * number)
        object.__setattr__(self, "step", step)

    def step_done(self, report: StepReport, num_steps: int) -> None:
        if report.step == 1:
            self.left.pop()  # type: ignore[attr-defined]
        if not self.left and report.step == self.step:  # type: ignore[attr-defined]
            signal.raise_signal(signal.SIGTERM)


def test_stopped_in_the_second_member_equals_left_alone(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(TABLE)
    settings: dict[str, Any] = {
        "members": 2,
        "bagging": "bootstrap",
        "epochs": None,
        "steps": 4,
        "tokens_per_step": 200,
    }
    finetune(config_of(tmp_path, **settings, output=str(tmp_path / "alone")), Silent())
    stopped = config_of(tmp_path, **settings, output=str(tmp_path / "stopped"))
    with pytest.raises(Stopped):
        finetune(stopped, StopsInMember(2, step=2))
    assert (tmp_path / "stopped/members/1/model").exists() and not (tmp_path / "stopped/members/2/model").exists()
    finetune(stopped, Silent())
    names = ["predictions.csv", *(f"members/{number}/model/head.safetensors" for number in (1, 2))]
    for name in names:
        assert (tmp_path / "alone" / name).read_bytes() == (tmp_path / "stopped" / name).read_bytes()


def test_members_start_from_one_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of(tmp_path, members=2)
    job = prepare_finetuning(config, Silent())
    resolved = replace(job, config=replace(job.config, revision="c0ffee"))
    seen = []
    monkeypatch.setattr(recipe, "prepare_finetuning", lambda *rest: resolved)
    monkeypatch.setattr(recipe, "finetune", lambda member, *rest, **named: seen.append(member.revision))
    with pytest.raises(InputError):  # as the members are not there
        finetune_members(config, Silent())
    assert seen == ["c0ffee", "c0ffee"]


def test_trained_members_are_not_lost_to_other_settings(ensemble: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(ensemble, run)
    shutil.rmtree(run / "members" / "3")
    record = (run / "run.json").read_text().replace('"finished": true', '"finished": false')
    (run / "run.json").write_text(record)
    shutil.copy(ensemble.parent / "t.csv", tmp_path / "t.csv")
    with pytest.raises(InputError, match="epochs: 1 then, 2 now"):
        finetune(config_of(tmp_path, members=3, bagging="balanced", epochs=2), Silent())
    assert (run / "members" / "1" / "model").exists()


def test_finished_runs_are_joined_by_copies(ensemble: Path, tmp_path: Path) -> None:
    members = [str(ensemble / "members" / name) for name in "12"]
    join_runs(members, tmp_path / "joined", Silent())
    expected = np.mean([outputs_of(Path(member)) for member in members], axis=0)
    np.testing.assert_allclose(outputs_of(tmp_path / "joined"), expected, atol=1e-6)
    with pytest.raises(InputError, match="exists already"):
        join_runs(members, tmp_path / "joined", Silent())


def test_what_cannot_answer_together_is_refused(ensemble: Path, tmp_path: Path) -> None:
    table = tmp_path / "two.csv"
    table.write_text(TABLE.replace(",c,", ",b,"))
    other = FinetuneConfig(
        table=str(table), target=("kind",), model="cnn", size="100K", epochs=1, output=str(tmp_path / "two")
    )
    finetune(other, Silent())
    member = str(ensemble / "members" / "1")
    with pytest.raises(InputError, match="its outputs do not mean what those of"):
        join_runs([member, str(tmp_path / "two")], tmp_path / "x", Silent())
    with pytest.raises(InputError, match="is an ensemble itself"):
        join_runs([member, str(ensemble)], tmp_path / "x", Silent())
    with pytest.raises(InputError, match="two runs or more"):
        join_runs([member], tmp_path / "x", Silent())
    with pytest.raises(InputError, match="is named twice"):
        join_runs([member, f"{member}/"], tmp_path / "x", Silent())
    assert not (tmp_path / "x").exists()


def test_an_ensemble_has_no_embeddings(ensemble: Path) -> None:
    predictor = Predictor.of_run(load_run(ensemble), InferenceConfig(device=torch.device("cpu")))
    with pytest.raises(InputError, match="name one of its members"):
        list(predictor.embed([record_of("ACD")]))
    torch.manual_seed(0)
    network = build(CNNConfig(width=16, depth=1), PooledHeadConfig(outputs=2))
    assert single(network) is network
    batch = examples_of(["ACDEF", "WY"]).batch(np.arange(2), np.zeros(2, np.int64))
    torch.testing.assert_close(Ensemble([network.eval(), network]).eval()(batch), network(batch))


def test_outputs_of_other_losses_are_not_averaged(tmp_path: Path) -> None:
    lines = [f"{text},{number * number},{SETS[number]}" for number, text in enumerate(TEXTS)]
    for name, loss in (("one", "quantized:num_bins=3"), ("same", "quantized:num_bins=3"), ("other", "huber")):
        config = config_of(tmp_path, output=str(tmp_path / name), loss=loss, steps=1, epochs=None)
        (tmp_path / "t.csv").write_text("\n".join(["sequence,kind,set", *lines, ""]))
        finetune(replace(config, task="regression"), Silent())
    join_runs([str(tmp_path / "one"), str(tmp_path / "same")], tmp_path / "joined", Silent())
    # Other bins of as many numbers: the outputs have one shape and different meanings.
    task = tmp_path / "same/task.json"
    meaning = json.loads(task.read_text())
    centres = meaning["task"]["trained_loss"]["centres"]
    meaning["task"]["trained_loss"]["centres"] = [value + 1 for value in centres]
    task.write_text(json.dumps(meaning))
    for other in ("same", "other"):
        with pytest.raises(InputError, match="trained with another --loss"):
            join_runs([str(tmp_path / "one"), str(tmp_path / other)], tmp_path / "not", Silent())


def test_windows_are_such_that_every_member_reads_them(ensemble: Path, tmp_path: Path) -> None:
    shutil.copytree(ensemble, tmp_path / "run")
    meaning = tmp_path / "run/members/2/task.json"
    meaning.write_text(meaning.read_text().replace('"max_length": 1022', '"max_length": 138'))
    assert (load_run(tmp_path / "run").max_length, load_run(ensemble).max_length) == (138, 1022)


def test_nothing_starts_from_an_ensemble(ensemble: Path, tmp_path: Path) -> None:
    config = config_of(tmp_path, model=None, size=None, init_from=str(ensemble))
    with pytest.raises(InputError, match=r"is an ensemble; name one of its members, such as .*members/1"):
        finetune(config, Silent())


@pytest.mark.parametrize("where", ["../elsewhere", "members/..", "/tmp"])
def test_members_outside_the_folder_are_refused(ensemble: Path, tmp_path: Path, where: str) -> None:
    run = tmp_path / "run"
    shutil.copytree(ensemble, run)
    (run / "ensemble.json").write_text(f'{{"members": ["{where}"]}}')
    with pytest.raises(InputError, match="must name folders in members"):
        load_run(run)


def test_balanced_bags_have_equal_classes_and_use_all_records_up(tmp_path: Path) -> None:
    job = prepare_finetuning(config_of(tmp_path, members=4, bagging="balanced"), Silent())
    seen: list[np.ndarray] = []
    for member in range(3):
        _, records = bagged(config_of(tmp_path, bagging="balanced", member=member), job.data)
        counts = np.bincount(job.data.targets[records].astype(int))
        assert counts.tolist() == [6, 6, 6]
        assert (job.data.split.sets[records] == "train").all()
        seen.append(records[job.data.targets[records] == 0])
    assert len(np.unique(np.concatenate(seen))) == 18, "each member has other records of the large class"


def test_a_loss_that_balances_goes_by_the_bag(tmp_path: Path) -> None:
    for member, equal in ((None, False), (0, True), (3, True)):
        config = config_of(tmp_path, member=member, bagging="balanced", loss="class-balanced")
        loss = prepare_finetuning(config, Silent()).data.task.loss
        logits = torch.zeros(3, 3)
        losses = [float(loss(logits, torch.tensor([kind] * 3))[0]) for kind in range(3)]
        assert (losses[0] == pytest.approx(losses[2])) == equal, losses


def test_bootstrap_bags_weigh_records_by_how_often_they_were_drawn(tmp_path: Path) -> None:
    job = prepare_finetuning(config_of(tmp_path, members=2), Silent())
    train = job.data.split.sets == "train"
    shares = []
    for member in range(40):
        config = config_of(tmp_path, bagging="bootstrap", member=member)
        data, records = bagged(config, job.data)
        assert data.weights is not None and data.weights[train].sum() == train.sum()
        assert (data.weights[records] > 0).all() and not data.weights[~train].any()
        shares.append(len(records) / train.sum())
    assert np.mean(shares) == pytest.approx(1 - np.exp(-1), abs=0.03)
    seeds = {training_seed(config_of(tmp_path, member=member)) for member in range(5)}
    assert len(seeds) == 5 and training_seed(config_of(tmp_path)) == 0


def test_numbers_have_no_balanced_bags(tmp_path: Path) -> None:
    table = tmp_path / "n.csv"
    table.write_text("sequence,y\n" + "".join(f"{text},{len(text) + i}\n" for i, text in enumerate(TEXTS)))
    config = FinetuneConfig(
        table=str(table), task="regression", size="100K", members=2, bagging="balanced", output=str(tmp_path / "r")
    )
    with pytest.raises(InputError, match="use bootstrap"):
        finetune(config, Silent())


def test_a_bag_without_an_ensemble_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give --members 2 or more"):
        finetune(config_of(tmp_path, bagging="bootstrap"), Silent())
