"""``seqtrain finetune``."""

from __future__ import annotations

from typing import Any

import click

from seqtrain_cli import options
from seqtrain_cli.train import run_training


@click.command("finetune", short_help="Learn labels from a table.")
@click.argument("table", required=False)
@click.option(
    "--target", multiple=True, metavar="COLUMN", help="Label column; several for a regression of several numbers."
)
@click.option("--sequence-column", metavar="COLUMN", help="Found when it is obvious.")
@click.option("--split-column", metavar="COLUMN", help="Cells begin with train, val/dev or test; else a split is made.")
@options.split_file
@click.option(
    "--split-by",
    metavar="WORDS",
    help="Make sets: random, stratified, group:column=NAME, or homology:identity=0.3, which keeps relatives together.",
)
@click.option("--mask-column", metavar="COLUMN", help="0 and 1 per residue: which labels count.")
@click.option("--weight-column", metavar="COLUMN", help="Weight of each record in the loss, or see --sampling.")
@click.option(
    "--task",
    type=click.Choice(["auto", "regression", "classification", "multilabel", "residue"]),
    help="What the labels are; auto looks at them and says what it took.",
)
@click.option("--loss", metavar="WORDS", help="focal:gamma=2, class-balanced, huber …; else that of the task.")
@click.option("--disturbed-fraction", type=float, help="Of the class labels, replaced by others each epoch (0).")
@click.option(
    "--sampling",
    type=click.Choice(["natural", "square-root", "balanced", "weights"]),
    help="Shares of the classes in an epoch, see seqtrain imbalance; weights: records by their --weight-column.",
)
@click.option("--mix", metavar="WORDS", help="Pairs of training sequences: mixup, cutmix, remix (for rare classes).")
@click.option(
    "--adversarial",
    metavar="WORDS",
    help="Train on every batch once more with its embeddings moved against the network: gradient-sign:size=0.01, or "
    "projected-gradient:size=0.01,steps=3. Takes about 3 or 5 times as long.",
)
@click.option(
    "--resample",
    metavar="WORDS",
    help="Classes made more alike among hidden states: tomek-links, cluster-centroids; with --freeze body also smote, "
    "borderline-smote, smote-tomek, interpolation, extrapolation.",
)
@click.option(
    "--calibrate",
    type=click.Choice(["temperature", "none"]),
    help="Correct how sure probabilities are, on the validation records (none).",
)
@click.option(
    "--threshold",
    metavar="RULE|P",
    help="Of two classes or several labels: predict from the probability that is best on the validation records by f1, "
    "mcc, balanced-accuracy or youden, or from a number (0.5).",
)
@click.option(
    "--leakage",
    type=click.Choice(["none", "sampled", "full"]),
    help="Look for the nearest training record of about 2,000 test records (the default), of all, or of none.",
)
@click.option("--members", type=options.Count(), help="Train an ensemble of so many networks (1).")
@click.option(
    "--bagging",
    type=click.Choice(["none", "bootstrap", "balanced"]),
    help="What each member is trained on: all records, a bootstrap sample, or as many of each class as the rarest has.",
)
@click.option(
    "--baselines",
    type=click.Choice(["all", "linear", "none"]),
    help="Simple models beside each score: all (the default), without neighbours and trees, or none.",
)
@click.option(
    "--epochs",
    type=options.Count(),
    help="Budget in passes over the training records (2 to 30: 6M letters, 100M on a GPU).",
)
@click.option(
    "--head",
    metavar="WORDS",
    help="pooled-head (the default), light-attention-head; aligned-head for variants of one protein …",
)
@click.option("--head-learning-rate", type=float, help="Peak rate of the head (twice the other).")
@click.option("--keep-head", is_flag=True, default=None, help="Of --from, whose labels mean the same: no new head.")
@options.training
def command(config: str | None, overwrite: bool, dry_run: bool, **settings: Any) -> None:
    """Train on labelled sequences, from a pretrained run or from scratch.

    TABLE is CSV, TSV (plain or gzipped) or Parquet. The columns of sequences and labels and the kind of task are found
    when they are obvious; what was taken is said. Predictions come back with the table's class names and units.
    """
    from seqtrain.config import FinetuneConfig
    from seqtrain.recipes.finetune import finetune

    run_training(FinetuneConfig, finetune, config, settings, overwrite=overwrite, dry_run=dry_run)
