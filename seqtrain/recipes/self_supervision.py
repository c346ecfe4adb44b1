"""From words to what a pretraining asks of a network: the objective, the head that answers, and what is measured."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from seqtrain.alphabet import Alphabet
from seqtrain.batching import Examples
from seqtrain.config import PretrainConfig
from seqtrain.errors import InputError
from seqtrain.inference import evaluation_batches, tokens_per_batch
from seqtrain.models.network import BodyConfig, HeadConfig
from seqtrain.objectives import SelfSupervised
from seqtrain.recipes.networks import Origin, lm_head_config
from seqtrain.training import LoopConfig, mean_score
from seqtrain.words import read_words


def objective_of(config: PretrainConfig, alphabet: Alphabet, num_steps: int) -> SelfSupervised:
    """What a pretraining of so many steps asks.

    Raises:
        InputError: words that name no objective or do not fit it.
    """
    given = {"alphabet": alphabet, "num_steps": num_steps}
    if config.masked_fraction is not None:
        given["masked_fraction"] = config.masked_fraction
    try:
        objective: SelfSupervised = read_words(config.objective, SelfSupervised, "objective", given=given)[0]
    except InputError as error:
        raise InputError(f"--objective {config.objective}: {error}") from None
    if config.masked_fraction is not None and not hasattr(objective, "masked_fraction"):
        raise InputError(
            f"--masked-fraction {config.masked_fraction:g}: {config.objective} masks nothing; leave it out"
        )
    return objective


def head_for(objective: SelfSupervised, origin: Origin | None, fresh: BodyConfig | None) -> HeadConfig:
    """The head that answers an objective, on the origin's body or on a fresh one."""
    return lm_head_config(origin, fresh)


def self_supervised_measures(
    network: torch.nn.Module, objective: SelfSupervised, examples: Examples, loop: LoopConfig
) -> dict[str, float]:
    """The mean loss and measures of held-out sequences; of letters also the perplexity, which is its exponential."""
    batches = evaluation_batches(examples, tokens_per_batch(loop.device, loop.precision))
    loss, measures = mean_score(network, objective, batches, loop)
    if not objective.predicts_letters:
        return {"loss": loss, **measures}
    return {"loss": loss, "perplexity": float(np.exp(loss)), "accuracy": measures.get("accuracy", float("nan"))}


def outcome(objective: SelfSupervised, measures: Mapping[str, float], unigram_perplexity: float) -> str:
    """What was reached on held-out sequences, as half a sentence."""
    if objective.predicts_letters:
        return (
            f"held-out perplexity {measures['perplexity']:.2f} (letter frequencies alone: {unigram_perplexity:.2f}), "
            f"masked accuracy {measures['accuracy']:.3f}"
        )
    return "held-out " + ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in measures.items())
