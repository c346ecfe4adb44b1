"""Where numbers stop to be finite: in weights, in what comes in, in a layer, or in the loss."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor, nn

from seqtrain.batch import Batch
from seqtrain.diagnosis.copies import borrowed, device_of, scored
from seqtrain.diagnosis.remarks import Remark, fine, some, warning
from seqtrain.objectives import Objective

CHECK = "not finite"
_MAY_BE_NAN = ("targets", "other_targets")
"""Where nan says that there is no target."""


@torch.no_grad()
def not_finite(network: nn.Module, objective: Objective, batch: Batch) -> Remark:
    """Name the first place at which something is nan or infinite: weights, inputs, a layer, the loss."""
    bad = {name: int((~each.isfinite()).sum()) for name, each in _numbers(network) if not bool(each.isfinite().all())}
    if bad:
        listed = some(f"{name} holds {count:,}" for name, count in bad.items())
        return warning(
            CHECK,
            f"the weights are not all finite: {listed} of nan or infinity",
            "take another checkpoint or model; where training did it, lower --learning-rate",
            float(sum(bad.values())),
        )
    if problem := _in_batch(batch):
        return warning(CHECK, f"the inputs are not all finite: {problem}", "correct these records in the table")
    first: list[str] = []
    with ExitStack() as stack:
        stack.enter_context(borrowed(network))
        for name, module in network.named_modules():
            stack.callback(module.register_forward_hook(_watch(name or "the network", first)).remove)
        score = scored(network, objective, batch.to(device_of(network)))
    if first:
        return warning(
            CHECK,
            f"the output of {first[0]} is not finite although weights and inputs are",
            "look for a logarithm of 0, a division by 0 or numbers beyond 3e38 in that layer; --precision fp32",
        )
    if score is not None and not bool(torch.isfinite(score.loss)):
        return warning(
            CHECK,
            f"the loss is {float(score.loss):g} although all outputs are finite",
            "look at the loss and its settings, and at targets that it cannot take, such as log of 0",
        )
    return fine(CHECK, "weights, inputs, outputs of all layers and the loss are finite")


def _numbers(network: nn.Module) -> list[tuple[str, Tensor]]:
    both = [*network.named_parameters(), *network.named_buffers()]
    return [(name, each) for name, each in both if each.is_floating_point()]


def _in_batch(batch: Batch) -> str:
    """The first field with a bad number, and the records that have it; "" when all are good."""
    for field in fields(batch):
        value = getattr(batch, field.name)
        if value is None or not value.is_floating_point():
            continue
        bad = value.isinf() if field.name in _MAY_BE_NAN else ~value.isfinite()
        if not bool(bad.any()):
            continue
        whose = "" if len(value) != len(batch) else f" of records {some(_records(batch, bad))}"
        return f"{int(bad.sum()):,} of the {field.name.replace('_', ' ')}{whose}"
    return ""


def _records(batch: Batch, bad: Tensor) -> list[str]:
    return [str(record) for record in batch.records[bad.reshape(len(batch), -1).any(dim=1).cpu()].tolist()]


def _watch(name: str, first: list[str]) -> Any:
    def look(module: nn.Module, arguments: Any, result: Any) -> None:
        # Inner modules return before outer ones, so that the first one is the place itself.
        if first or not isinstance(result, Tensor) or not result.is_floating_point():
            return
        if not bool(result.isfinite().all()):
            first.append(name)

    return look


def failed_update(network: nn.Module, problem: str) -> Remark:
    """What is known of an update that was refused since a loss or gradient was not finite.

    Args:
        network: with the gradients of that update.
        problem: the message of :class:`seqtrain.training.NotFinite`.
    """
    named = [(name, each.grad) for name, each in network.named_parameters() if each.grad is not None]
    bad = [name for name, gradient in named if not bool(gradient.isfinite().all())]
    where = f"; gradients that are not finite: {some(bad)}" if bad else ""
    return warning(
        CHECK,
        f"{problem.partition(';')[0]}{where}",
        "lower --learning-rate, look at the records that it names, or go on behind them with --on-nan rollback",
        float(len(bad)),
    )
