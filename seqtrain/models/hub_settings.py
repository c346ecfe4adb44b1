"""What a config.json by somebody else may say: checks that the layouts of the Hugging Face hub share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seqtrain.errors import InputError

_HARMLESS = {"_name_or_path", "_commit_hash", "_attn_implementation_autoset"}


def refuse_code(settings: Mapping[str, Any], place: Path) -> None:
    """Refuse settings that decide which code runs; place names the file.

    Raises:
        InputError: naming the setting.
    """
    for key in settings:
        if key == "auto_map" or (key.startswith("_") and key not in _HARMLESS):
            raise InputError(
                f"{place}: {key} would change which code runs, so it is refused; remove it if you trust the model"
            )


def require_settings(
    settings: Mapping[str, Any], fixed: Mapping[str, tuple[Any, ...]], model: str, place: Path
) -> None:
    """Refuse other values than those that mean the one arithmetic there is; model names it.

    Rotary embeddings must be the plain ones of base 10,000.

    Raises:
        InputError: naming the setting.
    """
    for key, allowed in fixed.items():
        if settings.get(key) not in allowed:
            raise InputError(
                f"{place}: {key} is {settings.get(key)!r}, but must be {allowed[0]!r}; use an {model} model"
            )
    parameters = settings.get("rope_parameters") or settings.get("rope_scaling") or {}
    plain = isinstance(parameters, dict) and parameters.get("rope_type", "default") == "default"
    if not plain or parameters.get("rope_theta", 10000.0) != 10000.0:
        raise InputError(f"{place}: rotary embeddings {parameters!r} are not those of {model}; use an {model} model")


def needed_settings(settings: Mapping[str, Any], keys: tuple[str, ...], place: Path) -> list[Any]:
    """The values of some keys.

    Raises:
        InputError: a missing key.
    """
    for key in keys:
        if key not in settings:
            raise InputError(f"{place}: {key} is missing; fetch the file again")
    return [settings[key] for key in keys]
