"""``seqtrain tune``."""

from __future__ import annotations

import contextlib
from typing import Any

import click

from seqtrain_cli import options
from seqtrain_cli.finetune import command as finetune
from seqtrain_cli.train import run_training


@click.command("tune", short_help="Search for the settings of a finetuning.")
@click.option("--trials", type=options.Count(), help="Of all processes together that are started on the folder (30).")
@click.option(
    "--sampler",
    metavar="WORDS",
    help="tpe (the default), random, grid, or evolution with fields, such as evolution:population=20.",
)
@click.option(
    "--pruner", metavar="WORDS", help="End hopeless trials early: median (the default), hyperband:reduction=3, none."
)
@click.option(
    "--search",
    multiple=True,
    type=click.Choice(["settings", "architecture", "augmentation", "none"]),
    help="What is varied out of the box: settings (the default), the blocks of a convolutional network, a policy of "
    "augmentation; none: only what --vary says.",
)
@click.option(
    "--vary",
    multiple=True,
    metavar="WORDS",
    help="learning_rate:low=1e-4,high=1e-2,log=true or model:choices=cnn/transformer; any setting, also within words: "
    "model.kernel_size:low=3,high=9,step=2.",
)
@click.option("--space", type=click.Path(), help="TOML file of what is varied, instead of what is out of the box.")
@click.option("--metric", metavar="NAME", help="Of the validation records, that trials are judged by.")
@click.option(
    "--also",
    multiple=True,
    type=click.Choice(["latency", "parameters", "memory"]),
    help="To be made small beside the score, which gives a Pareto front.",
)
@click.option("--timeout", type=float, metavar="SECONDS", help="After which no trial is begun.")
@click.option("--keep", type=int, help="Of the best trials, whose models are kept (3).")
def command(config: str | None, overwrite: bool, dry_run: bool, **settings: Any) -> None:
    """Search for the settings of a finetuning by trials that are judged on the validation records.

    TABLE and the other options are those of seqtrain finetune; what is given stays, the rest may be varied. The test
    set is looked at once, at the end, by a run with the best settings. The same command goes on with a search that was
    stopped, and started several times it shares the trials among its processes.
    """
    from seqtrain.config import TuneConfig
    from seqtrain.recipes.tune import tune

    settings["fixed"] = tuple(_given(config, settings))
    run_training(TuneConfig, tune, config, settings, overwrite=overwrite, dry_run=dry_run)


def _given(config: str | None, settings: dict[str, Any]) -> list[str]:
    """The settings of a finetuning that were given, here or in the file, though they may have their default."""
    from dataclasses import fields
    from pathlib import Path

    from seqtrain.config import FinetuneConfig

    names = {name for name, value in settings.items() if value is not None and value != ()}
    if config is not None and Path(config).is_file():
        import tomllib

        # What is wrong with the file is said when the configuration is read.
        with contextlib.suppress(OSError, ValueError):
            names |= set(tomllib.loads(Path(config).read_text(encoding="utf-8")))
    return sorted(names & {field.name for field in fields(FinetuneConfig)})


_OF_ENSEMBLES = ("members", "bagging")
"""Options of a finetuning that a trial, which is one network, does not have."""
command.params += [each for each in finetune.params if each.name not in _OF_ENSEMBLES]
