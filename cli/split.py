"""``seqtrain split``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from seqtrain.errors import InputError
from seqtrain_cli import options
from seqtrain_cli.apply import as_source, given
from seqtrain_cli.progress import StderrListener

if TYPE_CHECKING:
    from seqtrain.split_ways import SplitBy

_OF_HOMOLOGY = ("identity", "method", "families")


@click.command("split", short_help="Train, validation and test sets as a file.")
@click.argument("source", metavar="TABLE|FASTA", type=click.Path(path_type=Path))
@click.option(
    "--by",
    type=click.Choice(["random", "stratified", "group", "homology"]),
    required=True,
    help="random; stratified: shares of classes or of ranges of a number alike in all sets; group: rows with the same "
    "cell in --group-column together; homology: relatives together.",
)
@click.option("--group-column", metavar="COLUMN", help="Of --by group, such as a family, a patient or a plate.")
@click.option("--identity", type=float, help="Of --by homology: records at least so alike stay together (0.3).")
@click.option(
    "--method",
    type=click.Choice(["auto", "built-in", "mmseqs"]),
    help="Of --by homology: how relatives are found; auto takes MMseqs2 where it is installed and worth it.",
)
@click.option(
    "--families", metavar="TSV", help="Of --by homology: clusters as MMseqs2 writes them, instead of a search."
)
@click.option("--folds", type=options.Count(), help="Nested k-fold: a column for each fold, which tests its own part.")
@click.option("--valid-fraction", type=float, help="Of all records (0.1); 0 for no validation set.")
@click.option("--test-fraction", type=float, help="Of all records (0.1); 0 for no test set.")
@click.option(
    "--rare-classes",
    type=click.Choice(["refuse", "train"]),
    help="With --folds: classes that are all in one group are an error (the default), or stay in train in every fold.",
)
@click.option("--target", metavar="COLUMN", help="Labels; found when they are obvious, and done without when not.")
@click.option("--sequence-column", metavar="COLUMN", help="Found when it is obvious.")
@click.option("--task", type=click.Choice(["auto", "regression", "classification", "multilabel", "residue"]))
@options.alphabet
@options.bad_records
@click.option("--seed", type=int, help="Of everything random (0).")
@click.option("-o", "--output", required=True, metavar="FILE", help="CSV or TSV: row, identifier, set, and the folds.")
def command(source: Path, output: str, by: str, **settings: Any) -> None:
    """Split the records of a TABLE or FASTA into train, validation and test, and write which is where.

    Records with equal sequences, and augmented copies with their originals, stay together in every way. Whole groups
    are dealt out so that the sizes and the shares of classes come near to what was asked; what came out is said.
    Every command that reads labels takes the file: seqtrain finetune TABLE --split FILE [--fold K].
    """
    from seqtrain.recipes.split import SplitConfig, split_file
    from seqtrain.splitting import Splitting

    way = _way(by, {name: settings.pop(name) for name in ("group_column", *_OF_HOMOLOGY)})
    folds, rare = settings.pop("folds"), settings.get("rare_classes")
    if folds is not None and settings["test_fraction"] is not None:
        raise InputError(f"--test-fraction: each of {folds} folds tests one part of {folds}; leave one of the two out")
    if folds is None and rare is not None:
        raise InputError(f"--rare-classes {rare}: is for --folds; without them rare classes stay in train")
    how = ("valid_fraction", "test_fraction", "rare_classes", "seed")
    splitting = Splitting(by=way, num_folds=folds, **given({name: settings.pop(name) for name in how}))
    with StderrListener() as listener:
        split_file(source, as_source(output), SplitConfig(splitting=splitting, **given(settings)), listener)


def _way(by: str, settings: dict[str, Any]) -> SplitBy:
    """The way to split, with the options that belong to it.

    Raises:
        InputError: options of another way, or none where one is needed.
    """
    from seqtrain.split_ways import Group, Homology, Random, Stratified

    for name, value in settings.items():
        owner: Literal["group", "homology"] = "group" if name == "group_column" else "homology"
        if value is not None and by != owner:
            raise InputError(f"--{name.replace('_', '-')}: is for --by {owner}; leave it out, or split by that")
    if by == "group":
        if settings["group_column"] is None:
            raise InputError("--by group: name the column: --group-column COLUMN")
        return Group(column=settings["group_column"])
    if by == "homology":
        if settings["families"] is not None and any(settings[name] is not None for name in ("identity", "method")):
            raise InputError("--families: the clusters are made already; leave out --identity and --method")
        return Homology(**given({name: settings[name] for name in _OF_HOMOLOGY}))
    return Random() if by == "random" else Stratified()
