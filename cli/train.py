"""What ``pretrain`` and ``finetune`` have in common: options to a configuration, one call, progress on stderr."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seqtrain.errors import InputError
from seqtrain_cli.progress import StderrListener

if TYPE_CHECKING:
    from seqtrain.config import RunConfig
    from seqtrain.config_files import Config


def run_training(
    kind: type[RunConfig],
    recipe: Callable[..., Any],
    config_path: str | None,
    settings: dict[str, Any],
    *,
    overwrite: bool,
    dry_run: bool,
) -> None:
    """Read the configuration and train, showing what happens."""
    config = read_training(kind, config_path, settings)
    command = shlex.join(["seqtrain", *sys.argv[1:]])
    with StderrListener() as listener:
        recipe(config, listener, command=command, overwrite=overwrite, dry_run=dry_run)


def read_training(kind: type[Config], config_path: str | None, settings: dict[str, Any]) -> Config:
    """The configuration of a training whose input is named.

    Raises:
        InputError: see :func:`seqtrain.config_files.read_config`; also a finetuning without a table that can be read
            twice.
    """
    from seqtrain.config_files import read_config

    config = read_config(kind, Path(config_path) if config_path else None, settings)
    table = getattr(config, "table", None)
    if table == "":
        raise InputError("no table was given; name a CSV, TSV or Parquet file")
    if table == "-":
        raise InputError("-: the table is read more than once, which standard input does not allow; name a file")
    return config
