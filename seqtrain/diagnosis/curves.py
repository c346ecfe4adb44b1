"""What the curves of a training say of its rate, of what was learnt, of under- and overfitting and of capacity."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqtrain.diagnosis.remarks import Remark, fine, note, shown, warning

RATE, LEARNT, FITTED, CAPACITY = "learning rate", "learning", "fit", "capacity"
LABELS = "labels"
_DIVERGED = 1.15
"""Times the loss of a guess, at the end."""
_LEARNT = 0.97
_JUMP = 2.0
_JUMPS = 0.05
_TURNED = 1.05
_FALLING = 0.03
_PLATEAU = 0.01
_MUCH = 0.1
_CLEARLY = 2.0
"""Standard errors."""
_END_FRACTION = 0.1
_LEAST = 8


@dataclass(frozen=True, kw_only=True)
class Curves:
    """The losses of a training, and those of the best answer that is the same for all."""

    train_steps: NDArray[np.float64]
    """(P,)."""
    train: NDArray[np.float64]
    """(P,) of single steps."""
    valid_steps: NDArray[np.float64]
    """(E,)."""
    valid: NDArray[np.float64]
    """(E,) of all validation records."""
    train_guess: float = math.nan
    valid_guess: float = math.nan

    @classmethod
    def of(cls, events: Sequence[Mapping[str, Any]], *, train_guess: float, valid_guess: float) -> Curves:
        """From the events of ``metrics.jsonl``."""

        def column(event: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
            pairs = [(each["step"], each["loss"]) for each in events if each["event"] == event and _known(each)]
            both = np.array(pairs, np.float64).reshape(-1, 2)
            return both[:, 0], both[:, 1]

        (train_steps, train), (valid_steps, valid) = column("train"), column("valid")
        return cls(
            train_steps=train_steps,
            train=train,
            valid_steps=valid_steps,
            valid=valid,
            train_guess=train_guess,
            valid_guess=valid_guess,
        )

    @property
    def end(self) -> float:
        """Median training loss of the last tenth of the steps, at least of three."""
        return _middle(self.train[-max(3, int(len(self.train) * _END_FRACTION)) :])

    @property
    def has_learnt(self) -> bool:
        """Whether the training loss fell below that of a guess."""
        return self.end < _LEARNT * self.train_guess


@dataclass(frozen=True, kw_only=True)
class Gain:
    """How much lower the loss of each validation record is than by a guess."""

    mean: float
    error: float
    """Standard error of the mean."""
    guess: float
    """Mean loss by the guess."""

    @classmethod
    def of(cls, losses: NDArray[np.float64], guesses: NDArray[np.float64]) -> Gain:
        """From the losses (N,) of records by the network and by the guess."""
        gains = (guesses - losses)[np.isfinite(guesses - losses)]
        if len(gains) < 2:
            return cls(mean=math.nan, error=math.nan, guess=math.nan)
        error = float(gains.std(ddof=1) / math.sqrt(len(gains)))
        return cls(mean=float(gains.mean()), error=error, guess=float(np.nanmean(guesses)))

    @property
    def is_clear(self) -> bool:
        """Whether the network is better by more than chance explains, or by so much that few records suffice."""
        return self.mean > _CLEARLY * self.error or self.mean > max(self.error, _MUCH * self.guess)


def judge_rate(curves: Curves) -> Remark:
    """Whether the loss diverged or jumped."""
    losses, guess = curves.train, curves.train_guess
    if len(losses) < _LEAST or not math.isfinite(guess):
        return fine(RATE, f"{len(losses)} logged steps say nothing of the rate")
    end = curves.end
    if end > _DIVERGED * guess and end > _DIVERGED * _middle(losses[:3]) - 0.1 * guess:
        return warning(
            RATE,
            f"the training loss ends at {shown(end)}, above the {shown(guess)} of a guess: the learning rate is too "
            "high",
            "divide --learning-rate by 10 to 100, or let --learning-rate auto find it",
            end / guess,
        )
    jumps = sum(
        losses[place] > _JUMP * _middle(losses[max(0, place - 5) : place]) and losses[place] > _DIVERGED * guess
        for place in range(3, len(losses))
    )
    if jumps > _JUMPS * len(losses):
        return warning(
            RATE,
            f"in {jumps} of {len(losses)} logged steps the loss jumped to more than twice that of the steps before: "
            "the learning rate is too high",
            "divide --learning-rate by 3 to 10, or warm up for longer",
            jumps / len(losses),
        )
    return fine(
        RATE, f"the training loss ends at {shown(end)} and a guess has {shown(guess)}; it jumped {jumps} times", end
    )


def judge_learning(curves: Curves, gain: Gain | None, labels_above_chance: float | None) -> Remark:
    """Whether anything was learnt, and if nothing was, whether there was anything to learn.

    Args:
        gain: on the validation records; None: there are none.
        labels_above_chance: standard deviations, of a simple model, see :func:`seqtrain.diagnosis.labels_of_sequences`.
    """
    if not len(curves.train) or not math.isfinite(curves.train_guess):
        return fine(LEARNT, "there is nothing to compare the loss with")
    end, guess = curves.end, curves.train_guess
    said = f"the training loss went from {shown(curves.train[0])} to {shown(end)}, and a guess has {shown(guess)}"
    better = gain is None or gain.is_clear or math.isnan(gain.mean)
    if curves.has_learnt and better:
        return fine(LEARNT, said, end)
    if gain is not None and not better:
        how = "less" if gain.mean >= 0 else "more"
        said += (
            f"; validation records lose {shown(abs(gain.mean))} ± {shown(gain.error)} {how} than by the best answer "
            f"that is the same for all, which is not{' clearly' if gain.mean >= 0 else ''} better"
        )
        if labels_above_chance is not None and labels_above_chance < _CLEARLY + 0.6:
            return warning(
                LABELS,
                f"{said}, and a simple model finds nothing either ({labels_above_chance:+.1f} standard deviations): "
                "the labels look as if they were shuffled, or do not depend on the sequences",
                "look whether labels and sequences belong to the same rows",
                labels_above_chance,
            )
    if curves.has_learnt:
        return warning(
            LEARNT,
            f"{said}: what was learnt holds for the training records only",
            "regularise more (--dropout, --augment), take a smaller --size or a pretrained model, or get more records",
            end,
        )
    if better:
        return note(LEARNT, f"{said}: next to nothing was learnt of the training records", "train for longer", end)
    advice = "train for longer, raise --learning-rate or let --learning-rate auto find it, and look at other warnings"
    return warning(LEARNT, f"{said}: nothing was learnt", advice, end)


def judge_fit(curves: Curves) -> Remark:
    """Whether the training was too short or too long, from the trend and from where validation turned."""
    train, valid = curves.train, curves.valid
    if len(train) < _LEAST:
        return fine(FITTED, f"{len(train)} logged steps say nothing of the trend")
    third = max(1, len(train) // 3)
    before, after = _middle(train[-2 * third : -third]), _middle(train[-third:])
    fall = (before - after) / max(abs(before), 1e-12)
    if len(valid) > 2:
        lowest = int(np.nanargmin(valid))
        if lowest < len(valid) - 1 and valid[-1] > _TURNED * valid[lowest]:
            return note(
                FITTED,
                f"validation turned at step {curves.valid_steps[lowest]:.0f} of {curves.valid_steps[-1]:.0f} (loss "
                f"{shown(valid[lowest])}, {shown(valid[-1])} at the end, training {shown(after)}): overfitting from "
                "there",
                "--stop-early patience saves the rest; more --dropout, --augment or records push the turn back",
                float(valid[-1] / valid[lowest]),
            )
    if fall > _FALLING:
        return note(
            FITTED,
            f"the training loss still fell by {fall:.0%} over the last third: the training was too short "
            "(underfitting)",
            "train for longer (--epochs, --steps), or raise --learning-rate",
            fall,
        )
    return fine(FITTED, f"the training loss has settled at {shown(after)}", after)


def judge_capacity(curves: Curves, num_parameters: int, num_targets: int) -> Remark:
    """Parameters beside what they are fitted to, and whether a plateau asks for more of them.

    Args:
        num_targets: labels in the training set, or letters of a pretraining.
    """
    ratio = num_parameters / max(num_targets, 1)
    said = f"{num_parameters:,} trained parameters for {num_targets:,} training targets, {shown(ratio)} for each"
    if len(curves.train) < _LEAST or not len(curves.valid) or not math.isfinite(curves.train_guess):
        return fine(CAPACITY, said, ratio)
    third = max(1, len(curves.train) // 3)
    before, after = _middle(curves.train[-2 * third : -third]), _middle(curves.train[-third:])
    gap = (curves.valid[-1] - after) / max(abs(after), 1e-12)
    if abs(before - after) < _PLATEAU * abs(before) and gap < 0.05 and after > 0.3 * curves.train_guess:
        return note(
            CAPACITY,
            f"{said}; both losses have settled at {shown(after)}, far from 0 and alike",
            "if labels are not that noisy, a larger --size may learn more",
            ratio,
        )
    if ratio > 1000 and gap > 1:
        return note(
            CAPACITY,
            f"{said}; validation is at {shown(curves.valid[-1])} and training at {shown(after)}",
            "a smaller --size, or --from a pretrained model with --freeze or --lora, may lose less",
            ratio,
        )
    return fine(CAPACITY, said, ratio)


def _known(event: Mapping[str, Any]) -> bool:
    return event.get("loss") is not None


def _middle(values: NDArray[np.float64]) -> float:
    return float(np.median(values)) if len(values) else math.nan
