"""``seqtrain pseudo-label``."""

from __future__ import annotations

from typing import Any

import click

from seqtrain_cli import options
from seqtrain_cli.apply import as_source, given
from seqtrain_cli.progress import StderrListener


@click.command("pseudo-label", short_help="Label unlabelled sequences to train on.")
@click.argument("run")
@click.argument("sequences")
@click.option("-o", "--output", default="-", help="CSV or TSV, .gz too; standard output by default.")
@click.option(
    "--by",
    type=click.Choice(["model", "propagation"]),
    help="Labels that the run predicts (the default), or labels spread over nearest neighbours of its embeddings.",
)
@click.option("--threshold", type=float, help="Least confidence: 0.9; 0 by propagation, and with the next two.")
@click.option("--per-class", type=options.Count(), metavar="K", help="The K most confident of each class.")
@click.option("--balance", is_flag=True, default=None, help="Of each class what it lacks to the largest labelled one.")
@click.option("--neighbours", type=options.Count(), help="Of each record in the graph of --by propagation (50).")
@click.option("--sets-of", metavar="RUN", help="Whose table and sets to take, where RUN was joined from runs.")
@click.option("--table", metavar="FILE", help="Where the table of the run is now, if it was moved.")
@click.option("--sequence-column", metavar="COLUMN", help="Of a table; found when it is obvious.")
@options.bad_records
@options.device
@options.precision
def command(run: str, sequences: str, output: str, **settings: Any) -> None:
    """Write a table to finetune on: the run's labelled records with their sets, and unlabelled ones with its labels.

    RUN is a finetuned run or an ensemble, SEQUENCES a FASTA or table. Pseudo-labelled rows go to the training set, with
    their confidence, which is their weight too; sequences that are also validation or test records are never added.
    Labels are hard ones: a table holds one label per record. The command that trains a student is printed at the end.
    """
    from seqtrain.recipes.pseudo_label import PseudoLabelConfig, pseudo_label_file

    with StderrListener() as listener:
        config = PseudoLabelConfig(run=run, sequences=sequences, **given(settings))
        pseudo_label_file(config, as_source(output), listener)
