"""Where something will be written, looked at before hours of computing."""

from __future__ import annotations

from pathlib import Path

from seqtrain.errors import InputError
from seqtrain.io.compressed import Source, is_dash


def check_output(output: Source, source: Source = "-", *, option: str = "-o") -> None:
    """Refuse an output that could not be written in the end, or that is the input; "-" is standard input and output.

    Raises:
        InputError: the output is the input, under this name or another, or its folder does not exist.
    """
    if is_dash(output):
        return
    path = Path(output)
    if not is_dash(source):
        given = Path(source)
        if given.resolve() == path.resolve() or (given.exists() and path.exists() and given.samefile(path)):
            raise InputError(f"{output}: is the input too, which would be lost; write to another file")
    if not (folder := path.absolute().parent).is_dir():
        raise InputError(f"{option} {output}: there is no folder {folder}; make it first")
