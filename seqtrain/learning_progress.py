"""The loss on some examples as it is now: taken before and after an update, it says what the update taught."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from seqtrain.batch import Batch, joined
from seqtrain.buffers import copied_buffers, restore_buffers
from seqtrain.draws import Draws
from seqtrain.objectives import Changing, Objective, Score
from seqtrain.training import LoopConfig, add_scores, autocast, forward_and_score, seed_dropout


@torch.no_grad()
def loss_now(model: nn.Module, objective: Objective, batches: Iterable[Batch], config: LoopConfig, step: int) -> float:
    """Mean loss on some examples, nan if nothing is scored, with the noise and dropout of the update ``step``.

    So what differs between two calls of one step is what the weights have learnt in between. Gradients, running
    statistics and the mode of the model stay as they are.
    """
    modes = {module: module.training for module in model.modules()}
    model.train()
    if config.freezing is not None:
        config.freezing(model, step)
    current = objective.at_step(step) if isinstance(objective, Changing) else objective
    buffers = copied_buffers(model)
    total = Score(torch.zeros((), device=config.device), torch.zeros((), device=config.device))
    whole, outputs = [], []
    for number, cpu_batch in enumerate(batches):
        batch = cpu_batch.to(config.device)
        seed_dropout(config, step, number)
        if current.separable:
            score = forward_and_score(model, current, batch, config)
            total = total if score is None else add_scores(total, score)
            continue
        whole.append(current.prepare(batch, Draws(batch.keys)))
        with autocast(config.device, config.precision):
            outputs.append(model(whole[-1]))
    if whole:
        total = current.score(torch.cat(outputs), joined(whole))
    restore_buffers(model, buffers)
    for module, mode in modes.items():
        module.training = mode
    return float(total.loss) / (float(total.count) or math.nan)
