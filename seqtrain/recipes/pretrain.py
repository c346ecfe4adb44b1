"""Pretraining: FASTA files in, a network that has learnt from them out."""

from __future__ import annotations

import math
import tempfile
import time
from pathlib import Path
from shlex import quote
from typing import Any

from seqtrain.config import PretrainConfig
from seqtrain.config_files import to_toml
from seqtrain.fitting import Listener, Training, fit
from seqtrain.io.run_directory import sha256_of
from seqtrain.models.network import Network
from seqtrain.objectives import SelfSupervised
from seqtrain.recipes.adapters import finished_adapter
from seqtrain.recipes.augmentation import digests_of_words
from seqtrain.recipes.contrast import forget_support, watched_for_collapse
from seqtrain.recipes.corpus import Corpus
from seqtrain.recipes.diagnosis import Subject, diagnosis_of, fit_diagnosed
from seqtrain.recipes.letters_guessed import letters_guessed
from seqtrain.recipes.networks import describe, digests_of
from seqtrain.recipes.pretext_labels import pretext_facts
from seqtrain.recipes.pretraining import held_out_examples, prepare, set_up
from seqtrain.recipes.report import pretrain_report
from seqtrain.recipes.sampling import digest_of_families, sampling_of
from seqtrain.recipes.self_supervision import outcome, self_supervised_measures
from seqtrain.recipes.training_core import with_found_rate
from seqtrain.recipes.transfer import say_frozen
from seqtrain.run import save_model
from seqtrain.run_record import finish_run, opened_run


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
    setup = set_up(config, listener)
    config, output = setup.config, Path(str(setup.config.output))
    if dry_run:
        with tempfile.TemporaryDirectory() as folder:
            corpus = setup.read(Path(folder), listener)
            training = prepare(setup, corpus, listener)
            _say_plan(training, corpus, listener)
            listener.say(to_toml(config).rstrip())
        return {}
    data = {f"{i + 1} {path.name}": sha256_of(path) for i, path in enumerate(setup.train_paths)}
    data |= {f"valid {i + 1} {path.name}": sha256_of(path) for i, path in enumerate(setup.valid_paths)}
    data |= digests_of(setup.origin) | digest_of_families(config) | digests_of_words(config.augment)
    with opened_run(output, "pretrain", config, data, command, overwrite=overwrite) as finished:
        if finished is not None:
            listener.say(f"{output}: this run is finished; use it with --from, or pass --overwrite to start it anew")
            return finished
        corpus = setup.read(output, listener)
        training = prepare(setup, corpus, listener)
        _say_plan(training, corpus, listener)
        if config.learning_rate == "auto":
            training = with_found_rate(training, output, listener)
        watch = watched_for_collapse(_objective(training), listener)
        subject = Subject(training=training, config=config)
        if config.debug:
            progress = fit_diagnosed(subject, training, output, watch, tensorboard=config.tensorboard)
        else:
            progress = fit(training, output, watch, tensorboard=config.tensorboard)
        assert isinstance(training.network, Network)
        adapter = finished_adapter(training.network, config, setup.origin)
        results = _results(config, training, corpus, progress.step)
        guess = _guess(training, corpus)
        remarks = diagnosis_of(subject, output, listener, guess=guess) if config.debug else None
        if remarks is not None:
            results["diagnosis"] = [each.to_json() for each in remarks]
        results["seconds"] = round(time.monotonic() - started, 1)
        forget_support(training.network)
        save_model(output, training.network, setup.alphabet, None, config.max_length, {}, adapter)
        letters = letters_guessed(training, corpus, config)
        pretrain_report(output, results, _objective(training), letters=letters, diagnosis=remarks)
        finish_run(output, results)
    listener.say(outcome(_objective(training), results["valid"], results["unigram_perplexity"]))
    listener.say(f"wrote {output}: finetune it with  seqtrain finetune TABLE --from {quote(str(output))}")
    return results


def _results(config: PretrainConfig, training: Training, corpus: Corpus, num_steps: int) -> dict[str, Any]:
    whole = held_out_examples(corpus, corpus.valid, training.examples, config)
    return {
        "valid": self_supervised_measures(training.network, _objective(training), whole, training.loop),
        "valid_records": len(corpus.valid),
        "unigram_perplexity": corpus.unigram_perplexity(),
        "steps": num_steps,
        **pretext_facts(_objective(training)),
        **_family_facts(config, corpus),
    }


def _guess(training: Training, corpus: Corpus) -> float:
    """The loss of letter frequencies alone, in nats per hidden letter; nan where no letters are asked for."""
    return math.log(corpus.unigram_perplexity()) if _objective(training).predicts_letters else math.nan


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
