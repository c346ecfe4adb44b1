"""What is kept of a training: its checkpoints, and at the end the weights that are best."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.utils import parametrize

from seqtrain.averaging import AveragedWeights
from seqtrain.checkpoint import (
    Progress,
    checkpoint_of_step,
    is_sound,
    latest_checkpoint,
    load_checkpoint,
    purge_checkpoints,
    save_checkpoint,
)
from seqtrain.errors import RunError
from seqtrain.orders import ByProgress

if TYPE_CHECKING:
    from seqtrain.fitting import Listener, Training


@dataclass(frozen=True)
class Keeper:
    """Checkpoints of one training."""

    training: Training
    folder: Path
    optimizer: torch.optim.Optimizer
    average: AveragedWeights | None
    listener: Listener

    def save(self, progress: Progress) -> None:
        """Save everything, and remove what is no longer needed."""
        save_checkpoint(self.folder, self.training.network, self.optimizer, progress, self.average)
        purge_checkpoints(self.folder, progress)

    def resumed(self) -> Progress:
        """Load the newest sound checkpoint, if there is one."""
        path, damaged = latest_checkpoint(self.folder)
        for other in damaged:
            self.listener.say(f"{other}: damaged, passed over")
        if path is None:
            return Progress(step=0, position=0)
        progress = load_checkpoint(path, self.training.network, self.optimizer, self.average)
        if progress.step > self.training.num_steps:
            raise RunError(f"{path}: is beyond the last step, {self.training.num_steps}; choose another -o")
        self.listener.say(f"continuing after step {progress.step} of {self.training.num_steps}")
        return progress


def finished(
    training: Training, saved: Path, progress: Progress, average: AveragedWeights | None, listener: Listener
) -> Progress:
    """Give the network the weights that are kept: the best ones if they are known, averaged if an average was taken."""
    if progress.stopped is not None:
        listener.say(f"stopped after step {progress.step} of {training.num_steps}: {progress.stopped}")
    order = training.examples.order
    if isinstance(order, ByProgress) and progress.bandit is not None:
        shown = zip(order.names, progress.bandit.consumed, strict=True)
        listener.say(f"curriculum: examples shown of {', '.join(f'{name} {count:,}' for name, count in shown)}")
    if progress.best_step not in (None, progress.step):
        _load_best(checkpoint_of_step(saved, int(progress.best_step or 0)), training.network, average)
        listener.say(f"the weights of step {progress.best_step} were the best on the validation records and are kept")
    if average is not None:
        average.copy_to(training.network)
    _fold_parametrizations(training.network)
    return progress


def _fold_parametrizations(network: nn.Module) -> None:
    """Make plain weights of those that are computed from others, such as normalised ones; outputs stay the same."""
    for module in network.modules():
        if parametrize.is_parametrized(module):
            for name in list(module.parametrizations):  # type: ignore[arg-type]
                parametrize.remove_parametrizations(module, name, leave_parametrized=True)


def _load_best(path: Path, network: nn.Module, average: AveragedWeights | None) -> None:
    if not is_sound(path):
        raise RunError(f"{path}: the best weights are damaged; pass --overwrite to train anew")
    load_checkpoint(path, network, None, average)
