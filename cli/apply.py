"""What ``predict``, ``evaluate`` and ``embed`` have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from seqtrain_cli import options

if TYPE_CHECKING:
    from seqtrain.io.compressed import Source

applying: Callable[[Callable[..., Any]], Callable[..., Any]] = options.apply(
    click.option("--sequence-column", metavar="COLUMN", help="Of a table; found when it is obvious."),
    options.alphabet,
    click.option("--max-length", type=options.Count(), help="Letters per window; that of the training by default."),
    click.option(
        "--long", type=click.Choice(["window", "drop", "error"]), help="What to do with longer ones (window)."
    ),
    options.bad_records,
    options.device,
    options.precision,
)


uncertainty: Callable[[Callable[..., Any]], Callable[..., Any]] = options.apply(
    click.option(
        "--uncertainty",
        is_flag=True,
        help="How unsure each prediction is: by the members of an ensemble, else by the dropout of the network.",
    ),
    click.option("--samples", type=options.Count(), help="Answers with dropout on that --uncertainty compares (20)."),
)


def as_source(path: str) -> Source:
    """A path, or "-" for standard input or output."""
    from pathlib import Path

    return "-" if path == "-" else Path(path)


def say_written(output: str) -> None:
    """One line on stderr, unless the rows went to standard output."""
    if output != "-":
        click.echo(f"wrote {output}", err=True)


def given(settings: dict[str, Any]) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in settings.items() if value is not None}
