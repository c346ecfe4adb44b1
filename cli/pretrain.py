"""``seqtrain pretrain``."""

from __future__ import annotations

from typing import Any

import click

from seqtrain_cli import options
from seqtrain_cli.train import run_training


@click.command("pretrain", short_help="Self-supervised learning from FASTA.")
@click.argument("inputs", nargs=-1, metavar="FASTA…")
@click.option(
    "--valid", type=click.Path(), help="FASTA of held-out sequences; else 5 % of the letters, at most 100,000."
)
@click.option(
    "--residues", type=options.Count(), help="Budget of letters, repeats counted (3M on a CPU, 300M on a GPU)."
)
@options.asked
@options.training
def command(config: str | None, overwrite: bool, dry_run: bool, **settings: Any) -> None:
    """Train on unlabelled sequences: a masked language model, unless --objective asks for something else.

    FASTA files may be plain or gzipped, named one by one or by a glob in quotes. Without any option a small
    ESM-2-layout model is trained in minutes. Run the same command again to continue a run that was stopped.
    """
    from seqtrain.config import PretrainConfig
    from seqtrain.recipes.pretrain import pretrain

    run_training(PretrainConfig, pretrain, config, settings, overwrite=overwrite, dry_run=dry_run)
