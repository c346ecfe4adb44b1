"""Distilling: teachers that answer as one, what is asked once, sequences without labels, and the run of a student."""

from __future__ import annotations

import copy
import csv
import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seqtrain import scoring
from seqtrain.alphabet import PROTEIN
from seqtrain.augment import MatrixSubstitution
from seqtrain.batch import Batch
from seqtrain.batching import Examples
from seqtrain.config import DistillConfig, FinetuneConfig
from seqtrain.errors import RunError
from seqtrain.fitting import Silent
from seqtrain.inference import InferenceConfig
from seqtrain.losses import ClassBalanced, Quantized
from seqtrain.models.cnn import CNNConfig
from seqtrain.models.ensemble import Ensemble
from seqtrain.models.heads import PooledHeadConfig, PositionHeadConfig
from seqtrain.models.network import HeadConfig, Network, build
from seqtrain.predict import Predictor
from seqtrain.recipes.distill import distill, prepare_distillation
from seqtrain.recipes.finetune import finetune, finetune_members
from seqtrain.recipes.teacher_answers import (
    answers_of_inputs,
    answers_of_records,
    digest_of_inputs,
    save_answers,
    saved_answers,
)
from seqtrain.recipes.teachers import Teacher, TeacherRun
from seqtrain.run import Run, load_run
from seqtrain.tasks import Classification, MultiLabel, Regression, Task
from tests.corpora import examples_of, proteins, record_of

CPU = torch.device("cpu")
TEXTS = proteins([12, 30, 7, 25, 18], seed=4)
CLASSES = Classification(columns=("kind",), classes=("a", "b", "c"))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither intervals, simple models nor syncing to disk are looked at here."""
    monkeypatch.setattr(scoring, "_num_resamples", lambda count: 2)
    monkeypatch.setattr("seqtrain.recipes.findings.simple_models", lambda *given: {})
    monkeypatch.setattr("seqtrain.io.run_directory.os.fsync", lambda descriptor: None)


def network_of(head: HeadConfig, seed: int) -> Network:
    torch.manual_seed(seed)
    network = build(CNNConfig(width=16, depth=1, dropout=0.5), head)
    with torch.no_grad():
        for parameter in network.head.parameters():
            parameter.mul_(12)
    return network


def run_of(task: Task, *seeds: int, head: HeadConfig | None = None) -> TeacherRun:
    """A run of one network, or of an ensemble of several."""
    head = head or PooledHeadConfig(outputs=task.loss.width(task.outputs), dropout=0.5)
    networks = [network_of(head, seed) for seed in seeds]
    network = networks[0] if len(networks) == 1 else Ensemble(networks)
    run = Run(folder=Path("t"), network=network, alphabet=PROTEIN, task=task, max_length=1022, columns={})
    return TeacherRun(name="t", run=run, precision="fp32")


def batch_of(examples: Examples, epoch: int = 0) -> Batch:
    return examples.batch(np.arange(len(examples)), np.full(len(examples), epoch))


def test_an_ensemble_teaches_what_it_predicts_and_several_runs_count_network_by_network() -> None:
    batch = batch_of(examples_of(TEXTS))
    ensemble, single = run_of(CLASSES, 1, 2), run_of(CLASSES, 3)
    expected = ensemble.run.network.eval()(batch)
    torch.testing.assert_close(Teacher([ensemble], CLASSES)(batch), expected)
    three = torch.stack([each.eval()(batch) for each in (*ensemble.networks, *single.networks)]).mean(0)
    torch.testing.assert_close(Teacher([ensemble, single], CLASSES)(batch), three)


@pytest.mark.parametrize("task", [CLASSES, MultiLabel(columns=("k",), classes=("a", "b", "c"), separator=";")], ids=str)
def test_probabilities_are_averaged_at_the_temperature(task: Task) -> None:
    batch = batch_of(examples_of(TEXTS))
    run = run_of(task, 1, 2)

    def soft(logits: torch.Tensor) -> torch.Tensor:
        return (logits / 3).sigmoid() if isinstance(task, MultiLabel) else (logits / 3).softmax(1)

    expected = torch.stack([soft(network.eval()(batch)) for network in run.networks]).mean(0)
    said = Teacher([run], task, "probabilities", 3.0)(batch)
    torch.testing.assert_close(soft(said), expected)
    assert not torch.allclose(soft(Teacher([run], task)(batch)), expected, atol=1e-3)


def test_a_teacher_never_trains_and_draws_nothing() -> None:
    batch = batch_of(examples_of(TEXTS))
    teacher = Teacher([run_of(CLASSES, 1)], CLASSES).train()
    state = torch.get_rng_state()
    first, second = teacher(batch), teacher(batch)
    assert torch.equal(first, second) and torch.equal(torch.get_rng_state(), state)
    assert not first.requires_grad and not any(parameter.requires_grad for parameter in teacher.parameters())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(teacher(batch), first), "a teacher of full precision stays so whatever is around it"
    assert copy.deepcopy((batch, teacher))[1] is teacher, "a range test needs no second one"
    brief = replace(run_of(CLASSES, 1), precision="bf16")
    assert 0 < (Teacher([brief], CLASSES)(batch) - first).abs().max() < 0.01 * first.abs().max()


def test_numbers_come_in_the_units_of_the_student() -> None:
    batch = batch_of(examples_of(TEXTS))
    theirs = Regression(columns=("u", "v"), mean=(10.0, -2.0), scale=(2.0, 0.5))
    own = replace(theirs, mean=(11.0, -2.1), scale=(3.0, 0.4))
    run = run_of(theirs, 1, 2)
    said = Teacher([run], own)(batch)
    values = theirs.values(run.run.network.eval()(batch).detach().numpy())
    np.testing.assert_allclose(own.in_units(said.numpy()), values, rtol=1e-5)
    quantized = replace(
        theirs, trained_loss=Quantized(num_bins=3).fitted(np.random.default_rng(0).normal(size=(20, 2)))
    )
    bins = run_of(quantized, 1, 2)
    teacher = Teacher([bins], quantized)
    assert teacher.by_bins and teacher(batch).shape == (5, 6)
    other = Teacher([bins], own)
    assert not other.by_bins and other(batch).shape == (5, 2)


def test_classes_may_stand_in_another_order_and_losses_may_differ() -> None:
    batch = batch_of(examples_of(TEXTS))
    run = run_of(CLASSES, 1)
    student = replace(
        CLASSES, classes=("c", "a", "b"), trained_loss=ClassBalanced(class_counts=(1, 2, 3), form="sigmoid")
    )
    plain = run.networks[0].eval()(batch)
    torch.testing.assert_close(Teacher([run], student)(batch), plain[:, [2, 0, 1]])
    sigmoid = run_of(replace(student, classes=CLASSES.classes), 1)
    said = Teacher([sigmoid], CLASSES)(batch)
    shares = plain.sigmoid() / plain.sigmoid().sum(1, keepdim=True)
    torch.testing.assert_close(said.softmax(1), shares)


@pytest.mark.parametrize("per_residue", [False, True])
def test_answers_that_were_kept_are_those_of_the_teacher(per_residue: bool, tmp_path: Path) -> None:
    head = PositionHeadConfig(outputs=3) if per_residue else PooledHeadConfig(outputs=3)
    teacher = Teacher([run_of(CLASSES, 1, head=head)], CLASSES)
    # Windows, and one sequence twice.
    examples = examples_of([*TEXTS, TEXTS[1], TEXTS[0]], window=10)
    answers = answers_of_inputs(teacher, examples, InferenceConfig(device=CPU))
    save_answers(answers, tmp_path, {"a": 1})
    read = saved_answers(tmp_path, {"a": 1})
    assert read is not None
    units = np.array([3, 0, 7, 3])
    batch = examples.batch(units, np.full(4, 5))
    for each in (answers, read):
        torch.testing.assert_close(each(batch), teacher(batch), rtol=1e-5, atol=1e-6)
    assert saved_answers(tmp_path, {"a": 2}) is None
    (tmp_path / "teacher/rows.npy").write_bytes(b"nonsense")
    assert saved_answers(tmp_path, {"a": 1}) is None
    changed = replace(examples, augmenter=MatrixSubstitution(rate=0.5)).batch(units, np.full(4, 5))
    with pytest.raises(RunError, match="not asked about"):
        answers(changed)
    assert digest_of_inputs(examples) != digest_of_inputs(examples_of([*TEXTS, TEXTS[1], TEXTS[1]], window=10))


def test_a_clean_teacher_sees_the_whole_record_as_it_stands() -> None:
    teacher = Teacher([run_of(CLASSES, 1)], CLASSES)
    examples = examples_of(TEXTS)
    answers = answers_of_records(teacher, examples, InferenceConfig(device=CPU))
    noisy = batch_of(replace(examples, augmenter=MatrixSubstitution(rate=0.5)))
    assert not torch.equal(noisy.inputs, batch_of(examples).inputs)
    torch.testing.assert_close(answers(noisy), teacher(batch_of(examples)), rtol=1e-5, atol=1e-6)


SETS = ["train" if number % 4 else ("valid", "test")[number % 8 // 4] for number in range(40)]
LABELS = [("a", "b", "c")[number % 3] for number in range(40)]
PROTEINS = proteins([20] * 40, seed=9)
TABLE = "sequence,kind,states,set\n" + "".join(
    f"{text},{label},{''.join('HE'[letter in 'AILMFV'] for letter in text)},{name}\n"
    for text, label, name in zip(PROTEINS, LABELS, SETS, strict=True)
)


def settings_of(folder: Path, **more: Any) -> dict[str, Any]:
    (folder / "t.csv").write_text(TABLE)
    return {
        "table": str(folder / "t.csv"), "target": ("kind",), "model": "cnn", "size": "100K", "steps": 3, "seed": 1,
        "num_evaluations": 1, "device": "cpu", "tokens_per_step": 256, **more,
    }  # fmt: skip


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ensemble")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "_num_resamples", lambda count: 2)
        patch.setattr("seqtrain.recipes.findings.simple_models", lambda *given: {})
        finetune_members(FinetuneConfig(output=str(folder / "e"), members=2, **settings_of(folder)), Silent())
    return folder / "e"


class Listening(Silent):
    """Keeps what was said."""

    def __init__(self) -> None:
        super().__init__()
        object.__setattr__(self, "lines", [])

    def say(self, text: str) -> None:
        self.lines.append(text)  # type: ignore[attr-defined]


def config_of(folder: Path, ensemble: Path, **more: Any) -> DistillConfig:
    given = {"output": str(folder / "s"), "teacher": (str(ensemble),), **more}
    return DistillConfig(**settings_of(folder), **given)


def weights_of(run: Path) -> dict[str, torch.Tensor]:
    return dict(load_run(run).network.state_dict())


def test_a_student_is_a_run_like_any_other(ensemble: Path, tmp_path: Path) -> None:
    fasta = tmp_path / "u.fasta"
    # Of the held-out sequences one is given in lower case, and one training sequence comes again.
    others = [*proteins([20] * 10, seed=3), PROTEINS[0].lower(), PROTEINS[4], PROTEINS[1]]
    fasta.write_text("".join(f">u{i}\n{text}\n" for i, text in enumerate(others)))
    config, listener = config_of(tmp_path, ensemble, unlabeled=(str(fasta),)), Listening()
    results = distill(config, listener)
    run = load_run(tmp_path / "s")
    assert run.task is not None and run.task.words == "3-class classification of kind"
    predictor = Predictor.of_run(run, InferenceConfig(device=CPU))
    predicted = [cells[0] for _, cells in predictor.predict(map(record_of, PROTEINS))]
    with (tmp_path / "s/predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["prediction"] for row in rows] == [
        p for p, name in zip(predicted, SETS, strict=True) if name != "train"
    ]
    with (tmp_path / "s/ledger.csv").open() as file:
        ledger = {(row["source"], row["event"], row["reason"]): int(row["records"]) for row in csv.DictReader(file)}
    assert ledger["u.fasta", "read", ""] == 13 and ledger["u.fasta", "kept", ""] == 11
    assert ledger["u.fasta", "dropped", "the sequence of a validation or test record"] == 2
    beside = results["teacher"]
    assert [each["name"] for each in beside["sets"]] == ["valid", "test"] and beside["networks"] == 2
    expected = json.loads((ensemble / "run.json").read_text())["results"]["sets"]
    for each, known in zip(beside["sets"], expected, strict=True):
        assert each["teacher"] == pytest.approx(known["metrics"]["accuracy"])
    assert beside["sequences_per_second"]["ratio"] > 0
    said = "\n".join(listener.lines)  # type: ignore[attr-defined]
    assert "of the student" in said and "times as fast as the teacher" in said
    report = (tmp_path / "s/report.html").read_text()
    assert "of the student" in report and "teacher" in report
    again = Listening()
    assert distill(config, again) == json.loads((tmp_path / "s/run.json").read_text())["results"]
    assert "is finished" in again.lines[-1]  # type: ignore[attr-defined]


def test_unlabelled_records_are_trained_on_and_never_scored(ensemble: Path, tmp_path: Path) -> None:
    fasta = tmp_path / "u.fasta"
    fasta.write_text("".join(f">u{i}\n{text}\n" for i, text in enumerate(proteins([20] * 10, seed=3))))
    for target, head in (("kind", 1), ("states", 20)):
        teacher = ensemble
        if target == "states":
            teacher = tmp_path / "teacher"
            given = settings_of(tmp_path, target=(target,))
            finetune(FinetuneConfig(output=str(teacher), **given), Silent())
        config = replace(config_of(tmp_path, teacher, unlabeled=(str(fasta),)), target=(target,))
        prepared = prepare_distillation(config, Silent())
        examples, data = prepared.job.training.examples, prepared.shown
        train = SETS.count("train")
        assert len(examples) == train + 10 and len(prepared.job.data.store) == 40
        assert data.store.name(40) == "u0" and prepared.job.training.loop.name_of(49) == "u9"
        assert examples.targets is not None and (np.asarray(examples.targets)[40 * head :] == -100).all()
        assert len(examples.targets) == 50 * head
        batch = examples.batch(np.arange(train, train + 10), np.zeros(10, int))
        objective = prepared.job.training.objective
        ready = objective.prepare(batch, None)  # type: ignore[arg-type]
        outputs = torch.zeros_like(ready.teacher_outputs)  # type: ignore[arg-type]
        score = objective.score(outputs, ready)
        assert float(score.sums["label_loss"]) == 0 and float(score.count) == 10 * head


def test_labels_alone_train_the_same_weights_as_finetuning(ensemble: Path, tmp_path: Path) -> None:
    distill(config_of(tmp_path, ensemble, hard_fraction=1.0), Silent())
    finetune(FinetuneConfig(output=str(tmp_path / "f"), **settings_of(tmp_path)), Silent())
    ours, theirs = weights_of(tmp_path / "s"), weights_of(tmp_path / "f")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_born_again_network_keeps_the_architecture_and_starts_anew(ensemble: Path, tmp_path: Path) -> None:
    """Furlanello et al. 2018: the student has the teacher's own architecture."""
    member = ensemble / "members/1"
    distill(replace(config_of(tmp_path, member, hard_fraction=0.0), steps=30, learning_rate=1e-2), Silent())
    ours, theirs = weights_of(tmp_path / "s"), weights_of(member)
    assert {name: each.shape for name, each in ours.items()} == {name: each.shape for name, each in theirs.items()}
    rows = [json.loads(line) for line in (tmp_path / "s/metrics.jsonl").read_text().splitlines()]
    divergence = [row["teacher_divergence"] for row in rows if row["event"] == "train"]
    assert np.mean(divergence[-5:]) < 0.5 * np.mean(divergence[:2])


@pytest.mark.parametrize("per_residue", [False, True])
def test_a_cached_teacher_teaches_the_same(per_residue: bool, ensemble: Path, tmp_path: Path) -> None:
    teacher, more = ensemble, {}
    if per_residue:
        teacher, more = tmp_path / "teacher", {"target": ("states",)}
        finetune(FinetuneConfig(output=str(teacher), **settings_of(tmp_path, **more)), Silent())
    config = replace(config_of(tmp_path, teacher), max_length=15, **more)
    distill(config, Silent())
    distill(replace(config, output=str(tmp_path / "c"), cache_teacher=True), Silent())
    ours, theirs = weights_of(tmp_path / "c"), weights_of(tmp_path / "s")
    for name, each in theirs.items():
        torch.testing.assert_close(ours[name], each, rtol=1e-3, atol=1e-5)
    facts = json.loads((tmp_path / "c/teacher/facts.json").read_text())
    assert facts["per_position"] == per_residue


def test_a_student_is_smaller_unless_it_is_told_its_size(ensemble: Path, tmp_path: Path) -> None:
    given = config_of(tmp_path, ensemble)
    config = replace(given, model=None, size=None)
    prepared = prepare_distillation(config, Silent())
    assert (prepared.config.model, prepared.config.size) == ("cnn", "100K")
    assert prepared.config.temperature == 2.0 and prepared.config.output == str(tmp_path / "s")
    read = {field.name for field in fields(DistillConfig)} - {field.name for field in fields(FinetuneConfig)}
    assert read == {
        "teacher",
        "unlabeled",
        "temperature",
        "hard_fraction",
        "teacher_input",
        "teacher_mean",
        "cache_teacher",
        "similarity",
        "similarity_steps",
    }


def test_a_teacher_that_has_seen_what_is_held_out_is_told(ensemble: Path, tmp_path: Path) -> None:
    split, listener = json.loads((ensemble / "run.json").read_text())["facts"], Listening()
    assert split["split_column"] == "set"
    prepare_distillation(config_of(tmp_path, ensemble), listener)
    assert not any("held out here" in line for line in listener.lines)  # type: ignore[attr-defined]
    rows = (ensemble / "split.csv").read_text()
    try:
        (ensemble / "split.csv").write_text(rows.replace(",test", ",train"))
        prepare_distillation(config_of(tmp_path, ensemble), listener)
    finally:
        (ensemble / "split.csv").write_text(rows)
    assert any("was trained on 5 of the records" in line for line in listener.lines)  # type: ignore[attr-defined]
