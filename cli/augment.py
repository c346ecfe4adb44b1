"""``seqtrain augment``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click

from seqtrain_cli import options
from seqtrain_cli.apply import as_source, given
from seqtrain_cli.progress import StderrListener

_SHARED_SETTINGS = ("alphabet", "bad_records", "seed", "sequence_column")
_VARIANT_SETTINGS = ("wild_type", "mutant_column", "score_column", "threshold", "tolerance")
_MODEL_SETTINGS = ("model", "device")

auditing = options.apply(
    click.option(
        "--audit",
        metavar="TABLE",
        help="Write no copies: say how likely they change the label, by measured variants or by --model, and which "
        "rate is safe. OUT gets the figures (standard output by default); IN is left out.",
    ),
    click.option("--score-column", metavar="COLUMN", help="Of the audit's table; higher is better, or 0 and 1."),
    click.option("--mutant-column", metavar="COLUMN", help="Of the audit's table: A24G or A24G:L30P, from 1."),
    click.option("--wild-type", metavar="FASTA", help="What the variants are of; auto takes their consensus."),
    click.option("--threshold", type=float, help="Scores below it count as another label; found when it is obvious."),
    click.option("--tolerance", type=float, help="Accepted probability that a copy has another label (0.1)."),
    click.option("--model", metavar="RUN", help="Audit by what a finetuned run says of TABLE, a table or FASTA."),
    click.option("--device", help="Of --model: auto (the default), cpu, cuda, cuda:N or mps."),
)


class _CommandWithWords(click.Command):
    """A command whose help ends with the augmenters, read from their classes when it is shown."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Names and fields of the augmenters."""
        from seqtrain.copies.explained import summary

        with formatter.section("Augmenters and their fields (explained by --list)"):
            formatter.write_dl(summary())


@click.command("augment", cls=_CommandWithWords, short_help="Augmented copies of sequences.")
@click.argument("sequences", metavar="IN", required=False)
@click.argument("output", metavar="OUT", required=False)
@click.option(
    "--with", "words", multiple=True, metavar="WORDS", help="What is done to a copy; several are done in turn."
)
@click.option("--copies", type=options.Count(), help="Of each record (1).")
@click.option("--keep-original/--no-original", default=None, help="Write the originals too (the default).")
@click.option("--unique", is_flag=True, help="No copy equals its original or another copy of it.")
@click.option("--seed", type=int, help="Of everything random (0).")
@click.option("--protect", metavar="POSITIONS", help="Letters of every record that stay, from 1: 1-20,45.")
@click.option("--protect-column", metavar="COLUMN", help="Of a table: such positions, for each row its own.")
@click.option("--sequence-column", metavar="COLUMN", help="Of a table; found when it is obvious.")
@click.option(
    "--per-residue",
    multiple=True,
    metavar="COLUMN",
    help="Of a table: one character per residue, which follow their residues; found when obvious.",
)
@options.alphabet
@options.bad_records
@click.option("--dry-run", is_flag=True, help="Show the first records before and after; write nothing.")
@auditing
@click.option("--list", "list_words", is_flag=True, help="Explain every augmenter and its fields, and leave.")
def command(
    sequences: str | None,
    output: str | None,
    words: tuple[str, ...],
    audit: str | None,
    dry_run: bool,
    list_words: bool,
    **settings: Any,
) -> None:
    """Write the records of IN (FASTA, CSV, TSV or Parquet, - for standard input), each followed by its augmented
    copies, to OUT (FASTA or CSV/TSV, .gz too, - for standard output).

    \b
      seqtrain augment labels.csv more.csv --with matrix-substitution:rate=0.05 --copies 4
      seqtrain augment in.fasta out.fasta --with "cutout:length=9 | letter-dropout:rate=0.1"
      seqtrain augment in.fasta genes.fasta --with back-translation:usage=h_sapiens --copies 10 --unique

    Labels and all other columns are carried along; where a copy comes from stands in its header, or in the columns
    augmented_from, copy and augmentation; rows without names get some, in a column identifier. Copies of one record
    belong into one set: split first, then augment what is trained on. A copy depends on its record, its number and the
    seed alone.

    \b
    WORDS:  name:field=value,field=value     one augmenter; probability=… applies it to some records
            name:… | name:…                  one of several for each record
            2 of name:… | name:… at 0.5      two of several, at half their strength
            --with … --with …                one after the other

    Nucleotide augmentation (Minot & Reddy 2022): random mode, back-translation with --unique; iterative mode,
    iterated-back-translation, whose copy c is the c-th coding sequence; online mode with threshold t and fraction f,
    synonymous-codons:rate=f,probability=1-t.

    \b
      seqtrain augment risks.csv --audit variants.csv --with matrix-substitution:rate=0.1
      seqtrain augment risks.csv --audit labels.csv --model runs/labels --with matrix-substitution:rate=0.1
    """
    if list_words:
        from seqtrain.copies.explained import explanation

        click.echo(explanation())
        return
    if audit is not None:
        _audit(audit, sequences, output, words, {**settings, "dry_run": dry_run})
        return
    settings = _without(settings, (*_VARIANT_SETTINGS, *_MODEL_SETTINGS), "belongs to --audit")
    if sequences is None or (output is None and not dry_run):
        raise click.UsageError("IN and OUT are both needed (or --dry-run, or --list)", click.get_current_context())
    from seqtrain.recipes.augment import AugmentConfig, augment_file, show_copies

    config = AugmentConfig(words=words, **given(settings))
    with StderrListener() as listener:
        if dry_run or output is None:
            show_copies(as_source(sequences), config, listener)
        else:
            augment_file(as_source(sequences), as_source(output), config, listener)


def _audit(
    table: str, output: str | None, second: str | None, words: tuple[str, ...], settings: dict[str, Any]
) -> None:
    """Audit what the words name, by measured variants or by a model."""
    if second is not None:
        raise click.UsageError("--audit reads its own TABLE and writes no copies; give OUT alone")
    if not words:
        raise click.UsageError("--audit needs --with WORDS: what is to be audited")
    from seqtrain.recipes.audit import AuditConfig, ModelAuditConfig, audit_model, audit_variants

    known = (*_SHARED_SETTINGS, *_VARIANT_SETTINGS, *_MODEL_SETTINGS)
    found = _without(settings, [name for name in settings if name not in known], "does not go with --audit")
    run, device = found.pop("model"), found.pop("device")
    if run is not None:
        found = _without(found, _VARIANT_SETTINGS, "is for measured variants, without --model")
    elif device is not None:
        raise click.UsageError("--device belongs to --model")
    if found.get("wild_type") == "auto":
        found["wild_type"] = None
    config = AuditConfig(words=words, **given(found))
    with StderrListener() as listener:
        if run is None:
            audit_variants(as_source(table), as_source(output or "-"), config, listener)
        else:
            model = ModelAuditConfig(run=run, **given({"device": device}))
            audit_model(as_source(table), as_source(output or "-"), config, model, listener)


def _without(settings: dict[str, Any], names: Iterable[str], why: str) -> dict[str, Any]:
    """The settings less some, none of which may have been given."""
    for name in names:
        if settings[name] is not None and settings[name] is not False and settings[name] != ():
            raise click.UsageError(f"--{name.replace('_', '-')} {why}")
    return {name: value for name, value in settings.items() if name not in names}
