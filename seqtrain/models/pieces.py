"""Vocabularies that others wrote, read as lists of tokens without running anything."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seqtrain.errors import InputError

WORD_START = "\u2581"
"""What SentencePiece writes in the place of the space before a word."""
_FILES = ("vocab.txt", "spiece.model", "tokenizer.json")
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True)
class Pieces:
    """The tokens of a vocabulary in the order of their ids, and the file they were read from."""

    tokens: tuple[str, ...]
    name: str
    contents: bytes


def read_pieces(folder: Path) -> Pieces:
    """The vocabulary of a model folder, from vocab.txt, spiece.model or tokenizer.json.

    Raises:
        InputError: none of these files, or one that is damaged.
    """
    for name in _FILES:
        path = folder / name
        if path.exists():
            contents = path.read_bytes()
            return Pieces(tokens_of(name, contents, str(path)), name, contents)
    raise InputError(f"{folder}: has none of {', '.join(_FILES)}, so its ids mean nothing; fetch the whole folder")


def tokens_of(name: str, contents: bytes, place: str) -> tuple[str, ...]:
    """The tokens in the contents of a file of this name.

    Raises:
        InputError: the contents are damaged.
    """
    try:
        if name == "vocab.txt":
            tokens = tuple(line.strip() for line in contents.decode("utf-8").splitlines())
        elif name == "spiece.model":
            tokens = tuple(_sentence_pieces(contents))
        else:
            tokens = tuple(_tokenizer_pieces(json.loads(contents)))
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        words = " ".join(str(error).split())[:200]
        raise InputError(f"{place}: not readable as a vocabulary ({words}); fetch the file again") from None
    if not tokens:
        raise InputError(f"{place}: holds no tokens; fetch the file again")
    return tokens


def _tokenizer_pieces(settings: Any) -> list[str]:
    """The tokens of the file in which the tokenizers library keeps everything."""
    vocabulary = settings["model"]["vocab"]
    if isinstance(vocabulary, dict):
        ids = {int(number): str(token) for token, number in vocabulary.items()}
    else:
        ids = {number: str(token) for number, (token, _) in enumerate(vocabulary)}
    ids |= {int(added["id"]): str(added["content"]) for added in settings.get("added_tokens", [])}
    if sorted(ids) != list(range(len(ids))):
        raise ValueError("its ids are not 0, 1, 2, …")
    return [ids[number] for number in range(len(ids))]


def _sentence_pieces(message: bytes) -> Iterator[str]:
    """The pieces of a SentencePiece model, a protocol buffer: field 1 repeats, and its own field 1 is the text.

    The layout is that of sentencepiece_model.proto (Kudo & Richardson 2018); all other fields are passed over.
    """
    for field, kind, value in _fields(message):
        if field == 1:
            if kind != _BYTES:
                raise ValueError("field 1 is no piece")
            yield next(text for number, _, text in _fields(value) if number == 1).decode("utf-8")


def _fields(message: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Number, wire type and bytes of each field of a protocol buffer; the bytes of a number are left out."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        kind = key & 7
        start = position
        if kind == _VARINT:
            _, position = _varint(message, position)
            start = position
        elif kind == _BYTES:
            length, start = _varint(message, position)
            position = start + length
        elif kind in (_FIXED64, _FIXED32):
            position += 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {kind} at byte {position}")
        if position > len(message):
            raise ValueError(f"ends within the field at byte {start}")
        yield key >> 3, kind, message[start:position]


def _varint(message: bytes, position: int) -> tuple[int, int]:
    """A number in groups of seven bits, least first, and where it ends."""
    value = shift = 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, position
        if shift > 63:
            raise ValueError(f"number too long at byte {position}")
