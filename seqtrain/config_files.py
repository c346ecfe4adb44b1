"""Configurations as files: read from TOML, written back as TOML, compared when a run goes on."""

from __future__ import annotations

import dataclasses
import json
import math
import tomllib
import types
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from seqtrain.config import RunConfig, option
from seqtrain.errors import InputError, did_you_mean

Config = TypeVar("Config", bound=RunConfig)


def read_config(kind: type[Config], path: Path | None, options: Mapping[str, Any]) -> Config:
    """A configuration from a TOML file, overridden by the options that were given on the command line.

    Raises:
        InputError: a file that is missing or not TOML; a key (with the nearest match), type or value that does not fit.
    """
    values = {} if path is None else checked(kind, read_toml(path, "--config"), f"{path}: ")
    values |= {name: value for name, value in options.items() if value is not None and value != ()}
    config = kind(**values)
    _check_ranges(config)
    return config


def checked(kind: type[RunConfig], values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Values in the types of their fields.

    Raises:
        InputError: a key (with the nearest match), type or value that does not fit; it begins with ``where``.
    """
    hints = get_type_hints(kind)
    for name in values:
        if name not in hints:
            raise InputError(f"{where}unknown key {name!r}; {did_you_mean(name, sorted(hints))}")
    return {name: _fitted(f"{where}{name}", value, hints[name]) for name, value in values.items()}


def read_toml(path: Path, named_by: str) -> dict[str, Any]:
    """What a TOML file says.

    Args:
        named_by: the option that names the file, for messages.

    Raises:
        InputError: a file that is missing or not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; check the path of {named_by}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not TOML: {error}; correct it") from None


def _fitted(name: str, value: Any, hint: Any) -> Any:
    """The value in the type of its field; whole numbers pass as floats, and lists as tuples."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        kinds = [argument for argument in arguments if argument is not type(None)]
        words = [word for kind in kinds if get_origin(kind) is Literal for word in get_args(kind)]
        return value if value in words else _fitted(name, value, kinds[0])
    if origin is Literal:
        if value not in arguments:
            raise InputError(f"{name} = {value!r}: choose from {', '.join(map(str, arguments))}")
        return value
    if origin is tuple:
        if isinstance(value, str):
            return (value,)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise InputError(f"{name} = {value!r}: must be a list of texts")
        return tuple(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise InputError(f"{name} = {value!r}: must be {_TYPE_NAMES[hint]}")
    return value


_TYPE_NAMES = {int: "a whole number", float: "a number", str: "a text in quotes", bool: "true or false"}
_POSITIVE = (
    "max_length", "steps", "tokens_per_step", "tokens_per_microbatch", "learning_rate", "head_learning_rate",
    "num_evaluations", "residues", "epochs", "members", "spectral_norm", "temperature", "similarity",
    "similarity_steps", "trials", "timeout",
)  # fmt: skip
_FRACTIONS = ("warmup_fraction", "dropout", "masked_fraction", "disturbed_fraction")


def _check_ranges(config: RunConfig) -> None:
    for name in _POSITIVE:
        value = getattr(config, name, None)
        if name == "steps" and value == 0 and _starts_trained(config):
            continue
        if value not in (None, "auto") and not 0 < value < math.inf:
            kind = "whole" if isinstance(value, int) else "finite"
            raise InputError(f"{option(name)} {value}: must be a {kind} number greater than 0")
    for name in _FRACTIONS:
        value = getattr(config, name, None)
        if value is not None and not 0 <= value < 1:
            raise InputError(f"{option(name)} {value}: must be at least 0 and less than 1")
    for name in ("residues", "epochs"):
        if config.steps is not None and getattr(config, name, None) is not None:
            raise InputError(f"--steps and {option(name)}: both are budgets; give one of them")
    if config.steps == 0 and config.curriculum is not None:
        raise InputError(f"--curriculum {config.curriculum}: nothing is shown in --steps 0; leave one of the two out")
    if config.layer_decay is not None and not 0 < config.layer_decay <= 1:
        raise InputError(f"--layer-decay {config.layer_decay}: must be above 0 and at most 1; 0.8 is usual")
    if not 0 <= config.weight_decay < math.inf:
        raise InputError(f"--weight-decay {config.weight_decay}: must be a finite number, at least 0")
    if not 0 <= getattr(config, "hard_fraction", 0) <= 1:
        raise InputError(f"--hard-fraction {getattr(config, 'hard_fraction', 0)}: must be between 0 and 1")
    if getattr(config, "masked_fraction", None) == 0:
        raise InputError("--masked-fraction 0: nothing would be asked for; 0.15 is usual")


def _starts_trained(config: RunConfig) -> bool:
    """Whether a training without steps has a result: classes that are imprinted before the first one."""
    return (getattr(config, "head", None) or "").partition(":")[0].strip() == "imprinted-head"


def to_toml(config: RunConfig) -> str:
    """TOML text of all fields that are set; :func:`read_config` reads it back to an equal configuration."""
    lines = []
    for field in fields(config):
        value = getattr(config, field.name)
        if value is None:
            continue
        # TOML's basic strings, numbers, booleans and arrays are JSON's, for every value that occurs here.
        lines.append(
            f"{field.name} = {json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)}"
        )
    return "\n".join(lines) + "\n"


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What changed between two sets of facts, in words."""
    return [
        f"{name}: {before.get(name)!r} then, {now.get(name)!r} now"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]


_NOT_DECIDING = (
    "output", "tensorboard", "inputs", "valid", "table", "init_from", "activation_checkpointing", "teacher",
    "unlabeled", "families", "split", "debug", "leakage", "baselines",
)  # fmt: skip
"""Where things lie does not matter: the contents of the inputs are compared by their hashes. Nor does what is kept in
memory: activation checkpointing changes no number."""


def facts(config: RunConfig) -> dict[str, Any]:
    """The fields that decide what a training computes, as plain values."""
    values = dataclasses.asdict(config)
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in values.items()
        if name not in _NOT_DECIDING
    }
