"""``seqtrain imbalance``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

from seqtrain_cli import options
from seqtrain_cli.progress import StderrListener


@click.command("imbalance", short_help="What the classes of a table need.")
@click.argument("table")
@click.option("--target", multiple=True, help="Column with the labels; found when it is obvious.")
@click.option("--sequence-column", help="Found when it is obvious.")
@click.option("--split-column", help="Column that says which set a row is in; found when it is obvious.")
@options.split_file
@click.option("--task", type=click.Choice(["auto", "classification", "multilabel", "residue"]))
@options.alphabet
@options.bad_records
@click.option("--seed", type=int, help="Of the split, where the table has none (0).")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the table as CSV.")
def command(table: str, output: Path | None, **settings: Any) -> None:
    """Show the classes of TABLE's training records and what each method against imbalance would do to them.

    One line per class: its count and share, its weight by inverse frequency and by effective number, its margin, its
    logit adjustment, and where each record has one class how often each of its examples comes per epoch when classes
    are sampled, and how many there are after resampling among hidden states. Then what to try.
    """
    from rich.console import Console
    from rich.table import Table

    from seqtrain.config import FinetuneConfig
    from seqtrain.config_files import read_config
    from seqtrain.io.delimited import write_table
    from seqtrain.recipes.imbalance import class_table

    with StderrListener() as listener:
        classes = class_table(read_config(FinetuneConfig, None, {"table": table, **settings}), listener)
    columns = classes.columns()
    rows = [
        [name, count, *("too few" if math.isnan(values[i]) else f"{values[i]:.4g}" for values in columns.values())]
        for i, (name, count) in enumerate(zip(classes.names, classes.counts.tolist(), strict=True))
    ]
    header = ["class", "count", *columns]
    if output is not None:
        write_table(output, header, rows)
    shown = Table(box=None, pad_edge=False)
    for name in header:
        # A class name that is cut could be another's.
        shown.add_column(name, no_wrap=name == "class")
    for row in rows:
        shown.add_row(*map(str, row))
    Console(width=max(120, Console().width), emoji=False).print(shown, markup=False, highlight=False)
    for line in classes.advice():
        click.echo(line)
