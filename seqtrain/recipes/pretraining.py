"""A pretraining before its first step: what was left open settled, the corpus read, and the training built."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from seqtrain.alphabet import Alphabet
from seqtrain.batching import Examples
from seqtrain.config import PretrainConfig, settled
from seqtrain.device import choose_device, choose_precision
from seqtrain.encode import Tokens
from seqtrain.errors import InputError
from seqtrain.fitting import Listener, Training
from seqtrain.inference import tokens_per_batch
from seqtrain.io.records import expand_paths
from seqtrain.models.decoder_head import DecoderHead
from seqtrain.models.heads import LanguageModelHead, LanguageModelHeadConfig
from seqtrain.models.network import BodyConfig, Network
from seqtrain.objectives import SelfSupervised
from seqtrain.recipes.adapters import lora_of
from seqtrain.recipes.augmentation import training_augmenter
from seqtrain.recipes.contrast import check_steps, say_alone, with_support_of
from seqtrain.recipes.corpus import Corpus, first_sequences, read_corpus
from seqtrain.recipes.kept_heads import head_words, keeps_head
from seqtrain.recipes.networks import (
    Origin,
    body_config,
    check_language_model,
    check_origin,
    choose_alphabet,
    make_network,
    origin_of,
    same_origin_as_before,
)
from seqtrain.recipes.pretext_labels import fitted_to, start_at_constant_guess
from seqtrain.recipes.sampling import families_of, family_order, sampling_of, say_families
from seqtrain.recipes.self_supervision import for_steps, head_for, objective_of, self_supervised_measures
from seqtrain.recipes.training_core import (
    averaging_of,
    check_words,
    prepare_layers,
    regularizers_of,
    schedule_of,
    stopping_of,
)
from seqtrain.recipes.training_examples import with_curriculum, with_curriculum_of_steps
from seqtrain.recipes.transfer import freezing_of, frozen, trained_by
from seqtrain.spans import Spans
from seqtrain.step_count import num_steps_for
from seqtrain.training import LoopConfig

_DEFAULT_RESIDUES = {"cpu": 3_000_000, "gpu": 300_000_000}
_MAX_PASSES = 20
_TOKENS_PER_STEP = {"cpu": 2048, "gpu": 65_536}
_TOKENS_PER_STEP_IN_VIEWS = {"cpu": 16_384, "gpu": 131_072}
"""Views are compared with those of other sequences, of which a step has to hold some."""


@dataclass(frozen=True)
class Setup:
    """What is settled before the corpus is read."""

    config: PretrainConfig
    train_paths: list[Path]
    valid_paths: list[Path]
    origin: Origin | None
    alphabet: Alphabet
    device: torch.device

    def read(self, folder: Path, listener: Listener) -> Corpus:
        """The corpus, written to a folder, with its families if they are asked for."""
        corpus = read_corpus(self.config, self.alphabet, self.train_paths, self.valid_paths, folder, listener)
        sampling = sampling_of(self.config)
        if sampling is None:
            return corpus
        families = families_of(self.config, corpus.store, corpus.train, listener)
        say_families(families.facts(sampling.power), listener)
        return replace(corpus, families=families)


def set_up(config: PretrainConfig, listener: Listener) -> Setup:
    """Settle what can be settled before the corpus is read, and refuse what cannot be used.

    Raises:
        InputError: input or options that cannot be used.
    """
    if not config.inputs:
        raise InputError("no FASTA file was given; name one or more, such as proteins.fasta.gz")
    train_paths, valid_paths = expand_paths(config.inputs), expand_paths([config.valid] if config.valid else [])
    if both := {path.resolve() for path in train_paths} & {path.resolve() for path in valid_paths}:
        raise InputError(f"--valid {config.valid}: {min(both)} is trained on too; name each file once")
    check_words(config)
    sampling_of(config)
    output = Path(config.output or f"runs/pretrain-{_stem(train_paths[0])}")
    origin = same_origin_as_before(origin_of(config, listener.say), config, output, listener.say)
    lora_of(config)
    freezing_of(config)
    check_origin(origin, config.alphabet, config.model, config.size, config.initialise)
    alphabet = choose_alphabet(origin, config.alphabet, first_sequences(train_paths), str(train_paths[0]))
    device, why = choose_device(config.device)
    listener.say(f"device: {why}")
    commit = origin.commit if origin else None
    check_words(config, alphabet)
    objective = objective_of(config, alphabet)
    config = replace(config, output=str(output), alphabet=alphabet.name, revision=commit)
    config = _settle(config, origin, objective.num_views)
    if isinstance(head_for(objective, origin, _fresh(config, origin, alphabet)), LanguageModelHeadConfig):
        check_language_model(origin)
    return Setup(config, train_paths, valid_paths, origin, alphabet, device)


def prepare_pretraining(config: PretrainConfig, listener: Listener, folder: Path) -> Training:
    """What would be trained, with the corpus written to a folder.

    Raises:
        InputError: input or options that cannot be used.
    """
    setup = set_up(config, listener)
    return prepare(setup, setup.read(folder, listener), listener)


def _settle(config: PretrainConfig, origin: Origin | None, num_views: int) -> PretrainConfig:
    """Choose what was left open, by the device: minutes on a laptop, a real model on a GPU."""
    device, _ = choose_device(config.device)
    small, precision = device.type != "cuda", choose_precision(config.precision, device)
    size = None if origin else config.size or ("1M" if small else "8M")
    tokens_per_step = _TOKENS_PER_STEP_IN_VIEWS if num_views > 1 else _TOKENS_PER_STEP
    return replace(
        config,
        model=None if origin else config.model or "transformer",
        size=size,
        device=device.type if ":" not in config.device else config.device,
        precision=precision,
        tokens_per_step=config.tokens_per_step or tokens_per_step["cpu" if small else "gpu"],
        tokens_per_microbatch=config.tokens_per_microbatch or (2048 if small else tokens_per_batch(device, precision)),
        learning_rate=config.learning_rate or (1e-4 if origin else 5e-4),
        dropout=config.dropout or 0.0,
        num_evaluations=config.num_evaluations or (5 if small else 20),
    )


def _fresh(config: PretrainConfig, origin: Origin | None, alphabet: Alphabet) -> BodyConfig | None:
    """The body that is trained from scratch, if one is."""
    return None if origin else body_config(str(config.model), str(config.size), alphabet, settled(config.dropout))


def _stem(path: Path) -> str:
    return path.name.partition(".")[0] or "stdin"


def prepare(setup: Setup, corpus: Corpus, listener: Listener) -> Training:
    """What is trained, before its first step.

    Raises:
        InputError: options that do not fit the corpus.
    """
    config, alphabet, device = setup.config, setup.alphabet, setup.device
    objective = fitted_to(objective_of(config, alphabet), corpus, alphabet, config.max_length, listener)
    examples = _training_examples(config, alphabet, corpus, objective)
    network = _network(setup, corpus, objective, listener)
    loop = LoopConfig(
        device=device,
        precision=choose_precision(config.precision, device),
        seed=config.seed,
        on_nan=config.on_nan,
        name_of=corpus.store.name,
    )
    # A step beyond one epoch would only repeat what it has seen.
    tokens_per_step = min(settled(config.tokens_per_step), int(examples.num_tokens.sum()))
    num_examples = _num_examples(config, examples, tokens_per_step)
    if config.curriculum is not None and config.steps is not None:
        examples = with_curriculum_of_steps(config.curriculum, examples, config.steps, tokens_per_step)
    elif config.curriculum is not None:
        examples = with_curriculum(config.curriculum, examples, num_examples)
    check_steps(objective, examples, tokens_per_step)
    num_steps = config.steps or num_steps_for(examples, tokens_per_step, num_examples, config.seed)
    schedule = schedule_of(config, num_steps)
    num_steps = schedule.num_steps
    freezing = frozen(config, network, num_steps)
    objective = with_support_of(for_steps(objective, num_steps), network)
    watched = held_out_examples(corpus, corpus.watched, examples, config)
    say_alone(objective, watched, listener)

    def evaluate() -> dict[str, float]:
        return self_supervised_measures(network, objective, watched, loop)

    return Training(
        network=network,
        objective=objective,
        examples=examples,
        optimizer=trained_by(config, network, num_steps),
        schedule=schedule,
        averaging=averaging_of(config, num_steps),
        stopping=stopping_of(config, has_valid=True),
        loop=replace(loop, regularizers=regularizers_of(config, num_steps), freezing=freezing),
        num_steps=num_steps,
        tokens_per_step=tokens_per_step,
        tokens_per_microbatch=settled(config.tokens_per_microbatch),
        num_evaluations=min(settled(config.num_evaluations), num_steps),
        evaluate=evaluate,
        judged_by="loss",
    )


def _training_examples(
    config: PretrainConfig, alphabet: Alphabet, corpus: Corpus, objective: SelfSupervised
) -> Examples:
    """The training records as they are shown: cropped or in windows, augmented, and as often as their families ask."""
    lengths = corpus.store.lengths[corpus.train]
    crop = config.long == "crop" and bool((lengths > config.max_length).any())
    spans = Spans.whole(corpus.train, lengths) if crop else Spans.windows(corpus.train, lengths, config.max_length)
    sampling, order = sampling_of(config), None
    if sampling is not None and corpus.families is not None:
        order = family_order(sampling, corpus.families, corpus.train, spans, config.seed)
    return Examples(
        store=corpus.store,
        spans=spans,
        encoder=Tokens(alphabet),
        augmenter=training_augmenter(config.augment, alphabet, config.max_length, crop=crop),
        max_length=config.max_length,
        num_views=objective.num_views,
        seed=config.seed,
        order=order,
    )


def _network(setup: Setup, corpus: Corpus, objective: SelfSupervised, listener: Listener) -> Network:
    """The network on its device; what a fresh head can know of the corpus before any step, it starts with."""
    config, origin = setup.config, setup.origin
    fresh = _fresh(config, origin, setup.alphabet)
    head = head_for(objective, origin, fresh)
    dropout = settled(config.dropout)
    network = make_network(origin, fresh, head, config.seed, dropout, lora_of(config), config.initialise)
    kept = keeps_head(network, objective, origin)
    if origin is not None:
        listener.say(head_words(network, origin, kept))
    if not kept and isinstance(network.head, DecoderHead | LanguageModelHead):
        _start_at_letter_frequencies(network, corpus, setup.alphabet)
    elif not kept:
        start_at_constant_guess(network, objective)
    network.to(setup.device)
    prepare_layers(network, config)
    return network


def _num_examples(config: PretrainConfig, examples: Examples, tokens_per_step: int) -> float:
    """Examples that the budget of residues holds; without a budget, small corpora are passed over at most 20 times."""
    if config.steps is not None:
        return config.steps * tokens_per_step / float(examples.num_tokens.mean())
    # Every view of an example is computed, and counts.
    residues = int(examples.num_tokens.sum()) - examples.encoder.num_special * len(examples) * examples.num_views
    default = _DEFAULT_RESIDUES["gpu" if config.device.startswith("cuda") else "cpu"]
    budget = config.residues or min(default, _MAX_PASSES * residues)
    return budget * len(examples) / residues


def held_out_examples(
    corpus: Corpus, records: NDArray[np.int64], trained: Examples, config: PretrainConfig
) -> Examples:
    """Some of the held-out records, as they are scored."""
    lengths = corpus.valid_store.lengths[records]
    # A seed of its own: the masks of the held-out records are the same in every evaluation, whatever the run's seed.
    # Views of one sequence differ by their augmentation only, so where there are several it is made here, too.
    return Examples(
        store=corpus.valid_store,
        spans=Spans.windows(records, lengths, config.max_length),
        encoder=trained.encoder,
        augmenter=trained.augmenter if trained.num_views > 1 else None,
        max_length=config.max_length,
        num_views=trained.num_views,
        seed=-1,
    )


def _start_at_letter_frequencies(network: Network, corpus: Corpus, alphabet: Alphabet) -> None:
    """Set the output bias to the log frequencies, so that the first steps are not spent on learning them."""
    counts = corpus.train_counts[alphabet.standard_ids] + 1
    bias = torch.full(network.head.bias.shape, float(np.log(1 / counts.sum())))  # type: ignore[arg-type]
    bias[torch.from_numpy(alphabet.standard_ids)] = torch.from_numpy(np.log(counts / counts.sum())).float()
    with torch.no_grad():
        network.head.bias.copy_(bias)  # type: ignore[operator]
