"""Distilling similarities: the steps, the module of a teacher, what is kept of it, and the run of the student."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from seqtrain import scoring
from seqtrain.batching import MicrobatchBudget, Microbatches, steps_from
from seqtrain.config import DistillConfig, FinetuneConfig
from seqtrain.errors import InputError, RunError
from seqtrain.fitting import Silent
from seqtrain.inference import InferenceConfig
from seqtrain.models.compared_head import ComparedHead
from seqtrain.models.heads import PooledHead
from seqtrain.models.network import Network
from seqtrain.predict import Predictor
from seqtrain.recipes.distill import DistillationJob, _as_taught, distill, prepare_distillation
from seqtrain.recipes.finetune import finetune_members
from seqtrain.recipes.similarity import AskedForSimilarity, without_module
from seqtrain.run import load_run
from seqtrain.training import train_steps
from tests.corpora import proteins, record_of

SETS = ["train" if number % 4 else ("valid", "test")[number % 8 // 4] for number in range(40)]
PROTEINS = proteins([20] * 40, seed=9)
TABLE = "sequence,kind,labels,number,set\n" + "".join(
    f"{text},{'abc'[number % 3]},{'x;y' if number % 2 else 'x'},{number * 7 % 11 + 0.5},{name}\n"
    for number, (text, name) in enumerate(zip(PROTEINS, SETS, strict=True))
)


@pytest.fixture(autouse=True, scope="module")
def quick() -> Any:
    """Neither intervals, simple models nor syncing to disk are looked at here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "_num_resamples", lambda count: 2)
        patch.setattr("seqtrain.recipes.findings.simple_models", lambda *given: {})
        patch.setattr("seqtrain.io.run_directory.os.fsync", lambda descriptor: None)
        yield


def settings_of(folder: Path, **more: Any) -> dict[str, Any]:
    (folder / "t.csv").write_text(TABLE)
    return {
        "table": str(folder / "t.csv"), "target": ("kind",), "model": "cnn", "size": "100K", "steps": 3, "seed": 1,
        "num_evaluations": 1, "device": "cpu", "tokens_per_step": 256, **more,
    }  # fmt: skip


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ensemble")
    finetune_members(FinetuneConfig(output=str(folder / "e"), members=2, **settings_of(folder)), Silent())
    return folder / "e"


def config_of(folder: Path, ensemble: Path, **more: Any) -> DistillConfig:
    given = {"similarity": 1.0, "similarity_steps": 4, "augment": ("matrix-substitution:rate=0.2",), **more}
    return DistillConfig(output=str(folder / "s"), teacher=(str(ensemble),), **settings_of(folder, **given))


def weights_of(run: Path) -> dict[str, Tensor]:
    return dict(load_run(run).network.state_dict())


class Listening(Silent):
    """Keeps what was said."""

    def __init__(self) -> None:
        super().__init__()
        object.__setattr__(self, "lines", [])

    def say(self, text: str) -> None:
        self.lines.append(text)  # type: ignore[attr-defined]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)  # type: ignore[attr-defined]


def taught(prepared: DistillationJob, output: Path) -> Any:
    return _as_taught(prepared, output, Silent()).training


def test_a_student_is_a_run_like_any_other_without_its_module(ensemble: Path, tmp_path: Path) -> None:
    listener = Listening()
    results = distill(config_of(tmp_path, ensemble), listener)
    assert "the teacher's module has learnt for 4 steps" in listener.text
    run = load_run(tmp_path / "s")
    assert isinstance(run.single.head, PooledHead)
    assert not [name for name in run.network.state_dict() if "module" in name]
    predictor = Predictor.of_run(run, InferenceConfig(device=torch.device("cpu")))
    assert len([cells for _, cells in predictor.predict(map(record_of, PROTEINS))]) == 40
    kept = load_file(tmp_path / "s/similarity/module.safetensors")
    assert {name.split(".")[1] for name in kept} == {"0", "1"}, "a module for each network of the teacher"
    rows = [json.loads(line) for line in (tmp_path / "s/metrics.jsonl").read_text().splitlines()]
    measured = [row for row in rows if row["event"] == "train"]
    names = ("label_loss", "teacher_divergence", "augmented_divergence", "similarity_divergence")
    assert len(measured) == 3 and all(row[name] > 0 for row in measured for name in names)
    for row in measured:
        parts = [row[name] for name in names]
        assert row["loss"] == pytest.approx(sum(p * w for p, w in zip(parts, (0.5, 0.5, 0.5, 1), strict=True)), 1e-4)
    assert results["teacher"]["student_parameters"] == sum(each.numel() for each in run.network.parameters())
    again = Listening()
    distill(config_of(tmp_path, ensemble), again)
    assert "is finished" in again.text


@pytest.mark.parametrize("target", ["labels", "number"])
def test_other_tasks_of_one_answer_per_sequence(target: str, tmp_path: Path) -> None:
    more = {"target": (target,), "task": "multilabel" if target == "labels" else "auto"}
    given = FinetuneConfig(output=str(tmp_path / "e"), members=2, **settings_of(tmp_path, **more))
    finetune_members(given, Silent())
    config = config_of(tmp_path, tmp_path / "e", similarity_steps=None, **more)
    listener = Listening()
    distill(config, listener)
    assert "learnt for 1 steps" in listener.text, "a quarter of three, and at least one"
    assert load_run(tmp_path / "s").task is not None


def test_steps_hold_the_records_that_they_would_hold_otherwise(ensemble: Path, tmp_path: Path) -> None:
    config = config_of(tmp_path, ensemble)
    prepared = prepare_distillation(config, Silent())
    plain = prepared.job.training
    training = taught(prepared, tmp_path / "o")
    ours, theirs = (
        next(steps_from(each.examples, each.tokens_per_step, 5, each.loop.seed)) for each in (training, plain)
    )
    np.testing.assert_array_equal(ours.units, theirs.units)
    assert ours.next_position == theirs.next_position
    batch = training.examples.batch(ours.units, ours.epochs)
    assert batch.records.tolist() == np.repeat(plain.examples.spans.records[ours.units], 2).tolist()
    own = training.examples.store
    for number, record in enumerate(batch.records.tolist()):
        text = bytes(batch.letters[batch.segments == number].tolist()[1:-1])
        assert (text == own[record].tobytes()) == (number % 2 == 0)


def test_the_module_tells_sequences_better_the_longer_it_has_learnt_and_the_teacher_stays(
    ensemble: Path, tmp_path: Path
) -> None:
    def lost(steps: int) -> tuple[float, AskedForSimilarity]:
        changed = ("matrix-substitution:rate=0.4",)
        config = config_of(tmp_path, ensemble, augment=changed, similarity_steps=steps, tokens_per_step=900)
        prepared = prepare_distillation(config, Silent())
        before = {name: each.clone() for name, each in prepared.teacher.state_dict().items()}
        training = taught(prepared, tmp_path / f"o{steps}")
        assert all(torch.equal(each, before[name]) for name, each in prepared.teacher.state_dict().items())
        asked = training.objective.teacher
        assert isinstance(asked, AskedForSimilarity)
        # In an epoch that neither has seen.
        batch = training.examples.batch(np.arange(30), np.full(30, 99))
        directions = asked(batch)[:, -256:]
        torch.testing.assert_close(directions.norm(dim=1), torch.ones(60))
        logits = directions[1::2] @ directions[::2].T / 0.5
        return float(torch.nn.functional.cross_entropy(logits, torch.arange(30))), asked

    (short, _), (long, asked) = lost(1), lost(40)
    assert long < short - 0.5 and abs(short - np.log(30)) < 0.4
    assert not any(parameter.requires_grad for parameter in asked.parameters())


def test_a_teacher_says_the_same_whether_it_is_asked_for_projections_or_not(ensemble: Path, tmp_path: Path) -> None:
    prepared = prepare_distillation(config_of(tmp_path, ensemble), Silent())
    training = taught(prepared, tmp_path / "o")
    asked = training.objective.teacher
    batch = training.examples.batch(np.arange(6), np.zeros(6, np.int64))
    said, pooled = asked.said_and_pooled(batch)
    assert torch.equal(said, prepared.teacher(batch)) and torch.equal(said, asked(batch)[:, :3])
    first, second = prepared.teacher.members
    hidden = [each.body(batch.inputs, batch.boundaries).detach() for each in (first, second)]
    rows = torch.cat([each[(batch.segments == 4) & batch.residues].mean(0) for each in hidden])
    torch.testing.assert_close(pooled[4], rows)
    assert not first.body._forward_hooks
    # Nor does it matter who else is in the batch.
    alone = training.examples.batch(np.array([2]), np.array([0]))
    torch.testing.assert_close(asked(alone), asked(batch)[4:6], rtol=1e-4, atol=1e-5)


def test_a_module_is_read_back_only_when_it_is_whole_and_of_the_same(ensemble: Path, tmp_path: Path) -> None:
    def module_of(**more: Any) -> tuple[dict[str, Tensor], bool]:
        prepared, listener = prepare_distillation(config_of(tmp_path, ensemble, **more), Silent()), Listening()
        objective: Any = _as_taught(prepared, tmp_path / "o", listener).training.objective
        return dict(objective.teacher.projecting.state_dict()), "is that of" in listener.text

    def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
        return all(torch.equal(one[name], other[name]) for name in one)

    first, was_read = module_of()
    assert not was_read
    second, was_read = module_of()
    assert was_read and same(first, second)
    path = tmp_path / "o/similarity/module.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    third, was_read = module_of()
    assert not was_read and same(first, third), "drawn and trained by the seed"
    assert module_of(tokens_per_microbatch=40)[1]
    other, was_read = module_of(similarity_steps=5)
    assert not was_read and not same(first, other)
    path.write_bytes(b"nonsense")
    assert not module_of()[1]


def test_how_steps_are_cut_changes_neither_module_nor_gradients(ensemble: Path, tmp_path: Path) -> None:
    found = []
    for tokens in (100_000, 60):
        config = config_of(tmp_path, ensemble, tokens_per_microbatch=tokens, dropout=0.0)
        prepared = prepare_distillation(config, Silent())
        training = taught(prepared, tmp_path / str(tokens))
        step = next(steps_from(training.examples, training.tokens_per_step, 0, 1))
        batches = list(Microbatches(step, training.examples, MicrobatchBudget(tokens)))
        optimizer = training.optimizer.build(training.network)
        loop = replace(training.loop, regularizers=())
        report = next(
            iter(train_steps(training.network, training.objective, [batches], optimizer, training.schedule, loop))
        )
        gradients = {name: each.grad for name, each in training.network.named_parameters() if each.grad is not None}
        assert any("head.module" in name for name in gradients)
        modules = load_file(tmp_path / str(tokens) / "similarity/module.safetensors")
        found.append((report.loss, gradients, modules, len(batches)))
    (loss, gradients, modules, one), (other, their_gradients, their_modules, several) = found
    assert one == 1 < several and loss == pytest.approx(other, rel=1e-4)
    for mine, theirs in ((modules, their_modules), (gradients, their_gradients)):
        for name, each in mine.items():
            torch.testing.assert_close(each, theirs[name], rtol=1e-3, atol=2e-5)


def test_a_head_is_put_back_and_others_stay(ensemble: Path, tmp_path: Path) -> None:
    prepared = prepare_distillation(config_of(tmp_path, ensemble), Silent())
    network = prepared.job.training.network
    assert isinstance(network, Network)
    head = network.head
    without_module(network)
    assert network.head is head
    taught(prepared, tmp_path / "o")
    assert isinstance(network.head, ComparedHead)
    without_module(network)
    assert network.head is head


def test_a_step_without_a_second_sequence_is_refused(ensemble: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--tokens-per-step 30: --similarity .* take up to 44 tokens"):
        prepare_distillation(config_of(tmp_path, ensemble, tokens_per_step=30), Silent())


def test_it_learns_the_similarities_of_its_teacher_because_it_is_asked_to(ensemble: Path, tmp_path: Path) -> None:
    found = []
    for weight in (20.0, 1e-6):
        given = {"steps": 20, "learning_rate": 3e-3, "similarity_steps": 20, "tokens_per_step": 500}
        config = config_of(tmp_path, ensemble, similarity=weight, **given)
        distill(replace(config, output=str(tmp_path / f"s{weight}")), Silent())
        rows = [json.loads(line) for line in (tmp_path / f"s{weight}/metrics.jsonl").read_text().splitlines()]
        found.append(np.mean([row["similarity_divergence"] for row in rows if row["event"] == "train"][-5:]))
    assert found[0] < 0.9 * found[1]


def test_a_full_disk_is_told(ensemble: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*given: Any, **more: Any) -> None:
        raise OSError(28, "No space left on device")

    prepared = prepare_distillation(config_of(tmp_path, ensemble), Silent())
    monkeypatch.setattr("seqtrain.recipes.similarity.save_file", full)
    with pytest.raises(RunError, match="No space left"):
        taught(prepared, tmp_path / "o")
    assert not (tmp_path / "o/similarity").exists()
