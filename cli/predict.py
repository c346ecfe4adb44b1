"""``seqtrain predict``."""

from __future__ import annotations

from typing import Any

import click

from seqtrain_cli.apply import applying, as_source, given, say_written, uncertainty
from seqtrain_cli.progress import StderrListener


@click.command("predict", short_help="Labels for new sequences.")
@click.argument("run")
@click.argument("sequences")
@click.option("-o", "--output", default="-", help="CSV or TSV, .gz too; standard output by default.")
@uncertainty
@applying
def command(run: str, sequences: str, output: str, **settings: Any) -> None:
    """Predict labels with a finetuned RUN for a FASTA or table (plain or gzipped, - for standard input).

    One row comes out for every record, in order. Long sequences are read in windows whose outputs are joined.

    --uncertainty adds columns: of one number its standard deviation over the answers (uncertainty), of several
    std[COLUMN]; of classes and labels the entropy and the mutual_information, in nats; of residues their means and
    entropy_per_residue.
    """
    from seqtrain.recipes.apply import ApplyConfig, predict_file

    with StderrListener() as listener:
        predict_file(as_source(sequences), as_source(output), ApplyConfig(run=run, **given(settings)), listener)
    say_written(output)
