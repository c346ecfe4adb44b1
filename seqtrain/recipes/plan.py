"""What a pretraining, a finetuning or a distillation will take, measured before it is begun."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from seqtrain.config import DistillConfig, FinetuneConfig, PretrainConfig
from seqtrain.errors import InputError
from seqtrain.fitting import Listener, Training
from seqtrain.lr_range import RangeTest
from seqtrain.models.network import Network
from seqtrain.plan import Plan, plan_training
from seqtrain.recipes.distill import prepare_distillation
from seqtrain.recipes.features import computed_once
from seqtrain.recipes.finetuning import prepare_finetuning
from seqtrain.recipes.networks import describe
from seqtrain.recipes.pretraining import prepare_pretraining


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """A plan, and what the input of the run takes."""

    plan: Plan
    model: str
    """In words."""
    device: torch.device
    reading_seconds: float
    """From the command to the first step, measured."""
    store_bytes: int
    """Of the corpus in the run directory of a pretraining."""
    num_members: int = 1
    """Trainings like this one, where an ensemble is planned."""


def plan_run(config: PretrainConfig | FinetuneConfig, listener: Listener) -> PlannedRun:
    """Read the input as the training would, take a few steps, and forget them; nothing is left on the disk.

    Raises:
        InputError: input or options that cannot be used.
        RunError: a loss that is not finite, or a single sequence that does not fit into memory.
    """
    if config.steps == 0:
        raise InputError("--steps 0: there is no step to measure; leave it out")
    began = time.perf_counter()
    num_members = config.members if isinstance(config, FinetuneConfig) else 1
    if isinstance(config, FinetuneConfig) and num_members > 1:
        config = replace(config, members=1, member=0)
    with tempfile.TemporaryDirectory() as folder:
        if isinstance(config, FinetuneConfig):
            training = _prepared(config, listener)
        else:
            training = prepare_pretraining(config, listener, Path(folder))
        reading_seconds = time.perf_counter() - began
        store_bytes = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
        assert isinstance(training.network, Network)
        model = describe(training.network)
        listener.say(f"model: {model}")
        listener.say("measuring a few steps")
        test_steps = RangeTest().num_steps if config.learning_rate == "auto" else 0
        plan = plan_training(training, range_test_steps=test_steps)
    return PlannedRun(
        plan=plan,
        model=model,
        device=training.loop.device,
        reading_seconds=reading_seconds,
        store_bytes=store_bytes,
        num_members=num_members,
    )


def _prepared(config: FinetuneConfig, listener: Listener) -> Training:
    """The training on a table, that of a student with its teacher."""
    if isinstance(config, DistillConfig):
        return prepare_distillation(config, listener).job.training
    job = prepare_finetuning(config, listener)
    if computed_once(job):
        listener.say(
            "the frozen body will be run once, before the first step; the steps that are measured here run it each time"
        )
    return job.training


def plan_rows(run: PlannedRun) -> list[tuple[str, str, str]]:
    """What, how much, and how that is known."""
    plan = run.plan
    steps = f"{plan.num_steps:,} of up to {plan.tokens_per_step:,} tokens"
    mean = (
        f"mean of {plan.num_measured} measured ones, {plan.fastest_seconds:.3g} to {plan.slowest_seconds:.3g}; "
        f"without the first step of the run, {plan.warm_up_seconds:.3g} s"
    )
    rows = [
        ("steps", steps, f"{plan.tokens_per_microbatch:,} tokens at once"),
        ("seconds per step", f"{plan.seconds_per_step:.3g}", mean),
        ("residues per second", f"{plan.residues_per_second:,.0f}", "in these steps"),
        ("time of the steps", duration(plan.steps_seconds), _work(plan)),
        ("time of evaluations", duration(plan.num_evaluations * plan.evaluation_seconds), _evaluations(plan)),
    ]
    if plan.range_test_seconds:
        rows.append(("time of the range test", duration(plan.range_test_seconds), "at most, for --learning-rate auto"))
    rows += [
        ("whole training", duration(run.num_members * (plan.seconds + run.reading_seconds)), _whole(run)),
        (
            "peak memory",
            size(plan.peak_bytes),
            f"{plan.memory_of}, measured; {size(plan.growth_bytes)} of it came with the steps",
        ),
        ("largest microbatch", *_largest(plan, run.device)),
        ("disk", size(run.num_members * plan.disk_bytes + run.store_bytes), _disk(run)),
    ]
    return rows


def duration(seconds: float) -> str:
    """In the unit that suits it."""
    if seconds < 120:
        return f"{seconds:.3g} s"
    if seconds < 7200:
        return f"{seconds / 60:.3g} min"
    return f"{seconds / 3600:,.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:,.1f} days"


def size(num_bytes: float) -> str:
    """In MB or GB."""
    return f"{num_bytes / 1e9:,.2f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:,.1f} MB"


def _work(plan: Plan) -> str:
    if plan.relative_work == 1:
        return "steps × seconds per step"
    return f"steps × seconds per step × {plan.relative_work:.3g}, as batches grow with the schedule"


def _evaluations(plan: Plan) -> str:
    if not plan.num_evaluations:
        return "nothing is held out"
    return f"{plan.num_evaluations} of {plan.evaluation_seconds:.2f} s, one of them measured"


def _whole(run: PlannedRun) -> str:
    members = f"{run.num_members} members, each " if run.num_members > 1 else ""
    return f"{members}with {run.reading_seconds:.1f} s to read the input; checkpoints and the final scoring come on top"


def _largest(plan: Plan, device: torch.device) -> tuple[str, str]:
    found = plan.largest
    if found is None:
        return (
            "unknown",
            "too little memory was used to tell" if device.type == "cpu" else f"not known on {device.type}",
        )
    tokens = f"{found.tokens:,} tokens"
    if found.is_tried:
        return tokens, "tried" + (", and nothing larger was" if found.is_limit else " step by step; more runs out")
    how = "estimated from the memory of two sizes and what is free now, not tried"
    return (f"at least {tokens}" if found.is_limit else f"about {tokens}"), how


def _disk(run: PlannedRun) -> str:
    plan = run.plan
    parts = [f"up to {plan.num_checkpoints} checkpoints of {size(plan.checkpoint_bytes)}"]
    parts.append(f"the model {size(plan.model_bytes)}")
    if run.store_bytes:
        parts.append(f"the corpus {size(run.store_bytes)}")
    return (f"of each of {run.num_members} members " if run.num_members > 1 else "") + ", ".join(parts)
