"""``seqtrain plan pretrain``, ``seqtrain plan finetune`` and ``seqtrain plan distill``."""

from __future__ import annotations

from typing import Any

import click

from seqtrain_cli.distill import command as distill
from seqtrain_cli.finetune import command as finetune
from seqtrain_cli.pretrain import command as pretrain
from seqtrain_cli.progress import StderrListener
from seqtrain_cli.train import read_training

_OF_WRITING = ("overwrite", "dry_run", "debug")
"""Options of the trainings that say nothing where nothing is written."""


@click.group("plan", short_help="What a training will take.")
def command() -> None:
    """Measure a training before it is begun: put plan before the command that you are about to run.

    \b
      seqtrain plan pretrain proteins.fasta.gz --size 8M
      seqtrain plan finetune labels.csv --from runs/base

    It reads your data, takes a few real steps and one evaluation, and tells hours, peak memory, the largest microbatch
    that fits, and the disk that is needed. The run directory is not touched.
    """


def _planned(kind_of: str, settings: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    from seqtrain.config import DistillConfig, FinetuneConfig, PretrainConfig, RunConfig
    from seqtrain.recipes.plan import plan_rows, plan_run

    path = settings.pop("config")
    kinds: dict[str, type[RunConfig]] = {
        "pretrain": PretrainConfig,
        "finetune": FinetuneConfig,
        "distill": DistillConfig,
    }
    config = read_training(kinds[kind_of], path, settings)
    assert isinstance(config, PretrainConfig | FinetuneConfig)
    with StderrListener() as listener:
        planned = plan_run(config, listener)
    table = Table(box=None, pad_edge=False, show_header=False)
    for style in ("bold", "", "dim"):
        table.add_column(style=style, no_wrap=style != "dim")
    for row in plan_rows(planned):
        table.add_row(*row)
    console = Console(highlight=False, emoji=False)
    # Lines stay whole in a file or pipe; a terminal has the width it has, and the notes wrap in their column.
    console.width = console.width if console.is_terminal else 160
    console.print(table, markup=False)


def _as_plan(training: click.Command) -> click.Command:
    """A command with the options of a training."""

    def callback(**settings: Any) -> None:
        _planned(str(training.name), settings)

    parameters = [each for each in training.params if each.name not in _OF_WRITING]
    about = f"Measure what seqtrain {training.name} with the same options will take; nothing is written."
    return click.Command(training.name, params=parameters, callback=callback, help=about, short_help=about)


command.add_command(_as_plan(pretrain))
command.add_command(_as_plan(finetune))
command.add_command(_as_plan(distill))
