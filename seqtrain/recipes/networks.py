"""Which network a run trains: by name and size, or taken over from another run or an ESM-2 folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch

from seqtrain.alphabet import PROTEIN, Alphabet
from seqtrain.draws import generator_seed
from seqtrain.errors import InputError
from seqtrain.io.records import find_alphabet
from seqtrain.io.run_directory import sha256_of
from seqtrain.models.heads import LanguageModelHeadConfig
from seqtrain.models.network import BodyConfig, HeadConfig, Network, build, language_model_head
from seqtrain.models.pretrained import LoadedBody, load_body, start_network
from seqtrain.models.transformer import TransformerConfig
from seqtrain.run import alphabet_of_run
from seqtrain.words import name_of, names_of, read_words


@dataclass(frozen=True)
class Origin:
    """Weights to start from, and the alphabet they were trained on."""

    body: LoadedBody
    alphabet: Alphabet
    place: Path


def digests_of(origin: Origin | None) -> dict[str, str]:
    """SHA-256 of the weights that a run starts from, if it starts from any, under "--from"."""
    if origin is None:
        return {}
    folder = origin.place / "model" if (origin.place / "run.json").exists() else origin.place
    digests = [sha256_of(path) for path in sorted(folder.glob("*.safetensors"))]
    return {"--from": hashlib.sha256("".join(digests).encode()).hexdigest()}


def load_origin(path: str) -> Origin:
    """The body of a run directory of ours, or of an ESM-2 folder.

    Raises:
        InputError: no such folder, an unfinished run, or a model that cannot be used.
    """
    folder = Path(path)
    if not folder.exists():
        raise InputError(f"--from {path}: no such folder; give a run directory or a folder with an ESM-2 model")
    if (folder / "run.json").exists():
        if not (folder / "task.json").exists():
            raise InputError(f"--from {path}: its training is not finished; rerun its command to continue it")
        alphabet = alphabet_of_run(folder)
        return Origin(load_body(folder / "model", alphabet.tokens), alphabet, folder)
    return Origin(load_body(folder, PROTEIN.tokens), PROTEIN, folder)


def body_config(model: str, size: str, alphabet: Alphabet, dropout: float) -> BodyConfig:
    """A fresh body in words, such as ``transformer`` or ``cnn:kernel_size=7``; what they leave out, the size decides.

    Raises:
        InputError: an unknown model, field or size.
    """
    kinds = names_of(BodyConfig)
    name = model.partition(":")[0].strip()
    given: dict[str, Any] = {
        "vocabulary_size": len(alphabet.tokens),
        "mask_id": alphabet.vocabulary.id("<mask>"),
        "dropout": dropout,
    }
    if name in kinds:
        given |= kinds[name].shape(size)
    config, _ = read_words(model, BodyConfig, "model", given=given)
    return cast(BodyConfig, config)


def lm_head_config(origin: Origin | None, fresh: BodyConfig | None) -> LanguageModelHeadConfig:
    """The language model head of the origin, or the one that goes with a fresh body."""
    if origin is not None:
        return origin.body.lm_head_config
    assert fresh is not None
    return language_model_head(fresh)


def make_network(
    origin: Origin | None, fresh: BodyConfig | None, head: HeadConfig, seed: int, dropout: float | None
) -> Network:
    """A network on the origin's body or on a fresh one; fresh weights are a function of the seed alone."""
    torch.manual_seed(generator_seed(seed, "weights"))
    if origin is None:
        assert fresh is not None
        return build(fresh, head)
    loaded = origin.body
    if dropout is not None:
        loaded = replace(loaded, config=replace(loaded.config, dropout=dropout))
    return start_network(loaded, head)


def choose_alphabet(origin: Origin | None, choice: str, sequences: Iterable[bytes], place: str) -> Alphabet:
    """The alphabet of the weights to start from, or the one asked for, or the one that the sequences are written in.

    Raises:
        InputError: nucleotides, or what looks like them, where nobody said what they are.
    """
    if origin is not None and (choice != "auto" or origin.alphabet is not PROTEIN):
        return origin.alphabet
    return find_alphabet(choice, sequences, place)


def check_origin(origin: Origin | None, alphabet: str, model: str | None, size: str | None) -> None:
    """Refuse options that contradict the weights to start from.

    Raises:
        InputError: names the option and what the origin is.
    """
    if origin is None:
        return
    if alphabet not in ("auto", origin.alphabet.name):
        raise InputError(
            f"--alphabet {alphabet}: {origin.place} was trained on the {origin.alphabet.name} alphabet; leave it out"
        )
    for option, value in (("--model", model), ("--size", size)):
        if value is not None:
            raise InputError(f"{option} {value}: the model comes from {origin.place}; leave one of the two out")


def describe(network: Network) -> str:
    """One line: what the network is and how many parameters it has."""
    config = network.body.config
    parameters = sum(parameter.numel() for parameter in network.parameters())
    kind = "ESM-2-layout transformer" if isinstance(config, TransformerConfig) else name_of(type(config))
    shape = f"width {network.body.width}, depth {config.depth}"
    if isinstance(config, TransformerConfig):
        shape += f", {config.num_heads} heads"
    return f"{kind}, {shape}, {parameters:,} parameters"
