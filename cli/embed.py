"""``seqtrain embed``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from seqtrain_cli.apply import applying, as_source, given
from seqtrain_cli.progress import StderrListener


@click.command("embed", short_help="Embeddings of sequences.")
@click.argument("run")
@click.argument("sequences")
@click.option("-o", "--output", default="embeddings.npz", show_default=True, type=click.Path(path_type=Path))
@click.option("--layer", type=int, default=-1, show_default=True, help="0: token embeddings; -1: the last layer.")
@click.option("--per-residue", is_flag=True, help="One vector per residue instead of their mean.")
@applying
def command(run: str, sequences: str, output: Path, layer: int, per_residue: bool, **settings: Any) -> None:
    """Write embeddings of a FASTA or table (- for standard input) by any RUN to a .npz file.

    The file holds identifiers (N), embeddings (N × width), the mean over residues with special tokens left out, or with
    --per-residue embeddings (residues × width) and boundaries (N + 1). Memory does not grow with the input.
    """
    from seqtrain.recipes.apply import ApplyConfig, embed_file

    with StderrListener() as listener:
        config = ApplyConfig(run=run, **given(settings))
        embed_file(as_source(sequences), output, config, listener, layer=layer, per_residue=per_residue)
