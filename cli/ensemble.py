"""``seqtrain ensemble``."""

from __future__ import annotations

from pathlib import Path

import click

from seqtrain_cli.progress import StderrListener


@click.command("ensemble", short_help="Several runs as one.")
@click.argument("runs", nargs=-1, metavar="RUN RUN…")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="A new folder.")
def command(runs: tuple[str, ...], output: Path) -> None:
    """Join finished runs of one task into a run that answers with the mean of their outputs.

    predict and evaluate take it like any other run. To train an ensemble from the start, each member on records of its
    own if you like, use  seqtrain finetune TABLE --members 5 --bagging bootstrap.
    """
    from seqtrain.recipes.ensemble import join_runs

    with StderrListener() as listener:
        join_runs(runs, output, listener)
