"""What a pretraining on computed labels needs around the loop: statistics of the corpus, a start, and measures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from seqtrain.alphabet import Alphabet
from seqtrain.batching import Examples
from seqtrain.draws import Draws
from seqtrain.encode import Tokens
from seqtrain.errors import InputError
from seqtrain.evaluation.metrics import roc_auc
from seqtrain.fitting import Listener
from seqtrain.inference import evaluation_batches
from seqtrain.models.heads import PooledHead
from seqtrain.models.network import Network
from seqtrain.objectives import Pretext, SelfSupervised
from seqtrain.recipes.corpus import Corpus
from seqtrain.spans import Spans
from seqtrain.training import LoopConfig, autocast

_COUNTED = 5000
"""Records whose labels are looked at for their statistics, evenly spread over the corpus."""
_LETTERS_AT_ONCE = 65_536
CONSTANT_LOSS = "constant_loss"
"""The measure that says what a constant guess would have lost."""


def fitted_to(
    objective: SelfSupervised, corpus: Corpus, alphabet: Alphabet, max_length: int, listener: Listener
) -> SelfSupervised:
    """The objective with the statistics of the corpus, where it standardises by them; says which labels say nothing.

    Raises:
        InputError: all sequences have the same labels.
    """
    if not isinstance(objective, Pretext):
        return objective
    records = corpus.train[:: -(-len(corpus.train) // _COUNTED)]
    spans = Spans.windows(records, corpus.store.lengths[records], max_length)
    examples = Examples(store=corpus.store, spans=spans, encoder=Tokens(alphabet))
    values = torch.cat([objective.compute(batch) for batch in evaluation_batches(examples, _LETTERS_AT_ONCE)])
    try:
        fitted = objective.fitted(values)
    except InputError as error:
        raise InputError(f"--objective pretext: {error}") from None
    assert fitted.statistics is not None
    pairs = zip(fitted.labels, fitted.statistics.deviations, strict=True)
    constant = [label for (_, label), deviation in pairs if not deviation]
    if constant:
        listener.say(f"not asked for, as all sequences have the same: {', '.join(constant)}")
    return fitted


def start_at_constant_guess(network: Network, objective: SelfSupervised) -> None:
    """Let a fresh head answer what is best for a network that sees nothing, so that no steps are spent on that."""
    if isinstance(objective, Pretext) and isinstance(network.head, PooledHead):
        with torch.no_grad():
            network.head.output.bias.copy_(objective.constant_guess())


def pretext_facts(objective: SelfSupervised) -> dict[str, dict[str, dict[str, float]]]:
    """The labels and their statistics, for the record of a run; empty for other objectives."""
    if not isinstance(objective, Pretext) or objective.statistics is None:
        return {}
    rows = zip(objective.labels, objective.statistics.means, objective.statistics.deviations, strict=True)
    return {"labels": {label: {"mean": mean, "deviation": deviation} for (_, label), mean, deviation in rows}}


def pretext_measures(
    network: nn.Module, objective: Pretext, examples: Examples, loop: LoopConfig, tokens_at_once: int
) -> dict[str, float]:
    """The mean loss of held-out sequences beside that of a constant guess, and how well each property is known.

    Of numbers R², of motifs the area under the ROC curve, each the mean over the labels of a property that differ
    among these sequences; a constant guess has 0 and 0.5.
    """
    rows = list(_answers(network, objective, examples, loop, tokens_at_once))
    outputs, targets = (torch.cat(parts).double() for parts in zip(*rows, strict=True))
    shares = objective.shares().double()
    guess = objective.constant_guess().double().expand_as(outputs)
    losses = ((objective.losses(values, targets) * shares).sum(dim=1).mean() for values in (outputs, guess))
    measures = dict(zip(("loss", CONSTANT_LOSS), map(float, losses), strict=True))
    found: dict[str, list[float]] = {}
    for column, (name, _) in enumerate(objective.labels):
        value = _skill(name == "motifs", targets[:, column], outputs[:, column])
        if np.isfinite(value):
            found.setdefault(f"{'auc' if name == 'motifs' else 'r2'}_{name}", []).append(value)
    return measures | {name: float(np.mean(values)) for name, values in found.items()}


def constant_guesses(
    objective: SelfSupervised, measure: str, measures: Mapping[str, float]
) -> tuple[tuple[str, float], ...]:
    """What stands beside a measure of computed labels; nothing beside those of other objectives."""
    if not isinstance(objective, Pretext):
        return ()
    value = measures[CONSTANT_LOSS] if measure == "loss" else 0.5 if measure.startswith("auc_") else 0.0
    return (("constant guess", value),)


def pretext_outcome(measures: Mapping[str, float]) -> str:
    """What was reached on held-out sequences, as half a sentence."""
    skills = [
        f"{'area under the ROC curve' if name.startswith('auc_') else 'R²'} of {name.partition('_')[2]} {value:.3f}"
        for name, value in measures.items()
        if name.startswith(("r2_", "auc_"))
    ]
    loss = f"held-out loss {measures['loss']:.3f} (a constant guess: {measures[CONSTANT_LOSS]:.3f})"
    return ", ".join([loss, *skills])


def _answers(
    network: nn.Module, objective: Pretext, examples: Examples, loop: LoopConfig, tokens_at_once: int
) -> Iterator[tuple[Tensor, Tensor]]:
    was_training = network.training
    network.eval()
    try:
        with torch.inference_mode():
            for batch in evaluation_batches(examples, tokens_at_once):
                prepared = objective.prepare(batch.to(loop.device), Draws(batch.keys.to(loop.device)))
                with autocast(loop.device, loop.precision):
                    outputs = network(prepared)
                assert prepared.targets is not None
                yield outputs.float().cpu(), prepared.targets.cpu()
    finally:
        network.train(was_training)


def _skill(is_motif: bool, true: Tensor, predicted: Tensor) -> float:
    """R² of numbers, the area under the ROC curve of a motif; nan where all are the same."""
    known = ~true.isnan()
    true, predicted = true[known], predicted[known]
    if len(true) < 2 or bool((true == true[0]).all()):
        return float("nan")
    if is_motif:
        return float(roc_auc(true.numpy() > 0.5, predicted.numpy()))
    return float(1 - (true - predicted).square().sum() / (true - true.mean()).square().sum())
