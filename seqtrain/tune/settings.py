"""From the values of knobs to the configuration of a finetuning."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, get_origin, get_type_hints

from seqtrain.config import FinetuneConfig
from seqtrain.config_files import read_config
from seqtrain.errors import InputError
from seqtrain.tune.knobs import Settings, Value, text_of
from seqtrain.tune.policies import policy_words, without_policy

_UNSAID = {"model": "transformer", "head": "pooled-head", "lora": "lora"}
"""What a setting in words is where nobody says."""


def configured(base: FinetuneConfig, settings: Settings, alphabet: str, *, moving: bool = True) -> FinetuneConfig:
    """A finetuning with these settings, and with those of ``base`` where they say nothing.

    Args:
        settings: values by the names of knobs: of a setting, or of a field within its words (``model.kernel_size``).
        alphabet: of the sequences, which decides what a policy of augmentation may do; ``moving`` too.

    Raises:
        InputError: a value out of its range.
    """
    hints = get_type_hints(FinetuneConfig)
    options: dict[str, Any] = {field.name: getattr(base, field.name) for field in fields(FinetuneConfig)}
    rest = without_policy(settings)
    if len(rest) < len(settings):
        options["augment"] = (*base.augment, *policy_words(settings, alphabet, moving=moving))
    for name, value in rest.items():
        if "." not in name:
            options[name] = _fitted(value, hints[name])
    for name, value in rest.items():
        setting, point, field = name.partition(".")
        if point:
            options[setting] = with_field(setting, options[setting], field, value)
    return read_config(FinetuneConfig, None, options)


def with_field(setting: str, words: Any, field: str, value: Value) -> str:
    """Words with one field more.

    Raises:
        InputError: a setting that is not said, so that nobody knows what the field would be of.
    """
    said = words if words is not None else _UNSAID.get(setting)
    if setting == "lora" and words is not None:
        said = f"lora:{words.removeprefix('lora:')}"  # the only words that are told without a name
    if said is None:
        raise InputError(f"{setting}.{field}: of what? give --{setting.replace('_', '-')}, or vary {setting}, too")
    return f"{said}{',' if ':' in said else ':'}{field}={text_of(value)}"


def has_field(words: str | None, field: str) -> bool:
    """Whether words say a field; those of adapters have no name before them."""
    name, colon, told = (words or "").partition(":")
    parts = (told if colon else name).split(",")
    return any(part.partition("=")[0].strip() == field for part in parts)


def default_of(setting: str) -> Value:
    """What a setting is where nobody says it, as conditions ask it."""
    if setting in _UNSAID and setting != "lora":
        return _UNSAID[setting]
    found = next((field.default for field in fields(FinetuneConfig) if field.name == setting), None)
    return found if isinstance(found, str | int | float | bool) else None


def _fitted(value: Value, hint: Any) -> Any:
    if value is None:
        return None
    return (value,) if get_origin(hint) is tuple else value
