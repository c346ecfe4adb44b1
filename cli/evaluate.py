"""``seqtrain evaluate``."""

from __future__ import annotations

from typing import Any

import click

from seqtrain_cli import options
from seqtrain_cli.apply import applying, as_source, given, say_written, uncertainty
from seqtrain_cli.progress import StderrListener


@click.command("evaluate", short_help="Scores on a labelled table.")
@click.argument("run")
@click.argument("table")
@click.option("-o", "--output", default="-", help="CSV or TSV of the scores; standard output by default.")
@click.option("--split-column", metavar="COLUMN", help="Score each set apart; found when it is obvious.")
@options.split_file
@uncertainty
@applying
def command(
    run: str,
    table: str,
    output: str,
    split_column: str | None,
    split: str | None,
    fold: int | None,
    **settings: Any,
) -> None:
    """Score a finetuned RUN on the labels of a table: one row per set and metric, with 95 % intervals.

    --uncertainty tells whether it is worth something: the rank correlation of each uncertainty with the error
    (error_correlation), and the area under the risk-coverage curve (risk_coverage).
    """
    from seqtrain.io.delimited import write_table
    from seqtrain.io.outputs import check_output
    from seqtrain.recipes.apply import ApplyConfig, evaluate_file

    check_output(as_source(output), as_source(table))
    with StderrListener() as listener:
        config = ApplyConfig(run=run, **given(settings))
        scored = evaluate_file(as_source(table), config, listener, split_column=split_column, split=split, fold=fold)
    nothing = (float("nan"), float("nan"))
    rows = (
        [each.name, each.num_records, name, *(_cell(x) for x in (value, *each.intervals.get(name, nothing)))]
        for each in scored
        for name, value in each.metrics.items()
    )
    write_table(as_source(output), ("set", "records", "metric", "value", "low", "high"), rows)
    say_written(output)


def _cell(value: float) -> float | str:
    """A number to six digits, or nothing where it is not defined."""
    return "" if value != value else round(value, 6)
