"""``seqtrain describe``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from seqtrain_cli import options

if TYPE_CHECKING:
    from seqtrain.describe import Description


@click.command("describe", short_help="A network in figures.")
@click.argument("source", required=False, metavar="RUN|MODEL|CONFIG.toml")
@click.option("--model", metavar="WORDS", help="Instead: a network from scratch, such as transformer or u-net.")
@click.option("--size", help="Of a network from scratch: 1M (the default), 8M, 650M …")
@click.option(
    "--alphabet", type=click.Choice(["protein", "dna", "rna", "codon"]), default="protein", help="Of one from scratch."
)
@click.option("--outputs", type=options.Count(), help="A head for labels that gives so many numbers.")
@click.option("--per-residue", is_flag=True, help="A head for labels of residues.")
@click.option("--head", metavar="WORDS", help="A head for labels: pooled-head, light-attention-head …")
@click.option(
    "--length", type=options.Count(), default=512, show_default=True, help="Residues; attention grows with it."
)
@click.option("--svg", "picture", type=click.Path(path_type=Path), help="Draw the network into this file.")
def command(picture: Path | None, **settings: Any) -> None:
    """Show what a network is made of: parts, output shapes, parameters, and the work of a forward pass.

    The network is that of a run, of a model folder, of a training's config.toml, or one from scratch: seqtrain describe
    --model transformer --size 650M. Nothing is trained, and weights are not needed.
    """
    from seqtrain.io.run_directory import write_text_atomically
    from seqtrain.network_picture import network_picture
    from seqtrain.recipes.describe import Question, describe_source

    description = describe_source(Question(**settings), inside=picture is not None)
    _print(description)
    if picture is not None:
        write_text_atomically(picture, network_picture(description))
        click.echo(f"wrote {picture}", err=True)


def _print(description: Description) -> None:
    from rich.console import Console
    from rich.table import Table

    from seqtrain.network_picture import short

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("part", "kind", "output", ""):
        table.add_column(name, no_wrap=True)
    for name in ("parameters", "FLOPs/residue"):
        table.add_column(name, justify="right", no_wrap=True)
    for part in description.parts:
        letters = "" if part.letters is None else f"({', '.join(part.letters)})"
        numbers = "" if part.shape is None else " × ".join(map(str, part.shape))
        kind = f"{part.count} × {part.kind}" if part.count > 1 else part.kind
        work = short(part.flops / description.length)
        table.add_row(part.name, kind, letters, numbers, f"{part.parameters:,}", work)
    table.add_row("total", "", "", "", f"{description.parameters:,}", short(description.flops_per_residue))
    click.echo(description.title)
    console = Console(width=max(120, Console().width), highlight=False, emoji=False)
    console.print(table, markup=False)
    for line in description.notes():
        click.echo(line)
