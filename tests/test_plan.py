"""A plan against the training that it is of: its steps, its checkpoints, its arithmetic, its estimate of memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import seqtrain.plan
from seqtrain.alphabet import PROTEIN
from seqtrain.averaging import EMA
from seqtrain.batching import steps_from
from seqtrain.errors import RunError
from seqtrain.fitting import Silent, Training, fit
from seqtrain.memory_use import PeakMemory, free_bytes
from seqtrain.models.cnn import CNNConfig
from seqtrain.models.heads import LanguageModelHeadConfig
from seqtrain.models.network import build
from seqtrain.objectives import MaskedLM
from seqtrain.optimizers import AdamW
from seqtrain.plan import Largest, plan_training
from seqtrain.recipes.plan import PlannedRun, duration, plan_rows, size
from seqtrain.schedules import BatchGrowth, Constant, batch_factor_at, shortened
from seqtrain.training import LoopConfig
from tests.corpora import examples_of, proteins

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two measured steps are enough where no time is looked at."""
    monkeypatch.setattr(seqtrain.plan, "_MEASURED_SECONDS", 0.0)


def _training(**fields: Any) -> Training:
    torch.manual_seed(3)
    training = Training(
        network=build(CNNConfig(width=16, depth=1), LanguageModelHeadConfig()),
        objective=MaskedLM(PROTEIN),
        examples=examples_of(proteins([10 + i % 20 for i in range(40)])),
        optimizer=AdamW(learning_rate=1e-3),
        schedule=Constant(num_steps=9),
        loop=LoopConfig(device=CPU),
        num_steps=9,
        tokens_per_step=120,
        tokens_per_microbatch=60,
        num_evaluations=4,
        evaluate=lambda: {"loss": 1.0},
        judged_by="loss",
    )
    return replace(training, **fields)


def test_steps_and_checkpoints_are_those_of_the_training(tmp_path: Path) -> None:
    calls: list[None] = []

    def evaluate() -> dict[str, float]:
        calls.append(None)
        return {"loss": 1.0 / len(calls)}

    def training() -> Training:
        calls.clear()
        return _training(averaging=EMA(decay=0.9), keep_best=True, evaluate=evaluate)

    plan = plan_training(training())
    progress = fit(training(), tmp_path, Silent())
    assert plan.num_steps == progress.step and plan.num_evaluations == len(calls)
    checkpoints = sorted((tmp_path / "checkpoints").iterdir())
    assert len(checkpoints) + 1 <= plan.num_checkpoints == 4
    for folder in checkpoints:
        written = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
        # Beyond the tensors a file has its header.
        assert plan.checkpoint_bytes < written < plan.checkpoint_bytes + 12_000


def test_arithmetic() -> None:
    plan = plan_training(_training(), range_test_steps=100)
    assert plan.relative_work == 1 and plan.num_measured == 2
    assert plan.steps_seconds == pytest.approx(9 * plan.seconds_per_step)
    assert plan.range_test_seconds == pytest.approx(100 * plan.seconds_per_step)
    assert plan.seconds == pytest.approx(plan.steps_seconds + 5 * plan.evaluation_seconds + plan.range_test_seconds)
    assert plan.fastest_seconds <= plan.seconds_per_step * 1.01 and plan.fastest_seconds <= plan.slowest_seconds
    model = sum(tensor.numel() * tensor.element_size() for tensor in _training().network.state_dict().values())
    assert plan.model_bytes == model and plan.disk_bytes == 3 * plan.checkpoint_bytes + model


@pytest.mark.parametrize("num_steps", [1, 2, 3])
def test_trainings_of_few_steps(num_steps: int) -> None:
    plan = plan_training(_training(num_steps=num_steps, schedule=Constant(num_steps=num_steps), evaluate=dict))
    assert plan.num_measured == max(1, num_steps - 1) and plan.num_evaluations == 0
    assert plan.seconds == plan.steps_seconds


def test_growing_batches_count() -> None:
    schedule = shortened(BatchGrowth(num_steps=60))
    training = _training(schedule=schedule, num_steps=schedule.num_steps, tokens_per_step=400)
    plan = plan_training(training)
    steps = steps_from(training.examples, 400, 0, 0, growth=lambda step: batch_factor_at(schedule, step))
    tokens = [int(training.examples.num_tokens[next(steps).units].sum()) for _ in range(schedule.num_steps)]
    assert plan.relative_work > 1.5
    # Whole examples never quite fill a step.
    assert plan.relative_work == pytest.approx(sum(tokens) / len(tokens) / (sum(tokens[1:3]) / 2), rel=0.1)


def test_network_of_the_caller_is_measured_in_training_mode() -> None:
    modes: list[bool] = []
    training = _training()
    training.network.register_forward_pre_hook(lambda module, args: modes.append(module.training))
    plan_training(training)
    assert modes and all(modes)


class LinearMemory:
    """A process whose memory is a line in the tokens of the largest batch since it was asked anew."""

    since_start, before, what = False, 0, "made up"
    tokens = 0

    def __init__(self, device: torch.device) -> None:
        LinearMemory.tokens = 0

    def peak(self) -> int:
        return 7_000_000 + 100_000 * LinearMemory.tokens


@pytest.fixture
def _linear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seqtrain.plan, "PeakMemory", LinearMemory)


def _watched(**fields: Any) -> Training:
    training = _training(**fields)

    def note(module: torch.nn.Module, args: tuple[Any, ...]) -> None:
        LinearMemory.tokens = max(LinearMemory.tokens, len(args[0].inputs))

    training.network.register_forward_pre_hook(note)
    return training


@pytest.mark.usefixtures("_linear")
def test_estimate_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seqtrain.plan, "free_bytes", lambda device: 60_000_000)
    # 0.9 * 60 MB = 7 MB + 100 kB * tokens: 470 of the 860 tokens that there are.
    training = _watched(tokens_per_microbatch=120)
    found = plan_training(training).largest
    assert found is not None and not found.is_tried and not found.is_limit
    assert found.tokens == pytest.approx(470, abs=1)
    monkeypatch.setattr(seqtrain.plan, "free_bytes", lambda device: 10**12)
    total = int(training.examples.num_tokens.sum())
    assert plan_training(training).largest == Largest(tokens=total, is_tried=False, is_limit=True)
    monkeypatch.setattr(seqtrain.plan, "free_bytes", lambda device: None)
    assert plan_training(training).largest is None


def test_too_little_growth_tells_nothing() -> None:
    assert plan_training(_training()).largest is None


@pytest.mark.usefixtures("_linear")
def test_trials_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def trial(try_with: Callable[[int], None], start: int, limit: int, *, precision: int) -> int:
        for tokens in (start, limit):
            LinearMemory.tokens = 0
            try_with(tokens)
            tried.append(LinearMemory.tokens)
        return limit

    monkeypatch.setattr(seqtrain.plan, "largest_batch", trial)
    training = _watched()
    cuda = torch.device("cuda")
    optimizer = training.optimizer.build(training.network)
    found = seqtrain.plan._largest(training, optimizer, 60, cuda)
    total = int(training.examples.num_tokens.sum())
    assert found == Largest(tokens=total, is_tried=True, is_limit=True)
    # All of a trial is one microbatch.
    assert 40 < tried[0] <= 60 and tried[1] == total

    def never(try_with: Callable[[int], None], start: int, limit: int, *, precision: int) -> int:
        raise RunError("not even a batch of 1 fits into memory")

    monkeypatch.setattr(seqtrain.plan, "largest_batch", never)
    assert seqtrain.plan._largest(training, optimizer, 60, cuda) is None


def test_peak_memory_sees_what_is_gone() -> None:
    memory = PeakMemory(CPU)
    gone = torch.ones(50_000_000)
    del gone
    if memory.since_start:
        pytest.skip("this system does not forget the peak of a process")
    assert 190e6 < memory.peak() - memory.before < 300e6
    assert PeakMemory(CPU).peak() < memory.before + 50e6


def test_free_memory() -> None:
    free = free_bytes(CPU)
    assert free is None or 10**7 < free < 10**14


def test_rows_in_words() -> None:
    plan = replace(
        plan_training(_training()), seconds_per_step=2.0, evaluation_seconds=0.5, peak_bytes=3 * 10**9,
        largest=Largest(tokens=123_456, is_tried=False, is_limit=False),
    )  # fmt: skip
    run = PlannedRun(plan=plan, model="m", device=CPU, reading_seconds=1.0, store_bytes=10**6)
    rows = {name: (figure, how) for name, figure, how in plan_rows(run)}
    assert rows["steps"][0] == "9 of up to 120 tokens" and rows["time of the steps"][0] == "18 s"
    assert rows["time of evaluations"] == ("2.5 s", "5 of 0.50 s, one of them measured")
    assert rows["whole training"][0] == "21.5 s" and rows["peak memory"][0] == "3.00 GB"
    assert rows["largest microbatch"][0] == "about 123,456 tokens" and "not tried" in rows["largest microbatch"][1]
    assert "time of the range test" not in rows
    assert [duration(s) for s in (90, 600, 36_000, 864_000)] == ["90 s", "10 min", "10.0 h", "10.0 days"]
    assert [size(n) for n in (2_500_000, 2.5e9)] == ["2.5 MB", "2.50 GB"]
