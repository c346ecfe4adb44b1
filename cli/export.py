"""``seqtrain export``."""

from __future__ import annotations

from pathlib import Path

import click

from seqtrain_cli.progress import StderrListener


@click.command("export", short_help="A trained network for other programs.")
@click.argument("run")
@click.option(
    "--to",
    required=True,
    type=click.Choice(["huggingface", "onnx", "safetensors"]),
    help="A folder for transformers; a file for ONNX runtimes; weights and configuration in one file.",
)
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Folder or file to write.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier export.")
def command(run: str, to: str, output: Path, overwrite: bool) -> None:
    """Write the network of a finished RUN for programs other than seqtrain.

    Each export is loaded again and compared with the network on random sequences; a difference above 1e-4 is an error.
    ONNX needs an extra: pip install "seqtrain[onnx]".
    """
    from typing import cast

    from seqtrain.recipes.export import ExportConfig, Form, export_run

    with StderrListener() as listener:
        export_run(ExportConfig(run=run, to=cast(Form, to), output=output, overwrite=overwrite), listener)
