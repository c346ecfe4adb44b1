"""What ``seqtrain describe`` is about: a run, a model folder, a configuration, or a network in words."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch

from seqtrain.alphabet import ALPHABETS
from seqtrain.config import DistillConfig, FinetuneConfig, PretrainConfig, TuneConfig
from seqtrain.config_files import read_config
from seqtrain.describe import Description, describe_network
from seqtrain.errors import InputError
from seqtrain.models.network import BodyConfig, HeadConfig, Network, build
from seqtrain.models.pretrained import HEAD_CONFIG, load_network, start_network
from seqtrain.probe import NUM_SPECIAL
from seqtrain.recipes.networks import Origin, body_config, label_head_config, lm_head_config, load_origin
from seqtrain.recipes.self_supervision import head_for, objective_of
from seqtrain.run import load_run

_SIZE = "1M"


@dataclass(frozen=True, kw_only=True)
class Question:
    """Which network, and for what sequence."""

    source: str | None = None
    """A run directory, a model folder or the TOML of a training; None for a network from scratch."""
    model: str | None = None
    """In words."""
    size: str | None = None
    alphabet: str = "protein"
    outputs: int | None = None
    """Numbers that the head gives; None for a language model head, and for one number where a head is asked for."""
    per_residue: bool = False
    head: str | None = None
    """In words."""
    length: int = 512
    """Residues."""
    pretraining: PretrainConfig | None = None
    """Whose objective the head answers where none for labels is asked for; None for a language model head."""

    @property
    def asks_for_labels(self) -> bool:
        """Whether a head for labels is meant."""
        return self.outputs is not None or self.per_residue or self.head is not None


def describe_source(question: Question, *, inside: bool = False) -> Description:
    """Describe a network without training it; one from scratch never has weights, whatever its size.

    Raises:
        InputError: no such network, or options that do not fit it.
    """
    if question.length < 1:
        raise InputError(f"--length {question.length}: must be at least 1 residue")
    if question.outputs is not None and question.outputs < 1:
        raise InputError(f"--outputs {question.outputs}: must be at least 1")
    network = _network(question)
    longest = getattr(network.body.config, "longest", None)
    if longest is not None and question.length + NUM_SPECIAL > longest:
        raise InputError(
            f"--length {question.length}: this model has {longest} positions; give {longest - NUM_SPECIAL} or less"
        )
    return describe_network(network, length=question.length, inside=inside)


def _network(question: Question) -> Network:
    if question.source is None:
        if question.model is None and question.size is None:
            raise InputError("nothing to describe; give a run, a model folder, a config.toml, or --model and --size")
        return _fresh(question)
    for option, value in (("--model", question.model), ("--size", question.size)):
        if value is not None:
            raise InputError(f"{option} {value}: the network comes from {question.source}; leave one of the two out")
    path = Path(question.source)
    if path.is_file():
        if path.suffix != ".toml":
            raise InputError(f"{path}: is not a .toml file; give a run, a model folder, a config.toml, or --model")
        return _configured(path, question)
    if not path.is_dir():
        raise InputError(f"{path}: no such run, model folder or file; check the path, or name a network with --model")
    if (path / "run.json").exists() and not (path / "task.json").exists():
        # A training that goes on, or was stopped: its settings say as much as its weights.
        return _configured(path / "config.toml", question)
    return _loaded(path, question)


def _loaded(path: Path, question: Question) -> Network:
    """The network of a finished run or of a model folder."""
    is_run = (path / "run.json").exists()
    if not is_run and not (path / "config.json").exists():
        raise InputError(
            f"{path}: is neither a run (it has no run.json) nor a model folder (it has no config.json); check the path"
        )
    if is_run and question.asks_for_labels:
        raise InputError(f"{path}: has a head of its own; leave --head, --outputs and --per-residue out")
    if is_run:
        return load_run(path).single
    if (path / HEAD_CONFIG).exists() and not question.asks_for_labels:
        return load_network(path)[0]
    origin = load_origin(str(path))
    return start_network(origin.body, _head(question, origin, None))


def _configured(path: Path, question: Question) -> Network:
    """The network that a training with this configuration would begin with."""
    config = _config(path)
    alphabet = question.alphabet if config.alphabet == "auto" else config.alphabet
    question = replace(question, model=config.model, size=config.size, alphabet=alphabet)
    if isinstance(config, PretrainConfig):
        question = replace(question, pretraining=config)
    else:
        # How many numbers the head gives stands in the table alone.
        question = replace(
            question,
            outputs=question.outputs or 1,
            per_residue=question.per_residue or config.task == "residue",
            head=question.head or config.head,
        )
    if config.init_from is None:
        return _fresh(question)
    origin = load_origin(config.init_from, config.revision)
    return start_network(origin.body, _head(question, origin, None))


def _config(path: Path) -> PretrainConfig | FinetuneConfig:
    """Of whatever training: the first kind that has all the keys, and else the kind that has most."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        text = ""
    keys = set(re.findall(r"^\s*(\w+)\s*=", text, flags=re.MULTILINE))
    kinds = (PretrainConfig, FinetuneConfig, DistillConfig, TuneConfig)
    kind = min(kinds, key=lambda each: len(keys - {field.name for field in fields(each)}))
    return read_config(kind, path, {})


def _fresh(question: Question) -> Network:
    if question.alphabet not in ALPHABETS:
        raise InputError(f"--alphabet {question.alphabet}: choose from {', '.join(ALPHABETS)}")
    alphabet = ALPHABETS[question.alphabet]
    config = body_config(question.model or "transformer", question.size or _SIZE, alphabet, 0.0)
    with torch.device("meta"):
        return build(config, _head(question, None, config))


def _head(question: Question, origin: Origin | None, fresh: BodyConfig | None) -> HeadConfig:
    if question.asks_for_labels:
        return label_head_config(question.head, question.per_residue, question.outputs or 1, 0.0, question.length)
    if question.pretraining is None:
        return lm_head_config(origin, fresh)
    alphabet = origin.alphabet if origin is not None else ALPHABETS[question.alphabet]
    return head_for(objective_of(question.pretraining, alphabet), origin, fresh)
