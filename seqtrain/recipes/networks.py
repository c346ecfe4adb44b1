"""Which network a run trains: by name and size, or taken over from another run or an ESM-2 folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from seqtrain.alphabet import PROTEIN, Alphabet
from seqtrain.draws import generator_seed
from seqtrain.errors import InputError
from seqtrain.io.records import find_alphabet
from seqtrain.io.run_directory import sha256_of
from seqtrain.models.cnn import CNNConfig
from seqtrain.models.network import BodyConfig, HeadConfig, Network, build
from seqtrain.models.pretrained import LoadedBody, load_body, start_network
from seqtrain.models.transformer import TransformerConfig
from seqtrain.run import alphabet_of_run

CNN_SIZES: dict[str, tuple[int, int]] = {
    "100K": (80, 4),
    "300K": (112, 6),
    "1M": (192, 8),
    "3M": (320, 9),
    "8M": (448, 12),
}
"""Width and depth by the (rough) number of parameters."""


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
    """A fresh body of a named size.

    Raises:
        InputError: an unknown size.
    """
    tokens = len(alphabet.tokens)
    if model == "transformer":
        mask_id = alphabet.vocabulary.id("<mask>")
        return TransformerConfig.of_size(size, vocabulary_size=tokens, mask_id=mask_id, dropout=dropout)
    if size not in CNN_SIZES:
        raise InputError(f"--size {size}: choose one of {', '.join(CNN_SIZES)} for --model cnn")
    width, depth = CNN_SIZES[size]
    return CNNConfig(vocabulary_size=tokens, width=width, depth=depth, dropout=dropout)


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
    body = network.body
    parameters = sum(parameter.numel() for parameter in network.parameters())
    config = body.config
    kind = "ESM-2-layout transformer" if isinstance(config, TransformerConfig) else "dilated CNN"
    shape = f"width {config.width}, depth {config.depth}"
    if isinstance(config, TransformerConfig):
        shape += f", {config.num_heads} heads"
    return f"{kind}, {shape}, {parameters:,} parameters"
