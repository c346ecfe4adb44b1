"""``seqtrain demo``."""

from __future__ import annotations

import click

from seqtrain_cli import options
from seqtrain_cli.progress import StderrListener


@click.command("demo", short_help="The main job on the sample.")
@click.option("-o", "--output", default="runs/demo", show_default=True, help="Folder for the runs and predictions.")
@options.device
def command(output: str, device: str | None) -> None:
    """Pretrain on the 85 chloroplast proteins that ship, finetune their functions, predict, and write the reports."""
    from seqtrain.recipes.demo import demo

    with StderrListener() as listener:
        demo(output, listener, device=device or "auto")
