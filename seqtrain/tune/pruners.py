"""When a trial that does worse than others is ended early."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from seqtrain.errors import InputError
from seqtrain.words import read_words

if TYPE_CHECKING:
    from optuna.pruners import BasePruner


@dataclass(frozen=True, kw_only=True)
class Median:
    """A trial ends whose best score so far is worse than the median of the others at the same evaluation (Golovin et
    al. 2017, the median stopping rule)."""

    startup: int = 5
    """Trials that come to their end first."""
    warmup: int = 2
    """First evaluations of each trial, at which it is not ended."""

    def __post_init__(self) -> None:
        for name in ("startup", "warmup"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; give a whole number, at least 0")

    def pruner(self, num_evaluations: int) -> BasePruner:
        from optuna.pruners import MedianPruner

        return MedianPruner(n_startup_trials=self.startup, n_warmup_steps=self.warmup + 1)


@dataclass(frozen=True, kw_only=True)
class Hyperband:
    """Successive halving at several degrees of haste (Li et al. 2018); its resource is the evaluations of a trial."""

    reduction: int = 3
    """Of so many trials one goes on."""

    def __post_init__(self) -> None:
        if self.reduction < 2:
            raise ValueError(f"reduction is {self.reduction}; give a whole number of at least 2, such as 3")

    def pruner(self, num_evaluations: int) -> BasePruner:
        from optuna.pruners import HyperbandPruner

        return HyperbandPruner(min_resource=1, max_resource=num_evaluations, reduction_factor=self.reduction)


Pruner = Median | Hyperband


def read_pruner(words: str | None, *, num_objectives: int, num_evaluations: int) -> Pruner | None:
    """A pruner in words; None for ``none``, and by itself where there are several objectives or one evaluation.

    Raises:
        InputError: an unknown name, field or value; a pruner that would have nothing to go by.
    """
    if words == "none" or (words is None and (num_objectives > 1 or num_evaluations < 2)):
        return None
    said = f"--pruner {words}"
    if num_objectives > 1:
        raise InputError(f"{said}: with several objectives nobody knows which trial does worse; leave it or --also out")
    if num_evaluations < 2:
        raise InputError(
            f"{said}: a trial has {num_evaluations} evaluation, at its end, which is too late to end it early; raise "
            "--num-evaluations, or give --pruner none"
        )
    try:
        pruner: Pruner = read_words(words or "median", Pruner, "pruner")[0]
    except InputError as error:
        raise InputError(f"{said}: {error}") from None
    return pruner
