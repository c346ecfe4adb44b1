"""From words to what a pretraining asks of a network: the objective, the head that answers, and what is measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from seqtrain.alphabet import Alphabet
from seqtrain.batching import Examples
from seqtrain.config import PretrainConfig
from seqtrain.errors import InputError
from seqtrain.inference import evaluation_batches, tokens_per_batch
from seqtrain.models.decoder_head import DecoderHeadConfig
from seqtrain.models.gated_transformer import GatedTransformerConfig
from seqtrain.models.heads import PooledHeadConfig
from seqtrain.models.network import BodyConfig, HeadConfig
from seqtrain.models.transformer import TransformerConfig
from seqtrain.objectives import Contrastive, Judged, MaskedAutoencoder, MaskedLM, Pretext, SelfSupervised
from seqtrain.recipes.contrast import check_views, contrastive_measures, projection_head
from seqtrain.recipes.networks import Origin, lm_head_config
from seqtrain.recipes.pretext_labels import pretext_measures, pretext_outcome
from seqtrain.training import LoopConfig, mean_score
from seqtrain.words import name_of, read_words


def objective_of(config: PretrainConfig, alphabet: Alphabet) -> SelfSupervised:
    """What a pretraining asks; :func:`for_steps` fits it to the steps, once they are known.

    Raises:
        InputError: words that name no objective or do not fit it.
    """
    given: dict[str, Any] = {"alphabet": alphabet}
    if config.masked_fraction is not None:
        given["masked_fraction"] = config.masked_fraction
    try:
        objective: SelfSupervised = read_words(config.objective, SelfSupervised, "objective", given=given)[0]
    except InputError as error:
        raise InputError(f"--objective {config.objective}: {error}") from None
    if config.masked_fraction not in (None, objective.masked_fraction):
        raise InputError(
            f"--objective {config.objective}: --masked-fraction says {config.masked_fraction:g}; keep one of them"
        )
    if isinstance(objective, MaskedLM) and objective.num_steps:
        raise InputError(f"--objective {config.objective}: num_steps is that of the training; leave it out")
    check_views(objective, config.objective, augmented=bool(config.augment))
    return objective


def for_steps(objective: SelfSupervised, num_steps: int) -> SelfSupervised:
    """The objective of a training of so many steps, once that is known."""
    return replace(objective, num_steps=num_steps) if isinstance(objective, MaskedLM) else objective


def head_for(objective: SelfSupervised, origin: Origin | None, fresh: BodyConfig | None) -> HeadConfig:
    """The head that answers an objective, on the origin's body or on a fresh one.

    Raises:
        InputError: a body that cannot do what the objective needs.
    """
    if isinstance(objective, MaskedAutoencoder):
        return _decoder_head(objective, origin, fresh)
    if isinstance(objective, Pretext):
        return PooledHeadConfig(outputs=objective.outputs, dropout=0.0)
    if isinstance(objective, Contrastive):
        return projection_head(objective)
    return lm_head_config(origin, fresh)


def _decoder_head(objective: MaskedAutoencoder, origin: Origin | None, fresh: BodyConfig | None) -> DecoderHeadConfig:
    """A decoder of half the body's width, with heads of at least 16 numbers."""
    body = origin.body.config if origin is not None else fresh
    if not isinstance(body, TransformerConfig | GatedTransformerConfig):
        raise InputError(
            "--objective masked-autoencoder: takes letters away from the body, which transformer and gated-transformer "
            f"can do without, and this is {name_of(type(body))}; choose another --model, or --objective masked-lm"
        )
    width = objective.decoder_width or max(16, body.width // 4 * 2)
    heads = [number for number in range(1, width // 16 + 1) if width % (8 * number) == 0]
    return DecoderHeadConfig(
        vocabulary_size=body.vocabulary_size, width=width, depth=objective.decoder_depth, num_heads=max([1, *heads])
    )


def self_supervised_measures(
    network: torch.nn.Module, objective: SelfSupervised, examples: Examples, loop: LoopConfig
) -> dict[str, float]:
    """The mean loss and measures of held-out sequences; of letters also the perplexity, which is its exponential."""
    tokens_at_once = tokens_per_batch(loop.device, loop.precision)
    if isinstance(objective, Contrastive):
        return contrastive_measures(network, objective, examples, loop, tokens_at_once)
    if isinstance(objective, Pretext):
        return pretext_measures(network, objective, examples, loop, tokens_at_once)
    asked = objective.at_evaluation() if isinstance(objective, Judged) else objective
    loss, measures = mean_score(network, asked, evaluation_batches(examples, tokens_at_once), loop)
    return {"loss": loss, "perplexity": float(np.exp(loss)), "accuracy": measures.get("accuracy", float("nan"))}


def outcome(objective: SelfSupervised, measures: Mapping[str, float], unigram_perplexity: float) -> str:
    """What was reached on held-out sequences, as half a sentence."""
    if objective.predicts_letters:
        return (
            f"held-out perplexity {measures['perplexity']:.2f} (letter frequencies alone: {unigram_perplexity:.2f}), "
            f"masked accuracy {measures['accuracy']:.3f}"
        )
    if isinstance(objective, Pretext):
        return pretext_outcome(measures)
    named = (f"{name.replace('_', ' ')} {value:.4g}" for name, value in known_measures(measures).items())
    return f"held-out {', '.join(named)}"


def known_measures(measures: Mapping[str, float]) -> dict[str, float]:
    """The loss, and the measures that there are: of one sequence, how it differs from others is none."""
    return {name: value for name, value in measures.items() if name == "loss" or np.isfinite(value)}
