"""Values from words: ``name:field=value,field=value`` names a class of a union and fills its fields.

Commands and configuration files choose losses, optimisers, schedules and augmenters so. What can be named is the union
itself: a class joins by standing in it, and a typo lists what there is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from seqtrain.errors import InputError, did_you_mean


def name_of(kind: type[Any]) -> str:
    """A class in words: ``matrix-substitution`` for MatrixSubstitution, ``residual-cnn`` for ResidualCNNConfig."""
    name = kind.__name__.removesuffix("Config")
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", name).lower()


def names_of(union: Any) -> dict[str, type[Any]]:
    """The classes of a union by their names."""
    return {name_of(kind): kind for kind in get_args(union) or (union,)}


def read_words(
    text: str,
    union: Any,
    what: str,
    *,
    readers: Mapping[Any, Callable[[str], Any]] | None = None,
    given: Mapping[str, Any] | None = None,
    also: tuple[str, ...] = (),
) -> tuple[Any, dict[str, str]]:
    """The value that the words describe, and the texts of the fields in ``also`` that its class does not have.

    Args:
        text: ``name`` or ``name:field=value,field=value``.
        union: the dataclasses to choose from.
        what: they are called this in messages, such as "loss".
        readers: how text becomes a value of a field's type, beside numbers, texts, true and false, and tuples of
            numbers (written with slashes between them).
        given: values for fields of these names, where a class has them and the words do not.

    Raises:
        InputError: a name, field or value that does not fit; the message lists those there are.
    """
    names = names_of(union)
    name, _, rest = (part.strip() for part in text.partition(":"))
    if name not in names:
        raise InputError(f"no {what} is called {name!r}; {did_you_mean(name, names)}")
    kind = names[name]
    hints = get_type_hints(kind)
    known = [field.name for field in fields(kind) if field.init]
    values = {key: value for key, value in (given or {}).items() if key in known}
    left: dict[str, str] = {}
    written: set[str] = set()
    for part in filter(None, (part.strip() for part in rest.split(","))):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if key in written:
            raise InputError(f"{name}: {key} is given twice; keep one")
        written.add(key)
        if equals and key in known:
            values[key] = _value(f"{name}: {key}", value, hints[key], readers or {})
        elif equals and key in also:
            left[key] = value
        elif key in known or key in also:
            raise InputError(f"{name}: {key} has no value; write {name}:{key}=…")
        else:
            # What the program fills in itself is no choice to offer.
            offered = [*(each for each in known if each not in (given or {})), *also]
            meant = did_you_mean(key, offered, f"it has {', '.join(offered) or 'no fields'}")
            raise InputError(f"{name}: {part!r} is no field=value of it; {meant}")
    missing = [
        field.name
        for field in fields(kind)
        if field.init and field.name not in values and field.default is MISSING and field.default_factory is MISSING
    ]
    if missing:
        raise InputError(f"{name} needs {', '.join(missing)}: write {name}:{missing[0]}=…")
    try:
        return kind(**values), left
    except ValueError as error:
        # What a class says of its own fields may begin with its name.
        reason = str(error).removeprefix(f"{kind.__name__}: ").removeprefix(f"{name}: ")
        raise InputError(f"{name}: {reason}") from None


def number(name: str, text: str) -> float:
    """Text as a number; InputError names what it was for."""
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{name}: {text!r} is no number") from None


def _value(name: str, text: str, hint: Any, readers: Mapping[Any, Callable[[str], Any]]) -> Any:
    """Text in the type of a field; of a union the first type that can be read; None cannot be written."""
    kinds = [hint] if get_origin(hint) in (Literal, tuple) else list(get_args(hint)) or [hint]
    for kind in kinds:
        if kind in readers:
            try:
                return readers[kind](text)
            except ValueError as error:
                raise InputError(f"{name}: {error}") from None
        if get_origin(kind) is tuple:
            return tuple(_value(name, part, get_args(kind)[0], readers) for part in text.split("/"))
        if get_origin(kind) is Literal:
            if text not in get_args(kind):
                raise InputError(f"{name}: {text!r} is none of {', '.join(get_args(kind))}")
            return text
        if kind is bool:
            if text not in ("true", "false"):
                raise InputError(f"{name}: {text!r} is neither true nor false")
            return text == "true"
        if kind is int:
            if not number(name, text).is_integer():
                raise InputError(f"{name}: {text!r} is no whole number")
            return int(float(text))
        if kind is float:
            return number(name, text)
        if kind is str:
            return text
    raise InputError(f"{name} cannot be written in words; set it from Python")
