"""``seqtrain lr-range``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from seqtrain.errors import InputError
from seqtrain_cli import options
from seqtrain_cli.finetune import command as finetune
from seqtrain_cli.progress import StderrListener

_TABLES = (".csv", ".tsv", ".txt", ".parquet")


@click.command("lr-range", short_help="Find the learning rate.")
@click.argument("inputs", nargs=-1, metavar="TABLE|FASTA…", required=True)
@click.option("--picture", default="lr_range.svg", show_default=True, type=click.Path(path_type=Path))
@click.option("--range-steps", type=options.Count(), default=100, show_default=True, help="Of the test.")
@click.option("--target", multiple=True, metavar="COLUMN", help="Of a table: label column.")
@click.option("--sequence-column", metavar="COLUMN", help="Of a table; found when it is obvious.")
@click.option("--split-column", metavar="COLUMN", help="Of a table; found when it is obvious.")
@click.option("--loss", metavar="WORDS", help="Of a table: focal:gamma=2, huber …")
@options.asked
@options.training
def command(
    inputs: tuple[str, ...],
    picture: Path,
    range_steps: int,
    config: str | None,
    **settings: Any,
) -> None:
    """Train a copy of the network while the learning rate grows, and read the rate off the loss (Smith 2015).

    For a TABLE the network is that of seqtrain finetune, for FASTA that of seqtrain pretrain, with the same options;
    those that only say how long to train, how many members and what to keep are left out.
    Writes the curve as SVG and the figures as JSON beside it; the rate is a third of that at the lowest loss. The same
    is done by seqtrain finetune --learning-rate auto.
    """
    from seqtrain.config import FinetuneConfig, PretrainConfig
    from seqtrain.config_files import read_config
    from seqtrain.recipes.lr_range import lr_range

    is_table = len(inputs) == 1 and Path(inputs[0].removesuffix(".gz")).suffix.lower() in _TABLES
    for name in _OF_FASTA if is_table else _OF_TABLES:
        if settings.pop(name):
            kind = "FASTA" if is_table else "a table"
            raise InputError(f"--{name.replace('_', '-')}: is for {kind}, and {inputs[0]} is not; leave it out")
    if is_table and settings["sampling"] not in (None, *_OF_CLASSES):
        raise InputError(f"--sampling {settings['sampling']}: of a table choose from {', '.join(_OF_CLASSES)}")
    settings |= {"table": inputs[0]} if is_table else {"inputs": inputs}
    path = Path(config) if config else None
    chosen: PretrainConfig | FinetuneConfig = (
        read_config(FinetuneConfig, path, settings) if is_table else read_config(PretrainConfig, path, settings)
    )
    with StderrListener() as listener:
        result = lr_range(chosen, picture, range_steps, listener)
    low, high = result.bounds
    click.echo(f"proposed: --learning-rate {result.proposed:.3g}")
    click.echo(
        f"lowest loss at {result.lowest:.3g}; a tenth of it {result.tenth:.3g}; steepest fall at {result.steepest:.3g}"
    )
    words = f"--learning-rate {high:.3g} --schedule triangular:low_fraction={low / high:.3g}"
    click.echo(f"cyclical: {words}  ({low:.3g} to {high:.3g})")
    click.echo(f"wrote {picture} and {picture.with_suffix('.json')}")


_OF_WHOLE_TRAININGS = (
    "output", "schedule", "warmup_fraction", "learning_rate", "average", "stop_early", "on_nan", "steps",
    "num_evaluations", "tensorboard", "debug", "overwrite", "dry_run",
)  # fmt: skip
"""Options of a training that change nothing in a test of its first steps, whose rate is what is looked for."""
command.params = [each for each in command.params if each.name not in _OF_WHOLE_TRAININGS]
_sampling, _of_classes = (
    next(each for each in of.params if isinstance(each, click.Option) and each.name == "sampling")
    for of in (command, finetune)
)
assert isinstance(_of_classes.type, click.Choice)
_OF_CLASSES = tuple(map(str, _of_classes.type.choices))
_sampling.help = f"Of FASTA: natural or families:power=0.5; of a table: {', '.join(_OF_CLASSES)}."
_OF_FINETUNING = (
    "task", "mask_column", "weight_column", "mix", "adversarial", "resample", "disturbed_fraction", "head",
    "head_learning_rate", "keep_head", "split", "fold", "split_by",
)  # fmt: skip
"""Options of ``seqtrain finetune`` that change its first steps, beside those that stand above."""
command.params += [each for each in finetune.params if each.name in _OF_FINETUNING]
_OF_TABLES = ("target", "sequence_column", "split_column", "loss", *_OF_FINETUNING)
_OF_FASTA = ("objective", "masked_fraction", "families")
