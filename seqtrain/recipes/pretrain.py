"""Pretraining: FASTA files in, a masked language model out."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from seqtrain.alphabet import Alphabet
from seqtrain.batching import Examples
from seqtrain.config import PretrainConfig, settled, to_toml
from seqtrain.device import choose_device, choose_precision
from seqtrain.encode import Tokens
from seqtrain.errors import InputError
from seqtrain.fitting import Listener, Training, fit
from seqtrain.inference import tokens_per_batch
from seqtrain.io.records import expand_paths
from seqtrain.io.run_directory import sha256_of
from seqtrain.models.decoder_head import DecoderHead
from seqtrain.models.heads import LanguageModelHead, LanguageModelHeadConfig
from seqtrain.models.network import BodyConfig, Network
from seqtrain.objectives import SelfSupervised
from seqtrain.recipes.adapters import finished_adapter, lora_of
from seqtrain.recipes.augmentation import training_augmenter
from seqtrain.recipes.contrast import check_steps, forget_support, watched_for_collapse, with_support_of
from seqtrain.recipes.corpus import Corpus, first_sequences, read_corpus
from seqtrain.recipes.networks import (
    Origin,
    body_config,
    check_language_model,
    check_origin,
    choose_alphabet,
    describe,
    digests_of,
    make_network,
    origin_of,
    same_origin_as_before,
)
from seqtrain.recipes.report import pretrain_report
from seqtrain.recipes.pretext_labels import fitted_to, pretext_facts, start_at_constant_guess
from seqtrain.recipes.sampling import digest_of_families, families_of, family_order, sampling_of, say_families
from seqtrain.recipes.self_supervision import for_steps, head_for, objective_of, outcome, self_supervised_measures
from seqtrain.recipes.training_core import (
    averaging_of,
    check_words,
    prepare_layers,
    regularizers_of,
    schedule_of,
    stopping_of,
    with_found_rate,
)
from seqtrain.recipes.training_examples import with_curriculum, with_curriculum_of_steps
from seqtrain.recipes.transfer import freezing_of, frozen, say_frozen, trained_by
from seqtrain.run import save_model
from seqtrain.run_record import finish_run, opened_run
from seqtrain.spans import Spans
from seqtrain.step_count import num_steps_for
from seqtrain.training import LoopConfig

_DEFAULT_RESIDUES = {"cpu": 3_000_000, "gpu": 300_000_000}
_MAX_PASSES = 20
_TOKENS_PER_STEP = ((2048, 65_536), (16_384, 131_072))
"""On a CPU and on a GPU: of objectives of one view, and of several."""


def pretrain(
    config: PretrainConfig, listener: Listener, *, command: str = "", overwrite: bool = False, dry_run: bool = False
) -> dict[str, Any]:
    """Pretrain, or continue, or find it done; returns the results that ``run.json`` keeps.

    Raises:
        InputError: input or options that cannot be used, before anything is trained.
        RunError: the training or the writing failed.
        Stopped: a signal came; the training was saved.
    """
    started = time.monotonic()
    setup = _set_up(config, listener)
    config, output = setup.config, Path(str(setup.config.output))
    if dry_run:
        with tempfile.TemporaryDirectory() as folder:
            corpus = setup.read(Path(folder), listener)
            training = _prepare(setup, corpus, listener)
            _say_plan(training, corpus, listener)
            listener.say(to_toml(config).rstrip())
        return {}
    paths = [*setup.train_paths, *setup.valid_paths]
    data = {f"{i + 1} {path.name}": sha256_of(path) for i, path in enumerate(paths)}
    data |= digests_of(setup.origin) | digest_of_families(config)
    with opened_run(output, "pretrain", config, data, command, overwrite=overwrite) as finished:
        if finished is not None:
            listener.say(f"{output}: this run is finished; use it with --from, or pass --overwrite to start it anew")
            return finished
        corpus = setup.read(output, listener)
        training = _prepare(setup, corpus, listener)
        _say_plan(training, corpus, listener)
        if config.learning_rate == "auto":
            training = with_found_rate(training, output, listener)
        watch = watched_for_collapse(_objective(training), listener)
        progress = fit(training, output, watch, tensorboard=config.tensorboard)
        assert isinstance(training.network, Network)
        adapter = finished_adapter(training.network, config, setup.origin)
        results = _results(config, training, corpus, progress.step)
        results["seconds"] = round(time.monotonic() - started, 1)
        forget_support(training.network)
        save_model(output, training.network, setup.alphabet, None, config.max_length, {}, adapter)
        pretrain_report(output, results, _objective(training))
        finish_run(output, results)
    listener.say(outcome(_objective(training), results["valid"], results["unigram_perplexity"]))
    listener.say(f"wrote {output}: finetune it with  seqtrain finetune TABLE --from {output}")
    return results


@dataclass(frozen=True)
class _Setup:
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


def _set_up(config: PretrainConfig, listener: Listener) -> _Setup:
    paths = expand_paths([*config.inputs, *([config.valid] if config.valid else [])])
    if not config.inputs:
        raise InputError("no FASTA file was given; name one or more, such as proteins.fasta.gz")
    train_paths, valid_paths = (paths[:-1], paths[-1:]) if config.valid else (paths, [])
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
    objective = objective_of(config, alphabet, 1)
    config = replace(config, output=str(output), alphabet=alphabet.name, revision=commit)
    config = _settle(config, origin, objective.num_views)
    if isinstance(head_for(objective, origin, _fresh(config, origin, alphabet)), LanguageModelHeadConfig):
        check_language_model(origin)
    return _Setup(config, train_paths, valid_paths, origin, alphabet, device)


def prepare_pretraining(config: PretrainConfig, listener: Listener, folder: Path) -> Training:
    """What would be trained, with the corpus written to a folder.

    Raises:
        InputError: input or options that cannot be used.
    """
    setup = _set_up(config, listener)
    return _prepare(setup, setup.read(folder, listener), listener)


def _settle(config: PretrainConfig, origin: Origin | None, num_views: int) -> PretrainConfig:
    """Choose what was left open, by the device: minutes on a laptop, a real model on a GPU."""
    device, _ = choose_device(config.device)
    small, precision = device.type != "cuda", choose_precision(config.precision, device)
    size = None if origin else config.size or ("1M" if small else "8M")
    return replace(
        config,
        model=None if origin else config.model or "transformer",
        size=size,
        device=device.type if ":" not in config.device else config.device,
        precision=precision,
        # Views are compared with those of other sequences, of which a step has to hold some.
        tokens_per_step=config.tokens_per_step or _TOKENS_PER_STEP[num_views > 1][0 if small else 1],
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


def _prepare(setup: _Setup, corpus: Corpus, listener: Listener) -> Training:
    config, alphabet, origin, device = setup.config, setup.alphabet, setup.origin, setup.device
    encoder = Tokens(alphabet)
    lengths = corpus.store.lengths[corpus.train]
    crop = config.long == "crop" and bool((lengths > config.max_length).any())
    make_spans = Spans.whole(corpus.train, lengths) if crop else Spans.windows(corpus.train, lengths, config.max_length)
    objective = fitted_to(objective_of(config, alphabet, 1), corpus, alphabet, config.max_length, listener)
    sampling, order = sampling_of(config), None
    if sampling is not None and corpus.families is not None:
        order = family_order(sampling, corpus.families, corpus.train, make_spans, config.seed)
    examples = Examples(
        store=corpus.store,
        spans=make_spans,
        encoder=encoder,
        augmenter=training_augmenter(config.augment, alphabet, config.max_length, crop=crop),
        max_length=config.max_length,
        num_views=objective.num_views,
        seed=config.seed,
        order=order,
    )
    dropout = settled(config.dropout)
    fresh = _fresh(config, origin, alphabet)
    head = head_for(objective, origin, fresh)
    network = make_network(origin, fresh, head, config.seed, dropout, lora_of(config), config.initialise)
    is_language_model = isinstance(network.head, LanguageModelHead)
    if isinstance(network.head, DecoderHead) or (is_language_model and not (origin and origin.body.lm_head_state)):
        _start_at_letter_frequencies(network, corpus, alphabet)
    start_at_constant_guess(network, objective)
    network.to(device)
    prepare_layers(network, config)
    loop = LoopConfig(
        device=device,
        precision=choose_precision(config.precision, device),
        seed=config.seed,
        on_nan=config.on_nan,
        name_of=corpus.store.name,
    )
    # A step beyond one epoch would only repeat what it has seen.
    tokens_per_step = min(settled(config.tokens_per_step), int(examples.num_tokens.sum()))
    check_steps(objective, examples, tokens_per_step)
    num_examples = _num_examples(config, examples, tokens_per_step)
    if config.curriculum is not None and config.steps is not None:
        examples = with_curriculum_of_steps(config.curriculum, examples, config.steps, tokens_per_step)
    elif config.curriculum is not None:
        examples = with_curriculum(config.curriculum, examples, num_examples)
    num_steps = config.steps or num_steps_for(examples, tokens_per_step, num_examples, config.seed)
    schedule = schedule_of(config, num_steps)
    num_steps = schedule.num_steps
    freezing = frozen(config, network, num_steps)
    objective = with_support_of(for_steps(objective, num_steps), network)
    watched = _held_out_examples(corpus, corpus.watched, examples, config)

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


def _num_examples(config: PretrainConfig, examples: Examples, tokens_per_step: int) -> float:
    """Examples that the budget of residues holds; without a budget, small corpora are passed over at most 20 times."""
    if config.steps is not None:
        return config.steps * tokens_per_step / float(examples.num_tokens.mean())
    # Every view of an example is computed, and counts.
    residues = int(examples.num_tokens.sum()) - examples.encoder.num_special * len(examples) * examples.num_views
    default = _DEFAULT_RESIDUES["gpu" if config.device.startswith("cuda") else "cpu"]
    budget = config.residues or min(default, _MAX_PASSES * residues)
    return budget * len(examples) / residues


def _held_out_examples(
    corpus: Corpus, records: NDArray[np.int64], trained: Examples, config: PretrainConfig
) -> Examples:
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


def _results(config: PretrainConfig, training: Training, corpus: Corpus, num_steps: int) -> dict[str, Any]:
    whole = _held_out_examples(corpus, corpus.valid, training.examples, config)
    return {
        "valid": self_supervised_measures(training.network, _objective(training), whole, training.loop),
        "valid_records": len(corpus.valid),
        "unigram_perplexity": corpus.unigram_perplexity(),
        "steps": num_steps,
        **pretext_facts(_objective(training)),
        **_family_facts(config, corpus),
    }


def _family_facts(config: PretrainConfig, corpus: Corpus) -> dict[str, Any]:
    sampling = sampling_of(config)
    return {"families": corpus.families.facts(sampling.power)} if sampling and corpus.families else {}


def _objective(training: Training) -> SelfSupervised:
    assert isinstance(training.objective, SelfSupervised)
    return training.objective


def _say_plan(training: Training, corpus: Corpus, listener: Listener) -> None:
    assert isinstance(training.network, Network)
    residues = int(corpus.store.lengths[corpus.train].sum())
    listener.say(
        f"{len(corpus.train):,} sequences ({residues:,} residues) to train on, "
        f"{len(corpus.valid):,} held out" + (" at random" if corpus.valid_store is corpus.store else "")
    )
    listener.say(f"model: {describe(training.network)}")
    say_frozen(training, listener)
    listener.say(f"{training.num_steps:,} steps of up to {training.tokens_per_step:,} tokens")
