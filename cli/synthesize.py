"""``seqtrain synthesize``."""

from __future__ import annotations

from typing import Any

import click

from seqtrain_cli import options
from seqtrain_cli.apply import as_source, given
from seqtrain_cli.progress import StderrListener


@click.command("synthesize", short_help="Synthetic members of rare classes.")
@click.argument("sequences", metavar="TABLE|FAMILY")
@click.option(
    "-o", "--output", required=True, help="CSV or TSV for a table, FASTA for a family; - for standard output."
)
@click.option("--count", type=options.Count(), required=True, help="Synthetic sequences of each class.")
@click.option("--target", multiple=True, help="Of a table: column with the classes; found when it is obvious.")
@click.option("--class", "classes", multiple=True, metavar="NAME", help="A class to add to; several may be given.")
@click.option("--below", type=options.Count(), metavar="N", help="Add to all classes with fewer training rows.")
@click.option(
    "--by",
    type=click.Choice(["vae", "profile"]),
    help="vae (the default): a variational autoencoder, or independent columns where it is no better than these on "
    "held-out members. profile: independent columns.",
)
@click.option("--strict", is_flag=True, help="Refuse a class for which the VAE is no better.")
@click.option("--rate", type=float, help="Share of the columns that are drawn anew in a relative of a member (0.5).")
@click.option("--temperature", type=float, help="Of the letters drawn; below 1 nearer to the most probable (1).")
@click.option("--prior-fraction", type=float, help="Of the sequences that have no parent (0).")
@click.option(
    "--identity",
    type=float,
    nargs=2,
    metavar="MIN MAX",
    help="Bounds of the identity with the parent, or with the nearest member without one.",
)
@click.option("--least-identity", type=float, help="Members less alike to the one most like all are left out (0.3).")
@click.option("--sequence-column", metavar="COLUMN", help="Of a table; found when it is obvious.")
@click.option("--split-column", metavar="COLUMN", help="Which set a row is in; found when it is obvious.")
@options.split_file
@click.option("--weight-column", metavar="COLUMN", help="Synthetic rows get the mean weight of their class.")
@click.option("--task", type=click.Choice(["auto", "classification"]), help="classification: numbers are classes.")
@options.alphabet
@options.bad_records
@click.option("--seed", type=int, help="Of everything random, and of the split where the table has none (0).")
def command(sequences: str, output: str, target: tuple[str, ...], classes: tuple[str, ...], **settings: Any) -> None:
    """Add synthetic members to the rare classes of TABLE, or draw relatives of one FAMILY (FASTA or an alignment).

    \b
      seqtrain synthesize labels.csv --target fold --below 20 --count 30 -o bigger.csv
      seqtrain synthesize labels.csv --target fold --class 7 --count 30 --identity 0.5 0.9 -o bigger.csv
      seqtrain synthesize family.fasta --count 100 -o synthetic.fasta

    A class has to be a family: its training rows are aligned, a variational autoencoder is fitted to the columns, and
    relatives of the members are drawn from it. Held-out members decide how long it is trained, and whether it is better
    than independent columns; if it is not, these are drawn from. It takes 5 members at least, 2 by --by profile.

    Validation and test rows are never looked at, save that no synthetic sequence equals one. The table is written with
    its rows as they are and the synthetic ones behind them, in set train, with columns source (given, synthetic),
    parent and identity (to the nearest training member).
    """
    from seqtrain.recipes.synthesize import SynthesizeConfig, synthesize_file

    config = SynthesizeConfig(target=target, classes=classes, **given(settings))
    with StderrListener() as listener:
        synthesize_file(as_source(sequences), as_source(output), config, listener)
