"""``seqtrain embed``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import click

from seqtrain_cli.apply import applying, as_source, given
from seqtrain_cli.progress import StderrListener


@click.command("embed", short_help="Embeddings of sequences.")
@click.argument("run")
@click.argument("sequences")
@click.option("-o", "--output", default="embeddings.npz", show_default=True, type=click.Path(path_type=Path))
@click.option(
    "--layer",
    "layers",
    type=int,
    multiple=True,
    default=(-1,),
    show_default=True,
    help="0: token embeddings; -1: the last layer; several: side by side.",
)
@click.option("--pooling", type=click.Choice(["mean", "max"]), help="Over the residues of a sequence (mean).")
@click.option("--per-residue", is_flag=True, help="One vector per residue instead of one per sequence.")
@click.option("--dtype", type=click.Choice(["float32", "float16"]), default="float32", show_default=True)
@applying
def command(
    run: str,
    sequences: str,
    output: Path,
    layers: tuple[int, ...],
    pooling: Literal["mean", "max"] | None,
    per_residue: bool,
    dtype: Literal["float32", "float16"],
    **settings: Any,
) -> None:
    """Write embeddings of a FASTA or table (- for standard input) to a file: .npz, .h5 or .parquet, as -o ends.

    RUN is a run of pretrain or finetune, or a folder with nothing but a model, such as a published ESM-2. Special
    tokens are left out, and long sequences are read in windows of which each residue is taken once. Memory does not
    grow with the input. What each format holds is written in docs/embeddings.md.
    """
    if per_residue and pooling is not None:
        raise click.UsageError(f"--pooling {pooling} and --per-residue exclude each other; leave one of the two out")
    from seqtrain.recipes.apply import ApplyConfig, EmbedConfig, embed_file

    with StderrListener() as listener:
        config = ApplyConfig(run=run, **given(settings))
        embedding = EmbedConfig(layers=layers, pooling="none" if per_residue else pooling or "mean", dtype=dtype)
        embed_file(as_source(sequences), output, config, listener, embedding)
