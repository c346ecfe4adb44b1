"""``seqtrain distill``."""

from __future__ import annotations

from typing import Any

import click

from seqtrain_cli.finetune import command as finetune
from seqtrain_cli.train import run_training


@click.command("distill", short_help="Learn a small model from finished runs.")
@click.option(
    "--teacher",
    multiple=True,
    metavar="RUN",
    help="A finished run of the same task, an ensemble too; several teach together, each network counting once.",
)
@click.option(
    "--unlabeled", multiple=True, metavar="FASTA", help="Sequences that only the teacher has a say on; files or globs."
)
@click.option("--temperature", type=float, help="That the probabilities are softened by (2).")
@click.option("--hard-fraction", type=float, help="Of the loss, that of the labels; the rest is the teacher's (0.5).")
@click.option(
    "--teacher-input",
    type=click.Choice(["same", "clean"]),
    help="The teacher sees what the student sees (the default), or the sequence without augmentation.",
)
@click.option(
    "--teacher-mean",
    type=click.Choice(["logits", "probabilities"]),
    help="What is averaged over several networks; the mean of logits (the default) is what an ensemble predicts.",
)
@click.option(
    "--cache-teacher",
    is_flag=True,
    default=None,
    help="Ask the teacher once and keep its answers in the run directory.",
)
@click.option(
    "--similarity",
    type=float,
    metavar="WEIGHT",
    help="Learn from the teacher how alike sequences are to augmented ones, too (needs --augment); 10 to start with.",
)
@click.option(
    "--similarity-steps",
    type=int,
    help="Updates of the module that the teacher compares by, before the student's (a quarter of those).",
)
def command(config: str | None, overwrite: bool, dry_run: bool, **settings: Any) -> None:
    """Train a small network on what one or several finished runs say, and on the labels of a table.

    TABLE is read as seqtrain finetune reads it, whose options apply. The student is a run like any other. It is scored
    beside its teacher, on the same records, for what it keeps of the score and how much faster it is.
    """
    from seqtrain.config import DistillConfig
    from seqtrain.recipes.distill import distill

    run_training(DistillConfig, distill, config, settings, overwrite=overwrite, dry_run=dry_run)


_OF_ENSEMBLES = ("members", "bagging")
"""Options of a finetuning that a student, which is one network, does not have."""
command.params += [each for each in finetune.params if each.name not in _OF_ENSEMBLES]
