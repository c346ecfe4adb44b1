"""Bytes in, plain or gzip as the content says; bytes out, whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import gzip
import io
import os
import secrets
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal, TypeAlias, cast

from seqtrain.errors import InputError, RunError, nearest_name

Source: TypeAlias = Path | Literal["-"]
"""A file, or "-" for standard input or output."""

ByteStream: TypeAlias = io.BufferedReader | gzip.GzipFile
"""What :func:`open_bytes` gives: read, read1, peek."""

DAMAGE = (EOFError, zlib.error, OSError)
"""What reading raises when the file itself is at fault; hand it to :func:`damaged`."""

_GZIP = b"\x1f\x8b"
_FOREIGN = (
    (b"PK\x03\x04", "a zip archive or an Excel workbook; unpack it, or save the sheet as CSV"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Excel workbook; save the sheet as CSV"),
    (b"BZh91AY&SY", "compressed with bzip2; unpack it with bunzip2, or compress it with gzip"),
    (b"\xfd7zXZ\x00", "compressed with xz; unpack it with unxz, or compress it with gzip"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd; unpack it with unzstd, or compress it with gzip"),
)
_WRITE_FAULTS = {errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOSPC, errno.EROFS}


def is_dash(path: Source) -> bool:
    """Whether standard input or output is meant; Path("-") counts, as command lines produce it."""
    return str(path) == "-"


def shown(path: Source) -> str:
    """The name of the input in messages."""
    return "<stdin>" if is_dash(path) else str(path)


@contextlib.contextmanager
def open_bytes(path: Source) -> Iterator[ByteStream]:
    """The bytes of a file or of standard input, unpacked if they are gzip (one member or many) under any name.

    Standard input is left open. Damage shows while reading, as one of :data:`DAMAGE`.

    Raises:
        InputError: a folder, a missing or unreadable file, or a kind of compression other than gzip.
    """
    with contextlib.ExitStack() as stack:
        plain = _standard_input() if is_dash(path) else stack.enter_context(_open_plain(Path(path)))
        try:
            start = plain.peek(16)[:16]
        except OSError as error:
            raise damaged(shown(path), error, "its first byte") from error
        for magic, description in _FOREIGN:
            if start.startswith(magic):
                raise InputError(f"{shown(path)}: this is {description}")
        # A pipe may hand over a single byte at first; no text begins with 0x1f, so one byte decides.
        packed = bool(start) and _GZIP.startswith(start[:2])
        yield stack.enter_context(gzip.GzipFile(fileobj=plain, mode="rb")) if packed else plain


def damaged(name: str, error: BaseException, after: str) -> InputError:
    """The error to raise for one of :data:`DAMAGE`: ``name`` as shown, ``after`` the last thing that was read well."""
    if isinstance(error, EOFError):
        fault = "the gzip data is cut short"
    elif isinstance(error, gzip.BadGzipFile | zlib.error):
        fault = f"the gzip data is damaged ({error})"
    else:
        fault = f"reading failed ({error})"
    return InputError(f"{name}: {fault} after {after}; copy or download the file again")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that takes its name only when the block ends well; until then, and after a failure, the old one stays.

    Bytes go to ``path.tmp-…`` beside it, which is flushed to disk and renamed, or removed on any failure. A name that
    ends in ``.gz`` is compressed, without a time stamp, so that equal content gives equal bytes. Devices and pipes are
    written directly.

    Raises:
        InputError: the folder is missing or closed to us, or the path is a folder.
        RunError: the disk is full, or another fault of the disk.
    """
    if path.is_dir():
        raise InputError(f"{path}: this is a folder; name the file to write")
    direct = path.exists() and not path.is_file()
    target = path if direct else path.resolve()
    partial = target if direct else target.with_name(f"{target.name}.tmp-{secrets.token_hex(4)}")
    try:
        plain = partial.open("wb" if direct else "xb")
    except OSError as error:
        if error.errno in _WRITE_FAULTS:
            raise _write_fault(path, error) from error
        raise InputError(
            f"{path}: cannot be written ({error.strerror}); check the folder and its permissions"
        ) from error
    try:
        with plain:
            if path.suffix == ".gz":
                with gzip.GzipFile(filename="", fileobj=plain, mode="wb", compresslevel=6, mtime=0) as packed:
                    yield cast(BinaryIO, packed)
            else:
                yield plain
            plain.flush()
            if not direct:
                os.fsync(plain.fileno())
        if not direct:
            partial.replace(target)
    except BaseException as error:
        if not direct:
            partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in _WRITE_FAULTS:
            raise _write_fault(path, error) from error
        raise


def _write_fault(path: Path, error: OSError) -> RunError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return RunError(f"{path}: No space left to write this file; free some, or write elsewhere (nothing was kept)")
    return RunError(f"{path}: writing failed ({error.strerror}); check the disk, or write elsewhere")


def _standard_input() -> io.BufferedReader:
    if sys.stdin is None or sys.stdin.closed:
        raise InputError("<stdin>: there is no standard input; name a file instead of '-'")
    buffer = sys.stdin.buffer
    if isinstance(buffer, io.BufferedReader):
        return buffer
    return io.BufferedReader(io.BytesIO(buffer.read()))  # a replaced standard input, without peek


def _open_plain(path: Path) -> io.BufferedReader:
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; {_nearest_file(path)}") from error
    except IsADirectoryError as error:
        raise InputError(f"{path}: this is a folder; name one file in it") from error
    except PermissionError as error:
        raise InputError(f"{path}: not allowed to read this file; change its permissions") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be opened ({error.strerror}); check the path") from error


def _nearest_file(path: Path) -> str:
    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return f"there is no folder {path.parent} either" if not path.parent.exists() else "check the path"
    nearest = nearest_name(path.name, names)
    return f"did you mean {path.parent / nearest}?" if nearest else "check the path"
