"""Options that several commands share, and how their words become values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

_SUFFIXES = {"k": 10**3, "m": 10**6, "g": 10**9}


class Count(click.ParamType[int]):
    """A whole number, also written as 1e9, 3M, 2.5k or 300_000."""

    name = "count"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Text to a number; a usage error for anything else."""
        if isinstance(value, int):
            return value
        text = str(value).strip().lower()
        scale = _SUFFIXES.get(text[-1:], 1)
        try:
            number = float(text[:-1] if scale > 1 else text) * scale
        except ValueError:
            self.fail(f"{value!r} is not a number; write it as 1000000, 1e6 or 1M", param, ctx)
        if not number.is_integer():
            self.fail(f"{value!r} is not a whole number", param, ctx)
        return int(number)


class CountOrAuto(click.ParamType[int | str]):
    """A whole number as for :class:`Count`, or auto."""

    name = "count"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        """Text to a number; a usage error for anything else than auto."""
        return "auto" if value == "auto" else Count().convert(value, param, ctx)


class Rate(click.ParamType[float | str]):
    """A number, or auto."""

    name = "rate"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | str:
        """Text to a number; a usage error for anything else than auto."""
        if value == "auto":
            return "auto"
        try:
            return float(value)
        except ValueError:
            self.fail(f"{value!r} is neither a number nor auto", param, ctx)


def apply(*options: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Several options as one decorator, shown in the order given."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


device = click.option("--device", help="auto (the default), cpu, cuda, cuda:N or mps.")
precision = click.option(
    "--precision", type=click.Choice(["auto", "fp32", "bf16"]), help="auto: bf16 on CUDA, else fp32."
)
bad_records = click.option(
    "--bad-records",
    type=click.Choice(["error", "drop"]),
    help="Stop at a record that cannot be used (the default), or drop it and count it.",
)
alphabet = click.option(
    "--alphabet",
    type=click.Choice(["auto", "protein", "dna", "rna", "codon"]),
    help="What the sequences are written in; auto takes proteins and asks about nucleotides.",
)
config = click.option(
    "--config", type=click.Path(), help="TOML file with any of these settings; options given here win over it."
)

split_file = apply(
    click.option("--split", metavar="FILE", help="Which row is in which set, as seqtrain split writes it."),
    click.option("--fold", type=int, metavar="K", help="Of --split with folds: the one to take, from 1 on."),
)
"""Sets of a labelled table."""

asked = apply(
    click.option(
        "--objective",
        metavar="WORDS",
        help="masked-lm (the default), span-masking, masked-autoencoder, pretext, sim-clr, nnclr, sim-siam.",
    ),
    click.option("--masked-fraction", type=float, help="Of the residues (0.15 in masked-lm)."),
    click.option(
        "--sampling", metavar="WORDS", help="natural (the default), or families:power=0.5 for redundant corpora."
    ),
    click.option(
        "--families", metavar="TSV", help="Clusters as MMseqs2 writes them; else they are found by shared k-mers."
    ),
)
"""What a pretraining asks, and of which sequences how often."""

training = apply(
    click.option(
        "-o", "--output", help="Run directory; by default runs/<command>-<input>, for labels with their column."
    ),
    click.option(
        "--from",
        "init_from",
        metavar="RUN|MODEL",
        help="Start from a run directory, a folder of ESM-2, ESM-C, BERT or T5, or a name on the Hugging Face hub.",
    ),
    click.option("--revision", help="Of a model on the hub: branch, tag or commit; the run keeps the commit."),
    click.option(
        "--lora",
        metavar="WORDS",
        help="Train adapters only: rank=8,alpha=16,dropout=0.05,targets=query/value,saved=merged or adapter.",
    ),
    click.option(
        "--freeze",
        metavar="WORDS",
        help="Of the weights of --from: body, embeddings, lowest:layers=N, or gradual:until=0.5 from the top down.",
    ),
    click.option("--layer-decay", type=float, help="Factor on the rate per layer below the head; 0.8 is usual (1)."),
    click.option(
        "--model",
        metavar="WORDS",
        help="From scratch: transformer (the default), gated-transformer, cnn, residual-cnn, u-net; with fields, such "
        "as cnn:kernel_size=7.",
    ),
    click.option("--size", help="From scratch: 100K, 1M (the default on a CPU), 8M (on a GPU) … or any, such as 20M."),
    click.option(
        "--initialise",
        type=click.Choice(["glorot", "he", "lecun", "orthogonal", "fixup"]),
        help="From scratch: where the weights start, other than each network does by itself.",
    ),
    click.option(
        "--spectral-norm",
        type=float,
        metavar="NORM",
        help="Keep the largest singular value of each layer of the body at this; 1 is usual.",
    ),
    alphabet,
    click.option("--max-length", type=Count(), help="Letters; longer sequences are treated as --long says (1022)."),
    click.option("--long", type=click.Choice(["crop", "window", "drop", "error"]), help="What to do with longer ones."),
    bad_records,
    click.option(
        "--augment",
        multiple=True,
        metavar="WORDS",
        help="Augment training sequences anew each epoch, such as matrix-substitution:rate=0.05; see seqtrain augment.",
    ),
    click.option(
        "--curriculum",
        metavar="WORDS",
        help="shortest-first, length-growth:start=128, easiest-first:column=NAME, automatic:by=length.",
    ),
    click.option("--optimizer", metavar="WORDS", help="adamw (the default), lamb, muon, sgd:momentum=0.9 …"),
    click.option("--schedule", metavar="WORDS", help="warmup-cosine (the default), one-cycle, constant, plateau …"),
    click.option("--regularize", multiple=True, metavar="WORDS", help="At every step: max-norm, l1, gradient-noise …"),
    click.option("--average", metavar="WORDS", help="Keep averaged weights: ema:decay=0.999, swa."),
    click.option("--stop-early", metavar="WORDS", help="patience:evaluations=3, gl, pq, up."),
    click.option(
        "--on-nan",
        type=click.Choice(["stop", "skip", "rollback"]),
        help="When a loss is not finite: stop (the default), skip the update, or go back to the last checkpoint.",
    ),
    click.option("--steps", type=Count(), help="Budget in updates, instead of the other budget."),
    click.option(
        "--tokens-per-step",
        type=Count(),
        help="Letters and special tokens per update (2,048; more on a GPU or in views).",
    ),
    click.option(
        "--tokens-per-microbatch",
        type=CountOrAuto(),
        help="Computed at once; lower it when memory runs out, or auto to find the most that fit.",
    ),
    click.option(
        "--learning-rate",
        type=Rate(),
        help="Peak rate (0.001, from trained weights 0.0005; in pretrain 0.0005 and 0.0001), or auto: a range test.",
    ),
    click.option("--weight-decay", type=float, help="Of matrices, not of biases, norms and embeddings (0.01)."),
    click.option("--warmup-fraction", type=float, help="Of the steps (0.1)."),
    click.option("--dropout", type=float, help="Fraction."),
    click.option("--num-evaluations", type=Count(), help="Scorings of the held-out records while training."),
    click.option("--seed", type=int, help="Of everything random (0)."),
    device,
    precision,
    click.option("--compile", is_flag=True, default=None, help="Compile the layers of a transformer first."),
    click.option(
        "--activation-checkpointing", is_flag=True, default=None, help="Less memory, more time: compute layers twice."
    ),
    click.option("--tensorboard", is_flag=True, default=None, help="Write TensorBoard events too."),
    click.option(
        "--debug",
        is_flag=True,
        default=None,
        help="Look for faults before, during and after the training: say what, why and what to do, see debug.json.",
    ),
    config,
    click.option("--overwrite", is_flag=True, help="Start anew what the run directory holds."),
    click.option("--dry-run", is_flag=True, help="Show configuration, ledger and model; train and write nothing."),
)
