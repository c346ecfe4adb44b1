"""Commands in processes of their own that need not import everything anew: they are forked from one that has.

Importing takes most of the seconds of a command on a small sample, and pages hold dozens of commands. The process that
they are forked from only imports, and so has started no thread.
"""

from __future__ import annotations

import os
import shlex
import sys
from functools import cache
from multiprocessing import get_context
from multiprocessing.context import ForkServerContext
from pathlib import Path

_IMPORTED = ["seqtrain.recipes.pretrain", "seqtrain.recipes.finetune", "torch._dynamo", "sklearn.linear_model"]


def run_command(line: str, folder: Path) -> tuple[int, str]:
    """Run a line that begins with ``seqtrain`` in a folder; its exit code, and what it wrote on both streams."""
    output = folder / ".output"
    process = _context().Process(target=_run, args=(shlex.split(line)[1:], str(folder), str(output)))
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode, output.read_text(encoding="utf-8")


@cache
def _context() -> ForkServerContext:
    context = get_context("forkserver")
    context.set_forkserver_preload(_IMPORTED)
    return context


def _run(arguments: list[str], folder: str, output: str) -> None:
    os.chdir(folder)
    with Path(output).open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = ["seqtrain", *arguments]
    from seqtrain_cli.main import main

    main(arguments)
