"""``seqtrain score``."""

from __future__ import annotations

from typing import Any

import click

from seqtrain_cli import options
from seqtrain_cli.apply import as_source, given
from seqtrain_cli.progress import StderrListener

METHODS = ("masked-marginal", "wild-type-marginal", "pseudo-log-likelihood")


@click.command("score", short_help="How likely mutations are.")
@click.argument("run")
@click.argument("wild_types", metavar="WILD_TYPE.fasta")
@click.option("--mutations", metavar="TABLE", help="CSV, TSV or Parquet: a column of mutations or mutated sequences.")
@click.option("--all-singles", is_flag=True, help="Every replacement of one residue, 19 per position.")
@click.option("-o", "--output", default="-", help="CSV or TSV, .gz too; standard output by default.")
@click.option(
    "--method",
    "methods",
    type=click.Choice(METHODS),
    multiple=True,
    default=("masked-marginal",),
    show_default=True,
    help="Several give a column each; the last one takes a pass per residue of every variant.",
)
@click.option("--mutation-column", metavar="COLUMN", help="Of texts such as A24G; found when it is obvious.")
@click.option("--sequence-column", metavar="COLUMN", help="Of mutated sequences, in the place of mutations.")
@click.option("--name-column", metavar="COLUMN", help="Which wild type a row is of, where the FASTA has several.")
@click.option("--offset", type=int, help="Added to the positions of the table, if it does not count from 1 (0).")
@click.option("--max-length", type=options.Count(), help="Letters per window; that of the training by default.")
@click.option("--measured", metavar="COLUMN", help="Numbers in the table; prints Spearman's correlation with them.")
@click.option("--heat-map", metavar="FILE.svg", help="Draw the scores of single replacements.")
@options.device
@options.precision
def command(run: str, wild_types: str, output: str, methods: tuple[str, ...], **settings: Any) -> None:
    """Score mutations by a masked language model that has seen no labels; higher is likelier, in nats.

    RUN is a run of pretrain, or a folder such as a published ESM-2. Mutations are written A24G, positions from 1, and
    several A24G:L30V; A24del, A24_L30del, A24_L25insGG, A24_L30delinsGG; WT is 0.

    \b
    masked-marginal        ln p(mutant) - ln p(wild type) with all replaced positions masked at once, summed over
                           them; everything else is the wild type's (Meier et al. 2021)
    wild-type-marginal     the same with nothing masked: the fastest
    pseudo-log-likelihood  the sum of ln p of every residue, masked one by one, of the mutant minus that of the wild
                           type; not divided by the length (Salazar et al. 2020); the only one for insertions and
                           deletions

    Probabilities are over the standard residues. In long proteins each position is scored in a window around it. One
    row comes out for every row of the table, in order, with its other columns.
    """
    from seqtrain.recipes.score import score_file
    from seqtrain.recipes.score_job import ScoreConfig

    with StderrListener() as listener:
        config = ScoreConfig(run=run, wild_types=wild_types, methods=methods, **given(settings))
        score_file(config, as_source(output), listener)
