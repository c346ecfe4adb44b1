"""``seqtrain compare``."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import click


@click.command("compare", short_help="Finished runs on the same test records.")
@click.argument("runs", nargs=-1, metavar="RUN RUN…", type=click.Path(path_type=Path))
@click.option("--set", "test_set", default="test", show_default=True, help="Which set of the runs, such as valid.")
@click.option("--metric", metavar="NAME", help="As in report.html, such as mcc; the main one of the task by default.")
@click.option(
    "--against",
    type=click.Choice(["first", "best"]),
    default="first",
    show_default=True,
    help="Which run the others are compared with; chance helps to choose the best.",
)
@click.option("--common", is_flag=True, help="Only the records that all runs have in this set.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the resamples and swaps.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the table as CSV or TSV.")
@click.option("--html", type=click.Path(path_type=Path), help="Write one self-contained page.")
def command(runs: tuple[Path, ...], output: Path | None, html: Path | None, **settings: Any) -> None:
    """Compare finished runs by what they predicted for the same test records.

    One line per run: the metric with its 95 % interval, its rank, and the difference to the first run with a paired
    interval and p (two-sided, by swapping predictions between runs, corrected for the number of comparisons by Holm's
    method). Then the simple models that stand beside the first run. Then the verdicts in words.
    """
    from rich.console import Console
    from rich.table import Table

    from seqtrain.io.delimited import write_table
    from seqtrain.recipes.compare import HEADER, compare_runs

    comparison = compare_runs(runs, **settings)
    rows = comparison.rows()
    if output is not None:
        write_table(output, HEADER, rows)
        click.echo(f"wrote {output}", err=True)
    if html is not None:
        from seqtrain.recipes.compare_page import write_comparison

        write_comparison(html, comparison, shlex.join(["seqtrain", *sys.argv[1:]]))
        click.echo(f"wrote {html}", err=True)
    shown = Table(box=None, pad_edge=False)
    for name in HEADER:
        shown.add_column(name, no_wrap=name == "run")
    for row in rows:
        shown.add_row(*(f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row))
    Console(width=max(160, Console().width), emoji=False).print(shown, markup=False, highlight=False)
    for line in comparison.words():
        click.echo(line)
