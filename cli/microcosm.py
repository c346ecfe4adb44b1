"""``seqtrain microcosm``."""

from __future__ import annotations

from typing import Any

import click

from seqtrain_cli import options
from seqtrain_cli.apply import as_source, given
from seqtrain_cli.progress import StderrListener


@click.command("microcosm", short_help="A small sample to try things on.")
@click.argument("source", metavar="TABLE|FASTA")
@click.option("-o", "--output", default="-", help="Table or FASTA, as the input is; standard output by default.")
@click.option("--records", type=options.Count(), help="To choose (300).")
@click.option("--identity", type=float, help="From which on sequences are of one family (0.5).")
@click.option("--families", metavar="TSV", help="Clusters as MMseqs2 writes them, instead.")
@click.option("--target", multiple=True, metavar="COLUMN", help="Column with the labels; found when it is obvious.")
@click.option("--sequence-column", metavar="COLUMN", help="Found when it is obvious.")
@click.option("--split-column", metavar="COLUMN", help="Sets stay what they are and keep their shares.")
@click.option(
    "--task",
    type=click.Choice(["auto", "regression", "classification", "multilabel", "residue"]),
    help="What the labels are; auto looks at them and says what it took.",
)
@options.alphabet
@click.option(
    "--bad-records",
    type=click.Choice(["error", "drop"]),
    help="Drop a record that cannot be used and count it (the default), or stop at it.",
)
@click.option("--seed", type=int, help="Of the draws (0).")
def command(source: str, output: str, **settings: Any) -> None:
    """Write a small sample of a table or FASTA with which one turns in minutes.

    As many records of each class, or range of a number, as of every other, as far as there are; of each family of
    similar sequences one before any gives a second. All columns stay, and so do the sets. Says what was taken, and how
    well it stands for the whole.
    """
    from seqtrain.recipes.microcosm import MicrocosmConfig, write_microcosm

    with StderrListener() as listener:
        write_microcosm(MicrocosmConfig(source=source, **given(settings)), as_source(output), listener)
