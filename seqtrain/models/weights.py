"""Tensors, settings and tokens of a model folder, written and read without running anything they contain."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from seqtrain.errors import InputError

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


def write_json(path: Path, settings: Mapping[str, Any]) -> None:
    """Write settings, keys sorted."""
    path.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Read an object of settings.

    Raises:
        InputError: no such file, or not a JSON object.
    """
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; give the folder of a model") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not readable as JSON ({_one_line(error)}); fetch the file again") from None
    if not isinstance(settings, dict):
        raise InputError(f"{path}: holds a JSON {type(settings).__name__} where settings were expected")
    return settings


def write_tokens(folder: Path, tokens: Sequence[str]) -> None:
    """Write vocab.txt, one token per line in the order of ids, as Hugging Face tokenizers read it."""
    (folder / "vocab.txt").write_text("\n".join(tokens), encoding="utf-8")


def read_tokens(folder: Path) -> tuple[str, ...] | None:
    """The tokens in vocab.txt; None when there is no such file.

    Raises:
        InputError: the file is not text.
    """
    path = folder / "vocab.txt"
    if not path.exists():
        return None
    try:
        return tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not readable as text ({_one_line(error)}); fetch the file again") from None


def check_tokens(
    folder: Path, found: Sequence[str] | None, expected: Sequence[str] | None, vocabulary_size: int
) -> None:
    """Refuse tokens, found in a folder, that are not the expected ones, or either where the body has another number.

    Raises:
        InputError: naming the first difference.
    """
    place = folder / "vocab.txt"
    advice = "choose the --alphabet that this model was trained with"
    for index, (theirs, ours) in enumerate(zip(found or (), expected or (), strict=False)):
        if ours != theirs:
            raise InputError(f"{place}: line {index + 1} is {theirs!r} where this alphabet has {ours!r}; {advice}")
    if found is not None and len(found) != vocabulary_size:
        raise InputError(f"{place}: {len(found)} tokens where config.json promises {vocabulary_size}; fetch both again")
    if expected is not None and len(expected) != vocabulary_size:
        raise InputError(
            f"{folder / 'config.json'}: {vocabulary_size} tokens where this alphabet has {len(expected)}; {advice}"
        )


def write_weights(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors as safetensors; each gets bytes of its own, so tied ones must be left out by the caller."""
    owned = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    path.touch()
    mode = path.stat().st_mode
    save_file(owned, path, metadata={"format": "pt"})
    path.chmod(mode)  # safetensors leaves its files closed to everybody but their owner


def read_folder_weights(folder: Path) -> dict[str, Tensor]:
    """The tensors of a model folder, from one safetensors file or from its shards, in float32.

    Raises:
        InputError: no weights, weights in pickled form, a damaged or missing file, NaN or infinite values.
    """
    if (folder / WEIGHTS).exists():
        return read_weights(folder / WEIGHTS)
    if (folder / INDEX).exists():
        return _read_shards(folder)
    for pattern in PICKLES:
        for path in sorted(folder.glob(pattern)):
            raise InputError(
                f"{path}: pickled weights can run code when read, so they are refused; "
                f"convert them to {WEIGHTS} where you trust them, or fetch a version that has it"
            )
    raise InputError(f"{folder}: no {WEIGHTS}; give the folder of a model")


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of one safetensors file, 16-bit ones in float32.

    Raises:
        InputError: a damaged or missing file, NaN or infinite values.
    """
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; fetch the whole folder again") from None
    except (OSError, SafetensorError, ValueError) as error:
        raise InputError(f"{path}: not readable as safetensors ({_one_line(error)}); fetch the file again") from None
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            continue
        if not bool(torch.isfinite(tensor).all()):
            raise InputError(f"{path}: {name} holds NaN or infinite values; the weights are damaged, use another copy")
        if tensor.dtype in (torch.float16, torch.bfloat16):
            tensors[name] = tensor.float()
    return tensors


def weights_digest(folder: Path) -> str:
    """SHA-256 over the SHA-256 of every safetensors file of a folder, in the order of their names."""
    digests = []
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def check_state(
    state: Mapping[str, Tensor], shapes: Mapping[str, torch.Size], names: Mapping[str, str], folder: Path
) -> None:
    """Refuse missing, surplus and misshapen tensors.

    Args:
        state: the tensors read, by our names.
        shapes: the shapes wanted, by our names.
        names: the name in the file of each of our names, where it differs.
        folder: where they were read, for the message.

    Raises:
        InputError: naming the tensor by its name in the file.
    """
    missing = [names.get(name, name) for name in shapes if name not in state]
    if missing:
        raise InputError(f"{folder}: {listed(missing)} missing from the weights; they are incomplete, fetch them again")
    surplus = sorted(names.get(name, name) for name in state if name not in shapes)
    if surplus:
        place = f"{folder}: {listed(surplus)}"
        raise InputError(f"{place} not part of this model; the weights do not belong to config.json")
    for name, shape in shapes.items():
        if state[name].shape != shape:
            raise InputError(
                f"{folder}: {names.get(name, name)} has shape {tuple(state[name].shape)} where config.json promises "
                f"{tuple(shape)}; the weights do not belong to it, fetch both again"
            )


def listed(names: Sequence[str]) -> str:
    """The subject of a sentence about one or more names, with its verb."""
    return f"{names[0]} is" if len(names) == 1 else f"{names[0]} and {len(names) - 1} more are"


def _read_shards(folder: Path) -> dict[str, Tensor]:
    index = folder / INDEX
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise InputError(f"{index}: has no weight_map; fetch the whole folder again")
    tensors: dict[str, Tensor] = {}
    for shard in sorted({str(name) for name in weight_map.values()}):
        if not re.fullmatch(r"[\w.-]+\.safetensors", shard):
            raise InputError(f"{index}: {shard!r} is not the name of a safetensors file in this folder")
        tensors.update(read_weights(folder / shard))
    absent = sorted(set(weight_map) - set(tensors))
    if absent:
        raise InputError(f"{index}: promises {absent[0]}, which its files lack; fetch the whole folder again")
    return tensors


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
