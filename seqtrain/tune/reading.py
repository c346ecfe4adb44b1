"""Knobs from words and from TOML.

learning_rate:low=1e-4,high=1e-2,log=true          a range
model:choices=cnn/transformer                      choices
model.kernel_size:low=3,high=9,step=2,when=model=cnn    a field within the words of a setting, under a condition
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from seqtrain.config import FinetuneConfig
from seqtrain.config_files import read_toml
from seqtrain.errors import InputError, did_you_mean
from seqtrain.tune.knobs import Choices, Knob, Range, Value, When, text_of
from seqtrain.tune.policies import POLICY_NAMES

WORDED = (
    "model", "head", "lora", "freeze", "optimizer", "schedule", "loss", "mix", "average", "stop_early", "curriculum",
    "resample",
)  # fmt: skip
"""Settings in words, whose fields can be varied one by one."""
_STAYING = {
    "table": "trials would be scored on other records",
    "target": "trials would be scored on other labels",
    "task": "trials would be scored on other labels",
    "sequence_column": "trials would be scored on other records",
    "split_column": "trials would be scored on other records",
    "mask_column": "trials would be scored on other labels",
    "split": "trials would be scored on other records",
    "split_by": "trials would be scored on other records",
    "fold": "trials would be scored on other records",
    "calibrate": "it is chosen on the validation records, and left to the best run",
    "threshold": "it is chosen on the validation records, and left to the best run",
    "baselines": "it decides what is looked at when a training is done",
    "leakage": "it decides what is looked at when a training is done",
    "debug": "it decides what is looked at when a training is done",
    "weight_column": "trials would be scored by other weights",
    "seed": "it decides which records are held out, and the luckiest seed says nothing",
    "output": "every trial has a folder of its own",
    "revision": "a search starts from one model",
    "device": "it decides how fast a trial is, not how good",
    "members": "trials are single networks; finetune the best settings with --members afterwards",
    "bagging": "trials are single networks; finetune the best settings with --members afterwards",
    "member": "trials are single networks",
    "tensorboard": "it decides what is written, not how good a trial is",
}
_KEYS = ("low", "high", "log", "step", "steps", "when", "choices")


def read_knob(words: str) -> Knob:
    """A knob in words.

    Raises:
        InputError: an unknown setting or field, a value that does not fit, or a range without its ends.
    """
    name, _, rest = (part.strip() for part in words.partition(":"))
    hint = hint_of(name)
    before, has_choices, after = rest.partition("choices=")
    values: dict[str, Any] = {}
    for part in filter(None, (part.strip() for part in before.split(","))):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        _check_key(name, key)
        if key in values:
            raise InputError(f"{name}: {key} is given twice; keep one")
        if not equals or not value:
            raise InputError(f"{name}: {key} has no value; write {name}:{key}=…")
        values[key] = value
    if has_choices:
        after, also, condition = after.partition(",when=")
        if also:
            values["when"] = condition
        parts = [part.strip() for part in after.split("/") if part.strip()]
        # A field within words has no type here: what looks like a number is one. In TOML quotes say what is text.
        values["choices"] = [_any(part) for part in parts] if hint is None else parts
    if not values:
        raise InputError(f"--vary {words}: say between what; write {name}:low=…,high=… or {name}:choices=…/…")
    return _knob(name, values, hint)


def read_space(path: Path) -> list[Knob]:
    """The knobs of a TOML file: one table each, named after its setting (in quotes where that has a point).

    Raises:
        InputError: a file that is missing or not TOML, or a knob that does not fit.
    """
    knobs = []
    for name, values in read_toml(path, "--space").items():
        if not isinstance(values, dict):
            raise InputError(f"{path}: {name} = {values!r} is no table; write [{name}] and low, high or choices below")
        if any(isinstance(value, dict) for value in values.values()):
            inner = next(key for key, value in values.items() if isinstance(value, dict))
            raise InputError(f'{path}: [{name}.{inner}] is read as a table in a table; write ["{name}.{inner}"]')
        try:
            hint = hint_of(name)
            for key in values:
                _check_key(name, key)
            if "choices" in values and not isinstance(values["choices"], list):
                raise InputError(f"{name}: choices = {values['choices']!r}; give a list")
            knobs.append(_knob(name, values, hint))
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
    return knobs


def hint_of(name: str) -> Any:
    """The type of a setting that can be varied; None for a field within words, which has any.

    Raises:
        InputError: no such setting, or one that stays the same in a search.
    """
    hints = get_type_hints(FinetuneConfig)
    setting, point, field = name.partition(".")
    if name in POLICY_NAMES:
        return None
    if setting in _STAYING:
        raise InputError(f"--vary {name}: {setting} stays the same in a search: {_STAYING[setting]}")
    if setting in hints and not point:
        return hints[name]
    if setting in WORDED and field:
        return None
    known = [each for each in hints if each not in _STAYING]
    if setting in hints and setting not in WORDED:
        raise InputError(f"--vary {name}: {setting} is not in words and has no fields; vary {setting} itself")
    meant = did_you_mean(name, [*known, *POLICY_NAMES], f"choose from {', '.join(sorted(known))}")
    raise InputError(f"--vary {name}: no setting is called {name!r}; {meant}")


def _check_key(name: str, key: str) -> None:
    if key not in _KEYS:
        meant = did_you_mean(key, _KEYS, f"it takes {', '.join(_KEYS)}")
        raise InputError(f"{name}: {key!r} is nothing that a setting to vary has; {meant}")


def _knob(name: str, values: Mapping[str, Any], hint: Any) -> Knob:
    when = _when(name, values["when"]) if "when" in values else None
    if "choices" in values:
        others = [key for key in values if key not in ("choices", "when")]
        if others:
            raise InputError(f"{name}: choices and {others[0]} exclude each other; keep one")
        return Choices(name=name, choices=tuple(_typed(name, each, hint) for each in values["choices"]), when=when)
    for key in ("low", "high"):
        if key not in values:
            raise InputError(f"{name}: has no {key}; write {name}:low=…,high=… or {name}:choices=…/…")
    low, high = (_number(name, key, values[key]) for key in ("low", "high"))
    kinds = _kinds(hint)
    if hint is not None and not {int, float} & set(kinds):
        raise InputError(f"{name}: is no number, so it has no range; write {name}:choices=…/…")
    whole = float not in kinds and (isinstance(low, int) and isinstance(high, int))
    if int in kinds and float not in kinds and not whole:
        raise InputError(f"{name}: low {text_of(low)}, high {text_of(high)}: must be whole numbers")
    counts = {key: _whole(name, key, values[key]) for key in ("step", "steps") if key in values}
    log = _truth(name, "log", values.get("log", False))
    return Range(name=name, low=low, high=high, log=log, whole=whole, when=when, **counts)


def _when(name: str, given: Any) -> When:
    other, equals, values = (part.strip() for part in str(given).partition("="))
    if not equals or not other or not values:
        raise InputError(f"{name}: when={given}; write when=SETTING=VALUE, such as when=model=cnn")
    return When(name=other, values=tuple(values.split("/")))


def _kinds(hint: Any) -> tuple[Any, ...]:
    """The types of a field, None left out."""
    if hint is None or get_origin(hint) in (Literal, tuple):
        return () if hint is None else (hint,)
    return tuple(kind for kind in get_args(hint) or (hint,) if kind is not type(None))


def _typed(name: str, given: Any, hint: Any) -> Value:
    """A choice in the type of its field; ``none`` leaves the field to its default."""
    if given == "none" and name != "augment.policy":
        return None
    if hint is None:
        return given  # type: ignore[no-any-return]
    kinds = _kinds(hint)
    for kind in kinds:
        if get_origin(kind) is Literal and given in get_args(kind):
            return str(given)
        if kind is bool and text_of(given) in ("true", "false"):
            return text_of(given) == "true"
        if kind in (int, float) and not isinstance(given, bool):
            try:
                value = _number(name, "choices", given)
            except InputError:
                continue
            if kind is float or isinstance(value, int):
                return kind(value)  # type: ignore[no-any-return]
        if (kind is str or get_origin(kind) is tuple) and isinstance(given, str):
            return given
    words = [text_of(word) for kind in kinds if get_origin(kind) is Literal for word in get_args(kind)]
    needed = f"choose from {', '.join(words)}" if words else f"must be {' or '.join(map(_kind_words, kinds))}"
    raise InputError(f"{name}: {text_of(given)!r}: {needed}")


def _kind_words(kind: Any) -> str:
    return {int: "a whole number", float: "a number", bool: "true or false"}.get(kind, "a text")


def _any(given: str) -> Value:
    """Text as a number where it is one."""
    if given in ("true", "false"):
        return given == "true"
    try:
        return int(given) if given.lstrip("-").isdigit() else float(given)
    except ValueError:
        return given


def _number(name: str, key: str, given: Any) -> float:
    """A number, an int where it is written as one."""
    if isinstance(given, int | float) and not isinstance(given, bool):
        return given
    value = _any(str(given))
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{name}: {key}={given}: is no number")
    return value


def _whole(name: str, key: str, given: Any) -> int:
    value = _number(name, key, given)
    if not isinstance(value, int):
        raise InputError(f"{name}: {key}={given}: is no whole number")
    return value


def _truth(name: str, key: str, given: Any) -> bool:
    if text_of(given) not in ("true", "false"):
        raise InputError(f"{name}: {key}={given}: is neither true nor false")
    return text_of(given) == "true"
