"""The only training loop: a generator of finished steps, around which the caller logs, evaluates, saves and stops."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from seqtrain.batch import Batch, joined
from seqtrain.buffers import copied_buffers, restore_buffers
from seqtrain.draws import Draws, generator_seed
from seqtrain.errors import RunError
from seqtrain.largest_batch import is_out_of_memory, release_memory
from seqtrain.objectives import Changing, Objective, Score
from seqtrain.regularization import ClipNorm, Regularizer
from seqtrain.schedules import History, Schedule, momentum_at, set_momentum

Precision = Literal["fp32", "bf16"]
OnNan = Literal["stop", "skip", "rollback"]
_MOST_SKIPPED = 10


class NotFinite(RunError):
    """A loss or gradient is nan or infinite; the update was not made."""


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """How steps are computed."""

    device: torch.device
    precision: Precision = "fp32"
    freezing: Freezing | None = None
    """None: what requires gradients at the start is trained in every step."""
    regularizers: tuple[Regularizer, ...] = (ClipNorm(),)
    """What is done to gradients before an update and to weights after it, in turn."""
    on_nan: OnNan = "stop"
    """What happens when a loss or gradient is not finite: stop; skip that update; or (in :func:`seqtrain.fitting.fit`)
    roll back to the last checkpoint and go on behind the step."""
    seed: int = 0
    name_of: Callable[[int], str] = str
    """What a record is called in messages."""
    warn: Callable[[str], None] = warnings.warn
    """Takes what went wrong and was put right."""


class Freezing(Protocol):
    """Which parameters are trained at each step."""

    def __call__(self, model: nn.Module, step: int) -> None:
        """Let the parameters of the model that the update after ``step`` updates is to change require gradients."""
        ...


@runtime_checkable
class Divisible(Protocol):
    """A step that can be cut into smaller microbatches."""

    def halve(self) -> int | None:
        """Tokens at once from now on; None where it cannot be cut any more."""
        ...


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """What one optimiser update did."""

    step: int
    """Updates done, this one included."""
    loss: float
    """Mean over everything scored in the step, before the update; nan where there was nothing."""
    measures: dict[str, float]
    """Means of the objective's other sums."""
    count: float
    """What the means were divided by."""
    gradient_norm: float
    """Before clipping."""
    learning_rate: float
    """Of the body."""
    num_records: int
    num_residues: int
    seconds: float
    skipped: bool = False
    """The loss or gradient was not finite, and the update was not made."""

    @property
    def has_loss(self) -> bool:
        """Whether anything was scored, and finite."""
        return not self.skipped and self.count > 0


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """Mixed precision for bf16 (Micikevicius et al. 2017), nothing for fp32."""
    return torch.autocast(device.type, dtype=torch.bfloat16) if precision == "bf16" else nullcontext()


def train_steps(
    model: nn.Module,
    objective: Objective,
    steps: Iterable[Iterable[Batch]],
    optimizer: torch.optim.Optimizer,
    schedule: Schedule,
    config: LoopConfig,
    *,
    first_step: int = 0,
    history: History = (),
) -> Iterator[StepReport]:
    """Train, one update per item of ``steps``, each a row of microbatches.

    Losses are summed over the microbatches and divided once by the sum of their counts, and an objective that is no sum
    over records scores all microbatches together, so the gradient is the same however the step is cut. Dropout draws
    from a generator seeded by (seed, step, microbatch).

    Args:
        first_step: updates already done; the schedule and the dropout go on from there.
        history: evaluations so far, for schedules that depend on them; the caller may go on appending to it.

    Raises:
        NotFinite: a loss or gradient is not finite; raised before the update, naming the step and the records, unless
            such updates are skipped, and then after ten in a row.
        RunError: a single sequence does not fit into memory.
    """
    num_skipped = 0
    for step, batches in enumerate(steps, start=first_step):
        started = time.perf_counter()
        model.train()
        if config.freezing is not None:
            config.freezing(model, step)
        current = objective.at_step(step) if isinstance(objective, Changing) else objective
        factor = schedule(step, history)
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * factor
        momentum = momentum_at(schedule, step)
        if momentum is not None:
            set_momentum(optimizer.param_groups, momentum)
        optimizer.zero_grad(set_to_none=True)
        buffers = copied_buffers(model)
        total, records, num_residues = _accumulate_in_memory(model, current, batches, config, step, buffers)
        count = float(total.count)
        loss = float(total.loss) / count if count else math.nan
        norm = _divide(model, count)
        is_finite = not count or (math.isfinite(loss) and math.isfinite(norm))
        num_skipped = 0 if is_finite else num_skipped + 1
        if not is_finite:
            problem = (
                f"step {step + 1}: loss {loss:.4g}, gradient norm {norm:.4g} at learning rate "
                f"{optimizer.param_groups[0]['lr']:.3g}, records {_some(records, config)}; the update was not made"
            )
            if config.on_nan != "skip" or num_skipped > _MOST_SKIPPED:
                raise NotFinite(f"{problem}; lower --learning-rate, or look at these records")
            restore_buffers(model, buffers)
            config.warn(problem)
        elif count:
            _update(model, optimizer, config, step)
        yield StepReport(
            step=step + 1,
            loss=loss,
            measures={name: float(value) / max(count, 1e-12) for name, value in total.sums.items()},
            count=count,
            gradient_norm=norm,
            learning_rate=optimizer.param_groups[0]["lr"],
            num_records=len(records),
            num_residues=num_residues,
            seconds=time.perf_counter() - started,
            skipped=not is_finite,
        )


def _accumulate_in_memory(
    model: nn.Module,
    objective: Objective,
    batches: Iterable[Batch],
    config: LoopConfig,
    step: int,
    buffers: list[Tensor],
) -> tuple[Score, list[int], int]:
    """:func:`_accumulate`; where memory runs out the step is computed again in smaller microbatches.

    Args:
        buffers: those of the model before the step.
    """
    while True:
        try:
            return _accumulate(model, objective, batches, config, step)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            tokens = batches.halve() if isinstance(batches, Divisible) else None
            if tokens is None:
                raise RunError(
                    f"step {step + 1}: out of memory with a single sequence at once; lower --max-length, "
                    "or take a smaller model"
                ) from None
        # Outside of the handler, where the error no longer holds on to the tensors of the failed attempt.
        model.zero_grad(set_to_none=True)
        restore_buffers(model, buffers)
        release_memory()
        config.warn(f"step {step + 1}: out of memory; computed again, and from now on, {tokens:,} tokens at once")


def _accumulate(
    model: nn.Module, objective: Objective, batches: Iterable[Batch], config: LoopConfig, step: int
) -> tuple[Score, list[int], int]:
    """Gradients of the summed loss over microbatches; sums, records and residues seen."""
    zero = torch.zeros((), device=config.device)
    total = Score(zero, zero)
    records: list[int] = []
    num_residues = 0
    whole: list[Batch] = []
    for number, cpu_batch in enumerate(batches):
        records += cpu_batch.records.tolist()
        num_residues += int(cpu_batch.residues.sum())
        if not objective.separable:
            whole.append(cpu_batch)
            continue
        seed_dropout(config, step, number)
        score = forward_and_score(model, objective, cpu_batch.to(config.device), config)
        if score is None:
            continue
        score.loss.backward()  # type: ignore[no-untyped-call]
        total = add_scores(total, score)
    if whole:
        total = add_scores(total, _accumulate_whole(model, objective, whole, config, step))
    return total, records, num_residues


def _accumulate_whole(
    model: nn.Module, objective: Objective, batches: Sequence[Batch], config: LoopConfig, step: int
) -> Score:
    """Gradients of a loss over the whole step, with the activations of one microbatch in memory at a time.

    Outputs are computed without a graph and scored together; the gradient of the score with respect to each output is
    then handed to the microbatch that it came from, which is computed again (Gao et al. 2021, arXiv:2101.06983).
    """
    prepared = [objective.prepare(batch.to(config.device), Draws(batch.keys.to(config.device))) for batch in batches]
    outputs, buffers = [], copied_buffers(model)
    for number, batch in enumerate(prepared):
        seed_dropout(config, step, number)
        with torch.no_grad(), autocast(config.device, config.precision):
            outputs.append(model(batch))
    together = torch.cat(outputs).requires_grad_()
    score = objective.score(together, joined(prepared))
    if not score.loss.requires_grad:
        return score
    (gradient,) = torch.autograd.grad(score.loss, together)
    restore_buffers(model, buffers)  # computed again from the same running statistics, which take each batch in once
    for number, (batch, part) in enumerate(zip(prepared, torch.split(gradient, [*map(len, outputs)]), strict=True)):
        seed_dropout(config, step, number)
        with autocast(config.device, config.precision):
            again = model(batch)
        again.backward(part)
    return score


def seed_dropout(config: LoopConfig, step: int, microbatch: int) -> None:
    """Let dropout draw as a function of the run's seed, the step and the number of the microbatch."""
    torch.manual_seed(generator_seed(config.seed, "dropout", step, microbatch))


def forward_and_score(model: nn.Module, objective: Objective, batch: Batch, config: LoopConfig) -> Score | None:
    """Prepare a batch, run the model and score it; None when nothing in the batch is to be predicted."""
    prepared = objective.prepare(batch, Draws(batch.keys))
    if prepared.decode is not None and len(prepared.decode) == 0:
        return None
    with autocast(config.device, config.precision):
        outputs = model(prepared)
    return objective.score(outputs, prepared)


def add_scores(total: Score, score: Score) -> Score:
    """Sum of two scores, without their gradients."""
    names = {*total.sums, *score.sums}
    zero = torch.zeros_like(total.count)
    return Score(
        total.loss + score.loss.detach(),
        total.count + score.count.detach(),
        {name: total.sums.get(name, zero) + score.sums.get(name, zero) for name in sorted(names)},
    )


def mean_score(
    model: nn.Module, objective: Objective, batches: Iterable[Batch], config: LoopConfig
) -> tuple[float, dict[str, float]]:
    """Mean loss and measures in evaluation mode, nan if nothing is scored; gives the mode of the model back."""
    was_training = model.training
    model.eval()
    zero = torch.zeros((), device=config.device, dtype=torch.float32)
    total = Score(zero, zero)
    try:
        with torch.inference_mode():
            for batch in batches:
                score = forward_and_score(model, objective, batch.to(config.device), config)
                total = total if score is None else add_scores(total, score)
    finally:
        model.train(was_training)
    count = float(total.count) or math.nan
    return float(total.loss) / count, {name: float(value) / count for name, value in total.sums.items()}


def _divide(model: nn.Module, count: float) -> float:
    """Divide the summed gradients by the count, once; returns their norm."""
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    if not gradients or not count:
        return 0.0
    torch._foreach_div_(gradients, count)
    return float(torch.nn.utils.get_total_norm(gradients))


def _update(model: nn.Module, optimizer: torch.optim.Optimizer, config: LoopConfig, step: int) -> None:
    """Regularise, and let the optimiser change the weights."""
    for regularizer in config.regularizers:
        regularizer.before_update(model, step)
    optimizer.step()
    rates = {parameter: float(group["lr"]) for group in optimizer.param_groups for parameter in group["params"]}
    for regularizer in config.regularizers:
        regularizer.after_update(model, step, rates)


def _some(records: list[int], config: LoopConfig) -> str:
    return ", ".join(map(config.name_of, records[:5])) + (" …" if len(records) > 5 else "")
