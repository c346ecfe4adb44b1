"""The loss before the first step, beside that of a guess: ln C for C classes, the variance of standardised targets,
ln 20 for hidden residues."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from seqtrain.batch import Batch
from seqtrain.diagnosis.copies import borrowed, device_of
from seqtrain.diagnosis.remarks import Remark, fine, note, shown, warning
from seqtrain.draws import Draws
from seqtrain.losses import CrossEntropy
from seqtrain.objectives import Distillation, MaskedAutoencoder, MaskedLM, Objective, SpanMasking, Supervised

CHECK = "first loss"
_TOO_HIGH, _TOO_LOW = 1.5, 0.5
"""Times the loss of a guess."""
_LEAST = 0.3
"""Nats, or variances, above a guess that count."""


@torch.no_grad()
def first_loss(network: nn.Module, objective: Objective, batch: Batch, *, is_trained: bool = False) -> Remark:
    """Compare the loss of a network before its first step with that of an answer that knows nothing (Karpathy, CS231n
    notes on learning, "sanity checks").

    Args:
        is_trained: some of its weights come from an earlier training, so that a low loss is no wonder.
    """
    device = device_of(network)
    with borrowed(network):
        prepared = objective.prepare(batch.to(device), Draws(batch.keys.to(device)))
        if prepared.decode is not None and not len(prepared.decode):
            return note(CHECK, "nothing in the first batch is to be predicted", "look at labels and masks")
        outputs = network(prepared)
        score = objective.score(outputs, prepared)
    if not float(score.count):
        return note(CHECK, "nothing in the first batch is scored", "look at the labels, the masks and the weights")
    loss = float(score.loss) / float(score.count)
    unit = " nats" if _in_nats(objective) else ""
    if not math.isfinite(loss):
        return warning(CHECK, f"the loss of the first batch is {loss}", "see what is not finite", loss)
    guess, what = guess_of(objective, outputs, prepared)
    if guess is None or guess <= 0:
        return fine(CHECK, f"{shown(loss)}{unit}; there is no guess that this objective could be compared with", loss)
    said = f"the loss of the first batch is {shown(loss)}{unit}, and {what} = {shown(guess)} would be that of a guess"
    if loss > _TOO_HIGH * guess and loss - guess > _LEAST:
        return warning(
            CHECK,
            f"{said}: the network is sure of wrong answers before it has seen any",
            "its last layer starts too large, or the labels are not what they were when it was trained: try another "
            "--initialise, or look at the labels",
            loss,
        )
    if loss < _TOO_LOW * guess and not is_trained:
        return note(CHECK, f"{said}: it knows more than it can", "look whether labels are among the inputs", loss)
    return fine(CHECK, said, loss)


def guess_of(objective: Objective, outputs: Tensor, prepared: Batch) -> tuple[float | None, str]:
    """The loss of an answer that knows nothing, and what it is called; None for objectives that have none.

    Args:
        outputs: of a network for the batch, of which the shape counts.
    """
    if isinstance(objective, MaskedLM | SpanMasking | MaskedAutoencoder):
        letters = len(objective.alphabet.standard_ids)
        assert prepared.targets is not None
        known = f"{shown(_entropy(prepared.targets))} that of their frequencies here, and "
        return math.log(letters), f"{known}ln({letters})"
    if isinstance(objective, Distillation):
        # By its own score: of what the teacher says, a loss of equal chances is as far from 0 as the teacher is sure.
        score = objective.score(torch.zeros_like(outputs), prepared)
        return float(score.loss) / float(score.count), "the loss of equal chances for all, or of the mean,"
    if not isinstance(objective, Supervised):
        return None, ""
    score = objective.score(torch.zeros_like(outputs), prepared)
    if not float(score.count):
        return None, ""
    value = float(score.loss) / float(score.count)
    if isinstance(objective.loss, CrossEntropy) and math.isclose(value, math.log(outputs.shape[-1]), rel_tol=1e-3):
        return value, f"ln({outputs.shape[-1]})"
    if objective.loss.kind == "numbers":
        return value, "the loss of the mean, for squares the variance of the targets,"
    return value, "the loss of equal chances for all"


def _entropy(targets: Tensor) -> float:
    """Of the classes (M,) by their frequencies, in nats."""
    shares = torch.unique(targets, return_counts=True)[1].double() / len(targets)
    return float(-(shares * shares.log()).sum())


def _in_nats(objective: Objective) -> bool:
    if isinstance(objective, Supervised):
        return objective.loss.kind != "numbers"
    return isinstance(objective, MaskedLM | SpanMasking | MaskedAutoencoder)
