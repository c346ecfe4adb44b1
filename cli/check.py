"""``seqtrain check``."""

from __future__ import annotations

from typing import Any

import click

from seqtrain_cli import options
from seqtrain_cli.apply import as_source, given, say_written
from seqtrain_cli.progress import StderrListener

_OF_CHECK = ("annotators", "identity", "leakage", "doubtful")


@click.command("check", short_help="Duplicates, doubtful labels, leakage.")
@click.argument("table")
@click.option("--target", multiple=True, metavar="COLUMN", help="Column with the labels; found when it is obvious.")
@click.option("--sequence-column", metavar="COLUMN", help="Found when it is obvious.")
@click.option("--split-column", metavar="COLUMN", help="Which set a row is in; else the sets that finetune would draw.")
@options.split_file
@click.option(
    "--task",
    type=click.Choice(["auto", "regression", "classification", "multilabel", "residue"]),
    help="What the labels are; auto looks at them and says what it took.",
)
@click.option(
    "--annotator", "annotators", multiple=True, metavar="COLUMN", help="Labels by one annotator; give two or more."
)
@click.option("--identity", type=float, help="From which on a training record counts as similar (0.3).")
@click.option(
    "--leakage",
    type=click.Choice(["none", "sampled", "full"]),
    help="Look for the nearest training record of all held-out records (the default), of about 2,000, or of none.",
)
@click.option("--no-doubtful", "doubtful", flag_value=False, default=None, help="Leave out doubtful labels.")
@options.alphabet
@click.option("--seed", type=int, help="Of the sets, where the table has none, and of the folds (0).")
@click.option("-o", "--output", help="CSV or TSV with a row for each row of TABLE.")
def command(table: str, output: str | None, **settings: Any) -> None:
    """Look at the data of TABLE before anything is trained; TABLE stays as it is.

    Equal and nearly equal sequences, and those of them whose labels differ. Labels that a simple model contradicts when
    it has not seen them. How far annotators agree. And the nearest training record of every validation and test record.
    Rows that cannot be used are counted, and marked in what is written.
    """
    from seqtrain.config import FinetuneConfig
    from seqtrain.config_files import read_config
    from seqtrain.errors import InputError
    from seqtrain.io.delimited import write_table
    from seqtrain.io.outputs import check_output
    from seqtrain.recipes.check import CheckConfig, check_table
    from seqtrain.recipes.check_report import check_rows, sections

    if table == "-":
        raise InputError("-: name a file; the table is looked at more than once")
    own = given({name: settings.pop(name) for name in _OF_CHECK})
    reading = read_config(FinetuneConfig, None, {"table": table, "bad_records": "drop", **settings})
    if output is not None:
        check_output(as_source(output), as_source(table))
    with StderrListener() as listener:
        checked = check_table(CheckConfig(table=reading, **own), listener)
    for heading, lines in sections(checked):
        # Standard output is the table's where it goes there.
        click.echo(heading, err=output == "-")
        for line in lines:
            click.echo(f"  {line}", err=output == "-")
    if output is not None:
        write_table(as_source(output), *check_rows(checked))
        say_written(output)
